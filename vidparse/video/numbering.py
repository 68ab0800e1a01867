"""The number of a frame behind a seek: how many frames of the file lie before it."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

_PROBED = 100  # packets that show whether frames come evenly


def frames_between(packets: Iterable[Any], first: int, pts: int, step: Fraction | None) -> int:
    """Frames shown from `first` on and before `pts`; nothing is decoded.

    Args:
        packets: of the video stream, from its beginning.
        first, pts: in units of the stream's time base.
        step: between two frames, by the rate that the file claims; None without one. Where the
            first packets keep to it, the others are believed to, and are not read.
    """
    stamps: list[int] = []
    for packet in packets:
        if packet.dts is not None and packet.dts >= pts:  # no later one is shown earlier
            break
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is not None:
            stamps.append(stamp)
        if step is not None and len(stamps) == _PROBED and _are_even(stamps, step):
            return round((pts - first) / step)
    return sum(first <= stamp < pts for stamp in stamps)


def _are_even(stamps: list[int], step: Fraction) -> bool:
    """Whether packets follow each other in steps, up to rounding of their times."""
    # The last ones may wait for others that are shown before them.
    shown = sorted(stamps)[: -_PROBED // 4]
    return all(abs(stamp - shown[0] - i * step) <= 1 + step / 10 for i, stamp in enumerate(shown))
