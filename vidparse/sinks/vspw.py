"""VSPW's submission: class ids of every frame as palette PNGs, <folder>/<video>/<frame>.png."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from vidparse.errors import OutputError
from vidparse.frame import Frame, VideoInfo
from vidparse.labels import Labels, load_labels
from vidparse.maps import Prediction
from vidparse.sinks.palette import class_colours
from vidparse.sinks.png import palette_png
from vidparse.sinks.submission import Submission

_VOID = 255


class VspwFolder(Submission):
    """8-bit palette PNGs of class ids 0..K-1, void 255.

    With `SinkOptions.raw_ids` ids are as in VSPW's own masks: 1..K, void 0. Pictures have the
    input picture's name, or 8 digits of the frame index.
    """

    suffix: ClassVar[str] = ".vspw"

    def begin(self, info: VideoInfo, labels: Labels) -> None:
        raw = self.options.raw_ids
        most = _VOID - 1 if raw else _VOID
        if len(labels) > most:
            raise OutputError(
                f"{self.folder}: 8-bit masks hold {most} classes and '{labels.name}' has "
                f"{len(labels)}; use --save masks (16 bits)"
            )
        if labels.classes != load_labels("vspw").classes:
            self.notes.append(
                f"vspw: the ids are of the classes of '{labels.name}', not of VSPW's 124; "
                "VSPW's scorer needs a model with VSPW's own classes"
            )
        self._labels = labels
        stored = np.arange(256, dtype=np.uint8)  # class id -> value in the file
        if raw:
            stored += 1  # 255 becomes 0
        self._stored = stored
        self._palette = np.zeros((256, 3), np.uint8)
        self._palette[stored[: len(labels)]] = class_colours(labels, self.options.palette)
        self._create()

    def add(self, frame: Frame, prediction: Prediction) -> None:
        ids = prediction.map.class_map(self._labels)  # (H, W)
        if self.options.raw_ids:
            ids = self._stored.take(ids)
        self._pictures.write(frame, palette_png(ids, self._palette))
