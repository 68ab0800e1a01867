"""Arrays that wait for their turn: the first of them in memory, all others in a file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from vidparse.errors import OutputError
from vidparse.files import write_error

MOST_BYTES = 1 << 28  # in memory


@dataclass(slots=True)
class Slip:
    """The place of arrays on a shelf.

    kept: the arrays themselves, in memory. place: of the first one in the file.
    forms: shape and type of each.
    """

    kept: tuple[np.ndarray, ...] | None
    place: int
    forms: tuple[tuple[tuple[int, ...], np.dtype], ...]


class Shelf:
    """Takes any number of arrays, of which at most `most_bytes` stay in memory.

    The file has no name, lies where temporary files do, and goes with the process.

    Args:
        name: of the input, for messages.
    """

    def __init__(self, name: str, most_bytes: int = MOST_BYTES) -> None:
        self._name, self._most = name, most_bytes
        self._file: BinaryIO | None = None
        self._held = self._end = 0  # bytes in memory and in the file

    def put(self, *arrays: np.ndarray) -> Slip:
        """Keep arrays. Raises: OutputError: no room for the file."""
        forms = tuple((one.shape, one.dtype) for one in arrays)
        size = sum(one.nbytes for one in arrays)
        if self._held + size <= self._most:
            self._held += size
            return Slip(arrays, 0, forms)

        slip = Slip(None, self._end, forms)
        with self._errors():
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115
            self._file.seek(self._end)
            for one in arrays:
                self._file.write(np.ascontiguousarray(one).data.cast("B"))
        self._end += size
        return slip

    def take(self, slip: Slip) -> tuple[np.ndarray, ...]:
        """Arrays that were put here, as they were; they stay. Raises: OutputError."""
        if slip.kept is not None:
            return slip.kept
        assert self._file is not None
        found = []
        with self._errors():
            self._file.seek(slip.place)
            for shape, dtype in slip.forms:
                size = int(np.prod(shape)) * dtype.itemsize
                data = np.frombuffer(self._file.read(size), dtype)
                found.append(data.reshape(shape))
        return tuple(found)

    def clear(self) -> None:
        """Forget all; slips are void."""
        self._held = self._end = 0
        if self._file is not None:
            with self._errors():
                self._file.truncate(0)

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            where = f"{self._name}: the temporary file for frames between far key frames"
            if error.errno:
                raise OutputError(f"{write_error(where, error)}; or set TMPDIR") from error
            raise
