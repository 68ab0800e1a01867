"""Outputs that appear complete or not at all: written beside their final name, then renamed."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from vidparse.errors import Interrupted, OutputError
from vidparse.video import ClosedPipe

_MASK_NAME = re.compile(r"\d{6,}\.png")


def partial_path(final: Path) -> Path:
    """Where `final` is written first: clip.mp4 -> clip.part.mp4, so that muxers know the format."""
    return final.with_name(f"{final.stem}.part{final.suffix}")


def partial_folder(final: Path) -> Path:
    """Where the folder `final` is written first: clip.masks -> clip.masks.part."""
    return final.with_name(final.name + ".part")


def write_error(name: Path | str, error: OSError) -> OutputError:
    """One line a user can act on."""
    if error.errno == errno.ENOSPC:
        return OutputError(f"{name}: disk full; free some space or write elsewhere with -o")
    if error.errno == errno.EDQUOT:
        return OutputError(f"{name}: disk quota used up; write elsewhere with -o")
    if error.errno == errno.EFBIG:
        return OutputError(f"{name}: larger than the system allows a file to be; write elsewhere")
    reason = error.strerror or str(error) or type(error).__name__
    return OutputError(f"{name}: can not be written ({reason}); choose another place with -o")


def check_target(
    final: Path,
    *,
    overwrite: bool,
    is_folder: bool,
    of_pictures: bool = False,
    directory: Path | None = None,
) -> None:
    """Refuse, before any work, an output that must not or cannot be written.

    Args:
        final: the output's name.
        overwrite: whether an existing output may be replaced.
        is_folder: whether the output is a folder of mask pictures.
        of_pictures: whether the masks have the names of pictures, which are any.
        directory: what must be writable, and is made; the folder round `final` unless given.

    Raises:
        OutputError: the output exists, or lies where nothing can be written.
    """
    if final.exists() or final.is_symlink():
        if not overwrite:
            raise OutputError(f"{final}: exists; use --overwrite or -o")
        _check_replaceable(final, is_folder, any_name=of_pictures)
    directory = directory or final.parent
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise OutputError(
            f"{final}: can not be written ({directory} is no directory); "
            "choose another place with -o"
        ) from error
    except OSError as error:
        raise write_error(final, error) from error
    if not os.access(directory, os.W_OK | os.X_OK):
        raise OutputError(
            f"{final}: directory {directory} is not writable; choose another place with -o"
        )


def same_file(one: Path, other: Path) -> bool:
    """Whether two names are one file or folder, through links too."""
    if one.exists() and other.exists() and one.samefile(other):
        return True
    return one.resolve() == other.resolve()


def _check_replaceable(final: Path, is_folder: bool, *, any_name: bool) -> None:
    if not is_folder:
        if final.is_dir():
            raise OutputError(f"{final}: is a directory; choose another name with -o")
        return
    if not final.is_dir():
        raise OutputError(f"{final}: is a file, masks need a folder; choose another with -o")
    for entry in os.scandir(final):
        ours = entry.name.endswith(".png") if any_name else _MASK_NAME.fullmatch(entry.name)
        if not ours or not entry.is_file(follow_symlinks=False):
            raise OutputError(
                f"{final}: holds '{entry.name}', which is no mask of ours, so it is not replaced; "
                "remove the folder or use -o"
            )


class _Partial:
    """A temporary name that becomes the final one on commit, or goes away."""

    def __init__(self, final: Path, temporary: Path) -> None:
        self.final = final
        self.path = temporary
        self._started = False
        self.broken = False  # a write failed: never to be committed

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Round everything that writes: what fails here can no longer be committed.

        An interrupt is no failure: what was written before it may be kept.
        """
        self._started = True
        try:
            yield
        except OSError as error:
            self.broken = True
            raise write_error(self.final, error) from error
        except Interrupted:
            raise
        except Exception:
            self.broken = True
            raise

    def close(self, *, keep: bool) -> None:
        """Rename into place, or remove; once, and only if writing had begun.

        Raises:
            OutputError: the rename failed; the partial output is removed then.
        """
        if not self._started:
            return
        self._started = False
        if not keep or self.broken:
            self._remove(self.path)
            return
        try:
            self._replace()
        except OSError as error:
            self._remove(self.path)
            raise write_error(self.final, error) from error

    def _replace(self) -> None:
        self.path.replace(self.final)

    @staticmethod
    def _remove(path: Path) -> None:
        with suppress(OSError):
            path.unlink(missing_ok=True)


class PartialFile(_Partial):
    """One output file. Write to `path` inside `writing()`, then `close`."""

    def __init__(self, final: Path) -> None:
        super().__init__(final, partial_path(final))


class PartialFolder(_Partial):
    """One output folder. Call `create`, write into `path` inside `writing()`, then `close`."""

    def __init__(self, final: Path) -> None:
        super().__init__(final, partial_folder(final))

    def create(self) -> None:
        """Make the temporary folder anew; what a killed run left there goes.

        Raises:
            OutputError: it can not be made.
        """
        with self.writing():
            self._remove(self.path)
            self.path.mkdir()

    def _replace(self) -> None:
        if not self.final.exists():
            self.path.rename(self.final)
            return
        old = self.final.with_name(self.final.name + ".old.part")
        self._remove(old)
        self.final.rename(old)  # folders can not be replaced in one step as files can
        try:
            self.path.rename(self.final)
        except OSError:
            old.rename(self.final)
            raise
        self._remove(old)

    @staticmethod
    def _remove(path: Path) -> None:
        shutil.rmtree(path, ignore_errors=True)


class ByteStream:
    """Bytes into a partial file or to stdout, behind one pair of methods."""

    def __init__(self, target: Path | BinaryIO) -> None:
        self.partial = PartialFile(target) if isinstance(target, Path) else None
        self._file: BinaryIO | None = None if isinstance(target, Path) else target

    def open(self) -> None:
        """Start the file; stdout is open already.

        Raises:
            OutputError: the file can not be made.
        """
        if self.partial is not None:
            with self.partial.writing():
                self._file = self.partial.path.open("wb")

    def write(self, *parts: bytes | memoryview, flush: bool = False) -> None:
        """Write all of `parts`, through to the reader when `flush`.

        Raises:
            OutputError: disk full and the like.
            ClosedPipe: the reader of stdout went away.
        """
        if self._file is None:
            raise ValueError("write before open")
        if self.partial is None:
            self._write_pipe(parts, flush)
            return
        with self.partial.writing():
            for part in parts:
                self._file.write(part)
            if flush:
                self._file.flush()

    def _write_pipe(self, parts: tuple[bytes | memoryview, ...], flush: bool) -> None:
        assert self._file is not None
        try:
            for part in parts:
                view = memoryview(part).cast("B")
                while view:  # an unbuffered stdout (python -u) may take a part of it
                    view = view[self._file.write(view) :]
            if flush:
                self._file.flush()
        except BrokenPipeError as error:
            raise ClosedPipe("stdout: the reader closed the pipe; output ends here") from error
        except OSError as error:
            raise write_error("stdout", error) from error

    def close(self, *, keep: bool) -> None:
        """Flush and rename into place (keep), or remove; stdout is flushed and left open."""
        if self.partial is None:
            if keep:
                self.write(flush=True)
            return
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
            self.partial.close(keep=keep)
