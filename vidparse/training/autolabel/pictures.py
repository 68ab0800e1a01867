"""The pictures to be labelled: frames of a data set, of videos, or files in folders."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np

from vidparse.data import Dataset
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


class Pictures:
    """Pictures in order, one video after another; one pass.

    Args:
        videos: by the name of the folder that their frames go to, pictures or a video to decode.
        every: take every n-th frame of videos. span_s: range of each, seconds; None: open.
        notes: for the user, one line each.

    Attributes:
        expected: how many there are; of a video a guess, until it ends.
        truncated: the error of the first video that ended early; the others are read.
        notes: complete after iterating.

    Raises:
        InputError: two pictures would have one mask.
    """

    def __init__(
        self,
        videos: Mapping[str, Sequence[Picture] | Input],
        *,
        every: int = 1,
        span_s: tuple[float | None, float | None] = (None, None),
        notes: Sequence[str] = (),
    ) -> None:
        self._videos, self._every, self._span_s = videos, every, span_s
        self._known = [
            one for known in videos.values() if not isinstance(known, Input) for one in known
        ]
        self.expected = len(self._known)
        self.truncated: TruncatedError | None = None
        self.notes = list(notes)
        for (video, stem), times in Counter((one.video, one.stem) for one in self._known).items():
            if times > 1:
                raise InputError(
                    f"{video}: {times} pictures are called '{stem}', and a mask goes by that name; "
                    "rename them"
                )

    @property
    def labelled(self) -> int:
        """Pictures that have a mask."""
        return sum(one.load_mask is not None for one in self._known)

    def __iter__(self) -> Iterator[Picture]:
        for name, one in self._videos.items():
            yield from self._frames(name, one) if isinstance(one, Input) else one

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


def pictures_of_dataset(dataset: Dataset, *, unlabelled: bool = False) -> Pictures:
    """The frames of a split; with `unlabelled` only those that have no mask.

    Raises:
        InputError: there are none.
    """
    videos: dict[str, list[Picture]] = {}
    for video in dataset.videos:
        name = _file_name(video.name)
        for frame in video.frames:
            if unlabelled and frame.labelled:
                continue
            mask = partial(dataset.load_mask, frame) if frame.labelled else None
            load = partial(dataset.load_image, frame)
            picture = Picture(name, _file_name(frame.stem), load, frame.image, mask)
            videos.setdefault(name, []).append(picture)
    if not videos:
        what = "no frame without a mask" if unlabelled else "no frame"
        raise InputError(f"{dataset.name} {dataset.split}: has {what}; choose another --split")
    return Pictures(videos)


def pictures_of_inputs(
    inputs: Sequence[str],
    *,
    every: int = 1,
    span_s: tuple[float | None, float | None] = (None, None),
) -> Pictures:
    """Every n-th frame of what people name: videos, and folders, patterns or files of pictures.

    Raises:
        UsageError: two inputs of one name, or a range of pictures.
        InputError: one that names nothing.
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

    videos: dict[str, Sequence[Picture] | Input] = dict(found)
    for name, one in found.items():
        files = one.sequence()
        if files and span_s != (None, None):
            raise UsageError(f"--start, --end: are for videos; {one.name} holds pictures")
        if files:
            videos[name] = [
                Picture(name, path.stem, partial(read_rgb, path), path) for path in files[::every]
            ]
    notes = [note for one in found.values() for note in one.notes]
    return Pictures(videos, every=every, span_s=span_s, notes=notes)


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
