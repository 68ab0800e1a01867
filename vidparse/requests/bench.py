"""A measurement, of one input or of the zoo."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated

from vidparse import DEFAULT_MODEL
from vidparse.requests.model import Backend, Device, Linker, Model, Precision, Threads, Window
from vidparse.requests.option import Argument, Option, comma_list, input_size, seconds
from vidparse.requests.segment import SegmentOptions

ARMS = ("torch", "onnx", "openvino")  # backends that networks of the zoo are timed with


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
            "Stop here: seconds or MM:SS. By default where the network has worked for 10 s.",
            flag="--end",
            parse=seconds,
        ),
    ] = None
    size: Annotated[
        int | tuple[int, int] | None,
        Option("Network input: 360 (short side) or 640x360.", parse=input_size),
    ] = None
    model: Model = DEFAULT_MODEL
    backend: Backend = "auto"
    device: Device = "auto"
    precision: Precision = "auto"
    threads: Threads = 0
    window: Window = None
    linker: Linker = None
    overlap: Annotated[bool, Option("No overlap of stages.", flag="--serial", negates=True)] = True
    zoo: Annotated[
        tuple[str, ...] | None,
        Option(
            "Instead, networks of the zoo with random weights beside each other: all, or names "
            "separated by commas.",
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
        shared = {field.name for field in fields(SegmentOptions)}
        mine = {field.name: getattr(self, field.name) for field in fields(self)}
        return SegmentOptions(**{name: mine[name] for name in mine.keys() & shared})
