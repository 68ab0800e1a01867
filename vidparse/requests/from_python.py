"""Records that a program made: texts are read as on the command line, and numbers are checked."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass, replace
from decimal import Decimal
from types import NoneType
from typing import TypeVar, cast, get_args

from vidparse.errors import UsageError
from vidparse.requests.option import Given, Part, fields_of

# type of a field -> its words, the types of values that are taken for it, and how one becomes it
_Kind = tuple[str, tuple[type, ...], Callable[..., object]]
_KINDS: Mapping[object, _Kind] = {
    bool: ("True or False", (bool,), bool),
    int: ("a whole number", (numbers.Integral,), int),
    float: ("a number", (numbers.Real, Decimal), float),
}
Record = TypeVar("Record")


def checked(record: Record) -> Record:
    """The record with each option as the command line would have made it.

    "2s" becomes 2.0 in a field of seconds, and numbers of other libraries become Python's own.

    Raises:
        UsageError: a text that is no such value, or another kind of value than a number.
    """
    changes = {}
    for member in fields_of(cast(type, type(record))):
        value = getattr(record, member.name)
        if isinstance(member, Part):
            changes[member.name] = checked(value) if is_dataclass(value) else value
        else:
            changes[member.name] = _checked_value(member, value)
    return replace(record, **changes)  # type: ignore[type-var]


def _checked_value(given: Given, value: object) -> object:
    kinds = set(get_args(given.kind) or (given.kind,))
    if given.option.parse is not None and isinstance(value, str) and str not in kinds:
        return given.option.parse(value, given.name)

    # Leave fields that take more than one kind of value to those who read them.
    kinds -= {NoneType}
    kind = kinds.pop() if len(kinds) == 1 else None
    if value is None or kind not in _KINDS:
        return value
    words, types, converted = _KINDS[kind]
    if not isinstance(value, types) or (isinstance(value, bool) and kind is not bool):
        raise UsageError(f"{given.name}={value!r}: is not {words}")
    return converted(value)
