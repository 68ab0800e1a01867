"""A batch: the inputs of a call, each from opening to the last rename, and what they share."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

from vidparse.arrival import LiveReport
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
from vidparse.filenames import one_or_several
from vidparse.frame import Frame, VideoInfo
from vidparse.inference import (
    Runner,
    RunReport,
    Session,
    SessionOptions,
    Stages,
    engine_and_reason,
    run,
)
from vidparse.requests.live import may_be_live
from vidparse.requests.matte import MatteOptions
from vidparse.requests.segment import SegmentOptions
from vidparse.sinks import SINKS, Protected, Sink, make_sinks
from vidparse.sinks.pictures import is_numbered, numbered_files
from vidparse.sinks.targets import journal_folder, missing_outputs
from vidparse.video import NVDEC, Input, ReadingOptions, open_video
from vidparse.video.first_frames import FirstFrames, limited
from vidparse.video.source import Source, select

if TYPE_CHECKING:
    from vidparse.inference.gpu.session import GpuSession
    from vidparse.inference.pace import PacedStages, PaceReport
    from vidparse.ledger import Ledger
    from vidparse.live import LiveStages
    from vidparse.resume import Journal
    from vidparse.workers import Begun, RangeCrew, SharedSession

    AnySession = Session | SharedSession | GpuSession | PacedStages | LiveStages

log = logging.getLogger(__name__)

STDIN = "-"


@dataclass(frozen=True, slots=True)
class InputResult:
    """The result for one input."""

    name: str
    outputs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    frames: int = 0  # that went into the outputs
    skipped: int = 0  # damaged packets or images passed over
    redone: int = 0  # ranges done again, after a worker was killed
    report: RunReport | None = None
    error: VidparseError | None = None
    engine: str = ""  # what the network ran in, and why
    settled: bool = False  # by an earlier call, as the ledger has it
    live: LiveReport | None = None  # of a live input
    pace: PaceReport | None = None  # where a rate was to be kept up with
    is_skipped: bool = False  # as its outputs were there


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that is known once an input's turn is over.

    written: outputs, of which some may have come up on the way. seconds: the turn took.
    """

    result: InputResult
    written: tuple[str, ...] = ()
    seconds: float = 0.0


class Watcher(Protocol):
    """Receives the progress of a run; the command line draws a bar.

    `batch` comes first, with the number of inputs, and with True where they are segmented side by
    side: then `begin` and `frame` do not come. `begin` comes once an input was opened, with the
    frames to expect (None when nobody knows); `end` comes once for every input. `say`
    gets lines for the user at once: that a live input is lost, or back.
    """

    def batch(self, inputs: int, *, side_by_side: bool) -> None: ...
    def begin(self, info: VideoInfo, frames: int | None) -> None: ...
    def frame(self, frame: Frame) -> None: ...
    def end(self, result: InputResult) -> None: ...
    def say(self, text: str) -> None: ...


class Silent:
    """A watcher that does nothing."""

    def batch(self, inputs: int, *, side_by_side: bool) -> None: ...
    def begin(self, info: VideoInfo, frames: int | None) -> None: ...
    def frame(self, frame: Frame) -> None: ...
    def end(self, result: InputResult) -> None: ...
    def say(self, text: str) -> None: ...


def clip_options(options: SegmentOptions) -> SessionOptions:
    """The options of a session about its network, apart from the size of its input."""
    return {
        "stabilize": options.stabilize,
        "keyframes": options.keyframes,
        "window": options.window,
        "linker": options.linker,
        "merging": options.merging,
        "matte": _matte(options),
    }


def _matte(options: SegmentOptions) -> MatteOptions | None:
    """The mattes that outputs need; None where none does."""
    save = one_or_several(options.save or ())
    return options.sinks.mattes if any(SINKS[name].needs_mattes for name in save) else None


def _carry_sound(save: Sequence[str]) -> bool:
    """True where an output carries the sound along; else nobody need read it."""
    return any(SINKS[name].copies_streams for name in one_or_several(save))


