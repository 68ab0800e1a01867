"""Sources of composed clips: streets, photographs of people, and plans that take both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image as Pillow

from vidparse.labels import load_labels

CAMVID = load_labels("camvid")
SKY, POLE, ROAD, CAR, PEDESTRIAN, BICYCLIST = 0, 2, 3, 8, 9, 10
PERSON_NUMBER, BICYCLE_NUMBER = 0, 1  # COCO's
SIZE_HW = (120, 160)


def make_streets(root: Path, pictures: int = 4) -> Path:
    """A CamVid of sky over road with a pole and a car; the colours show the classes."""
    colours = np.zeros((12, 3), np.uint8)
    colours[[SKY, POLE, ROAD, CAR]] = (200, 220, 250), (150, 150, 90), (90, 90, 95), (200, 40, 40)
    for split in ("train", "val", "test"):
        for folder in (split, f"{split}annot"):
            (root / folder).mkdir(parents=True)
        for i in range(pictures):
            mask = np.full(SIZE_HW, ROAD, np.uint8)
            mask[:45] = SKY
            mask[20:70, 40:43] = POLE
            mask[50:80, 100:135] = CAR
            mask[0, 0] = 11
            stem = f"0001TP_{i * 30:06d}"
            cv2.imwrite(str(root / split / f"{stem}.png"), colours[mask][..., ::-1])
            Pillow.fromarray(mask).save(root / f"{split}annot" / f"{stem}.png")
    return root


def box(x: int, y: int, width: int, height: int) -> str:
    """A polygon of a picture of 160 x 120."""
    corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
    return " ".join(f"{u / 160} {v / 120}" for u, v in corners)


def make_people(root: Path, photographs: int = 4) -> Path:
    """Photographs of one person each, of a grey of their own, and one on a bicycle."""
    for folder in ("images/train2017", "labels/train2017"):
        (root / folder).mkdir(parents=True)
    for i in range(photographs):
        rgb = np.full((*SIZE_HW, 3), 60, np.uint8)
        rgb[10:110, 20:50] = 100 + 10 * i
        rgb[20:100, 90:130] = 150 + 10 * i
        cv2.imwrite(str(root / "images/train2017" / f"{i}.png"), rgb)
        lines = [
            f"{PERSON_NUMBER} {box(20, 10, 30, 100)}",
            f"{PERSON_NUMBER} {box(100, 20, 20, 50)}",
            f"{BICYCLE_NUMBER} {box(90, 60, 40, 40)}",
        ]
        (root / "labels/train2017" / f"{i}.txt").write_text("\n".join(lines))
    return root


def write_plan(root: Path, **changes: Any) -> Path:
    """composed.json with some keys changed; None leaves one out."""
    record = {
        "backgrounds": ["camvid-objects=streets"],
        "cutouts": ["yolo-seg=people"],
        "videos": 6,
        "frames": 4,
        "objects": [5, 8],
    } | changes
    kept = {key: value for key, value in record.items() if value is not None}
    (root / "composed.json").write_text(json.dumps(kept))
    return root
