"""The stages of a session that goes on: it segments the frames that a journal does not have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from vidparse.frame import Frame
from vidparse.inference.clips import closed
from vidparse.inference.finishing import FramePredictions
from vidparse.inference.keyframes import KeyFrameReport
from vidparse.inference.looks import Look
from vidparse.inference.memory import Answering, Finishing
from vidparse.labels import Labels
from vidparse.resume.journal import Journal


class Clip(Protocol):
    """Frames on their way through the stages, with the memory after them where it is wanted."""

    @property
    def frames(self) -> tuple[Frame, ...]: ...
    @property
    def memory(self) -> Answering | None: ...


class GoingOn(Protocol):
    """The stages of a session, each of which takes what it remembered; see `Session`."""

    labels: Labels

    @property
    def repeated(self) -> int: ...
    @property
    def key_frames(self) -> KeyFrameReport | None: ...
    @property
    def looks(self) -> Sequence[Look]: ...
    @property
    def finishing(self) -> Finishing: ...

    def prepared(self, frames: Iterable[Frame], *, after: Frame | None) -> Iterator[object]: ...

    def answered(
        self,
        prepared: Iterable[object],
        *,
        live: bool,
        number: int,
        memory: Answering | None,
        is_due: Callable[[], bool],
    ) -> Iterator[Clip]: ...

    def finished(
        self, answered: Iterable[Clip], *, memory: Finishing | None
    ) -> FramePredictions: ...


@dataclass(frozen=True, slots=True)
class _Known:
    """A frame whose prediction is in the journal."""

    frame: Frame


class JournaledStages:
    """The stages of a session over a video, of which a journal keeps the predictions.

    Frames that the journal has go past the network, to be read there in the last stage. The others
    are segmented by the session, which goes on from the journal's memory; their predictions are
    added. Both come out as they would of the session alone.

    Args:
        session: for this one video. journal: begun.
    """

    def __init__(self, session: GoingOn, journal: Journal) -> None:
        self.labels: Labels = session.labels
        self._session, self._journal = session, journal
        self._known = journal.frames

    @property
    def repeated(self) -> int:
        return self._session.repeated

    @property
    def looks(self) -> Sequence[Look]:
        return self._session.looks

    @property
    def key_frames(self) -> KeyFrameReport | None:
        return self._session.key_frames

    def prepared(self, frames: Iterable[Frame]) -> Iterator[object]:
        """First stage."""
        after = None
        with closed(frames) as source:
            for frame in islice(source, self._known):
                yield _Known(frame)
                after = frame
            yield from self._session.prepared(source, after=after)

    def answered(self, prepared: Iterable[object], *, live: bool) -> Iterator[_Known | Clip]:
        """Second stage."""
        memory = self._journal.memory
        with closed(prepared) as source:
            for known in islice(source, self._known):
                assert isinstance(known, _Known)
                yield known
            yield from self._session.answered(
                source,
                live=live,
                number=self._known,
                memory=None if memory is None else memory.answering,
                is_due=self._journal.is_due,
            )

    def finished(self, answered: Iterable[_Known | Clip]) -> FramePredictions:
        """Third stage; here the journal is read and written."""
        memory, journal = self._journal.memory, self._journal
        now: Clip | None = None

        with closed(answered) as source:
            entries = journal.entries() if self._known else iter(())
            for known in islice(source, self._known):
                assert isinstance(known, _Known)
                yield known.frame, journal.replayed(known.frame, entries, self.labels)

            def watched() -> Iterator[Clip]:
                nonlocal now
                for one in source:
                    assert not isinstance(one, _Known)
                    now = one
                    yield one

            finishing = None if memory is None else memory.finishing
            with closed(self._session.finished(watched(), memory=finishing)) as results:
                for frame, prediction in results:
                    journal.add(frame, prediction)

                    # Both stages stand behind this clip now: the third takes one at a time.
                    assert now is not None
                    if now.memory is not None and frame is now.frames[-1]:
                        journal.keep(now.memory, self._session.finishing)
                    yield frame, prediction
