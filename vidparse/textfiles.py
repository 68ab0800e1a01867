"""Text, JSON, TOML and XML from files of other people: decoded, parsed and bounded in one place.

Every text file and every JSON or TOML value that the project reads passes here, so that a byte
order mark, another encoding, an infinite number or a nesting without end is one line for the user.
Readers check the kind of each value by `as_table`, `as_list`, ...
"""

from __future__ import annotations

import codecs
import json
import math
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn, TypeAlias
from xml.parsers import expat

from vidparse.errors import InputError, VidparseError

# Longer marks first: the mark of UTF-32 begins with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
# A parsed value, and a parsed object or table of such.
Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
JsonTable: TypeAlias = dict[str, Json]

_LARGEST_INTEGER = 1 << 63  # the limit of NumPy and torch
_DEEPEST_XML, _XML_BLOCK = 64, 1 << 16  # elements inside each other; bytes that are read at once


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


def read_json(path: Path, *, failure: type[VidparseError] = InputError) -> Json:
    """Parsed JSON of a file; see :func:`parse_json`.

    Raises:
        VidparseError: of the class `failure`: the file cannot be read, or is no JSON.
    """
    try:
        return parse_json(_read_bytes(path, failure))
    except ValueError as error:
        raise failure(f"{path}: not json ({error}); fetch or make it again") from error


def xml_events(
    path: Path, *, failure: type[VidparseError] = InputError
) -> Iterator[tuple[str, dict[str, str] | None, str]]:
    """Elements of an XML file as they open and close: name, attributes, text.

    An element that opens has its attributes and no text, one that closes has None and the text
    directly in it. Nothing is kept, and a document type, through which entities grow without end
    or name other files, is refused.

    Raises:
        VidparseError: of the class `failure`: the file cannot be read, or is no such XML.
    """
    found: list[tuple[str, dict[str, str] | None, str]] = []
    texts: list[list[str]] = []

    def opened(name: str, attributes: dict[str, str]) -> None:
        if len(texts) >= _DEEPEST_XML:
            raise ValueError(f"line {parser.CurrentLineNumber}: elements are nested too deeply")
        texts.append([])
        found.append((name, attributes, ""))

    def closed(name: str) -> None:
        found.append((name, None, "".join(texts.pop())))

    def refused(*_: object) -> None:
        raise ValueError(f"line {parser.CurrentLineNumber}: has a document type")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = opened, closed
    parser.CharacterDataHandler = lambda text: texts[-1].append(text) if texts else None
    parser.StartDoctypeDeclHandler = refused
    try:
        with path.open("rb") as file:
            while block := file.read(_XML_BLOCK):
                parser.Parse(block, False)
                yield from found
                found.clear()
            parser.Parse(b"", True)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise failure(f"{path}: {reason}; check the path") from error
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise failure(f"{path}: not readable XML ({error}); export it again") from error
    yield from found


def without_mark(data: bytes) -> bytes:
    """The beginning of a file in UTF-8: without its byte order mark, from UTF-16 and 32, too."""
    mark = next((mark for mark in _MARKS if data.startswith(mark)), b"")
    if not mark:
        return data
    return data[len(mark) :].decode(_MARKS[mark], "ignore").encode()


def decode_text(data: bytes) -> str:
    """Text of encoded bytes; the encodings are those of :func:`read_text`.

    Raises:
        ValueError: another encoding; the message names the line and the byte.
    """
    mark = next((mark for mark in _MARKS if data.startswith(mark)), b"")
    encoding = _MARKS.get(mark, "utf-8")

    # Refuse zero bytes, though UTF-8 has them: UTF-16 without a mark would pass as text.
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


