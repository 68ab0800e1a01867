"""CamVid as it was released: 701 pictures of 960x720, masks coded by colour, 32 classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from vidparse.data.dataset import FrameRecord, OnMissing, Video, counted_interval_s, refuse
from vidparse.data.pictures import read_rgb
from vidparse.data.splits import check_split, sorted_files
from vidparse.data.values import IGNORE
from vidparse.errors import InputError
from vidparse.labels import Labels, load_labels
from vidparse.maps import recode

IMAGES, MASKS = "701_StillsRaw_full", "LabeledApproved_full"
SPLITS = ("train", "val", "test", "all")
_RATE_HZ = 30  # of the numbers in the names
_VOID_COLOUR = (0, 0, 0)
_VAL_FRAMES = range(7959, 8160)  # of 0016E5: the part that is labelled at 15 Hz
_TEST_FROM = 8550  # of 0001TP: the second half of the drive at dusk


class CamVid32:
    """One split: 701_StillsRaw_full/<frame>.png and LabeledApproved_full/<frame>_L.png.

    Splits are SegNet's, told from the names (see `split_of`), and "all". Of the 32 classes Void is
    not scored: 31 remain.

    Raises:
        InputError: the folder is not laid out like this.
    """

    name = "camvid-32"

    def __init__(self, root: Path, split: str, *, on_missing: OnMissing = refuse) -> None:
        self.split = split
        self.labels = load_labels("camvid-32")
        self.videos = released_videos(root, split, on_missing)
        self._code = ColourCode(self.labels)

    def load_image(self, frame: FrameRecord) -> np.ndarray:
        assert frame.image is not None  # every frame of this data set lies on disk
        return read_rgb(frame.image)

    def load_mask(self, frame: FrameRecord) -> np.ndarray:
        assert frame.mask is not None
        return self._code.read(frame.mask)


class ColourCode:
    """Colours of the released masks to training ids.

    Args:
        labels: the 31 classes with their colours.
        group: training id of each of them; their own if not given.
    """

    def __init__(self, labels: Labels, group: Sequence[int] | None = None) -> None:
        colours = np.array([*labels.colours, _VOID_COLOUR], np.int64)
        codes = colours @ (1 << 16, 1 << 8, 1)  # (32,): R, G and B as one number of 24 bits
        ids = np.array([*(group or range(len(labels))), IGNORE], np.uint8)
        order = np.argsort(codes)
        self._codes, self._ids = codes[order].astype(np.int32), ids[order]

    def read(self, path: Path) -> np.ndarray:
        """Training ids uint8 (H, W) of a mask.

        Raises:
            InputError: missing, damaged, or with a colour that is no class.
        """
        rgb = read_rgb(path)
        packed = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGRA).view("<i4")[..., 0] & 0xFFFFFF  # (H, W)
        try:
            return recode(packed, self._codes, self._ids)
        except KeyError as error:
            code = error.args[0]
            colour = (code >> 16, code >> 8 & 255, code & 255)
            raise InputError(
                f"{path}: colour {colour} is none of CamVid's 32 classes; fetch the mask again"
            ) from error


def is_release(root: Path) -> bool:
    """Whether a folder holds CamVid as it was released."""
    return (root / MASKS).is_dir()


def released_videos(root: Path, split: str, on_missing: OnMissing) -> tuple[Video, ...]:
    """The recordings of a split.

    Raises:
        InputError: unknown split, or no images.
    """
    check_split("camvid", split, SPLITS)
    images, masks = root / IMAGES, root / MASKS
    known = {path.stem.removesuffix("_L"): path for path in sorted_files(masks, (".png",))}
    recordings: dict[str, list[Path]] = {}
    for path in sorted_files(images, (".png", ".jpg")):
        if split in ("all", split_of(path.stem)):
            recordings.setdefault(path.stem.split("_")[0], []).append(path)
    if not recordings:
        raise InputError(f"{images}: no images of split {split}; point --data at CamVid")
    return tuple(
        Video(
            name,
            tuple(
                FrameRecord(name, path.stem, i, path, known.get(path.stem), path.stem in known)
                for i, path in enumerate(paths)
            ),
            interval_of([path.stem for path in paths]),
        )
        for name, paths in recordings.items()
    )


def interval_of(stems: Sequence[str]) -> float | None:
    """Seconds from frame to frame, by the frame numbers in the names."""
    numbers = [number_of(stem) for stem in stems]
    return counted_interval_s(numbers, _RATE_HZ) if min(numbers) >= 0 else None


def number_of(stem: str) -> int:
    """Number of a picture in its recording by its name, <recording>_[f]<frame>; -1 without one."""
    digits = stem.partition("_")[2].removeprefix("f")
    return int(digits) if digits.isdecimal() else -1


def split_of(stem: str) -> str:
    """SegNet's split of a picture by its name, <recording>_[f]<frame>; "" of another recording."""
    recording, frame = stem.partition("_")[0], number_of(stem)
    if recording == "0001TP":
        return "test" if frame >= _TEST_FROM else "train"
    if recording == "0016E5":
        return "val" if frame in _VAL_FRAMES else "train"
    return {"0006R0": "train", "Seq05VD": "test"}.get(recording, "")
