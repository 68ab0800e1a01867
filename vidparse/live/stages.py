"""The border before the network: it drops frames that are too old, and requests the newest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Protocol, TypeVar

from vidparse.errors import InputError
from vidparse.frame import Frame
from vidparse.inference.clips import Prepared, closed
from vidparse.inference.keyframes import KeyFrameReport
from vidparse.inference.looks import Look
from vidparse.inference.pipeline import Stages
from vidparse.labels import Labels
from vidparse.live.source import LiveSource
from vidparse.maps import Prediction
from vidparse.threads import END, End


class _Ready(Protocol):
    """A frame with its network input, of any session."""

    @property
    def frame(self) -> Frame: ...
    @property
    def begins_shot(self) -> bool: ...


R = TypeVar("R", bound=_Ready)


class LiveStages:
    """The stages of a session, fed from a live source.

    Args:
        session: whose stages they are.
        source: counts the frames that are dropped here.
        max_latency_s: seconds since its taking after which a frame is too old; None: none is.
    """

    def __init__(
        self, session: Stages, source: LiveSource, *, max_latency_s: float | None = None
    ) -> None:
        self.session, self._source, self._most_s = session, source, max_latency_s
        self.labels: Labels = session.labels
        source.on_demand()

    @property
    def repeated(self) -> int:
        return self.session.repeated

    @property
    def looks(self) -> Sequence[Look]:
        return self.session.looks

    @property
    def key_frames(self) -> KeyFrameReport | None:
        return self.session.key_frames

    def prepared(self, frames: Iterable[Frame]) -> Iterator[object]:
        return self.session.prepared(frames)

    def answered(self, prepared: Iterable[R], *, live: bool) -> Iterator[object]:
        return self.session.answered(self._fresh(prepared), live=live)

    def finished(self, answered: object) -> Iterator[tuple[Frame, Prediction]]:
        return self.session.finished(answered)

    def _fresh(self, prepared: Iterable[R]) -> Iterator[R]:
        """Those that are not too old; what dropped ones began or brought along goes to the next.

        Raises:
            InputError: all were too old.
        """
        dropped: R | None = None
        none_taken = True
        with closed(prepared) as items, ExitStack() as ending:
            # The stage before waits for requests, and could not be closed.
            ending.callback(self._source.end_requests)
            while True:
                self._source.request_frame()
                one = next(items, END)
                if isinstance(one, End):
                    if dropped is not None and none_taken:
                        raise InputError(
                            f"{self._source.info.name}: every frame was older than --max-latency "
                            f"{self._most_s:g} s when the network could take it; allow more"
                        )
                    return

                # Give each the sound and the cuts of those that were dropped before it.
                if dropped is not None:
                    one = _after(one, dropped)
                if self._most_s is not None and self._source.tally.age_s(one.frame) > self._most_s:
                    self._source.tally.too_late += 1
                    dropped = one
                    continue
                dropped, none_taken = None, False
                yield one


def _after(one: R, dropped: R) -> R:
    """An item in place of the one before it as well."""
    frame = one.frame.following(dropped.frame)
    begins = one.begins_shot or dropped.begins_shot

    # The network never saw the input that this one may repeat.
    if isinstance(one, Prepared):
        return replace(one, frame=frame, begins_shot=begins, repeats=False)
    return replace(one, frame=frame, begins_shot=begins)  # type: ignore[type-var]
