"""Labels as polygons, in LabelMe's and YOLO's files: near the masks, not equal to them.

Every polygon, or all of one object, keeps at least 0.98 of its mask (IoU); holes are joined to
their outlines by bridges without width (see `vidparse.maps.polygons`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from vidparse.frame import Frame
from vidparse.maps import Prediction, Segment, SegmentMap, object_map
from vidparse.maps.polygons import bridged, polygons_of
from vidparse.sinks.picture_set import LABELS_FILE, PictureSet
from vidparse.sinks.stream import dumped, encoded

LABELME_VERSION = "5.5.0"  # whose form of the json this is
DATA_YAML = "data.yaml"
BACKGROUND = "background"


class LabelMe(PictureSet):
    """images/NAME.jpg and images/NAME.json beside it, as LabelMe opens them.

    Parts of an object are polygons of one group, which is the object's id.
    """

    suffix: ClassVar[str] = ".labelme"
    beside: ClassVar[tuple[str, ...]] = ("images", LABELS_FILE)

    def start(self) -> None:
        """Nothing: every picture has a file of its own."""

    def add_picture(self, frame: Frame, prediction: Prediction) -> None:
        found = object_map(prediction.map, self.labels)
        picture = self.save_picture(frame, "images")
        height, width = found.size_hw
        record: dict[str, object] = {
            "version": LABELME_VERSION,
            "flags": {},
            "shapes": list(self._shapes(found, is_panoptic=prediction.segments is not None)),
            "imagePath": picture.name,
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        place = picture.with_suffix(".json").relative_to(self.folder.path)
        self.save(place.as_posix(), encoded(dumped(record)))

    def _shapes(self, found: SegmentMap, *, is_panoptic: bool) -> Iterator[dict[str, object]]:
        for segment in found.segments or ():
            is_object = is_panoptic and segment.is_thing
            for points in _outlines(found, segment):
                yield {
                    "label": self.labels.classes[segment.class_id],
                    "points": points.tolist(),
                    "group_id": segment.id if is_object else None,
                    "description": "",
                    "shape_type": "polygon",
                    "flags": {},
                }

    def finish(self, *, keep: bool) -> None:
        if keep:
            self.save_labels()


class YoloSeg(PictureSet):
    """images/NAME.jpg, labels/NAME.txt and data.yaml, as Ultralytics trains on them.

    A line is an object, whose parts are joined as holes are; of a class without objects it is a
    connected part. Pixels of `background` have no line, as YOLO takes what has none for it.
    """

    suffix: ClassVar[str] = ".yolo-seg"
    beside: ClassVar[tuple[str, ...]] = ("images", "labels", DATA_YAML, LABELS_FILE)

    def start(self) -> None:
        names = (f"  {i}: {json.dumps(name)}" for i, name in enumerate(self.labels.classes))
        lines = ("path: .", "train: images", "val: images", "names:", *names)
        self.save(DATA_YAML, encoded("\n".join(lines) + "\n"))

    def add_picture(self, frame: Frame, prediction: Prediction) -> None:
        found = object_map(prediction.map, self.labels)
        picture = self.save_picture(frame, "images")
        scale = np.array(found.size_hw[::-1])
        lines = []
        for segment in found.segments or ():
            if self.labels.classes[segment.class_id].casefold() == BACKGROUND:
                continue
            outlines = _outlines(found, segment)

            # Join the parts of an object: YOLO counts a line as one.
            if prediction.segments is not None and segment.is_thing and len(outlines) > 1:
                outlines = [bridged(outlines)]
            for points in outlines:
                words = (f"{value:.6g}" for value in (points / scale).ravel())
                lines.append(f"{segment.class_id} {' '.join(words)}\n")
        self.save(f"labels/{self.video}/{picture.stem}.txt", encoded("".join(lines)))

    def finish(self, *, keep: bool) -> None:
        if keep:
            self.save_labels()


def _outlines(found: SegmentMap, segment: Segment) -> list[np.ndarray]:
    """Polygons of a segment, float64 (N, 2) in pixels of the picture."""
    x, y, width, height = segment.box
    inside = found.ids[y : y + height, x : x + width] == segment.id
    return [points + np.array([x, y]) for points in polygons_of(inside)]
