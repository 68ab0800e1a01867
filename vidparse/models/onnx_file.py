"""The table of texts of an ONNX file, read without the library: to import that takes far longer.

The file is one message of protobuf: fields one after the other, each with a number for its field
and its encoding (https://protobuf.dev/programming-guides/encoding).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

# Numbers of fields in onnx.proto.
_GRAPH, _METADATA = 7, 14  # of a model
_NODE = 1  # of a graph
_KEY, _VALUE = 1, 2  # of an entry of the metadata

# How a field is written.
_VARINT, _EIGHT_BYTES, _WITH_LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_LONGEST_VARINT = 10  # bytes


def onnx_metadata(path: Path) -> dict[str, str]:
    """The table of texts of an ONNX file; the tensors stay on disk.

    Raises:
        ValueError: the file is damaged, or holds no graph with a node.
        OSError: it cannot be read.
    """
    table: dict[str, str] = {}
    has_nodes = False
    if not path.stat().st_size:
        raise ValueError("it is empty")

    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for number, start, end in _fields(data, 0, len(data)):
            if number == _GRAPH:
                has_nodes = any(inner == _NODE for inner, _, _ in _fields(data, start, end))
            elif number == _METADATA:
                entry = {inner: data[a:b] for inner, a, b in _fields(data, start, end)}
                table[_text(entry.get(_KEY, b""))] = _text(entry.get(_VALUE, b""))
    if not has_nodes:
        raise ValueError("it holds no graph")
    return table


def _fields(data: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number and place, from and to, of each field with a length in data[at:end].

    Raises:
        ValueError: these bytes are no such fields.
    """
    while at < end:
        key, at = _varint(data, at, end)
        number, form = key >> 3, key & 7
        start = at
        if form == _VARINT:
            _, at = _varint(data, at, end)
        elif form == _WITH_LENGTH:
            length, start = _varint(data, at, end)
            at = start + length
        elif form in (_EIGHT_BYTES, _FOUR_BYTES):
            at += 8 if form == _EIGHT_BYTES else 4
        else:
            raise ValueError("its bytes are no fields of a message")

        if at > end or not number:
            raise ValueError("it ends early, or its bytes are no fields of a message")
        if form == _WITH_LENGTH:
            yield number, start, at


def _varint(data: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    """A number of 7 bits per byte, lowest first, and the place behind it."""
    value = 0
    for i, byte in enumerate(data[at : min(end, at + _LONGEST_VARINT)]):
        value |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            return value, at + i + 1
    raise ValueError("it ends early, or its bytes are no fields of a message")


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("a text in it is no UTF-8") from None
