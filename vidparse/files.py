"""Files and folders that appear whole: written under a name beside their own, then put in place.

Every writer of the project goes through here, so that all keep the same promises: nobody sees half
a file under its name, two programs never write into one file, no link or pipe that lies at a
temporary name is written through, and nothing but a file ever takes the place of what is there.
Locks are the system's, by hand: the temporary file or folder is locked itself, so that what a
killed program leaves looks dead at once. filelock locks another file beside, and no folder.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vidparse.errors import Interrupted, OutputError
from vidparse.filenames import PART, real_path, shortened

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # nor wait for a pipe
_FULL = {
    errno.ENOSPC: "disk full; free some space or write elsewhere with -o",
    errno.EDQUOT: "disk quota used up; write elsewhere with -o",
    errno.EFBIG: "larger than the system allows a file to be; write elsewhere",
}
_KINDS = {
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a directory",
    stat.S_IFREG: "a file",
}


def write_error(name: Path | str, error: OSError) -> OutputError:
    """One line a user can act on."""
    if error.errno in _FULL:
        return OutputError(f"{name}: {_FULL[error.errno]}")
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return OutputError(
            f"{name}: cannot be written (too many files are open); raise the limit (ulimit -n)"
        )
    reason = error.strerror or str(error) or type(error).__name__
    return OutputError(f"{name}: cannot be written ({reason}); choose another place")


def kind_of(path: Path) -> str:
    """In words, links followed: "a file", "a directory", "a device", ...; "" where nothing is."""
    try:
        return _KINDS.get(stat.S_IFMT(path.stat().st_mode), "no file")
    except OSError:
        return ""


def check_place(path: Path, *, is_folder: bool = False) -> None:
    """Refuse what a file or folder must not take the place of.

    Raises:
        OutputError: a device, pipe or socket, a folder for a file, or a file for a folder.
    """
    kind, wanted = kind_of(path), "a directory" if is_folder else "a file"
    if kind not in ("", wanted):
        raise OutputError(f"{path}: is {kind}, not {wanted}; choose another name with -o")


def check_folder(path: Path, folder: Path, *, make: bool) -> None:
    """Refuse `path` when nothing can be made in `folder`, which is made first if `make`.

    Raises:
        OutputError: it is no folder, or may not be written to.
    """
    try:
        if make:
            folder.mkdir(parents=True, exist_ok=True)
        elif not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    except (FileExistsError, NotADirectoryError) as error:
        raise OutputError(
            f"{path}: cannot be written ({folder} is no directory); choose another place"
        ) from error
    except OSError as error:
        raise write_error(path, error) from error

    # Check permission, too: a folder may exist and still refuse new files.
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: directory {folder} is not writable; choose another place")


class _Whole(ABC):
    """A file or folder in the making, under its temporary name.

    Use `create`, write to `path` inside `writing()`, then `close`; or :func:`whole_file`.

    The temporary name is locked while this program writes, so that another one does not take it
    for what a killed program left there, which is removed.

    Args:
        final: its name; of a link, what it points to is replaced and the link stays.
        replace: it may take the place of an older one.
    """

    is_folder = False

    def __init__(self, final: Path, *, replace: bool = True) -> None:
        self.final = final
        self.path = final.with_name(self._temporary(final, ""))
        self.broken = False  # a write failed: never to be put in place
        self._replace = replace
        self._place = final
        self._lock: int | None = None
        self._is_mine = False

    @staticmethod
    @abstractmethod
    def _temporary(final: Path, token: str) -> str:
        """The name beside `final`; another one for each token."""

    @abstractmethod
    def _make(self) -> int | None:
        """Make `path`, which is not there, and open it where the system can lock it."""

    @abstractmethod
    def _move(self) -> None:
        """Put `path` in place."""

    @staticmethod
    @abstractmethod
    def _remove(path: Path) -> None:
        """As far as possible."""

    def create(self) -> None:
        """Begin, with an empty file or folder at `path`.

        Raises:
            OutputError: it cannot be made, or another program is at work on the same one.
        """
        with self.writing():
            self._place = real_path(self.final) if self.final.is_symlink() else self.final

            # Refuse a link that leads round to itself: there is no place to write to.
            if self._place.is_symlink():
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))

            # Try the plain name first, so that what a killed program left is found and removed.
            for token in ("", *(secrets.token_hex(4) for _ in range(8))):
                self.path = self._place.with_name(self._temporary(self._place, token))
                if self._claim():
                    return
                if not self._replace and _is_locked(self.path):
                    raise OutputError(
                        f"{self.final}: another program is writing it; choose another name with -o"
                    )
            raise FileExistsError(errno.EEXIST, f"no free name like {self.path.name}")

    def _claim(self) -> bool:
        """Take `path`, if it is free or was left by a program that is no more."""
        # Try again a few times: another program may take or remove the same leftover.
        for _ in range(3):
            try:
                self._lock = self._make()
            except FileExistsError:
                if not self.remove_stale():
                    return False
                continue
            # Another program may take it for a stale one before it is locked.
            if self._lock is None or (
                _locked(self._lock) is not False and _is_at(self._lock, self.path)
            ):
                self._is_mine = True
                return True
            self._release()
        return False

    def remove_stale(self) -> bool:
        """Remove what lies at `path`, if it is of the right kind and of no living program.

        True where nothing lies there any more.
        """
        is_ours = stat.S_ISDIR if self.is_folder else stat.S_ISREG
        try:
            # Look without following links: one that lies here may point anywhere.
            if not is_ours(self.path.lstat().st_mode):
                return False
            handle = os.open(self.path, (os.O_RDONLY if self.is_folder else os.O_RDWR) | _NO_FOLLOW)
        except OSError as error:
            return isinstance(error, FileNotFoundError)
        try:
            # Remove it under its lock alone: else its program may still be at work.
            if _locked(handle) and _is_at(handle, self.path):
                self._remove(self.path)
                return True
        finally:
            os.close(handle)
        return False

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Round everything that writes: what fails here can no longer be put in place.

        An interrupt is no failure: what was written before it may be kept.
        """
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

    def close(self, *, keep: bool, complete: bool = True) -> Path | None:
        """Put in place, or remove; once, and only if it was made here.

        Args:
            complete: it is the whole result. A part never takes the place of an older
                result; it stays under its temporary name then, which is returned.

        Raises:
            OutputError: it cannot be put there; what was written is removed then.
        """
        if not self._is_mine:
            return None
        self._is_mine = False

        # Keep an older complete file rather than put an incomplete one in its place.
        try:
            if not keep or self.broken:
                self._remove(self.path)
            elif not complete and self._has_older():
                return self.path
            else:
                # Look once more: another program may have put a device or folder here meanwhile.
                check_place(self._place, is_folder=self.is_folder)
                self._move()
        except OSError as error:
            self._remove(self.path)
            raise write_error(self.final, error) from error
        except OutputError:
            self._remove(self.path)
            raise
        finally:
            self._release()
        return None

    def _has_older(self) -> bool:
        return self._place.exists()

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _appeared(self) -> OutputError:
        return OutputError(
            f"{self.final}: was written by another program meanwhile and is left as it is; "
            "use --overwrite or -o"
        )


