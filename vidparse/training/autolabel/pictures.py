"""The pictures to be labelled: frames of a data set, of videos, or files in folders."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice

import numpy as np

from vidparse.data import Dataset, FrameRecord
from vidparse.data.dataset import image_of_file
from vidparse.data.folders import PICTURES
from vidparse.data.shrink import shrunk_picture, shrunk_size
from vidparse.errors import InputError, Interrupted, UsageError
from vidparse.frame import NOMINAL_RATE, Frame, VideoInfo
from vidparse.image import ColourTags, Rgb
from vidparse.sinks import is_output
from vidparse.video import Input, Source, expand_inputs, open_video


@dataclass(frozen=True, slots=True)
class Picture(Frame):
    """A frame that is a picture of its own.

    record: of the data set or folder that it comes from.
    """

    record: FrameRecord | None = None


@dataclass(frozen=True, slots=True)
class Recording:
    """Pictures, or a video to be decoded, whose frames go to one folder.

    name: of that folder.
    pictures: each with the name that its mask will have.
    video: in place of pictures.
    read: RGB uint8 (H, W, 3) of a picture.
    notes: for the user, one line each.
    """

    name: str
    pictures: tuple[tuple[str, FrameRecord], ...] = ()
    video: Input | None = None
    read: Callable[[FrameRecord], np.ndarray] = image_of_file
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """Settings of how recordings are read.

    every: take every n-th frame of videos. start_s, end_s: range of each, seconds; None: open.
    shrink: larger pictures are brought to this shorter side; None: they keep their size.
    """

    every: int = 1
    start_s: float | None = None
    end_s: float | None = None
    shrink: int | None = None


@dataclass(slots=True)
class FrameCount:
    """Frames that are done, and all that there are.

    expected: of all; of a video a guess, until it ends.
    limit: no more are done; None: all.
    on_frame: gets the number of frames done, and of all.
    """

    expected: int
    limit: int | None
    on_frame: Callable[[int, int], None]
    stop: threading.Event = field(default_factory=threading.Event)
    made: int = 0
    passed: int = 0  # done before; only the thread that decodes counts them

    @property
    def done(self) -> int:
        return self.made + self.passed

    @property
    def room(self) -> int | None:
        """Frames that may still be done; None: any number."""
        return None if self.limit is None else self.limit - self.done

    def count_made(self, _: Frame) -> None:
        self.made += 1
        self._show()

    def count_passed(self) -> None:
        self.passed += 1
        self._show()

    def _show(self) -> None:
        done, expected = self.done, min(self.expected, self.limit or self.expected)
        self.on_frame(done, max(done, expected))


class Rest(Source):
    """The frames of a recording that have no label yet, at most as many as there is room for.

    Pictures are read as training will read them. `open_video` decodes them by FFmpeg and keeps a
    JPEG in planes of 4:2:0: on CamVid and IDD-Lite 0.3 to 0.8 levels of 255 away on the mean, up to
    78 at coloured edges. It passes over damaged ones, too, and refuses a folder of several sizes.

    Args:
        is_done: of the name of a mask.
        progress: frames that are done are counted there.

    Attributes:
        info: of the video, or of the first of these pictures.
        is_empty: True where nothing is left.

    Raises:
        InputError: it cannot be read.
        TruncatedError: a video that ends before its first frame without a label.
        Interrupted: it is to stop.
    """

    def __init__(
        self,
        recording: Recording,
        reading: Reading,
        is_done: Callable[[str], bool],
        progress: FrameCount,
    ) -> None:
        self._name, self._reading = recording.name, reading
        self._is_done, self._progress = is_done, progress
        self._video: Source | None = None
        with ExitStack() as opened:
            if recording.video is not None:
                self._video = opened.enter_context(self._open(recording.video))
            frames = self._left_of_pictures if self._video is None else self._left_of_video
            self._frames = map(self._sized, frames(recording))

            # Read one frame ahead, to know if any is left and of what size.
            self._first = next(self._frames, None)
            self.is_empty = self._first is None
            if not self.is_empty:
                # Leave it open: whoever takes the frames closes it.
                opened.pop_all()

        if self._video is not None:
            self.info = self._video.info
        elif self._first is not None:
            self.info = _info_of_pictures(recording, self._first.image.size_hw)

    def __iter__(self) -> Iterator[Frame]:
        first, self._first = self._first, None
        if first is not None:
            yield first
        yield from self._frames

    @property
    def notes(self) -> list[str]:
        return [] if self._video is None else self._video.notes

    def close(self) -> None:
        if self._video is not None:
            self._video.close()

    def _open(self, video: Input) -> Source:
        start_s, end_s, every = self._reading.start_s, self._reading.end_s, self._reading.every
        source = open_video(video, start_s=start_s, end_s=end_s, stride=every, copy_streams=False)
        self._progress.expected += source.info.frames_between(start_s, end_s, every) or 0
        return source

    def _left_of_video(self, _: Recording) -> Iterator[Frame]:
        assert self._video is not None
        for frame in islice(self._video, self._progress.room):
            if self._is_left(mask_name(frame)):
                yield frame

    def _left_of_pictures(self, recording: Recording) -> Iterator[Frame]:
        """Pictures that are done are not read."""
        for index, (name, record) in enumerate(recording.pictures[: self._progress.room]):
            if self._is_left(name):
                copied = record.image is not None and record.image.suffix.lower() in PICTURES
                yield Picture(
                    index,
                    index,
                    Rgb(recording.read(record)),
                    name=name,
                    record=record,
                    file=record.image if copied else None,
                )

    def _is_left(self, name: str) -> bool:
        """False for a frame that is done, and is counted. Raises: Interrupted: it is to stop."""
        if self._progress.stop.is_set():
            raise Interrupted(f"{self._name}: stopped")
        if not self._is_done(name):
            return True
        self._progress.count_passed()
        return False

    def _sized(self, frame: Frame) -> Frame:
        """The frame, brought to the shorter side that pictures may have."""
        side = self._reading.shrink
        if shrunk_size(frame.image.size_hw, side) == frame.image.size_hw:
            return frame

        # Forget the file: a copy of it would be of the former size.
        return replace(frame, image=Rgb(shrunk_picture(frame.image.rgb(), side)), file=None)


def mask_name(frame: Frame) -> str:
    """The stem of a frame's mask: the picture's own name, else the number of the frame."""
    return f"{frame.index:06d}" if frame.name is None else frame.name


def _info_of_pictures(recording: Recording, size_hw: tuple[int, int]) -> VideoInfo:
    return VideoInfo(
        name=recording.name,
        size_hw=size_hw,
        time_base=1 / NOMINAL_RATE,
        rate=None,
        frames=len(recording.pictures),
        duration_s=None,
        sample_aspect_ratio=Fraction(1),
        colour=ColourTags(),
    )


def recordings_of_dataset(dataset: Dataset, *, unlabelled: bool = False) -> list[Recording]:
    """The frames of a split; with `unlabelled` only those that have no mask.

    Raises:
        InputError: there are none, or two would have one mask.
    """
    videos: dict[str, list[tuple[str, FrameRecord]]] = {}
    for video in dataset.videos:
        name = _file_name(video.name)
        for frame in video.frames:
            if not (unlabelled and frame.labelled):
                videos.setdefault(name, []).append((_file_name(frame.stem), frame))
    if not videos:
        what = "no frame without a mask" if unlabelled else "no frame"
        raise InputError(f"{dataset.name} {dataset.split}: has {what}; choose another --split")

    return [_of_pictures(name, found, dataset.load_image) for name, found in videos.items()]


def recordings_of_inputs(
    inputs: Sequence[str], *, every: int = 1, may_have_pictures: bool = True
) -> list[Recording]:
    """Videos, and every n-th picture of folders, patterns or files, by what people name.

    Raises:
        UsageError: two inputs of one name, or pictures where there must be none.
        InputError: an input that names nothing, or two pictures that would have one mask.
    """
    found: dict[str, Input] = {}  # by name
    for one in expand_inputs(list(inputs), is_output=is_output):
        name = _input_name(one)
        if name in found:
            raise UsageError(
                f"{one.name}: is called {name}, as is {found[name].name}; rename one, "
                "or label them into folders of their own"
            )
        found[name] = one

    recordings = []
    for name, one in found.items():
        files = one.sequence()
        if not files:
            recordings.append(Recording(name, video=one, notes=one.notes))
            continue
        if not may_have_pictures:
            raise UsageError(f"--start, --end: are for videos; {one.name} holds pictures")
        records = [
            (path.stem, FrameRecord(name, path.stem, index, path, labelled=False))
            for index, path in enumerate(files[::every])
        ]
        recordings.append(_of_pictures(name, records, notes=one.notes))
    return recordings


def _of_pictures(
    name: str,
    pictures: Sequence[tuple[str, FrameRecord]],
    read: Callable[[FrameRecord], np.ndarray] = image_of_file,
    notes: tuple[str, ...] = (),
) -> Recording:
    """Raises: InputError: two pictures would have one mask."""
    for stem, times in Counter(stem for stem, _ in pictures).items():
        if times > 1:
            raise InputError(
                f"{name}: {times} pictures are called '{stem}', and a mask goes by that name; "
                "rename them"
            )
    return Recording(name, tuple(pictures), read=read, notes=notes)


def _input_name(one: Input) -> str:
    """The folder that the frames of an input are put under: its file's or folder's name."""
    if one.name == "-":
        return "stdin"
    if one.path is None:
        return _file_name(one.name)
    whole = one.path.is_dir() or one.pattern is not None
    return one.folder_name if whole else one.path.stem


def _file_name(name: str) -> str:
    """A name that is one folder's or file's: sample://street?frames=2 -> sample_street_frames_2."""
    return re.sub(r"[/\\:?*\"<>|&=]+", "_", name)
