"""Workers: the parts of videos, or whole ones, by several processes on one machine or many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vidparse.tables import public_member

if TYPE_CHECKING:
    from vidparse.workers.crew import Crew
    from vidparse.workers.sharing import (
        NOT_CUT,
        Begun,
        InputQueue,
        RangeCrew,
        SharedSession,
        shared_session,
    )
    from vidparse.workers.wanted import Sharing

# Public name -> module; loaded on first use, as most runs have one process.
_PUBLIC = {
    "NOT_CUT": "vidparse.workers.sharing",
    "Begun": "vidparse.workers.sharing",
    "Crew": "vidparse.workers.crew",
    "InputQueue": "vidparse.workers.sharing",
    "RangeCrew": "vidparse.workers.sharing",
    "SharedSession": "vidparse.workers.sharing",
    "Sharing": "vidparse.workers.wanted",
    "shared_session": "vidparse.workers.sharing",
}
__all__ = [
    "NOT_CUT",
    "Begun",
    "Crew",
    "InputQueue",
    "RangeCrew",
    "SharedSession",
    "Sharing",
    "shared_session",
]


def __getattr__(name: str) -> object:
    return public_member(_PUBLIC, __name__, name)
