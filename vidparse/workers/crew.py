"""Workers that share work, as processes of this machine or on the machines of a Ray cluster.

Work comes in parts: ranges of a video, or whole inputs. A crew knows who has which part, what came
back, and what to do when a worker is killed.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess, parent_process
from types import ModuleType
from typing import TYPE_CHECKING, Generic, Self

from vidparse.errors import DeviceError, UsageError, VidparseError, expected
from vidparse.inference.devices import cuda_device_count
from vidparse.workers.job import Answer, Part, Setup, Shared

if TYPE_CHECKING:
    import ray

log = logging.getLogger(__name__)

_WAIT_S = 0.1  # how soon a wish to stop is noticed
_AHEAD = 3  # parts per worker that are under way or wait to be taken
_TRIES = 3  # of a part whose worker is killed
_PATIENCE_S = 2.0  # with a process that was ended


@dataclass(frozen=True, slots=True)
class Returned(Generic[Answer]):
    """News of a worker: the outcome of a part; None: the worker is gone, with all it had."""

    worker: int
    ticket: int = 0
    outcome: Answer | VidparseError | None = None


class Crew(ABC, Generic[Shared, Part, Answer]):
    """A number of workers, each with a network of its own.

    A place where workers run is a subclass: it starts them, sends them parts and hears from them.
    Used by one thread at a time. As a context manager it ends all workers with the block.

    Args:
        count: of workers.
        setup: of each worker; it defines the work.
        stop: when set, nobody waits for an outcome any more.
    """

    def __init__(
        self, count: int, setup: Setup[Shared, Part, Answer], stop: threading.Event
    ) -> None:
        self.count, self._setup, self._stop = count, setup, stop
        self._tickets = 0
        self._wanted: dict[int, tuple[Shared, Part]] = {}
        self._waiting: deque[int] = deque()  # tickets that no worker has
        self._held: dict[int, list[int]] = {}  # tickets of each worker, the first is under way
        self._outcomes: dict[int, Answer | VidparseError] = {}
        self._killed: Counter[int] = Counter()  # times by ticket
        self._redone: set[int] = set()  # tickets whose worker was lost
        self._is_ending = False

    @abstractmethod
    def start(self, worker: int) -> None:
        """Start the worker of this number, also in place of one that is gone.

        Raises:
            DeviceError: it cannot be started.
        """

    @abstractmethod
    def send(self, worker: int, ticket: int, shared: Shared, part: Part) -> None:
        """Give a part to a worker that may be gone, which `news` reports later."""

    @abstractmethod
    def news(self, wait_s: float) -> Iterable[Returned[Answer]]:
        """News of the workers; waits for the first, but no longer than `wait_s`."""

    @abstractmethod
    def end(self) -> None:
        """End all workers at once. Idempotent."""

    def request_end(self) -> None:
        """Hand out nothing more, and have each worker end the part it works at, if it can."""
        self._is_ending = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.end()

    @property
    def has_room(self) -> bool:
        """True while fewer parts are under way than bound the memory that outcomes take."""
        return len(self._wanted) < _AHEAD * self.count

    @property
    def is_at_work(self) -> bool:
        """True while a worker has a part."""
        return any(self._held.values())

    def submit(self, shared: Shared, part: Part) -> int:
        """Have a part done some time; a ticket for its outcome.

        shared: data in common with other parts, by identity: it travels to a worker once.
        """
        self._tickets += 1
        self._wanted[self._tickets] = shared, part
        self._waiting.append(self._tickets)
        return self._tickets

    def was_redone(self, ticket: int) -> bool:
        """True if a worker was lost while it had this part."""
        return ticket in self._redone

    def cancel(self, tickets: Iterable[int]) -> None:
        """Nobody wants these outcomes any more."""
        for ticket in tickets:
            self._wanted.pop(ticket, None)
            self._outcomes.pop(ticket, None)

    def outcome(self, ticket: int, halted: threading.Event) -> Answer | None:
        """The answer to a part, once; None where the run was stopped before it came.

        Args:
            halted: when set, nobody waits for this outcome any more.

        Raises:
            VidparseError: that of the worker, or DeviceError: its workers were killed.
        """
        # Do not wait the first time: the outcome may be among those that came.
        wait_s = 0.0
        while ticket not in self._outcomes:
            if self._stop.is_set() or halted.is_set():
                return None
            self.attend(wait_s)
            wait_s = _WAIT_S
        found = self._outcomes.pop(ticket)
        del self._wanted[ticket]
        if isinstance(found, VidparseError):
            raise found
        return found

    def outcomes(self) -> Iterator[tuple[int, Answer | VidparseError]]:
        """Tickets and outcomes of the parts that are done, each once; waits a moment for some."""
        self.attend(0.0 if self._outcomes else _WAIT_S)
        while self._outcomes:
            ticket = next(iter(self._outcomes))
            del self._wanted[ticket]
            yield ticket, self._outcomes.pop(ticket)

    def attend(self, wait_s: float = 0.0) -> None:
        """Take in what came back, and keep the workers busy."""
        self._hand_out()
        for one in self.news(wait_s):
            if one.outcome is None:
                self._lost(one.worker)
                continue
            self._held[one.worker].remove(one.ticket)

            # Drop what was cancelled meanwhile: nobody would ever collect it.
            if one.ticket in self._wanted:
                self._outcomes[one.ticket] = one.outcome

        # Hand out again: what came back has made room.
        self._hand_out()

    def _hand_out(self) -> None:
        """Give each worker its share; first the ones that have least, which all have one first."""
        if self._is_ending:
            return

        # Give every worker one part before any gets a second, which only spares a wait.
        for full in range(1, self._setup.each + 1):
            for worker in range(self.count):
                while self._waiting and self._waiting[0] not in self._wanted:  # cancelled
                    self._waiting.popleft()
                if not self._waiting:
                    return

                if worker not in self._held:
                    self.start(worker)
                    self._held[worker] = []
                held = self._held[worker]
                if len(held) < full:
                    ticket = self._waiting.popleft()
                    held.append(ticket)
                    self.send(worker, ticket, *self._wanted[ticket])

    def _lost(self, worker: int) -> None:
        """Have its parts done by others, before all that wait."""
        tickets = self._held.pop(worker)
        log.info("worker %d is gone with %d parts", worker, len(tickets))
        if tickets:
            # Blame the first part alone: the worker had not begun with the others.
            self._killed[tickets[0]] += 1
            if self._killed[tickets[0]] >= _TRIES:
                ticket = tickets.pop(0)
                if ticket in self._wanted:
                    self._outcomes[ticket] = DeviceError(f"workers: {_TRIES} {self._setup.killed}")

        # Put them in front: a video is joined in order, and waits for the oldest.
        self._redone.update(tickets)
        self._waiting.extendleft(reversed(tickets))


class AnsweringWorker(Generic[Shared, Part, Answer]):
    """A worker whose errors are answers, so that none is taken for a fault of what carries them."""

    def __init__(self, setup: Setup[Shared, Part, Answer]) -> None:
        self._setup = setup
        self._work: Callable[[Shared, Part], Answer] | None = None

    def answer(self, shared: Shared, part: Part) -> Answer | VidparseError:
        """The answer to a part, or the error without its causes, which may not travel."""
        try:
            # Load the network with the first part, so that a failure of that is an answer, too.
            self._work = self._work or self._setup.worker()
            return self._work(shared, part)
        except Exception as error:
            about = self._setup.about(shared)
            log.debug("%s", about, exc_info=error)
            return expected(error, about).alone()


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
    worker = AnsweringWorker(setup)
    shared: Shared | None = None

    # End on a pipe that is gone, and on a signal that nobody else heeds.
    with suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            ticket, new, part = pipe.recv()
            shared = shared if new is None else new
            assert shared is not None  # it comes with the first part
            pipe.send((ticket, worker.answer(shared, part)))


def _end_with_parent() -> None:
    """Leave when the process that wants the answers is gone, however it ended."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


