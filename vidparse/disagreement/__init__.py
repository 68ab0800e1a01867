"""Frames in which two models differ, or one wavers in time: ranked, and as a task for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vidparse.tables import public_member

if TYPE_CHECKING:
    from vidparse.disagreement.ranking import Disagreement, RankedFrame, rank_frames
    from vidparse.disagreement.task import write_task

# Public name -> module; loaded on first use.
_PUBLIC = {
    "Disagreement": "vidparse.disagreement.ranking",
    "RankedFrame": "vidparse.disagreement.ranking",
    "rank_frames": "vidparse.disagreement.ranking",
    "write_task": "vidparse.disagreement.task",
}
__all__ = ["Disagreement", "RankedFrame", "rank_frames", "write_task"]


def __getattr__(name: str) -> object:
    return public_member(_PUBLIC, __name__, name)
