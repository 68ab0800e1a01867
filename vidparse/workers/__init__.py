"""Workers: the clips of videos segmented by several processes, on one machine or many."""

from vidparse.workers.crew import Crew
from vidparse.workers.sharing import (
    NOT_CUT,
    Begun,
    InputQueue,
    SharedSession,
    Sharing,
    shared_session,
)

__all__ = [
    "NOT_CUT",
    "Begun",
    "Crew",
    "InputQueue",
    "SharedSession",
    "Sharing",
    "shared_session",
]
