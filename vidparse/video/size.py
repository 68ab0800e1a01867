"""The largest picture that is taken on."""

from __future__ import annotations

from vidparse.errors import InputError

MAX_SIDE = 16384  # H.264 and most players end here; also keeps lying headers from eating memory


def check_size(name: str, size_hw: tuple[int, int]) -> None:
    """Raises: InputError: a side is zero or longer than MAX_SIDE."""
    height, width = size_hw
    if min(height, width) < 1:
        raise InputError(f"{name}: the picture has no size; the file is damaged or not a video")
    if max(height, width) > MAX_SIDE:
        raise InputError(
            f"{name}: {width}x{height} pixels; scale it to at most {MAX_SIDE} a side first "
            "(the file may also be damaged)"
        )
