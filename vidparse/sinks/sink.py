"""What an output is: the contract of a sink and the options every sink is made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Protocol

from vidparse.frame import Frame, Prediction, VideoInfo
from vidparse.labels import Labels


@dataclass(frozen=True, slots=True)
class RunHeader:
    """How a result was made; written into records so that it can be made again."""

    model: str = ""
    weights_sha256: str | None = None
    argv: tuple[str, ...] = ()
    version: str = ""
    backend: str = ""
    device: str = ""
    precision: str = ""


@dataclass(frozen=True, slots=True)
class SinkOptions:
    """What a user may say about outputs. Each sink reads the fields that concern it."""

    opacity: float = 0.5  # of the class colours over the picture, 0..1
    contours: bool = False  # draw the borders between regions
    legend: bool = False  # draw the names of the classes in view
    palette: str | None = None  # label set name, "distinct", or a .json/.txt file of RGB rows
    classes: tuple[int, ...] | None = None  # class ids asked for; the rest is void already
    audio: bool = True  # copy audio and subtitles where the container can hold them
    overwrite: bool = False
    rle: bool = False  # add COCO run lengths to jsonl
    crf: int | None = None  # x264 quality of the overlay, 0 (lossless) to 51
    preset: str | None = None  # x264 speed of the overlay
    pipe_format: str | None = None  # on stdout: "y4m", "raw", "matroska" or "nut"
    header: RunHeader = field(default_factory=RunHeader)


class Sink(Protocol):
    """An output of one input: opened once, written in order, closed exactly once."""

    outputs: tuple[str, ...]  # final names, for the summary; "-" is stdout
    notes: list[str]  # what the user should know about the output, one line each

    def open(self, info: VideoInfo, labels: Labels) -> None:
        """Start writing under a temporary name.

        Raises:
            OutputError: the output can not be written, or can not hold these labels or pictures.
        """

    def write(self, frame: Frame, prediction: Prediction) -> None:
        """Add one frame.

        Raises:
            OutputError: disk full, or ids that the output can not hold.
            ClosedPipe: the reader of stdout went away.
        """

    def close(self, *, keep: bool, packets: Sequence[Any] = ()) -> None:
        """Finalise and rename into place (keep), or remove what was written.

        Safe after a failed `open` or `write`; an output whose writing failed is removed even
        when asked to keep it. `packets` are the copied-stream packets after the last frame.
        """


class ListedSink(Sink, Protocol):
    """What a class in SINKS adds to a sink: how its outputs are named, and how one is made."""

    suffix: ClassVar[str]  # of default names: "clip" + suffix
    containers: ClassVar[dict[str, str]]  # file ending -> container; empty: any ending will do
    is_folder: ClassVar[bool]

    def __init__(self, target: Path | BinaryIO, options: SinkOptions) -> None:
        """`target` is the final path, or an open binary stream for stdout; touches no file."""
