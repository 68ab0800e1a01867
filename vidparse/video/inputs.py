"""What a user's input arguments name: files, folders, patterns."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vidparse.errors import InputError
from vidparse.filenames import natural_key
from vidparse.video.access import is_address, local_path

IMAGE_SUFFIXES = {
    *(".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pnm", ".tga"),
    *(".jp2", ".exr", ".dpx"),
}
VIDEO_SUFFIXES = {
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".m2ts", ".mts", ".mpg", ".mpeg"),
    *(".m2v", ".vob", ".wmv", ".asf", ".flv", ".f4v", ".ogv", ".3gp", ".3g2", ".mxf", ".nut"),
    *(".y4m", ".gif", ".h264", ".264", ".hevc", ".h265", ".265", ".ivf", ".dv", ".rm", ".rmvb"),
}

_GLOB = re.compile(r"[*?\[]")
_NUMBERED = re.compile(r"%0?\d*d")
_OUTPUT = re.compile(r"\.(overlay\.(mp4|mkv|mov)|masks(\.mkv|\.nut)?|vspw|vipseg|part(\.\w+)?)$")


def is_image(path: Path) -> bool:
    """By suffix: a still picture (an animated gif is a video)."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def is_video(path: Path) -> bool:
    """By suffix; only used to sort a folder, never to refuse a file that was named."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def is_output(path: Path) -> bool:
    """By name: what vidparse writes by default, and what it left when it was killed."""
    return _OUTPUT.search(path.name) is not None


@dataclass(frozen=True, slots=True)
class Input:
    """One input, looked up once: nothing reads its name as a pattern again.

    name: as the user gave it, for messages and summaries.
    path: the file or folder it is, or the folder that the pictures of a pattern lie in; None for
        stdin, addresses and samples.
    pattern: of pictures: a glob, or numbers as in img_%04d.png; None for what has a name.
    images: the pictures of a sequence, in order, where they are known already.
    """

    name: str
    path: Path | None = None
    pattern: str | None = None
    images: tuple[Path, ...] | None = None

    @classmethod
    def named(cls, text: str) -> Input:
        """What `text` names: a file or folder before a pattern, whatever signs are in its name.

        Raises:
            InputError: the name is too long, or lies in a folder that may not be entered.
        """
        if text == "-" or is_address(text):
            return cls(text)
        path = Path(local_path(text))
        try:
            exists = path.exists()
        except OSError as error:
            raise InputError(f"{text}: {error.strerror}; check the path") from error
        numbered = is_image(path) and _NUMBERED.search(path.name)
        if (numbered or _GLOB.search(text)) and not exists and not path.is_symlink():
            return cls(text, path.parent, text)
        return cls(text, path)

    @property
    def is_glob(self) -> bool:
        """Whether the pictures are found by a glob."""
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
            return tuple(_images(self.name, found))
        if self.path.is_dir():
            return tuple(_images(self.name, _listed(self.path)))
        if self.path.is_file() and is_image(self.path):
            return (self.path,)
        return None


def matches(pattern: str) -> list[Path]:
    """Files and folders that a pattern matches (`**` goes deep), in natural order by folder."""
    # Path.glob takes no absolute pattern.
    found = [Path(hit) for hit in glob.glob(pattern, recursive=True)]  # noqa: PTH207
    return sorted(found, key=lambda path: (str(path.parent), natural_key(path.name)))


def _images(name: str, paths: list[Path]) -> list[Path]:
    """The image files among `paths`, in natural order."""
    found = (path for path in paths if is_image(path) and path.is_file())
    images = sorted(found, key=lambda path: natural_key(path.name))
    if not images:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES)[:4])
        raise InputError(f"{name}: holds no images; give a folder with {kinds}, ... or a video")
    return images


def _numbered(folder: Path, pattern: str) -> list[Path]:
    """Files of a folder that are called as img_%04d.png says, whatever their number."""
    before, after = _NUMBERED.split(Path(pattern).name, maxsplit=1)
    name = re.compile(rf"{re.escape(before)}\d+{re.escape(after)}")
    return [path for path in _listed(folder) if name.fullmatch(path.name)]


def _listed(folder: Path) -> list[Path]:
    """Everything in a folder, in natural order."""
    try:
        return sorted(folder.iterdir(), key=lambda path: natural_key(path.name))
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}; check its permissions") from error


def expand_inputs(patterns: Sequence[str]) -> list[Input]:
    """What `open_video` takes, one entry per input, in the order given and without repeats.

    A pattern that matches images only stays one entry for each folder they lie in (a sequence);
    one that matches videos becomes its files. A folder with images is one entry, a folder that
    holds only videos becomes its videos. What vidparse wrote beside its inputs is passed over,
    unless a pattern matches nothing else.

    Raises:
        InputError: an empty name, a pattern that matches nothing, or a folder that holds neither
            images nor videos.
    """
    inputs: list[Input] = []
    for pattern in patterns:
        if not pattern.strip():
            raise InputError(f"'{pattern}': an empty name; check the variable it comes from")
        named = Input.named(pattern)
        if named.is_glob:
            inputs += _from_pattern(pattern)
        elif named.path is not None and named.pattern is None and named.path.is_dir():
            inputs += _from_folder(named)
        else:
            inputs.append(named)
    return list({one.name: one for one in reversed(inputs)}.values())[::-1]


def _from_pattern(pattern: str) -> list[Input]:
    found = matches(pattern)
    found = [path for path in found if not is_output(path)] or found
    if not found:
        raise InputError(f"{pattern}: matches nothing; check the path (and quote the pattern)")
    images = [path for path in found if is_image(path) and path.is_file()]
    if len(images) == len(found):
        return _sequences(pattern, images)
    inputs: list[Input] = []
    for path in found:
        if path.is_dir():
            inputs += _from_folder(Input(str(path), path))
        elif is_video(path):
            inputs.append(Input(str(path), path))
    if not inputs:
        raise InputError(f"{pattern}: matches no video and not only images; name the files")
    return inputs


def _sequences(pattern: str, images: list[Path]) -> list[Input]:
    """One sequence for each folder that pictures lie in."""
    by_folder: dict[Path, list[Path]] = {}
    for path in images:
        by_folder.setdefault(path.parent, []).append(path)
    if len(by_folder) == 1:
        names = [pattern]
    else:
        names = [str(folder / Path(pattern).name) for folder in by_folder]
    return [
        Input(name, folder, pattern, tuple(pictures))
        for name, (folder, pictures) in zip(names, by_folder.items(), strict=True)
    ]


def _from_folder(folder: Input) -> list[Input]:
    assert folder.path is not None
    paths = _listed(folder.path)
    images = tuple(path for path in paths if is_image(path) and path.is_file())
    if images:
        return [replace(folder, images=images)]
    videos = [p for p in paths if is_video(p) and p.is_file() and not is_output(p)]
    if not videos:
        raise InputError(f"{folder.name}: holds neither images nor videos; name another folder")
    return [Input(str(path), path) for path in videos]
