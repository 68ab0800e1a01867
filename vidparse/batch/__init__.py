"""A batch: the inputs of a call, each from opening to the last rename, and what they share."""

from vidparse.batch.batch import STDIN, Batch, clip_options
from vidparse.batch.result import InputResult, Outcome
from vidparse.batch.turn import Turn
from vidparse.batch.watcher import Silent, Watcher

__all__ = [
    "STDIN",
    "Batch",
    "InputResult",
    "Outcome",
    "Silent",
    "Turn",
    "Watcher",
    "clip_options",
]
