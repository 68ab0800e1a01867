"""Text, JSON and TOML from files of other people: decoded, parsed and bounded in one place.

Every text file and every JSON or TOML value that the project reads passes here, so that a byte
order mark, another encoding, an infinite number or a nesting without end is one line for the user.
"""

from __future__ import annotations

import codecs
import json
import math
import tomllib
from pathlib import Path
from typing import Any, NoReturn

from vidparse.errors import InputError, VidparseError

# Longer marks first: the mark of UTF-32 begins with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_LARGEST_INTEGER = 1 << 63  # what NumPy and torch can hold


class OutOfRange(ValueError):
    """A number that is infinite, none at all, or beyond 64 bits."""


def read_text(path: Path, *, failure: type[VidparseError] = InputError) -> str:
    """Text of a file in UTF-8, with or without a byte order mark, or in UTF-16 with one.

    Args:
        failure: class of the error that is raised.

    Raises:
        VidparseError: of the class `failure`: the file cannot be read, or has another encoding.
    """
    try:
        return decode_text(_read_bytes(path, failure))
    except ValueError as error:
        raise failure(f"{path}: {error}; save it as UTF-8") from error


def read_json(path: Path, *, failure: type[VidparseError] = InputError) -> Any:
    """Parsed JSON of a file; see :func:`parse_json`.

    Raises:
        VidparseError: of the class `failure`: the file cannot be read, or is no JSON.
    """
    try:
        return parse_json(_read_bytes(path, failure))
    except ValueError as error:
        raise failure(f"{path}: not json ({error}); fetch or make it again") from error


def decode_text(data: bytes) -> str:
    """Text of encoded bytes; the encodings are those of :func:`read_text`.

    Raises:
        ValueError: another encoding; the message names the line and the byte.
    """
    mark = next((mark for mark in _MARKS if data.startswith(mark)), b"")
    encoding = _MARKS.get(mark, "utf-8")
    if encoding == "utf-8" and b"\0" in data:
        raise ValueError("holds zero bytes: no text, or UTF-16 without a byte order mark")

    try:
        return data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        byte = error.object[error.start]
        name = encoding.upper().removesuffix("-LE").removesuffix("-BE")
        other = ", but perhaps Latin-1" if encoding == "utf-8" else ""
        raise ValueError(f"line {line} is not {name}{other} (byte 0x{byte:02x})") from error


def parse_json(text: str | bytes) -> Any:
    """A JSON value whose numbers are finite and whose integers fit 64 bits.

    Raises:
        ValueError: no JSON, a number out of range, or nested too deeply.
    """
    if isinstance(text, bytes):
        text = decode_text(text)
    try:
        return _DECODER.decode(text)
    except RecursionError as error:
        raise ValueError("lists or tables are nested too deeply") from error


def parse_toml(text: str | bytes) -> dict[str, Any]:
    """A TOML table whose numbers are finite and whose integers fit 64 bits.

    Raises:
        ValueError: no TOML, a number out of range, or nested too deeply.
    """
    if isinstance(text, bytes):
        text = decode_text(text)
    try:
        table = tomllib.loads(text, parse_float=_finite)
        _check_integers(table)
    except (tomllib.TOMLDecodeError, OutOfRange):
        raise
    except ValueError as error:  # Python turns no text of thousands of digits into a number
        raise OutOfRange("a number is out of range") from error
    except RecursionError as error:
        raise ValueError("lists or tables are nested too deeply") from error
    return table


def _read_bytes(path: Path, failure: type[VidparseError]) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise failure(f"{path}: {reason}; check the path") from error
    except ValueError as error:  # a zero byte in the name
        raise failure(f"{str(path)!r}: no file name ({error}); check the path") from error


def _integer(digits: str) -> int:
    if len(digits) < 19:
        return int(digits)
    if len(digits) > 20 or not -_LARGEST_INTEGER <= int(digits) < _LARGEST_INTEGER:
        raise OutOfRange(f"the number {_shortened(digits)} is out of range")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise OutOfRange(f"the number {_shortened(digits)} is not finite")
    return value


def _no_number(name: str) -> NoReturn:
    raise OutOfRange(f"{name} is no number")


# Made once: a decoder per value takes longer than a short value itself.
_DECODER = json.JSONDecoder(parse_constant=_no_number, parse_int=_integer, parse_float=_finite)


def _shortened(digits: str) -> str:
    return digits if len(digits) <= 24 else f"{digits[:12]}... ({len(digits)} digits)"


def _check_integers(value: Any) -> None:
    if isinstance(value, dict):
        for inner in value.values():
            _check_integers(inner)
    elif isinstance(value, list):
        for inner in value:
            _check_integers(inner)
    elif isinstance(value, int) and not -_LARGEST_INTEGER <= value < _LARGEST_INTEGER:
        raise OutOfRange("a number is out of range")
