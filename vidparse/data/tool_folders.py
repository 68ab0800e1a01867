"""Folders of annotation tools: records beside the pictures, or the video, that they are about.

A record lies in the folder, or in the folder of its split. Its pictures lie in images/<record>/,
images/ or beside it; frames of a video without pictures are decoded from the video beside it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from vidparse.data.dataset import ALL, SPLITS, FrameRecord, image_of_file
from vidparse.data.folder import read_labels
from vidparse.data.folders import (
    PICTURES,
    check_served,
    damaged_record,
    sorted_files,
    sorted_folders,
)
from vidparse.errors import InputError
from vidparse.filenames import is_file, name_below, text_name
from vidparse.labels import Labels
from vidparse.sinks.picture_set import LABELS_FILE
from vidparse.textfiles import without_mark
from vidparse.video import open_video
from vidparse.video.inputs import VIDEO_SUFFIXES

IMAGES, VIDEOS = "images", "videos"
_NO_SPLITS = (ALL, IMAGES, VIDEOS, "annotations")  # folders that are parts of a data set
_ENDINGS = (".cvat.xml", ".cvat-images.xml", ".coco.json", ".ytvis.json")  # as vidparse writes them
IsRecord = Callable[[Path], bool]  # looks into a file


def split_folder(root: Path, split: str, has: Sequence[str]) -> Path:
    """The folder of a split: its own, or the root, which then serves every split.

    The root may be a record itself.

    Args:
        has: those of `record_splits`.

    Raises:
        InputError: the root is not to serve this split.
    """
    if root.is_file():
        return root.parent

    # Take no folder without a record: it may hold the pictures of a video that is called so.
    if split in has and (root / split).is_dir():
        return root / split
    check_served(root, split, has)
    return root


def record_splits(root: Path, is_record: IsRecord, ending: str) -> tuple[str, ...]:
    """Splits whose folders hold a record, the usual ones first; else ALL."""
    found = [one for one in SPLITS if records_in(root / one, is_record, ending)]
    return (*found, *other_splits(root, is_record, ending)) or (ALL,)


def split_bases(root: Path, base: Path, has: Sequence[str]) -> list[Path]:
    """The folders of all splits where `base` is one of them, else `base` alone.

    Files that list no classes have those that occur: a split by itself may lack some.

    Args:
        has: those of `record_splits`.
    """
    bases = [root / split for split in has if split != ALL] if root.is_dir() else []
    return bases if base in bases else [base]


def other_splits(root: Path, is_record: IsRecord, ending: str) -> tuple[str, ...]:
    """Folders of other names that hold a record, such as `valid`."""
    others = (path for path in sorted_folders(root) if path.name not in (*SPLITS, *_NO_SPLITS))
    return tuple(path.name for path in others if records_in(path, is_record, ending))


def has_records(root: Path, is_record: IsRecord, ending: str) -> bool:
    """True for a record, a folder that holds one, or one of folders of splits that do."""
    if root.is_file():
        return root.suffix.lower() == ending and is_record(root)
    folders = (root, *(root / split for split in SPLITS))
    return any(records_in(folder, is_record, ending) for folder in folders)


def records_in(folder: Path, is_record: IsRecord, ending: str) -> list[Path]:
    """The records of a folder, in natural order; `is_record` looks into files of that ending."""
    return [path for path in sorted_files(folder, (ending,)) if is_record(path)]


def records_of(root: Path, base: Path, is_record: IsRecord, ending: str) -> list[Path]:
    """The record that the root is, or those of the folder of a split."""
    return [root] if root.is_file() else records_in(base, is_record, ending)


def no_record(folder: Path, what: str, advice: str) -> InputError:
    """The reason why a folder holds no record: one that is damaged, or none at all."""
    return damaged_record(folder) or InputError(f"{folder}: holds no {what}; {advice}")


def head_of(path: Path, size: int = 1 << 12) -> bytes:
    """The first bytes of a text in UTF-8, to know its kind by; none where it cannot be read."""
    try:
        with path.open("rb") as file:
            return without_mark(file.read(size))
    except OSError:
        return b""


def own_labels(root: Path, base: Path) -> Labels | None:
    """The label set of classes.json in the split's folder or the root, where there is one.

    Raises:
        InputError: it is no label file.
    """
    for folder in dict.fromkeys((base, root)):
        if (folder / LABELS_FILE).is_file():
            return read_labels(folder / LABELS_FILE)
    return None


def colour_of(text: str) -> tuple[int, int, int]:
    """Red, green and blue of #RRGGBB; black, which stands for no colour, of anything else."""
    digits = text.removeprefix("#")
    try:
        red, green, blue = bytes.fromhex(digits)
    except ValueError:
        return (0, 0, 0)
    return red, green, blue


