"""Speed of the metrics, from memory, one thread.

    python tests/benchmarks/bench_metrics.py

720p label maps made of moving smooth regions: mIoU + VC8 + VC16 in one pass at 124 classes, and VPQ
of a 24-frame video for several windows.
"""

from __future__ import annotations

import time

import cv2
import numpy as np

from vidparse.evaluation.consistency import VideoConsistency
from vidparse.evaluation.panoptic import VideoPanopticQuality
from vidparse.evaluation.semantic import Segmentation

SIZE_HW = (720, 1280)
FRAMES = 24


def label_maps(classes: int, seed: int) -> np.ndarray:
    """uint8 (T, H, W): regions of a smooth random field, drifting two pixels a frame."""
    rng = np.random.default_rng(seed)
    field = cv2.resize(rng.random((12, 26), np.float32), (1400, 720), interpolation=cv2.INTER_CUBIC)
    steps = np.clip(field * classes, 0, classes - 1).astype(np.uint8)
    return np.stack([steps[:, 2 * t : 2 * t + SIZE_HW[1]] for t in range(FRAMES)])


def semantic() -> None:
    truth, said = label_maps(124, 0), label_maps(124, 1)
    scores = Segmentation(num_classes=124)
    clips = [VideoConsistency(clip_length=length) for length in (8, 16)]
    start = time.perf_counter()
    for one, other in zip(truth, said, strict=True):
        scores.update(one, other)
        for metric in clips:
            metric.update(one, other)
    seconds = time.perf_counter() - start
    print(f"mIoU + VC8 + VC16, 720p, 124 classes: {FRAMES / seconds:6.1f} frames/s")


def panoptic() -> None:
    truth, said = label_maps(40, 2).astype(np.int64) + 1, label_maps(40, 3).astype(np.int64) + 1
    rows = np.array([[i, i % 10, 0] for i in range(1, 41)])

    def listed(ids: np.ndarray) -> np.ndarray:
        return rows[np.isin(rows[:, 0], np.unique(ids))]

    tables = [(listed(one), listed(other)) for one, other in zip(truth, said, strict=True)]
    for windows in ((1,), (8,), (1, 2, 4, 6)):
        metric = VideoPanopticQuality(windows=windows, thing_ids=range(5), stuff_ids=range(5, 10))
        start = time.perf_counter()
        for one, other, (mine, theirs) in zip(truth, said, tables, strict=True):
            metric.update(one, other, mine, theirs)
        print(f"VPQ, 24 frames of 720p, windows {windows}: {time.perf_counter() - start:5.2f} s")


if __name__ == "__main__":
    cv2.setNumThreads(1)
    semantic()
    panoptic()
