"""Workers that share ranges: who has which, what came back, and what happens when one is killed."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from vidparse.errors import DeviceError, VidparseError
from vidparse.workers.job import Job, PackedClip, Range

log = logging.getLogger(__name__)

_WAIT_S = 0.1  # how soon a wish to stop is noticed
_EACH = 2  # ranges that a worker has: the one it works at, and the next
_AHEAD = 3  # ranges per worker that are under way or wait to be joined
_TRIES = 3  # of a range whose worker is killed

Outcome = tuple[PackedClip, ...] | VidparseError


@dataclass(frozen=True, slots=True)
class Returned:
    """News of a worker: the outcome of a range; None: the worker is gone, with all it had."""

    worker: int
    ticket: int = 0
    outcome: Outcome | None = None


class Crew(ABC):
    """A number of workers, each with a network of its own.

    A place where workers run is a subclass: it starts them, sends them ranges and hears from them.
    Used by one thread at a time. As a context manager it ends all workers with the block.

    Args:
        count: of workers.
        stop: when set, nobody waits for an outcome any more.
    """

    def __init__(self, count: int, stop: threading.Event) -> None:
        self.count, self._stop = count, stop
        self._tickets = 0
        self._wanted: dict[int, tuple[Job, Range]] = {}
        self._waiting: deque[int] = deque()  # tickets that no worker has
        self._held: dict[int, list[int]] = {}  # tickets of each worker, the first is under way
        self._outcomes: dict[int, Outcome] = {}
        self._killed: Counter[int] = Counter()  # times by ticket

    @abstractmethod
    def start(self, worker: int) -> None:
        """Start the worker of this number, also in place of one that is gone.

        Raises:
            DeviceError: it cannot be started.
        """

    @abstractmethod
    def send(self, worker: int, ticket: int, job: Job, wanted: Range) -> None:
        """Give a range to a worker that may be gone, of which `news` tells later."""

    @abstractmethod
    def news(self, wait_s: float) -> Iterable[Returned]:
        """What has come back; waits for the first of it, but no longer than `wait_s`."""

    @abstractmethod
    def end(self) -> None:
        """End all workers at once. Idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.end()

    @property
    def has_room(self) -> bool:
        """True while fewer ranges are under way than bound the memory that outcomes take."""
        return len(self._wanted) < _AHEAD * self.count

    def submit(self, job: Job, wanted: Range) -> int:
        """Have a range segmented some time; a ticket for its outcome."""
        self._tickets += 1
        self._wanted[self._tickets] = job, wanted
        self._waiting.append(self._tickets)
        return self._tickets

    def cancel(self, tickets: Iterable[int]) -> None:
        """Nobody wants these outcomes any more."""
        for ticket in tickets:
            self._wanted.pop(ticket, None)
            self._outcomes.pop(ticket, None)

    def outcome(self, ticket: int, halted: threading.Event) -> tuple[PackedClip, ...] | None:
        """The clips of a range, once; None where the run was stopped before they came.

        Args:
            halted: when set, nobody waits for this outcome any more.

        Raises:
            VidparseError: what the worker raised, or DeviceError: its workers were killed.
        """
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

    def attend(self, wait_s: float = 0.0) -> None:
        """Take in what came back, and keep the workers busy."""
        self._hand_out()
        for one in self.news(wait_s):
            if one.outcome is None:
                self._lost(one.worker)
                continue
            self._held[one.worker].remove(one.ticket)
            if one.ticket in self._wanted:
                self._outcomes[one.ticket] = one.outcome
        self._hand_out()

    def _hand_out(self) -> None:
        """Give each worker its share; first the ones that have least, which all have one first."""
        for full in range(1, _EACH + 1):
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
        """Have its ranges done by others, before all that wait."""
        tickets = self._held.pop(worker)
        log.info("worker %d is gone with %d ranges", worker, len(tickets))
        if tickets:
            self._killed[tickets[0]] += 1
            if self._killed[tickets[0]] >= _TRIES:
                ticket = tickets.pop(0)
                if ticket in self._wanted:
                    self._outcomes[ticket] = DeviceError(
                        f"workers: {_TRIES} were killed at one part of the video, by the system "
                        "or by hand; where memory runs out, use fewer --workers or a lower --size"
                    )
        self._waiting.extendleft(reversed(tickets))
