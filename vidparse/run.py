"""`segment`: many inputs through one model into outputs; what the command line calls."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import cv2

from vidparse import __version__
from vidparse.errors import InputError, Interrupted, OutputError, UsageError, VidparseError
from vidparse.frame import Frame, VideoInfo
from vidparse.hub import DEFAULT_MODEL
from vidparse.inference import Runner, RunReport, Session, load_model, run
from vidparse.sinks import RunHeader, Sink, SinkOptions, make_sinks
from vidparse.video import ClosedPipe, RawPipe, expand_inputs, open_video

DEFAULT_SAVE = ("overlay", "masks")
STDIN = "-"


@dataclass(frozen=True, slots=True)
class SegmentOptions:
    """Everything `vidparse segment` can be told."""

    # what to write
    save: tuple[str, ...] | None = None  # names of sinks; None: overlay and masks (stdout: overlay)
    out: str | None = None  # directory, file name, or "-" for stdout; None: beside the input
    sinks: SinkOptions = field(default_factory=SinkOptions)
    classes: tuple[str, ...] | None = None  # keep only these

    # what to read
    start_s: float | None = None
    end_s: float | None = None
    stride: int = 1
    raw: RawPipe | None = None  # stdin holds raw frames like this
    image_rate: Fraction | None = None  # images per second of folders and patterns; None: 25

    # what to run
    model: str = DEFAULT_MODEL
    backend: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    size: int | tuple[int, int] | None = None  # network input: short side or (h, w)
    threads: int = 0
    overlap: bool = True
    argv: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InputResult:
    """What became of one input."""

    name: str
    outputs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    skipped: int = 0  # damaged packets or images passed over
    report: RunReport | None = None
    error: VidparseError | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """What a whole call did."""

    model: str
    weights_sha256: str
    backend: str
    device: str
    precision: str
    inputs: tuple[InputResult, ...]

    @property
    def exit_code(self) -> int:
        """0, the error's own code when there was one input, else 1 when some failed."""
        failed = [result.error for result in self.inputs if result.error is not None]
        if not failed:
            return 0
        if any(isinstance(error, Interrupted) for error in failed):
            return Interrupted.exit_code
        return failed[0].exit_code if len(self.inputs) == 1 else 1


class Watcher(Protocol):
    """Who is told how it goes; the command line draws a progress bar."""

    def begin(self, info: VideoInfo, stride: int) -> None: ...
    def frame(self, frame: Frame) -> None: ...
    def end(self, result: InputResult) -> None: ...


class Silent:
    """A watcher that does nothing."""

    def begin(self, info: VideoInfo, stride: int) -> None: ...
    def frame(self, frame: Frame) -> None: ...
    def end(self, result: InputResult) -> None: ...


def segment(
    inputs: Sequence[str],
    options: SegmentOptions | None = None,
    *,
    watcher: Watcher | None = None,
    stop: threading.Event | None = None,
) -> Summary:
    """Segment files, folders of images, patterns, samples or stdin ("-"), one after the other.

    One bad input does not stop the others: its error is in its result.

    Raises:
        UsageError: the request makes no sense. ModelError, DeviceError: nothing could be run.
    """
    options = options or SegmentOptions()
    watcher = watcher or Silent()
    stop = stop or threading.Event()
    names, results = _expanded(inputs)
    options = _settled(options, names)
    cv2.setNumThreads(1)  # the stages are the parallelism; a pool inside each would fight for cores
    runner = load_model(
        options.model,
        backend=options.backend,
        device=options.device,
        precision=options.precision,
        threads=options.threads,
    )
    labels = runner.description.labels
    class_ids = labels.select(options.classes) if options.classes is not None else None
    header = RunHeader(
        model=options.model,
        weights_sha256=runner.description.sha256,
        argv=options.argv,
        version=__version__,
        backend=runner.backend,
        device=runner.device,
        precision=runner.precision,
    )
    options = replace(options, sinks=replace(options.sinks, classes=class_ids, header=header))
    written: dict[str, str] = {}
    for result in results:
        watcher.end(result)
    for name in names:
        result = _segment_one(name, options, runner, written, watcher, stop)
        results.append(result)
        watcher.end(result)
        if stop.is_set():
            break
    return Summary(
        options.model,
        runner.description.sha256,
        runner.backend,
        runner.device,
        runner.precision,
        tuple(results),
    )


