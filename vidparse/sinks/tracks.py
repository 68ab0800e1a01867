"""The life of every object in one row: when it was seen, how large it was, and as what."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, TypedDict

from vidparse.frame import Frame, Packet, VideoInfo
from vidparse.labels import Labels
from vidparse.maps import Prediction, Segment, object_map
from vidparse.sinks.listing import dumped, encoded
from vidparse.sinks.panoptic import semantic_note
from vidparse.sinks.records import header_record
from vidparse.sinks.sink import Sink
from vidparse.sinks.stream import ByteStream


@dataclass(slots=True)
class Track:
    """The record of an id: of the same size however long it is seen.

    first, last: number and time, in seconds, of the frames. frames: in how many it has pixels.
    area: pixels, over all of these. votes: frames by class id. best: frame, time and box of the
    one that shows it best, and its rank.
    """

    first: tuple[int, float]
    last: tuple[int, float]
    frames: int = 0
    area: int = 0
    score: float = 0.0
    scored: int = 0
    votes: dict[int, int] = field(default_factory=dict)
    best: tuple[int, float, tuple[int, int, int, int]] = (0, 0.0, (0, 0, 0, 0))
    rank: tuple[bool, int] = (False, 0)

    def see(self, segment: Segment, at: tuple[int, float], size_hw: tuple[int, int]) -> None:
        """Add a frame: its number and time `at`, and its size."""
        self.last = at
        self.frames += 1
        self.area += segment.area
        self.votes[segment.class_id] = self.votes.get(segment.class_id, 0) + 1
        if segment.score is not None:
            self.score += segment.score
            self.scored += 1
        rank = (not _touches_the_edge(segment.box, size_hw), segment.area)
        if rank > self.rank:
            self.rank, self.best = rank, (*at, segment.box)

    @property
    def class_id(self) -> int:
        """The class with the most votes; of equal ones the lowest id."""
        return min(self.votes, key=lambda one: (-self.votes[one], one))


class _Tracks(Sink):
    """One small record per id is held, and nothing that grows with the number of frames."""

    is_text: ClassVar[bool] = True
    by_ending: ClassVar[bool] = False
    _noun: ClassVar[str]

    def begin(self, info: VideoInfo, labels: Labels) -> None:
        self._info, self._labels = info, labels
        self._tracks: dict[int, Track] = {}
        self._frames = 0
        self._stream = ByteStream(self.target)
        self._stream.open()

    def add(self, frame: Frame, prediction: Prediction) -> None:
        if not self._frames and prediction.segments is None:
            self.notes.append(semantic_note(self._noun))
        found = object_map(prediction.map, self._labels)
        at = frame.index, float(frame.pts * self._info.time_base)
        for segment in found.segments or ():
            track = self._tracks.setdefault(segment.id, Track(at, at))
            track.see(segment, at, found.size_hw)
        self._frames += 1

    def end(self, *, keep: bool, complete: bool, packets: Sequence[Packet]) -> Path | None:
        try:
            if keep:
                self._write_all()
        except BaseException:
            keep = False
            raise
        finally:
            left = self._stream.close(keep=keep, complete=complete)
        return left

    def _write_all(self) -> None:
        raise NotImplementedError

    def _rows(self) -> list[tuple[int, Track]]:
        """By first appearance."""
        return sorted(self._tracks.items(), key=lambda item: (item[1].first[0], item[0]))


class Tracks(_Tracks):
    """CSV: one row per id, in the order in which they appear.

    `length` is the number of frames in which it has pixels, `votes` frames by class, and
    `best_frame` the one where it is largest, if possible without touching the picture's edge.
    """

    suffix: ClassVar[str] = ".tracks.csv"
    _noun: ClassVar[str] = "tracks"

    def _write_all(self) -> None:
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(_COLUMNS)
        for number, track in self._rows():
            record = _record(number, track, self._labels)
            cells: dict[str, object] = {
                **record,
                "votes": ";".join(f"{name}:{n}" for name, n in record["votes"].items()),
                "best_box": " ".join(map(str, record["best_box"])),
                "isthing": int(record["isthing"]),
            }
            rows.writerow([cells[column] for column in _COLUMNS])
        self._stream.write(encoded(text.getvalue()), flush=True)


class TracksJson(_Tracks):
    """JSON: the same rows as a list, after the header that jsonl has, too."""

    suffix: ClassVar[str] = ".tracks.json"
    _noun: ClassVar[str] = "tracks-json"

    def _write_all(self) -> None:
        head = header_record(self._info, self._labels, self.options)
        head["frames"] = self._frames
        self._stream.write(encoded(f'{dumped(head)[:-1]},\n"tracks": ['))
        for i, (number, track) in enumerate(self._rows()):
            row = dumped(_record(number, track, self._labels))
            self._stream.write(encoded(f"{',' if i else ''}\n{row}"))
        self._stream.write(b"\n]}\n", flush=True)


# A row: times in seconds, areas in pixels. "class" is no name that a class body could have.
_Row = TypedDict(
    "_Row",
    {
        "id": int,
        "class": str,
        "class_id": int,
        "isthing": bool,
        "first_frame": int,
        "last_frame": int,
        "first_time": float,
        "last_time": float,
        "length": int,
        "mean_area": float,
        "mean_score": float | None,
        "votes": dict[str, int],
        "best_frame": int,
        "best_time": float,
        "best_box": list[int],
    },
)
_COLUMNS = tuple(_Row.__annotations__)


def _record(number: int, track: Track, labels: Labels) -> _Row:
    class_id = track.class_id
    votes = sorted(track.votes.items(), key=lambda item: (-item[1], item[0]))

    return {
        "id": number,
        "class": labels.classes[class_id],
        "class_id": class_id,
        "isthing": class_id in labels.things,
        "first_frame": track.first[0],
        "last_frame": track.last[0],
        "first_time": track.first[1],
        "last_time": track.last[1],
        "length": track.frames,
        "mean_area": round(track.area / track.frames, 2),
        "mean_score": round(track.score / track.scored, 4) if track.scored else None,
        "votes": {labels.classes[one]: count for one, count in votes},
        "best_frame": track.best[0],
        "best_time": track.best[1],
        "best_box": list(track.best[2]),
    }


def _touches_the_edge(box: tuple[int, int, int, int], size_hw: tuple[int, int]) -> bool:
    """True if part of what is in the box may lie outside of the picture."""
    x, y, width, height = box
    return x == 0 or y == 0 or x + width == size_hw[1] or y + height == size_hw[0]
