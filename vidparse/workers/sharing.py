"""Sharing: among whom the clips of a run are shared out, which videos can be cut, and their turns.

One video after another is joined and written. Near its end, or where it is short, it leaves the
workers without ranges: then they begin with the videos that follow.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from vidparse.errors import UsageError, counted
from vidparse.frame import Frame
from vidparse.inference import ModelChoice, Runner, SessionOptions
from vidparse.inference.devices import cpu_count
from vidparse.inference.session import FramePredictions, Segmented, Session
from vidparse.labels import Labels
from vidparse.limits import max_pixels
from vidparse.video import Input, ReadingOptions, Source, Stamps
from vidparse.workers.crew import ClusterCrew, Crew, ProcessCrew
from vidparse.workers.job import Cutting, Job, PackedClip, Range, Setup

NOT_CUT = "without reading it all nobody knows when its frames come, so one process segments it"


@dataclass(frozen=True, slots=True)
class Sharing:
    """The wish of a person.

    workers: processes with a network each; 0 or 1: this process alone, or all of a cluster.
    cluster: address of a Ray cluster, or "auto"; None: the workers run on this machine.
    """

    workers: int = 0
    cluster: str | None = None

    def __bool__(self) -> bool:
        return self.workers > 1 or self.cluster is not None

    def check(self) -> None:
        """Raises: UsageError: a number of workers that would only take memory."""
        most = max(64, 4 * cpu_count())
        if self.workers < 0 or (self.cluster is None and self.workers > most):
            raise UsageError(
                f"workers {self.workers}: this process may use {cpu_count()} CPUs; give 2 to "
                f"{most}, or leave --workers out"
            )

    def check_memory(self, runner: Runner, *, stabilize: bool) -> None:
        """Raises: UsageError: each answer depends on those before, so no part can run apart."""
        if not self:
            return
        if runner.remembers:
            raise UsageError(
                f"--workers: {os.fspath(runner.description.path)} remembers the frames before, so "
                "that a video cannot be cut into parts; leave --workers and --cluster out"
            )
        if stabilize:
            raise UsageError(
                "--workers: --stabilize blends each frame with those before, so that a video "
                "cannot be cut into parts; leave one of them out"
            )

    def threads(self, wanted: int) -> int:
        """CPU threads of each network, where a person wants `wanted`; 0: shared out."""
        if not self or wanted:
            return wanted
        return 1 if self.cluster is not None else max(1, cpu_count() // self.workers)

    def crew(self, choice: ModelChoice, stop: threading.Event) -> Crew:
        """The workers, none of which has been started.

        Raises:
            UsageError, DeviceError: as `ClusterCrew`.
        """
        if Path(choice.name).exists():  # a worker may be in another folder
            choice = choice.of(Path(choice.name).absolute())
        setup = Setup(choice, max_pixels())
        if self.cluster is not None:
            return ClusterCrew(self.cluster, self.workers, setup, stop)
        return ProcessCrew(self.workers, setup, stop)


def shared_session(
    session: Session,
    crew: Crew,
    source: Source,
    one: Input,
    *,
    stride: int,
    reading: ReadingOptions,
    settings: SessionOptions,
    on_room: Callable[[], None] = lambda: None,
) -> SharedSession | None:
    """The session with the network in the workers; None for a video that cannot be cut.

    Args:
        source: the opened `one`.
        reading: arguments of `open_video` that have a say in what is decoded.
        settings: arguments of `session`.
        on_room: as for `SharedSession`.
    """
    stamps = source.stamps()
    if stamps is None or not stamps.pts:
        return None

    job = Job(
        _absolute(one),
        stamps.first,
        source.info.time_base,
        stride,
        live=source.info.frames is None,
        reading=reading,
        session=settings,
    )
    return SharedSession(session, crew, job, stamps, on_room)


def _absolute(one: Input) -> Input:
    """The same input, for a process in another folder."""
    if one.path is None:
        return one
    path = one.path.absolute()
    images = None if one.images is None else tuple(image.absolute() for image in one.images)
    return replace(one, name=str(path), path=path, images=images)


@dataclass(frozen=True, slots=True)
class Begun:
    """An open video of which the workers have the first ranges, before its turn has come."""

    source: Source
    session: SharedSession

    def close(self) -> None:
        self.session.let_go()
        self.source.close()


class Line:
    """Inputs in the order of their turns.

    Args:
        crew: the workers, whose room bounds how many inputs are begun.
        inputs: of the run.
        wanted: False for an input of which nothing is to be done.
        opened: opens an input and makes its session; None where that has to wait for its turn.
    """

    def __init__(
        self,
        crew: Crew,
        inputs: Sequence[Input],
        *,
        wanted: Callable[[Input], bool],
        opened: Callable[[Input], Begun | None],
    ) -> None:
        self._crew, self._inputs = crew, inputs
        self._wanted, self._opened = wanted, opened
        self._next = 0  # place of the first input that nobody has looked at
        self._begun: dict[int, Begun] = {}  # by place
        self._lock = threading.Lock()  # a thread that a run had to leave behind may still open one

    def close(self) -> None:
        """Close what had no turn. Idempotent."""
        self._next = len(self._inputs)
        while self._begun:
            self._begun.popitem()[1].close()

    def begun(self, place: int) -> Begun | None:
        """The input whose turn has come, where the workers have begun with it."""
        with self._lock:
            self._next = max(self._next, place + 1)
            return self._begun.pop(place, None)

    def begin_next(self) -> None:
        """Begin with the inputs to come while the workers have room.

        An input that has to wait for its turn ends one call, so that no call opens many in vain.
        """
        with self._lock:
            while self._crew.has_room and self._next < len(self._inputs):
                place = self._next
                self._next += 1
                if not self._wanted(self._inputs[place]):
                    continue
                begun = self._opened(self._inputs[place])
                if begun is None:
                    return
                self._begun[place] = begun
                begun.session.begin()


class SharedSession:
    """The stages of a `Session`, as the pipeline runs them, with the network elsewhere.

    What it gives equals the serial result exactly. The frames of the outputs are decoded here, in
    order. A clip of a worker counts where the times of its frames are those that came here;
    elsewhere (a damaged file, times that its packets do not have) the session segments the frames
    itself.

    Args:
        session: with the network of this process, which fills in; it must not remember.
        crew: the workers.
        job: the video as they see it.
        stamps: its frames.
        on_room: called when all ranges are handed out and the workers have room for others.
    """

    def __init__(
        self,
        session: Session,
        crew: Crew,
        job: Job,
        stamps: Stamps,
        on_room: Callable[[], None] = lambda: None,
    ) -> None:
        self.labels: Labels = session.labels
        self.alone = 0  # frames that were segmented here
        self._session, self._crew, self._job, self._stamps = session, crew, job, stamps
        self._on_room = on_room
        self._cutting = Cutting(
            job.stride, session.clip_frames(live=job.live), crew.count, session.sees_cuts
        )
        self._planned: Iterator[Range] | None = None
        self._under_way: deque[tuple[int, Range]] = deque()  # tickets
        self._halted = threading.Event()
        self._number = 0  # of frames so far
        self._last: Frame | None = None

    @property
    def notes(self) -> list[str]:
        """For the user, one line each."""
        if not self.alone:
            return []
        frames = counted(self.alone, "frame")
        return [f"{frames} segmented without the workers, at damage or uneven times in the file"]

    def begin(self) -> None:
        """Hand out the first ranges, as far as there is room, before any frame is read."""
        self._plan(0)
        self._submit()

    def let_go(self) -> None:
        """Nobody wants the ranges that are under way any more. Idempotent."""
        self._crew.cancel(ticket for ticket, _ in self._under_way)
        self._under_way.clear()

    def prepared(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """First stage: none; workers prepare their frames themselves."""
        yield from frames

    def answered(self, frames: Iterable[Frame], *, live: bool = False) -> Iterator[Segmented]:
        """Second stage: the clips of the workers in order, each with its frames."""
        ahead = _Ahead(iter(frames))
        try:
            if self._planned is None:
                self._plan(0)
            self._refill()
            while (frame := ahead.peek()) is not None:
                if self._follows(frame):
                    ticket, wanted = self._under_way[0]
                    clips = self._crew.outcome(ticket, self._halted)
                    if clips is None:
                        return  # stopped
                    self._under_way.popleft()
                    self._refill()
                    yield from self._matched(clips, ahead)
                    yield from self._alone(ahead, wanted.end)
                    continue

                # Segment here up to the next frame that the packets promise, and begin there anew.
                place = bisect_left(self._stamps.pts, frame.pts)
                promised = self._stamps.pts[place : place + 1]
                if promised != (frame.pts,):
                    yield from self._alone(ahead, promised[0] if promised else None)
                else:
                    self._plan(place)
                    self._refill()
        finally:
            self.let_go()
            ahead.close()

    def finished(self, segmented: Iterable[Segmented]) -> FramePredictions:
        """Third stage: ids that are stable through the video."""
        results = self._session.linked(segmented)
        try:
            while (one := next(results, None)) is not None:  # `yield from` would close them first
                yield one
        finally:
            self._halted.set()  # a thread may wait for an outcome that nobody wants any more
            results.close()

    def _plan(self, place: int) -> None:
        """Ranges from a place in the stamps on, in stead of all that were planned."""
        self.let_go()
        before = None if self._last is None else self._last.pts
        self._planned = self._cutting.ranges(
            self._stamps, at=place, number=self._number, before=before
        )

    def _submit(self) -> bool:
        """Hand out ranges while there is room, one at least; False once there are no more."""
        assert self._planned is not None
        while self._crew.has_room or not self._under_way:
            wanted = next(self._planned, None)
            if wanted is None:
                return False
            self._under_way.append((self._crew.submit(self._job, wanted), wanted))
        return True

    def _refill(self) -> None:
        if not self._submit() and not self._halted.is_set():
            self._on_room()

    def _follows(self, frame: Frame) -> bool:
        """True if the next range begins with this frame, and its clips where they should."""
        if not self._under_way:
            return False
        wanted = self._under_way[0][1]
        before = self._last.pts if self._last is not None and self._cutting.sees_cuts else None
        off = (wanted.number - self._number) % self._cutting.unit
        return wanted.start == frame.pts and wanted.before == before and not off

    def _matched(self, clips: tuple[PackedClip, ...], ahead: _Ahead) -> Iterator[Segmented]:
        """Clips with their frames, up to the first whose frames are others."""
        for one in clips:
            frames = ahead.take(one.pts)
            if frames is None:
                return

            # The last clip of a range that lacks a promised frame would go on in the whole video.
            after = self._number + len(frames)
            if one is clips[-1] and after % self._cutting.unit and not ahead.is_over():
                ahead.give_back(frames)
                return

            self._count(frames)
            self._crew.attend()
            yield Segmented(frames, one.clip(), one.begins_shot)

    def _alone(self, ahead: _Ahead, end: int | None) -> Iterator[Segmented]:
        """The frames up to a pts, and of the clip that it falls into, segmented in this process."""
        if not ahead.comes_before(end):
            return
        session = self._session
        shown_before = [] if self._last is None or not session.sees_cuts else [self._last]
        prepared = session.prepared(chain(shown_before, self._until(ahead, end)))
        if shown_before:
            next(prepared)
        answered = session.answered(prepared, live=self._job.live, number=self._number)
        for one in session.segmented(answered):
            self._count(one.frames)
            self.alone += len(one.frames)
            yield one

    def _until(self, ahead: _Ahead, end: int | None) -> Iterator[Frame]:
        number = self._number
        while ahead.comes_before(end) or (number % self._cutting.unit and ahead.peek()):
            yield ahead.taken()
            number += 1

    def _count(self, frames: tuple[Frame, ...]) -> None:
        self._number += len(frames)
        self._last = frames[-1]


class _Ahead:
    """Frames that can be looked at before they are taken."""

    def __init__(self, frames: Iterator[Frame]) -> None:
        self._frames = frames
        self._seen: deque[Frame] = deque()
        self._error: Exception | None = None

    def peek(self) -> Frame | None:
        """The next frame; None at the end.

        Raises:
            whatever the frames raise, after the last one was taken.
        """
        if not self._seen and self._error is None:
            try:
                frame = next(self._frames, None)
            except Exception as error:
                self._error = error
            else:
                if frame is None:
                    return None
                self._seen.append(frame)
        if self._seen:
            return self._seen[0]
        assert self._error is not None
        raise self._error

    def comes_before(self, end: int | None) -> bool:
        """True if there is a next frame, and it comes before a pts."""
        frame = self.peek()
        return frame is not None and (end is None or frame.pts < end)

    def is_over(self) -> bool:
        """True if no frame follows, be it for an error."""
        try:
            return self.peek() is None
        except Exception:
            return True  # raised once more by the next look

    def taken(self) -> Frame:
        """The frame that was looked at."""
        return self._seen.popleft()

    def take(self, stamps: tuple[int, ...]) -> tuple[Frame, ...] | None:
        """The next frames, if these are their times; else None, and they stay."""
        taken: list[Frame] = []
        for stamp in stamps:
            if self.is_over() or self._seen[0].pts != stamp:
                self.give_back(taken)
                return None
            taken.append(self.taken())
        return tuple(taken)

    def give_back(self, frames: Sequence[Frame]) -> None:
        self._seen.extendleft(reversed(frames))

    def close(self) -> None:
        close = getattr(self._frames, "close", None)
        if close is not None:
            close()
