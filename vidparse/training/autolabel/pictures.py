"""The pictures that are to be labelled: frames of a data set, of videos, or files in folders."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from vidparse.data import Dataset, FrameRecord
from vidparse.data.pictures import read_rgb
from vidparse.errors import InputError, TruncatedError, UsageError
from vidparse.sinks import is_output
from vidparse.video import expand_inputs, open_video
from vidparse.video.inputs import Input


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture: what it will be called, and how it is read."""

    video: str
    stem: str
    load: Callable[[], np.ndarray]  # RGB uint8 (H, W, 3)
    file: Path | None = None  # where it lies, if it is a file
    load_mask: Callable[[], np.ndarray] | None = None  # training ids uint8 (H, W), if it has a mask
    sample_aspect_ratio: Fraction = Fraction(1)

    def __str__(self) -> str:
        return str(self.file) if self.file else f"{self.video} {self.stem}"


class Pictures(Protocol):
    """Pictures in order; one pass."""

    expected: int  # how many there are; of a video so far a guess, until it ends
    truncated: TruncatedError | None  # the first input that ended early; the others were read
    notes: list[str]  # one-line warnings for the user; complete after iterating

    def __iter__(self) -> Iterator[Picture]: ...


class DatasetPictures:
    """Frames of a split.

    Args:
        unlabelled: only those that have no mask.

    Raises:
        InputError: there are none.
    """

    truncated: TruncatedError | None = None

    def __init__(self, dataset: Dataset, *, unlabelled: bool = False) -> None:
        self._dataset = dataset
        self._frames = [
            (_file_name(video.name), frame)
            for video in dataset.videos
            for frame in video.frames
            if not (unlabelled and frame.labelled)
        ]
        self.expected = len(self._frames)
        self.notes: list[str] = []
        _refuse_doubles((video, _file_name(frame.stem)) for video, frame in self._frames)
        if not self._frames:
            what = "no frame without a mask" if unlabelled else "no frame"
            raise InputError(f"{dataset.name} {dataset.split}: has {what}; choose another --split")

    @property
    def labelled(self) -> int:
        """Frames that have a mask."""
        return sum(frame.labelled for _, frame in self._frames)

    def __iter__(self) -> Iterator[Picture]:
        for video, frame in self._frames:
            yield self._picture(video, frame)

    def _picture(self, video: str, frame: FrameRecord) -> Picture:
        return Picture(
            video,
            _file_name(frame.stem),
            partial(self._dataset.load_image, frame),
            frame.image,
            partial(self._dataset.load_mask, frame) if frame.labelled else None,
        )


class InputPictures:
    """Every n-th frame of what people name: videos, and folders, patterns or files of pictures.

    Args:
        span_s: the range of each video, seconds from its first frame; None where it is open.

    Raises:
        UsageError: two inputs of one name, or a range of pictures. InputError: one that names
            nothing.
    """

    def __init__(
        self,
        inputs: list[str],
        *,
        every: int = 1,
        span_s: tuple[float | None, float | None] = (None, None),
    ) -> None:
        self.expected = 0
        self.truncated: TruncatedError | None = None
        self.notes: list[str] = []
        self._every, self._span_s = every, span_s
        self._inputs: dict[str, Input] = {}  # by name
        for one in expand_inputs(inputs, is_output=is_output):
            name = _input_name(one)
            if name in self._inputs:
                raise UsageError(
                    f"{one.name}: is called {name}, as is {self._inputs[name].name}; rename one, "
                    "or label them into folders of their own"
                )
            if span_s != (None, None) and one.sequence():
                raise UsageError(f"--start, --end: are for videos; {one.name} holds pictures")
            self._inputs[name] = one
            self.notes += one.notes

    def __iter__(self) -> Iterator[Picture]:
        for name, one in self._inputs.items():
            files = one.sequence()
            yield from self._files(name, files) if files else self._frames(name, one)

    def _files(self, name: str, files: Sequence[Path]) -> Iterator[Picture]:
        paths = files[:: self._every]
        self.expected += len(paths)
        _refuse_doubles((name, path.stem) for path in paths)
        for path in paths:
            yield Picture(name, path.stem, partial(read_rgb, path), path)

    def _frames(self, name: str, one: Input) -> Iterator[Picture]:
        before, done = self.expected, 0
        start_s, end_s = self._span_s
        opened = open_video(
            one, start_s=start_s, end_s=end_s, stride=self._every, copy_streams=False
        )
        with closing(opened) as source:
            self.expected += -(-(source.info.frames or 0) // self._every)
            shape = source.info.sample_aspect_ratio
            try:
                for frame in source:
                    done += 1
                    yield Picture(
                        name, f"{frame.index:06d}", frame.image.rgb, sample_aspect_ratio=shape
                    )
            except TruncatedError as error:
                self.truncated = self.truncated or error
            self.notes += [f"{name}: {note}" for note in source.notes]
        self.expected = before + done


def _refuse_doubles(names: Iterable[tuple[str, str]]) -> None:
    """Raises: InputError: two pictures would have one mask."""
    for (video, stem), times in Counter(names).items():
        if times > 1:
            raise InputError(
                f"{video}: {times} pictures are called '{stem}', and a mask goes by that name; "
                "rename them"
            )


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
