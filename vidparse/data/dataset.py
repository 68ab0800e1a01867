"""Labelled video data: videos of frames, read lazily, with masks brought to training ids.

Every data set is one record, whatever its format: a new one is one file with a :class:`Format`,
which opens it with the functions that read its masks, and one line in `vidparse.data.FORMATS`.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Protocol, cast

import numpy as np

from vidparse.data import FORMATS, SAMPLES
from vidparse.data.pictures import IGNORE, MaskValues, read_rgb
from vidparse.errors import InputError, UsageError
from vidparse.labels import Labels, class_ids_in
from vidparse.maps import SegmentMap
from vidparse.tables import member_at

SPLITS = ("train", "val", "test")
ALL = "all"  # the split of layouts that have none
OnMissing = Callable[[InputError], None]  # gets each listed thing that is not there


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

    interval_s: seconds from frame to frame, the usual ones; None where not known, infinity for
        pictures that are no video at all.
    """

    name: str
    frames: tuple[FrameRecord, ...]
    interval_s: float | None = None


class ExactFlow(NamedTuple):
    """The true motion from a frame to the next one of its video.

    flow: float32 (2, H, W), pixels right and down. valid: bool (H, W), False where the next frame
    does not show the point: it is hidden there, or out of the picture.
    """

    flow: np.ndarray
    valid: np.ndarray


def image_of_file(frame: FrameRecord) -> np.ndarray:
    """RGB uint8 (H, W, 3) of a frame that lies on disk.

    Raises:
        InputError: missing or damaged; the file is named.
    """
    assert frame.image is not None
    return read_rgb(frame.image)


ReadObjects = Callable[[FrameRecord, Container[str]], Mapping[int, tuple[str, np.ndarray]]]


@dataclass(frozen=True)
class Dataset:
    """One split of a data set.

    It gives `values`, `read_mask` or `read_segments`, whichever is least: the others follow. All
    functions must be picklable, since the workers of a training run read, too.

    name: of its format, or the address of rendered scenes.
    values: the meaning of the numbers in its masks, where they are numbers.
    read_mask: class ids of a labelled frame, uint8 (H, W): 0..K-1 and IGNORE.
    read_segments: of a data set that distinguishes objects: the segments of a labelled frame; an id
        is one object for the whole video.
    read_objects: of a data set whose files list objects that its masks do not distinguish: those of
        a labelled frame whose class is in `names`, each a class name (of COCO, or "rider") and a
        mask bool (H, W), by numbers that find them again.
    read_image: RGB uint8 (H, W, 3).
    read_clean: the same of pictures that are shown degraded, before that; None of all others.
    read_flow: the motion of a frame to the next of its video, where it is known, as of rendered
        ones; None: of none. It is never called with the last frame of a video.
    metrics: that scores on it are usually quoted by, names in METRICS. With objects in both
        data and predictions, these come after VPQ and STQ.
    windows: of VPQ, in frames.
    recipe: of frames that are made when they are read: all that they depend on, so that results on
        others are not taken for results on these. "" where files have all of it.
    notes: for the user, on labels that are not what its files hold, a line each.
    """

    name: str
    split: str
    labels: Labels
    videos: tuple[Video, ...]
    values: MaskValues | None = None
    read_mask: Callable[[FrameRecord], np.ndarray] | None = None
    read_segments: Callable[[FrameRecord], SegmentMap] | None = None
    read_objects: ReadObjects | None = None
    read_image: Callable[[FrameRecord], np.ndarray] = image_of_file
    read_clean: Callable[[FrameRecord], np.ndarray] | None = None
    read_flow: Callable[[FrameRecord], ExactFlow] | None = None
    metrics: tuple[str, ...] = ("miou",)
    windows: tuple[int, ...] = (1, 2, 4, 6)
    recipe: str = ""
    notes: tuple[str, ...] = ()

    @property
    def is_panoptic(self) -> bool:
        """True if it distinguishes objects."""
        return self.read_segments is not None

    def load_image(self, frame: FrameRecord) -> np.ndarray:
        """RGB uint8 (H, W, 3).

        Raises:
            InputError: missing or damaged; the file is named.
        """
        return self.read_image(frame)

    def load_mask(self, frame: FrameRecord) -> np.ndarray:
        """Training ids uint8 (H, W) of a labelled frame: 0..K-1 and IGNORE.

        Raises:
            InputError: missing, damaged, or with values that the format refuses; the file is named.
        """
        if self.read_mask is not None:
            return self.read_mask(frame)
        if self.values is not None:
            assert frame.mask is not None
            return self.values.read(frame.mask)
        return self.load_truth(frame).classes()

    def load_truth(self, frame: FrameRecord) -> SegmentMap:
        """The map of a labelled frame: of segments where it has objects, else of classes.

        Raises:
            InputError: as of :meth:`load_mask`, the picture disagrees with its json, or a data set
                that distinguishes objects read none.
        """
        if self.read_segments is None:
            return SegmentMap(self.load_mask(frame))

        truth = self.read_segments(frame)
        if truth.segments is None:
            raise InputError(
                f"{frame.mask or frame}: data set {self.name} distinguishes objects and read no "
                "segments here; list them in the map, or let it give read_mask"
            )
        return truth


