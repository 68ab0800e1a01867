"""Entries of objects that wait in a file until the end of a video, each object's in a chain."""

from __future__ import annotations

import struct
from array import array

from vidparse.sinks.stream import Rows

_HEAD = struct.Struct("<qI")  # place of the entry before of the same object, and bytes
_NOTHING_BEFORE = -1


class Chains:
    """Entries in the order of time, found again object by object; a number is held per object.

    Args:
        name: of the output, for messages.
    """

    def __init__(self, name: str) -> None:
        self._rows = Rows(name)
        self._last: dict[int, int] = {}

    def add(self, number: int, entry: bytes) -> None:
        """Keep an entry of an object. Raises: OutputError: disk full and the like."""
        head = _HEAD.pack(self._last.get(number, _NOTHING_BEFORE), len(entry))
        self._last[number] = self._rows.add(head + entry)

    def places(self, number: int) -> array[int]:
        """Places of an object's entries, in the order of time. Raises: OutputError: as `read`."""
        places = array("q")
        place = self._last.get(number, _NOTHING_BEFORE)
        while place != _NOTHING_BEFORE:
            places.append(place)
            place, _ = _HEAD.unpack(self._rows.read(place, _HEAD.size))
        places.reverse()
        return places

    def read(self, place: int, most: int | None = None) -> bytes:
        """The entry at a place, or its first bytes. Raises: OutputError: it cannot be read."""
        _, size = _HEAD.unpack(self._rows.read(place, _HEAD.size))
        wanted = size if most is None else min(size, most)
        return self._rows.read(place + _HEAD.size, wanted)

    def close(self) -> None:
        """Let go of what waits. Idempotent."""
        self._rows.close()
