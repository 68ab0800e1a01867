"""The settings of `vidparse segment`, and of `vidparse bench`, which times it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction
from pathlib import Path
from typing import Annotated

from vidparse import DEFAULT_MODEL
from vidparse.errors import UsageError
from vidparse.requests import model as shared
from vidparse.requests.live import LiveOptions
from vidparse.requests.option import (
    DEFAULT_CUT,
    Argument,
    Option,
    comma_list,
    cut_threshold,
    frame_rate,
    input_size,
    pipe_format,
    seconds,
)
from vidparse.requests.outputs import OUTPUT, SAVE, Out, SinkOptions
from vidparse.requests.variants import Variants

INPUT, BATCH = "Input", "Many inputs"  # panels
ZOO_WORDS = ("all",)  # or names of networks, which it would take torch to list
CLUSTERS = ("auto",)  # or an address
DECODERS = ("auto", "cpu", "gpu")
ARMS = ("torch", "onnx", "openvino")  # backends that networks of the zoo are timed with

End = Annotated[
    float | None, Option("Where to stop, like --start.", flag="--end", panel=INPUT, parse=seconds)
]
Track = Annotated[
    int | None, Option("Which of several video tracks, counted from 1.", panel=INPUT, least=1)
]


@dataclass(frozen=True, slots=True)
class RawPipe:
    """The layout of the bytes of a raw pipe."""

    size_hw: tuple[int, int]
    rate: Fraction
    pixel_format: str = "rgb24"


@dataclass(frozen=True, slots=True)
class SegmentOptions:
    """Every setting of `vidparse segment`.

    raw: stdin holds raw frames like this.
    image_rate: images per second of folders and patterns; None: 25.
    workers: processes that share a video; 0 or 1: this one alone.
    jobs: processes that segment one input each; 0 or 1: this one alone.
    """

    out: Out = None
    save: Annotated[
        str | tuple[str, ...] | None,
        Option(
            SAVE + "overlay,masks (stdout: overlay).",
            panel=OUTPUT,
            choices="outputs",
            parse=comma_list,
        ),
    ] = None
    classes: Annotated[
        str | tuple[str, ...] | None,
        Option("Keep only these classes: Car,Pedestrian.", panel=OUTPUT, parse=comma_list),
    ] = None
    sinks: SinkOptions = field(default_factory=SinkOptions)

    start_s: Annotated[
        float | None,
        Option("90, 90s, 1.5m or [HH:]MM:SS[.mmm].", flag="--start", panel=INPUT, parse=seconds),
    ] = None
    end_s: End = None
    stride: Annotated[int, Option("Take every n-th frame.", panel=INPUT, least=1)] = 1
    track: Track = None
    decoder: Annotated[
        str,
        Option(
            "Where files are decoded: {choice}. auto: on the GPU that runs the network, if it can.",
            panel=INPUT,
            choices="decoders",
        ),
    ] = "auto"
    raw: RawPipe | None = None
    image_rate: Fraction | None = None

    size: int | tuple[int, int] | None = None  # network input: short side or (h, w)
    model: shared.Model = DEFAULT_MODEL
    backend: shared.Backend = "auto"
    device: shared.Device = "auto"
    precision: shared.Precision = "auto"
    threads: shared.Threads = 0
    # networks with a memory forget at hard cuts; None: never
    cut: Annotated[
        float | None,
        Option(
            "Where a model with a memory forgets: auto (hard cuts), off, or a threshold from 0 "
            "(every frame) to 2.",
            panel=shared.PANEL,
            choices="cuts",
            parse=cut_threshold,
            text="auto",
        ),
    ] = DEFAULT_CUT
    task: shared.Task = "auto"
    stabilize: shared.Stabilize = False
    keyframes: shared.KeyFrames = None
    window: shared.Window = None
    linker: shared.Linker = None
    merging: shared.Merging | None = None
    variants: Variants = field(default_factory=Variants)
    fps: Annotated[
        float | None,
        Option(
            "Keep up with so many frames per second: by int8, a smaller input of the network, and "
            "fewer frames at last.",
            panel=shared.PANEL,
        ),
    ] = None
    overlap: Annotated[
        bool, Option("No overlap of stages.", flag="--serial", panel=shared.PANEL, negates=True)
    ] = True
    workers: Annotated[
        int,
        Option(
            "Processes that segment parts of one video at the same time, with a network each.",
            panel=shared.PANEL,
            least=0,
        ),
    ] = 0
    cluster: Annotated[
        str | None,
        Option(
            "Workers on a Ray cluster: its address, or auto for the one that runs here.",
            panel=shared.PANEL,
            choices="clusters",
        ),
    ] = None
    jobs: Annotated[
        int,
        Option(
            "Processes that segment one input each at the same time, with a network each.",
            panel=BATCH,
            least=0,
        ),
    ] = 0
    ledger: Annotated[
        Path | None,
        Option(
            "File that notes each input as done or failed; the same call again passes over those.",
            panel=BATCH,
        ),
    ] = None
    retry_failed: Annotated[
        bool, Option("Try inputs again that the ledger has as failed.", panel=BATCH)
    ] = False
    live: LiveOptions = field(default_factory=LiveOptions)
    resume: Annotated[
        bool,
        Option(
            "Keep a journal beside the outputs; the same call again goes on where this one ended.",
            panel=BATCH,
        ),
    ] = False
    argv: tuple[str, ...] = ()

    @property
    def choice(self) -> shared.ModelChoice:
        """The model, as `vidparse.inference.load_chosen` takes it."""
        return shared.ModelChoice(
            os.fspath(self.model),
            self.backend,
            self.device,
            self.precision,
            self.threads,
            self.task,
            self.variants,
        )


@dataclass(frozen=True, slots=True)
class PipeOptions:
    """Settings of pipes, whose --size and --rate mean other things where there is none."""

    pipe: Annotated[
        str | None,
        Option(
            "Form of stdin and stdout: {choice} (raw needs --size and --rate).",
            panel=INPUT,
            choices="pipes",
            parse=pipe_format,
        ),
    ] = None
    pixel_format: Annotated[str, Option("Of raw frames on stdin.", panel=INPUT)] = "rgb24"
    rate: Annotated[
        Fraction | None,
        Option(
            "Frames per second of image folders and raw pipes: 25, 30000/1001.",
            panel=INPUT,
            parse=frame_rate,
        ),
    ] = None
    size: Annotated[
        str | None,
        Option(
            "Network input: 360 (short side) or 640x360. With --pipe raw: size of the frames on "
            "stdin.",
            panel=shared.PANEL,
        ),
    ] = None
    network_size: Annotated[
        int | tuple[int, int] | None,
        Option(
            "Network input, where --size has another meaning.", panel=shared.PANEL, parse=input_size
        ),
    ] = None

    def applied(self, options: SegmentOptions) -> SegmentOptions:
        """The settings with those of the pipe.

        Raises:
            UsageError: --pipe raw without --size WxH or --rate, or a --size that is none.
        """
        size = self.network_size
        raw = self._raw() if self.pipe == "raw" else None

        # Read --size as the network's only where no raw frames claim it.
        if raw is None and size is None and self.size is not None:
            size = input_size(self.size, "--size")
        return replace(
            options,
            sinks=replace(options.sinks, pipe_format=self.pipe),
            raw=raw,
            image_rate=self.rate,
            size=size,
        )

    def _raw(self) -> RawPipe:
        sides = (self.size or "").lower().split("x")
        if len(sides) != 2 or not all(side.isdecimal() and int(side) > 0 for side in sides):
            raise UsageError("--pipe raw: needs the size of the frames; add --size 1280x720")
        if self.rate is None:
            raise UsageError("--pipe raw: needs the frame rate; add --rate 25 or --rate 30000/1001")
        return RawPipe((int(sides[1]), int(sides[0])), self.rate, self.pixel_format)


@dataclass(frozen=True, slots=True)
class BenchRequest:
    """Every setting of `vidparse bench`."""

    source: Annotated[
        str | None,
        Argument("A video, folder or sample.", metavar="INPUT", show_default=False),
    ] = None
    save: Annotated[
        tuple[str, ...],
        Option(
            "Outputs to include, as in segment.",
            choices="outputs",
            parse=comma_list,
            text="overlay",
        ),
    ] = ("overlay",)
    repeats: Annotated[int, Option("Interleaved repeats of every arm.", least=1)] = 5
    end_s: Annotated[
        float | None,
        Option(
            "Stop here: 90, 90s, 1.5m or MM:SS. By default where the network has worked for 10 s.",
            flag="--end",
            parse=seconds,
        ),
    ] = None
    size: Annotated[
        int | tuple[int, int] | None,
        Option("Network input: 360 (short side) or 640x360.", parse=input_size),
    ] = None
    model: shared.Model = DEFAULT_MODEL
    backend: shared.Backend = "auto"
    device: shared.Device = "auto"
    precision: shared.Precision = "auto"
    threads: shared.Threads = 0
    window: shared.Window = None
    linker: shared.Linker = None
    overlap: Annotated[bool, Option("No overlap of stages.", flag="--serial", negates=True)] = True
    zoo: Annotated[
        tuple[str, ...] | None,
        Option(
            "Instead, networks of the zoo with random weights beside each other: all, or names "
            "separated by commas.",
            choices="zoo",
            parse=comma_list,
        ),
    ] = None
    backends: Annotated[
        tuple[str, ...],
        Option(
            "Of --zoo: {choices}. Exports take minutes.",
            choices="arms",
            parse=comma_list,
            text=",".join(ARMS),
        ),
    ] = ARMS

    def segment_options(self) -> SegmentOptions:
        """The settings that `segment` has, too."""
        same = {field.name for field in fields(SegmentOptions)}
        mine = {field.name: getattr(self, field.name) for field in fields(self)}
        return SegmentOptions(**{name: mine[name] for name in mine.keys() & same})
