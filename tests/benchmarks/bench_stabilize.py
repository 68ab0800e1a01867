"""What steadier scores cost a frame, on one thread, and how much steadier they are.

    python tests/benchmarks/bench_stabilize.py [video]

The picture is 640x360 and the scores half of it, as for the default model. With a video, its first
100 frames go through that with and without, and TC is measured along DIS medium flow at the size of
the video; the stabiliser itself uses a coarser flow.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import closing
from itertools import islice

import cv2
import numpy as np

from vidparse.evaluation.metrics import make_measures
from vidparse.evaluation.metrics.measure import Sample
from vidparse.flow import DisFlow
from vidparse.inference import Session, load_model, motion, stabilize
from vidparse.inference.stabilize import Stabilizer
from vidparse.inference.upsample import upsample_argmax
from vidparse.maps import SegmentMap
from vidparse.scenes import Scene, parse_scene
from vidparse.video import open_video

SIZE_HW = (360, 640)


def milliseconds(call: Callable[[], object], repeats: int = 30) -> float:
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return 1e3 * best


def cost(num_classes: int) -> None:
    """Print the time of a step and of its parts."""
    scene = Scene(parse_scene(f"sample://street?frames=2&size={SIZE_HW[1]}x{SIZE_HW[0]}"))
    pictures = [scene.picture(i)[..., 1].astype(np.float32) / 255 for i in range(2)]
    rng = np.random.default_rng(0)
    size_hw = (SIZE_HW[0] // 2, SIZE_HW[1] // 2)
    scores = 5 * rng.standard_normal((num_classes, *size_hw)).astype(np.float32)
    stabilizer = Stabilizer()
    stabilizer.step(scores, pictures[0])
    before = stabilizer.state
    assert before is not None

    def step() -> np.ndarray:
        stabilizer.state = before
        return stabilizer.step(scores, pictures[1])

    small = motion.small_picture(pictures[1])
    along = stabilizer._along_flow(small, before.picture, size_hw)  # x, y, weight
    now = stabilize._softmax(scores)
    parts = {
        "small picture": lambda: motion.small_picture(pictures[1]),
        "flow and weight": lambda: stabilizer._along_flow(small, before.picture, size_hw),
        "softmax": lambda: stabilize._softmax(scores),
        "warp and blend": lambda: stabilize._blended(before.probabilities, now, *along),
        "logarithm": lambda: np.log(now),
    }
    times = ", ".join(f"{name} {milliseconds(part):.2f}" for name, part in parts.items())
    print(f"{num_classes:4} classes: {milliseconds(step):.2f} ms a frame ({times})")


def compare(path: str, frames: int = 100) -> None:
    """Print TC of a video with and without."""
    runner = load_model(device="cpu")
    session, preprocess = Session(runner), runner.description.preprocess
    flow, stabilizer = DisFlow("medium"), Stabilizer()
    measures = [make_measures(["tc", "tc-boundary"], session.labels) for _ in range(2)]
    before = None
    with closing(open_video(path)) as source:
        for index, prepared in enumerate(session.prepared(islice(source, frames))):
            frame = prepared.frame
            scores = runner.answer(prepared.input[None]).values[0]
            green = prepared.input[0, 1] * preprocess.std[1] + preprocess.mean[1]
            rgb = frame.image.rgb()
            moved = None if before is None else flow.between(before, rgb)
            for values, mine in zip(
                (scores, stabilizer.step(scores, green)), measures, strict=True
            ):
                ids = upsample_argmax(values, frame.image.size_hw)
                for measure in mine.values():
                    measure.update(Sample("video", str(index), index, SegmentMap(ids), None, moved))
            before = rgb
    for name, mine in zip(("without", "with"), measures, strict=True):
        every = {k: v for m in mine.values() for k, v in m.scores(m.end_video()).items()}
        print(name.ljust(8), ", ".join(f"{k} {100 * float(v):.2f}" for k, v in every.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", nargs="*")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    for num_classes in (11, 19, 124):
        cost(num_classes)
    for video in arguments.video:
        compare(video)


if __name__ == "__main__":
    main()
