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

from vidparse.evaluation.metrics import make_measures
from vidparse.evaluation.metrics.measure import Measure, Sample
from vidparse.labels import load_labels
from vidparse.maps import SegmentMap, segments_of_ids

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


def panoptic(ids: np.ndarray) -> SegmentMap:
    class_of = {s: THING if s > REGIONS else STUFF for s in np.unique(ids).tolist()}
    return SegmentMap(ids, segments_of_ids(ids, class_of, things=[THING]))


def semantic(ids: np.ndarray) -> SegmentMap:
    return SegmentMap((ids * 3).astype(np.uint8))


def make_samples(form: Callable[[np.ndarray], SegmentMap]) -> list[Sample]:
    samples = []
    flow = np.full((2, *SIZE_HW), -2, np.float32)
    for t, (truth, predicted) in enumerate(
        zip(segment_maps(0, shift=0), segment_maps(0, shift=5), strict=True)
    ):
        samples.append(Sample("v", str(t), t, form(predicted), form(truth), flow if t else None))
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
    labels = load_labels("vspw")
    classes, objects = make_samples(semantic), make_samples(panoptic)
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
            objects if names[0] in ("stq", "vpq") else classes,
        )
        what = ", ".join(names) + (f", windows {windows}" if names == ("vpq",) else "")
        print(f"{what:28} {taken:6.3f} s, {FRAMES / taken:6.1f} frames/s")
    few = make_samples(lambda ids: SegmentMap((ids * 3 // 96).astype(np.uint8)))
    taken = seconds(lambda: list(make_measures(["jf"], labels).values()), few)
    print(f"{'jf, one large object':28} {taken:6.3f} s, {FRAMES / taken:6.1f} frames/s")


if __name__ == "__main__":
    main()
