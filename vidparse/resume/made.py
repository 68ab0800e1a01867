"""Outputs that a job made, by which a later call knows them again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from vidparse.sinks.pictures import is_numbered, numbered_files
from vidparse.textfiles import Json, as_table, as_whole, as_word

_LARGEST = 1 << 63  # bytes, or nanoseconds since 1970


@dataclass(frozen=True, slots=True)
class Made:
    """An output as it was when it was whole: its files, their bytes, and their latest change.

    path: absolute; with the place of a number for numbered pictures.
    """

    path: str
    files: int
    size: int
    changed_ns: int

    @classmethod
    def of(cls, path: str) -> Self:
        """The output at a path as it is now; no files where nothing is."""
        found = [one.stat() for one in _files(Path(path).absolute())]
        return cls(
            str(Path(path).absolute()),
            len(found),
            sum(one.st_size for one in found),
            max((one.st_mtime_ns for one in found), default=0),
        )

    @classmethod
    def read(cls, value: Json) -> Self:
        """From a record of JSON.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        table = as_table(value, "an output")
        files, size, changed = (
            as_whole(table[name], name, most=_LARGEST) for name in ("files", "size", "changed_ns")
        )
        return cls(as_word(table["path"], "a path"), files, size, changed)

    @property
    def record(self) -> Json:
        """Plain values for JSON."""
        return asdict(self)

    @property
    def is_there(self) -> bool:
        return any(_files(Path(self.path)))

    @property
    def is_unchanged(self) -> bool:
        """True where nothing has changed since, or nothing is there any more."""
        now = type(self).of(self.path)
        return now.files == 0 or now == self


def _files(path: Path) -> Iterator[Path]:
    if is_numbered(path):
        yield from numbered_files(path)
    elif path.is_dir():
        yield from (one for one in path.rglob("*") if one.is_file())
    elif path.is_file():
        yield path
