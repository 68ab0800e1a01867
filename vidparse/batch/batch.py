"""A batch: what the inputs of a call share, from the network to the names that are taken."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from vidparse.batch.result import InputResult, Outcome
from vidparse.batch.watcher import Watcher
from vidparse.errors import (
    InputError,
    Interrupted,
    UsageError,
)
from vidparse.filenames import one_or_several
from vidparse.inference import (
    Runner,
    Session,
    SessionOptions,
)
from vidparse.requests.live import may_be_live
from vidparse.requests.matte import MatteOptions
from vidparse.requests.segment import SegmentOptions
from vidparse.sinks import SINKS, Protected, Sink, make_sinks
from vidparse.sinks.names import as_named
from vidparse.sinks.targets import journal_folders, missing_outputs
from vidparse.video import NVDEC, Input, ReadingOptions, open_video
from vidparse.video.first_frames import FirstFrames, limited
from vidparse.video.source import Source, select

if TYPE_CHECKING:
    from vidparse.inference.gpu.session import GpuSession
    from vidparse.inference.pace import PacedStages
    from vidparse.ledger import Entry, Ledger
    from vidparse.live import LiveStages
    from vidparse.resume import Journal
    from vidparse.workers import Begun, RangeCrew, SharedSession

    AnySession = Session | SharedSession | GpuSession | PacedStages | LiveStages

log = logging.getLogger(__name__)

STDIN = "-"


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
        queue: inputs that the workers have begun; None where this process segments alone.
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

    def entry(self, one: Input) -> Entry | None:
        """The line of an input in the ledger; None where there is none."""
        return self.ledger.entry(one) if self.ledger is not None else None

    def settled(self, one: Input, entry: Entry | None) -> InputResult | None:
        """The result of an earlier call, as the ledger has it; None where there is work to do."""
        if entry is None:
            return None
        if entry.is_done:
            outputs = tuple(as_named(path, one, self.options.out) for path in entry.outputs)
            self.written.update((path, one.name) for path in outputs)
            return InputResult(one.name, outputs, settled=True)
        if entry.failure is not None and not self.options.retry_failed:
            return InputResult(one.name, error=entry.failure, settled=True)
        return None

    def _is_wanted(self, one: Input) -> bool:
        return self.settled(one, self.entry(one)) is None and bool(self.missing(one)[0])

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
        return open_live(opening, selection, notify=self.watcher.notify)

    def journal(self, one: Input, *, is_there: bool = False) -> Journal | None:
        """The journal of an input with --resume, as an earlier call left it, or a new one.

        Args:
            is_there: None, too, where an earlier call left none.

        Raises:
            UsageError, OutputError: as `Journal`.
        """
        if not self.options.resume:
            return None
        folder = self._journal_folders(one)[0]  # streams were refused
        if is_there and not folder.exists():
            return None
        from vidparse.resume import Journal, job_of

        return Journal(folder, job_of(one, self.options, self.runner, self.settings))

    def completed(self, one: Input, journal: Journal) -> InputResult:
        """The result of an earlier call that made all of this very job."""
        outputs = tuple(made.path for made in journal.made)
        self.written.update((path, one.name) for path in outputs)
        return InputResult(one.name, outputs, ("already complete",), settled=True)

    def made_anew(self, one: Input) -> tuple[str, ...]:
        """Remove the journal of an earlier call with --resume that is outdated now; notes of it."""
        if self.options.resume or self.options.live.rotate is not None:
            return ()
        there = [folder for folder in self._journal_folders(one) if folder.exists()]
        if not there:
            return ()
        from vidparse.resume import remove_stale

        return tuple(
            f"removed {folder}: the outputs that it was to go on with are made anew"
            for folder in there
            if remove_stale(folder)
        )

    def _journal_folders(self, one: Input) -> tuple[Path, ...]:
        save = tuple(self.options.save or ())
        return journal_folders(SINKS, save, source=one, out=self.options.out)

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
        source: Source | None = None
        shared: SharedSession | None = None
        try:
            source = self.open(one)
            shared = shared_video(self.session(one, source), self.crew)
        except Exception as error:
            log.debug("%s: not begun before its turn", one.name, exc_info=error)
        if source is None:
            return None
        if shared is None:
            source.close()
            return None

        from vidparse.workers import Begun

        return Begun(source, shared)


def shared_video(session: AnySession | None, crew: RangeCrew | None) -> SharedSession | None:
    """The session, where it is one whose video workers share."""
    if crew is None:
        return None
    from vidparse.workers import SharedSession

    return session if isinstance(session, SharedSession) else None
