"""The sharing of a run among workers: which workers, the joining of a video, and the next videos.

A video is cut into ranges of frames. Workers segment the ranges; this process joins their results
in order and writes them, one video at a time. When the current video has no ranges left to hand
out, the workers begin with the next videos.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TypeAlias

from vidparse.errors import counted
from vidparse.frame import Frame
from vidparse.inference import SessionOptions
from vidparse.inference.clips import Segmented
from vidparse.inference.finishing import FramePredictions
from vidparse.inference.looks import Look
from vidparse.inference.memory import Answering, Finishing
from vidparse.inference.session import Session
from vidparse.labels import Labels
from vidparse.threads import close_iterator
from vidparse.video import Input, ReadingOptions, Source, Stamps
from vidparse.workers.crew import Crew
from vidparse.workers.job import Cutting, Job, PackedClip, Range

RangeCrew: TypeAlias = Crew[Job, Range, tuple[PackedClip, ...]]
NOT_CUT = "without reading it all nobody knows when its frames come, so one process segments it"


def shared_session(
    session: Session,
    crew: RangeCrew,
    source: Source,
    one: Input,
    *,
    stride: int,
    reading: ReadingOptions,
    settings: SessionOptions,
    on_room: Callable[[], None] = lambda: None,
) -> SharedSession | None:
    """A session whose network runs in the workers; None if the times of the frames are unknown.

    Args:
        session: the session of this process.
        source: the open video. one: the input that it was opened from; workers open it again.
        stride: every n-th frame is segmented.
        reading: the arguments of `open_video` that change the decoded frames.
        settings: the arguments that `session` was made with.
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
    """The same input with absolute paths, for a process in another folder."""
    if one.path is None:
        return one
    path = one.path.absolute()
    images = None if one.images is None else tuple(image.absolute() for image in one.images)
    return replace(one, name=str(path), path=path, images=images)


@dataclass(frozen=True, slots=True)
class Begun:
    """A video that waits for its turn, while the workers segment its first ranges."""

    source: Source
    session: SharedSession

    def close(self) -> None:
        self.session.let_go()
        self.source.close()


