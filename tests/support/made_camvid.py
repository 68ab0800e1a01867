"""A made CamVid whose colours show the classes, and trainers on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image as Pillow

from vidparse.data import open_dataset
from vidparse.requests.training import SourceRequest
from vidparse.training.processes import Processes
from vidparse.training.recipe_file import recipe_from
from vidparse.training.trainer import Trainer
from vidparse.training.training_sets import open_training_sets

TINY: dict[str, Any] = {
    "arch": "perframe",
    "short_side": 60,
    "epochs": 2,
    "batch_size": 2,
    "crop_hw": [48, 64],
    "validate_every": 1,
    "workers": 0,
    "precision": "fp32",
    "warmup_steps": 1,
    "config": {"output_stride": 16, "skip_channels": 8, "width": 16},
}


def make_camvid(root: Path) -> Path:
    """Six pictures whose class is their colour: blue sky over grey road, a red car."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 2), ("test", 2)):
        (root / split).mkdir()
        (root / f"{split}annot").mkdir()
        lines = []
        for i in range(count):
            mask = np.full((60, 80), 3, np.uint8)
            mask[:30] = 0
            x = int(rng.integers(5, 50))
            mask[35:50, x : x + 20] = 8
            mask[0, 0] = 11
            colours = np.zeros((12, 3), np.uint8)
            colours[[0, 3, 8]] = (60, 120, 240), (90, 90, 90), (220, 30, 30)
            rgb = colours[mask]
            stem = f"0001TP_{i:06d}"
            cv2.imwrite(str(root / split / f"{stem}.png"), rgb[..., ::-1])
            picture = Pillow.fromarray(mask, mode="P")
            picture.putpalette(list(range(36)) + [0] * 732)
            picture.save(root / f"{split}annot" / f"{stem}.png")
            lines.append(f"/Seg/{split}/{stem}.png /Seg/{split}annot/{stem}.png")
        (root / f"{split}.txt").write_text("\n".join(lines))  # no final newline, as downloads have
    return root


def trainer(camvid: Path, out: Path, teacher: Any = None, **changes: Any) -> Trainer:
    """A trainer of TINY with some fields changed."""
    recipe = recipe_from({**TINY, **changes}, "tiny")
    sources = open_training_sets(
        [SourceRequest("camvid", camvid)],
        label_fraction=recipe.data.label_fraction,
        labels_per_video=recipe.data.labels_per_video,
    )
    validation = open_dataset("camvid", camvid, "val")
    processes = Processes(device=torch.device("cpu"))
    return Trainer(recipe, sources, validation, out, processes=processes, teacher=teacher)
