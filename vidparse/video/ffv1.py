"""Are the slices of an FFV1 frame whole? FFmpeg fills damaged ones in from the frame before.

RFC 9043, 4.8 and 4.9: a frame is a row of slices, each followed by its size (3 bytes), a status
byte and a CRC that makes the remainder over slice and footer zero.
"""

from __future__ import annotations

import zlib

_FOOTER_BYTES = 8
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_REGISTER_AT_ZERO = 0xFFFFFFFF  # zlib inverts the register on the way in and on the way out


class SliceCheck:
    """Packets of one stream. A stream written without checksums passes unchecked."""

    def __init__(self) -> None:
        self._protected = False
        self._unreadable = False

    def __call__(self, packet: bytes) -> bool:
        """Whether the next packet is good, as far as can be told.

        A first packet whose footers make no sense may be damaged or from a stream without
        checksums; it counts against the first later packet that has them.
        """
        slices = _slices(packet)
        if slices is None:
            self._unreadable = True
            return not self._protected
        self._protected = True
        return not self._unreadable and all(_remainder_is_zero(part) for part in slices)


def _slices(packet: bytes) -> list[bytes] | None:
    """The slices with their footers, last one first; None when sizes do not add up."""
    slices = []
    end = len(packet)
    while end > 0:
        footer = end - _FOOTER_BYTES
        start = footer - int.from_bytes(packet[max(footer, 0) : footer + 3], "big")
        if footer < 0 or start < 0 or start == footer:
            return None
        slices.append(packet[start:end])
        end = start
    return slices


def _remainder_is_zero(data: bytes) -> bool:
    """CRC-32 with the bits in sending order and a register that begins at 0 (RFC 9043, 4.9.3)."""
    return zlib.crc32(data.translate(_MIRRORED), _REGISTER_AT_ZERO) == _REGISTER_AT_ZERO
