"""How close to the floor a run is: stage times, whole-run speed, and what bounds it.

The floor is the wall time that no overlap can beat: CPU seconds of the network alone plus CPU
seconds of every other stage alone, divided by the cores.
"""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from itertools import cycle, islice
from typing import Any

from vidparse.errors import InputError, VidparseError
from vidparse.frame import Frame
from vidparse.inference import Runner, Session, engine_and_reason, run
from vidparse.inference.devices import cpu_count
from vidparse.inference.session import Prepared, Scored
from vidparse.run import SegmentOptions, load_runner
from vidparse.sinks import make_sinks
from vidparse.video import open_video

_CACHED_BYTES = 256 << 20  # of network inputs and scores kept for the arms that need them
_ENOUGH_S = 10.0  # of the network's time in one arm, where no end is given
_FEWEST_FRAMES = 30


@dataclass(frozen=True, slots=True)
class BenchReport:
    """Medians over the repeats; times in seconds for the whole clip unless a name says ms."""

    input: str
    frames: int
    repeats: int
    cores: int
    model: str
    backend: str
    device: str
    precision: str
    engine: str  # all three for people, and why
    network_input_hw: tuple[int, int]
    stage_ms: dict[str, float]  # CPU milliseconds a frame of each stage on its own
    network_ms: float  # wall milliseconds a frame, network alone
    network_fps: float
    network_cpu_s: float
    other_cpu_s: float
    floor_s: float
    wall_s: float  # overlapped run, source opened to sinks closed
    wall_spread: tuple[float, float]  # fastest and slowest repeat
    fps: float
    process_wall_s: float  # `vidparse segment` from process start to exit
    process_fps: float
    floor_ratio: float  # median of wall / floor, pair by pair
    bottleneck: str


@dataclass(frozen=True, slots=True)
class _Repeat:
    stage_cpu_s: dict[str, float]
    network_wall_s: float
    network_cpu_s: float
    wall_s: float
    process_wall_s: float


def bench(
    name: str,
    options: SegmentOptions,
    *,
    repeats: int = 5,
    on_repeat: Callable[[int], None] = lambda _: None,
) -> BenchReport:
    """Measure one input; the arms of a repeat follow each other, so that drift hits all alike.

    Without `options.end_s` a long input is measured up to where the network has worked for ten
    seconds, and over 30 frames at least.

    Raises:
        VidparseError: whatever `segment` would raise.
    """
    options = replace(options, save=options.save or ("overlay",))
    runner = load_runner(options)
    session = _session(runner, name, options)
    clips, scores, frames, end_s = _sample(name, options, session)
    options = replace(options, end_s=end_s)
    done = []
    for i in range(repeats):
        done.append(_measure(name, options, session, clips, scores, frames))
        on_repeat(i + 1)
    return _report(name, options, runner, frames, clips[0].clip.shape[2:], done)


def _measure(
    name: str,
    options: SegmentOptions,
    session: Session,
    clips: list[Prepared],
    scores: list[Scored],
    frames: int,
) -> _Repeat:
    network_wall, network_cpu = _timed(lambda: _drain(map(session.infer, _many(clips, frames))))
    stages = _other_stages(name, options, session, scores)
    with tempfile.TemporaryDirectory(prefix="vidparse-bench-") as folder:
        source = _open(name, options)
        sinks = make_sinks(options.save or (), source=name, out=f"{folder}/", options=options.sinks)
        report = run(source, session, sinks, overlap=options.overlap)
    return _Repeat(stages, network_wall, network_cpu, report.wall_s, _process(name, options))


def _other_stages(
    name: str, options: SegmentOptions, session: Session, scores: list[Scored]
) -> dict[str, float]:
    """CPU seconds of each stage but the network, one after the other on every frame."""
    spent = dict.fromkeys(("decode", "prepare", "upsample", "sinks"), 0.0)

    def charge(stage: str, since: float) -> float:
        now = time.process_time()
        spent[stage] += now - since
        return now

    recorded = cycle(scores)
    with tempfile.TemporaryDirectory(prefix="vidparse-bench-") as folder:
        source = _open(name, options)
        sinks = make_sinks(options.save or (), source=name, out=f"{folder}/", options=options.sinks)
        clock = time.process_time()
        opened = False
        for frame in source:
            clock = charge("decode", clock)
            session.prepare(frame)
            clock = charge("prepare", clock)
            prediction = session.finish(replace(next(recorded), frame=frame))
            clock = charge("upsample", clock)
            for sink in sinks:
                if not opened:
                    sink.open(source.info, session.labels)
                sink.write(frame, prediction)
            opened = True
            clock = charge("sinks", clock)
        clock = charge("decode", clock)
        for sink in sinks:
            sink.close(keep=True, packets=source.trailing_packets())
        charge("sinks", clock)
        source.close()
    return spent