def in_labels(dataset: Dataset, labels: Labels) -> Dataset:
    """A data set whose masks hold the classes of `labels`; objects are one segment per class.

    Raises:
        UsageError: its classes are not known as parts of those, or are more than 8 bits hold.
    """
    class_ids = class_ids_in(dataset.labels, labels)
    if class_ids is None:
        return dataset
    if len(labels) > IGNORE:
        raise UsageError(
            f"labels '{labels.name}': {len(labels)} classes; masks hold {IGNORE} at most"
        )

    # Start from void, so that ids beyond the classes stay void.
    table = np.full(IGNORE + 1, IGNORE, np.uint8)
    table[: len(class_ids)] = class_ids
    masks = _RegroupedMasks(dataset, table)
    return replace(
        dataset,
        labels=labels,
        values=None,
        read_mask=masks,
        read_segments=None,
        read_objects=None,
    )


@dataclass(frozen=True, slots=True)
class _RegroupedMasks:
    """Masks of a data set with every id replaced by its entry in a table, uint8 (256,)."""

    dataset: Dataset
    table: np.ndarray

    def __call__(self, frame: FrameRecord) -> np.ndarray:
        return self.table[self.dataset.load_mask(frame)]


def labelled_frames(dataset: Dataset) -> list[FrameRecord]:
    """Every frame of the split that has a mask."""
    return [frame for video in dataset.videos for frame in video.frames if frame.labelled]


def frame_interval_s(videos: Sequence[Video]) -> float | None:
    """Seconds from frame to frame: the median over videos; None where none has it."""
    known = [video.interval_s for video in videos if video.interval_s is not None]
    return statistics.median(known) if known else None


def refuse(error: InputError) -> None:
    """The usual `OnMissing`: the first thing missing is one too many."""
    raise error


class Opener(Protocol):
    """The function that opens a format."""

    def __call__(self, root: Path, split: str, *, on_missing: OnMissing = refuse) -> Dataset:
        """A split; what `on_missing` lets pass is left out.

        Raises:
            InputError: the folder is not laid out like this.
        """
        ...


@dataclass(frozen=True, slots=True)
class Format:
    """The layout of a data set in its folder.

    open: opens a split.
    sign: its mark, in words. matches: True for a folder that has it.
    splits: those that a folder has.
    masks: patterns of the mask files of {split} and {video}; the file name of a mask is its frame's
        name and the ending after `*`.
    owns: True if a frame's name (without the ending) belongs to a split, for patterns that find
        more than the split's masks.
    every_frame: all frames of a split have masks if any has.
    usually: the name of the format that such folders are opened as where nobody names one.
    file: in words, a file that is opened in place of a folder, and then by itself; "": none is.
    """

    open: Opener
    sign: str
    matches: Callable[[Path], bool]
    splits: Callable[[Path], tuple[str, ...]]
    masks: tuple[str, ...] = ()
    owns: Callable[[str, str], bool] = lambda stem, split: True
    every_frame: bool = True
    usually: str = ""
    file: str = ""


def format_of(name: str) -> Format:
    """A format by its name in FORMATS.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in FORMATS:
        raise UsageError(
            f"data set '{name}': unknown; use {', '.join([*sorted(FORMATS), *SAMPLES])}"
        )
    place = FORMATS[name]
    return cast(Format, member_at(place if ":" in place else f"{place}:FORMAT"))


def open_dataset(name: str, root: Path | None, split: str) -> Dataset:
    """A split of a data set by name; `sample://street` and `sample://crowd` need no folder.

    Raises:
        UsageError: unknown data set. InputError: the folder is missing or not laid out like it.
    """
    if name.startswith("sample://"):
        from vidparse.data.rendered import open_rendered

        return open_rendered(name, split)
    known = format_of(name)
    if root is None:
        raise UsageError(f"data set '{name}': lies in a folder; name it with --data")
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; point --data at the data set")
    return known.open(root, split)
