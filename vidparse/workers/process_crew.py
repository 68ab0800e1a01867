"""Workers as processes of this machine."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess, parent_process
from queue import SimpleQueue

from vidparse.errors import DeviceError
from vidparse.inference.devices import cuda_device_count
from vidparse.workers.crew import AnsweringWorker, Crew, Returned
from vidparse.workers.job import Answer, Part, Setup, Shared

log = logging.getLogger(__name__)

_PATIENCE_S = 2.0  # with a process that was ended


class ProcessCrew(Crew[Shared, Part, Answer]):
    """Processes, spread over the CUDA devices where these are used; arguments as of `Crew`."""

    def __init__(
        self, count: int, setup: Setup[Shared, Part, Answer], stop: threading.Event
    ) -> None:
        super().__init__(count, setup, stop)
        self._processes: dict[int, BaseProcess] = {}
        self._pipes: dict[int, Connection] = {}
        self._known: dict[int, Shared] = {}  # the last that each worker got

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

    def send(self, worker: int, ticket: int, shared: Shared, part: Part) -> None:
        # Send what is shared with the first part only: it may list thousands of pictures.
        is_known = self._known.get(worker) is shared
        self._known[worker] = shared
        try:
            self._pipes[worker].send((ticket, None if is_known else shared, part))
        except OSError as error:
            log.debug("worker %d: %s", worker, error)

    def news(self, wait_s: float) -> Iterable[Returned[Answer]]:
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
        process = self._processes.pop(worker)
        process.join(_PATIENCE_S)

        # Kill it where it hangs: nobody would tidy up after it once this process is gone.
        if process.is_alive():
            process.kill()
            process.join(_PATIENCE_S)
        self._known.pop(worker, None)

    def request_end(self) -> None:
        super().request_end()
        for process in self._processes.values():
            process.terminate()

    def end(self) -> None:
        # Terminate all before waiting for any, so that they end side by side.
        for process in self._processes.values():
            process.terminate()
        for worker in list(self._processes):
            self._forget(worker)


def _on_device(setup: Setup[Shared, Part, Answer], worker: int) -> Setup[Shared, Part, Answer]:
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


def serve(pipe: Connection, setup: Setup[Shared, Part, Answer]) -> None:
    """Answer to parts until the pipe ends; the main function of a worker's process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    threading.Thread(target=_end_with_parent, daemon=True).start()

    # Read while the worker is at work: a parent that sends much would wait for it, and an answer
    # of much for the parent, both without end.
    sent: SimpleQueue[tuple[int, Shared | None, Part] | None] = SimpleQueue()
    threading.Thread(target=_receive, args=(pipe, sent), daemon=True).start()
    worker = AnsweringWorker(setup)
    shared: Shared | None = None

    # End on a pipe that is gone, and on a signal that nobody else heeds.
    with suppress(OSError, KeyboardInterrupt):
        while (found := sent.get()) is not None:
            ticket, new, part = found
            shared = shared if new is None else new
            assert shared is not None  # it comes with the first part
            pipe.send((ticket, worker.answer(shared, part)))


def _receive(pipe: Connection, sent: SimpleQueue[tuple[int, Shared | None, Part] | None]) -> None:
    """Put what the parent sends into a queue; None at the end of the pipe."""
    try:
        with suppress(EOFError, OSError):
            while True:
                sent.put(pipe.recv())
    finally:
        sent.put(None)


def _end_with_parent() -> None:
    """Leave when the process that wants the answers is gone, however it ended."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
