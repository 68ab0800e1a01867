"""Options of mattes: which classes or objects, and how their edges are found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from vidparse.errors import UsageError
from vidparse.requests.option import Option, comma_list

PANEL = "Mattes"
EACH = "each"  # a matte for every class or object
EDGES = ("guided", "closed-form", "scores")


@dataclass(frozen=True, slots=True)
class MatteOptions:
    """The wish for mattes: soft masks of classes or objects.

    matte: names of classes, or "class:id" of objects, whose pixels are one matte together; or
        "each": one for every class or object. None: all classes of countable things.
    edges: by the picture with a guided filter, by closed-form matting, or by the scores alone.
    background: in place of the video's own; None: none was named, which is "blur" where it is an
        output.
    """

    matte: Annotated[
        str | tuple[str, ...] | None,
        Option(
            "Classes (person,dog) or objects (car:7) of the mattes, or each: one file for each. "
            "Default: all countable things.",
            panel=PANEL,
            parse=comma_list,
        ),
    ] = None
    edges: Annotated[
        str,
        Option(
            "How edges of mattes follow the picture: {choice}.",
            flag="--matte-edges",
            panel=PANEL,
            choices="edges",
        ),
    ] = "guided"
    # along the motion, until a cut
    smooth: Annotated[
        bool,
        Option(
            "Leave the past out of mattes: no smoothing along the motion.",
            flag="--no-matte-smoothing",
            panel=PANEL,
            negates=True,
        ),
    ] = True

    background: Annotated[
        str | None,
        Option(
            "Behind the matte: blur, #RRGGBB, #RGB, or a picture or video; --save background.",
            panel=PANEL,
        ),
    ] = None

    def __post_init__(self) -> None:
        """Raises UsageError when a value is unknown."""
        if self.edges not in EDGES:
            raise UsageError(f"matte-edges '{self.edges}': unknown; use {', '.join(EDGES)}")
