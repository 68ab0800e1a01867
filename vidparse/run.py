"""`segment`: many inputs through one model into outputs; what the command line calls."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import cv2

from vidparse import __version__
from vidparse.addresses import masked
from vidparse.batch import STDIN, Batch, InputResult, Silent, Turn, Watcher, clip_options
from vidparse.errors import InputError, Interrupted, UsageError
from vidparse.filenames import PathText, one_or_several, plain_path
from vidparse.hub.known import select_classes
from vidparse.inference import Runner, decided, load_chosen
from vidparse.labels.colours import class_colours
from vidparse.limits import max_frames
from vidparse.requests.from_python import checked
from vidparse.requests.live import may_be_live
from vidparse.requests.outputs import RunHeader
from vidparse.requests.segment import DECODERS, SegmentOptions
from vidparse.sinks import SINKS, is_output
from vidparse.sinks.places import Places, places
from vidparse.sinks.targets import choose_outputs, with_implied
from vidparse.video import Input, expand_inputs
from vidparse.video.inputs import listed
from vidparse.video.source import select
from vidparse.workers import Sharing

if TYPE_CHECKING:
    from vidparse.ledger import Ledger

# Fields of options that change no output, or are noted in words of their own.
_NO_SETTINGS = {
    *("out", "model", "backend", "device", "precision", "threads", "decoder", "overlap"),
    *("workers", "jobs", "cluster", "ledger", "retry_failed", "argv"),
    *("sinks", "overwrite", "skip_existing", "header", "resume", "keep_parts"),
}


@dataclass(frozen=True, slots=True)
class Totals:
    """Numbers of the inputs of a call, by outcome, and of the frames of this call.

    done: this time or before. skipped: as their outputs were there. settled: of the done and the
    failed ones, those that an earlier call settled, as the ledger has it.
    """

    inputs: int
    done: int
    skipped: int
    failed: int
    settled: int
    frames: int
    wall_s: float  # of the call, from the first input on


@dataclass(frozen=True, slots=True)
class Summary:
    """The result of a whole call."""

    model: str
    weights_sha256: str
    backend: str
    device: str
    precision: str
    engine: str  # all three for people
    chosen: str  # why, where `auto` chose the backend; else ""
    inputs: tuple[InputResult, ...]
    wall_s: float  # from the first input on
    notes: tuple[str, ...] = ()  # on all inputs together

    @property
    def totals(self) -> Totals:
        """The inputs counted by outcome."""
        failed = sum(one.error is not None for one in self.inputs)
        skipped = sum(one.is_skipped for one in self.inputs)
        return Totals(
            len(self.inputs),
            len(self.inputs) - failed - skipped,
            skipped,
            failed,
            sum(one.settled for one in self.inputs),
            sum(one.frames for one in self.inputs),
            round(self.wall_s, 3),
        )

    @property
    def exit_code(self) -> int:
        """0; 130 after an interrupt; the error's own where there was one input; else 1."""
        failed = [result.error for result in self.inputs if result.error is not None]
        if not failed:
            return 0
        if any(isinstance(error, Interrupted) for error in failed):
            return Interrupted.exit_code
        return failed[0].exit_code if len(self.inputs) == 1 else 1


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
    options = checked(options or SegmentOptions())
    options.live.check()
    watcher = watcher or Silent()
    stop = stop or threading.Event()

    names = one_or_several(inputs)
    if not names:
        raise UsageError("inputs: none is given; name a file, a folder or several")
    found, failed = _expanded(names)
    found, notes = _with_notes_apart(found)
    options = _settled(options, found)
    sharing = _sharing(options, found)
    options = replace(options, threads=sharing.threads(options.threads))

    # Load the network only now: a wrong option must not take seconds to be refused.
    runner = load_runner(options)
    settings = _settings(options, runner)
    options = _with_network(options, runner, sharing)

    begun_s = time.perf_counter()
    watcher.batch(len(failed) + len(found), side_by_side=sharing.has_jobs)
    for result in failed:
        watcher.end(result)
    by_place: dict[int, InputResult] = {}
    with ExitStack() as held:
        ledger = _ledger(options, settings, held)
        placed = _placed(options, found, ledger)
        call = _Call(options, runner, watcher, stop, sharing, settings)
        for place, result in call.results(placed.inputs, ledger, held):
            by_place[place] = result
            watcher.end(result)

    results = [by_place.get(place) or _not_begun(one) for place, one in enumerate(found)]
    return Summary(
        os.fspath(options.model),
        runner.description.sha256,
        runner.backend,
        runner.device,
        runner.precision,
        runner.engine,
        runner.chosen,
        (*failed, *results),
        time.perf_counter() - begun_s,
        (*notes, *placed.notes),
    )


