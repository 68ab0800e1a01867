"""Labelled frames written as a data set: of one video, of a split, or of all splits."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from vidparse.data.dataset import ALL, Dataset, FrameRecord
from vidparse.data.pictures import IGNORE, image_size, size_mismatch
from vidparse.data.shapes import BACKGROUND
from vidparse.data.shrink import shrunk_map, shrunk_picture, shrunk_size
from vidparse.data.tool_folders import IMAGES
from vidparse.data.writers import WRITERS
from vidparse.errors import InputError, Interrupted, OutputError, UsageError
from vidparse.filenames import text_name
from vidparse.frame import NOMINAL_RATE, Frame, VideoInfo
from vidparse.image import ColourTags, Rgb
from vidparse.labels import Labels
from vidparse.maps import Prediction, SegmentMap
from vidparse.requests.outputs import SinkOptions
from vidparse.sinks.label_studio import TASKS
from vidparse.sinks.picture_set import (
    LABELS_FILE,
    PictureSet,
    is_copied,
    labels_bytes,
    picture_bytes,
    picture_stem,
)
from vidparse.sinks.sink import Target
from vidparse.sinks.split_set import SplitSet

_OF_ALL = (IMAGES, Path(TASKS).stem)  # readers' names of videos that have no folder of their own


def write_frames(
    to: str,
    base: Path,
    name: str,
    info: VideoInfo,
    labels: Labels,
    frames: Iterable[tuple[Frame, SegmentMap]],
    *,
    shelf: str = "",
    shown: str = "",
    pictures: bool = True,
    options: SinkOptions | None = None,
) -> list[str]:
    """Write the labelled frames of one video into a folder; notes for the user.

    Args:
        to: one of WRITERS. base: the folder. name: of the video.
        shelf: folder within that of the pictures. shown: name that the folder will have.
        pictures: copy them into `images/`; formats that consist of pictures always hold them.
        options: of the sink.

    Raises:
        OutputError: it cannot be written. Whatever `frames` raises.
    """
    kind = WRITERS[to].sink
    is_set = issubclass(kind, PictureSet)
    place = base if is_set else base / f"{name}{kind.suffix}"

    # Write the classes beside a file that cannot mark things among them.
    if not is_set:
        base.mkdir(parents=True, exist_ok=True)
        (base / LABELS_FILE).write_bytes(labels_bytes(labels))
    sink = kind(Target.of(place, replace=False), options or SinkOptions())
    if isinstance(sink, PictureSet) and shown:
        sink.place = shown

    with sink:
        sink.open(info, labels)
        if isinstance(sink, SplitSet):
            sink.begin_video(ALL, name, alone=True)
        for frame, found in frames:
            if pictures and not is_set:
                frame = _with_copy(frame, base / IMAGES, shelf)
            sink.write(frame, Prediction(frame.index, found, labels))
    return sink.notes


class Rewriter:
    """The frames of data sets on their way into a format.

    Attributes:
        done, videos: frames and videos that are written. notes: of the format.
    """

    def __init__(
        self,
        to: str,
        root: Path,
        shown: str,
        *,
        pictures: bool,
        shrink: int | None,
        total: int,
        on_frame: Callable[[int, int], None],
        stop: threading.Event,
    ) -> None:
        """Write nothing yet.

        Args:
            to: one of WRITERS.
            root: the folder that all is written to. shown: the name that it will have.
            pictures, shrink: as of `convert_dataset`.
            total: frames that there are. on_frame, stop: as of `convert_dataset`, too.
        """
        self._writer, self._to = WRITERS[to], to
        self._root, self._shown = root, shown
        self._pictures, self._shrink = pictures, shrink
        self._total, self._on_frame, self._stop = total, on_frame, stop
        self.done = self.videos = 0
        self.notes: list[str] = []

    def write(self, datasets: Sequence[Dataset], *, apart: bool) -> None:
        """Write splits, each to a folder of its name where `apart`. Raises: as `convert_dataset`.

        Formats that have all splits in one folder take them together.
        """
        if issubclass(self._writer.sink, SplitSet):
            self._write_together(datasets)
            return
        for dataset in datasets:
            self._write_split(dataset, self._root / dataset.split if apart else self._root)

    def _write_split(self, dataset: Dataset, base: Path) -> None:
        labels = dataset.labels
        things_alone = "stuff" in dict(self._writer.loses)
        if things_alone and not labels.things:
            raise UsageError(
                f"--to {self._to}: holds things alone, and no class of '{labels.name}' is one; "
                "choose another format, or mark things in its labels.json"
            )

        # Classes of a semantic data set are no objects, but for formats that hold nothing else.
        if not dataset.is_panoptic and not things_alone:
            labels = replace(labels, things=frozenset())
        self._note_losses(dataset)
        recordings = _recordings(dataset)
        if issubclass(self._writer.sink, PictureSet):
            if recordings:  # none where the split has no labels, such as a test split
                self._write_set(dataset, recordings, base)
            return

        # Write a file per video, and the pictures beside.
        for video in recordings:
            self.notes += write_frames(
                self._to,
                base,
                video.name,
                self._info(video, dataset),
                labels,
                self._frames(dataset, video),
                shelf="" if len(recordings) == 1 else video.name,
                pictures=self._pictures,
            )
            self.videos += 1

    def _write_together(self, datasets: Sequence[Dataset]) -> None:
        sink = self._writer.sink(Target.of(self._root, replace=False), SinkOptions())
        labels: Labels | None = None
        assert isinstance(sink, SplitSet)
        with sink:
            for dataset in datasets:
                recordings = _recordings(dataset)
                if recordings and labels is None:
                    labels = dataset.labels
                    sink.open(self._info(recordings[0], dataset), labels)

                # Refuse splits that one list of classes cannot describe.
                if labels is not None and dataset.labels.classes != labels.classes:
                    raise InputError(
                        f"split '{dataset.split}': has other classes than the first; convert "
                        "each with --split"
                    )
                self._note_losses(dataset)
                for video in recordings:
                    sink.begin_video(dataset.split, video.name, alone=len(recordings) == 1)
                    self._add_frames(sink, dataset, video)
        self.notes += sink.notes

    def _write_set(self, dataset: Dataset, recordings: list[Recording], base: Path) -> None:
        sink = self._writer.sink(Target.of(base, replace=False), SinkOptions())
        assert isinstance(sink, PictureSet)
        sink.place = self._shown if self._root == base else f"{self._shown}/{base.name}"
        base.parent.mkdir(parents=True, exist_ok=True)
        with sink:
            sink.open(self._info(recordings[0], dataset), dataset.labels)
            for video in recordings:
                alone = len(recordings) == 1 and not video.has_name
                sink.next_video(self._info(video, dataset), alone=alone)
                self._add_frames(sink, dataset, video)
        self.notes += sink.notes

    def _add_frames(self, sink: PictureSet, dataset: Dataset, video: Recording) -> None:
        for frame, found in self._frames(dataset, video):
            sink.write(frame, Prediction(frame.index, found, dataset.labels))
        self.videos += 1

    def _info(self, video: Recording, dataset: Dataset) -> VideoInfo:
        first = dataset.load_truth(video.frames[0][1]).size_hw
        size_hw, interval, rate = shrunk_size(first, self._shrink), video.interval_s, NOMINAL_RATE
        if interval is not None and 0 < interval < math.inf:
            rate = Fraction(1 / interval).limit_denominator(1001) or NOMINAL_RATE
        count = len(video.frames)
        return VideoInfo(
            video.name, size_hw, 1 / rate, rate, count, None, Fraction(1), ColourTags()
        )

    def _frames(self, dataset: Dataset, video: Recording) -> Iterator[tuple[Frame, SegmentMap]]:
        """The frames of a video, numbered from 0. Raises: Interrupted: it is to stop."""
        kind = self._writer.sink
        needs_pixels = self._pictures or issubclass(kind, PictureSet)
        may_copy = not issubclass(kind, PictureSet) or kind.copies_files
        for index, (name, record) in enumerate(video.frames):
            if self._stop.is_set():
                raise Interrupted(f"convert: stopped after {self.done} of {self._total} frames")
            found = dataset.load_truth(record)
            self._note_frame(found, dataset.labels)
            small = shrunk_map(found, dataset.labels, self._shrink)
            image, file = _blank(small), None
            if needs_pixels:
                as_it_is = may_copy and small.size_hw == found.size_hw
                image, file = _picture(dataset, record, found, may_copy=as_it_is)
                image = Rgb(shrunk_picture(image.pixels, self._shrink))
            yield Frame(index, index, image, name=name, file=file), small
            self.done += 1
            self._on_frame(self.done, self._total)

    def _note_losses(self, dataset: Dataset) -> None:
        self.notes += dataset.notes
        present = {
            "ids": dataset.is_panoptic,
            "videos": any(len(video.frames) > 1 for video in dataset.videos),
            "stuff": len(dataset.labels.things) < len(dataset.labels),
        }
        has_bare_things = bool(dataset.labels.things) and not dataset.is_panoptic
        present |= {"things": has_bare_things, "objects": has_bare_things}
        present |= {"void": False, "crowds": False}  # until a frame has some
        self.notes += [
            f"{self._to}: {what}" for key, what in self._writer.loses if present.get(key, True)
        ]

    def _note_frame(self, found: SegmentMap, labels: Labels) -> None:
        """Note the first void pixels that become background, and the first crowd."""
        lost = {key: f"{self._to}: {what}" for key, what in self._writer.loses}
        lost = {key: note for key, note in lost.items() if note not in self.notes}
        if "crowds" in lost and any(one.is_crowd for one in found.segments or ()):
            self.notes.append(lost["crowds"])

        # Look at the pixels last, and only for formats that cannot hold void.
        is_background = BACKGROUND in map(str.casefold, labels.classes)
        if "void" in lost and is_background and (found.classes() == IGNORE).any():
            self.notes.append(lost["void"])


@dataclass(frozen=True, slots=True)
class Recording:
    """Labelled frames that make one video: each record, and the name of its picture.

    is_album: it is photographs, which are no video.
    """

    name: str
    interval_s: float | None
    frames: tuple[tuple[str, FrameRecord], ...]
    is_album: bool = False

    @property
    def has_name(self) -> bool:
        """True for a video that is called otherwise than the folder or file of all videos."""
        return not self.is_album and len(self.frames) > 1 and self.name not in _OF_ALL


def _recordings(dataset: Dataset) -> list[Recording]:
    """Videos with a labelled frame; photographs, each a video of one frame, are one together."""
    found = []
    for video in dataset.videos:
        frames = tuple((_folder_name(one.stem), one) for one in video.frames if one.labelled)
        if frames:
            found.append(Recording(_folder_name(video.name), video.interval_s, frames))
    if len(found) < 2 or any(len(video.frames) > 1 for video in dataset.videos):
        return found

    # Call photographs by their videos where their own names repeat.
    rows = [(video.name, *video.frames[0]) for video in found]
    is_known = len({stem for _, stem, _ in rows}) == len(rows)
    frames = tuple((stem if is_known else name, record) for name, stem, record in rows)
    return [Recording(dataset.split, None, frames, is_album=True)]


def _folder_name(name: str) -> str:
    """A name that is one folder's, and text that files of labels can hold."""
    return text_name(name.replace("/", "_").replace("\\", "_").strip(".")) or "video"


