"""Names of outputs: which ending means which output, and how an input's outputs are called."""

from __future__ import annotations

import difflib
import os
import re
import unicodedata
from collections.abc import Mapping, Sequence, Set
from functools import cache
from pathlib import Path, PurePosixPath

from vidparse.errors import UsageError
from vidparse.filenames import home_path, is_unfinished, plain_path, shortened
from vidparse.sinks.pictures import is_numbered, places_of_number
from vidparse.sinks.sink import Sink
from vidparse.sinks.submission import Submission
from vidparse.video.inputs import Input

JOURNAL = ".vidparse-resume"  # ending of the folder by which --resume goes on
_VERSION = re.compile(r"\.v?\d+")  # at the end of a folder's name: no ending of a file
_RESERVED = frozenset('/\\:*?"<>|')  # that some file systems refuse; addresses may hold them
_UNPRINTABLE = frozenset(("Cc", "Cs", "Zl", "Zp"))  # categories of Unicode


def check_names(names: Sequence[str], table: Mapping[str, type[Sink]]) -> None:
    """Raises: UsageError: one of `names` is no output; the nearest one is offered."""
    for name in names:
        if name not in table:
            near = difflib.get_close_matches(name, table, n=1)
            hint = f"did you mean {near[0]}" if near else f"try {', '.join(table)}"
            raise UsageError(f"--save {name}: no such output; {hint}")


def check_out(out: str, table: Mapping[str, type[Sink]]) -> None:
    """Refuse a place of outputs that cannot be meant.

    Raises:
        UsageError: nothing, an ending without a name, or several places for a frame's number.
    """
    if not out:
        raise UsageError("-o '': names nothing; give a directory, a file, or - for stdout")
    path = home_path(out)

    # Take ".mp4" for a name that was forgotten: nobody means a hidden folder by it.
    is_ending = path.suffix == "" and path.name.startswith(".") and not path.is_dir()
    if is_ending and not out.endswith(("/", os.sep)) and has_known_ending(f"x{path.name}", table):
        raise UsageError(
            f"-o {out}: is an ending without a name; write {path.with_name(f'x{path.name}')}, "
            f"or {out}/ for a directory"
        )
    if places_of_number(path) > 1:
        raise UsageError(
            f"-o {out}: has several places for the number of the frame; keep one, as in x_%04d.png"
        )


def names_a_file(out: str) -> bool:
    """True if `-o` names a file than a folder: it has an ending, and no folder is there."""
    ending = Path(out).suffix
    is_file = ending != "" and not _VERSION.fullmatch(ending)
    return is_file and not out.endswith(("/", os.sep)) and not home_path(out).is_dir()


def has_known_ending(out: str, table: Mapping[str, type[Sink]]) -> bool:
    """True if the ending of a name is that of some output, or of pictures."""
    ending = Path(out).suffix.lower()
    return any(ending in (*_endings(kind), *kind.picture_endings) for kind in table.values())


def saved_as(out: str, table: Mapping[str, type[Sink]], *, is_picture: bool) -> str:
    """The output that a file of this name holds.

    Raises:
        UsageError: none does.
    """
    path = Path(out)
    files = {name: kind.suffix for name, kind in table.items() if not kind.is_folder}
    meant = [name for name, suffix in files.items() if path.name.lower().endswith(suffix)]
    if meant:
        return max(meant, key=lambda name: len(files[name]))  # x.tracks.csv is no x.csv

    # Take the likelier kind first: a picture becomes a picture, a video numbered masks.
    as_pictures = is_picture or is_numbered(path)
    for name, kind in sorted(table.items(), key=lambda item: item[1].is_folder is is_picture):
        endings = (*_endings(kind), *kind.picture_endings) if as_pictures else _endings(kind)
        if path.suffix.lower() in endings:
            return name

    # List the endings that would do.
    if has_known_ending(out, table):
        raise UsageError(
            f"-o {out}: the input is no single picture; number its pictures, as in "
            f"{path.stem}_%04d{path.suffix}, or end it in / for a directory"
        )
    endings_of = {
        name: _endings(kind) if kind.by_ending else (kind.suffix,)
        for name, kind in table.items()
        if not kind.is_folder
    }
    known = "; ".join(f"{', '.join(endings)} ({name})" for name, endings in endings_of.items())
    raise UsageError(
        f"-o {out}: no output is written as '{path.suffix}'; end it in {known}, "
        "or in / for a directory"
    )


def _endings(kind: type[Sink]) -> tuple[str, ...]:
    """Endings of files that alone show that the file holds this output."""
    if not kind.by_ending:
        return ()
    return kind.endings or (() if kind.is_folder else (Path(f"x{kind.suffix}").suffix,))


def is_output_name(table: Mapping[str, type[Sink]], path: Path) -> bool:
    """By name: what vidparse writes by default, with any ending, and what it left when killed."""
    return is_unfinished(path) or path.name.endswith((*_default_endings(*table.values()), JOURNAL))


@cache
def _default_endings(*kinds: type[Sink]) -> tuple[str, ...]:
    """Ends of the names of outputs; found once, as folders hold thousands of files."""
    suffixes = {
        suffix.removesuffix(Path(f"x{suffix}").suffix) + ending
        for kind in kinds
        for suffix in (kind.suffix, kind.picture_suffix)
        if suffix
        for ending in (Path(f"x{suffix}").suffix, *kind.endings)
    }
    return tuple(suffixes)