class InputQueue:
    """The inputs of a run in order, and those that the workers began before their turn.

    Args:
        crew: the workers. An input is begun early only while they have room for more ranges.
        inputs: all inputs of the run.
        wanted: False for an input that the run passes over.
        opened: opens an input and makes its session; None for one that must wait for its turn.
    """

    def __init__(
        self,
        crew: RangeCrew,
        inputs: Sequence[Input],
        *,
        wanted: Callable[[Input], bool],
        opened: Callable[[Input], Begun | None],
    ) -> None:
        self._crew, self._inputs = crew, inputs
        self._wanted, self._opened = wanted, opened
        self._next = 0  # place of the first input that was not considered yet
        self._begun: dict[int, Begun] = {}  # by place
        self._lock = threading.Lock()  # a thread that outlives its run may still open an input

    def close(self) -> None:
        """Close the videos that had no turn. Idempotent."""
        with self._lock:
            self._next = len(self._inputs)
            while self._begun:
                self._begun.popitem()[1].close()

    def begun(self, place: int) -> Begun | None:
        """The input at a place, whose turn it is now; None if it was not begun early."""
        with self._lock:
            self._next = max(self._next, place + 1)
            return self._begun.pop(place, None)

    def begin_next(self) -> None:
        """Begin the next inputs while the workers have room.

        A call ends at the first input that must wait for its turn: opening it was in vain, and one
        such input per call is enough.
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
    """A `Session` for the pipeline, whose network runs in the workers. Its results are the same.

    This process decodes every frame, too, since outputs need the pictures. It takes a clip from a
    worker only if the times of the clip's frames equal those that it decoded itself. Where they
    differ (a damaged file, or packets without the right times) it segments the frames alone.

    Args:
        session: of this process, for frames that no worker has; its network has no memory.
        crew: the workers.
        job: the video, as workers open it.
        stamps: times of the video's frames, by its packets.
        on_room: called when all ranges are handed out and the workers have room for more.

    Attributes:
        alone: frames that this process segmented.
    """

    def __init__(
        self,
        session: Session,
        crew: RangeCrew,
        job: Job,
        stamps: Stamps,
        on_room: Callable[[], None] = lambda: None,
    ) -> None:
        self.labels: Labels = session.labels
        self.alone = 0
        self.redone = 0  # ranges of a killed worker that others did again
        self._repeated = 0  # frames that the workers' networks were spared

        self._session, self._crew, self._job, self._stamps = session, crew, job, stamps
        self._on_room = on_room
        self._cutting = Cutting(
            job.stride, session.clip_frames(live=job.live), crew.count, session.sees_cuts
        )
        self._planned: Iterator[Range] | None = None
        self._under_way: deque[tuple[int, Range]] = deque()  # the crew's ticket of each range
        self._halted = threading.Event()
        self._number = 0  # of the next frame
        self._last: Frame | None = None

    @property
    def notes(self) -> list[str]:
        """Lines for the user."""
        if not self.alone:
            return []
        frames = counted(self.alone, "frame")
        return [f"{frames} segmented without the workers, at damage or uneven times in the file"]

    @property
    def repeated(self) -> int:
        """Frames so far that the networks were spared; each range is begun by one that is not."""
        return self._repeated + self._session.repeated

    @property
    def looks(self) -> Sequence[Look]:
        return self._session.looks

    @property
    def key_frames(self) -> None:
        """None: a video with key frames cannot be cut."""
        return None

    def begin(self) -> None:
        """Hand out the first ranges, as many as there is room for. No frame is read yet."""
        self._plan(0)
        self._submit()

    def let_go(self) -> None:
        """Cancel all ranges that are under way. Idempotent."""
        self._crew.cancel(ticket for ticket, _ in self._under_way)
        self._under_way.clear()

    def prepared(self, frames: Iterable[Frame], *, after: Frame | None = None) -> Iterator[Frame]:
        """First stage: the frames as they are; workers prepare their own."""
        self._last = after
        yield from frames

    def answered(
        self,
        frames: Iterable[Frame],
        *,
        live: bool = False,
        number: int = 0,
        memory: Answering | None = None,
        is_due: Callable[[], bool] = lambda: False,
    ) -> Iterator[Segmented]:
        """Second stage: segmented clips in order, from the workers where these have them.

        Args:
            number: of the first frame. memory: unused; networks that have one are not shared.
            is_due: true where a clip is to mark that one may go on after it.
        """
        ahead = _Ahead(iter(frames))
        try:
            # Look at the first frame before a plan is made: the one before it is known then.
            if number and ahead.peek() is not None:
                self._number = number
            elif self._planned is None:
                self._plan(0)
                self._refill()
            while (frame := ahead.peek()) is not None:
                if self._follows(frame):
                    ticket, wanted = self._under_way[0]
                    clips = self._crew.outcome(ticket, self._halted)
                    if clips is None:
                        return  # stopped
                    self._under_way.popleft()
                    self.redone += self._crew.was_redone(ticket)
                    self._refill()
                    for one in self._matched(clips, ahead):
                        yield replace(one, memory=Answering()) if is_due() else one
                    yield from self._alone(ahead, wanted.end)
                    continue

                # Segment here up to the next frame that the packets list, then plan anew from it.
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

    def finished(
        self, segmented: Iterable[Segmented], *, memory: Finishing | None = None
    ) -> FramePredictions:
        """Third stage: give objects ids that are stable through the video."""
        results = self._session.linked(segmented, memory=memory)
        try:
            while (one := next(results, None)) is not None:  # `yield from` would close them first
                yield one
        finally:
            self._halted.set()  # a thread may still wait for the outcome of a range
            results.close()

    @property
    def finishing(self) -> Finishing:
        """The memory of the third stage."""
        return self._session.finishing

    def _plan(self, place: int) -> None:
        """Plan ranges from a place in the stamps to the end; drop all earlier plans."""
        self.let_go()
        before = None if self._last is None else self._last.pts
        self._planned = self._cutting.ranges(
            self._stamps, at=place, number=self._number, before=before
        )

    def _submit(self) -> bool:
        """Hand out at least one range, and more while there is room; False if none is left."""
        assert self._planned is not None
        while self._crew.has_room or not self._under_way:
            wanted = next(self._planned, None)
            if wanted is None:
                return False
            self._under_way.append((self._crew.submit(self._job, wanted), wanted))
        return True

    def _refill(self) -> None:
        """Keep the workers busy, with other videos once this one has no ranges left."""
        if not self._submit() and not self._halted.is_set():
            self._on_room()

    def _follows(self, frame: Frame) -> bool:
        """True if the oldest range under way begins at this frame, and its clips fit in there."""
        if not self._under_way:
            return False
        wanted = self._under_way[0][1]
        before = self._last.pts if self._last is not None and self._cutting.sees_cuts else None

        # Refuse a range that begins inside of a clip: one process would cut clips elsewhere.
        off = (wanted.number - self._number) % self._cutting.unit
        return wanted.start == frame.pts and wanted.before == before and not off

    def _matched(self, clips: tuple[PackedClip, ...], ahead: _Ahead) -> Iterator[Segmented]:
        """A worker's clips with the frames decoded here, up to the first clip that differs."""
        for one in clips:
            frames = ahead.take(one.pts)
            if frames is None:
                return

            # A range that lacks a frame ends in a short clip, which a serial run would have filled.
            after = self._number + len(frames)
            if one is clips[-1] and after % self._cutting.unit and not ahead.is_over():
                ahead.give_back(frames)
                return

            self._count(frames)
            self._repeated += one.repeated

            # Look after the workers at every clip: outputs may be slower than they are.
            self._crew.attend()
            yield Segmented(frames, one.clip(), one.begins_shot, one.repeated, looks=one.looks)

    def _alone(self, ahead: _Ahead, end: int | None) -> Iterator[Segmented]:
        """Segment frames in this process: those before a pts, and to the end of its clip."""
        if not ahead.comes_before(end):
            return

        # Show the frame before once more, by which cuts are found; nothing else is done with it.
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
        """The frames before a pts, and those that fill the last clip."""
        number = self._number
        while ahead.comes_before(end) or (number % self._cutting.unit and ahead.peek()):
            yield ahead.taken()
            number += 1

    def _count(self, frames: tuple[Frame, ...]) -> None:
        self._number += len(frames)
        self._last = frames[-1]