def record_stem(path: Path) -> str:
    """The name of a record's video: clip.v2.cvat.xml -> clip.v2, since names may have dots."""
    for ending in _ENDINGS:
        if path.name.endswith(ending) and path.name != ending:
            return path.name.removesuffix(ending)
    return path.stem


def free_name(name: str, taken: Container[str]) -> str:
    """The name, or cam_2, cam_3 ... where others are called so: frames go by their video's."""
    names = itertools.chain([name], (f"{name}_{number}" for number in itertools.count(2)))
    return next(one for one in names if one not in taken)


@dataclass(frozen=True)
class PicturesBeside:
    """Finds pictures of a record by the names that it has for them.

    folders: where they may lie, in order. listed: those of the first one that has any.
    """

    record: Path
    folders: tuple[Path, ...]
    stems: dict[str, Path] = field(default_factory=dict)
    listed: list[Path] = field(default_factory=list)

    @classmethod
    def of(cls, record: Path, video: str) -> PicturesBeside:
        base = record.parent
        folders = (base / IMAGES / video, base / IMAGES, base / video, base)
        found = cls(record, tuple(folder for folder in folders if folder.is_dir()))
        for folder in found.folders:
            files = sorted_files(folder, PICTURES)
            if not found.listed:
                found.listed.extend(files)
            for path in files:
                found.stems.setdefault(text_name(path.stem), path)
        return found

    def find(self, *names: str) -> Path | None:
        """The picture of one of these names, with or without folder and ending.

        Raises:
            InputError: a name leads out of the folder.
        """
        for name in names:
            inside = name_below(name, self.record)
            for folder in self.folders:
                if PurePosixPath(name).suffix.lower() in PICTURES and is_file(folder / inside):
                    return folder / inside
            last = PurePosixPath(name).name
            stem = PurePosixPath(last).stem if last.lower().endswith(PICTURES) else last
            if text_name(stem) in self.stems:
                return self.stems[text_name(stem)]
        return None

    def at(self, number: int) -> Path | None:
        """The picture at a place, from 0, of the first folder that has pictures."""
        return self.listed[number] if number < len(self.listed) else None


def video_beside(record: Path, names: Iterable[str]) -> Path | None:
    """The video of one of these names, or of the record's, beside the record or in videos/."""
    stem = record_stem(record)
    for name in (*names, *(stem + suffix for suffix in sorted(VIDEO_SUFFIXES))):
        last = PurePosixPath(name).name
        for path in (record.parent / last, record.parent / VIDEOS / last):
            if last and path.suffix.lower() in VIDEO_SUFFIXES and is_file(path):
                return path
    return None


class FramesBeside:
    """The `read_image` of frames that lie on disk, or in videos.

    Frames of a video are cheap in order: going back begins the video anew.

    Args:
        videos: files of videos by name.
    """

    def __init__(self, videos: Mapping[str, Path]) -> None:
        self._videos = dict(videos)
        self._open: tuple[str, int, object] | None = None

    def __getstate__(self) -> dict[str, Path]:
        return self._videos

    def __setstate__(self, videos: dict[str, Path]) -> None:
        self.__init__(videos)  # type: ignore[misc]

    def __call__(self, frame: FrameRecord) -> np.ndarray:
        """RGB uint8 (H, W, 3).

        Raises:
            InputError: the picture or video is missing, damaged, or too short.
        """
        if frame.image is not None:
            return image_of_file(frame)
        path = self._videos.get(frame.video)
        if path is None:
            raise InputError(
                f"{frame.mask}: no picture of frame {frame.stem} and no video beside it; put the "
                f"pictures into {IMAGES}/, or the video beside it, or name it with data convert "
                "--video"
            )
        return self._decoded(frame, path)

    def film(self, video: str) -> Path | None:
        """The file of a video, where it lies beside its record."""
        return self._videos.get(video)

    def number(self, frame: FrameRecord) -> int:
        """The number of a frame in the file of its video, from 0.

        Raises:
            InputError: its name is no number.
        """
        digits = frame.stem.removeprefix("frame_")  # as CVAT calls pictures of a video
        if not digits.isdecimal():
            raise InputError(
                f"{frame.mask}: no picture {frame.stem}, and the name is no number of a frame of "
                f"{frame.video}; put the pictures into {IMAGES}/"
            )
        return int(digits)

    def _decoded(self, frame: FrameRecord, path: Path) -> np.ndarray:
        number = self.number(frame)

        # Go on from where the last frame was, unless this one lies before it.
        state = self._open
        if state is None or state[0] != frame.video or state[1] > number:
            self._open = None
            frames = iter(open_video(path, copy_streams=False))
        else:
            frames = state[2]  # type: ignore[assignment]
        for found in frames:
            if found.index == number:
                self._open = (frame.video, number + 1, frames)
                return found.image.rgb()
        raise InputError(f"{path}: has no frame {number}; take the video that was annotated")
