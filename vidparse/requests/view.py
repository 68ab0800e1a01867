"""A page to look through results with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from vidparse.errors import UsageError
from vidparse.requests.option import Argument, Option

MOST_RESULTS = 2  # beside each other


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewRequest:
    """Every setting of `vidparse view`."""

    results: Annotated[
        tuple[Path, ...],
        Argument("Folder or .jsonl that segment wrote; two of them to compare.", metavar="RESULT"),
    ]
    video: Annotated[
        str | None,
        Option("The segmented video, where it is not found by itself.", flag="--input", short="-i"),
    ] = None
    out: Annotated[
        Path | None,
        Option(
            "The HTML page, or a folder. [default: clip.view.html beside the result]",
            flag="--out",
            short="-o",
        ),
    ] = None
    palette: Annotated[str | None, Option("Class colours, as for segment.", choices="palettes")] = (
        None
    )
    side: Annotated[
        int, Option("Longest side of the ids in the page, pixels.", least=64, most=1920)
    ] = 640
    video_side: Annotated[
        int, Option("Longest side of the video in the page, pixels.", least=64, most=3840)
    ] = 960
    overwrite: Annotated[bool, Option("Replace pages that are there.")] = False
    link: Annotated[
        bool, Option("Point to the video file instead of holding it; browsers must play it.")
    ] = False

    def __post_init__(self) -> None:
        """Raises: UsageError: not one or two results, or a page on stdout."""
        if not 1 <= len(self.results) <= MOST_RESULTS:
            raise UsageError(
                f"view: {len(self.results)} results; give one, or {MOST_RESULTS} to compare"
            )
        if self.out is not None and str(self.out) == "-":
            raise UsageError("-o -: a page is a file; name it, as in -o page.html")