def _expanded(inputs: Sequence[str]) -> tuple[list[str], list[InputResult]]:
    """Input names with patterns and folders resolved, and results of those that match nothing."""
    names: list[str] = []
    missing = []
    for pattern in inputs:
        try:
            names += [name for name in expand_inputs([pattern]) if name not in names]
        except InputError as error:
            missing.append(InputResult(pattern, error=error))
    return names, missing


def _settled(options: SegmentOptions, names: Sequence[str]) -> SegmentOptions:
    """Defaults that depend on each other; refuses what can not work before anything is loaded."""
    if options.raw is not None and list(names) != [STDIN]:
        raise UsageError("--pipe raw: describes frames on stdin; give '-' as the only input")
    if names.count(STDIN) > 1:
        raise UsageError("'-': stdin can be read once; give it once")
    if options.out == STDIN and len(names) > 1:
        raise UsageError(f"-o -: stdout carries one video, not {len(names)}; use -o DIR/")
    save = options.save or (("overlay",) if options.out == STDIN else DEFAULT_SAVE)
    out = options.out
    if out not in (None, STDIN) and len(names) > 1 and not str(out).endswith("/"):
        if Path(str(out)).suffix and not Path(str(out)).is_dir():
            raise UsageError(f"-o {out}: one file for {len(names)} inputs; name a directory")
        out = f"{out}/"
    if options.stride < 1:
        raise UsageError(f"--stride {options.stride}: must be 1 or more")
    return replace(options, save=save, out=out)


def _segment_one(
    name: str,
    options: SegmentOptions,
    runner: Runner,
    written: dict[str, str],
    watcher: Watcher,
    stop: threading.Event,
) -> InputResult:
    """One input from opening to the last rename; expected errors end in its result."""
    sinks: list[Sink] = []
    source: Any = None
    error: VidparseError | None = None
    report: RunReport | None = None
    try:
        source = open_video(
            name,
            start_s=options.start_s,
            end_s=options.end_s,
            stride=options.stride,
            pipe=options.raw,
            copy_streams=options.sinks.audio,
            image_rate=options.image_rate,
        )
        sinks = make_sinks(
            options.save or (), source_name=name, out=options.out, options=options.sinks
        )
        _claim(sinks, name, written)
        session = Session(
            runner,
            size=options.size,
            classes=options.sinks.classes,
            sample_aspect_ratio=source.info.sample_aspect_ratio,
        )
        watcher.begin(source.info, options.stride)
        report = run(
            source, session, sinks, on_frame=watcher.frame, stop=stop, overlap=options.overlap
        )
    except ClosedPipe:
        pass  # whoever read our output has seen enough: a normal end
    except VidparseError as problem:
        error = problem
        if report is None and source is not None and not sinks:
            source.close()
    notes = [*(source.notes if source else ()), *(note for sink in sinks for note in sink.notes)]
    kept = error is None or isinstance(error, Interrupted) or error.exit_code == 3
    outputs = [path for sink in sinks for path in sink.outputs if kept and _is_there(path)]
    return InputResult(
        name, tuple(outputs), tuple(notes), source.skipped if source else 0, report, error
    )


def _claim(sinks: Sequence[Sink], name: str, written: dict[str, str]) -> None:
    """Two inputs of one call must not write the same output, --overwrite or not."""
    for sink in sinks:
        for path in sink.outputs:
            if path != STDIN and written.setdefault(path, name) != name:
                raise OutputError(
                    f"{name}: would overwrite {path} of {written[path]}; "
                    "segment them with different -o"
                )


def _is_there(path: str) -> bool:
    return path == STDIN or Path(path).exists()


def summary_record(summary: Summary) -> dict[str, Any]:
    """Plain values for `--json`."""

    def one(result: InputResult) -> dict[str, Any]:
        report = result.report
        record: dict[str, Any] = {
            "input": result.name,
            "outputs": list(result.outputs),
            "frames": report.frames if report else None,
            "skipped": result.skipped,
            "notes": list(result.notes),
            "error": str(result.error) if result.error else None,
            "exit_code": result.error.exit_code if result.error else 0,
        }
        if report:
            record["wall_s"] = round(report.wall_s, 4)
            record["fps"] = round(report.fps, 3)
            record["bottleneck"] = report.bottleneck
            record["stages_ms_per_frame"] = {
                stage.name: round(stage.ms_per_item, 3) for stage in report.stages
            }
        return record

    return {
        "schema": "vidparse-summary/1",
        "version": __version__,
        "model": summary.model,
        "weights_sha256": summary.weights_sha256,
        "backend": summary.backend,
        "device": summary.device,
        "precision": summary.precision,
        "exit_code": summary.exit_code,
        "inputs": [one(result) for result in summary.inputs],
    }
