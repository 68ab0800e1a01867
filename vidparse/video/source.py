"""A source of frames: one class for all of them, its time stamps, and the frames wanted of it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Self

import av

from vidparse.arrival import LiveReport
from vidparse.errors import InputError, UsageError
from vidparse.frame import Frame, Packet, VideoInfo

NVDEC = "NVDEC"  # the decoder of CUDA devices


@dataclass(frozen=True, slots=True)
class Stamps:
    """The frames that a source promises, those that `stride` leaves out included.

    pts: ascending, in units of the time base.
    keys: True for each at which decoding can begin.
    first: pts of the first frame of the video, from which --start and --end count.
    """

    pts: tuple[int, ...]
    keys: tuple[bool, ...]
    first: int

    @classmethod
    def even(cls, start: int, end: int) -> Stamps:
        """Stamps of a source that counts its frames and can begin anywhere."""
        pts = tuple(range(start, end))
        return cls(pts, (True,) * len(pts), 0)


def packet_stamps(
    packets: Iterable[av.Packet], first: int, start: int | None, end: int | None
) -> Stamps | None:
    """Stamps by the packets of a video stream; None where a packet has no time of its own.

    Args:
        first: pts of the first frame of the video.
        start: first pts that is wanted; None: `first`.
        end: first pts that is not wanted any more; None: none.
    """
    begin = first if start is None else start
    found: dict[int, bool] = {}

    for packet in packets:
        if packet.size == 0:
            continue  # PyAV's sign to flush
        if end is not None and packet.dts is not None and packet.dts >= end:
            break  # no later one is shown earlier: spare reading the rest of a long film

        # Promise nothing where times do not distinguish frames: the decoder makes some up.
        if packet.pts is None or packet.pts in found:
            return None
        if packet.pts >= begin and (end is None or packet.pts < end):
            found[packet.pts] = packet.is_keyframe

    # Packets come in the order of decoding, frames by their times.
    pts = tuple(sorted(found))
    return Stamps(pts, tuple(found[stamp] for stamp in pts), first)


_LARGEST_STRIDE = 10**9  # no video has more frames; larger numbers do not fit in a time
_LATEST_S = 1e9  # 31 years, and in nanoseconds still a time stamp of 64 bits


class Source(ABC):
    """Frames in presentation order, one pass, nothing kept. A context manager that closes it.

    A new one sets `info` and yields frames; the rest has defaults.

    Attributes:
        info: known before the first frame.
        decoded_on: where a device was wanted, NVDEC, or the reason why the CPU
            decodes; else "".
        queued: how many of its frames may wait between two stages of the pipeline.
    """

    info: VideoInfo
    decoded_on: str = ""
    queued: int = 4

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """Raises: TruncatedError after the last good frame; InputError."""

    @property
    def skipped(self) -> int:
        """Damaged packets or images passed over so far."""
        return 0

    @property
    def notes(self) -> list[str]:
        """One-line warnings for the user; complete after iterating."""
        return []

    def stamps(self) -> Stamps | None:
        """When its frames come, by the file's own word; None where that is not known.

        A promise and no fact: a damaged frame may be missing.
        """
        return None

    def trailing_packets(self) -> list[Packet]:
        """After iterating: packets of `info.copied` streams behind the last frame."""
        return []

    def written(self, frame: Frame) -> None:  # noqa: B027 (most do not count them)
        """Call once all outputs have a frame."""

    @property
    def live(self) -> LiveReport | None:
        """Of a live input: what became of its frames so far; None for all others."""
        return None

    def close(self) -> None:  # noqa: B027 (most hold nothing open)
        """Release everything. Idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Selection:
    """Seconds count from the first frame, as a player shows them; [start_s, end_s).

    numbered: frames have their number in the file, for which its packets may have to be read from
        the beginning; False: they count from the beginning of the range.
    """

    start_s: Fraction | None = None
    end_s: Fraction | None = None
    stride: int = 1
    numbered: bool = True

    def bounds(self, first_pts: int, time_base: Fraction) -> tuple[int | None, int | None]:
        """First wanted pts and first unwanted pts, exact; None where the range is open."""
        # Round up in fractions: a frame exactly at the start is inside, one at the end is not.
        start, end = (
            None if edge is None else first_pts + math.ceil(edge / time_base)
            for edge in (self.start_s, self.end_s)
        )
        return start, end

    def nothing(self, name: str, duration_s: float | None) -> InputError:
        """The error for a range that holds no frame."""
        start = f"{float(self.start_s or 0):g} s"
        end = "the end" if self.end_s is None else f"{float(self.end_s):g} s"
        long = "" if duration_s is None else f"; the video is {duration_s:.2f} s long"
        return InputError(f"{name}: no frame between {start} and {end}{long}, choose another range")


Seconds = float | Fraction | None


def select(
    start_s: Seconds, end_s: Seconds, stride: int = 1, *, numbered: bool = True
) -> Selection:
    """The frames of a range, checked.

    Decimal seconds are taken at their written value: 0.1 is one tenth, not the binary float near
    it, so that a frame at exactly 0.1 s is inside [0.1, ...).

    Raises:
        UsageError: a negative time, an end that is not after the start, or a stride below 1.
    """
    if stride < 1:
        raise UsageError(f"stride {stride}: must be 1 or more; 2 takes every second frame")

    for option, value in (("start", start_s), ("end", end_s)):
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise UsageError(f"{option} {value}: not a time; give seconds from the beginning")
        if value is not None and value > _LATEST_S:
            raise UsageError(
                f"{option} {float(value):g}: later than any video lasts; give fewer seconds"
            )

    if end_s is not None and end_s <= (start_s or 0):
        raise UsageError(
            f"end {float(end_s):g}: not after start {float(start_s or 0):g}; give a later end"
        )

    start, end = (None if edge is None else Fraction(str(edge)) for edge in (start_s, end_s))
    return Selection(start or None, end, min(stride, _LARGEST_STRIDE), numbered)
