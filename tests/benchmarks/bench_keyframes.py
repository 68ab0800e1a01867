"""`segment` with and without key frames, on clips of one's own.

    python tests/benchmarks/bench_keyframes.py road.mp4 yard.avi --end 2 --repeats 3

CPU time is the better measure where others use the machine, too.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from statistics import median

from vidparse.inference import RunReport
from vidparse.requests.segment import SegmentOptions
from vidparse.run import segment


def run(path: str, end_s: float, keyframes: str | None) -> tuple[RunReport, float]:
    """A run with the overlay as output, and its CPU milliseconds per frame."""
    begun_s = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        options = SegmentOptions(out=f"{folder}/", save="overlay", end_s=end_s, keyframes=keyframes)
        (result,) = segment(path, options).inputs
    assert result.report is not None, result.error
    cpu_s = time.process_time() - begun_s
    return result.report, 1000 * cpu_s / result.report.frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="+")
    parser.add_argument("--end", type=float, default=2, help="seconds of each")
    parser.add_argument("--keyframes", default="auto")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()

    run(options.clips[0], 0.2, None)  # libraries are loaded
    for path in options.clips:
        every, keyed = [], []
        for _ in range(options.repeats):  # interleaved, so that drift hits both alike
            every.append(run(path, options.end, None))
            keyed.append(run(path, options.end, options.keyframes))

        wall = [median(1000 / one.fps for one, _ in found) for found in (every, keyed)]
        cpu = [median(cpu_ms for _, cpu_ms in found) for found in (every, keyed)]
        report = keyed[-1][0].key_frames
        assert report is not None
        times = (report.median_s, report.p95_s, report.most_s)
        print(
            f"{path}: {report.share:.0%} key frames; CPU {cpu[0]:.0f} to {cpu[1]:.0f} ms per frame "
            f"({cpu[0] / cpu[1]:.1f} x), wall {wall[0]:.0f} to {wall[1]:.0f} ms "
            f"({wall[0] / wall[1]:.1f} x); scores in "
            f"{', '.join(f'{1000 * time_s:.0f}' for time_s in times)} ms (median, 95 %, most)",
            flush=True,
        )


if __name__ == "__main__":
    main()
