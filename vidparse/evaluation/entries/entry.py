"""What is scored: a model or a folder of predictions, behind one interface."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from vidparse.data import Dataset, FrameRecord, Video
from vidparse.maps import Prediction

Wanted = tuple[Video, tuple[FrameRecord, ...]]  # a video, and its frames to answer for


class Entry(Protocol):
    """Answers for the frames of one video after another, in order."""

    name: str  # short, for table heads
    detail: str  # what it is, in full
    needs_images: bool
    is_panoptic: bool
    notes: tuple[str, ...]  # what a reader of its scores must know, a sentence each; after `check`

    def check(self, dataset: Dataset, videos: Sequence[Wanted]) -> None:
        """Refuse what can be refused before the first frame: labels, missing frames.

        Args:
            dataset: what will be asked about.
            videos: each with the frames that will be fed.

        Raises:
            UsageError: other classes than the data set's.
            InputError: a prediction is missing or its list disagrees; the file is named.
        """

    def fingerprint(self, video: Video) -> str:
        """Changes when the answers for this video may change."""

    def begin(self, video: Video) -> None:
        """A new video: forget the past."""

    def feed(self, frame: FrameRecord, image: np.ndarray | None) -> list[Prediction]:
        """Predictions that became ready, in order; `image` is RGB uint8 (H, W, 3) if needed.

        Raises:
            InputError: a prediction cannot be read or holds what it must not; it is named.
        """

    def finish(self) -> list[Prediction]:
        """Predictions that are left at the end of the video."""

    def hint_for_offset(self, offset: int) -> str:
        """A sentence: how to mend class ids that would be right with `offset` (1 or -1) added."""


def stamp_of(path: Path) -> str:
    """Name, size and time of a file: differs when the file was changed."""
    try:
        status = path.stat()
    except OSError:
        return f"{path} missing"
    return f"{path} {status.st_size} {status.st_mtime_ns}"
