"""A drive as CamVid's, of boxes over a road."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image as Pillow

from vidparse.data import Dataset, open_dataset
from vidparse.labels import load_labels

CAMVID = load_labels("camvid")
ROAD, CAR, PEDESTRIAN, BICYCLIST = 3, 8, 9, 10


def street(*boxes: tuple[int, int, int, int, int], height: int = 360) -> np.ndarray:
    """Road, uint8 (height, 480 of 360), with boxes of a class: class, x, y, width, height."""
    classes = np.full((360, 480), ROAD, np.uint8)
    for class_id, x, y, wide, high in boxes:
        classes[y : y + high, x : x + wide] = class_id
    size = (480 * height // 360, height)
    return cv2.resize(classes, size, interpolation=cv2.INTER_NEAREST)


def save(root: Path, split: str, stem: str, classes: np.ndarray, shift: int = 0) -> None:
    """A mask and a picture whose noise moves with the camera."""
    noise = np.random.default_rng(0).integers(0, 255, (90, 150, 3), np.uint8)
    noise = cv2.resize(noise, (600, 360), interpolation=cv2.INTER_CUBIC)
    for folder in (split, f"{split}annot"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    rgb = noise[:, 60 - shift : 540 - shift]
    rgb = np.where(np.isin(classes, list(CAMVID.things))[..., None], rgb // 4, rgb)
    cv2.imwrite(str(root / split / f"{stem}.png"), rgb)
    Pillow.fromarray(classes).save(root / f"{split}annot" / f"{stem}.png")


def make_drive(root: Path) -> Dataset:
    """Six frames at 15 Hz. One car goes right, 4 pixels a frame; in frames 2 and 3 another is so
    close that they are a crowd; then they part again."""
    for i in range(6):
        gap = 2 if i in (2, 3) else 20
        boxes = [(CAR, 100 + 4 * i, 200, 60, 50), (CAR, 160 + gap + 4 * i, 200, 40, 50)]
        save(root, "val", f"0016E5_{7959 + 2 * i:05d}", street(*boxes), 4 * i)
    return open_dataset("camvid-objects", root, "val")