def _sharing(options: SegmentOptions, inputs: Sequence[Input]) -> Sharing:
    """The workers that a user wants. Raises: UsageError: they cannot have these inputs."""
    sharing = Sharing(options.workers, options.cluster, options.jobs)
    sharing.check()
    if sharing and STDIN in [one.name for one in inputs]:
        option = "--jobs" if sharing.has_jobs else "--workers"
        raise UsageError(f"{option}: stdin can be read at one place only; name a file")
    return sharing


def _with_network(options: SegmentOptions, runner: Runner, sharing: Sharing) -> SegmentOptions:
    """The options with what only a network knows: ids of classes, and the header of records.

    Raises:
        UsageError, InputError: the network or its labels cannot do it.
    """
    labels = runner.description.labels
    class_ids = None if options.classes is None else select_classes(labels, options.classes)

    # Refuse what the network cannot do before anything is opened.
    wishes = clip_options(options)
    wishes["classes"] = class_ids
    runner.session(**wishes)
    keyframes = options.keyframes is not None
    sharing.check_memory(runner, stabilize=options.stabilize, keyframes=keyframes)
    sinks = replace(options.sinks, classes=class_ids)
    for name in one_or_several(options.save or ()):
        SINKS[name].refuse(sinks, labels)
    if sinks.palette is not None:
        class_colours(labels, sinks.palette)  # a fault is reported once for all inputs

    header = RunHeader(
        model=os.fspath(options.model),
        weights_sha256=runner.description.sha256,
        argv=tuple(map(masked, options.argv)),
        version=__version__,
        backend=runner.backend,
        device=runner.device,
        precision=runner.precision,
    )
    return replace(options, sinks=replace(sinks, header=header))


def _ledger(options: SegmentOptions, settings: Mapping[str, str], held: ExitStack) -> Ledger | None:
    """The ledger that a user named. Raises: UsageError, OutputError: as `Ledger`."""
    if options.ledger is None:
        return None
    from vidparse.ledger import Ledger

    return held.enter_context(Ledger(options.ledger, settings))


def _placed(options: SegmentOptions, inputs: Sequence[Input], ledger: Ledger | None) -> Places:
    """The inputs with the places of their outputs."""
    return places(
        SINKS,
        one_or_several(options.save or ()),
        inputs=inputs,
        out=None if options.out is None else os.fspath(options.out),
        known=None if ledger is None else ledger.places(),
    )


@dataclass(frozen=True, slots=True)
class _Call:
    """All that a batch needs beside its inputs."""

    options: SegmentOptions
    runner: Runner
    watcher: Watcher
    stop: threading.Event
    sharing: Sharing
    settings: Mapping[str, str]

    def results(
        self, inputs: Sequence[Input], ledger: Ledger | None, held: ExitStack
    ) -> Iterator[tuple[int, InputResult]]:
        """Segment all inputs; the place and the result of each, as it comes.

        Args:
            held: closes its members at the end of the call; it has the workers now.

        Raises:
            UsageError, DeviceError: as `Batch` and `Sharing.crew`.
        """
        make = partial(Batch, inputs, self.options, self.runner, self.watcher, self.stop)
        choice = decided(self.options.choice, self.runner)
        if self.sharing.has_jobs:
            from vidparse.jobs import LotSetup, outcomes

            batch = make(ledger=ledger, settings=self.settings)
            jobs = held.enter_context(self.sharing.crew(LotSetup, choice, self.stop))
            return held.enter_context(closing(outcomes(batch, jobs)))

        # Segment in this process, with the help of a crew or without.
        crew = None
        if self.sharing:
            from vidparse.workers.job import RangeSetup

            # End the crew after the batch: videos that end early cancel ranges there.
            crew = held.enter_context(self.sharing.crew(RangeSetup, choice, self.stop))
        batch = make(crew=crew, ledger=ledger, settings=self.settings)
        return _in_turn(held.enter_context(batch))


def _not_begun(one: Input) -> InputResult:
    return InputResult(one.name, error=Interrupted(f"{one.name}: not begun; interrupted"))


def _in_turn(batch: Batch) -> Iterator[tuple[int, InputResult]]:
    """Segment all inputs of a batch, one after the other; place and result of each."""
    for place in range(len(batch.inputs)):
        if batch.stop.is_set():
            return
        yield place, Turn(batch, place).result()


