"""The distance of a run from its floor: stage times, whole-run speed, and what bounds it.

The floor is the wall time that no overlap can beat: CPU seconds of the network alone plus CPU
seconds of every other stage alone, divided by the cores.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from fractions import Fraction

from vidparse.batch import clip_options
from vidparse.errors import InputError, VidparseError
from vidparse.filenames import one_or_several
from vidparse.inference import Runner, RunReport, Session, StageTime, engine_and_reason, run
from vidparse.inference.devices import cpu_count
from vidparse.inference.pipeline import StageClock
from vidparse.requests.from_python import checked
from vidparse.run import SegmentOptions, load_runner
from vidparse.sinks import SINKS, make_sinks
from vidparse.sinks.names import check_names
from vidparse.video import Source, open_video

_ENOUGH_S = 10.0  # of the network's time in one arm, where no end is given
_FEWEST_FRAMES = 30


@dataclass(frozen=True, slots=True)
class BenchReport:
    """Medians over the repeats; times in seconds for the whole clip, or in ms by the name."""

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
    stages: tuple[StageTime, ...]  # of a serial run
    wall_s: float
    process_wall_s: float

    def cpu_s(self, name: str) -> float:
        return next(stage.cpu_s for stage in self.stages if stage.name == name)

    @property
    def network_wall_s(self) -> float:
        return next(stage.wall_s for stage in self.stages if stage.name == "network")

    @property
    def whole_cpu_s(self) -> float:
        return sum(stage.cpu_s for stage in self.stages)


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
    options = replace(checked(options), save=options.save or ("overlay",))
    check_names(one_or_several(options.save or ()), SINKS)
    runner = load_runner(options)
    frames, end_s, input_hw = _length(name, options, runner)
    options = replace(options, end_s=end_s)

    done = []
    for i in range(repeats):
        alone = _run(name, options, runner, overlap=False)
        together = _run(name, options, runner, overlap=options.overlap)
        done.append(_Repeat(alone.stages, together.wall_s, _process(name, options)))
        on_repeat(i + 1)
    return _report(name, options, runner, frames, input_hw, done)


def _run(name: str, options: SegmentOptions, runner: Runner, *, overlap: bool) -> RunReport:
    """The whole of `segment` on one input, its outputs thrown away."""
    with tempfile.TemporaryDirectory(prefix="vidparse-bench-") as folder:
        source = _open(name, options)
        sinks = make_sinks(options.save or (), source=name, out=f"{folder}/", options=options.sinks)
        return run(source, _session(runner, source, options), sinks, overlap=overlap)


def _process(name: str, options: SegmentOptions) -> float:
    """Wall seconds of `vidparse segment` as a process of its own."""
    with tempfile.TemporaryDirectory(prefix="vidparse-bench-") as folder:
        command = [sys.executable, "-m", "vidparse", "segment", name, "-o", f"{folder}/", "-q"]
        command += ["--save", ",".join(options.save or ()), "-m", os.fspath(options.model)]
        command += ["--backend", options.backend, "--device", options.device]
        command += ["--precision", options.precision, "--threads", str(options.threads)]
        command += [] if options.window is None else ["--window", str(options.window)]
        command += [] if options.linker is None else ["--linker", options.linker]

        if isinstance(options.size, tuple):
            command += ["--network-size", f"{options.size[1]}x{options.size[0]}"]
        elif options.size:
            command += ["--network-size", str(options.size)]

        if options.end_s is not None:
            command += ["--end", str(options.end_s)]

        # Time the process from outside, with start-up and loading as a user waits for them.
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wall = time.perf_counter() - start
    if done.returncode:
        raise VidparseError(f"bench: `{' '.join(command)}` failed: {done.stderr.strip()}")
    return wall


def _length(
    name: str, options: SegmentOptions, runner: Runner
) -> tuple[int, float | None, tuple[int, int]]:
    """Frames to measure, the moment that ends them, and the size of the network's input."""
    with closing(_open(name, options)) as source:
        session = _session(runner, source, options)
        clock = StageClock("network")
        answered = clock.through(session.answered, session.prepared(source))
        frames, times = 0, [Fraction(0)] * 2  # of the last two frames
        with closing(answered) as clips:
            # Run until the network has worked long enough for a steady figure.
            for frame in (frame for clip in clips for frame in clip.frames):
                times = [times[1], frame.pts * source.info.time_base]
                if frames == 0:
                    start = times[1]
                elif (
                    frames >= _FEWEST_FRAMES and clock.wall_s > _ENOUGH_S and options.end_s is None
                ):
                    # End halfway between two frames, where no rounding of times matters.
                    return frames, float(sum(times) / 2 - start), _input_hw(session, source)
                frames += 1

    if not frames:
        raise InputError(f"{name}: no frame could be decoded; check the file")
    return frames, options.end_s, _input_hw(session, source)


def _input_hw(session: Session, source: Source) -> tuple[int, int]:
    return session.input_size(source.info.size_hw)


def _open(name: str, options: SegmentOptions) -> Source:
    return open_video(name, end_s=options.end_s, copy_streams=options.sinks.audio)


def _session(runner: Runner, source: Source, options: SegmentOptions) -> Session:
    chosen = clip_options(options)
    chosen["size"] = options.size
    chosen["sample_aspect_ratio"] = source.info.sample_aspect_ratio
    return Session(runner, **chosen)


def _report(
    name: str,
    options: SegmentOptions,
    runner: Runner,
    frames: int,
    input_hw: tuple[int, int],
    done: list[_Repeat],
) -> BenchReport:
    cores = cpu_count()
    median = statistics.median

    # Take medians: single repeats are disturbed by whatever else runs on the machine.
    names = [stage.name for stage in done[0].stages]
    stages = {name: median([repeat.cpu_s(name) for repeat in done]) for name in names}
    network_cpu = stages.pop("network")
    other_cpu = median([repeat.whole_cpu_s - repeat.cpu_s("network") for repeat in done])
    network_wall = median([repeat.network_wall_s for repeat in done])
    wall = median([repeat.wall_s for repeat in done])
    process_wall = median([repeat.process_wall_s for repeat in done])
    floors = [repeat.whole_cpu_s / cores for repeat in done]

    # Name as bottleneck what takes longest, the network being spread over all cores.
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
        network_input_hw=input_hw,
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


def bench_record(report: BenchReport) -> dict[str, object]:
    """Plain values for `--json`."""
    return asdict(report)


__all__ = ["BenchReport", "bench", "bench_record"]
