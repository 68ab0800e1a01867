"""What a worker does: open a video at a range, segment its clips, and send them back small."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Self

import cv2
import numpy as np

from vidparse.errors import InputError
from vidparse.frame import Frame
from vidparse.inference import ClipSegments, Runner, Session, load_model
from vidparse.limits import allow_decoder_threads, allow_pixels
from vidparse.maps import Segment, SegmentMap
from vidparse.video import Input, open_video
from vidparse.workers.ranges import Range


@dataclass(frozen=True, slots=True)
class Setup:
    """What a worker needs once.

    model: arguments of `load_model`.
    max_pixels: the largest picture that is taken on.
    """

    model: Mapping[str, Any]
    max_pixels: int


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
    reading: Mapping[str, Any] = field(default_factory=dict)
    session: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PackedMap:
    """A segment map, compressed without loss."""

    ids: bytes
    dtype: str
    size_hw: tuple[int, int]
    segments: tuple[Segment, ...] | None

    @classmethod
    def of(cls, found: SegmentMap) -> PackedMap:
        ids = np.ascontiguousarray(found.ids)
        return cls(zlib.compress(ids.data, 1), ids.dtype.str, found.size_hw, found.segments)

    def map(self) -> SegmentMap:
        ids = np.frombuffer(bytearray(zlib.decompress(self.ids)), self.dtype)
        return SegmentMap(ids.reshape(self.size_hw), self.segments)


@dataclass(frozen=True, slots=True)
class PackedClip:
    """The segments of one clip, and the pts of its frames."""

    pts: tuple[int, ...]
    begins_shot: bool
    maps: tuple[PackedMap, ...]
    keys: Mapping[int, np.ndarray]
    key_kind: str

    def clip(self) -> ClipSegments:
        return ClipSegments(tuple(one.map() for one in self.maps), self.keys, self.key_kind)


class Worker:
    """A network of its own, for one range of a video after another."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    @classmethod
    def of(cls, setup: Setup) -> Self:
        """A worker in a process of its own.

        Raises:
            ModelError, DeviceError, UsageError: as `load_model`.
        """
        cv2.setNumThreads(1)
        allow_pixels(setup.max_pixels)
        allow_decoder_threads(setup.model.get("threads", 0))
        return cls(load_model(**setup.model))

    def clips(self, job: Job, wanted: Range) -> tuple[PackedClip, ...]:
        """The clips of a range, as far as it can be decoded.

        Raises:
            InputError: the video cannot be opened from here.
            VidparseError: whatever the network raises.
        """
        start = wanted.start if wanted.before is None else wanted.before
        edges = [(edge - job.first) * job.time_base for edge in (start, wanted.end)]
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
                packed.append(  # noqa: PERF401 (frames are let go one by one)
                    PackedClip(
                        tuple(frame.pts for frame in one.frames),
                        one.begins_shot,
                        tuple(PackedMap.of(found) for found in one.clip.maps),
                        dict(one.clip.keys),
                        one.clip.key_kind,
                    )
                )
        return tuple(packed)


def _good_frames(source: Any, start: int) -> Iterator[Frame]:
    """Frames up to the first damage; none where they do not begin at `start`.

    Who joins the clips decodes the frames, too, and says what is wrong with them.
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
        frames.close()
