"""What a user's input arguments name: files, folders, patterns."""

from __future__ import annotations

import glob
import re
from pathlib import Path

from vidparse.errors import InputError
from vidparse.filenames import natural_key

IMAGE_SUFFIXES = {
    *(".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pnm", ".tga"),
    *(".jp2", ".exr", ".dpx"),
}
VIDEO_SUFFIXES = {
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".m2ts", ".mts", ".mpg", ".mpeg"),
    *(".m2v", ".vob", ".wmv", ".asf", ".flv", ".f4v", ".ogv", ".3gp", ".3g2", ".mxf", ".nut"),
    *(".y4m", ".gif", ".h264", ".264", ".hevc", ".h265", ".265", ".ivf", ".dv", ".rm", ".rmvb"),
}

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


def has_pattern(text: str) -> bool:
    """Whether the text is a glob pattern and not the name of something that exists."""
    return any(mark in text for mark in "*?[") and not Path(text).exists()


def matches(pattern: str) -> list[Path]:
    """Files and folders that a pattern matches (`**` goes deep), in natural order by folder."""
    # Path.glob takes no absolute pattern.
    found = [Path(hit) for hit in glob.glob(pattern, recursive=True)]  # noqa: PTH207
    return sorted(found, key=lambda path: (str(path.parent), natural_key(path.name)))


def images_of(source: str) -> list[Path]:
    """The image files of a folder or pattern, in natural order.

    Raises:
        InputError: there is none.
    """
    folder = Path(source)
    try:
        paths = list(folder.iterdir()) if folder.is_dir() else matches(source)
    except OSError as error:
        raise InputError(f"{source}: {error.strerror}; check its permissions") from error
    found = (path for path in paths if is_image(path) and path.is_file())
    images = sorted(found, key=lambda path: natural_key(path.name))
    if not images:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES)[:4])
        raise InputError(f"{source}: holds no images; give a folder with {kinds}, ... or a video")
    return images


def expand_inputs(patterns: list[str]) -> list[str]:
    """What `open_video` takes, one entry an input, in the order given and without repeats.

    A pattern that matches images only stays one entry for each folder they lie in (a sequence);
    one that matches videos becomes its files. A folder with images is one entry, a folder that
    holds only videos becomes its videos. What vidparse wrote beside its inputs is passed over,
    unless a pattern matches nothing else.

    Raises:
        InputError: an empty name, a pattern that matches nothing, or a folder that holds neither
            images nor videos.
    """
    inputs: list[str] = []
    for pattern in patterns:
        if not pattern.strip():
            raise InputError(f"'{pattern}': an empty name; check the variable it comes from")
        if pattern == "-" or "://" in pattern:
            inputs.append(pattern)
        elif has_pattern(pattern):
            inputs += _from_pattern(pattern)
        elif Path(pattern).is_dir():
            inputs += _from_folder(Path(pattern))
        else:
            inputs.append(pattern)
    return list(dict.fromkeys(inputs))


def _from_pattern(pattern: str) -> list[str]:
    found = matches(pattern)
    found = [path for path in found if not is_output(path)] or found
    if not found:
        raise InputError(f"{pattern}: matches nothing; check the path (and quote the pattern)")
    files = [path for path in found if path.is_file()]
    images = [path for path in files if is_image(path)]
    if images and len(images) == len(found):
        folders = list(dict.fromkeys(path.parent for path in images))
        if len(folders) == 1:
            return [pattern]
        return [str(folder / Path(pattern).name) for folder in folders]
    inputs: list[str] = []
    for path in found:
        if path.is_dir():
            inputs += _from_folder(path)
        elif is_video(path):
            inputs.append(str(path))
    if not inputs:
        raise InputError(f"{pattern}: matches no video and not only images; name the files")
    return inputs


def _from_folder(folder: Path) -> list[str]:
    try:
        paths = sorted(folder.iterdir(), key=lambda path: natural_key(path.name))
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}; check its permissions") from error
    if any(is_image(path) for path in paths):
        return [str(folder)]
    videos = [p for p in paths if is_video(p) and p.is_file() and not is_output(p)]
    if not videos:
        raise InputError(f"{folder}: holds neither images nor videos; name another folder")
    return [str(path) for path in videos]
