"""The inputs that a user names: files, folders and patterns, each looked up once."""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from vidparse.addresses import masked
from vidparse.errors import InputError, counted
from vidparse.filenames import is_unfinished, natural_key, plain_path
from vidparse.textfiles import decode_text, read_text
from vidparse.video.access import is_address, local_path
from vidparse.video.animation import is_still

IMAGE_SUFFIXES = {
    *(".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pnm", ".tga"),
    *(".jp2", ".exr", ".dpx", ".jfif", ".jpe", ".avif", ".heic", ".heif", ".jxl", ".pbm", ".pam"),
    *(".j2k", ".jpf", ".qoi", ".psd", ".sgi", ".hdr"),
}
VIDEO_SUFFIXES = {
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".m2ts", ".mts", ".mpg", ".mpeg"),
    *(".m2v", ".vob", ".wmv", ".asf", ".flv", ".f4v", ".ogv", ".3gp", ".3g2", ".mxf", ".nut"),
    *(".y4m", ".gif", ".h264", ".264", ".hevc", ".h265", ".265", ".ivf", ".dv", ".rm", ".rmvb"),
    *(".apng", ".mjpg", ".mjpeg", ".divx", ".m1v"),
}
_GLOB = re.compile(r"[*?\[]")
_NUMBERED = re.compile(r"%0?\d*d")
IsOutput = Callable[[Path], bool]


