"""Tables of names whose entries are loaded once they are used: a name alone costs nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import Generic, TypeVar, cast

T = TypeVar("T")


class Table(MutableMapping[str, T], Generic[T]):
    """Names, and for each a member of a module, "vidparse.sinks.masks:Masks"; or the thing itself.

    Raises:
        KeyError: no entry has this name.
    """

    def __init__(self, places: Mapping[str, str | T]) -> None:
        self._entries: dict[str, T | str] = dict(places)

    @property
    def places(self) -> Mapping[str, str | T]:
        """The entries as they are: those that are not loaded by their places."""
        return self._entries

    def __getitem__(self, name: str) -> T:
        entry = self._entries[name]
        if isinstance(entry, str):
            self._entries[name] = entry = cast(T, member_at(entry))
        return entry

    def __setitem__(self, name: str, entry: T) -> None:
        self._entries[name] = entry

    def __delitem__(self, name: str) -> None:
        del self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def member_at(place: str) -> object:
    """A member of a module, "vidparse.sinks.masks:Masks"; only now is the module loaded."""
    module, _, member = place.partition(":")
    return getattr(import_module(module), member)


def public_member(public: Mapping[str, str], package: str, name: str) -> object:
    """A member of a package that is loaded on first use; `public` has its modules by their names.

    Raises:
        AttributeError: the package has no such member.
    """
    if name not in public:
        raise AttributeError(f"module '{package}' has no attribute '{name}'")
    return member_at(f"{public[name]}:{name}")
