"""`segment`: many inputs through one model into outputs; what the command line calls."""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import cv2

from vidparse import __version__
from vidparse.errors import (
    ClosedPipe,
    InputError,
    Interrupted,
    TruncatedError,
    UsageError,
    VidparseError,
    counted,
    expected,
)
from vidparse.filenames import PathText, one_or_several
from vidparse.frame import Frame, VideoInfo
from vidparse.hub import DEFAULT_MODEL
from vidparse.hub.bundled import select_classes
from vidparse.inference import (
    Merging,
    Runner,
    RunReport,
    Session,
    engine_and_reason,
    load_model,
    run,
)
from vidparse.inference.cuts import DEFAULT_THRESHOLD
from vidparse.sinks import (
    SINKS,
    Protected,
    RunHeader,
    Sink,
    SinkOptions,
    is_output,
    make_sinks,
)
from vidparse.sinks.palette import class_colours
from vidparse.sinks.pictures import is_numbered, numbered_files
from vidparse.sinks.targets import choose_outputs, missing_outputs
from vidparse.summary import InputResult, Summary
from vidparse.video import Input, RawPipe, expand_inputs, open_video
from vidparse.video.source import select
from vidparse.workers import (
    NOT_CUT,
    Crew,
    SharedSession,
    Sharing,
    check_memory,
    shared_session,
)

log = logging.getLogger(__name__)

STDIN = "-"


@dataclass(frozen=True, slots=True)
class SegmentOptions:
    """Everything `vidparse segment` can be told."""

    # what to write
    # names of sinks; None: overlay and masks (stdout: overlay)
    save: str | tuple[str, ...] | None = None
    out: PathText | None = None  # directory, file name, or "-" for stdout; None: beside the input
    sinks: SinkOptions = field(default_factory=SinkOptions)
    classes: str | tuple[str, ...] | None = None  # keep only these

    # what to read
    start_s: float | None = None
    end_s: float | None = None
    stride: int = 1
    raw: RawPipe | None = None  # stdin holds raw frames like this
    image_rate: Fraction | None = None  # images per second of folders and patterns; None: 25
    track: int | None = None  # which of several video tracks, from 1; None: the best

    # what to run
    model: PathText = DEFAULT_MODEL
    backend: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    size: int | tuple[int, int] | None = None  # network input: short side or (h, w)
    cut: float | None = DEFAULT_THRESHOLD  # networks with a memory forget at hard cuts; None: never
    threads: int = 0
    stabilize: bool = False  # blend scores along the motion, against flicker
    window: int | None = None  # frames of a clip, of networks that take any number
    linker: str | None = None  # of LINKERS: how ids of objects go from clip to clip
    merging: Merging | None = None  # how panoptic networks make segments of masks
    task: str = "auto"  # "semantic", "instance" or "panoptic", for checkpoints that do several
    overlap: bool = True
    workers: int = 0  # processes that share a video; 0 or 1: this one alone
    cluster: str | None = None  # address of a Ray cluster that has the workers, or "auto"
    argv: tuple[str, ...] = ()


class Watcher(Protocol):
    """Who is told how it goes; the command line draws a progress bar.

    `begin` comes once an input was opened, with the frames to expect (None when nobody knows);
    `end` comes once for every input.
    """

    def begin(self, info: VideoInfo, frames: int | None) -> None: ...
    def frame(self, frame: Frame) -> None: ...
    def end(self, result: InputResult) -> None: ...


class Silent:
    """A watcher that does nothing."""

    def begin(self, info: VideoInfo, frames: int | None) -> None: ...
    def frame(self, frame: Frame) -> None: ...
    def end(self, result: InputResult) -> None: ...


