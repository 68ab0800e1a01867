"""Options of outputs, and the origin that they record."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Annotated

from vidparse.errors import UsageError
from vidparse.requests.matte import MatteOptions
from vidparse.requests.option import PIPE_FORMATS, Option, word
from vidparse.requests.redaction import RedactOptions

OUTPUT, LOOK = "Output", "Look"  # panels
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

# Directory, file name, or "-" for stdout; None: beside the input.
Out = Annotated[
    str | os.PathLike[str] | None,
    Option(
        "Directory, file (x.mp4, x.csv, m_%04d.png, ... chooses the output), pipe, or - for "
        "stdout. Default: beside the input.",
        flag="--out",
        short="-o",
        panel=OUTPUT,
        parse=word,
    ),
]
SAVE = "Comma-separated: {choices}. Default: "  # and what it is


@dataclass(frozen=True, slots=True)
class RunHeader:
    """The origin of a result; written into records so that it can be made again."""

    model: str = ""
    weights_sha256: str | None = None
    argv: tuple[str, ...] = ()
    version: str = ""
    backend: str = ""
    device: str = ""
    precision: str = ""


@dataclass(frozen=True, slots=True)
class SinkOptions:
    """Options of outputs. Each sink reads the fields that concern it.

    classes: ids to keep; the rest is void already.
    preset: x264 speed of the overlay.
    keep_parts: an interrupted run leaves the frames so far.
    pipe_format: of stdout, one of PIPE_FORMATS.
    """

    rle: Annotated[bool, Option("COCO RLE masks in jsonl.", panel=OUTPUT)] = False
    raw_ids: Annotated[bool, Option("vspw: ids from 1, 0 for void.", panel=OUTPUT)] = False
    # copied where the container can hold them
    audio: Annotated[
        bool,
        Option("Leave audio and subtitles out.", flag="--no-audio", panel=OUTPUT, negates=True),
    ] = True
    overwrite: Annotated[bool, Option("Replace outputs.", panel=OUTPUT)] = False
    # and an interrupt leaves nothing
    skip_existing: Annotated[
        bool,
        Option(
            "Leave outputs that are there and not empty as they are, and make the others.",
            panel=OUTPUT,
        ),
    ] = False
    opacity: Annotated[float, Option("Of class colours.", panel=LOOK, least=0, most=1)] = 0.5
    contours: Annotated[bool, Option("Draw borders.", panel=LOOK)] = False
    legend: Annotated[bool, Option("Draw class names.", panel=LOOK)] = False
    labels: Annotated[bool, Option("Write class and id on every thing.", panel=LOOK)] = False
    palette: Annotated[
        str | None,
        Option(
            "'published', 'apart', 'distinct', a label set's name, or a .json/.txt file of RGB "
            "rows. Default: for overlays 'apart', for all kinds of eyes; else 'published'.",
            panel=LOOK,
            choices="palettes",
        ),
    ] = None
    crf: Annotated[
        int | None, Option("x264 quality, 0 (lossless) to 51.", panel=LOOK, least=0, most=51)
    ] = None
    mattes: MatteOptions = field(default_factory=MatteOptions)
    redaction: RedactOptions = field(default_factory=RedactOptions)
    keep_parts: bool = True
    classes: tuple[int, ...] | None = None
    preset: str | None = None
    pipe_format: str | None = None
    header: RunHeader = field(default_factory=RunHeader)

    def __post_init__(self) -> None:
        """Raises UsageError when a value is out of its range."""
        if not 0.0 <= self.opacity <= 1.0:
            raise UsageError(f"opacity {self.opacity}: out of range; give 0 (none) to 1 (solid)")
        if self.crf is not None and not 0 <= self.crf <= 51:
            raise UsageError(f"crf {self.crf}: out of range; give 0 (lossless) to 51 (worst)")
        if self.preset is not None and self.preset not in X264_PRESETS:
            raise UsageError(f"preset '{self.preset}': unknown; try {', '.join(X264_PRESETS)}")
        if self.overwrite and self.skip_existing:
            raise UsageError("--overwrite and --skip-existing: give one of them")
        if self.pipe_format is not None and self.pipe_format not in PIPE_FORMATS:
            raise UsageError(f"pipe '{self.pipe_format}': unknown; try {', '.join(PIPE_FORMATS)}")
