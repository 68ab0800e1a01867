"""The work of a worker: ranges of a video, segmented apart clip by clip, and sent back small."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import ClassVar, Generic, TypeVar

import cv2
import numpy as np

from vidparse.errors import InputError
from vidparse.frame import Frame
from vidparse.inference import (
    ClipSegments,
    ModelChoice,
    Runner,
    Session,
    SessionOptions,
    load_chosen,
)
from vidparse.inference.clips import Segmented
from vidparse.inference.looks import Look
from vidparse.limits import Limits, allow_decoder_threads
from vidparse.maps import Segment, SegmentMap
from vidparse.threads import close_iterator
from vidparse.video import Input, ReadingOptions, Source, Stamps, open_video

_SHORTEST, _LONGEST = 16, 240  # frames of a range, about
_RANGES_EACH = 4  # at least, so that no worker waits long for the last one


@dataclass(frozen=True, slots=True)
class Range:
    """Successive frames that are taken, each `stride`-th one of a video.

    number: of the first of them, among those taken from the whole video.
    start: pts of the first one. end: pts of the first one that is not wanted any more.
    before: pts of the one before, which shows if a shot begins; None where that is not used.
    """

    number: int
    start: int
    end: int
    before: int | None = None


@dataclass(frozen=True, slots=True)
class Cutting:
    """The rule that cuts a video into ranges.

    stride: each `stride`-th frame is taken.
    unit: ranges begin where it divides the number of the frame, as clips do.
    workers: that share the video.
    sees_cuts: a range needs the frame before it.
    """

    stride: int = 1
    unit: int = 1
    workers: int = 2
    sees_cuts: bool = False

    def ranges(
        self, stamps: Stamps, *, at: int = 0, number: int = 0, before: int | None = None
    ) -> Iterator[Range]:
        """All frames from `at` on, in ranges; they begin at key frames as far as can be.

        Args:
            at: place in `stamps` of the first frame that is taken.
            number: of this frame among those taken from the whole video.
            before: pts of the frame taken before it.
        """
        places = range(at, len(stamps.pts), self.stride)
        since_key = _since_key(stamps.keys)
        usual = min(_LONGEST, max(_SHORTEST, len(places) // (self.workers * _RANGES_EACH)))

        first = 0
        while first < len(places):
            following = self._border(places, since_key, number, first, usual)
            whole = following == len(places)
            yield Range(
                number + first,
                stamps.pts[places[first]],
                stamps.pts[-1] + 1 if whole else stamps.pts[places[following]],
                before if self.sees_cuts else None,
            )
            before = stamps.pts[places[following - 1]]
            first = following

    def _border(
        self, places: range, since_key: list[int], number: int, first: int, usual: int
    ) -> int:
        """The end of the range that begins with the `first` of `places`."""
        lowest, highest = first + max(1, usual // 2), first + usual + usual // 2
        if highest >= len(places):
            return len(places)

        # Among ends where a clip ends, too, prefer those after which little is decoded twice.
        lowest += -(number + lowest) % self.unit
        lead = 1 if self.sees_cuts else 0  # a range is decoded from the frame before it on
        candidates = range(lowest, max(highest, lowest + 1), self.unit)
        return min(
            (one for one in candidates if one < len(places)),
            key=lambda one: (since_key[places[one - lead]], abs(one - first - usual)),
            default=len(places),
        )


def _since_key(keys: tuple[bool, ...]) -> list[int]:
    """Frames that are decoded before each one, from the last key frame on."""
    counts, count = [], 0
    for is_key in keys:
        count = 0 if is_key else count + 1
        counts.append(count)
    return counts


Shared = TypeVar("Shared")  # data that the parts of a piece of work have in common
Part = TypeVar("Part")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Setup(ABC, Generic[Shared, Part, Answer]):
    """The needs of a worker before its first part of the work, and the kind of work it does.

    limits: those of the process that was called.
    each: parts that a worker has: the one it works at, and those that wait for it there.
    killed: the message on a part at which one worker after the other was killed.
    """

    choice: ModelChoice
    limits: Limits
    each: ClassVar[int] = 1
    killed: ClassVar[str] = ""

    @abstractmethod
    def answering(self, runner: Runner) -> Callable[[Shared, Part], Answer]:
        """The work: from what all parts share, and a part, to its answer.

        Called once in the process of each worker, with its own network.
        """

    def about(self, shared: Shared) -> str:
        """The name that errors of the work go by."""
        return ""

    def worker(self) -> Callable[[Shared, Part], Answer]:
        """A worker in a process of its own.

        Raises:
            ModelError, DeviceError, UsageError: as `load_chosen`.
        """
        # Keep OpenCV to one thread: the workers are the parallelism.
        cv2.setNumThreads(1)
        self.limits.set_here()
        allow_decoder_threads(self.choice.threads)
        return self.answering(load_chosen(self.choice))


class RangeSetup(Setup["Job", "Range", "tuple[PackedClip, ...]"]):
    """Workers that segment ranges of videos; see :class:`RangeWorker`."""

    each: ClassVar[int] = 2  # so that none waits for the next range to travel
    killed: ClassVar[str] = (
        "were killed at one part of the video, by the system or by hand; where memory runs out, "
        "use fewer --workers or a lower --size"
    )

    def answering(self, runner: Runner) -> Callable[[Job, Range], tuple[PackedClip, ...]]:
        return RangeWorker(runner).clips

    def about(self, shared: Job) -> str:
        return shared.input.name


@dataclass(frozen=True, slots=True)
class Job:
    """One video as all its ranges see it.

    first: pts of its first frame, in units of `time_base`. stride: each `stride`-th frame is taken.
    live: as for `Session.answered`.
    reading: further arguments of `open_video`. session: arguments of `Session`.
    """

    input: Input
    first: int
    time_base: Fraction
    stride: int = 1
    live: bool = False
    reading: ReadingOptions = field(default_factory=ReadingOptions)
    session: SessionOptions = field(default_factory=SessionOptions)


@dataclass(frozen=True, slots=True)
class PackedMap:
    """A segment map, compressed without loss."""

    ids: bytes
    dtype: str
    size_hw: tuple[int, int]
    segments: tuple[Segment, ...] | None
    margins: np.ndarray | None = None

    @classmethod
    def of(cls, found: SegmentMap) -> PackedMap:
        # Compress at the fastest level: long runs of equal ids shrink at any.
        ids = np.ascontiguousarray(found.ids)
        return cls(
            zlib.compress(ids.data, 1), ids.dtype.str, found.size_hw, found.segments, found.margins
        )

    def map(self) -> SegmentMap:
        # Unpack into a bytearray: an array over bytes could not be written to.
        ids = np.frombuffer(bytearray(zlib.decompress(self.ids)), self.dtype)
        return SegmentMap(ids.reshape(self.size_hw), self.segments, self.margins)


@dataclass(frozen=True, slots=True)
class PackedClip:
    """The segments of one clip, and the pts of its frames.

    keys, key_kind, hidden: as of `ClipSegments`. repeated, looks: as of `Segmented`.
    """

    pts: tuple[int, ...]
    begins_shot: bool
    maps: tuple[PackedMap, ...]
    keys: Mapping[int, np.ndarray]
    key_kind: str
    hidden: Mapping[int, int]
    repeated: int = 0
    looks: tuple[Look, ...] = ()

    @classmethod
    def of(cls, one: Segmented) -> PackedClip:
        clip = one.clip
        return cls(
            tuple(frame.pts for frame in one.frames),
            one.begins_shot,
            tuple(map(PackedMap.of, clip.maps)),
            dict(clip.keys),
            clip.key_kind,
            dict(clip.hidden),
            one.repeated,
            one.looks,
        )

    def clip(self) -> ClipSegments:
        maps = tuple(one.map() for one in self.maps)
        return ClipSegments(maps, self.keys, self.key_kind, self.hidden)


class RangeWorker:
    """A network of its own, for one range of a video after another."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def clips(self, job: Job, wanted: Range) -> tuple[PackedClip, ...]:
        """The clips of a range, as far as it can be decoded.

        Raises:
            InputError: the video cannot be opened from here.
            VidparseError: whatever the network raises.
        """
        # Begin with the frame before where cuts count: it shows if a shot begins.
        start = wanted.start if wanted.before is None else wanted.before
        edges = [(edge - job.first) * job.time_base for edge in (start, wanted.end)]

        # Leave out sound and numbers: who joins has them, and numbers cost reading the file.
        source = open_video(
            job.input,
            start_s=max(edges[0], Fraction(0)),
            end_s=edges[1],
            stride=job.stride,
            copy_streams=False,
            numbered=False,
            **job.reading,
        )

        packed: list[PackedClip] = []
        session = Session(self._runner, **job.session)
        with source, session:
            frames = _good_frames(source, start)
            prepared = session.prepared(frames)
            if wanted.before is not None:
                next(prepared, None)  # only seen by the detector of cuts
            answered = session.answered(prepared, live=job.live, number=wanted.number)
            for one in session.segmented(answered):
                packed.append(PackedClip.of(one))  # noqa: PERF401 (frames are let go one by one)
        return tuple(packed)


def _good_frames(source: Source, start: int) -> Iterator[Frame]:
    """Frames up to the first damage; none where they do not begin at `start`.

    The process that joins the clips decodes the frames, too, and reports their faults.
    """
    frames = iter(source)
    try:
        frame = next(frames)
        if frame.pts != start:
            return
        yield frame
        yield from frames
    except (InputError, StopIteration):
        return
    finally:
        close_iterator(frames)
