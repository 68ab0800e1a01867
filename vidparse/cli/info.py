"""`vidparse info`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vidparse.cli import options as shared
from vidparse.cli.terminal import print_json, say, show
from vidparse.errors import VidparseError
from vidparse.requests.option import Argument
from vidparse.requests.segment import Track

if TYPE_CHECKING:
    from vidparse.video import MediaReport


def info(
    inputs: Annotated[tuple[str, ...], Argument("Videos, folders, patterns or samples.")],
    track: Track = None,
    max_pixels: shared.MaxPixels = None,
    json: shared.Json = False,
) -> None:
    """Show what an input is: size, rate, time base, rotation, colour, audio."""
    from vidparse.sinks import is_output
    from vidparse.video import expand_inputs, report_media

    found, records, failures = expand_inputs(inputs, is_output=is_output), [], []
    for one in found:
        try:
            records.append(_record(report_media(one, track=track)))
        except VidparseError as error:
            if len(found) == 1:
                raise
            failures.append(one.name)
            say(f"vidparse: {error}")
    if json:
        print_json(records if len(found) > 1 else records[0])
    else:
        _print(records)
    if failures:
        raise typer.Exit(1)


def _print(records: list[dict[str, object]]) -> None:
    for i, record in enumerate(records):
        if i:
            show()
        width = max(len(key) for key in record)
        for key, value in record.items():
            shown = "; ".join(value) if isinstance(value, list) else value
            show(f"{key:<{width}}  {shown if shown not in (None, '') else '-'}")


def _record(report: MediaReport) -> dict[str, object]:
    video = report.video
    height, width = video.size_hw
    colour = video.colour

    return {
        "name": video.name,
        "width": width,
        "height": height,
        "codec": video.codec,
        "pixel_format": video.pixel_format,
        "rate": str(video.rate) if video.rate else "variable",
        "time_base": str(video.time_base),
        "duration_s": None if video.duration_s is None else round(video.duration_s, 3),
        "frames_claimed": video.frames,
        "rotation": video.rotation,
        "sample_aspect_ratio": str(video.sample_aspect_ratio),
        "colour": f"matrix {colour.matrix}, primaries {colour.primaries}, "
        f"transfer {colour.transfer}, range {colour.range}",
        "streams": [
            " ".join(filter(None, (s.kind, s.codec, s.language, s.detail))) for s in report.streams
        ],
        "notes": list(report.notes),
    }
