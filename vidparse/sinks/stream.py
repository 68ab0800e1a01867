"""Where an output goes: a file that appears when whole, or a stream that is written as it comes."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from vidparse.errors import ClosedPipe, OutputError
from vidparse.files import WholeFile, kind_of, write_error

STDOUT = "-"
_STREAMS = ("a named pipe", "a character device")
_DESCRIPTOR = re.compile(r"/dev/(stdin|stdout|stderr)|/(?:dev|proc/self)/fd/(\d+)")
_NUMBERS = {"stdin": 0, "stdout": 1, "stderr": 2}


@dataclass(slots=True)
class Target:
    """The place of one output.

    name: for messages and summaries; "-" is stdout.
    path: of a file or folder that appears when whole; None for a stream.
    stream: what is written straight through; None for a path, and for a device until `open`.
    device: a pipe or device by its path or descriptor, opened and closed here.
    replace: whether an older file or folder may be replaced.
    """

    name: str
    path: Path | None = None
    stream: BinaryIO | None = None
    device: str | int | None = None
    replace: bool = True

    @classmethod
    def of(cls, where: Target | Path | BinaryIO, *, replace: bool) -> Target:
        """`where` as it is, or for a path or an open stream (which stays open)."""
        if isinstance(where, Target):
            return where
        if isinstance(where, Path):
            return cls(str(where), where, replace=replace)
        return cls(STDOUT, stream=where)

    @property
    def ending(self) -> str:
        """Of the name, in small letters: ".mp4"; nothing for stdout."""
        return Path(self.name).suffix.lower()

    def open(self) -> None:
        """Open a pipe or device, unless it is open; a pipe waits for its reader.

        Raises:
            OutputError: it cannot be opened.
        """
        if self.device is None or self.stream is not None:
            return
        with _errors_of(self.name):
            if isinstance(self.device, int):
                self.stream = os.fdopen(os.dup(self.device), "wb", buffering=0)
            else:
                self.stream = open(self.device, "wb", buffering=0)  # noqa: PTH123, SIM115

    def close(self) -> None:
        """Let go of a pipe or device, so that its reader sees the end."""
        if self.device is not None and self.stream is not None:
            with suppress(OSError):
                self.stream.close()
            self.stream = None


def is_stdout(out: str) -> bool:
    """By name: -, /dev/stdout and its other names."""
    return out == STDOUT or _descriptor(out) == 1


def stream_at(path: Path) -> Target | None:
    """A target for a pipe, device or descriptor at `path`; None where files appear.

    Raises:
        OutputError: a socket, or a device that holds data at places.
    """
    number = _descriptor(str(path))
    if number is not None:
        return Target(str(path), device=number)
    kind = kind_of(path)
    if kind in _STREAMS:
        return Target(str(path), device=str(path))
    if kind in ("", "a file", "a directory"):
        return None
    raise OutputError(f"{path}: is {kind}; choose another name with -o")


def _descriptor(name: str) -> int | None:
    match = _DESCRIPTOR.fullmatch(name)
    if match is None:
        return None
    return _NUMBERS[match[1]] if match[1] else int(match[2])


def stdout() -> BinaryIO:
    """Raises: OutputError: this process has none."""
    if sys.stdout is None:
        raise OutputError("-o -: stdout is closed; pipe it into a program or redirect it to a file")
    return sys.stdout.buffer


class ByteStream:
    """Bytes into a file that appears when whole, or into a stream, behind one pair of methods."""

    def __init__(self, target: Target | Path | BinaryIO, *, replace: bool = True) -> None:
        self._target = Target.of(target, replace=replace)
        path = self._target.path
        self.partial = WholeFile(path, replace=self._target.replace) if path else None
        self._file: BinaryIO | None = None

    def open(self) -> None:
        """Start the file; a stream is open already.

        Raises:
            OutputError: the file cannot be made.
        """
        if self.partial is not None:
            self.partial.create()
            with self.partial.writing():
                self._file = self.partial.path.open("wb")

    def write(self, *parts: bytes | memoryview, flush: bool = False) -> None:
        """Write all of `parts`, through to the reader when `flush`.

        Raises:
            OutputError: disk full and the like.
            ClosedPipe: the reader of the stream went away.
        """
        if self.partial is None:
            self._write_stream(parts, flush)
            return
        if self._file is None:
            raise ValueError("write before open")
        with self.partial.writing():
            for part in parts:
                self._file.write(part)
            if flush:
                self._file.flush()

    def _write_stream(self, parts: tuple[bytes | memoryview, ...], flush: bool) -> None:
        stream = self._target.stream
        assert stream is not None
        with _errors_of("stdout" if self._target.name == STDOUT else self._target.name):
            for part in parts:
                view = memoryview(part).cast("B")
                while view:  # an unbuffered stdout (python -u) may take a part of it
                    view = view[stream.write(view) :]
            if flush:
                stream.flush()

    def close(self, *, keep: bool, complete: bool = True) -> Path | None:
        """Flush and put in place (keep), or remove; a stream is flushed and left open.

        Returns where a part of a result stays, see :class:`WholeFile`.
        """
        if self.partial is None:
            if keep and self._target.stream is not None:
                self.write(flush=True)
            return None
        file, self._file = self._file, None
        keep = keep and not self.partial.broken
        try:
            if file is not None and keep:
                with self.partial.writing():
                    file.close()  # flushes: the disk may be full only now
            elif file is not None:
                with suppress(OSError):
                    file.close()
        finally:
            left = self.partial.close(keep=keep, complete=complete)
        return left


@contextmanager
def _errors_of(name: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise ClosedPipe(f"{name}: the reader closed the pipe; output ends here") from error
    except OSError as error:
        raise write_error(name, error) from error
