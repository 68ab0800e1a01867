"""MPEG transport streams (ISO 13818-1, 2.4.3): their last units show a cut, and damage none.

A stream is cut into units (PES packets), and those into transport packets. Where a unit ends inside
of a transport packet, an adaptation field fills the room in front of it. So the last packet of a
stream shows by its head alone that its unit ended there, whatever became of the bytes before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_PACKET: Final = 188
_LENGTHS: Final = (188, 192, 204)  # plain, with times in front (M2TS), with parity behind
_TIMES: Final = 4  # bytes in front of each packet of M2TS
_SYNC: Final = 0x47
_UNIT: Final = b"\0\0\1"  # how a unit begins
_UNIT_HEAD: Final = 6  # bytes that its own length does not count
_CLOCKS: Final = 6  # bytes of a clock reference
_FEWEST: Final = 4  # packets that show the length of all
_SAMPLE: Final = 256  # packets at the end that are looked at for it


@dataclass(slots=True)
class _Unit:
    """The last unit of one stream, as far as it is there."""

    promised: int  # bytes; 0: not announced
    counter: int  # of its last packet, 0 to 15
    received: int = 0  # bytes
    filled: bool = False  # its last packet has room left over
    gapless: bool = True  # no packet was lost

    @property
    def whole(self) -> bool | None:
        """None: its last packet is full, and its length is not announced."""
        if self.filled:
            return True
        if not self.promised:
            return None
        if self.received >= self.promised:
            return True
        return False if self.gapless else None


def ends_whole(tail: bytes) -> bool | None:
    """The stream ends behind a packet, and with it the last unit of each of its streams.

    Args:
        tail: the last bytes, from some hundred packets on; its beginning need be no packet's.

    Returns:
        None where that cannot be known: no packets, or a unit that may go on or not.
    """
    found = _packets_of(tail)
    if found is None:
        return None
    first, length = found
    behind = _PACKET if length == _PACKET + _TIMES else length
    if (len(tail) - first - behind) % length:
        return False
    verdicts = [unit.whole for unit in _last_units(tail, range(first, len(tail), length))]
    if False in verdicts:
        return False
    return True if verdicts and None not in verdicts else None


def _packets_of(tail: bytes) -> tuple[int, int] | None:
    """Place of the first sync byte, and the distance to the next; most of them have to be there."""
    best = (0.5, 0, 0)  # share of places with a sync byte, first place, distance
    for length in _LENGTHS:
        sample = max(0, len(tail) - _SAMPLE * length)
        for first in range(sample, min(sample + length, len(tail))):
            row = tail[first::length]
            if len(row) >= _FEWEST:
                best = max(best, (row.count(_SYNC) / len(row), first % length, length))
    return best[1:] if best[2] else None


def _last_units(tail: bytes, places: range) -> Iterator[_Unit]:
    """The last unit of each stream whose beginning lies in `tail`."""
    units: dict[int, _Unit] = {}
    packets: Counter[int] = Counter()  # per stream
    for place in places:
        packet = tail[place : place + _PACKET]
        number, flags, counter = packet[1] << 8 & 0x1F00 | packet[2], packet[3], packet[3] & 15
        if not flags & 0x10:
            continue  # nothing of a unit in it
        packets[number] += 1
        # An adaptation field has a length, flags, and what these announce; the rest is filling.
        body, filled = 4, False
        if flags & 0x20:
            body, filled = 5 + packet[4], packet[4] > _needed(packet)
        content = packet[body:]

        unit = units.get(number)
        if packet[1] & 0x40 and content.startswith(_UNIT):
            size = int.from_bytes(content[4:6], "big")
            unit = units[number] = _Unit(size + _UNIT_HEAD if size else 0, counter)
        elif unit is not None:
            unit.gapless &= counter == (unit.counter + 1) % 16
            unit.counter = counter
        if unit is not None:
            unit.received += len(content)
            unit.filled = filled
    # Leave out what a damaged number made a stream of its own.
    yield from (unit for number, unit in units.items() if packets[number] > 1)


def _needed(packet: bytes) -> int:
    """Bytes of an adaptation field (2.4.3.4) that its flags announce, with these."""
    if not packet[4]:
        return -1  # a single byte of filling
    flags = packet[5]
    needed = 1 + _CLOCKS * (flags >> 4 & 1) + _CLOCKS * (flags >> 3 & 1) + (flags >> 2 & 1)
    for announced in (flags & 2, flags & 1):  # private data, an extension: each with its length
        if announced and 5 + needed < len(packet):
            needed += 1 + packet[5 + needed]
    return needed
