"""A plain folder of pictures and masks: the data set `folder`, to correct and to train on."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from vidparse.errors import OutputError
from vidparse.frame import Frame
from vidparse.maps import Prediction
from vidparse.sinks.picture_set import PictureSet, labels_bytes
from vidparse.sinks.pictures import palette_png

_VOID_COLOUR = (224, 224, 192)  # as in the masks of VOC: black is often a class


class PlainFolder(PictureSet):
    """images/, masks/ (palette PNGs of class ids, 255 for void) and labels.json."""

    suffix: ClassVar[str] = ".folder"
    beside: ClassVar[tuple[str, ...]] = ("images", "masks", "labels.json")

    def start(self) -> None:
        if self.labels.void != 255:
            raise OutputError(
                f"{self.folder.final}: 8-bit masks hold 255 classes and '{self.labels.name}' has "
                f"{len(self.labels)}; use --save masks (16 bits)"
            )
        self.save("labels.json", labels_bytes(self.labels))
        self._palette = self.labels.palette()
        self._palette[255] = _VOID_COLOUR

    def add_picture(self, frame: Frame, prediction: Prediction) -> None:
        picture = self.save_picture(frame, "images")
        ids = np.ascontiguousarray(prediction.map.class_map(self.labels))
        self.save(f"masks/{self.video}/{picture.stem}.png", palette_png(ids, self._palette))

    def finish(self, *, keep: bool) -> None:
        """Nothing: every picture is whole."""
