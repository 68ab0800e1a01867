"""Workers as processes of this machine."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess, parent_process

from vidparse.errors import DeviceError, VidparseError, expected
from vidparse.inference.devices import cuda_device_count
from vidparse.workers.crew import Crew, Outcome, Returned
from vidparse.workers.job import Job, Range, Setup, Worker

log = logging.getLogger(__name__)

_PATIENCE_S = 2.0  # with a process that was ended


class ProcessCrew(Crew):
    """Processes, spread over the CUDA devices where these are used.

    Args:
        setup: of each worker.
    """

    def __init__(self, count: int, setup: Setup, stop: threading.Event) -> None:
        super().__init__(count, stop)
        self._setup = setup
        self._processes: dict[int, BaseProcess] = {}
        self._pipes: dict[int, Connection] = {}
        self._jobs: dict[int, Job] = {}  # the last one that each worker has heard of

    @property
    def pids(self) -> list[int]:
        """Of the processes that run."""
        return [one.pid for one in self._processes.values() if one.pid is not None]

    def start(self, worker: int) -> None:
        context = multiprocessing.get_context("spawn")  # a fork copies locks that are held
        mine, its = context.Pipe()
        process = context.Process(
            target=serve,
            args=(its, _on_device(self._setup, worker)),
            name=f"vidparse-worker-{worker}",
            daemon=True,
        )
        try:
            with _deaf():
                process.start()
        except OSError as error:
            raise DeviceError(
                f"worker {worker}: cannot be started ({error.strerror}); use fewer --workers"
            ) from error
        its.close()  # so that the end of the process ends the pipe
        self._processes[worker], self._pipes[worker] = process, mine

    def send(self, worker: int, ticket: int, job: Job, wanted: Range) -> None:
        known = self._jobs.get(worker) is job
        self._jobs[worker] = job
        try:
            self._pipes[worker].send((ticket, None if known else job, wanted))
        except OSError as error:
            log.debug("worker %d: %s", worker, error)

    def news(self, wait_s: float) -> Iterable[Returned]:
        by_pipe = {pipe: worker for worker, pipe in self._pipes.items()}
        if not by_pipe:
            return
        for pipe in wait(list(by_pipe), wait_s):
            worker = by_pipe[pipe]  # type: ignore[index]
            try:
                ticket, outcome = self._pipes[worker].recv()
            except (EOFError, OSError):
                self._forget(worker)
                yield Returned(worker)
            else:
                yield Returned(worker, ticket, outcome)

    def _forget(self, worker: int) -> None:
        self._pipes.pop(worker).close()
        self._processes.pop(worker).join(_PATIENCE_S)
        self._jobs.pop(worker, None)

    def end(self) -> None:
        for process in self._processes.values():
            process.terminate()
        for worker in list(self._processes):
            self._forget(worker)


def _on_device(setup: Setup, worker: int) -> Setup:
    """The same, on one of the CUDA devices where any may be taken."""
    devices = cuda_device_count() if setup.choice.device in ("auto", "cuda") else 0
    if not devices:
        return setup
    return replace(setup, choice=replace(setup.choice, device=f"cuda:{worker % devices}"))


@contextmanager
def _deaf() -> Iterator[None]:
    """Processes begin deaf to Ctrl-C, which a terminal sends to all, until they can ignore it."""
    if sys.platform == "win32":
        yield
        return
    resource_tracker.ensure_running()  # starting it would let the signal through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def serve(pipe: Connection, setup: Setup) -> None:
    """Answer to ranges until the pipe ends; the main function of a worker's process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    worker: Worker | None = None
    job: Job | None = None

    while True:
        try:
            ticket, new, wanted = pipe.recv()
        except (EOFError, OSError):
            return
        job = new or job
        assert job is not None  # it came with the first range

        outcome: Outcome
        try:
            worker = worker or Worker.of(setup)
            outcome = worker.clips(job, wanted)
        except Exception as error:
            log.debug("%s", job.input.name, exc_info=error)
            failure = expected(error, job.input.name)
            outcome = _plain(failure)

        try:
            pipe.send((ticket, outcome))
        except OSError:
            return


def _plain(error: VidparseError) -> VidparseError:
    """The same error without its causes, which may not travel."""
    return type(error)(str(error))


def _end_with_parent() -> None:
    """Leave when the process that wants the answers is gone, however it ended."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
