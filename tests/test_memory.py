"""Memory does not grow with the length of a stream."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np

FRAMES, SIZE_HW = 3000, (96, 128)

# In a process of its own: the peak of this one belongs to all the tests before.
MEASURE = """
import json, resource, sys
from fractions import Fraction
from vidparse.batch import Silent
from vidparse.requests.segment import SegmentOptions
from vidparse.run import segment
from vidparse.video import RawPipe

class Watch(Silent):
    frames = 0
    def frame(self, frame):
        self.frames += 1
        if self.frames in (200, 3000):
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

model, out, height, width = sys.argv[1:]
raw = RawPipe((int(height), int(width)), Fraction(25))
save = ("overlay", "masks", "mask-video", "jsonl", "csv")
options = SegmentOptions(model=model, out=out, save=save, raw=raw, threads=1)
summary = segment(["-"], options, watcher=Watch())
assert summary.exit_code == 0, summary
"""


def test_peak_between_frame_200_and_frame_3000(colour_model, tmp_path):
    """With every sink at once. Keeping one frame in seven would be too much."""
    run = subprocess.Popen(
        [sys.executable, "-c", MEASURE, colour_model, f"{tmp_path}/", *map(str, SIZE_HW)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    rng = np.random.default_rng(0)
    scenes = rng.integers(0, 255, (7, *SIZE_HW, 3), np.uint8)
    scenes = np.repeat(np.repeat(scenes[:, ::16, ::16], 16, 1), 16, 2)
    for index in range(FRAMES):
        run.stdin.write(np.roll(scenes[index // 50 % 7], index, axis=1).tobytes())
    run.stdin.close()
    early, late = map(json.loads, run.stdout.read().split())
    assert run.wait(30) == 0
    assert late < early * 1.05, f"{early} KiB after 200 frames, {late} KiB after {FRAMES}"