class Batch:
    """The inputs of a call, and all that they share.

    Attributes:
        written: outputs of the inputs so far, each with the input it is of.
        protected: the inputs, of which no output may take the place.
        queue: what the workers have begun with; None where this process segments alone.
        paced: the stages under way that keep up with a rate; None without `--fps`.
    """

    def __init__(
        self,
        inputs: Sequence[Input],
        options: SegmentOptions,
        runner: Runner,
        watcher: Watcher,
        stop: threading.Event,
        crew: RangeCrew | None = None,
        ledger: Ledger | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.inputs, self.options, self.runner = inputs, options, runner
        self.ledger, self.settings = ledger, settings or {}
        self.watcher, self.stop, self.crew = watcher, stop, crew
        self.written: dict[str, str] = {}
        self.protected = Protected(inputs)
        self.gpu: int | None = None
        if crew is None and runner.device != "cpu" and options.fps is None:
            from vidparse.inference.gpu import gpu_of

            self.gpu = gpu_of(runner, clip_options(options))
        if self.gpu is None and options.decoder == "gpu":
            where = "the network runs on the CPU"
            if runner.device != "cpu":
                where = "with these options the pictures are wanted on the CPU"
            raise UsageError(f"decoder gpu: {where}; use --decoder auto")
        self.paced: PacedStages | None = None
        self.queue = None
        if crew is not None:
            from vidparse.workers import InputQueue

            self.queue = InputQueue(crew, inputs, wanted=self._is_wanted, opened=self._begun)
        self._reading: ReadingOptions = {"image_rate": options.image_rate, "track": options.track}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.queue is not None:
            self.queue.close()

    def settled(self, one: Input) -> InputResult | None:
        """The result of an earlier call, as the ledger has it; None where there is work to do."""
        entry = self.ledger.entry(one) if self.ledger is not None else None
        if entry is None:
            return None
        if entry.is_done:
            self.written.update((path, one.name) for path in entry.outputs)
            return InputResult(one.name, entry.outputs, settled=True)
        if entry.failure is not None and not self.options.retry_failed:
            return InputResult(one.name, error=entry.failure, settled=True)
        return None

    def _is_wanted(self, one: Input) -> bool:
        return self.settled(one) is None and bool(self.missing(one)[0])

    def missing(self, one: Input) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names of the outputs to be made of an input, and paths of those that are there."""
        save = tuple(self.options.save or ())
        if not self.options.sinks.skip_existing:
            return save, ()
        return missing_outputs(SINKS, save, source=one, out=self.options.out, taken=self.written)

    def open(self, one: Input) -> Source:
        """Raises: UsageError, InputError: as `open_video`."""
        options = self.options
        if may_be_live(one.address, options.live) and (live := self._open_live(one)) is not None:
            return limited(live)
        source = open_video(
            one,
            start_s=options.start_s,
            end_s=options.end_s,
            stride=options.stride,
            pipe=options.raw,
            copy_streams=options.sinks.audio and _carry_sound(options.save or ()),
            device=None if options.decoder == "cpu" else self.gpu,
            **self._reading,
        )
        if options.decoder == "gpu" and source.decoded_on != NVDEC:
            source.close()
            why = source.decoded_on or "it is no video file"
            raise InputError(f"{one.name}: decoder gpu: {why}; use --decoder auto")
        return limited(source)

    def _open_live(self, one: Input) -> Source | None:
        """A live input; None for a video that lies at an address."""
        from vidparse.live import Opening, open_live

        options = self.options
        opening = Opening(
            one,
            options.live,
            self.stop,
            copy_streams=options.sinks.audio and _carry_sound(options.save or ()),
            track=options.track,
            raw=options.raw,
        )
        selection = select(options.start_s, options.end_s, options.stride)
        return open_live(opening, selection, say=self.watcher.say)

    def journal(self, one: Input) -> Journal | None:
        """The journal of an input with --resume, as an earlier call left it, or a new one.

        Raises:
            UsageError, OutputError: as `Journal`.
        """
        if not self.options.resume:
            return None
        from vidparse.resume import Journal, job_of

        folder = self._journal_folder(one)
        assert folder is not None  # streams were refused
        return Journal(folder, job_of(one, self.options, self.runner, self.settings))

    def completed(self, one: Input) -> InputResult | None:
        """The result of an earlier call with --resume that made all of this very job, if any did.

        Raises:
            UsageError, OutputError: as `Journal`.
        """
        if not self.has_journal(one):
            return None
        journal = self.journal(one)
        assert journal is not None
        journal.close()
        if not journal.made:
            return None
        outputs = tuple(made.path for made in journal.made)
        self.written.update((path, one.name) for path in outputs)
        note = "already complete"
        return InputResult(one.name, outputs, (note,), settled=True)

    def made_anew(self, one: Input) -> tuple[str, ...]:
        """Remove the journal of an earlier call with --resume that is outdated now; notes of it."""
        if self.options.resume or self.options.live.rotate is not None:
            return ()
        folder = self._journal_folder(one)
        if folder is None or not folder.exists():
            return ()
        from vidparse.resume import remove_stale

        if not remove_stale(folder):
            return ()
        return (f"removed {folder}: the outputs that it was to go on with are made anew",)

    def has_attempted(self, one: Input) -> bool:
        """True where outputs of an attempt before may be there, which are ours to replace."""
        entry = self.ledger.entry(one) if self.ledger is not None else None
        return entry is not None and bool(entry.outputs)

    def has_journal(self, one: Input) -> bool:
        """True where an attempt before has left a journal."""
        if not self.options.resume:
            return False
        folder = self._journal_folder(one)
        return folder is not None and folder.exists()

    def _journal_folder(self, one: Input) -> Path | None:
        save = tuple(self.options.save or ())
        return journal_folder(SINKS, save, source=one, out=self.options.out)

    def sinks(self, one: Input, save: Sequence[str], *, replaces: bool) -> list[Sink]:
        """Raises: UsageError, OutputError: as `make_sinks`."""
        options, ledger = self.options.sinks, self.ledger
        if replaces:
            keeps = options.keep_parts and not options.skip_existing
            options = replace(options, overwrite=True, skip_existing=False, keep_parts=keeps)

        live = self.options.live
        if live.rotate is not None:
            from vidparse.sinks.rotating import rotating

            pieces = rotating(
                save,
                live.rotate,
                source=one,
                out=self.options.out,
                options=options,
                taken=self.written,
                protected=self.protected,
            )
            return [pieces]

        sinks = make_sinks(
            save,
            source=one,
            out=self.options.out,
            options=options,
            taken=self.written,
            protected=self.protected,
        )
        if ledger is not None:
            # Name the place of outputs that come up on the way, too.
            names = [path for one in sinks for path in one.outputs or (one.target.name,)]
            ledger.begin(one, names)
        self.written.update((path, one.name) for sink in sinks for path in sink.outputs)
        return sinks

    def note(self, one: Input, outcome: Outcome) -> None:
        """Note the outcome in the ledger; what was interrupted stays begun, to be done again."""
        result = outcome.result
        if self.ledger is not None and not isinstance(result.error, Interrupted):
            self.ledger.end(
                one,
                result.error,
                outputs=outcome.written,
                seconds=outcome.seconds,
                frames=result.frames,
            )

    def session(self, one: Input, source: Source) -> AnySession:
        """Raises: UsageError: as `Session`."""
        session = self._session(one, source)
        if source.live is None:
            return session
        from vidparse.live import LiveSource, LiveStages

        live = source.source if isinstance(source, FirstFrames) else source
        assert isinstance(live, LiveSource)
        return LiveStages(session, live, max_latency_s=self.options.live.max_latency_s)

    def _session(
        self, one: Input, source: Source
    ) -> Session | SharedSession | GpuSession | PacedStages:
        options = self.options
        settings: SessionOptions = {
            "size": options.size,
            "classes": options.sinks.classes,
            "sample_aspect_ratio": source.info.sample_aspect_ratio,
            "cut": options.cut,
            **clip_options(options),
        }
        if self.gpu is not None:
            from vidparse.inference.gpu.session import GpuSession

            return GpuSession(self.runner, **settings)
        session = Session(self.runner, **settings)
        if options.fps is not None:
            from vidparse.inference.pace import PacedStages

            self.paced = PacedStages(session, options.fps)
            return self.paced
        if self.crew is None or self.queue is None:
            return session

        from vidparse.workers import shared_session

        shared = shared_session(
            session,
            self.crew,
            source,
            one,
            stride=options.stride,
            reading=self._reading,
            settings=settings,
            on_room=self.queue.begin_next,
        )
        return shared or session

    def _begun(self, one: Input) -> Begun | None:
        """An input for the workers before its turn; its errors, if any, are for its turn."""
        if one.path is None or not (one.path.is_file() or one.path.is_dir()):
            return None  # a pipe can be opened once
        try:
            source = self.open(one)
            session = self.session(one, source)
        except Exception as error:
            log.debug("%s: not begun before its turn", one.name, exc_info=error)
            return None
        shared = _shared(session, self.crew)
        if shared is not None:
            from vidparse.workers import Begun

            return Begun(source, shared)
        source.close()
        return None


def _shared(session: AnySession | None, crew: RangeCrew | None) -> SharedSession | None:
    """The session, where it is one whose video workers share."""
    if crew is None:
        return None
    from vidparse.workers import SharedSession

    return session if isinstance(session, SharedSession) else None


class Turn:
    """One of the inputs, from opening to the last rename.

    Attributes:
        replaces: outputs that are there are replaced.
    """

    def __init__(self, batch: Batch, place: int, *, replaces: bool = False) -> None:
        self._batch, self._place, self._one = batch, place, batch.inputs[place]
        self.replaces = replaces or batch.has_attempted(self._one)
        self._source: Source | None = None
        self._session: AnySession | None = None
        self._sinks: list[Sink] = []
        self._journal: Journal | None = None
        self._notes: tuple[str, ...] = ()
        self._frames = 0

    def result(self) -> InputResult:
        """Segment the input, and note its outcome; its errors end in its result."""
        return self._noted(self.outcome())

    def _noted(self, outcome: Outcome) -> InputResult:
        ledger = self._batch.ledger
        if ledger is not None and not self._sinks and outcome.result.error is not None:
            ledger.begin(self._one)  # it failed before it was noted
        self._batch.note(self._one, outcome)
        return outcome.result

    def outcome(self) -> Outcome:
        """Segment the input; its errors end in its result."""
        batch, name = self._batch, self._one.name
        error: VidparseError | None = None
        report: RunReport | None = None
        begun_s = time.perf_counter()

        try:
            save = self._missing()
            if not save:
                return Outcome(self._skipped())
            if (complete := batch.completed(self._one)) is not None:
                return Outcome(complete)
            report = self._run(save)
        except ClosedPipe:
            pass  # whoever read our output has seen enough: a normal end
        except (Exception, KeyboardInterrupt) as problem:
            if isinstance(problem, KeyboardInterrupt) and not batch.stop.is_set():
                raise  # nobody but the caller handles it
            log.debug("%s", name, exc_info=problem)
            error = _expected_error(problem, name, self._frames, stopped=batch.stop.is_set())
            if self._journal is not None:
                error = self._journal.with_way_on(error)

        written = tuple(path for sink in self._sinks for path in sink.outputs)
        return Outcome(self._result(report, error), written, time.perf_counter() - begun_s)

    def planned(self) -> InputResult | None:
        """Take the names of the outputs, for a worker to write them; a result where it need not.

        None: the input is to be segmented.
        """
        try:
            save = self._missing()
            if not save:
                return self._skipped()
            if (complete := self._batch.completed(self._one)) is not None:
                return complete
            # Let the worker look into the journal: it will have it open.
            replaces = self.replaces or self._batch.has_journal(self._one)
            self._batch.sinks(self._one, save, replaces=replaces)
        except VidparseError as error:
            return self._noted(Outcome(InputResult(self._one.name, error=error)))
        return None

    def _missing(self) -> tuple[str, ...]:
        """The outputs to be made. Those that are there are taken: no later input may have them."""
        save, there = self._batch.missing(self._one)
        self._batch.written.update((path, self._one.name) for path in there)
        return save

    def _skipped(self) -> InputResult:
        note = "skipped: its outputs are there"
        return InputResult(self._one.name, notes=(note,), is_skipped=True)

    def _run(self, save: Sequence[str]) -> RunReport:
        batch, one = self._batch, self._one

        # What was begun or opened is closed here until the pipeline closes it.
        with ExitStack() as closing:
            begun = batch.queue.begun(self._place) if batch.queue is not None else None
            self._source = source = begun.source if begun is not None else batch.open(one)
            closing.callback(source.close)
            if begun is not None:
                closing.callback(begun.close)
            self._journal = journal = batch.journal(one)
            if journal is not None:
                closing.callback(journal.close)
                self.replaces |= journal.is_found
            self._sinks = batch.sinks(one, save, replaces=self.replaces)
            self._session = session = begun.session if begun else batch.session(one, source)
            closing.pop_all()

        options = batch.options
        frames = source.info.frames_between(options.start_s, options.end_s, options.stride)
        batch.watcher.begin(source.info, frames)
        try:
            with ExitStack() as keeping:
                stages: Stages = session
                if journal is not None:
                    from vidparse.resume import JournaledStages

                    keeping.enter_context(journal)
                    stages = JournaledStages(session, journal)  # type: ignore[arg-type]
                report = run(
                    source,
                    stages,
                    self._sinks,
                    on_frame=self._count,
                    stop=batch.stop,
                    overlap=options.overlap,
                )

                # Leave a record that the job is done, unless a ledger has it.
                if journal is not None and options.ledger is None:
                    journal.completed([path for sink in self._sinks for path in sink.outputs])
            self._notes = batch.made_anew(one)
            return report
        finally:
            shared = _shared(session, batch.crew)
            if shared is not None:
                shared.let_go()

    def _count(self, frame: Frame) -> None:
        self._frames += 1
        if self._source is not None:
            self._source.written(frame)
        self._batch.watcher.frame(frame)

    def _result(self, report: RunReport | None, error: VidparseError | None) -> InputResult:
        source, session, crew = self._source, self._session, self._batch.crew
        shared = _shared(session, crew)
        engine = engine_and_reason(self._batch.runner)
        if source is not None and source.decoded_on:
            how = source.decoded_on
            engine = f"{engine}; {f'decoded by {NVDEC}' if how == NVDEC else how}"
        notes = [*self._one.notes, *(source.notes if source is not None else ())]
        if shared is not None and crew is not None:
            engine = f"{counted(crew.count, 'worker')} of {engine}"
        elif session is not None and crew is not None:
            from vidparse.workers import NOT_CUT

            notes.append(NOT_CUT)
        notes += (note for sink in self._sinks for note in sink.notes)
        paced = self._batch.paced if session is not None else None
        pace = None if paced is None else paced.report
        notes += [pace.note] if pace is not None and pace.note else []
        notes += self._journal.notes if self._journal is not None else ()
        notes += self._notes
        if shared is not None:
            notes += shared.notes

        # A run that ended early has left what it had done, unless it failed.
        ended_early = isinstance(error, Interrupted | TruncatedError) and self._frames > 0
        written = [path for sink in self._sinks for path in sink.outputs]
        outputs = [path for path in written if _is_there(path)]
        return InputResult(
            self._one.name,
            tuple(outputs) if error is None or ended_early else (),
            tuple(notes),
            self._frames,
            source.skipped if source is not None else 0,
            shared.redone if shared is not None else 0,
            report,
            error,
            engine,
            live=None if source is None else source.live,
            pace=pace,
        )


def _expected_error(
    problem: BaseException, name: str, frames: int, *, stopped: bool
) -> VidparseError:
    """A failure as one line, so that the other inputs of a batch still have their turn."""
    # Name it as the pipeline does, wherever the signal fell: by the file alone.
    short = Path(name).name or name

    # The signal broke a read or an opening, or an import, which may end in any error.
    if stopped and (isinstance(problem, InputError) or not isinstance(problem, VidparseError)):
        when = f"after {counted(frames, 'frame')}" if frames else "before any frame"
        return Interrupted(f"{short}: interrupted {when}")
    if isinstance(problem, KeyboardInterrupt):
        return Interrupted(f"{short}: interrupted after {counted(frames, 'frame')}")
    return expected(problem, name)


def _is_there(path: str) -> bool:
    at = Path(path)
    return path == STDIN or at.exists() or (is_numbered(at) and any(numbered_files(at)))
