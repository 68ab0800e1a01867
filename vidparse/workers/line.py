"""The videos of a run in the order of their turns, and the workers' look at those to come.

One video after another is joined and written. Near its end, or where it is short, it leaves the
workers without ranges: then they begin with the videos that follow.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vidparse.video import Input, Source
from vidparse.workers.crew import Crew
from vidparse.workers.join import SharedSession


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