class ClusterCrew(Crew[Shared, Part, Answer]):
    """Actors of Ray, each with as many CPUs as its network has threads.

    The videos must have the same path on all machines.

    Args:
        address: of a cluster, host:port or ray://host:port; "auto": the one that runs here.
        count: of workers; 0: as many as the CPUs of the cluster allow.
        setup: of each worker.

    Raises:
        UsageError: Ray is not installed.
        DeviceError: no cluster answers at the address.
    """

    def __init__(
        self, address: str, count: int, setup: Setup[Shared, Part, Answer], stop: threading.Event
    ) -> None:
        self._ray = _connected(address)
        cpus = max(1, setup.choice.threads)
        has = int(self._ray.cluster_resources().get("CPU", 1))
        super().__init__(count or max(1, has // cpus), setup, stop)

        on_gpu = setup.choice.device.startswith("cuda")
        # An actor that is lost is started anew by this side, which knows what it had to do.
        self._kind = self._ray.remote(
            num_cpus=cpus, num_gpus=1 if on_gpu else 0, scheduling_strategy="SPREAD"
        )(AnsweringWorker)
        self._actors: dict[int, ray.actor.ActorHandle] = {}
        # Worker and ticket by the promise of an answer.
        self._sent: dict[ray.ObjectRef, tuple[int, int]] = {}
        # What the last part shares with others, and where the cluster keeps it.
        self._known: list[tuple[Shared, ray.ObjectRef]] = []

    def start(self, worker: int) -> None:
        self._actors[worker] = self._kind.remote(self._setup)

    def send(self, worker: int, ticket: int, shared: Shared, part: Part) -> None:
        if not self._known or self._known[0][0] is not shared:
            self._known = [(shared, self._ray.put(shared))]
        promise = self._actors[worker].answer.remote(self._known[0][1], part)
        self._sent[promise] = worker, ticket

    def news(self, wait_s: float) -> Iterable[Returned[Answer]]:
        if not self._sent:
            return
        ready, _ = self._ray.wait(list(self._sent), num_returns=1, timeout=wait_s)
        for promise in ready:
            worker, ticket = self._sent.pop(promise)
            try:
                yield Returned(worker, ticket, self._ray.get(promise))
            except self._ray.exceptions.RayTaskError as error:
                yield Returned(worker, ticket, expected(error))
            except self._ray.exceptions.RayError as error:
                log.debug("worker %d: %s", worker, error)

                # Forget its other parts, too, or the same loss would be reported for each.
                self._sent = {one: to for one, to in self._sent.items() if to[0] != worker}
                del self._actors[worker]
                yield Returned(worker)

    def request_end(self) -> None:
        super().request_end()
        self.end()  # an actor hears nothing while it works

    def end(self) -> None:
        for actor in self._actors.values():
            self._ray.kill(actor)
        self._actors.clear()
        self._sent.clear()
        self._held.clear()
        self._ray.shutdown()


def _connected(address: str) -> ModuleType:
    """Ray, as a client of the cluster."""
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise UsageError(
            "--cluster: Ray is not installed; pip install 'vidparse[cluster]'"
        ) from error

    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        log.debug("%s", address, exc_info=error)
        raise DeviceError(
            f"--cluster {address}: no Ray cluster answers; start one with 'ray start --head', or "
            "give the address of one"
        ) from error
    package: ModuleType = ray
    return package
