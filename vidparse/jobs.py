"""Jobs: the inputs of a batch side by side, each of them whole, by workers with a network each.

A worker opens its input, segments it and writes its outputs. The process that was called plans the
names of all outputs, has the ledger, and hands out one input after the other.
"""

from __future__ import annotations

import os
import platform
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from multiprocessing.process import parent_process
from pathlib import Path
from types import FrameType
from typing import ClassVar

from vidparse.batch import Batch, InputResult, Outcome, Silent, Turn
from vidparse.errors import InputError, VidparseError
from vidparse.inference import Runner
from vidparse.requests.segment import SegmentOptions
from vidparse.video import Input
from vidparse.workers import Crew
from vidparse.workers.job import Setup


@dataclass(frozen=True, slots=True)
class Lot:
    """All inputs of a batch, as every worker needs them.

    settings: that change outputs, by name.
    folder: where the call was made; names are relative to it.
    """

    inputs: tuple[Input, ...]
    options: SegmentOptions
    settings: Mapping[str, str]
    folder: str


class LotSetup(Setup[Lot, int, Outcome]):
    """Workers that segment whole inputs and write their outputs; see :class:`LotWorker`."""

    killed: ClassVar[str] = (
        "were killed at this input, by the system or by hand; where memory runs out, use fewer "
        "--jobs or a lower --size"
    )

    def answering(self, runner: Runner) -> Callable[[Lot, int], Outcome]:
        return LotWorker(runner).outcome


class LotWorker:
    """A network of its own, for one input after another.

    The first SIGTERM ends an input early, with the frames that it has; the next one drops it.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._lot: Lot | None = None
        self._batch: Batch | None = None
        self._stop = threading.Event()

        # Listen to the parent process only: Ray sends its workers signals of its own.
        if parent_process() and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._end_early)

    def outcome(self, lot: Lot, place: int) -> Outcome:
        """Segment the input at a place of the lot; its errors end in its result.

        Raises:
            InputError: the folder of the call is not there on this machine.
        """
        if self._batch is None or lot is not self._lot:
            _enter(lot.folder)
            self._lot = lot
            self._batch = Batch(
                lot.inputs, lot.options, self._runner, Silent(), self._stop, settings=lot.settings
            )

        # Replace what is there: the names were free when they were planned, so it is of a worker
        # that was killed at this input.
        outcome = Turn(self._batch, place, replaces=True).outcome()

        # Forget names from one input to the next: the process that planned them knows them all.
        self._batch.written.clear()
        result = outcome.result
        if result.error is not None:
            result = replace(result, error=result.error.alone())
        return replace(outcome, result=result)

    def _end_early(self, number: int, frame: FrameType | None) -> None:
        if self._stop.is_set():
            raise KeyboardInterrupt
        self._stop.set()


def _enter(folder: str) -> None:
    """Go where the call was made, so that names lead to the same files."""
    try:
        if Path.cwd() != Path(folder):
            os.chdir(folder)
    except OSError as error:
        raise InputError(
            f"{folder}: is not there on {platform.node()}; call from a folder that all machines"
            " of the cluster share"
        ) from error


def outcomes(
    batch: Batch, crew: Crew[Lot, int, Outcome]
) -> Generator[tuple[int, InputResult], None, None]:
    """Segment all inputs of a batch; the place and the result of each, as it comes.

    After `batch.stop` is set no input is begun, and those under way end early. However it ends, no
    worker leaves parts of outputs.
    """
    options = replace(batch.options, retry_failed=False)
    lot = Lot(tuple(batch.inputs), options, batch.settings, str(Path.cwd()))
    under_way: dict[int, Turn] = {}  # by ticket
    try:
        yield from _handed_out(batch, crew, lot, under_way)

        # Let the inputs under way end early, and keep what they have.
        if under_way:
            crew.request_end()
        while crew.is_at_work:
            yield from _collected(batch, crew, under_way)
    finally:
        # Tidy up when all workers are gone, also where the user waits no longer.
        if under_way:
            crew.end()
        lost = [(turn.place, turn.interrupted()) for turn in under_way.values()]
    yield from lost


def _handed_out(
    batch: Batch, crew: Crew[Lot, int, Outcome], lot: Lot, under_way: dict[int, Turn]
) -> Iterator[tuple[int, InputResult]]:
    """Have all inputs segmented, until `batch.stop` is set; the results that came until then."""
    places = iter(range(len(batch.inputs)))
    while not batch.stop.is_set():
        # Hand out one input per worker: one that waited for a long one could go elsewhere.
        while len(under_way) < crew.count and (place := next(places, None)) is not None:
            turn = Turn(batch, place)
            settled = turn.settled() or turn.planned()
            if settled is None:
                under_way[crew.submit(lot, place)] = turn
            else:
                yield place, settled
        if not under_way:
            return
        yield from _collected(batch, crew, under_way)


def _collected(
    batch: Batch, crew: Crew[Lot, int, Outcome], under_way: dict[int, Turn]
) -> Iterator[tuple[int, InputResult]]:
    """The inputs that are done, as the ledger has noted them."""
    for ticket, found in crew.outcomes():
        turn = under_way.pop(ticket)
        one = batch.inputs[turn.place]
        if isinstance(found, VidparseError):
            turn.remove_parts()  # of the workers that were killed
            found = Outcome(InputResult(one.name, error=found))
        result = found.result
        if crew.was_redone(ticket):
            again = "done again from its beginning, as the worker that had it was killed"
            result = replace(result, notes=(*result.notes, again))
        batch.note(one, replace(found, result=result))
        yield turn.place, result
