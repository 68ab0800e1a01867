"""COCO panoptic of two small photographs."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as Pillow

from vidparse.maps import ids_to_rgb

CATEGORIES = [
    {"id": 1, "name": "person", "isthing": 1, "color": [220, 20, 60]},
    {"id": 90, "name": "toothbrush", "isthing": 1, "color": [1, 2, 3]},
    {"id": 200, "name": "rug-merged", "isthing": 0, "color": [250, 141, 255]},
]
IDS = np.array([[0, 70000, 70000, 300], [5, 5, 5, 300]])


def segment(number: int, category: int, area: int, crowd: int = 0) -> dict[str, int]:
    return {"id": number, "category_id": category, "area": area, "iscrowd": crowd}


def make_coco(root: Path, name: str = "val2017", annotations: str = "annotations") -> Path:
    """Two photographs of three segments, in COCO's layout; the second is a crowd."""
    folder = root / annotations / f"panoptic_{name}"
    folder.mkdir(parents=True)
    (root / name).mkdir()
    images, rows = [], []
    for i, stem in enumerate(("000000000139", "000000000285")):
        cv2.imwrite(str(root / name / f"{stem}.jpg"), np.full((2, 4, 3), 90, np.uint8))
        Pillow.fromarray(ids_to_rgb(IDS)).save(folder / f"{stem}.png")
        images.append({"id": int(stem), "height": 2, "width": 4, "file_name": f"{stem}.jpg"})
        listed = [segment(70000, 1, 2, i), segment(5, 200, 3), segment(300, 90, 2)]
        rows.append({"image_id": int(stem), "file_name": f"{stem}.png", "segments_info": listed})
    record = {"images": images, "annotations": rows, "categories": CATEGORIES}
    folder.with_suffix(".json").write_text(json.dumps(record))
    return root
