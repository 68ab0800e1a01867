"""Time upsample_argmax beside torch and OpenCV: ``python tests/benchmarks/bench_upsample.py``.

The contenders take turns on the same scores; the best time of each counts, which is the least
disturbed one. "differ" counts the pixels of ours that are not torch's.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table

from vidparse.inference.upsample import upsample_argmax

Size = tuple[int, int]

# name, classes, nodes (h, w), pixels (H, W), width of the regions in nodes
CASES: list[tuple[str, int, Size, Size, float]] = [
    ("11 classes, stride 8, large regions", 11, (90, 160), (720, 1280), 12.0),
    ("11 classes, stride 8, small regions", 11, (90, 160), (720, 1280), 4.0),
    ("11 classes, stride 8, tiny regions", 11, (90, 160), (720, 1280), 2.0),
    ("11 classes, stride 8, white noise", 11, (90, 160), (720, 1280), 0.0),
    ("11 classes, stride 16", 11, (45, 80), (720, 1280), 6.0),
    ("19 classes, stride 8", 19, (60, 107), (720, 1280), 6.0),
    ("124 classes, large regions", 124, (60, 107), (720, 1280), 8.0),
    ("124 classes, busy", 124, (60, 107), (720, 1280), 3.0),
    ("124 classes, very busy", 124, (60, 107), (720, 1280), 1.5),
    ("124 classes, absurdly busy", 124, (60, 107), (720, 1280), 1.0),
    ("124 classes to 480p", 124, (60, 107), (480, 853), 3.0),
    ("124 classes, same size", 124, (480, 853), (480, 853), 24.0),
    ("11 classes, shrinking", 11, (360, 640), (240, 427), 24.0),
    ("124 classes, white noise", 124, (60, 107), (720, 1280), 0.0),
]
ROUNDS, TORCH_ROUNDS = 15, 3


def main() -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(2)
    table = Table(title="bilinear upsampling + argmax, best time in ms")
    for heading in (
        "case",
        "mixed",
        "torch",
        "cv2 per class",
        "ours",
        "torch/ours",
        "cv2/ours",
        "differ",
    ):
        table.add_column(heading, justify="left" if heading == "case" else "right")
    for seed, (name, classes, in_hw, out_hw, regions) in enumerate(CASES):
        scores = network_like(seed, classes, in_hw, regions)
        differ = np.count_nonzero(by_torch(scores, out_hw) != upsample_argmax(scores, out_hw))
        torch_ms = cv2_ms = ours_ms = float("inf")
        for turn in range(ROUNDS):
            ours_ms = min(ours_ms, time_ms(upsample_argmax, scores, out_hw))
            if turn < TORCH_ROUNDS:
                cv2_ms = min(cv2_ms, time_ms(by_cv2, scores, out_hw))
                torch_ms = min(torch_ms, time_ms(by_torch, scores, out_hw))
        table.add_row(
            name,
            f"{mixed_share(scores):.0%}",
            f"{torch_ms:.1f}",
            f"{cv2_ms:.1f}",
            f"{ours_ms:.2f}",
            f"{torch_ms / ours_ms:.0f}x",
            f"{cv2_ms / ours_ms:.1f}x",
            str(differ),
        )
    Console(width=120).print(table)


def network_like(seed: int, classes: int, size_hw: Size, regions: float) -> np.ndarray:
    """Logits (C, h, w): random regions some `regions` nodes wide plus fine noise; 0: noise only."""
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal((classes, *size_hw), dtype=np.float32)
    if regions:
        fine = [cv2.GaussianBlur(plane, (0, 0), 1.0) for plane in scores]
        coarse = [cv2.GaussianBlur(plane, (0, 0), regions) for plane in scores[::-1]]
        scores = np.stack(fine) / np.std(fine) * 0.5 + np.stack(coarse) / np.std(coarse) * 4
    return scores.astype(np.float32)


def mixed_share(scores: np.ndarray) -> float:
    """Share of cells whose four corners are not won by one class: the work that is left."""
    winner = scores.argmax(axis=0)
    corners = winner[:-1, :-1], winner[:-1, 1:], winner[1:, :-1], winner[1:, 1:]
    return float(np.mean(np.ptp(np.stack(corners), axis=0) > 0))


def by_torch(scores: np.ndarray, size_hw: Size) -> np.ndarray:
    batch = torch.from_numpy(scores)[None]
    full = F.interpolate(batch, size_hw, mode="bilinear", align_corners=False)
    return full.argmax(dim=1)[0].numpy()


def by_cv2(scores: np.ndarray, size_hw: Size) -> np.ndarray:
    """Resize class by class and keep the running maximum."""
    size_wh = size_hw[::-1]
    best = cv2.resize(scores[0], size_wh, interpolation=cv2.INTER_LINEAR)
    ids = np.zeros(size_hw, np.uint8)
    value = np.empty_like(best)
    for class_id, plane in enumerate(scores[1:], 1):
        cv2.resize(plane, size_wh, dst=value, interpolation=cv2.INTER_LINEAR)
        wins = cv2.compare(value, best, cv2.CMP_GT)  # 0 or 255
        cv2.max(ids, cv2.min(wins, class_id), dst=ids)
        cv2.max(best, value, dst=best)
    return ids


def time_ms(function: Callable, *arguments: object) -> float:
    start_s = time.perf_counter()
    function(*arguments)
    return (time.perf_counter() - start_s) * 1e3


if __name__ == "__main__":
    main()
