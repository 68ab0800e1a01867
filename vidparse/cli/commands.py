"""The commands and their first lines, in a table that loads none of them."""

from __future__ import annotations

TYPE_CHECKING = False  # read as true by type checkers, as in vidparse/__init__.py
if TYPE_CHECKING:
    from collections.abc import Callable

SUMMARY = "Video segmentation: masks, overlays and records, with exact time."

# Name -> the function of a command, and the line that lists it. A command of a group has the name
# of the group before its own; a group without a function shows its page.
COMMANDS = {
    "segment": (
        "vidparse.cli.segment:segment",
        "Segment videos: masks, overlays and records beside the input.",
    ),
    "info": (
        "vidparse.cli.segment:info",
        "Show what an input is: size, rate, time base, rotation, colour, audio.",
    ),
    "view": (
        "vidparse.cli.view:view",
        "Write a page to look through results with: video, classes and objects, timelines.",
    ),
    "bench": (
        "vidparse.cli.bench:bench",
        "Time every stage, the network alone and the whole run, and compare with the floor.",
    ),
    "train": (
        "vidparse.cli.train:train",
        "Train a network; best.safetensors in the run's folder is ready for `segment -m`.",
    ),
    "curves": (
        "vidparse.cli.train:curves",
        "Show training runs as a page: losses, scores, classes, and how their recipes differ.",
    ),
    "autolabel": (
        "vidparse.cli.data:autolabel",
        "Label frames with the mean answer of several models, to train on; goes on if interrupted.",
    ),
    "propagate": (
        "vidparse.cli.propagate:propagate",
        "Carry masks of key frames to the frames between them; lists frames to look at, worst "
        "first.",
    ),
    "disagree": (
        "vidparse.cli.disagree:disagree",
        "Rank frames in which two models differ, or one wavers; write them as a task to correct.",
    ),
    "eval": (
        "vidparse.cli.evaluate:evaluate",
        "Score models, or predictions made by any tool, on a labelled data set.",
    ),
    "export": (
        "vidparse.cli.export:export",
        "Write a model as ONNX (checked against torch), or as float16 weights for distribution.",
    ),
    "convert": (
        "vidparse.cli.export:convert",
        "Turn a checkpoint of published code into ours, or ImageNet weights into a start for "
        "train.",
    ),
    "models": ("vidparse.cli.models:models", "List, fetch, look at and publish models."),
    "models pull": (
        "vidparse.cli.models:pull",
        "Fetch a model from the hub into its cache, or bring a cached one up to date.",
    ),
    "models show": (
        "vidparse.cli.models:show",
        "Print the description in a model's files: network, classes, input, training.",
    ),
    "models push": (
        "vidparse.cli.models:push",
        "Publish a model; FILE's .onnx and .md (its card) go with it. Needs a token (HF_TOKEN).",
    ),
    "data": ("", "Look after labelled data sets."),
    "data check": (
        "vidparse.cli.data:check",
        "Count what a data set holds, and name every bad file; exit code 3 when there are any.",
    ),
    "data convert": (
        "vidparse.cli.data:convert",
        "Write a labelled data set in another format, with all that the format can hold.",
    ),
}

# Options of the program itself. Those of completion are Typer's own.
OPTIONS = {
    "--version": "Print the version.",
    "--debug": "Show tracebacks; works after any command, too.",
    "--install-completion": "Install completion for the current shell.",
    "--show-completion": "Show completion for the current shell, to copy it or customize the "
    "installation.",
}


def listed(group: str = "") -> dict[str, str]:
    """Commands of a group, or of the program itself, and the line that lists each."""
    start = f"{group} " if group else ""
    names = {name.removeprefix(start): name for name in COMMANDS if name.startswith(start)}
    return {own: COMMANDS[name][1] for own, name in names.items() if " " not in own}


def loaded(name: str) -> Callable[..., object]:
    """The function of a command or group; only now is its module loaded."""
    from vidparse.tables import member_at

    place = COMMANDS[name][0]
    function = member_at(place) if place else _no_work
    assert callable(function)
    return function


def _no_work() -> None:
    """A group that does nothing by itself."""
