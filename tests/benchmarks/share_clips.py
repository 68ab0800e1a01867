"""Two workers of one thread against one process of two, on one video; and what joining costs.

    python tests/benchmarks/share_clips.py VIDEO [--model NAME] [--repeats 3]

Runs are interleaved. Joining is what this process does with the clips of the workers: it unpacks
and links them (clock times, also while it waits for a CPU).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time

from vidparse.inference import ClipSegments
from vidparse.run import SegmentOptions, segment
from vidparse.workers.job import PackedClip

unpacking_s = 0.0
_clip = PackedClip.clip


def _timed(self: PackedClip) -> ClipSegments:
    global unpacking_s
    start_s = time.perf_counter()
    found = _clip(self)
    unpacking_s += time.perf_counter() - start_s
    return found


def run(video: str, **options: object) -> tuple[float, float]:
    """Seconds of a whole call, and of these in joining."""
    global unpacking_s
    unpacking_s = 0.0
    with tempfile.TemporaryDirectory() as out:
        start_s = time.perf_counter()
        settings = SegmentOptions(out=out, save="overlay", **options)  # type: ignore[arg-type]
        (result,) = segment(video, settings).inputs
        wall_s = time.perf_counter() - start_s
    assert result.error is None and result.report is not None, result.error
    linking_s = next(one.wall_s for one in result.report.stages if one.name == "upsample")
    return wall_s, unpacking_s + linking_s


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("video")
    parser.add_argument("--model", default="street-student")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    PackedClip.clip = _timed  # type: ignore[method-assign]

    alone, shared, joins = [], [], []
    for _ in range(options.repeats):
        alone.append(run(options.video, model=options.model, threads=2)[0])
        wall_s, join_s = run(options.video, model=options.model, threads=1, workers=2)
        shared.append(wall_s)
        joins.append(join_s)

    one, two = statistics.median(alone), statistics.median(shared)
    print(f"one process, two threads: {one:.2f} s; two workers, one thread each: {two:.2f} s")
    print(
        f"ratio {one / two:.2f}; joining {100 * statistics.median(joins) / two:.2f} % of the wall"
    )


if __name__ == "__main__":
    main()
