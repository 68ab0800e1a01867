"""Records as bytes and back, exactly: numbers, texts and arrays under their types, no pickles.

A record is packed as JSON, in which arrays are numbers of a list that follows. It is unpacked by
the types of its fields, so that bytes make nothing but what the record may hold. Arrays keep their
layout in memory, too: sums depend on the order in which numbers are added.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from types import MappingProxyType, NoneType, UnionType
from typing import TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from vidparse.inference.linkers import LINKERS
from vidparse.inference.memory import Linking
from vidparse.textfiles import Json, as_list, as_table, as_whole, as_word, parse_json

T = TypeVar("T")

_HEAD = struct.Struct("<I")  # length of the JSON
_RAW, _RUNS = "raw", "runs"  # forms of arrays
_LEAST_RUNS = 1024  # values, from which on runs are looked for
_VALUES_PER_RUN = 6  # on the mean, from which on runs are shorter
_LARGEST = 1 << 34  # bytes of an array


def pack(record: object, *, level: int = 0) -> bytes:
    """The bytes of a record: of dataclasses, mappings, tuples, arrays and plain values.

    Args:
        level: of zlib; 0 for what cannot be made much smaller.

    Raises:
        TypeError: it holds something else.
    """
    arrays: list[np.ndarray] = []
    value = _plain(record, arrays)
    packed = [_packed(array) for array in arrays]
    heads = [head for head, _ in packed]
    text = json.dumps([value, heads], separators=(",", ":"), allow_nan=False).encode()
    return zlib.compress(
        b"".join((_HEAD.pack(len(text)), text, *(data for _, data in packed))), level
    )


def unpack(kind: type[T], data: bytes) -> T:
    """The record of that kind; its arrays may be written to.

    Raises:
        ValueError: the bytes are of something else.
    """
    try:
        body = memoryview(zlib.decompress(data))
        (length,) = _HEAD.unpack_from(body)
        place = _HEAD.size + length
        value, heads = as_list(parse_json(bytes(body[_HEAD.size : place])), "a record")
        arrays = []
        for head in as_list(heads, "arrays"):
            array, place = _unpacked(head, body, place)
            arrays.append(array)
        found: T = _read(kind, value, arrays)  # type: ignore[assignment]
    except (zlib.error, struct.error, KeyError, IndexError, TypeError, ValueError) as error:
        raise ValueError(f"no {kind.__name__}: {error}") from error
    return found


def _plain(value: object, arrays: list[np.ndarray]) -> object:
    """JSON of a value; arrays go to the list."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return len(arrays) - 1
    if is_dataclass(value) and not isinstance(value, type):
        inside = [_plain(getattr(value, one.name), arrays) for one in fields(value)]
        return {type(value).__name__: inside}
    if isinstance(value, Mapping):
        return [[_plain(key, arrays), _plain(one, arrays)] for key, one in value.items()]
    if isinstance(value, tuple | list):
        return [_plain(one, arrays) for one in value]
    raise TypeError(f"{type(value).__name__} {value!r} is no plain value")


def _read(kind: object, value: Json, arrays: list[np.ndarray]) -> object:
    """The value of a kind: a type, or what stands in an annotation."""
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return _read(_choice(get_args(kind), value), value, arrays)
    if kind is NoneType and value is None:
        return None
    if kind is np.ndarray or origin is np.ndarray:
        return arrays[as_whole(value, "an array")]

    # Read what holds others, by the types of these.
    if origin is tuple:
        inside = as_list(value, "a tuple")
        kinds = get_args(kind)
        kinds = kinds[:1] * len(inside) if kinds[-1] is Ellipsis else kinds
        return tuple(_read(one, v, arrays) for one, v in zip(kinds, inside, strict=True))
    if origin is not None and issubclass(origin, Mapping):
        keys, values = get_args(kind)
        pairs = [as_list(pair, "a pair") for pair in as_list(value, "pairs")]
        return MappingProxyType(
            {_read(keys, key, arrays): _read(values, one, arrays) for key, one in pairs}
        )
    if isinstance(kind, type) and is_dataclass(kind):
        return _read_record(kind, value, arrays)

    # Leave numbers as they were: an int may stand where a float may.
    if kind is float and type(value) in (int, float):
        return value
    if kind in (bool, int, str) and type(value) is kind:
        return value
    raise ValueError(f"{value!r} is no {kind}")


def _choice(kinds: tuple[object, ...], value: Json) -> object:
    """The one of several kinds that a value is of."""
    if value is None:
        return NoneType
    others = [kind for kind in kinds if kind is not NoneType]
    if len(others) == 1:
        return others[0]
    (name,) = as_table(value, "a record")
    return next(kind for kind in others if isinstance(kind, type) and kind.__name__ == name)


def _read_record(kind: type, value: Json, arrays: list[np.ndarray]) -> object:
    inside = as_list(as_table(value, "a record")[kind.__name__], "fields")
    hints = dict(_hints(kind))
    if kind is Linking:
        # A linker's class gives the type of its state.
        hints["state"] = _hints(LINKERS[as_word(inside[0], "a linker")])["state"]
    names = [one.name for one in fields(kind)]
    pairs = zip(names, inside, strict=True)
    return kind(**{name: _read(hints[name], one, arrays) for name, one in pairs})


@cache
def _hints(kind: type) -> dict[str, object]:
    return get_type_hints(kind)


def _packed(array: np.ndarray) -> tuple[list[object], bytes]:
    """An array as the facts of it and its bytes."""
    # Order axes as they lie in memory, the one of the longest steps first.
    order = sorted(range(array.ndim), key=lambda axis: (-array.strides[axis], axis))
    laid = np.asarray(array.transpose(order), order="C")
    facts: list[object] = [array.dtype.str, list(laid.shape), order]
    if array.dtype.kind not in "biuf":
        raise TypeError(f"an array of {array.dtype} is no plain value")

    # Write maps as runs: they are a hundredth as many as the pixels.
    if array.dtype.kind in "bu" and array.size >= _LEAST_RUNS:
        flat = laid.reshape(-1)
        starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
        if len(starts) * _VALUES_PER_RUN < array.size:
            lengths = np.diff(starts, append=array.size).astype("<u4")
            return [*facts, _RUNS, len(starts)], lengths.tobytes() + flat[starts].tobytes()
    return [*facts, _RAW, array.size], laid.tobytes()


def _unpacked(head: Json, body: memoryview, place: int) -> tuple[np.ndarray, int]:
    """The array at a place of the bytes, and the place after it."""
    dtype_text, shape_list, order_list, form, count = as_list(head, "an array")
    dtype = np.dtype(as_word(dtype_text, "a type"))
    shape = [as_whole(side, "a side") for side in as_list(shape_list, "a shape")]
    order = [as_whole(axis, "an axis") for axis in as_list(order_list, "an order")]
    number = as_whole(count, "a count", most=_LARGEST)
    if dtype.kind not in "biuf" or math.prod(shape) * dtype.itemsize > _LARGEST:
        raise ValueError(f"an array of {dtype}, {shape}")

    # Copy: bytes cannot be written to, and need not lie where a type wants to.
    if form == _RUNS:
        lengths = np.frombuffer(body, "<u4", number, place)
        place += lengths.nbytes
        values = np.frombuffer(body, dtype, number, place)
        if int(lengths.sum(dtype=np.int64)) != math.prod(shape):
            raise ValueError("runs of another length")
        flat = np.repeat(values, lengths)
    else:
        values = np.frombuffer(body, dtype, number, place)
        flat = values.copy()
    place += values.nbytes
    return flat.reshape(shape).transpose(np.argsort(order)), place