def _picture(
    dataset: Dataset, record: FrameRecord, found: SegmentMap, *, may_copy: bool
) -> tuple[Rgb, Path | None]:
    """The picture of a frame, and its file; where that may be copied, its pixels are blank.

    Raises:
        InputError: missing or damaged, or of another size than its labels.
    """
    if may_copy and record.image is not None and is_copied(record.image):
        image, file, size_hw = _blank(found), record.image, image_size(record.image)
    else:
        image, file = Rgb(dataset.load_image(record)), None
        size_hw = image.size_hw

    # Refuse what no reader would take, or take for something else: shifted labels look like any.
    if size_hw != found.size_hw:
        what = size_mismatch(record.image, found.size_hw, size_hw)
        raise InputError(
            f"{record.mask or record}: frame {record.stem} {what}; correct one of them"
        )
    return image, file


def _blank(found: SegmentMap) -> Rgb:
    return Rgb(np.broadcast_to(np.uint8(0), (*found.size_hw, 3)))


def _with_copy(frame: Frame, images: Path, video: str) -> Frame:
    """The frame, named within the folder of images that its picture is copied to.

    Raises:
        OutputError: two pictures of one name. OSError: disk full and the like.
    """
    ending, data = picture_bytes(frame)
    path = images / video / f"{picture_stem(frame)}{ending}"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError as error:
        raise OutputError(f"{path}: two pictures have this name; rename one") from error
    return replace(frame, name=path.with_suffix("").relative_to(images).as_posix(), file=path)
