"""A data set of plain folders, with predictions for it."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as Pillow

from vidparse.labels import Labels, labels_to_json

SIZE_HW = (24, 32)


def make_folder(root: Path, *, videos: int = 3, frames: int = 4, classes: int = 3) -> Path:
    """A `folder` data set of random masks, and predictions that are right nine times of ten."""
    rng = np.random.default_rng(0)
    labels = Labels("made", tuple("abcdefgh"[:classes]), ((9, 9, 9),) * classes, frozenset())
    root.mkdir(parents=True, exist_ok=True)
    (root / "labels.json").write_text(json.dumps(labels_to_json(labels)))
    for v in range(videos):
        truth = rng.integers(0, classes, SIZE_HW).astype(np.uint8)
        for t in range(frames):
            predicted = np.where(rng.random(SIZE_HW) < 0.9, truth, (truth + 1) % classes)
            for kind, values in (("masks", truth), ("pred", predicted.astype(np.uint8))):
                path = root / kind / f"v_{v}" / f"{t:04d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Pillow.fromarray(values).save(path)
            picture = root / "images" / f"v_{v}" / f"{t:04d}.png"
            picture.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(picture), rng.integers(0, 255, (*SIZE_HW, 3)).astype(np.uint8))
    return root
