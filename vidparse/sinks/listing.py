"""JSON of lists that grow row by row through a video, written in memory that does not grow."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import BinaryIO

from vidparse.files import write_error

_BLOCK_BYTES = 1 << 16


class Rows:
    """Lines that wait in a file without a name, until their place in an output comes.

    Args:
        name: of the output, for messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.size = 0  # bytes
        self._at_end = True
        with self._errors():
            self._file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115

    def add(self, line: bytes) -> int:
        """Keep a line, and return its place. Raises: OutputError: disk full and the like."""
        place = self.size
        with self._errors():
            if not self._at_end:
                self._file.seek(place)  # flushes, so not at every line
                self._at_end = True
            self._file.write(line)
        self.size += len(line)
        return place

    def read(self, place: int, size: int) -> bytes:
        """`size` bytes of what was kept at a place. Raises: OutputError: it cannot be read."""
        self._at_end = False
        with self._errors():
            self._file.seek(place)
            return self._file.read(size)

    def blocks(self, end: int | None = None) -> Iterator[bytes]:
        """All lines, or those before a place, some bytes at a time."""
        place, end = 0, self.size if end is None else end
        while place < end:
            block = self.read(place, min(_BLOCK_BYTES, end - place))
            yield block
            place += len(block)

    def close(self) -> None:
        with suppress(OSError):
            self._file.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise write_error(self._name, error) from error


class JsonLists:
    """One JSON object with several lists; rows of one go straight through, others wait.

    Args:
        name: of the output, for messages.
        write: takes the next bytes of the output.
        head: what stands before the lists.
        straight: the list that is written as it grows.
        waiting: lists that are written at the end.
    """

    def __init__(
        self,
        name: str,
        write: Callable[[bytes], object],
        head: Mapping[str, object],
        *,
        straight: str,
        waiting: Iterable[str] = (),
    ) -> None:
        self._write, self._straight = write, straight
        self._waiting = {key: Rows(name) for key in waiting}
        self._filled: set[str] = set()
        fields = [f"{json.dumps(key)}: {dumped(value)},\n" for key, value in head.items()]
        write(encoded(f'{{{"".join(fields)}"{straight}": ['))

    def add(self, key: str, row: Mapping[str, object]) -> None:
        """One more row of a list.

        Raises:
            OutputError: disk full and the like. ClosedPipe: nobody reads any more.
        """
        self.add_bytes(key, encoded(f"{self._border(key)}{dumped(row)}"))

    def add_parts(self, key: str, parts: Iterable[str]) -> None:
        """One more row of a list, its JSON in parts. Raises: as `add`."""
        self.add_bytes(key, encoded(self._border(key)))
        for part in parts:
            self.add_bytes(key, encoded(part))

    def add_bytes(self, key: str, data: bytes) -> None:
        """More of the JSON of the last row. Raises: as `add`."""
        put = self._write if key == self._straight else self._waiting[key].add
        put(data)

    def _border(self, key: str) -> str:
        border = ",\n" if key in self._filled else "\n"
        self._filled.add(key)
        return border

    def finish(self) -> None:
        """Write the lists that wait, and the end. Raises: as `add`."""
        self._write(b"\n]")
        for key, rows in self._waiting.items():
            self._write(encoded(f',\n"{key}": ['))
            for block in rows.blocks():
                self._write(block)
            self._write(b"\n]")
        self._write(b"}\n")
        self.close()

    def close(self) -> None:
        """Let go of what waits. Idempotent."""
        for rows in self._waiting.values():
            rows.close()


def dumped(value: object) -> str:
    """Compact JSON of a value that holds no NaN."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
