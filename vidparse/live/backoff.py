"""The pauses between tries to reach a source again."""

from __future__ import annotations

import random

_FIRST_S, _LONGEST_S = 0.5, 30.0
_LASTING_S = 10.0  # a connection that held so long was a good one


class Backoff:
    """Pauses that double up to half a minute, each shortened at random by up to a half.

    The random part keeps many readers of one server from coming back at the same moment.

    Args:
        first_s: the first pause. longest_s: the longest one.
    """

    def __init__(self, first_s: float = _FIRST_S, longest_s: float = _LONGEST_S) -> None:
        self._first_s, self._longest_s = first_s, longest_s
        self._next_s = first_s

    def pause_s(self) -> float:
        """The next pause, in seconds."""
        now_s, self._next_s = self._next_s, min(2 * self._next_s, self._longest_s)
        return now_s * random.uniform(0.5, 1.0)

    def lasted(self, time_s: float) -> None:
        """Begin with short pauses again, if the last connection held for long enough."""
        if time_s >= _LASTING_S:
            self._next_s = self._first_s
