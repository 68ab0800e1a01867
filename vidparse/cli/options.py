"""Options of commands that are no part of a request: same flag, same help, everywhere."""

from __future__ import annotations

from typing import Annotated

from vidparse.limits import MAX_PIXELS, allow_pixels
from vidparse.requests.option import Option

MaxPixels = Annotated[
    int | None,
    Option(
        f"The largest picture that is taken on, in pixels; {MAX_PIXELS} unless given.",
        panel="Input",
        least=1,
        sees=allow_pixels,  # before any picture is opened
    ),
]
Json = Annotated[bool, Option("Print the result as JSON on stdout.")]
Quiet = Annotated[bool, Option("No progress, no summary.", flag="--quiet", short="-q")]
