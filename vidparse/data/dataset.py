"""Labelled video data: videos of frames on disk, read lazily, masks brought to training ids."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol, TypeGuard, runtime_checkable

import numpy as np

from vidparse.data.values import MaskValues
from vidparse.errors import InputError
from vidparse.labels import Labels
from vidparse.maps import SegmentMap

OnMissing = Callable[[InputError], None]  # told of each listed thing that is not there


def refuse(error: InputError) -> None:
    """The usual `OnMissing`: the first thing missing is one too many."""
    raise error


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """One frame of a data set: which it is, and where it lies when it lies on disk."""

    video: str
    stem: str  # file name without its ending
    index: int  # position in the video
    image: Path | None = None
    mask: Path | None = None
    labelled: bool = True

    def __str__(self) -> str:
        return str(self.image) if self.image else f"{self.video} {self.stem}"


@dataclass(frozen=True, slots=True)
class Video:
    """Frames of one recording in order of time.

    interval_s: seconds from frame to frame, the usual ones; None where nothing tells, infinity for
        pictures that are no video at all.
    """

    name: str
    frames: tuple[FrameRecord, ...]
    interval_s: float | None = None


def counted_interval_s(numbers: Sequence[int], rate_hz: float) -> float | None:
    """Seconds between frames, the median, from their numbers in the recording.

    Args:
        numbers: of the frames, ascending. rate_hz: frames per second of the recording.
    """
    steps = [after - before for before, after in pairwise(numbers)]
    return statistics.median(steps) / rate_hz if steps else None


class Dataset(Protocol):
    """One split of a data set."""

    name: str
    split: str
    labels: Labels
    videos: tuple[Video, ...]

    def load_image(self, frame: FrameRecord) -> np.ndarray:
        """RGB uint8 (H, W, 3)."""
        ...

    def load_mask(self, frame: FrameRecord) -> np.ndarray:
        """Training ids uint8 (H, W): 0..K-1 and IGNORE."""
        ...


class DatasetOpener(Protocol):
    """How a data set in a folder is opened: its class."""

    def __call__(self, root: Path, split: str, *, on_missing: OnMissing = refuse) -> Dataset:
        """A split; what `on_missing` lets pass is left out.

        Raises:
            InputError: the folder is not laid out like it.
        """
        ...


@runtime_checkable
class PanopticDataset(Dataset, Protocol):
    """A data set that tells objects apart."""

    def load_panoptic(self, frame: FrameRecord) -> SegmentMap:
        """Segments of a labelled frame; an id is one object for the whole video.

        Raises:
            InputError: damaged, or the picture disagrees with its json; the file is named.
        """
        ...


@runtime_checkable
class IndexDataset(Dataset, Protocol):
    """A data set whose masks store one number a pixel."""

    values: MaskValues | None  # None where this copy of it stores colours instead


def is_panoptic(dataset: Dataset) -> TypeGuard[PanopticDataset]:
    """Whether a data set tells objects apart."""
    return isinstance(dataset, PanopticDataset)


def frame_interval_s(videos: Sequence[Video]) -> float | None:
    """Seconds from frame to frame: the median over videos; None where none tells it."""
    known = [video.interval_s for video in videos if video.interval_s is not None]
    return statistics.median(known) if known else None


def labelled_frames(dataset: Dataset) -> list[FrameRecord]:
    """Every frame of the split that has a mask."""
    return [frame for video in dataset.videos for frame in video.frames if frame.labelled]