def parse_json(text: str | bytes, *, any_bytes: bool = False) -> Json:
    """A JSON value whose numbers are finite and whose integers fit 64 bits.

    Args:
        any_bytes: take bytes that are no UTF-8, as of names of files, for lone surrogates, which
            `os.fsencode` turns back.

    Raises:
        ValueError: no JSON, a number out of range, or nested too deeply.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape") if any_bytes else decode_text(text)
    try:
        value: Json = _DECODER.decode(text)
    except RecursionError as error:
        raise ValueError("lists or tables are nested too deeply") from error
    return value


def parse_toml(text: str | bytes) -> JsonTable:
    """A TOML table whose numbers are finite and whose integers fit 64 bits.

    Raises:
        ValueError: no TOML, a number out of range, or nested too deeply.
    """
    if isinstance(text, bytes):
        text = decode_text(text)
    try:
        table = tomllib.loads(text, parse_float=_finite)

        # Check whole numbers afterwards: tomllib takes a function for those with a point alone.
        _check_integers(table)
    except (tomllib.TOMLDecodeError, OutOfRange):
        raise
    except ValueError as error:  # Python turns no text of thousands of digits into a number
        raise OutOfRange("a number is out of range") from error
    except RecursionError as error:
        raise ValueError("lists or tables are nested too deeply") from error
    return table


def as_table(value: Json, what: str) -> JsonTable:
    """The value, if it is an object or table. Raises: TypeError: it is none; `what` names it."""
    if not isinstance(value, dict):
        raise TypeError(f"{what} is to be a table")
    return value


def as_list(value: Json, what: str) -> list[Json]:
    """The value, if it is a list. Raises: TypeError: it is none; `what` names it."""
    if not isinstance(value, list):
        raise TypeError(f"{what} is to be a list")
    return value


def as_tables(value: Json, what: str) -> list[JsonTable]:
    """The value, if it is a list of tables. Raises: TypeError: it is none; `what` names it."""
    return [as_table(one, f"each of {what}") for one in as_list(value, what)]


def as_word(value: Json, what: str) -> str:
    """The value, if it is text. Raises: TypeError: it is none; `what` names it."""
    if not isinstance(value, str):
        raise TypeError(f"{what} is to be a word")
    return value


def as_flag(value: Json, what: str) -> bool:
    """The value, if it is true or false. Raises: TypeError: it is neither; `what` names it."""
    if not isinstance(value, bool):
        raise TypeError(f"{what} is to be true or false")
    return value


def as_number(value: Json, what: str) -> float:
    """The value, if it is a number. Raises: TypeError: it is none; `what` names it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{what} is to be a number")
    return value


def as_whole(value: Json, what: str, least: int = 0, most: int = 1 << 31) -> int:
    """The value, if it is a whole number of that range.

    Raises:
        TypeError, ValueError: it is none, or out of range; `what` names it.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{what} is to be a whole number, {least} to {most}")
    if not least <= value <= most:
        raise ValueError(f"{what} is to be a whole number, {least} to {most}")
    return value


def fault_of(error: Exception, whose: str = "") -> str:
    """In words, why a record is none: the key that it lacks, or the text of the error.

    Args:
        whose: the thing that lacks the key, such as "a shape".
    """
    if isinstance(error, KeyError):
        return f"{whose} lacks {error}".strip()
    return "a list is too short" if isinstance(error, IndexError) else str(error)


def _read_bytes(path: Path, failure: type[VidparseError]) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise failure(f"{path}: {reason}; check the path") from error
    except ValueError as error:  # a zero byte in the name
        raise failure(f"{str(path)!r}: no file name ({error}); check the path") from error


def _integer(digits: str) -> int:
    # Go by the length first: Python makes no number of thousands of digits.
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


def _check_integers(value: object) -> None:
    if isinstance(value, dict):
        for inner in value.values():
            _check_integers(inner)
    elif isinstance(value, list):
        for inner in value:
            _check_integers(inner)
    elif isinstance(value, int) and not -_LARGEST_INTEGER <= value < _LARGEST_INTEGER:
        raise OutOfRange("a number is out of range")