def load_runner(options: SegmentOptions) -> Runner:
    """The network that the options name, in a process set up to run it."""
    cv2.setNumThreads(1)  # the stages are the parallelism; a pool inside each would fight for cores
    if options.fps is None:
        return load_chosen(options.choice)
    from vidparse.inference.pace import load_paced

    return load_paced(options.choice, options.fps)


def _settings(options: SegmentOptions, runner: Runner) -> dict[str, str]:
    """Settings that change outputs and are not the usual ones, for a ledger."""
    out = "beside the inputs" if options.out is None else str(plain_path(Path(options.out)))
    sha256 = runner.description.sha256

    # Name weights by what is in them: their file may be called from elsewhere.
    model = os.fspath(options.model)
    model = f"{Path(model).name if Path(model).exists() else model} {sha256}" if sha256 else model
    usual = SegmentOptions()
    found = {
        name: _words(value)
        for now, then in ((options, usual), (options.sinks, usual.sinks))
        for name in (field.name for field in fields(now))
        if name not in _NO_SETTINGS and (value := getattr(now, name)) != getattr(then, name)
    }
    if (most := max_frames()) is not None:
        found["max_frames"] = str(most)
    return {**found, "model": model, "out": out, "precision": runner.precision}


def _words(value: object) -> str:
    """A setting as users write it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _expanded(inputs: Sequence[str]) -> tuple[list[Input], list[InputResult]]:
    """Inputs with patterns and folders resolved, and results of those that match nothing."""
    found: dict[str, Input] = {}
    missing = []
    for pattern in listed(inputs):
        try:
            for one in expand_inputs([pattern], is_output=is_output):
                found.setdefault(one.identity, one)
        except InputError as error:
            missing.append(InputResult(masked(pattern), error=error))
    return list(found.values()), missing


def _with_notes_apart(inputs: Sequence[Input]) -> tuple[list[Input], tuple[str, ...]]:
    """Several inputs, and the notes on the folders that they come from: they are of none alone."""
    if len(inputs) < 2:
        return list(inputs), ()
    notes = tuple(note for one in inputs for note in one.notes)
    return [replace(one, notes=()) for one in inputs], notes


def _settled(options: SegmentOptions, inputs: Sequence[Input]) -> SegmentOptions:
    """Defaults that depend on each other; refuses what cannot work before anything is loaded."""
    if options.raw is not None and [one.name for one in inputs] != [STDIN]:
        raise UsageError("--pipe raw: describes frames on stdin; give '-' as the only input")
    if options.decoder not in DECODERS:
        raise UsageError(f"decoder '{options.decoder}': unknown; use {', '.join(DECODERS)}")
    if options.ledger is not None and options.sinks.skip_existing:
        raise UsageError("--ledger and --skip-existing: give one of them; a ledger knows the rest")
    if options.retry_failed and options.ledger is None:
        raise UsageError("--retry-failed: no --ledger knows which; add one")
    select(options.start_s, options.end_s, options.stride)
    _check_pace(options)
    for one in inputs:
        if may_be_live(one.address, options.live):
            from vidparse.live import is_live

            is_live(one, options.live)
    save = None if options.save is None else one_or_several(options.save)
    out = None if options.out is None else os.fspath(options.out)
    classes = None if options.classes is None else one_or_several(options.classes)
    save = with_implied(SINKS, save, options.sinks)
    save, out = choose_outputs(SINKS, save, out, inputs=inputs)
    sinks = replace(options.sinks, keep_parts=not options.resume)
    options = replace(options, save=save, out=out, classes=classes, sinks=sinks)
    if options.live.rotate is not None:
        from vidparse.sinks.rotating import check_rotation

        known = {
            "--ledger": options.ledger is not None,
            "--skip-existing": options.sinks.skip_existing,
            "--resume": options.resume,
        }
        check_rotation(save, out, next((name for name, given in known.items() if given), ""))
    if options.resume:
        from vidparse.resume import check_resume

        check_resume(options, inputs)
    return options


def _check_pace(options: SegmentOptions) -> None:
    """Refuse what does not go with a rate to keep up with."""
    if options.fps is None:
        return
    from vidparse.inference.load import model_names
    from vidparse.inference.pace import check_rate

    check_rate(options.fps)
    others = {
        "--keyframes": options.keyframes is not None,
        "--workers": options.workers > 1,
        "--cluster": options.cluster is not None and not options.jobs,
        "--resume": options.resume,
        "--decoder gpu": options.decoder == "gpu",
        options.variants.words: not options.variants.is_plain,
        "several models": len(model_names(os.fspath(options.model))) > 1,
    }
    for name, is_given in others.items():
        if is_given:
            raise UsageError(
                f"--fps and {name}: give one of them; --fps follows the machine's load"
            )
