"""The frames of a page gathered from results and video, and what its template shows of them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import cv2
from markupsafe import Markup

from vidparse.errors import InputError, Interrupted
from vidparse.frame import VideoInfo
from vidparse.labels.colours import uncoloured
from vidparse.page import count, data_url
from vidparse.requests.view import ViewRequest
from vidparse.sinks.stream import Rows
from vidparse.video import Input
from vidparse.view.blocks import CHUNK, Column
from vidparse.view.codes import small_size
from vidparse.view.film import Film, frames_of, open_source, poster, shown_size
from vidparse.view.records import FrameRecord, read_frames
from vidparse.view.result import Result
from vidparse.view.side import FLICKER_UNIT, Side

OnFrame = Callable[[int, int], None]
_GREY = "#808080"  # of background, which overlays leave as the picture is


@dataclass(frozen=True, slots=True)
class Made:
    """All of a page but its ids and video, which wait in files.

    frames: in the page. size_hw: of the maps. shown_hw: of the video. poster: JPEG of the first
    frame. columns: elements with numbers per frame.
    """

    info: VideoInfo
    sides: tuple[Side, ...]
    frames: int
    size_hw: tuple[int, int]
    shown_hw: tuple[int, int]
    seconds: float
    poster: bytes
    columns: tuple[bytes, ...]


def collect(
    request: ViewRequest,
    group: Sequence[Result],
    video: Input,
    movie: Path,
    rows: Rows,
    on_frame: OnFrame,
    stop: threading.Event,
) -> Made:
    """Go through the frames once: the video into `movie`, the ids into `rows`, and the rest.

    Raises:
        InputError, OutputError, Interrupted: as `write_pages`.
    """
    source = open_source(video, group[0].header)
    info = source.info
    size_hw, shown_hw = small_size(info.size_hw, request.side), shown_size(info, request.video_side)
    sides = tuple(
        Side(result, number, size_hw, request.palette, rows) for number, result in enumerate(group)
    )
    times, numbers = Column("times", str(movie)), Column("numbers", str(movie))
    film = None if request.link else Film(movie, info, shown_hw)
    first, place, start, since, number = b"", -1, 0, 0, 0

    try:
        for place, (frame, records, elapsed) in enumerate(frames_of(source, _records(group))):
            if stop.is_set():
                raise Interrupted(f"view: stopped after {place} frames")
            pixels = frame.image.rgb(shown_hw)
            luma = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
            small = cv2.resize(luma, size_hw[::-1], interpolation=cv2.INTER_AREA)
            for side, record in zip(sides, records, strict=True):
                side.add(place, record, small)

            # Count times from the first frame of the file that plays: ours, or the linked one.
            if place == 0:
                first = poster(pixels)
                start, since = elapsed, 0 if request.link else elapsed
            times.add(elapsed - since)
            numbers.add(records[0].number - number)
            since, number = elapsed, records[0].number
            if film is not None:
                film.add(pixels, frame)
            on_frame(place + 1, max(info.frames or 0, place + 1))
        if film is not None:
            film.finish()
    finally:
        if film is not None:
            film.abort()

    columns = (times.finish(), numbers.finish(), *(side.finish() for side in sides))
    seconds = float((elapsed - start + (frame.duration or 0)) * info.time_base)
    return Made(info, sides, place + 1, size_hw, shown_hw, seconds, first, columns)


def _records(group: Sequence[Result]) -> Iterator[tuple[FrameRecord, ...]]:
    """The records of each frame, one per result.

    Raises:
        InputError: results have other frames.
    """
    readers = [read_frames(one.path, one.header.labels) for one in group]
    for records in zip_longest(*readers):
        times = {None if one is None else one.pts for one in records}
        if len(times) > 1:
            known = next(one for one in records if one is not None)
            raise InputError(
                f"{group[-1].path}: has other frames than {group[0].path}, from frame "
                f"{known.number} on; segment both with the same --start, --end and --stride"
            )
        yield records


def contents_of(made: Made, *, link: str | None) -> dict[str, object]:
    """The values of the template view.html.

    Args:
        link: address of the video; None: the page holds it.
    """
    header = made.sides[0].result.header
    names = _names(made.sides)
    height, width = made.info.size_hw
    rate = made.info.known_rate

    # Leave out a rate that nobody knows.
    facts = [
        " and ".join(names),
        count(made.frames, "frame"),
        *([f"{float(rate):.4g} fps"] if rate else []),
        f"{made.seconds:.1f} s",
        f"{width} \N{MULTIPLICATION SIGN} {height}",
    ]

    return {
        "title": header.source,
        "facts": facts,
        "names": names,
        "shown_hw": made.shown_hw,
        "poster": data_url(made.poster),
        "link": link,
        "contents": Markup(_json(_record(made, names, link))),
    }


def _names(sides: Sequence[Side]) -> list[str]:
    """The models of the runs; of one model the folders of the results, or their files."""
    models = [side.result.header.model or side.result.stem for side in sides]
    folders = [side.result.path.absolute().parent.name for side in sides]
    files = [side.result.path.name for side in sides]
    for names in (models, folders, files):
        if len(set(names)) == len(names):
            return names
    return [f"{name} ({number})" for number, name in enumerate(models, 1)]


def _record(made: Made, names: Sequence[str], link: str | None) -> dict[str, object]:
    """The JSON that the page's program reads; places of frames count from 0."""
    classes = _Classes()
    sides = [_side(side, name, classes) for side, name in zip(made.sides, names, strict=True)]

    return {
        "frames": made.frames,
        "chunk": CHUNK,
        "size": made.size_hw[::-1],
        "unit": float(made.info.time_base),
        "link": link,
        "flickerUnit": FLICKER_UNIT,
        "stretch": made.sides[0].timeline.areas.length,
        "classes": classes.listed,
        "sides": sides,
    }


