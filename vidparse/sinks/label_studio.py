"""Label Studio's tasks of pictures, with brushes that are exact to the pixel."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, ClassVar
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from vidparse.frame import Frame
from vidparse.labels import Labels
from vidparse.maps import Prediction, Segment, SegmentMap, object_map
from vidparse.maps.brushes import packed_brush
from vidparse.sinks.picture_set import LABELS_FILE, PictureSet
from vidparse.sinks.stream import dumped, encoded

TASKS, CONFIG, IMAGES = "tasks.json", "config.xml", "images"
SERVED = "/data/local-files/?d="  # where Label Studio serves files of its local storage


class LabelStudio(PictureSet):
    """tasks.json with a task per picture, config.xml with the classes, and images/.

    A class or object is a brush; an object's id stands in its region's note ("id 7"). Of a model
    they are predictions, which a person accepts; of a data set annotations.
    """

    suffix: ClassVar[str] = ".label-studio"
    beside: ClassVar[tuple[str, ...]] = (TASKS, CONFIG, IMAGES, LABELS_FILE)
    _file: BinaryIO | None = None

    def start(self) -> None:
        self.save(CONFIG, encoded(self._config()))
        self._file = (self.folder.path / TASKS).open("xb")
        self._file.write(b"[")
        self._is_first = True

    def add_picture(self, frame: Frame, prediction: Prediction) -> None:
        assert self._file is not None
        found = object_map(prediction.map, self.labels)
        picture = self.save_picture(frame, IMAGES)
        place = picture.relative_to(self.folder.path)
        task = self._task(frame, found, place, is_panoptic=prediction.segments is not None)
        self._file.write(encoded(("\n" if self._is_first else ",\n") + dumped(task)))
        self._is_first = False

    def finish(self, *, keep: bool) -> None:
        file, self._file = self._file, None
        if file is not None:
            with file:
                file.write(b"\n]\n" if keep else b"")
        if keep:
            self.save_labels()

    def _task(
        self, frame: Frame, found: SegmentMap, picture: Path, *, is_panoptic: bool
    ) -> dict[str, object]:
        regions = [
            self._region(found, segment, is_object=is_panoptic and segment.is_thing)
            for segment in found.segments or ()
        ]
        model = self.options.header.model
        entry: dict[str, object] = {"result": regions}
        if model:
            entry["model_version"] = model
        place = quote(os.fsencode(f"{self.place}/{picture.as_posix()}"))
        return {
            "data": {"image": f"{SERVED}{place}", "frame": frame.index},
            "predictions" if model else "annotations": [entry],
        }

    def _region(self, found: SegmentMap, segment: Segment, *, is_object: bool) -> dict[str, object]:
        height, width = found.size_hw
        region: dict[str, object] = {
            "id": f"r{segment.id}",
            "type": "brushlabels",
            "from_name": "label",
            "to_name": "image",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": {
                "format": "rle",
                "rle": packed_brush(found.ids == segment.id),
                "brushlabels": [self.labels.classes[segment.class_id]],
            },
        }

        # Write the id into the note, which the tool keeps and shows.
        if is_object:
            region["meta"] = {"text": [f"id {segment.id}"]}
        if segment.score is not None:
            region["score"] = round(segment.score, 4)
        return region

    def _config(self) -> str:
        return (
            '<View>\n  <Image name="image" value="$image" zoom="true"/>\n'
            f'  <BrushLabels name="label" toName="image">\n{label_elements(self.labels)}\n'
            "  </BrushLabels>\n</View>\n"
        )


def label_elements(labels: Labels) -> str:
    """The classes of a labelling interface, with their colours, a line each."""
    return "\n".join(
        f'    <Label value={quoteattr(name)} background="#{red:02x}{green:02x}{blue:02x}"/>'
        for name, (red, green, blue) in zip(labels.classes, labels.colours, strict=True)
    )
