"""Formats of data sets: how each lies in its folder, how it is opened, and how frames are listed.

A new format is one file with a :class:`Format`, and one line in `vidparse.data.FORMATS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol

from vidparse.data import FORMATS, SAMPLES
from vidparse.data.dataset import Dataset, FrameRecord, Video
from vidparse.errors import InputError, UsageError
from vidparse.filenames import name_below, natural_key
from vidparse.textfiles import read_text

SPLITS = ("train", "val", "test")
ALL = "all"  # the split of layouts that have none
OnMissing = Callable[[InputError], None]  # gets each listed thing that is not there
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


def refuse(error: InputError) -> None:
    """The usual `OnMissing`: the first thing missing is one too many."""
    raise error


class Opener(Protocol):
    """The function that opens a format."""

    def __call__(self, root: Path, split: str, *, on_missing: OnMissing = refuse) -> Dataset:
        """A split; what `on_missing` lets pass is left out.

        Raises:
            InputError: the folder is not laid out like this.
        """
        ...


@dataclass(frozen=True, slots=True)
class Format:
    """The layout of a data set in its folder.

    open: opens a split.
    sign: its mark, in words. matches: True for a folder that has it.
    splits: those that a folder has.
    masks: patterns of the mask files of {split} and {video}; the file name of a mask is its frame's
        name and the ending after `*`.
    owns: True if a frame's name (without the ending) belongs to a split, for patterns that find
        more than the split's masks.
    every_frame: all frames of a split have masks if any has.
    usually: the name of the format that such folders are opened as where nobody names one.
    """

    open: Opener
    sign: str
    matches: Callable[[Path], bool]
    splits: Callable[[Path], tuple[str, ...]]
    masks: tuple[str, ...] = ()
    owns: Callable[[str, str], bool] = lambda stem, split: True
    every_frame: bool = True
    usually: str = ""


def format_of(name: str) -> Format:
    """A format by its name in FORMATS.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in FORMATS:
        raise UsageError(
            f"data set '{name}': unknown; use {', '.join([*sorted(FORMATS), *SAMPLES])}"
        )
    module, _, attribute = FORMATS[name].partition(":")
    found: Format = getattr(import_module(module), attribute or "FORMAT")
    return found


def open_dataset(name: str, root: Path | None, split: str) -> Dataset:
    """A split of a data set by name; `sample://street` and `sample://crowd` need no folder.

    Raises:
        UsageError: unknown data set. InputError: the folder is missing or not laid out like it.
    """
    if name.startswith("sample://"):
        from vidparse.data.rendered import open_rendered

        return open_rendered(name, split)
    known = format_of(name)
    if root is None:
        raise UsageError(f"data set '{name}': lies in a folder; name it with --data")
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; point --data at the data set")
    return known.open(root, split)


def usual_format(root: Path | None) -> str:
    """The name of the format that a folder is opened as where nobody names one.

    Raises:
        UsageError: no folder is named, either. InputError: it is missing, or as of `recognise`.
    """
    if root is None:
        raise UsageError(
            f"data set: none is named; give its folder with --data, or --dataset {SAMPLES[0]}"
        )
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; point --data at the data set")
    name = recognise(root)
    return format_of(name).usually or name


def recognise(root: Path) -> str:
    """The name of the format of the data set in a folder.

    Raises:
        InputError: none, or more than one; the message lists the signs.
    """
    formats = {name: format_of(name) for name in FORMATS}
    found = [name for name, known in formats.items() if known.matches(root)]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"{root}: looks like {' and '.join(found)}; say which with --dataset")
    looked = ", ".join(f"{known.sign} ({name})" for name, known in formats.items())
    raise InputError(f"{root}: no data set found, looked for {looked}; name it with --dataset")


def check_split(name: str, split: str, known: Iterable[str]) -> None:
    """Raises: InputError: the data set has no such split."""
    if split not in known:
        raise InputError(f"{name} split '{split}': unknown; use {', '.join(known)}")


def has_match(root: Path, pattern: str) -> bool:
    """True if a folder holds something that a glob pattern matches."""
    return next(root.glob(pattern), None) is not None


def listed_splits(root: Path) -> tuple[str, ...]:
    """Those of train, val and test that a folder has a list of, {split}.txt."""
    return tuple(split for split in SPLITS if (root / f"{split}.txt").is_file())


def read_split(root: Path, split: str) -> list[str]:
    """Video names of {split}.txt, one per line; a missing last newline and blank lines are fine.

    Raises:
        InputError: unknown split, no such file, nothing in it, or a name outside the folder.
    """
    check_split(str(root), split, SPLITS)
    path = root / f"{split}.txt"
    if not path.exists():
        raise InputError(f"{path}: no such file; it lists the videos of the split")
    names = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if not names:
        raise InputError(f"{path}: names no video; fetch it again")
    return [name_below(name, path) for name in names]


def sorted_files(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    """Files of a folder in natural order, hidden ones left out; none when there is no folder."""
    return [path for path in _visible(folder) if path.suffix.lower() in endings]


def sorted_folders(folder: Path) -> list[Path]:
    """Folders in a folder in natural order, hidden ones left out; none when there is no folder."""
    return [path for path in _visible(folder) if path.is_dir()]


def _visible(folder: Path) -> list[Path]:
    """Raises: InputError: the folder is there, but cannot be listed."""
    try:
        paths = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}; check its name and permissions") from error
    return sorted(paths, key=lambda path: natural_key(path.name))


def paired_frames(video: str, images: Path, masks: Path) -> tuple[FrameRecord, ...]:
    """Pictures of a folder in natural order, each with the PNG mask of the same stem if any.

    Raises:
        InputError: two pictures of one stem, so that the mask could be of either; masks that are
            not PNG.
    """
    known = {path.stem: path for path in sorted_files(masks, (".png",))}
    others = [] if known else sorted_files(masks, PICTURES)
    if others:
        raise InputError(f"{masks}: {not_png(others)}")

    pictures = sorted_files(images, PICTURES)
    seen: dict[str, Path] = {}
    for path in pictures:
        other = seen.setdefault(path.stem, path)
        if other is not path:
            raise InputError(f"{path}: {other.name} has the same name; keep one of them")
    return tuple(
        FrameRecord(video, path.stem, i, path, known.get(path.stem), path.stem in known)
        for i, path in enumerate(pictures)
    )


def not_png(masks: Sequence[Path]) -> str:
    """In words, the reason why masks of other kinds are not read."""
    more = f" and {len(masks) - 1} more" if len(masks) > 1 else ""
    return (
        f"masks are PNGs, and {masks[0].name}{more} {'are' if more else 'is'} none; make them anew "
        "as PNG (other kinds change the class ids)"
    )


def paired_video(
    video: str, images: Path, masks: Path, *, interval_s: float | None = None
) -> Video:
    """A video that must not be empty.

    Raises:
        InputError: the folder is missing or holds no image.
    """
    frames = paired_frames(video, images, masks)
    if not frames:
        raise InputError(f"{images}: holds no images for {video}; fetch them again")
    return Video(video, frames, interval_s)


def paired_videos(
    names: Iterable[str],
    folders: Callable[[str], tuple[Path, Path]],
    on_missing: OnMissing,
    *,
    interval_s: float | None = None,
) -> tuple[Video, ...]:
    """Videos by name, less those without images, which go to `on_missing`.

    Args:
        folders: of the images and of the masks of a video.
        interval_s: seconds from frame to frame, where the format fixes them.
    """
    videos = []
    for name in names:
        try:
            videos.append(paired_video(name, *folders(name), interval_s=interval_s))
        except InputError as error:
            on_missing(error)
    return tuple(videos)