def segment(
    inputs: PathText | Iterable[PathText],
    options: SegmentOptions | None = None,
    *,
    watcher: Watcher | None = None,
    stop: threading.Event | None = None,
) -> Summary:
    """Segment files, folders of images, patterns, samples or stdin ("-"), one after the other.

    One bad input does not stop the others: its error is in its result.

    Args:
        inputs: one path, or several. A string is one path, as everywhere.

    Raises:
        UsageError: the request makes no sense. ModelError, DeviceError: nothing could be run.
    """
    options = options or SegmentOptions()
    watcher = watcher or Silent()
    stop = stop or threading.Event()

    names = one_or_several(inputs)
    if not names:
        raise UsageError("inputs: none is given; name a file, a folder or several")
    found, results = _expanded(names)
    options = _settled(options, found)
    sharing = Sharing(options.workers, options.cluster)
    sharing.check()
    if sharing and STDIN in [one.name for one in found]:
        raise UsageError("--workers: stdin can be read at one place only; name a file")
    options = replace(options, threads=sharing.threads(options.threads))
    runner = load_runner(options)
    runner.session(**clip_options(options))  # refuses what it cannot do, before anything is opened
    if sharing:
        check_memory(runner, stabilize=options.stabilize)
    labels = runner.description.labels
    class_ids = None if options.classes is None else select_classes(labels, options.classes)
    if options.sinks.palette is not None:
        class_colours(labels, options.sinks.palette)  # said once, not for every input

    header = RunHeader(
        model=os.fspath(options.model),
        weights_sha256=runner.description.sha256,
        argv=options.argv,
        version=__version__,
        backend=runner.backend,
        device=runner.device,
        precision=runner.precision,
    )
    options = replace(options, sinks=replace(options.sinks, classes=class_ids, header=header))

    written: dict[str, str] = {}
    protected = Protected(found)
    for result in results:
        watcher.end(result)
    with ExitStack() as closing:
        crew = None
        if sharing:
            crew = closing.enter_context(sharing.crew(_model_settings(options), stop))
        for one in found:
            if stop.is_set():
                error = Interrupted(f"{one.name}: not begun; interrupted")
                results.append(InputResult(one.name, error=error))
                continue
            result = _segment_one(one, protected, options, runner, crew, written, watcher, stop)
            results.append(result)
            watcher.end(result)

    return Summary(
        os.fspath(options.model),
        runner.description.sha256,
        runner.backend,
        runner.device,
        runner.precision,
        runner.engine,
        runner.chosen,
        tuple(results),
    )


def load_runner(options: SegmentOptions) -> Runner:
    """The network that the options ask for, in a process set up to run it."""
    cv2.setNumThreads(1)  # the stages are the parallelism; a pool inside each would fight for cores
    return load_model(**_model_settings(options))


def _model_settings(options: SegmentOptions) -> dict[str, Any]:
    """Arguments of `load_model`."""
    return {
        "name": os.fspath(options.model),
        "backend": options.backend,
        "device": options.device,
        "precision": options.precision,
        "threads": options.threads,
        "task": options.task,
    }


def clip_options(options: SegmentOptions) -> dict[str, Any]:
    """The options of a session about clips and their segments."""
    return {"window": options.window, "linker": options.linker, "merging": options.merging}


def _expanded(inputs: Sequence[str]) -> tuple[list[Input], list[InputResult]]:
    """Inputs with patterns and folders resolved, and results of those that match nothing."""
    found: dict[str, Input] = {}
    missing = []
    for pattern in inputs:
        try:
            for one in expand_inputs([pattern], is_output=is_output):
                found.setdefault(one.name, one)
        except InputError as error:
            missing.append(InputResult(pattern, error=error))
    return list(found.values()), missing


def _settled(options: SegmentOptions, inputs: Sequence[Input]) -> SegmentOptions:
    """Defaults that depend on each other; refuses what cannot work before anything is loaded."""
    if options.raw is not None and [one.name for one in inputs] != [STDIN]:
        raise UsageError("--pipe raw: describes frames on stdin; give '-' as the only input")
    select(options.start_s, options.end_s, options.stride)
    save = None if options.save is None else one_or_several(options.save)
    out = None if options.out is None else os.fspath(options.out)
    classes = None if options.classes is None else one_or_several(options.classes)
    save, out = choose_outputs(SINKS, save, out, inputs=inputs)
    return replace(options, save=save, out=out, classes=classes)


