"""Time and memory of `vidparse segment` as its input grows: pictures, classes, frames, files.

    python tests/benchmarks/bench_scale.py [clip.mp4] [--only size,classes,length,files]

The clip (a rendered street, where none is named) is encoded anew as H.264, repeated as often as is
needed. Every row is two whole processes, a short one and a long one: their difference is the work
of the frames (or files) between, what is left the start. CPU is user and system time of all
threads, the peak is the resident memory of the long one. Outputs are the default ones, overlay and
masks.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av

sys.path.insert(0, str(Path(__file__).parent))

from compare_loops import cpu_text, render, widened

from vidparse.labels import Labels, load_labels

SIZES_HW = ((480, 854), (720, 1280), (1080, 1920), (2160, 3840))
CLASSES = (11, 124, 1000)
FRAMES = (10, 40)  # of the short run and of the long one
LENGTHS = (100, 400, 1600)
FILES = (1, 10, 50)
SMALL = ("--size", "96")  # of the network, where other things are looked at
_NOTING = """
import atexit, pathlib, sys
note = pathlib.Path(sys.argv.pop(1))
atexit.register(lambda: note.write_text(pathlib.Path("/proc/self/status").read_text()))
from vidparse.__main__ import main
main()
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """One process."""

    wall_s: float
    cpu_s: float
    peak_mib: float


def cost(*words: str | Path) -> Cost:
    """Run `segment` in a process that writes down its own peak: that of a child begins at ours."""
    with tempfile.TemporaryDirectory() as folder:
        note = Path(folder, "status")
        command = [sys.executable, "-c", _NOTING, str(note), "segment", *map(str, words)]
        begun = time.perf_counter()
        process = subprocess.Popen([*command, "--quiet", "-o", f"{folder}/"])
        _, status, used = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - begun
        if status:
            raise SystemExit(f"`{' '.join(command[2:])}` failed")
        peak = re.search(r"VmHWM:\s+(\d+) kB", note.read_text(encoding="utf-8"))
    assert peak is not None, "the peak is read as Linux has it"
    return Cost(wall_s, used.ru_utime + used.ru_stime, int(peak[1]) / 1024)


def encode(source: Path, target: Path, size_hw: tuple[int, int], frames: int) -> Path:
    with av.open(str(target), "w") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = *size_hw, "yuv420p"
        stream.options = {"preset": "veryfast"}
        for number, picture in enumerate(itertools.islice(_looped(source), frames)):
            frame = picture.reformat(size_hw[1], size_hw[0], "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return target


def _looped(source: Path) -> Iterator[av.VideoFrame]:
    while True:
        with av.open(str(source)) as container:
            yield from container.decode(video=0)


def row(name: str, short: Cost, long: Cost, steps: int, unit: str) -> None:
    """One line: milliseconds per frame or file, and the memory."""
    wall_ms, cpu_ms = (
        1000 * (after - before) / steps
        for before, after in ((short.wall_s, long.wall_s), (short.cpu_s, long.cpu_s))
    )
    print(
        f"{name:<12} {wall_ms:8.1f} ms per {unit}, CPU {cpu_ms:8.1f} ms; peak {long.peak_mib:6.0f} "
        f"MiB; whole short run {short.wall_s:.1f} s",
        flush=True,
    )


def by_size(source: Path, folder: Path) -> None:
    for size_hw in SIZES_HW:
        short, long = (
            cost(encode(source, folder / f"{size_hw[0]}_{frames}.mp4", size_hw, frames))
            for frames in FRAMES
        )
        row(f"{size_hw[1]}x{size_hw[0]}", short, long, FRAMES[1] - FRAMES[0], "frame")


def by_classes(source: Path, folder: Path) -> None:
    clips = [encode(source, folder / f"{n}.mp4", (720, 1280), n) for n in FRAMES]
    for count in CLASSES:
        model = "street-student"
        if count != 11:
            place = folder / str(count)
            place.mkdir()
            model = str(widened(place, _labels(count)).with_suffix(".onnx"))
        short, long = (cost(clip, "-m", model) for clip in clips)
        row(f"{count} classes", short, long, FRAMES[1] - FRAMES[0], "frame")


def _labels(count: int) -> Labels:
    if count == 124:
        return load_labels("vspw")
    names = tuple(f"class {number}" for number in range(count))
    colours = tuple((n * 37 % 256, n * 91 % 256, n * 53 % 256) for n in range(count))
    return Labels("many", names, colours, frozenset())


def by_length(source: Path, folder: Path) -> None:
    before = None
    for frames in LENGTHS:
        found = cost(encode(source, folder / f"long{frames}.mp4", (480, 854), frames), *SMALL)
        if before is not None:
            row(f"{frames} frames", before[1], found, frames - before[0], "frame")
        before = frames, found


def by_files(source: Path, folder: Path) -> None:
    clips = [encode(source, folder / f"file{n:03}.mp4", (480, 854), 5) for n in range(FILES[-1])]
    before = None
    for count in FILES:
        found = cost(*clips[:count], *SMALL)
        if before is not None:
            row(f"{count} files", before[1], found, count - before[0], "file")
        before = count, found


PARTS = {"size": by_size, "classes": by_classes, "length": by_length, "files": by_files}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", nargs="?", type=Path)
    parser.add_argument("--only", default=",".join(PARTS))
    options = parser.parse_args()
    print(cpu_text())
    for name in options.only.split(","):
        with tempfile.TemporaryDirectory() as folder:
            source = options.clip or render(Path(folder), 30)
            print(f"-- {name}")
            PARTS[name](source, Path(folder))


if __name__ == "__main__":
    main()