class _Classes:
    """The classes that any run saw, by name: two label sets may share some."""

    def __init__(self) -> None:
        self.listed: list[dict[str, object]] = []
        self._places: dict[str, int] = {}

    def place(self, side: Side, class_id: int) -> int:
        labels = side.result.header.labels
        name = labels.classes[class_id]
        if name not in self._places:
            self._places[name] = len(self.listed)
            is_bare = class_id in uncoloured(labels)
            colour = _GREY if is_bare else _hex(side.colours[class_id].tolist())
            self.listed.append({"name": name, "colour": colour, "hidden": is_bare})
        return self._places[name]


def _side(side: Side, name: str, classes: _Classes) -> dict[str, object]:
    timeline = side.timeline
    shares = timeline.areas.shares().sum(0)
    seen = sorted(timeline.jumps, key=lambda class_id: (-shares[class_id], class_id))
    tracks = sorted(timeline.tracks.items(), key=lambda item: (item[1].first[0], item[0]))

    return {
        "name": name,
        "areas": {classes.place(side, one): timeline.areas.packed(one) for one in seen},
        "jumps": {
            classes.place(side, one): [jumps.first, jumps.longest, jumps.length, jumps.most]
            for one, jumps in ((one, timeline.jumps[one]) for one in seen)
        },
        "codes": [
            [
                classes.place(side, one.class_id),
                one.object_id,
                _hex(one.colour) if one.object_id else None,
            ]
            for one in side.codes.listed
        ],
        "tracks": [
            [
                number,
                classes.place(side, track.class_id),
                track.first[0],
                track.last[0],
                track.frames,
                track.best[0],
            ]
            for number, track in tracks
        ],
        "flicker": side.flicker,
    }


def _hex(colour: Sequence[int]) -> str:
    red, green, blue = colour
    return f"#{red:02x}{green:02x}{blue:02x}"


def _json(record: object) -> str:
    """ASCII JSON that closes no element, whatever names are in it."""
    text = json.dumps(record, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