def _segment_one(
    one: Input,
    protected: Protected,
    options: SegmentOptions,
    runner: Runner,
    crew: Crew | None,
    written: dict[str, str],
    watcher: Watcher,
    stop: threading.Event,
) -> InputResult:
    """One of the inputs from opening to the last rename; its errors end in its result."""
    name = one.name
    sinks: list[Sink] = []
    source: Any = None
    error: VidparseError | None = None
    report: RunReport | None = None
    shared: SharedSession | None = None
    notes: list[str] = []
    frames = 0

    def count(frame: Frame) -> None:
        nonlocal frames
        frames += 1
        watcher.frame(frame)

    try:
        save = options.save or ()
        if options.sinks.skip_existing:
            save, there = missing_outputs(SINKS, save, source=one, out=options.out, taken=written)
            written.update((path, name) for path in there)
            if not save:
                return InputResult(name, notes=("skipped: its outputs are there",))
        reading: dict[str, Any] = {"image_rate": options.image_rate, "track": options.track}
        source = open_video(
            one,
            start_s=options.start_s,
            end_s=options.end_s,
            stride=options.stride,
            pipe=options.raw,
            copy_streams=options.sinks.audio,
            **reading,
        )
        sinks = make_sinks(
            save,
            source=one,
            out=options.out,
            options=options.sinks,
            taken=written,
            protected=protected,
        )
        written.update((path, name) for sink in sinks for path in sink.outputs)
        settings = {
            "size": options.size,
            "classes": options.sinks.classes,
            "sample_aspect_ratio": source.info.sample_aspect_ratio,
            "cut": options.cut,
            "stabilize": options.stabilize,
            **clip_options(options),
        }
        session = Session(runner, **settings)
        if crew is not None:
            shared = shared_session(
                session,
                crew,
                source,
                one,
                stride=options.stride,
                reading=reading,
                settings=settings,
            )
            notes += [] if shared else [NOT_CUT]
        watcher.begin(source.info, _expected_frames(source.info, options))
        report = run(
            source, shared or session, sinks, on_frame=count, stop=stop, overlap=options.overlap
        )
    except ClosedPipe:
        pass  # whoever read our output has seen enough: a normal end
    except (Exception, KeyboardInterrupt) as problem:
        if isinstance(problem, KeyboardInterrupt) and not stop.is_set():
            raise  # nobody but the caller handles it
        log.debug("%s", name, exc_info=problem)
        error = _expected_error(problem, name, frames, stopped=stop.is_set())
        if source is not None and not sinks:
            source.close()
    notes = [*one.notes, *(source.notes if source else ()), *notes]
    notes += (note for sink in sinks for note in sink.notes)
    kept = error is None or (frames > 0 and isinstance(error, Interrupted | TruncatedError))
    outputs = [path for sink in sinks for path in sink.outputs if kept and _is_there(path)]
    skipped = source.skipped if source else 0
    engine = engine_and_reason(runner)
    if shared is not None and crew is not None:
        engine = f"{counted(crew.count, 'worker')} of {engine}"
        notes += shared.notes
    return InputResult(name, tuple(outputs), tuple(notes), frames, skipped, report, error, engine)


def _expected_error(
    problem: BaseException, name: str, frames: int, *, stopped: bool
) -> VidparseError:
    """Any failure as one line, so that the other inputs of a batch still have their turn."""
    # The signal broke a read or an opening, or an import, which may end in any error.
    if stopped and (isinstance(problem, InputError) or not isinstance(problem, VidparseError)):
        when = f"after {counted(frames, 'frame')}" if frames else "before any frame"
        return Interrupted(f"{name}: interrupted {when}")
    if isinstance(problem, KeyboardInterrupt):
        return Interrupted(f"{name}: interrupted after {counted(frames, 'frame')}")
    return expected(problem, name)


def _expected_frames(info: VideoInfo, options: SegmentOptions) -> int | None:
    """How many frames a range of a video should have, by what its header says; None if nothing."""
    rate, start_s, end_s = info.known_rate, options.start_s or 0, options.end_s or math.inf
    duration_s = info.duration_s or (info.frames / rate if info.frames and rate else math.inf)
    if info.frames and not start_s and end_s >= duration_s:  # all of it, as the header counts
        return math.ceil(info.frames / options.stride)

    range_s = min(end_s, duration_s) - start_s
    if not rate or not 0 < range_s < math.inf:
        return info.frames
    return max(1, math.ceil(round(range_s * rate) / options.stride))


def _is_there(path: str) -> bool:
    at = Path(path)
    return path == STDIN or at.exists() or (is_numbered(at) and any(numbered_files(at)))
