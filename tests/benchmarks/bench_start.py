"""The start of `vidparse segment`: whole processes on a clip of one frame, in turn with others.

    python tests/benchmarks/bench_start.py [--model x.onnx] [--repeats 9]

Each repeat runs the page of `--help`, the imports of the libraries that any such tool needs (numpy,
OpenCV, PyAV, ONNX Runtime), and `segment` with its default outputs, also with the int8 file of the
default model. The imports are the yardstick: what a machine, or its other work, does to them it
does to all. CPU seconds are user and system.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av

from vidparse.scenes import Scene, parse_scene

LIBRARIES = "import numpy, cv2, av, onnxruntime"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="street-student")
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as name:
        clip = Path(name) / "clip.mp4"
        write_clip(clip)
        words = ["segment", str(clip), "-m", arguments.model, "-o", f"{name}/o/", "--overwrite"]
        arms = {
            "libraries": ["-c", LIBRARIES],
            "--help": ["-m", "vidparse", "--help"],
            "segment": ["-m", "vidparse", *words, "--quiet"],
        }
        if arguments.model == "street-student":
            arms["in int8"] = [*arms["segment"], "--precision", "int8"]
        times: dict[str, list[tuple[float, float]]] = {arm: [] for arm in arms}
        for turn in range(arguments.repeats + 1):
            for arm, command in arms.items():
                found = timed(command)
                if turn:  # the first warms the disk's cache, and compiles our modules
                    times[arm].append(found)

    for arm, values in times.items():
        wall_s, cpu_s = (statistics.median(one) for one in zip(*values, strict=True))
        pairs = zip(values, times["libraries"], strict=True)
        ratio = statistics.median(own[0] / theirs[0] for own, theirs in pairs)
        print(f"{arm:<10} {wall_s:6.3f} s  CPU {cpu_s:6.3f} s  x libraries {ratio:5.2f}")


def write_clip(path: Path) -> None:
    """One frame of a rendered street, 1280x720, in H.264."""
    picture = Scene(parse_scene("sample://street?size=1280x720")).picture(0)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        output.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        output.mux(stream.encode())


def timed(command: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds of a process of Python."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *command], capture_output=True, check=True)
    wall_s = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
