"""The turn of one input of a batch, from opening to the last rename."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from vidparse.batch.batch import STDIN, Batch, shared_video
from vidparse.batch.result import InputResult, Outcome
from vidparse.errors import (
    ClosedPipe,
    InputError,
    Interrupted,
    TruncatedError,
    VidparseError,
    counted,
    expected,
)
from vidparse.frame import Frame
from vidparse.hub.known import models_for_other
from vidparse.inference import (
    RunReport,
    Stages,
    engine_and_reason,
    run,
)
from vidparse.inference.looks import Look, is_unlike, mean_look
from vidparse.models.description import Description
from vidparse.sinks import Sink
from vidparse.sinks.parts import remove_parts
from vidparse.sinks.pictures import is_there
from vidparse.video import NVDEC
from vidparse.video.source import Source

if TYPE_CHECKING:
    from vidparse.batch.batch import AnySession
    from vidparse.resume import Journal

log = logging.getLogger(__name__)

_PATIENCE_S = 2.0  # with a worker of a cluster, which ends some time after its order


class Turn:
    """One of the inputs, from opening to the last rename.

    It reads the ledger once, at the beginning.

    Args:
        place: of the input in the batch.
        replaces: outputs that are there are replaced: an attempt before may have left them.
    """

    def __init__(self, batch: Batch, place: int, *, replaces: bool = False) -> None:
        self._batch, self.place, self._one = batch, place, batch.inputs[place]
        self._entry = batch.entry(self._one)
        self._replaces = replaces or (self._entry is not None and bool(self._entry.outputs))
        self._source: Source | None = None
        self._session: AnySession | None = None
        self._sinks: list[Sink] = []
        self._journal: Journal | None = None
        self._notes: tuple[str, ...] = ()
        self._frames = 0

    def settled(self) -> InputResult | None:
        """The result of an earlier call, as the ledger has it; None where there is work to do."""
        return self._batch.settled(self._one, self._entry)

    def result(self) -> InputResult:
        """Segment the input unless it is settled, and note its outcome; it has the errors, too."""
        return self.settled() or self._noted(self.outcome())

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
            if (complete := self._completed()) is not None:
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
            if (complete := self._completed()) is not None:
                return complete
            if self._journal is not None:
                self._journal.close()  # the worker will have it open
            self._sinks = self._batch.sinks(self._one, save, replaces=self._replaces)
        except VidparseError as error:
            return self._noted(Outcome(InputResult(self._one.name, error=error)))
        return None

    def interrupted(self) -> InputResult:
        """The result where the worker that had the input is gone, and nothing is done again."""
        self.remove_parts()
        error = Interrupted(f"{self._one.name}: interrupted; nothing of it is kept")
        return InputResult(self._one.name, error=error)

    def remove_parts(self) -> None:
        """Remove what a worker that is gone left of its outputs; a journal stays."""
        remove_parts(self._sinks, self._batch.protected, patience_s=_PATIENCE_S)

    def _missing(self) -> tuple[str, ...]:
        """The outputs to be made. Those that are there are taken: no later input may have them."""
        save, there = self._batch.missing(self._one)
        self._batch.written.update((path, self._one.name) for path in there)
        return save

    def _completed(self) -> InputResult | None:
        """The result of an earlier call with --resume that made all of this very job, if any did.

        A journal to go on from stays open.

        Raises:
            UsageError, OutputError: as `Journal`.
        """
        self._journal = journal = self._batch.journal(self._one, is_there=True)
        if journal is None:
            return None
        self._replaces |= journal.is_found
        if not journal.made:
            return None
        journal.close()
        return self._batch.completed(self._one, journal)

    def _skipped(self) -> InputResult:
        note = "skipped: its outputs are there"
        return InputResult(self._one.name, notes=(note,), is_skipped=True)

    def _run(self, save: Sequence[str]) -> RunReport:
        batch, one = self._batch, self._one

        # Close here all that was begun or opened, until the pipeline does.
        with ExitStack() as closing:
            if self._journal is not None:
                closing.callback(self._journal.close)
            begun = batch.queue.begun(self.place) if batch.queue is not None else None
            self._source = source = begun.source if begun is not None else batch.open(one)
            closing.callback(source.close)
            if begun is not None:
                closing.callback(begun.close)
            if self._journal is None:
                self._journal = batch.journal(one)
            self._sinks = batch.sinks(one, save, replaces=self._replaces)
            self._session = session = begun.session if begun else batch.session(one, source)
            closing.pop_all()

        options = batch.options
        frames = source.info.frames_between(options.start_s, options.end_s, options.stride)
        batch.watcher.begin(source.info, frames)
        journal = self._journal
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
            shared = shared_video(session, batch.crew)
            if shared is not None:
                shared.let_go()

    def _count(self, frame: Frame) -> None:
        self._frames += 1
        if self._source is not None:
            self._source.written(frame)
        self._batch.watcher.frame(frame)

    def _result(self, report: RunReport | None, error: VidparseError | None) -> InputResult:
        source, session, crew = self._source, self._session, self._batch.crew
        shared = shared_video(session, crew)
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
        if report is not None:
            unlike = _unlike_note(report.looks, self._batch.runner.description)
            notes += [unlike] if unlike else []
        notes += self._journal.notes if self._journal is not None else ()
        notes += self._notes
        if shared is not None:
            notes += shared.notes

        # A run that ended early has left what it had done, unless it failed.
        ended_early = isinstance(error, Interrupted | TruncatedError) and self._frames > 0
        written = [path for sink in self._sinks for path in sink.outputs]
        outputs = [path for path in written if path == STDIN or is_there(path)]
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


def _unlike_note(looks: Sequence[Look], description: Description) -> str:
    """One line for the user, with both figures and what to do; "" where the input looks known.

    Args:
        looks: at frames of the input. description: of the model, with its profile if it has one.
    """
    profile = description.profile
    if profile is None or not is_unlike(looks, profile):
        return ""
    found = mean_look(looks)
    others = " or ".join(f"-m {entry.name}" for entry in models_for_other(description.labels.name))
    return (
        "looks unlike what the model learnt from: mean confidence "
        f"{found.confidence:.2f} (there {profile.confidence.mean:.2f}), mean entropy "
        f"{found.entropy:.2f} (there {profile.entropy.mean:.2f}); check the result, and try "
        f"{others}, or train on pictures of your own"
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