def is_image(path: Path) -> bool:
    """By suffix: a still picture (an animated gif is a video)."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def is_video(path: Path) -> bool:
    """By suffix; only used to sort a folder, never to refuse a file that was named."""
    return path.suffix.lower() in VIDEO_SUFFIXES


@dataclass(frozen=True, slots=True)
class Input:
    """One input, looked up once: nothing reads its name as a pattern again.

    name: as the user gave it, for messages and summaries.
    path: the file or folder it is, or the folder that the pictures of a pattern lie in; None for
        stdin, addresses and samples.
    pattern: of pictures: a glob, or numbers as in img_%04d.png; None for what has a name.
    images: the pictures of a sequence, in order, where they are known already.
    notes: for the user, one line each: what was passed over.
    address: of the network or of a camera, with users and passwords, which `name` hides.
    folder: of its outputs below that of -o; "" for that itself.
    """

    name: str
    path: Path | None = None
    pattern: str | None = None
    images: tuple[Path, ...] | None = None
    notes: tuple[str, ...] = ()
    address: str = field(default="", repr=False)
    folder: str = ""

    @classmethod
    def named(cls, text: str) -> Input:
        """The input of that name: a file or folder before a pattern, whatever signs are in it.

        Raises:
            InputError: the name is too long, or lies in a folder that may not be entered.
        """
        if text == "-":
            return cls(text)
        if is_address(text):
            return cls(masked(text), address=text)
        path = Path(local_path(text))
        try:
            exists = path.exists()
        except OSError as error:
            raise InputError(f"{text}: {error.strerror}; check the path") from error

        # Let a name that exists win: "x [1].mp4" is a file, and as a pattern matches another.
        numbered = is_image(path) and _NUMBERED.search(path.name)
        if (numbered or _GLOB.search(text)) and not exists and not path.is_symlink():
            return cls(text, path.parent, text)
        return cls(text, path)

    @property
    def identity(self) -> str:
        """The same for all spellings of the name: the address, or the absolute path."""
        if self.path is None:
            return self.address or self.name
        return str(plain_path(Path(self.name) if self.pattern else self.path))

    @property
    def is_picture(self) -> bool:
        """One picture by its own name: no animation, and not a sequence of one."""
        return self._is_picture_file and self.path is not None and is_still(self.path)

    @property
    def _is_picture_file(self) -> bool:
        """A file by its own name, with the ending of a picture."""
        has_ending = self.pattern is None and self.path is not None and is_image(self.path)
        return has_ending and self.path is not None and self.path.is_file()

    @property
    def folder_name(self) -> str:
        """The name of a sequence, that of its folder: "shots/*.png" is "shots"."""
        return (self.path.resolve().name if self.path is not None else "") or "images"

    @property
    def is_glob(self) -> bool:
        """The pictures are found by a glob."""
        return self.pattern is not None and _GLOB.search(self.pattern) is not None

    def sequence(self) -> tuple[Path, ...] | None:
        """The pictures of a folder, pattern or picture file in order; None for videos and streams.

        Raises:
            InputError: the folder or pattern holds no pictures.
        """
        if self.images is not None:
            return self.images
        if self.path is None:
            return None
        if self.pattern is not None:
            found = matches(self.pattern) if self.is_glob else _numbered(self.path, self.pattern)
            return _images(self.name, found)
        if self.path.is_dir():
            return _images(self.name, _listed(self.path))
        return (self.path,) if self._is_picture_file else None


def matches(pattern: str) -> list[Path]:
    """Files and folders that a pattern matches (`**` goes deep), in natural order by folder."""
    # Path.glob takes no absolute pattern.
    found = [Path(hit) for hit in glob.glob(pattern, recursive=True)]  # noqa: PTH207
    return sorted(found, key=lambda path: (str(path.parent), natural_key(path.name)))


def _images(name: str, paths: list[Path]) -> tuple[Path, ...]:
    """The image files among `paths`, in natural order."""
    images = sorted(_Sorted(paths).images, key=lambda path: natural_key(path.name))
    if not images:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES)[:4])
        raise InputError(f"{name}: holds no images; give a folder with {kinds}, ... or a video")
    return tuple(images)


class _Sorted:
    """Paths that are listed together, by kind and in the order given.

    images: files. videos: files. folders. rest: files of other endings. Outputs of vidparse are
    left out where there is anything else, and what macOS keeps beside files (._name) always.
    """

    def __init__(self, paths: list[Path], is_output: IsOutput = is_unfinished) -> None:
        # Leave out what macOS keeps beside files: it has their endings, and no picture.
        paths = [path for path in paths if not path.name.startswith("._")]
        paths = [path for path in paths if not is_output(path)] or paths
        files = [path for path in paths if path.is_file()]
        self.images = [path for path in files if is_image(path)]
        self.videos = [path for path in files if is_video(path)]
        self.folders = [path for path in paths if path.is_dir()]
        known = {*self.images, *self.videos, *self.folders}
        self.rest = [p for p in paths if p not in known and not p.name.startswith(".")]

    def notes(self, name: str) -> tuple[str, ...]:
        """Notes on several kinds of input in one place, and on files that are none."""
        notes = []
        if self.images and self.videos:
            notes.append(
                f"{name}: {counted(len(self.images), 'picture')} and "
                f"{counted(len(self.videos), 'video')}; "
                "the pictures are one sequence, and each video is an input of its own"
            )
        for paths, word in ((self.folders, "folder"), (self.rest, "other file")):
            if paths:
                names = [path.name for path in paths[:3]]
                more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
                notes.append(
                    f"{name}: passed over {counted(len(paths), word)} ({', '.join(names)}{more})"
                )
        return tuple(notes)


def _numbered(folder: Path, pattern: str) -> list[Path]:
    """Files of a folder whose names match a pattern such as img_%04d.png, whatever their number."""
    before, after = _NUMBERED.split(Path(pattern).name, maxsplit=1)
    name = re.compile(rf"{re.escape(before)}\d+{re.escape(after)}")
    return [path for path in _listed(folder) if name.fullmatch(path.name)]


def _listed(folder: Path) -> list[Path]:
    """Everything in a folder, in natural order."""
    try:
        return sorted(folder.iterdir(), key=lambda path: natural_key(path.name))
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}; check its permissions") from error


def listed(names: Iterable[str]) -> list[str]:
    """The names, with those in a list file (`@clips.txt`, or `@-` for stdin) in its place.

    A list has a name per line, as it would be typed; empty lines and those that begin with # are
    passed over. A file whose own name begins with @ is no list.

    Raises:
        InputError: a list cannot be read, or holds no name.
    """
    found: list[str] = []
    for name in names:
        if not name.startswith("@") or os.path.lexists(name):
            found.append(name)
            continue
        # Split at line ends alone: names may hold other signs that Python takes for such.
        lines = [line.strip() for line in _list_text(name).split("\n")]
        inside = [line for line in lines if line and not line.startswith("#")]
        if not inside:
            raise InputError(f"{name}: lists no input; write a name per line")
        found += inside
    return found


def _list_text(name: str) -> str:
    """The text of a list file, with bytes that are no UTF-8 where files are called so.

    Raises:
        InputError: it cannot be read, or has another encoding.
    """
    path = Path(local_path(name[1:]))
    data = b""
    try:
        if name != "@-":
            return read_text(path)
        data = sys.stdin.buffer.read() if sys.stdin is not None else b""
        return decode_text(data)
    except (InputError, ValueError) as error:
        # Take the bytes of names as they are, as tools list them, if all lead to files.
        with suppress(OSError, ValueError):
            text = (data or path.read_bytes()).decode("utf-8", "surrogateescape")
            lines = [line.strip() for line in text.split("\n") if not line.startswith("#")]
            names = [line for line in lines if not line.isprintable()]
            if names and all(os.path.lexists(one) for one in names):
                return text
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name}: {error}; write it as UTF-8") from error


def expand_inputs(patterns: Sequence[str], *, is_output: IsOutput = is_unfinished) -> list[Input]:
    """Inputs for `open_video`, one entry each, in the order given and without repeats.

    `@clips.txt` stands for the names in that file (see :func:`listed`).

    The images of a folder or pattern are one entry for each folder they lie in (a sequence), each
    video is an entry of its own, and the folders that a pattern matches are taken as if they were
    named. Outputs of vidparse beside its inputs (`is_output`) are passed over, unless there is
    nothing else; the notes of the first entry list all else that is passed over.

    Raises:
        InputError: an empty name, a pattern that matches nothing, or a folder that holds neither
            images nor videos.
    """
    inputs: list[Input] = []

    for pattern in listed(patterns):
        if not pattern.strip():
            raise InputError(f"'{pattern}': an empty name; check the variable it comes from")
        named = Input.named(pattern)
        if named.is_glob:
            inputs += _from_pattern(pattern, is_output)
        elif named.pattern is not None:
            inputs.append(replace(named, images=named.sequence()))
        elif named.path is not None and named.path.is_dir():
            inputs += _from_folder(named, is_output)
        else:
            inputs.append(named)

    # Take each once, where it came first.
    by_name: dict[str, Input] = {}
    for one in inputs:
        by_name.setdefault(one.identity, one)
    return list(by_name.values())


def _from_pattern(pattern: str, is_output: IsOutput) -> list[Input]:
    found = matches(pattern)
    if not found:
        raise InputError(f"{pattern}: matches nothing; check the path (and quote the pattern)")
    kinds = _Sorted(found, is_output)
    inputs = _sequences(pattern, kinds.images)
    folders, kinds.folders = kinds.folders, []
    for folder in folders:
        try:
            inside = _from_folder(Input(str(folder), folder), is_output)
        except InputError:
            # Note a folder without inputs: the pattern may match others that have some.
            kinds.folders.append(folder)
            continue
        # A pattern with ** matches the pictures of a folder, too.
        inputs += [one for one in inside if not {*(one.images or ())} & {*kinds.images}]
    inputs += [Input(str(path), path) for path in kinds.videos]
    if not inputs:
        raise InputError(f"{pattern}: matches neither images nor videos; name the files")
    notes = (*kinds.notes(pattern), *inputs[0].notes)
    return [replace(inputs[0], notes=notes), *inputs[1:]]


def _sequences(pattern: str, images: list[Path]) -> list[Input]:
    """One sequence for each folder that pictures lie in."""
    by_folder: dict[Path, list[Path]] = {}
    for path in images:
        by_folder.setdefault(path.parent, []).append(path)
    if len(by_folder) == 1:
        # Keep the pattern where it names one folder: outputs are called after it.
        names = [pattern]
    else:
        names = [str(folder / Path(pattern).name) for folder in by_folder]
    return [
        Input(name, folder, pattern, tuple(pictures))
        for name, (folder, pictures) in zip(names, by_folder.items(), strict=True)
    ]


def _from_folder(folder: Input, is_output: IsOutput) -> list[Input]:
    assert folder.path is not None
    kinds = _Sorted(_listed(folder.path), is_output)
    inputs = [replace(folder, images=tuple(kinds.images))] if kinds.images else []
    inputs += [Input(str(path), path) for path in kinds.videos]
    if not inputs:
        raise InputError(f"{folder.name}: holds neither images nor videos; name another folder")
    return [replace(inputs[0], notes=kinds.notes(folder.name)), *inputs[1:]]
