"""Photographs with COCO's 80 classes as polygons in YOLO form, seen as the 21 classes of VOC."""

from __future__ import annotations

from collections.abc import Container, Mapping
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco

from vidparse.data.dataset import (
    ALL,
    SPLITS,
    Dataset,
    Format,
    FrameRecord,
    OnMissing,
    Video,
    image_of_file,
    refuse,
)
from vidparse.data.folders import PICTURES, check_split, has_match, sorted_files, sorted_folders
from vidparse.data.pictures import image_size
from vidparse.data.yolo_own import data_yaml, open_own_yolo, yaml_splits
from vidparse.data.yolo_polygons import read_polygons
from vidparse.errors import InputError
from vidparse.labels import Labels, load_labels, regrouped

# Splits where there is one folder: the places of their photographs in it, in natural order.
PARTS = {ALL: slice(None), "train": slice(0, None, 2), "held-out": slice(1, None, 2)}
BACKGROUND = "background"


def open_yolo_seg(root: Path, split: str, *, on_missing: OnMissing = refuse) -> Dataset:
    """images/<folder>/NAME.jpg, and labels/<folder>/NAME.txt with a polygon per line.

    A line is `class x1 y1 x2 y2 ...`: the number of a COCO class, and points as shares of width and
    height. Pixels are of the smallest polygon that they are in. Classes that VOC lacks are its
    background, so pixels of other classes are background, even inside a person. Nothing is void.

    A photograph without a label file, or with an empty one, has nothing in it: all background.
    Without labels/<folder>/ the folder is unlabelled. Each photograph is a video of one frame.

    Where a data.yaml names the classes, see :func:`vidparse.data.yolo_own.open_own_yolo`.

    Splits are the folders of images/, such as train2017 and val2017. Where there is only one, as in
    coco128, they are "all" of it, and its halves "train" and "held-out": the photographs at even
    (0, 2, ...) and odd places in natural order.

    Raises:
        InputError: the folder is not laid out like this.
    """
    if (found := data_yaml(root, split)) is not None:
        return open_own_yolo(found, split, on_missing)
    folders = image_folders(root)
    if not folders:
        raise InputError(f"{root / 'images'}: holds no folder; point --data at its parent")
    several = len(folders) > 1
    check_split("yolo-seg", split, folders if several else PARTS)

    folder = split if several else folders[0]
    images, labels = root / "images" / folder, root / "labels" / folder
    photographs = sorted_files(images, PICTURES)[PARTS[ALL if several else split]]
    if not photographs:
        raise InputError(f"{images}: holds no images for {split}; fetch them again")

    videos = tuple(_photograph(path, labels) for path in photographs)
    classes = load_labels("voc")
    read_mask = _Polygons(classes).read_mask
    return Dataset(
        "yolo-seg", split, classes, videos, read_mask=read_mask, read_objects=read_objects
    )


class _Polygons:
    """Masks drawn from polygons of COCO's classes."""

    def __init__(self, labels: Labels) -> None:
        ids = {name: i for i, name in enumerate(labels.classes)}
        self._background = ids[BACKGROUND]
        self._ids = [ids[name] for name in regrouped("coco", "voc").values()]  # by COCO's number

    def read_mask(self, frame: FrameRecord) -> np.ndarray:
        """Training ids uint8 (H, W), at the size of the photograph."""
        height, width = image_of_file(frame).shape[:2]
        ids = np.full((height, width), self._background, np.uint8)
        polygons = read_polygons(frame.mask, len(self._ids)) if frame.mask is not None else []
        outlines = [(points * (width, height)).ravel().tolist() for _, points in polygons]
        shapes = coco.frPyObjects(outlines, height, width) if outlines else []

        # Draw large polygons first: a pixel is of the smallest that it is in.
        areas = np.array([coco.area(shape) for shape in shapes], np.int64)
        for i in np.argsort(-areas, kind="stable"):
            ids[coco.decode(shapes[i]) > 0] = self._ids[polygons[i][0]]
        return ids


def read_objects(frame: FrameRecord, names: Container[str]) -> Mapping[int, tuple[str, np.ndarray]]:
    """As `Dataset.read_objects`, by the places of polygons in their file; names are COCO's."""
    if frame.mask is None or frame.image is None:
        return {}
    known, size_hw = _coco_names(), image_size(frame.image)
    polygons = read_polygons(frame.mask, len(known))
    return {
        i: (known[number], _drawn(points, size_hw))
        for i, (number, points) in enumerate(polygons)
        if known[number] in names
    }


@lru_cache(maxsize=1)
def _coco_names() -> tuple[str, ...]:
    return tuple(regrouped("coco", "voc"))


def _drawn(points: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """bool (H, W) inside a polygon of shares of width and height."""
    height, width = size_hw
    mask = np.zeros(size_hw, np.uint8)

    # Subtract half a pixel: OpenCV counts from the centre of the first pixel.
    outline = np.rint(points * (width, height) - 0.5).astype(np.int32)
    cv2.fillPoly(mask, [outline], 1)
    return mask > 0


def image_folders(root: Path) -> list[str]:
    """Names of the folders in images/, in natural order; nothing when there is no images/."""
    return [path.name for path in sorted_folders(root / "images")]


def _photograph(path: Path, labels: Path) -> Video:
    listed = labels / f"{path.stem}.txt"
    mask = listed if listed.is_file() else None
    return Video(path.stem, (FrameRecord(path.stem, path.stem, 0, path, mask, labels.is_dir()),))


def _splits(root: Path) -> tuple[str, ...]:
    if (found := data_yaml(root)) is not None:
        return tuple(yaml_splits(found)) or (ALL,)
    if own := tuple(one for one in SPLITS if data_yaml(root, one) is not None):
        return own
    folders = image_folders(root)
    return tuple(folders) if len(folders) > 1 else (ALL,)


FORMAT = Format(
    open=open_yolo_seg,
    sign="labels/<folder>/*.txt beside images/<folder>/",
    matches=lambda root: (
        (has_match(root, "labels/*/*.txt") and bool(image_folders(root)))
        or any(data_yaml(root, one) is not None for one in ("", *SPLITS))
    ),
    splits=_splits,
    masks=("labels/*/*.txt",),
    file="a data.yaml of YOLO",
    owns=lambda stem, split: split == ALL,  # a part does not know the names of the others
)