class _Ahead:
    """A stream of frames whose next ones can be looked at before they are taken."""

    def __init__(self, frames: Iterator[Frame]) -> None:
        self._frames = frames
        self._seen: deque[Frame] = deque()
        self._error: Exception | None = None

    def peek(self) -> Frame | None:
        """The next frame, which stays; None at the end.

        Raises:
            what the stream raises, but only after all frames before the error were taken.
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
        """True if there is a next frame and it is before a pts."""
        frame = self.peek()
        return frame is not None and (end is None or frame.pts < end)

    def is_over(self) -> bool:
        """True at the end, and at an error."""
        try:
            return self.peek() is None
        except Exception:
            return True  # the next `peek` raises it again

    def taken(self) -> Frame:
        """The next frame, after `peek` returned it."""
        return self._seen.popleft()

    def take(self, stamps: tuple[int, ...]) -> tuple[Frame, ...] | None:
        """The next frames if their pts are `stamps`; else None, and all stay."""
        taken: list[Frame] = []
        for stamp in stamps:
            if self.is_over() or self._seen[0].pts != stamp:
                self.give_back(taken)
                return None
            taken.append(self.taken())
        return tuple(taken)

    def give_back(self, frames: Sequence[Frame]) -> None:
        """Put frames back in front; they come next."""
        self._seen.extendleft(reversed(frames))

    def close(self) -> None:
        close_iterator(self._frames)
