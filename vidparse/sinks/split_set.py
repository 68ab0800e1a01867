"""Data sets of several splits in one folder, as VSPW, VIPSeg and COCO panoptic lay them out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, ClassVar

import numpy as np

from vidparse.errors import OutputError
from vidparse.frame import Frame
from vidparse.maps import (
    VOID,
    Prediction,
    Segment,
    VideoLines,
    annotation_line,
    categories_of,
    ids_to_rgb,
    image_line,
    regions_of,
    write_record,
)
from vidparse.maps.ids import MAX_ID
from vidparse.sinks.picture_set import (
    LABELS_FILE,
    PictureSet,
    labels_bytes,
    picture_bytes,
    picture_stem,
)
from vidparse.sinks.pictures import palette_png, rgb_png

_LISTED = ("train", "val", "test")  # splits that VSPW and VIPSeg have lists of
_PARTS = ".parts"  # folder of the lines of a json until it is written


class SplitSet(PictureSet):
    """A folder that all splits share; a writer of several videos names the next one.

    A single one, which nobody names, is the train split.

    Attributes:
        reader: the name of the data set that reads the folder.
        videos: names of the videos of each split, in order.
    """

    reader: ClassVar[str]
    most: ClassVar[int] = 255  # classes that the reader takes

    def start(self) -> None:
        if len(self.labels) > self.most:
            raise OutputError(
                f"{self.folder.final}: {self.reader} holds {self.most} classes and "
                f"'{self.labels.name}' has {len(self.labels)}; join some, or choose another format"
            )
        self.videos: dict[str, list[str]] = {}

    def add(self, frame: Frame, prediction: Prediction) -> None:
        if not self.videos:
            self.begin_video(_LISTED[0], self.lone_name, alone=True)
        super().add(frame, prediction)

    def begin_video(self, split: str, name: str, *, alone: bool) -> None:
        """Set the video of the next pictures; `alone`: the split has no other."""
        self.split, self.clip = split, name
        self.video = "" if alone else name
        self.videos.setdefault(split, []).append(name)


class _ListedSet(SplitSet):
    """Splits are train.txt, val.txt and test.txt, each with the names of its videos."""

    def begin_video(self, split: str, name: str, *, alone: bool) -> None:
        listed = split if split in _LISTED else _LISTED[0]
        if listed != split:
            note = f"{self.reader}: has no split '{split}', so its videos are in {listed}.txt"
            self.notes += [note] if note not in self.notes else []

        # Keep apart videos of one name: all splits share the folders.
        if any(name in names for names in self.videos.values()):
            name = f"{split}_{name}"
        super().begin_video(listed, name, alone=alone)

    def finish(self, *, keep: bool) -> None:
        if not keep:
            return
        for split, names in self.videos.items():
            self.save(f"{split}.txt", "".join(f"{name}\n" for name in names).encode())
        self.save(LABELS_FILE, labels_bytes(self.labels))


class VspwSet(_ListedSet):
    """data/<video>/origin/, data/<video>/mask/ (0 void, class ids from 1), and lists of videos."""

    suffix: ClassVar[str] = ".vspw-set"
    beside: ClassVar[tuple[str, ...]] = ("data", "train.txt", LABELS_FILE)
    reader: ClassVar[str] = "vspw"
    most: ClassVar[int] = 254  # 0 and 255 are void

    def start(self) -> None:
        super().start()
        self._palette = np.zeros((256, 3), np.uint8)
        self._palette[1:] = self.labels.palette()[:255]

    def add_picture(self, frame: Frame, prediction: Prediction) -> None:
        ending, data = picture_bytes(frame)
        stem, base = picture_stem(frame), f"data/{self.clip}"
        self.save(f"{base}/origin/{stem}{ending}", data)
        ids = prediction.map.class_map(self.labels).astype(np.uint8) + np.uint8(1)  # 255 is 0 then
        self.save(f"{base}/mask/{stem}.png", palette_png(ids, self._palette))


class VipsegSet(_ListedSet):
    """The 720p layout: images/, panomasksRGB/ and a json per split, which keeps ids and crowds."""

    suffix: ClassVar[str] = ".vipseg-set"
    beside: ClassVar[tuple[str, ...]] = (
        "images",
        "panomasksRGB",
        "panoptic_gt_VIPSeg_train.json",
        "train.txt",
        LABELS_FILE,
    )
    reader: ClassVar[str] = "vipseg"

    def add_picture(self, frame: Frame, prediction: Prediction) -> None:
        ending, data = picture_bytes(frame)
        stem = picture_stem(frame)
        self.save(f"images/{self.clip}/{stem}{ending}", data)
        ids, segments = _segments(prediction, self.folder.final)
        self.save(f"panomasksRGB/{self.clip}/{stem}.png", rgb_png(ids_to_rgb(ids)))
        annotation = annotation_line(stem, segments)
        lines = self.folder.path / _PARTS / self.split / self.clip
        _append(lines, annotation, image_line(annotation, prediction.map.size_hw))

    def finish(self, *, keep: bool) -> None:
        parts = self.folder.path / _PARTS
        for split, names in self.videos.items() if keep else ():
            files = {name: parts / split / name for name in names}
            entries = {
                name: VideoLines(partial(_lines, path, 1), partial(_lines, path, 0))
                for name, path in files.items()
            }
            with (self.folder.path / f"panoptic_gt_VIPSeg_{split}.json").open("xb") as file:
                write_record(file, {"categories": categories_of(self.labels)}, entries)
        shutil.rmtree(parts, ignore_errors=True)
        super().finish(keep=keep)


class CocoPanopticSet(SplitSet):
    """{split}/ of photographs, and annotations/panoptic_{split}/ with its json.

    A frame of one of several videos is called after its video, too.
    """

    suffix: ClassVar[str] = ".coco-panoptic"
    beside: ClassVar[tuple[str, ...]] = ("train", "annotations")
    reader: ClassVar[str] = "coco-panoptic"

    def add_picture(self, frame: Frame, prediction: Prediction) -> None:
        ending, data = picture_bytes(frame)
        stem = picture_stem(frame)
        stem = f"{self.video}_{stem}" if self.video else stem
        self.save(f"{self.split}/{stem}{ending}", data)
        ids, segments = _segments(prediction, self.folder.final)
        self.save(f"annotations/panoptic_{self.split}/{stem}.png", rgb_png(ids_to_rgb(ids)))

        height, width = prediction.map.size_hw
        image = {"id": stem, "file_name": f"{stem}{ending}", "height": height, "width": width}
        line = annotation_line(stem, segments)
        _append(self.folder.path / _PARTS / self.split, line, json.dumps(image).encode("ascii"))

    def finish(self, *, keep: bool) -> None:
        parts = self.folder.path / _PARTS
        for split in self.videos if keep else ():
            with (self.folder.path / f"annotations/panoptic_{split}.json").open("xb") as file:
                self._write_json(file, parts / split)
        shutil.rmtree(parts, ignore_errors=True)

    def _write_json(self, file: BinaryIO, lines: Path) -> None:
        categories = json.dumps(categories_of(self.labels))
        file.write(f'{{"info": {{}}, "categories": {categories}'.encode())
        for section, column in (("images", 1), ("annotations", 0)):
            file.write(f',\n"{section}": ['.encode())
            for i, line in enumerate(_lines(lines, column)):
                file.write((b",\n" if i else b"\n") + line)
            file.write(b"\n]")
        file.write(b"}\n")


def _segments(prediction: Prediction, out: Path) -> tuple[np.ndarray, list[Segment]]:
    """Ids (H, W) and what they are; of classes alone, each is one segment.

    Raises:
        OutputError: an id is too large for a colour.
    """
    labels, found = prediction.labels, prediction.segments
    if found is None:
        classes = prediction.map.class_map(labels).astype(np.int64)
        ids = np.where(classes == labels.void, VOID, classes + 1)
        return ids, [
            Segment(i, i - 1, i - 1 in labels.things, score=None, area=area, box=box)
            for i, (area, box) in regions_of(ids).items()
            if i != VOID
        ]

    largest = max((segment.id for segment in found), default=0)
    if largest > MAX_ID:
        raise OutputError(f"{out}: id {largest} is above {MAX_ID}; renumber the objects")
    known = np.isin(prediction.ids, [segment.id for segment in found])
    return np.where(known, prediction.ids, VOID), list(found)


def _append(path: Path, annotation: bytes, image: bytes) -> None:
    """Add a picture to the lines of a json; a tab parts the two, as json has none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(annotation + b"\t" + image + b"\n")


def _lines(path: Path, column: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        for line in file:
            yield line.rstrip(b"\n").split(b"\t")[column]
