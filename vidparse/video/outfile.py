"""The file or pipe below an encoder: writes are whole, and the first error is kept."""

from __future__ import annotations

import errno
import select
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from vidparse.errors import OutputError


class OutFile:
    """A file object for PyAV. A path is opened and owned; a stream that was handed in is not."""

    def __init__(self, target: Path | str | BinaryIO) -> None:
        """Raises: OutputError: the path cannot be created."""
        self._owned = isinstance(target, Path | str)
        self.error: OSError | None = None
        self.closed = False
        self._stream: BinaryIO | FileIO
        if isinstance(target, Path | str):
            self.name = str(target)
            try:
                self._stream = Path(target).open("wb", buffering=0)  # noqa: SIM115
            except OSError as error:
                raise OutputError(f"{target}: {error.strerror}; {advice(error)}") from error
        else:
            self._stream = target
            self.name = str(getattr(target, "name", "output")).strip("<>")

    def write(self, data: bytes) -> int:
        """All of `data`; PyAV hands over memory that is valid during the call only."""
        try:
            write_all(self._stream, data)

            # Pass it on to the reader of a pipe, which shows frames as they come.
            if not self._owned:
                flush_all(self._stream)
        except OSError as error:
            self.error = self.error or error
            raise
        return len(data)

    def seekable(self) -> bool:
        """The header can be filled in later; not so in a stream that is already written to."""
        return bool(self._stream.seekable()) and (self._owned or self._stream.tell() == 0)

    def writable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def check(self) -> None:
        """Raises: OSError: what went wrong in a write that FFmpeg did not report."""
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        """Raises: OSError: the last bytes do not fit (network file systems report it only now)."""
        self.closed = True
        if self._owned:
            self._stream.close()

    def drop(self) -> None:
        """Close, even if the content is not complete."""
        try:
            self.close()
        except OSError as error:
            self.error = self.error or error


def write_all(stream: BinaryIO | FileIO, data: bytes | memoryview) -> None:
    """Write all of it: a stream without a buffer may take a part, and one that does not block none.

    Raises:
        OSError: disk full, and the like.
    """
    view = memoryview(data).cast("B")
    while view:
        try:
            taken = stream.write(view) or 0
        except BlockingIOError as error:
            taken = error.characters_written
        view = view[taken:]
        if not taken:
            _await_reader(stream)


def flush_all(stream: BinaryIO | FileIO) -> None:
    """Pass on what the stream holds back, however long its reader takes. Raises: as `write_all`."""
    while True:
        try:
            stream.flush()
        except BlockingIOError:
            _await_reader(stream)
        else:
            return


def _await_reader(stream: BinaryIO | FileIO) -> None:
    """Wait for room in a pipe that the program behind has set not to block."""
    select.select([], [stream], [])


def advice(error: BaseException) -> str:
    """The next step after an output error."""
    number = getattr(error, "errno", None)
    if number in (errno.ENOSPC, errno.EDQUOT):
        return "free some space or write elsewhere with -o"
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "choose a place you may write to with -o"
    if number == errno.ENOENT:
        return "the folder does not exist; create it or choose another with -o"
    if number in (errno.EMFILE, errno.ENFILE):
        return "raise the limit (ulimit -n)"
    if number in (errno.EISDIR, errno.ENOTDIR):
        return "name a file inside a folder"
    return "check the output path and options"
