"""Changes of files that make readers stumble: of bytes, of numbers and words, of the shape of JSON.

All are drawn from one generator of random numbers, so that a case is its seed.
"""

from __future__ import annotations

import json
import random
import re
import struct
import zlib
from collections.abc import Callable, Sequence

Mutation = Callable[[bytes, random.Random], bytes]

PNG = b"\x89PNG\r\n\x1a\n"
_NUMBERS = (0, 1, 2, 127, 128, 255, 256, 32767, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
_VALUES: tuple[object, ...] = (
    *(None, True, False, 0, -1, 1, 0.5, -0.0, 1e308, 2**31, 2**63 - 1, -(2**63), 10**12),
    *("", "x", "../../x", "/etc/passwd", "a\0b", "C:\\x", "\ud800", "\u202e", "\x1b[31m", "9" * 40),
    *([], {}, [[]], [None], {"": None}, [0] * 50, "x" * 5000, ["a", 1], {"id": -1}),
)
_WORDS = (
    *(b"NaN", b"Infinity", b"-1", b"0", b"1e999", b"99999999999999999999", b"null", b"true", b"{"),
    *(b"]", b"[[[[", b'"', b"\\u0000", b"\xff\xfe", b"\x00", b"<a>", b"</a>", b"&x;", b"<!--"),
    *(b"0,0;0,0", b"1;2", b"\n\n", b"inf", b"nan", b"../..", b"=", b"#", b"'''", b"%s%n"),
)
_NUMBER = re.compile(rb"-?\d+(\.\d+)?")
_TEXT_MARKS = re.compile(rb"[\s,:;=<>\"'{}\[\]()]+")


def of_bytes(data: bytes, rng: random.Random) -> bytes:
    """One to eight changes of bytes: flips, numbers, cuts, repeats, moves."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        if changed:
            rng.choice(_BYTE_CHANGES)(changed, rng)
    return bytes(changed)


def _flip(data: bytearray, rng: random.Random) -> None:
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _near_start(data: bytearray, rng: random.Random) -> None:
    data[rng.randrange(min(len(data), 256))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))


def _number(data: bytearray, rng: random.Random) -> None:
    form = rng.choice((">I", "<I", ">H", "<H", ">Q", "<Q"))
    value = rng.choice(_NUMBERS) % 256 ** struct.calcsize(form)
    at = rng.randrange(len(data))
    data[at : at + struct.calcsize(form)] = struct.pack(form, value)


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def _drop(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data))
    del data[at : at + rng.randrange(1, 65)]


def _repeat(data: bytearray, rng: random.Random) -> None:
    at, length = rng.randrange(len(data)), rng.randrange(1, 257)
    data[at:at] = data[at : at + length] * rng.choice((1, 1, 2, 20))


def _blank(data: bytearray, rng: random.Random) -> None:
    at, length = rng.randrange(len(data)), rng.randrange(1, 257)
    piece = data[at : at + length]
    data[at : at + length] = bytes([rng.choice((0, 0xFF))]) * len(piece)


def _noise(data: bytearray, rng: random.Random) -> None:
    at, length = rng.randrange(len(data)), rng.randrange(1, 33)
    data[at : at + length] = rng.randbytes(length)


def _move(data: bytearray, rng: random.Random) -> None:
    at, length, to = rng.randrange(len(data)), rng.randrange(1, 257), rng.randrange(len(data))
    piece = data[at : at + length]
    del data[at : at + length]
    data[to:to] = piece


_BYTE_CHANGES = (_flip, _flip, _near_start, _number, _number, _cut, _drop, _repeat, _blank, _noise,
                 _move)  # fmt: skip


def of_text(data: bytes, rng: random.Random) -> bytes:
    """Numbers and words replaced, lines dropped, doubled and swapped."""
    kind = rng.randrange(5)
    if kind == 0 and (found := list(_NUMBER.finditer(data))):
        one = rng.choice(found)
        word = rng.choice((rng.choice(_WORDS), str(rng.choice(_NUMBERS)).encode()))
        return data[: one.start()] + word + data[one.end() :]
    if kind == 1 and (found := list(_TEXT_MARKS.finditer(data))):
        at = rng.choice(found).end()
        return data[:at] + rng.choice(_WORDS) + data[at:]
    if kind == 2:
        lines = data.splitlines(keepends=True) or [b""]
        at = rng.randrange(len(lines))
        lines[at : at + 1] = rng.choice(([], [lines[at]] * 2, [lines[at]] * 30, [b"\xff\n"]))
        return b"".join(lines)
    if kind == 3:
        depth = rng.choice((10, 1000, 100_000))
        at = rng.randrange(len(data) + 1)
        return data[:at] + rng.choice((b"[", b'{"a":', b"<a>", b"{a=")) * depth + data[at:]
    return of_bytes(data, rng)


def of_json(data: bytes, rng: random.Random) -> bytes:
    """A value, a key or an entry of a JSON document replaced, dropped or doubled."""
    try:
        record = json.loads(data)
    except ValueError:
        return of_text(data, rng)
    for _ in range(rng.choice((1, 1, 2, 4))):
        record = _changed(record, rng)
    return json.dumps(record, ensure_ascii=rng.random() < 0.8).encode("utf-8", "surrogatepass")


def of_json_lines(data: bytes, rng: random.Random) -> bytes:
    """One line of JSON changed."""
    lines = data.splitlines()
    at = rng.randrange(len(lines))
    lines[at] = of_json(lines[at], rng)
    return b"\n".join(lines) + b"\n"


def _changed(record: object, rng: random.Random) -> object:
    """The record with one of its values changed, at a random depth."""
    if isinstance(record, dict) and record and rng.random() < 0.9:
        key = rng.choice(list(record))
        kind = rng.randrange(8)
        if kind == 0:
            return {name: value for name, value in record.items() if name != key}
        if kind == 1:
            return {**record, rng.choice(("", "x", "id", key.upper())): record[key]}
        return {**record, key: _changed(record[key], rng)}
    if isinstance(record, list) and record and rng.random() < 0.9:
        at, copy = rng.randrange(len(record)), list(record)
        kind = rng.randrange(8)
        copy[at : at + 1] = (
            [] if kind == 0 else [copy[at]] * 2 if kind == 1 else [_changed(copy[at], rng)]
        )
        return copy
    if isinstance(record, int | float) and rng.random() < 0.5:
        return rng.choice((record + 1, -record, record * 1000, record + 0.5, str(record)))
    return rng.choice(_VALUES)


def of_png(data: bytes, rng: random.Random) -> bytes:
    """A chunk changed, its sum made right again; else bytes."""
    if rng.random() < 0.3 or not data.startswith(PNG):
        return of_bytes(data, rng)
    chunks = list(_chunks(data))
    at = rng.randrange(len(chunks))
    kind, body = chunks[at]
    change = rng.randrange(5)
    if change == 0:
        chunks[at : at + 1] = rng.choice(([], [chunks[at]] * 2))
    elif change == 1 and kind == b"IDAT":
        with_filters = bytearray(zlib.decompress(body)) if _is_whole(body) else bytearray(body)
        _flip(with_filters, rng)
        chunks[at] = kind, zlib.compress(bytes(with_filters))
    elif change == 2:
        chunks[at] = rng.choice((b"tRNS", b"PLTE", b"eXIf", b"iCCP", b"acTL", b"IHDR")), body
    else:
        chunks[at] = kind, of_bytes(body, rng) if body else rng.randbytes(9)
    return PNG + b"".join(_chunk(kind, body) for kind, body in chunks)


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], len(PNG)
    while at + 8 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        found.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += length + 12
    return found


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _is_whole(body: bytes) -> bool:
    try:
        zlib.decompress(body)
    except zlib.error:
        return False
    return True


def of_safetensors(data: bytes, rng: random.Random) -> bytes:
    """The header's JSON, or that within its table, changed, its length right again; else bytes."""
    length = int.from_bytes(data[:8], "little")
    head = data[8 : 8 + length]
    kind = rng.randrange(4)
    if kind == 0:
        return of_bytes(data, rng)
    if kind == 1:
        lying = rng.choice((0, 1, length - 1, length + 1, 10**12, 2**63, 2**64 - 1))
        return lying.to_bytes(8, "little") + data[8:]
    if kind == 2:
        record = json.loads(head)
        table = record.get("__metadata__", {})
        name = rng.choice(sorted(table))
        table[name] = of_json(table[name].encode(), rng).decode("utf-8", "replace")
        head = json.dumps(record).encode()
    else:
        head = of_json(head, rng)
    return len(head).to_bytes(8, "little") + head + data[8 + length :]


def spliced(seeds: Sequence[bytes], rng: random.Random) -> bytes:
    """The beginning of one seed and the end of another."""
    one, other = rng.choice(seeds), rng.choice(seeds)
    return one[: rng.randrange(len(one) + 1)] + other[rng.randrange(len(other) + 1) :]