def source_stem(source: Input) -> str:
    """The name of an input's outputs: "dir/clip.mp4" -> "clip", "frames/" -> "frames"."""
    if source.name == "-":
        return "stdin"
    if source.path is None:
        return _harmless(_address_stem(source.name), _RESERVED) or "video"
    path = _named(source.path)

    # Keep all of the name of a folder: its dots begin no ending.
    whole = path.is_dir() or source.pattern is not None or path.suffix == ""
    return _harmless(path.name if whole else path.stem) or "video"


def _address_stem(address: str) -> str:
    """The last part of an address without its ending; the host and port where there is no more."""
    scheme, _, rest = address.rpartition("://")
    rest = rest.split("?")[0].split("#")[0].rstrip("/")
    host, _, place = rest.rpartition("/")
    if scheme == "camera":
        return f"camera{rest}"
    return Path(place).stem if host else place.rpartition("@")[2]


def video_name(source: Input) -> str:
    """The name of a video in challenges: its stem, but "street" for street/origin/ (VSPW)."""
    stem = source_stem(source)
    if stem != "origin" or source.path is None:
        return stem
    path = _named(source.path)
    return (_harmless(path.absolute().parent.name) if path.is_dir() else "") or stem


def _named(path: Path) -> Path:
    """`path` with a name of its own: that of the working directory for "."."""
    return path.resolve() if path.name in ("", "..") else path


def _harmless(name: str, refused: Set[str] = frozenset()) -> str:
    """`name` with _ for control characters, broken bytes and what is `refused`; letters stay."""
    # Judge by category, not by isalnum: the vowel signs of Hindi are no letters to that.
    kept = (
        "_" if char in refused or unicodedata.category(char) in _UNPRINTABLE else char
        for char in name
    )
    return "".join(kept).strip(" .")


def final_path(
    name: str,
    table: Mapping[str, type[Sink]],
    source: Input,
    out: str | os.PathLike[str] | None,
    *,
    single: bool,
    video: str | None,
) -> Path:
    """The path of an output; for a submission, the folder that its videos share."""
    kind = table[name]
    shared = issubclass(kind, Submission)
    stem = video_name(source) if shared else source_stem(source)
    suffix = kind.picture_suffix if source.is_picture and kind.picture_suffix else kind.suffix
    # All outputs of an input have one stem, whichever of them a call makes.
    all_suffixes = [one for each in table.values() for one in (each.suffix, each.picture_suffix)]
    file_name = shortened(video or stem, suffix, beside=all_suffixes)

    if out is None:
        return _beside(source) / file_name
    text = os.fspath(out)
    path = home_path(text)
    if is_into_folder(text, single=single):
        return path if shared else path / source.folder / file_name
    _check_ending(name, table, path, is_picture=source.is_picture)
    return path


def is_into_folder(out: str, *, single: bool) -> bool:
    """True if outputs get their own names in the folder `out`; `single`: there is one per input."""
    separators = tuple(sep for sep in (os.sep, os.altsep) if sep)
    return not single or out.endswith(separators) or home_path(out).is_dir()


def _beside(source: Input) -> Path:
    return Path() if source.path is None else _named(source.path).parent


def as_named(path: str, source: Input, out: str | os.PathLike[str] | None) -> str:
    """An absolute path of an output as `final_path` names it, where it is one of that call."""
    folder = _beside(source) if out is None else home_path(os.fspath(out))
    try:
        return str(folder / Path(path).relative_to(plain_path(folder)))
    except ValueError:
        return path


def input_folder(source: Input) -> tuple[str, ...]:
    """The names of the folders that an input lies in, from the root on; of an address its host."""
    if source.path is not None:
        parts = plain_path(_beside(source)).parts
    elif "://" in source.name:
        address = source.name.split("?")[0].partition("://")[2]
        parts = PurePosixPath(address.rpartition("@")[2]).parts[:-1]
    else:
        parts = ()
    return tuple(_harmless(part, _RESERVED) or "_" for part in parts)


def _check_ending(
    name: str, table: Mapping[str, type[Sink]], path: Path, *, is_picture: bool
) -> None:
    kind, ending = table[name], path.suffix.lower()
    if ending in kind.picture_endings and (is_picture or is_numbered(path)):
        return
    if ending in kind.picture_endings:
        raise UsageError(
            f"-o {path}: the input is no single picture; number its pictures, as in "
            f"{path.stem}_%04d{ending}, or end it in / for a directory"
        )

    # A folder takes no ending but that of a version; a file one that its output has.
    if kind.is_folder:
        if ending and not _VERSION.fullmatch(ending):
            raise UsageError(
                f"-o {path}: {name} are written to a folder; name one without {ending}"
            )
    elif not ending or (kind.endings and ending not in kind.endings):
        known = ", ".join(kind.endings or (Path(f"x{kind.suffix}").suffix,))
        why = f"{name} cannot be written as '{ending}'" if ending else "no file ending"

        # Name the one output that is written so, if there is one: WebM means a cut-out.
        others = [other for other, one in table.items() if ending and ending in one.endings]
        instead = f", or save {others[0]}" if len(others) == 1 else ""
        raise UsageError(f"-o {path}: {why}; end it in {known}, or in / for a directory{instead}")
