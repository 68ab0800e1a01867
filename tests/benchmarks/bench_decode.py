"""Time decode_clip, merge included, on one core: ``python tests/benchmarks/bench_decode.py``.

A clip of three frames at 1280x720 with twenty objects in sight and stuff of five classes, from an
input of the same size and from one of half the size. The best of several turns counts. The limit is
15 ms per frame.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


SIZE_HW = (720, 1280)
FRAMES, OBJECTS, THINGS, STUFF = 3, 20, 4, 7
KERNEL, FEATURE = 128, 64  # channels
TURNS = 9
LIMIT_MS = 15.0
