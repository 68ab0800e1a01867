"""When the frames of a video come and where decoding can begin, found without decoding any."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Stamps:
    """The frames that a source promises, those that `stride` leaves out included.

    pts: ascending, in units of the time base.
    keys: whether decoding can begin at each of them.
    first: pts of the first frame of the video, from which --start and --end count.
    """

    pts: tuple[int, ...]
    keys: tuple[bool, ...]
    first: int

    @classmethod
    def even(cls, start: int, end: int) -> Stamps:
        """Of a source that counts its frames and can begin anywhere."""
        pts = tuple(range(start, end))
        return cls(pts, (True,) * len(pts), 0)


def packet_stamps(
    packets: Iterable[Any], first: int, start: int | None, end: int | None
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
        if packet.pts is None or packet.pts in found:
            return None
        if packet.pts >= begin and (end is None or packet.pts < end):
            found[packet.pts] = packet.is_keyframe
    pts = tuple(sorted(found))
    return Stamps(pts, tuple(found[stamp] for stamp in pts), first)
