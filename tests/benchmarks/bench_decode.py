"""Time decode_clip, merge included, on one core: ``python tests/benchmarks/bench_decode.py``.

A clip of three frames at 1280x720 with twenty objects and stuff of seven classes, from an input of
the same size and of half of it. CPU time of one thread, the least of many turns, which is the least
disturbed one. The limit is 15 ms per frame.

How the made maps compare with those of street-panoptic on seven clips (DAVIS, CamVid and others),
at 720p: 18 % and 6 % of the cells lie on borders of stuff that shows (real: 9 to 20 %), 29 % and
12 % on borders of things (real: 2 to 11 %, of 1 to 11 things), so that real clips take less time.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
sys.path.insert(0, str(Path(__file__).parents[1]))

import cv2  # noqa: E402  (threads are counted on import)
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from support.made_kernel_maps import made_maps  # noqa: E402
from vidparse.inference import decode_clip  # noqa: E402

SIZE_HW = (720, 1280)
INPUTS = [(720, 1280), (360, 640)]
FRAMES, OBJECTS = 3, 20
TURNS = 12


def main() -> None:
    """Print one row for each size of the input."""
    cv2.setNumThreads(1)
    table = Table(title=f"{OBJECTS} objects at {SIZE_HW[1]}x{SIZE_HW[0]}, CPU ms per frame")
    for head in ("input", "things found", "stuff", "intended", "official"):
        table.add_column(head, justify="right")
    for input_hw in INPUTS:
        maps = made_maps(
            1, objects=OBJECTS, frames=FRAMES, things=4, stuff=7, input_hw=input_hw,
            noise=0.2, width=128, features=64, radius=(0.04, 0.13),
        )  # fmt: skip
        _, segments = decode_clip(**maps, size_hw=SIZE_HW)
        things = sum(one.is_thing for one in segments)
        times = []
        for rule in ("intended", "official"):
            best = float("inf")
            for _ in range(TURNS):
                start = time.process_time()
                decode_clip(**maps, size_hw=SIZE_HW, rule=rule)
                best = min(best, time.process_time() - start)
            times.append(f"{1000 * best / FRAMES:.1f}")
        size = f"{input_hw[1]}x{input_hw[0]}"
        table.add_row(size, str(things), str(len(segments) - things), *times)
    Console().print(table)


if __name__ == "__main__":
    main()
