"""`segment` with and without key frames, on clips of one's own.

python tests/benchmarks/bench_keyframes.py road.mp4 yard.avi --end 4 --repeats 3
"""

from __future__ import annotations

import argparse
import tempfile
from statistics import median

from vidparse.inference import RunReport
from vidparse.requests.segment import SegmentOptions
from vidparse.run import segment


def run(path: str, end_s: float, keyframes: str | None) -> RunReport:
    """A run with the overlay as output."""
    with tempfile.TemporaryDirectory() as folder:
        options = SegmentOptions(out=f"{folder}/", save="overlay", end_s=end_s, keyframes=keyframes)
        (result,) = segment(path, options).inputs
    assert result.report is not None, result.error
    return result.report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="+")
    parser.add_argument("--end", type=float, default=4, help="seconds of each")
    parser.add_argument("--keyframes", default="auto")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()

    print("clip, ms per frame at every frame, with key frames, ratio, share of key frames, and its")
    print("times to scores: median, 95 %, most, in ms")
    for path in options.clips:
        every, keyed = [], []
        for _ in range(options.repeats):  # interleaved, so that drift hits both alike
            every.append(run(path, options.end, None))
            keyed.append(run(path, options.end, options.keyframes))
        slow, fast = (
            median(1000 * one.wall_s / one.frames for one in found) for found in (every, keyed)
        )
        report = keyed[-1].key_frames
        assert report is not None
        times = (report.median_s, report.p95_s, report.most_s)
        print(
            f"{path}: {slow:.1f}, {fast:.1f}, {slow / fast:.2f} x, {report.share:.0%}; "
            f"{', '.join(f'{1000 * time_s:.1f}' for time_s in times)}",
            flush=True,
        )


if __name__ == "__main__":
    main()
