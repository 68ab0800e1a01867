"""A rendered slide show through `segment`, with and without the sight of frames that repeat.

    python tests/benchmarks/bench_slides.py --slides 3 --frames 20 --repeats 2

The slides are pictures of rendered streets, 1280x720, in lossless H.264. A lossy encoder changes
the frames for a while after each new slide.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from unittest.mock import patch

import av

from vidparse.requests.segment import SegmentOptions
from vidparse.run import segment
from vidparse.scenes import Scene, parse_scene


def write_slides(path: Path, slides: int, frames: int) -> None:
    """Each slide for so many frames, 25 per second."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.options = {"preset": "ultrafast", "qp": "0"}
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        for slide in range(slides):
            scene = Scene(parse_scene(f"sample://street?size=1280x720&seed={slide}"))
            picture = scene.picture(0)
            for _ in range(frames):
                output.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        output.mux(stream.encode())


def run(path: Path, *, sight: bool) -> tuple[int, float]:
    """Frames that repeated, and milliseconds per frame."""
    with ExitStack() as doing:
        folder = doing.enter_context(tempfile.TemporaryDirectory())
        if not sight:
            blind = "vidparse.inference.repeats.LastPicture.repeats"
            doing.enter_context(patch(blind, lambda last, image: False))
            doing.enter_context(
                patch("vidparse.inference.preparing.same_bytes", lambda a, b: False)
            )
        (result,) = segment(path, SegmentOptions(out=f"{folder}/", save="overlay")).inputs
    assert result.report is not None, result.error
    return result.report.repeated, 1000 * result.report.wall_s / result.report.frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slides", type=int, default=3)
    parser.add_argument("--frames", type=int, default=20, help="of each slide")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "slides.mp4")
        write_slides(path, options.slides, options.frames)
        times: dict[bool, list[float]] = {True: [], False: []}
        repeated = 0
        for _ in range(options.repeats):
            for sight, found in times.items():
                count, time_ms = run(path, sight=sight)
                found.append(time_ms)
                repeated = max(repeated, count)

    with_ms, without_ms = median(times[True]), median(times[False])
    print(
        f"{repeated} of {options.slides * options.frames} frames repeat: {with_ms:.1f} ms per frame"
        f", {without_ms:.1f} where each is run: {without_ms / with_ms:.1f} x"
    )


if __name__ == "__main__":
    main()