class WholeFile(_Whole):
    """A file, written as clip.vidparse-part.mp4 first, so that muxers know the format."""

    @staticmethod
    def _temporary(final: Path, token: str) -> str:
        return shortened(final.stem, f"{token and '.'}{token}{PART}{final.suffix}")

    def _make(self) -> int | None:
        # Make it anew or fail: opening what lies there would write through a link.
        handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR | _NO_FOLLOW, 0o666)
        if fcntl is None:
            os.close(handle)
            return None
        return handle

    def _move(self) -> None:
        if self._replace:
            self.path.replace(self._place)
            return
        try:
            os.link(self.path, self._place)  # fails where a rename would replace
        except FileExistsError:
            raise self._appeared() from None
        except OSError:  # a file system without links
            if self._place.exists():
                raise self._appeared() from None
            self.path.rename(self._place)
        else:
            self._remove(self.path)

    @staticmethod
    def _remove(path: Path) -> None:
        with suppress(OSError):
            path.unlink(missing_ok=True)


class WholeFolder(_Whole):
    """A folder, written as clip.masks.vidparse-part first."""

    is_folder = True

    @staticmethod
    def _temporary(final: Path, token: str) -> str:
        return shortened(final.name, f"{token and '.'}{token}{PART}")

    def _make(self) -> int | None:
        self.path.mkdir()
        return None if fcntl is None else os.open(self.path, os.O_RDONLY | _NO_FOLLOW)

    def _move(self) -> None:
        place = self._place
        if not place.exists():
            self.path.rename(place)
            return

        # Take the place of an empty folder even so: it is no output.
        if not self._replace and any(place.iterdir()):
            raise self._appeared()
        old = place.with_name(shortened(place.name, f".{secrets.token_hex(4)}.old{PART}"))
        place.rename(old)  # folders cannot be replaced in one step as files can
        try:
            self.path.rename(place)
        except OSError:
            old.rename(place)
            raise
        self._remove(old)

    @staticmethod
    def _remove(path: Path) -> None:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def whole_file(final: Path, *, replace: bool = True) -> Iterator[Path]:
    """The temporary path of a file that is put in place at the end, and only then.

    Raises:
        OutputError: disk full and the like; nothing is left of the new file, the old one stays.
    """
    partial, done = WholeFile(final, replace=replace), False
    try:
        partial.create()
        with partial.writing():
            yield partial.path
        done = True
    finally:
        partial.close(keep=done)


def _is_at(handle: int, path: Path) -> bool:
    """True if an open file or folder is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(handle), path.lstat())
    except OSError:
        return False


def _locked(handle: int) -> bool | None:
    """Lock an open file or folder: True; False if another program has it; None if nobody can."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def lock_folder(path: Path) -> int | None:
    """An open folder that is this program's alone until it is closed; None where nothing locks.

    Raises:
        OutputError: another program is at work in it, or it cannot be opened.
    """
    if fcntl is None:
        return None
    try:
        handle = os.open(path, os.O_RDONLY | _NO_FOLLOW)
    except OSError as error:
        raise write_error(path, error) from error
    if _locked(handle) is False or not _is_at(handle, path):
        os.close(handle)
        raise OutputError(f"{path}: another program is at work in it; wait for its end")
    return handle


def _is_locked(path: Path) -> bool:
    """True if a program is at work on a file or folder."""
    try:
        handle = os.open(path, os.O_RDONLY | _NO_FOLLOW)
    except OSError:
        return False
    try:
        return _locked(handle) is False
    finally:
        os.close(handle)
