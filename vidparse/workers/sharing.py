"""Sharing: among whom the clips of a run are shared out, which videos can be cut, and their turns.

One video after another is joined and written. Near its end, or where it is short, it leaves the
workers without ranges: then they begin with the videos that follow.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vidparse.errors import UsageError
from vidparse.inference import ModelChoice, Runner, Session, SessionOptions
from vidparse.inference.devices import cpu_count
from vidparse.limits import max_pixels
from vidparse.video import Input, ReadingOptions, Source
from vidparse.workers.crew import ClusterCrew, Crew, ProcessCrew
from vidparse.workers.job import Job, Setup
from vidparse.workers.join import SharedSession

NOT_CUT = "without reading it all nobody knows when its frames come, so one process segments it"


@dataclass(frozen=True, slots=True)
class Sharing:
    """The wish of a person.

    workers: processes with a network each; 0 or 1: this process alone, or all of a cluster.
    cluster: address of a Ray cluster, or "auto"; None: the workers run on this machine.
    """

    workers: int = 0
    cluster: str | None = None

    def __bool__(self) -> bool:
        return self.workers > 1 or self.cluster is not None

    def check(self) -> None:
        """Raises: UsageError: a number of workers that would only take memory."""
        most = max(64, 4 * cpu_count())
        if self.workers < 0 or (self.cluster is None and self.workers > most):
            raise UsageError(
                f"workers {self.workers}: this process may use {cpu_count()} CPUs; give 2 to "
                f"{most}, or leave --workers out"
            )

    def check_memory(self, runner: Runner, *, stabilize: bool) -> None:
        """Raises: UsageError: each answer depends on those before, so no part can run apart."""
        if not self:
            return
        if runner.remembers:
            raise UsageError(
                f"--workers: {os.fspath(runner.description.path)} remembers the frames before, so "
                "that a video cannot be cut into parts; leave --workers and --cluster out"
            )
        if stabilize:
            raise UsageError(
                "--workers: --stabilize blends each frame with those before, so that a video "
                "cannot be cut into parts; leave one of them out"
            )

    def threads(self, wanted: int) -> int:
        """CPU threads of each network, where a person wants `wanted`; 0: shared out."""
        if not self or wanted:
            return wanted
        return 1 if self.cluster is not None else max(1, cpu_count() // self.workers)

    def crew(self, choice: ModelChoice, stop: threading.Event) -> Crew:
        """The workers, none of which has been started.

        Raises:
            UsageError, DeviceError: as `ClusterCrew`.
        """
        if Path(choice.name).exists():  # a worker may be in another folder
            choice = choice.of(Path(choice.name).absolute())
        setup = Setup(choice, max_pixels())
        if self.cluster is not None:
            return ClusterCrew(self.cluster, self.workers, setup, stop)
        return ProcessCrew(self.workers, setup, stop)


def shared_session(
    session: Session,
    crew: Crew,
    source: Source,
    one: Input,
    *,
    stride: int,
    reading: ReadingOptions,
    settings: SessionOptions,
    on_room: Callable[[], None] = lambda: None,
) -> SharedSession | None:
    """The session with the network in the workers; None for a video that cannot be cut.

    Args:
        source: the opened `one`.
        reading: arguments of `open_video` that have a say in what is decoded.
        settings: arguments of `session`.
        on_room: as for `SharedSession`.
    """
    stamps = source.stamps()
    if stamps is None or not stamps.pts:
        return None

    job = Job(
        _absolute(one),
        stamps.first,
        source.info.time_base,
        stride,
        live=source.info.frames is None,
        reading=reading,
        session=settings,
    )
    return SharedSession(session, crew, job, stamps, on_room)


def _absolute(one: Input) -> Input:
    """The same input, for a process in another folder."""
    if one.path is None:
        return one
    path = one.path.absolute()
    images = None if one.images is None else tuple(image.absolute() for image in one.images)
    return replace(one, name=str(path), path=path, images=images)


@dataclass(frozen=True, slots=True)
class Begun:
    """An open video of which the workers have the first ranges, before its turn has come."""

    source: Source
    session: SharedSession

    def close(self) -> None:
        self.session.let_go()
        self.source.close()


class Line:
    """Inputs in the order of their turns.

    Args:
        crew: the workers, whose room bounds how many inputs are begun.
        inputs: of the run.
        wanted: False for an input of which nothing is to be done.
        opened: opens an input and makes its session; None where that has to wait for its turn.
    """

    def __init__(
        self,
        crew: Crew,
        inputs: Sequence[Input],
        *,
        wanted: Callable[[Input], bool],
        opened: Callable[[Input], Begun | None],
    ) -> None:
        self._crew, self._inputs = crew, inputs
        self._wanted, self._opened = wanted, opened
        self._next = 0  # place of the first input that nobody has looked at
        self._begun: dict[int, Begun] = {}  # by place
        self._lock = threading.Lock()  # a thread that a run had to leave behind may still open one

    def close(self) -> None:
        """Close what had no turn. Idempotent."""
        self._next = len(self._inputs)
        while self._begun:
            self._begun.popitem()[1].close()

    def begun(self, place: int) -> Begun | None:
        """The input whose turn has come, where the workers have begun with it."""
        with self._lock:
            self._next = max(self._next, place + 1)
            return self._begun.pop(place, None)

    def begin_next(self) -> None:
        """Begin with the inputs to come while the workers have room.

        An input that has to wait for its turn ends one call, so that no call opens many in vain.
        """
        with self._lock:
            while self._crew.has_room and self._next < len(self._inputs):
                place = self._next
                self._next += 1
                if not self._wanted(self._inputs[place]):
                    continue
                begun = self._opened(self._inputs[place])
                if begun is None:
                    return
                self._begun[place] = begun
                begun.session.begin()
