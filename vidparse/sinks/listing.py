"""JSON of lists that grow row by row through a video, written in memory that does not grow."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

from vidparse.files import write_error

_BLOCK_BYTES = 1 << 16


class Rows:
    """Lines that wait in a file without a name, until their place in an output comes.

    Args:
        name: of the output, for messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        with self._errors():
            self._file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115

    def add(self, line: bytes) -> int:
        """Keep a line, and return its place. Raises: OutputError: disk full and the like."""
        with self._errors():
            place = self._file.seek(0, 2)
            self._file.write(line)
        return place

    def read(self, place: int, size: int) -> bytes:
        """`size` bytes of what was kept at a place. Raises: OutputError: it cannot be read."""
        with self._errors():
            self._file.seek(place)
            return self._file.read(size)

    def blocks(self) -> Iterator[bytes]:
        """All lines, some at a time."""
        place = 0
        while block := self.read(place, _BLOCK_BYTES):
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
        head: Mapping[str, Any],
        *,
        straight: str,
        waiting: Iterable[str] = (),
    ) -> None:
        self._write, self._straight = write, straight
        self._waiting = {key: Rows(name) for key in waiting}
        self._filled: set[str] = set()
        fields = [f"{json.dumps(key)}: {dumped(value)},\n" for key, value in head.items()]
        write(encoded(f'{{{"".join(fields)}"{straight}": ['))

    def add(self, key: str, row: Mapping[str, Any] | str) -> None:
        """One more row of a list, as a record or as its JSON.

        Raises:
            OutputError: disk full and the like. ClosedPipe: nobody reads any more.
        """
        text = row if isinstance(row, str) else dumped(row)
        line = encoded(f"{',' if key in self._filled else ''}\n{text}")
        if key == self._straight:
            self._write(line)
        else:
            self._waiting[key].add(line)
        self._filled.add(key)

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


def dumped(value: Any) -> str:
    """Compact JSON of a value that holds no NaN."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
