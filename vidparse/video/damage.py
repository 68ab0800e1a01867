"""Signs of an end that comes early, which FFmpeg passes over.

FFmpeg reads a cut file to its last packet and reports a normal end. The structure shows more: most
formats are a row of elements that announce their length. A walker follows that row, skipping the
contents, and so knows when the last element is not all there. It takes bytes as they pass (pipes)
or jumps through a file. By hand: no library of PyPI finds out that a Matroska file is cut.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

# A walker requests n > 0 bytes, or skips -n bytes when n < 0. It requests the head of an element
# only at a border between elements, where an end is a proper end.
Walk = Generator[tuple[int, bool], bytes, None]

_UNKNOWN: Final = -1
_SEGMENT, _CLUSTER = 0x18538067, 0x1F43B675
_MEDIA_BOXES: Final = (b"mdat", b"moov", b"moof")
_ASF_HEADER: Final = bytes.fromhex("3026b2758e66cf11a6d900aa")  # id of the first object
_FLV_TAG: Final = 11  # bytes of its head
_FLV_KINDS: Final = (8, 9, 18)  # sound, pictures, texts
_OGG_PAGE, _PACK = b"OggS", b"\0\0\1\xba"  # how elements of Ogg and program streams begin
_LAST_ELEMENTS: Final = 8  # that are tried as a beginning, behind damage
HEAD_BYTES: Final = 64  # enough to know a format by
TAIL_BYTES: Final = 1 << 20  # enough for the last unit of each stream, and its index
# A mark that begins a segment; 0 and restart marks stand inside of coded data.
_JPEG_MARK: Final = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_PACKET: Final = 188
_LENGTHS: Final = (188, 192, 204)  # plain, with times in front (M2TS), with parity behind
_TIMES: Final = 4  # bytes in front of each packet of M2TS
_SYNC: Final = 0x47
_UNIT: Final = b"\0\0\1"  # how a unit begins
_UNIT_HEAD: Final = 6  # bytes that its own length does not count
_CLOCKS: Final = 6  # bytes of a clock reference
_FEWEST: Final = 4  # packets that show the length of all
_SAMPLE: Final = 256  # packets at the end that are looked at for it


def _walk_boxes() -> Walk:
    """ISO base media (mp4, mov): 32-bit size and type; size 1 = 64-bit size, 0 = to the end."""
    while True:
        head = yield 8, True
        size, kind = int.from_bytes(head[:4], "big"), head[4:8]
        header = 8
        if size == 1:
            size, header = int.from_bytes((yield 8, False), "big"), 16
        # Padding after the last box, or a box of a kind nobody loses a frame with.
        if size < header or (kind not in _MEDIA_BOXES and not kind.isalnum()):
            return
        if size > header:
            yield header - size, kind not in _MEDIA_BOXES


def _walk_ebml() -> Walk:
    """Matroska, WebM: variable-length id and size; unknown size (streamed) = look inside."""
    while True:
        first = (yield 1, True)[0]

        # Read the length of the id off its leading zeros (RFC 8794, 5).
        length = 9 - first.bit_length()
        if length > 4:
            return  # not an element: padding or damage that the demuxer will speak of
        tail = (yield length - 1, False) if length > 1 else b""
        element = int.from_bytes(bytes([first]) + tail, "big")
        size = yield from _ebml_size()
        if size == _UNKNOWN and element in (_SEGMENT, _CLUSTER):
            continue
        if size > 0:
            yield -size, False


def _ebml_size() -> Generator[tuple[int, bool], bytes, int]:
    first = (yield 1, False)[0]
    length = 9 - first.bit_length()
    if length > 8:
        return 0
    tail = (yield length - 1, False) if length > 1 else b""

    # Clear the marker of the length; all ones mean that the writer did not know the size.
    value = int.from_bytes(bytes([first]) + tail, "big") & ((1 << 7 * length) - 1)
    return _UNKNOWN if value == (1 << 7 * length) - 1 else value


def _walk_riff() -> Walk:
    """AVI: RIFF chunks with a 32-bit size (OpenDML files have several)."""
    while True:
        head = yield 8, True
        size = int.from_bytes(head[4:8], "little")
        if head[:4] != b"RIFF" or size in (0, 0xFFFFFFFF):
            return  # written by a program that could not seek back to fill in the size
        yield -size, False

        # Pass the padding to an even place, which may be missing at the end.
        if size % 2:
            yield -1, True


def _walk_ogg() -> Walk:
    """Ogg (RFC 3533, 6): pages of a head, a table of lengths, and that many bytes."""
    while True:
        head = yield 27, True
        if head[:4] != _OGG_PAGE:
            return
        lengths = (yield head[26], False) if head[26] else b""
        if sum(lengths):
            yield -sum(lengths), False


def _walk_asf() -> Walk:
    """ASF, WMV: objects of an id (16 bytes) and a 64-bit size that counts both."""
    while True:
        head = yield 24, True
        size = int.from_bytes(head[16:], "little")
        if size < 24:
            return  # a stream whose size was never filled in
        if size > 24:
            yield -(size - 24), False


def _walk_program_stream() -> Walk:
    """MPEG-1 and -2 program streams (ISO 13818-1, 2.5.3): packs and packets with their length."""
    while True:
        code = yield 4, True
        if code[:3] != b"\0\0\1" or code[3] < 0xB9:
            return
        if code[3] == 0xBA:
            second = (yield 1, False)[0] >> 6 == 1  # MPEG-2
            rest = yield (9 if second else 7), False

            # Skip the stuffing that the last three bits announce, or the next code is missed.
            if second and rest[-1] & 7:
                yield -(rest[-1] & 7), False
        elif code[3] != 0xB9:
            length = int.from_bytes((yield 2, False), "big")
            if length:
                yield -length, False


def _walk_flv() -> Walk:
    """FLV (annex E): a head, then tags, each with its size in front (3 bytes) and behind (4)."""
    head = yield 9, False

    # Pass the rest of the head, and the size of a tag before the first, which is 0.
    yield max(0, int.from_bytes(head[5:], "big") - 9) + 4, False
    while True:
        tag = yield _FLV_TAG, True
        if tag[0] & 0x1F not in _FLV_KINDS:
            return
        yield -(int.from_bytes(tag[1:4], "big") + 4), False


def _walk_gif() -> Walk:
    """GIF (89a): blocks of pieces with an 8-bit length; a trailer ends the file."""
    head = yield 13, False
    if head[10] & 0x80:
        yield -(3 << (head[10] & 7) + 1), False
    while True:
        # Expect an extension (0x21) or a picture (0x2C); rows of pieces follow both.
        kind = (yield 1, False)[0]
        if kind == 0x21:
            yield 1, False
        elif kind == 0x2C:
            flags = (yield 9, False)[8]
            if flags & 0x80:
                yield -(3 << (flags & 7) + 1), False
            yield 1, False
        else:
            return  # the trailer, or damage
        while length := (yield 1, False)[0]:
            yield -length, False


class Walker:
    """Follows the elements of one file; `cut` is True while an element is not all there.

    It gives up, and `lost` is True, where something else than an element stands.
    """

    def __init__(self, elements: Callable[[], Walk], mark: bytes = b"") -> None:
        """`mark` begins an element of formats that can be walked from any of their elements."""
        self._elements, self._mark = elements, mark
        walk = elements()
        self._walk: Walk | None = walk
        self._held = bytearray()
        self._wanted, self.cut = next(walk)

        # Begin whole, though the walk wants a head: an empty file is another error.
        self.cut = False
        self._clean = True

    @property
    def lost(self) -> bool:
        return self._walk is None

    def feed(self, data: bytes) -> None:
        """Bytes of a pipe, in order."""
        # Copy the heads of elements alone: gigabytes of contents pass through here.
        view = memoryview(data)
        while len(view) and self._walk is not None:
            if self._wanted < 0:
                step = min(len(view), -self._wanted)
                view = view[step:]
                self._wanted += step
                if self._wanted == 0:
                    self._advance(b"")
            else:
                step = min(len(view), self._wanted - len(self._held))
                self._held += view[:step]
                view = view[step:]
                if len(self._held) == self._wanted:
                    taken, self._held = bytes(self._held), bytearray()
                    self._advance(taken)
        self.cut = self._walk is not None and not (self._clean and not self._held)

    def cut_by(self, tail: bytes) -> bool | None:
        """`cut`, None if lost; damage on the way is stepped over where elements have a mark.

        Args:
            tail: the last bytes of the file.
        """
        if not (self._mark and (self.lost or self.cut)):
            return None if self.lost else self.cut

        # Try several marks from behind: contents may hold the same bytes by chance.
        verdicts: list[bool | None] = []
        place = len(tail)
        while len(verdicts) < _LAST_ELEMENTS and (place := tail.rfind(self._mark, 0, place)) >= 0:
            again = Walker(self._elements)
            again.feed(tail[place:])
            verdicts.append(None if again.lost else again.cut)

        # Believe one whole end: a false mark hardly leads to the very last byte.
        if False in verdicts:
            return False
        return verdicts[0] if verdicts else None

    def follow(self, file: BinaryIO) -> None:
        """A seekable file from its beginning, reading only the heads of elements."""
        size = file.seek(0, os.SEEK_END)
        position = file.seek(0)
        while self._walk is not None:
            # Less than 0: so many bytes are passed over.
            if self._wanted < 0:
                position -= self._wanted
                if position > size:
                    self.cut = not self._clean
                    return
                file.seek(position)
                self._advance(b"")
                continue

            data = file.read(self._wanted)
            position += len(data)
            if len(data) < self._wanted:
                self.cut = not self._clean
                return
            self._advance(data)

    def _advance(self, data: bytes) -> None:
        try:
            assert self._walk is not None
            self._wanted, self._clean = self._walk.send(data)
        except StopIteration:
            self._walk = None


def walker_for(head: bytes) -> Walker | None:
    """The walker for a file that starts with `head` (`HEAD_BYTES`), None for other formats."""
    if head[:4] == b"\x1aE\xdf\xa3":
        return Walker(_walk_ebml)
    if head[4:8] in (b"ftyp", b"styp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return Walker(_walk_boxes)
    if head[:4] == b"RIFF" and head[8:11] == b"AVI":
        return Walker(_walk_riff)
    if head[:4] == _OGG_PAGE:
        return Walker(_walk_ogg, _OGG_PAGE)
    if head[:12] == _ASF_HEADER:
        return Walker(_walk_asf)
    if head[:4] == _PACK:
        return Walker(_walk_program_stream, _PACK)
    if head[:3] == b"FLV":
        return Walker(_walk_flv)
    if head[:3] == b"GIF":
        return Walker(_walk_gif)
    return None


def ends_with_flv_tag(tail: bytes) -> bool:
    """The size behind the last tag is that in front of it: both are there."""
    size = int.from_bytes(tail[-4:], "big")
    start = len(tail) - 4 - size
    return start >= 0 and int.from_bytes(tail[start + 1 : start + 4], "big") + _FLV_TAG == size


def is_cut_nut(tail: bytes, size: int) -> bool:
    """A NUT file ends in its index, and that in its own length (8 bytes) and a checksum (4)."""
    length = int.from_bytes(tail[-12:-4], "big")
    return not 12 < length < size


def whole_jpeg(data: bytes) -> bytes | None:
    """A JPEG up to its end mark, without the second picture that cameras add behind it.

    None: a progressive one without that mark: scans are missing, which nothing else shows. Of a
    sequential one the decoder runs out of data, or the mark alone is missing.
    """
    place, progressive = 2, False
    while mark := _JPEG_MARK.search(data, place):
        kind, place = mark[0][1], mark.end()
        if kind == 0xD9:
            return data[:place]
        progressive |= kind == 0xC2

        # Jump over the segment: the thumbnail of a camera inside it has an end mark, too.
        place += int.from_bytes(data[place : place + 2], "big")
    return None if progressive else data


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
    """A transport stream ends behind a packet, and with it the last unit of each stream in it.

    An MPEG transport stream (ISO 13818-1, 2.4.3) is cut into units (PES packets), and those into
    transport packets. Where a unit ends inside of a transport packet, an adaptation field fills the
    room in front of it. So the last packet of a stream shows by its head alone that its unit ended
    there, whatever became of the bytes before.

    Args:
        tail: the last bytes, from some hundred packets on; its beginning need be no packet's.

    Returns:
        None where that cannot be known: no packets, or a unit that may go on or not.
    """
    found = _packets_of(tail)
    if found is None:
        return None
    first, length = found

    # Expect no times behind the last packet of M2TS: they stand in front of each.
    behind = _PACKET if length == _PACKET + _TIMES else length
    if (len(tail) - first - behind) % length:
        return False

    verdicts = [unit.whole for unit in _last_units(tail, range(first, len(tail), length))]
    if False in verdicts:
        return False
    return True if verdicts and None not in verdicts else None


def _packets_of(tail: bytes) -> tuple[int, int] | None:
    """Place of the first sync byte, and the distance to the next; most of them have to be there."""
    # Try every place and distance: the sync byte also stands inside of packets.
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

        # Require the start code, too: tables have the same flag and no unit.
        if packet[1] & 0x40 and content.startswith(_UNIT):
            size = int.from_bytes(content[4:6], "big")
            unit = units[number] = _Unit(size + _UNIT_HEAD if size else 0, counter)
        elif unit is not None:
            # Notice lost packets by the counter: a unit that misses them is short, but not cut.
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
