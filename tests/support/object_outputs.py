"""Rendered scenes into outputs, and panopticapi's rules for what comes out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from vidparse.data import Dataset, open_dataset
from vidparse.frame import Frame, VideoInfo
from vidparse.image import ColourTags, Rgb
from vidparse.labels import Labels
from vidparse.maps import Prediction, SegmentMap, segments_of_ids
from vidparse.sinks import SINKS, SinkOptions

SCENES = "sample://crowd?frames=4&size=192x128&videos=2"
TOY = Labels(
    "toy", ("road", "car", "dog"), ((90, 90, 90), (0, 0, 200), (200, 80, 0)), frozenset({1, 2})
)


def info_of(size_hw: tuple[int, int], name: str = "clip.mp4") -> VideoInfo:
    return VideoInfo(
        name, size_hw, Fraction(1, 25), Fraction(25), None, None, Fraction(1), ColourTags()
    )


def write(
    name: str,
    where: Path,
    maps: Sequence[SegmentMap],
    labels: Labels = TOY,
    /,
    *,
    pictures: Sequence[np.ndarray] | None = None,
    complete: bool = True,
    **options: object,
) -> list[str]:
    """One output of the maps of one video; its notes."""
    size_hw = maps[0].size_hw
    sink = SINKS[name](where, SinkOptions(**options))  # type: ignore[arg-type]
    sink.open(info_of(size_hw), labels)
    for i, found in enumerate(maps):
        rgb = np.zeros((*size_hw, 3), np.uint8) if pictures is None else pictures[i]
        sink.write(Frame(i, 2 * i, Rgb(rgb)), Prediction(i, found, labels))
    sink.close(keep=True, complete=complete)
    return sink.notes


def scenes() -> tuple[Dataset, dict[str, list[SegmentMap]]]:
    """Two rendered videos, and the truth of their frames."""
    dataset = open_dataset(SCENES, None, "val")
    return dataset, {
        video.name: [dataset.load_truth(frame) for frame in video.frames]
        for video in dataset.videos
    }


def objects(ids: np.ndarray, class_of: Mapping[int, int], labels: Labels = TOY) -> SegmentMap:
    return SegmentMap(ids, segments_of_ids(ids, class_of, things=labels.things))


def crowd(count: int, first: int = 1, *, kind: int = 1) -> SegmentMap:
    """Many small objects of one class, 4x4 pixels each, in one frame."""
    side = int(np.ceil(np.sqrt(count)))
    cells = np.arange(side * side, dtype=np.uint32).reshape(side, side) + first
    cells[cells >= first + count] = 0
    ids = np.kron(cells, np.ones((4, 4), np.uint32))
    return objects(ids, dict.fromkeys(range(first, first + count), kind))


def coco_panoptic(folder: Path) -> Iterator[tuple[dict, np.ndarray]]:
    """Each annotation with its picture's ids, checked as panopticapi's pq_compute does."""
    table = json.loads((folder / "panoptic.json").read_text())
    categories = {one["id"]: one for one in table["categories"]}
    images = {one["id"]: one for one in table["images"]}
    assert [one["image_id"] for one in table["annotations"]] == list(images)
    for row in table["annotations"]:
        rgb = np.asarray(Pillow.open(folder / row["file_name"])).astype(np.uint32)
        ids = rgb[..., 0] + 256 * rgb[..., 1] + 256 * 256 * rgb[..., 2]
        image = images[row["image_id"]]
        assert ids.shape == (image["height"], image["width"])
        listed = {one["id"] for one in row["segments_info"]}
        assert len(listed) == len(row["segments_info"])
        labels, counts = np.unique(ids, return_counts=True)
        areas = dict(zip(labels.tolist(), counts.tolist(), strict=True))
        areas.pop(0, None)  # VOID
        assert areas == {one["id"]: one["area"] for one in row["segments_info"]}
        for one in row["segments_info"]:
            assert categories[one["category_id"]].keys() >= {"id", "name", "isthing", "color"}
            y, x = np.nonzero(ids == one["id"])
            box = [x.min(), y.min(), x.max() - x.min() + 1, y.max() - y.min() + 1]
            assert one["bbox"] == box
        yield row, ids
