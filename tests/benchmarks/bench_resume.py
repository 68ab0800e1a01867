"""The cost of --resume, and outputs of runs that were killed at random moments.

    python tests/benchmarks/bench_resume.py clip.mp4           # a clip of one's own: the cost
    python tests/benchmarks/bench_resume.py --kills 20         # a clip is made

The first gives the CPU time of a session, of the journal of its predictions, and of playing them
back; and the time on the clock of calls with --resume, beside the same calls without, by turns. The
second kills (-9) calls of every output, and of models with a memory, until so many have
died, lets the same call go on each time, and holds the outputs against those of a call that nobody
disturbed, byte for byte.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parent.parent))

import vidparse
from support.clips import make_clip
from vidparse.inference.memory import Answering
from vidparse.resume import Journal

SECONDS = 1.2  # of the clip
WALL_S, ROUNDS = 2.0, 4  # of the clip, for times on the clock
ALL = ("--matte", "Car", "--background", "#00FF00", "--redact", "fill")
# As the program, with a memory after each clip, and not each five seconds.
EAGER = """
import sys
from vidparse.resume import journal
journal.FIRST_S = journal.EVERY_S = journal._LEAST_SHARE = 0
sys.argv[0] = "vidparse"
from vidparse.cli import main
main()
"""


def measure_cost(clip: Path, model: str, place: Path) -> None:
    """Print the CPU time of a journal per frame, beside that of the session whose it is."""
    runner = vidparse.load_model(model, device="cpu")
    with vidparse.open_video(clip, end_s=SECONDS) as source:
        session, frames = runner.session(source.info), list(source)
    predictions = session.run(iter(frames))
    found = [next(predictions)]  # not counted: libraries choose their kernels at the first

    begun_s = time.process_time()
    found += predictions
    session_s = (time.process_time() - begun_s) / (len(found) - 1)

    with Journal(place / model, {}) as journal:
        begun_s = time.process_time()
        for frame, prediction in found:
            journal.add(frame, prediction)
        add_s = (time.process_time() - begun_s) / len(found)
        begun_s = time.process_time()
        journal.keep(Answering(runner.state), session.finishing)
        keep_s = time.process_time() - begun_s
        memory = (journal.folder / "memory-0").stat().st_size
        size = (journal.folder / "frames").stat().st_size / len(found)

        begun_s, entries = time.process_time(), journal.entries()
        for frame, _ in found:
            journal.replayed(frame, entries, session.labels)
        replay_s = (time.process_time() - begun_s) / len(found)
    print(
        f"{model}: session {1000 * session_s:.1f} ms of CPU per frame; journal "
        f"{1000 * add_s:.2f} ms ({add_s / session_s:.1%}), {size / 1000:.1f} kB; played back "
        f"{1000 * replay_s:.2f} ms; a memory {1000 * keep_s:.1f} ms, {memory / 1e6:.2f} MB",
        flush=True,
    )


def measure_wall(clip: Path, model: str, place: Path) -> None:
    """Print the time that whole calls take with a journal, as a ratio to those without."""
    times: dict[bool, list[float]] = {False: [], True: []}
    cpu_s: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(ROUNDS + 1):
        # Begin with either by turns: a machine that warms up must not favour one.
        for resume in (True, False) if turn % 2 else (False, True):
            options = vidparse.SegmentOptions(
                model=model,
                out=f"{place}/w/",
                save=("overlay", "masks"),
                resume=resume,
                end_s=WALL_S,
            )
            begun_s, begun_cpu_s = time.perf_counter(), time.process_time()
            vidparse.segment(clip, options)
            times[resume].append(time.perf_counter() - begun_s)
            cpu_s[resume].append(time.process_time() - begun_cpu_s)
            shutil.rmtree(place / "w")

    # Leave the first round out: libraries choose their kernels in it.
    ratios = [with_it / without for without, with_it in zip(*times.values(), strict=True)][1:]
    more = median(cpu_s[True][1:]) / median(cpu_s[False][1:])
    print(
        f"{model}: with --resume {median(ratios):.3f} times as long ({min(ratios):.3f} to "
        f"{max(ratios):.3f}), in CPU time {more:.3f}; "
        f"{median(times[False][1:]):.1f} s without",
        flush=True,
    )


def files_in(folder: Path) -> dict[str, bytes]:
    """The outputs below a folder; the record that stays beside them has times."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    found = (path for path in found if path.name != "job.json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def kill(name: str, words: list[str], kills: int, place: Path, rng: random.Random) -> None:
    """Kill calls until so many have died; print how often what came of them was the same."""
    out = place / "out"
    program = [sys.executable, "-c", EAGER, "segment", *words, "-o", f"{out}/", "--resume"]
    died, same, completed, begun_s = 0, 0, 0, time.monotonic()
    whole: dict[str, bytes] = {}
    shutil.rmtree(out, ignore_errors=True)
    working_s, died_last = 0.0, False
    while not whole or died < kills or out.exists():
        running = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        while running.poll() is None and not list(out.glob(".*resume/frames")):
            time.sleep(0.01)

        # Let the first and the last of them end, and kill the others anywhere from here on.
        since_s = time.monotonic()
        # Let half of those that were killed before come to their end, to be looked at.
        if working_s and died < kills and (not died_last or rng.random() < 0.5):
            try:
                running.wait(rng.uniform(0, working_s))
            except subprocess.TimeoutExpired:
                running.send_signal(signal.SIGKILL)
        error = running.communicate()[1].decode()
        died_last = running.returncode == -signal.SIGKILL
        if died_last:
            died += 1
            continue
        assert running.returncode == 0, error
        working_s = max(working_s, time.monotonic() - since_s)
        whole = whole or files_in(out)
        completed += died > 0
        same += died > 0 and files_in(out) == whole
        shutil.rmtree(out)
    lasted_s = time.monotonic() - begun_s
    print(
        f"{name}: {died} killed, {same} of {completed} that came to their end are the same "
        f"{len(whole)} files ({lasted_s:.0f} s)",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", nargs="?", type=Path)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--models", default="street-student,street-tcb,street-panoptic")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if options.clip is not None:
            for model in options.models.split(","):
                measure_cost(options.clip, model, place)
                measure_wall(options.clip, model, place)
        if options.kills:
            from vidparse.sinks import SINKS

            rng = random.Random(options.seed)
            clip = str(make_clip(place / "clip.mp4", frames=40, size_hw=(96, 160), audio=True))
            size = ["--size", "64"]
            save = ["--save", ",".join(SINKS), *ALL]
            kill("every output", [clip, *size, *save], options.kills, place, rng)
            for model in ("street-tcb", "street-panoptic"):
                words = [clip, *size, "-m", model, "--save", "masks,jsonl,ids,panoptic,id-video"]
                kill(model, words, options.kills, place, rng)


if __name__ == "__main__":
    main()
