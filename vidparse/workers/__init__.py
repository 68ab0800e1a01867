"""Workers: the clips of a long video segmented by several processes, on one machine or many."""

from vidparse.workers.crew import Crew
from vidparse.workers.join import SharedSession
from vidparse.workers.sharing import NOT_CUT, Sharing, check_memory, shared_session

__all__ = ["NOT_CUT", "Crew", "SharedSession", "Sharing", "check_memory", "shared_session"]
