"""Names of files: one or several, natural order, length, home and cache folders, safe places."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cache
from itertools import takewhile
from pathlib import Path, PurePath, PureWindowsPath

from vidparse.errors import InputError, UsageError, VidparseError

PathText = str | os.PathLike[str]

PART = ".vidparse-part"  # in names of outputs in the making, which nothing else is called
LONGEST_NAME = 255  # bytes, of nearly all file systems
_ON_WINDOWS = os.name == "nt"
_USUAL = re.compile(r"[\w-][\w .-]{0,59}")  # a single part, of 240 bytes at most
_UNFINISHED = re.compile(rf"{re.escape(PART)}(\.\w+)?$")
_ODD_BYTE = re.compile("[\udc80-\udcff]")  # as `os.fsdecode` has bytes that are no UTF-8

NaturalKey = tuple[list[tuple[int, int, str]], ...]


def natural_key(name: str) -> NaturalKey:
    """Sort key under which img2 comes before img10, and img before img2.

    Every reader of frames sorts by it, so that all agree which frames are neighbours. Numbers
    count by value; names that differ only in zeros, as 01 and 1 do, go by letters.

    Args:
        name: of a file or folder, or a file name without its ending.
    """
    # Compare stems first: with its ending, img.png would come behind img2.png.
    return (_pieces(PurePath(name).stem), _pieces(name), [(1, 0, name)])


def _pieces(text: str) -> list[tuple[int, int, str]]:
    """Digits and other characters in turn; digits sort by length without zeros, then by letters."""
    pieces = []
    for piece in re.split(r"([0-9]+)", text):
        # Compare digits as text: Python makes no number of thousands of them.
        digits = piece.lstrip("0")
        if piece.isascii() and piece.isdigit():
            pieces.append((0, len(digits), digits))
        elif piece:
            pieces.append((1, 0, piece))
    return pieces


def shortened(stem: str, ending: str, *, beside: Iterable[str] = ()) -> str:
    """`stem` + `ending`, the stem cut where the name is longer than file systems take.

    A stem that was cut ends in ~ and digits of its hash, so that two of them stay two names.

    Args:
        beside: other endings of this stem; with each of them it is cut at the same place.
    """
    room = LONGEST_NAME - max(len(os.fsencode(one)) for one in (ending, *beside))
    data = os.fsencode(stem)
    if len(data) <= room:
        return stem + ending

    # Cut bytes, as file systems count them, and drop what is left of a letter.
    mark = f"~{hashlib.sha256(data).hexdigest()[:8]}"
    return data[: room - len(mark)].decode("utf-8", "ignore") + mark + ending


def is_unfinished(path: Path) -> bool:
    """By name: an output in the making, or the part of one that a killed program left."""
    return _UNFINISHED.search(path.name) is not None


def same_file(one: Path, other: Path) -> bool:
    """True if two names are one file or folder, through links too."""
    with suppress(OSError):
        if one.samefile(other):
            return True
    return real_path(one) == real_path(other)


def real_path(path: Path) -> Path:
    """`path` with its links followed, as far as they lead anywhere."""
    try:
        return Path(os.path.realpath(path))
    except OSError:  # the working directory was removed
        return path


def plain_path(path: Path) -> Path:
    """`path` from the root on, the same for all spellings.

    Links are followed only where it climbs by `..`: linked folders are folders of their own.
    """
    if path.name == "..":
        return real_path(path)
    if ".." in path.parts:
        return real_path(path.parent) / path.name
    return path.absolute()


def name_below(name: str, listed_in: Path, *, failure: type[VidparseError] = InputError) -> str:
    """`name`, if it leads to a place below the folder that it will be joined to.

    Args:
        name: of a file or folder, as a list or json gives it; parts are separated by `/`.
        listed_in: that list or json.
        failure: class of the error that is raised.

    Raises:
        VidparseError: of the class `failure`: the name is absolute, climbs with `..`, is empty, or
            no file can have it. So is one that would on Windows, where lists are carried to.
    """
    # Let usual names through at once: records have tens of thousands.
    if _USUAL.fullmatch(name) and not _ON_WINDOWS:
        return name
    path, there = PurePath(name), PureWindowsPath(name)
    if path.anchor or there.anchor or ".." in (*path.parts, *there.parts):
        raise failure(
            f"{listed_in}: {name!r} leads out of the folder; list names inside it, without '..'"
        )
    too_long = any(len(os.fsencode(part)) > LONGEST_NAME for part in path.parts)
    if not path.parts or too_long or "\0" in name or (_ON_WINDOWS and there.is_reserved()):
        raise failure(f"{listed_in}: {name[:80]!r} is no name of a file; correct or remove it")
    return name


def shared_start(one: Sequence[str], other: Sequence[str]) -> int:
    """The number of folders, from the first one on, in which two rows of them agree."""
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def text_name(name: str) -> str:
    """The name with bytes that are no UTF-8 as `_ff`, for files that hold text alone."""
    return _ODD_BYTE.sub(lambda found: f"_{ord(found[0]) & 0xFF:02x}", name)


def is_file(path: Path) -> bool:
    """True for a file that is there; False also for a name that no file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """True for a folder that is there; False also for a name that none can have."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def home_path(text: str) -> Path:
    """A path, with ~ and ~user as the shell reads them.

    Raises:
        UsageError: there is no such user, or this one has no home.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise UsageError(
            f"{text}: no home folder for it on this machine; write ./{text} for a folder of this "
            "name"
        ) from None


def user_cache() -> Path:
    """The folder for files that programs can make again: $XDG_CACHE_HOME, else ~/.cache.

    A user without a home, as in many containers, has it in the folder of temporary files.
    """
    chosen = os.environ.get("XDG_CACHE_HOME")
    if chosen:
        return Path(chosen)
    try:
        return Path.home() / ".cache"
    except RuntimeError:
        return _shared_cache()


@cache
def _shared_cache() -> Path:
    """The user's own folder among the temporary files of all; of this process alone at worst."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    folder = Path(tempfile.gettempdir()) / f"vidparse-cache-{user}"
    with suppress(OSError):
        folder.mkdir(mode=0o700)
    try:
        found = folder.lstat()
    except OSError:
        return folder  # nothing can be made there; the first write reports it

    # Take no folder that somebody else has put there, or can write to: its files would be trusted.
    is_mine = stat.S_ISDIR(found.st_mode) and (_ON_WINDOWS or found.st_uid == os.getuid())
    if is_mine and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return folder
    return Path(tempfile.mkdtemp(prefix="vidparse-cache-"))


def one_or_several(names: PathText | Iterable[PathText]) -> tuple[str, ...]:
    """One name or several as several: a string is never taken for its letters.

    Raises:
        UsageError: something is neither str nor Path.
    """
    given: Iterable[object] = (names,)
    if isinstance(names, Iterable) and not isinstance(names, str | bytes | os.PathLike):
        given = names

    listed = []
    for name in given:
        text = os.fspath(name) if isinstance(name, str | os.PathLike) else None
        if not isinstance(text, str):
            raise UsageError(f"{name!r}: is no path or name; give a str or a Path, or several")
        listed.append(text)
    return tuple(listed)
