"""CamVid with 11 classes: SegNet's folders, or the original release with its classes grouped."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vidparse.data.camvid_full import ColourCode, interval_of, is_release, released_videos
from vidparse.data.dataset import FrameRecord, OnMissing, Video, refuse
from vidparse.data.pictures import read_indices, read_rgb
from vidparse.data.splits import PICTURES, check_split, sorted_files
from vidparse.data.values import MaskValues, mask_values
from vidparse.errors import InputError
from vidparse.filenames import natural_key
from vidparse.labels import Labels, load_labels, regrouped
from vidparse.textfiles import read_text

SPLITS = ("train", "val", "test")
VOID = 11  # raw value of unlabelled pixels
VALUES = mask_values({raw: raw for raw in range(VOID)}, void=(VOID,), strict=True)


class CamVid:
    """One split of SegNet's layout, {split}/, {split}annot/ and {split}.txt, or of the release.

    Recordings are told apart by the file name up to the first underscore. For the release see
    `CamVid32`; there is the split "all", too.

    Raises:
        InputError: the folder is not laid out like this, or a listed file is missing.
    """

    name = "camvid"

    def __init__(self, root: Path, split: str, *, on_missing: OnMissing = refuse) -> None:
        self.split = split
        self.labels = load_labels("camvid")
        self.values: MaskValues | None = None
        self._code: ColourCode | None = None
        if is_release(root):
            self._code = ColourCode(load_labels("camvid-32"), grouping(self.labels))
            self.videos = released_videos(root, split, on_missing)
        else:
            self.values = VALUES
            self.videos = _videos(root, split, on_missing)

    def load_image(self, frame: FrameRecord) -> np.ndarray:
        assert frame.image is not None  # every frame of this data set lies on disk
        return read_rgb(frame.image)

    def load_mask(self, frame: FrameRecord) -> np.ndarray:
        assert frame.mask is not None
        if self._code is not None:
            return self._code.read(frame.mask)
        raw = read_indices(frame.mask)
        if raw.max(initial=0) > VOID:
            raise InputError(
                f"{frame.mask}: holds value {raw.max()}; the 11-class CamVid has 0..11"
            )
        return VALUES.decode(raw)


def grouping(labels: Labels) -> tuple[int, ...]:
    """The one of the 11 classes that each of the 31 of the release belongs to."""
    group = regrouped("camvid-32", "camvid")
    return tuple(labels.classes.index(group[name]) for name in load_labels("camvid-32").classes)


def _videos(root: Path, split: str, on_missing: OnMissing) -> tuple[Video, ...]:
    check_split("camvid", split, SPLITS)
    images, masks = root / split, root / f"{split}annot"
    for folder in (images, masks):
        if not folder.is_dir():
            raise InputError(
                f"{folder}: no such folder; CamVid needs {split}/ and {split}annot/ in {root}"
            )
    by_stem = {path.stem: path for path in sorted_files(images, PICTURES)}
    recordings: dict[str, list[str]] = {}
    for stem in _listed_stems(root / f"{split}.txt") or by_stem:
        if stem in by_stem:
            recordings.setdefault(stem.split("_")[0], []).append(stem)
        else:
            error = f"{images / stem}: listed in {split}.txt but missing; restore it"
            on_missing(InputError(error))
    if not recordings:
        raise InputError(f"{images}: holds no images; check the data folder")
    return tuple(
        Video(
            name,
            tuple(
                FrameRecord(name, stem, i, by_stem[stem], masks / f"{stem}.png")
                for i, stem in enumerate(sorted(stems, key=natural_key))
            ),
            interval_of(sorted(stems, key=natural_key)),
        )
        for name, stems in recordings.items()
    )


def _listed_stems(path: Path) -> list[str]:
    """Image stems of a split file: "image label" per line, with paths of another machine."""
    if not path.is_file():
        return []
    lines = read_text(path).splitlines()
    return [Path(line.split()[0]).stem for line in lines if line.strip()]
