"""Keep predictions while they are scored, in the layout a challenge takes."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from vidparse.data import FrameRecord, Video
from vidparse.errors import OutputError
from vidparse.frame import Frame, VideoInfo
from vidparse.image import ColourTags, Rgb
from vidparse.labels import Labels
from vidparse.maps import Prediction
from vidparse.sinks import Sink, SinkOptions, make_sinks
from vidparse.video.inputs import Input

SUBMISSIONS = ("vspw", "vipseg")


class SubmissionSaver:
    """A folder that every video of a split adds to.

    Args:
        layout: one of SUBMISSIONS.
        out: the folder; made when it is not there.
        labels: what the class ids mean.

    Raises:
        OutputError: the folder is not empty, and `options` do not say to replace what it holds.
    """

    def __init__(self, layout: str, out: Path, labels: Labels, options: SinkOptions) -> None:
        if not options.overwrite and out.is_dir() and any(out.iterdir()):
            raise OutputError(f"{out}: is not empty; give --overwrite or another folder")
        self._layout, self._out, self._labels, self._options = layout, out, labels, options
        self._sink: Sink | None = None

    def begin(self, video: Video, size_hw: tuple[int, int]) -> None:
        first = video.frames[0].image
        (self._sink,) = make_sinks(
            [self._layout],
            source=Input(str(first.parent), first.parent) if first else Input(video.name),
            out=f"{self._out}/",
            options=self._options,
            video=video.name,
        )
        info = VideoInfo(
            name=video.name,
            size_hw=size_hw,
            time_base=Fraction(1, 25),
            rate=None,
            frames=len(video.frames),
            duration_s=None,
            sample_aspect_ratio=Fraction(1),
            colour=ColourTags(),
        )
        self._sink.open(info, self._labels)

    def write(self, frame: FrameRecord, image: np.ndarray, prediction: Prediction) -> None:
        assert self._sink is not None
        picture = Frame(frame.index, frame.index, Rgb(image), name=frame.stem)
        self._sink.write(picture, prediction)

    def end(self, *, keep: bool) -> None:
        assert self._sink is not None
        sink, self._sink = self._sink, None
        sink.close(keep=keep)
