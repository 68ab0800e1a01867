"""Speed of the metrics, from memory, on one thread; the best of three runs.

    python tests/benchmarks/bench_metrics.py

720p maps of 24 frames: about 25 stuff regions that drift, 12 things that move across them, and a
prediction with displaced outlines. VPQ and STQ see those segments, the others 124 classes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from vidparse.evaluation.metrics.measure import Measure, Sample
from vidparse.evaluation.metrics.measures import make_measures
from vidparse.labels import load_labels
from vidparse.panoptic import PanopticMap

SIZE_HW = (720, 1280)
FRAMES = 24
THING, STUFF = 60, 0  # a category of each kind
THINGS, REGIONS = 12, 25


def segment_maps(seed: int, *, shift: int) -> list[np.ndarray]:
    """int64 (H, W) a frame: stuff ids from 1, things after them; outlines move by `shift`."""
    rng = np.random.default_rng(seed)
    height, width = SIZE_HW
    field = cv2.resize(rng.random((5, 9), np.float32), (width + 100, height),
                       interpolation=cv2.INTER_CUBIC)  # fmt: skip
    stuff = np.clip(field * REGIONS, 0, REGIONS - 1).astype(np.uint8) + 1
    places = rng.integers(0, SIZE_HW, (THINGS, 2))
    speeds = rng.integers(-6, 7, (THINGS, 2))
    maps = []
    for t in range(FRAMES):
        ids = np.ascontiguousarray(stuff[:, 2 * t + shift : 2 * t + shift + width])
        for i, (y, x) in enumerate(places + speeds * t + shift):
            cv2.ellipse(
                ids, (int(x), int(y)), (40 + 5 * i, 80), 10 * i, 0, 360, REGIONS + 1 + i, -1
            )
        maps.append(ids.astype(np.int64))
    return maps


def panoptic(ids: np.ndarray) -> PanopticMap:
    rows = [
        (segment, THING if segment > REGIONS else STUFF, 0) for segment in np.unique(ids).tolist()
    ]
    return PanopticMap(ids, np.array(rows, np.int64))


def make_samples() -> list[Sample]:
    samples = []
    flow = np.full((2, *SIZE_HW), -2, np.float32)
    for t, (truth, said) in enumerate(
        zip(segment_maps(0, shift=0), segment_maps(0, shift=5), strict=True)
    ):
        samples.append(
            Sample(
                video="v", stem=str(t), index=t,
                said=(said * 3).astype(np.uint8), truth=(truth * 3).astype(np.uint8),
                flow=flow if t else None,
                said_panoptic=panoptic(said), truth_panoptic=panoptic(truth),
            )
        )  # fmt: skip
    return samples


def seconds(make: Callable[[], Sequence[Measure]], samples: Sequence[Sample]) -> float:
    best = float("inf")
    for _ in range(3):
        measures = make()
        start = time.perf_counter()
        for sample in samples:
            for measure in measures:
                measure.update(sample)
        for measure in measures:
            measure.end_video()
        best = min(best, time.perf_counter() - start)
    return best


def main() -> None:
    cv2.setNumThreads(1)
    labels, samples = load_labels("vspw"), make_samples()
    runs: list[tuple[tuple[str, ...], tuple[int, ...]]] = [
        (("miou", "vc8", "vc16"), (1,)),
        *(((name,), (1,)) for name in ("miou", "tc", "boundary", "tc-boundary", "stq")),
        *((("vpq",), windows) for windows in ((1,), (8,), (1, 2, 4, 6))),
    ]
    for names, windows in runs:
        taken = seconds(
            lambda names=names, windows=windows: list(
                make_measures(names, labels, windows=windows).values()
            ),
            samples,
        )
        what = ", ".join(names) + (f", windows {windows}" if names == ("vpq",) else "")
        print(f"{what:28} {taken:6.3f} s, {FRAMES / taken:6.1f} frames/s")
    few = [
        Sample(s.video, s.stem, s.index, said=s.said // 96, truth=s.truth // 96)
        for s in samples if s.truth is not None
    ]  # fmt: skip
    taken = seconds(lambda: list(make_measures(["jf"], labels).values()), few)
    print(f"{'jf, one large object':28} {taken:6.3f} s, {FRAMES / taken:6.1f} frames/s")


if __name__ == "__main__":
    main()
