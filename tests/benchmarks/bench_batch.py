"""The cost of a batch per clip, beside a plain loop over the same clips in one process.

    python tests/benchmarks/bench_batch.py [--clips 500]

A plain loop opens clip after clip, segments it with a network that was loaded once, and writes its
outputs: no ledger, no other process. Beside it run `segment` with a ledger, and with `--jobs 2`.
Each way takes few clips and many by turns: what the many cost more, per clip, is free of the start.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.clips import make_clip

FEW = 20  # clips, whose time is mostly that of the start
FRAMES, SIDE = 4, 64  # of a clip
SAVE = "masks,csv"
LOOP = f"""
import sys
from pathlib import Path
import vidparse
from vidparse.inference import run
from vidparse.sinks import SinkOptions, make_sinks
runner = vidparse.load_model("street-student", device="cpu", threads=int(sys.argv[3]))
for clip in sorted(Path(sys.argv[1]).iterdir()):
    source = vidparse.open_video(clip)
    session = runner.session(source.info, size={SIDE})
    out = sys.argv[2] + "/"
    sinks = make_sinks({SAVE!r}.split(","), source=clip, out=out, options=SinkOptions())
    run(source, session, sinks)
"""


class Cost(NamedTuple):
    """Seconds of a call: on the clock, and of CPUs in all its processes."""

    wall_s: float
    cpu_s: float


def cost(words: list[str]) -> Cost:
    """The cost of a command."""
    begun_s, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], check=True)
    wall_s, after = time.perf_counter() - begun_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall_s, cpu_s)


def words_of(way: str, clips: Path, out: Path) -> list[str]:
    """The command of a way to segment a folder of clips."""
    if way == "loop":
        return ["-c", LOOP, str(clips), str(out), "1"]
    words = ["-m", "vidparse", "segment", str(clips), "-o", f"{out}/", "--save", SAVE, "--quiet"]
    words += ["--size", str(SIDE), "--threads", "1", "--ledger", f"{out}.db"]
    return [*words, "--jobs", "2"] if way == "--jobs 2" else words


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")

    per_clip: dict[str, list[Cost]] = {"loop": [], "segment": [], "--jobs 2": []}
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        first = make_clip(place / "clip.mp4", frames=FRAMES, size_hw=(SIDE, SIDE))
        for count in (FEW, options.clips):
            (place / str(count)).mkdir()
            for at in range(count):
                shutil.copy(first, place / str(count) / f"{at:05d}.mp4")

        for _ in range(options.rounds):
            for way, found in per_clip.items():
                few, many = (
                    cost(words_of(way, place / str(count), place / f"{count} of {way}"))
                    for count in (FEW, options.clips)
                )
                rest = options.clips - FEW
                found.append(
                    Cost((many.wall_s - few.wall_s) / rest, (many.cpu_s - few.cpu_s) / rest)
                )
                for out in place.glob("* of *"):
                    shutil.rmtree(out) if out.is_dir() else out.unlink()

    loop_ms = 1000 * median(one.wall_s for one in per_clip["loop"])
    for way, found in per_clip.items():
        wall_ms, cpu_ms = (1000 * median(times) for times in zip(*found, strict=True))
        workers = 2 if way == "--jobs 2" else 1
        more = "" if way == "loop" else f", {workers * wall_ms - loop_ms:+.1f} ms of each worker"
        print(f"{way}: {wall_ms:.1f} ms per clip{more}; {cpu_ms:.1f} ms of CPU", flush=True)


if __name__ == "__main__":
    main()
