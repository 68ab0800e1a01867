"""Workers that share work, wherever they run.

Work comes in parts: ranges of a video, or whole inputs. A crew knows who has which part, what came
back, and what to do when a worker is killed.
"""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Self

from vidparse.errors import DeviceError, VidparseError, expected
from vidparse.workers.job import Answer, Part, Setup, Shared

log = logging.getLogger(__name__)

_WAIT_S = 0.1  # how soon a wish to stop is noticed
_AHEAD = 3  # parts per worker that are under way or wait to be taken
_TRIES = 3  # of a part whose worker is killed


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
