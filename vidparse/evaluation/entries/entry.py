"""Entries: a model or a folder of predictions, behind one interface."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from vidparse.data import Dataset, FrameRecord, Video
from vidparse.maps import Prediction

VideoFrames = tuple[Video, tuple[FrameRecord, ...]]  # a video, and its frames to answer for
InputFrame = tuple[FrameRecord, np.ndarray | None]


class Entry(Protocol):
    """Answers for the frames of one video after another, in order."""

    name: str  # short, for table heads
    detail: str  # its full description
    needs_images: bool
    is_panoptic: bool
    notes: tuple[str, ...]  # sentences for readers of its scores; after `check`

    def check(self, dataset: Dataset, videos: Sequence[VideoFrames]) -> None:
        """Refuse what can be refused before the first frame: labels, missing frames.

        Args:
            dataset: of the videos.
            videos: each with the frames that will be fed.

        Raises:
            UsageError: other classes than the data set's.
            InputError: a prediction is missing or its list disagrees; the file is named.
        """

    def fingerprint(self, video: Video) -> str:
        """Changes when the answers for this video may change."""

    def answers(self, video: Video, frames: Iterable[InputFrame]) -> Iterator[Prediction]:
        """The answers to frames of one video, one per frame, in order.

        Args:
            frames: each with its image, RGB uint8 (H, W, 3), if images are needed. As many are
                taken before an answer as that answer needs.

        Raises:
            InputError: a prediction cannot be read or holds what it must not; it is named.
        """

    def hint_for_offset(self, offset: int) -> str:
        """A sentence: how to mend class ids that would be right with `offset` (1 or -1) added."""


def stamp_of(path: Path) -> str:
    """Name, size and time of a file: differs when the file was changed."""
    try:
        status = path.stat()
    except OSError:
        return f"{path} missing"
    return f"{path} {status.st_size} {status.st_mtime_ns}"
