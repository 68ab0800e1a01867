"""What an output is: the contract of a sink and the options every sink is made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Protocol

from vidparse.errors import UsageError
from vidparse.frame import Frame, Prediction, VideoInfo
from vidparse.labels import Labels

PIPE_FORMATS = ("y4m", "raw", "matroska", "nut")
X264_PRESETS = (
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
    "placebo",
)


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
    raw_ids: bool = False  # vspw: class ids as VSPW's own masks have them, 1..K with 0 for void
    header: RunHeader = field(default_factory=RunHeader)

    def __post_init__(self) -> None:
        """Raises UsageError when a value is out of its range."""
        if not 0.0 <= self.opacity <= 1.0:
            raise UsageError(f"opacity {self.opacity}: out of range; give 0 (none) to 1 (solid)")
        if self.crf is not None and not 0 <= self.crf <= 51:
            raise UsageError(f"crf {self.crf}: out of range; give 0 (lossless) to 51 (worst)")
        if self.preset is not None and self.preset not in X264_PRESETS:
            raise UsageError(f"preset '{self.preset}': unknown; try {', '.join(X264_PRESETS)}")
        if self.pipe_format is not None and self.pipe_format not in PIPE_FORMATS:
            raise UsageError(f"pipe '{self.pipe_format}': unknown; try {', '.join(PIPE_FORMATS)}")


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
    endings: ClassVar[tuple[str, ...]]  # that a chosen file name may have; empty: any
    is_folder: ClassVar[bool]

    def __init__(self, target: Path | BinaryIO, options: SinkOptions) -> None:
        """`target` is the final path, or an open binary stream for stdout; touches no file."""