def _process(name: str, options: SegmentOptions) -> float:
    """Wall seconds of `vidparse segment` as a process of its own."""
    with tempfile.TemporaryDirectory(prefix="vidparse-bench-") as folder:
        command = [sys.executable, "-m", "vidparse", "segment", name, "-o", f"{folder}/", "-q"]
        command += ["--save", ",".join(options.save or ()), "-m", os.fspath(options.model)]
        command += ["--backend", options.backend, "--device", options.device]
        command += ["--precision", options.precision, "--threads", str(options.threads)]
        if isinstance(options.size, tuple):
            command += ["--network-size", f"{options.size[1]}x{options.size[0]}"]
        elif options.size:
            command += ["--network-size", str(options.size)]
        if options.end_s is not None:
            command += ["--end", str(options.end_s)]
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wall = time.perf_counter() - start
    if done.returncode:
        raise VidparseError(f"bench: `{' '.join(command)}` failed: {done.stderr.strip()}")
    return wall


def _sample(
    name: str, options: SegmentOptions, session: Session
) -> tuple[list[Prepared], list[Scored], int, float | None]:
    """Network inputs and scores of the first frames (bounded), the number of frames, their end."""
    clips: list[Prepared] = []
    scores: list[Scored] = []
    kept = frames = 0
    end_s, quickest, times = options.end_s, math.inf, [Fraction(0)] * 2  # of the last two frames
    source = _open(name, options)
    for frame in source:
        times = [times[1], frame.pts * source.info.time_base]
        if frames == 0:
            start = times[1]
        elif end_s is None and frames >= _FEWEST_FRAMES and frames * quickest > _ENOUGH_S:
            end_s = float(sum(times) / 2 - start)
            break
        frames += 1
        if kept < _CACHED_BYTES:
            prepared = session.prepare(frame)
            began = time.perf_counter()
            scored = session.infer(prepared)
            quickest = min(quickest, time.perf_counter() - began)
            clips.append(replace(prepared, frame=_empty(frame)))
            scores.append(replace(scored, frame=_empty(frame)))
            kept += prepared.clip.nbytes + scored.scores.nbytes
    source.close()
    if not frames:
        raise InputError(f"{name}: no frame could be decoded; check the file")
    return clips, scores, frames, end_s


def _empty(frame: Frame) -> Frame:
    """The frame without its packets; the picture stays for its size."""
    return replace(frame, packets=())


def _open(name: str, options: SegmentOptions) -> Any:
    return open_video(name, end_s=options.end_s, copy_streams=options.sinks.audio)


def _session(runner: Runner, name: str, options: SegmentOptions) -> Session:
    source = _open(name, options)
    source.close()
    return Session(runner, size=options.size, sample_aspect_ratio=source.info.sample_aspect_ratio)


def _many(items: list[Prepared], count: int) -> Iterator[Prepared]:
    return islice(cycle(items), count)


def _drain(items: Iterator[Any]) -> None:
    for _ in items:
        pass


def _timed(work: Callable[[], None]) -> tuple[float, float]:
    """Wall and CPU seconds (all threads) of `work`."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def _report(
    name: str,
    options: SegmentOptions,
    runner: Runner,
    frames: int,
    network_input_hw: tuple[int, int],
    done: list[_Repeat],
) -> BenchReport:
    cores = cpu_count()
    median = statistics.median
    stages = {
        stage: median([repeat.stage_cpu_s[stage] for repeat in done])
        for stage in done[0].stage_cpu_s
    }
    network_cpu = median([repeat.network_cpu_s for repeat in done])
    other_cpu = median([sum(repeat.stage_cpu_s.values()) for repeat in done])
    network_wall = median([repeat.network_wall_s for repeat in done])
    wall = median([repeat.wall_s for repeat in done])
    process_wall = median([repeat.process_wall_s for repeat in done])
    floors = [(r.network_cpu_s + sum(r.stage_cpu_s.values())) / cores for r in done]
    per_stage = {"network": network_cpu / cores, **stages}
    return BenchReport(
        input=name,
        frames=frames,
        repeats=len(done),
        cores=cores,
        model=os.fspath(options.model),
        backend=runner.backend,
        device=runner.device,
        precision=runner.precision,
        engine=engine_and_reason(runner),
        network_input_hw=(int(network_input_hw[0]), int(network_input_hw[1])),
        stage_ms={stage: 1000 * cpu / frames for stage, cpu in stages.items()},
        network_ms=1000 * network_wall / frames,
        network_fps=frames / network_wall,
        network_cpu_s=network_cpu,
        other_cpu_s=other_cpu,
        floor_s=median(floors),
        wall_s=wall,
        wall_spread=(min(r.wall_s for r in done), max(r.wall_s for r in done)),
        fps=frames / wall,
        process_wall_s=process_wall,
        process_fps=frames / process_wall,
        floor_ratio=median(
            [repeat.wall_s / floor for repeat, floor in zip(done, floors, strict=True)]
        ),
        bottleneck=max(per_stage, key=lambda stage: per_stage[stage]),
    )


def bench_record(report: BenchReport) -> dict[str, Any]:
    """Plain values for `--json`."""
    return asdict(report)
