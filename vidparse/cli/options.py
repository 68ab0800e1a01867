"""Options that commands share, and the tables whose names options take."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, cast

from vidparse.limits import MAX_PIXELS, allow_frames, allow_pixels, allow_protocols
from vidparse.requests.option import Option, comma_list
from vidparse.tables import member_at

MaxPixels = Annotated[
    int | None,
    Option(
        f"The largest picture that is taken on, in pixels; {MAX_PIXELS} unless given.",
        panel="Input",
        least=1,
        sees=allow_pixels,  # before any picture is opened
    ),
]
MaxFrames = Annotated[
    int | None,
    Option(
        "The most frames that are taken of each input; all unless given.",
        panel="Input",
        least=1,
        sees=allow_frames,
    ),
]


def _allow_protocols(text: str | None) -> None:
    allow_protocols(None if text is None else comma_list(text, "--allow-protocols"))


AllowProtocols = Annotated[
    tuple[str, ...] | None,
    Option(
        "What playlists and scripts may open anywhere: file,https, ... Without it they reach "
        "their own folder, or their own server.",
        panel="Input",
        choices="protocols",
        parse=comma_list,
        sees=_allow_protocols,
    ),
]
Json = Annotated[bool, Option("Print the result as JSON on stdout.")]
Quiet = Annotated[bool, Option("No progress, notes or summary.", flag="--quiet", short="-q")]


# Name -> the module of a table, and its name there; or of a function that gives the names.
CHOICES = {
    "arms": "vidparse.requests.segment:ARMS",
    "decoders": "vidparse.requests.segment:DECODERS",
    "backends": "vidparse.inference.runners:backends",
    "clusters": "vidparse.requests.segment:CLUSTERS",
    "converted": "vidparse.convert:converted_networks",
    "cuts": "vidparse.requests.option:CUT_WORDS",
    "datasets": "vidparse.data:dataset_names",
    "degradations": "vidparse.requests.degradation:DEGRADATIONS",
    "disagreements": "vidparse.requests.disagreement:MEASURES",
    "devices": "vidparse.requests.model:DEVICES",
    "edges": "vidparse.requests.matte:EDGES",
    "flows": "vidparse.flow:FLOW_NAMES",
    "keyframes": "vidparse.requests.option:KEY_FRAME_WORDS",
    "labels": "vidparse.labels:available_labels",
    "linkers": "vidparse.inference.linkers:LINKERS",
    "metrics": "vidparse.evaluation.metrics:METRICS",
    "models": "vidparse.hub:model_names",
    "outputs": "vidparse.sinks:SINKS",
    "palettes": "vidparse.labels.colours:palettes",
    "propagated": "vidparse.propagation:saved_names",
    "patience": "vidparse.requests.live:PATIENCE_WORDS",
    "pipes": "vidparse.requests.option:PIPE_FORMATS",
    "policies": "vidparse.requests.live:POLICIES",
    "protocols": "vidparse.limits:PROTOCOLS",
    "precisions": "vidparse.requests.model:PRECISIONS",
    "prelabels": "vidparse.requests.disagreement:PRELABELS",
    "recipes": "vidparse.requests.training:available_recipes",
    "rules": "vidparse.requests.model:RULES",
    "sources": "vidparse.convert:SOURCES",
    "splits": "vidparse.requests.option:SPLITS",
    "submissions": "vidparse.evaluation.request:SUBMISSIONS",
    "supports": "vidparse.evaluation.entries:SUPPORTS",
    "ways": "vidparse.requests.redaction:WAYS",
    "tasks": "vidparse.requests.model:TASKS",
    "writers": "vidparse.data.writers:WRITERS",
    "zoo": "vidparse.requests.segment:ZOO_WORDS",
}


def names_of(choices: str) -> list[str]:
    """The names in a table of CHOICES."""
    table = member_at(CHOICES[choices])
    return list(cast("Iterable[str]", table() if callable(table) else table))


def completions(choices: str, incomplete: str, *, several: bool = False) -> list[str]:
    """Names that begin like `incomplete`, for a shell; of several by commas, those of the last.

    Nothing on a failure: a shell has no place for an error.
    """
    before, comma, begun = incomplete.rpartition(",") if several else ("", "", incomplete)
    try:
        names = names_of(choices)
    except Exception:
        return []
    taken = before.split(",")
    return [before + comma + name for name in names if name.startswith(begun) and name not in taken]
