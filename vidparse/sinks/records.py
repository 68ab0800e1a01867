"""Records of what was seen: JSON Lines, CSV with each class's share, and the life of every object.

JSON Lines have an entry per segment. A track is one row: when an object was seen, how large it
was, and as what.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, TypedDict

import numpy as np

from vidparse.arrival import Arrival
from vidparse.frame import Frame, Packet, VideoInfo
from vidparse.labels import Labels, labels_to_json
from vidparse.maps import PixelRuns, Prediction, Segment, class_segments, find_runs, object_map
from vidparse.requests.outputs import SinkOptions
from vidparse.sinks.sink import Sink
from vidparse.sinks.stream import ByteStream, dumped, encoded

SCHEMA = "vidparse/1"
_SHARE_DIGITS = 8  # distinguishes single pixels in frames up to 8K


class Jsonl(Sink):
    """A header line, then one line per frame, each flushed as it is written."""

    suffix: ClassVar[str] = ".jsonl"
    is_text: ClassVar[bool] = True

    def begin(self, info: VideoInfo, labels: Labels) -> None:
        self._stream = ByteStream(self.target)
        self._labels, self._time_base = labels, info.time_base
        self._stream.open()
        self._line(header_record(info, labels, self.options))

    def add(self, frame: Frame, prediction: Prediction) -> None:
        rle = self.options.rle
        segments, runs = prediction.segments, None

        # Find runs only where they are needed: panoptic segments bring their areas along.
        if rle or segments is None:
            runs = find_runs(prediction.ids, down_columns=rle)
        if segments is None:
            assert runs is not None
            segments = class_segments(runs, self._labels)

        self._line(
            {
                "frame": frame.index,
                **({} if frame.name is None else {"name": frame.name}),
                "pts": frame.pts,
                "time": float(frame.pts * self._time_base),
                **({} if frame.arrival is None else arrival_record(frame.arrival)),
                "segments": [
                    segment_record(segment, self._labels, runs if rle else None)
                    for segment in segments
                ],
            }
        )

    def end(self, *, keep: bool, complete: bool, packets: Sequence[Packet]) -> Path | None:
        return self._stream.close(keep=keep, complete=complete)

    def _line(self, record: Mapping[str, object]) -> None:
        # Write names as the bytes that they are on the disk, which need not be UTF-8.
        text = json.dumps(record, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        self._stream.write(text.encode("utf-8", "surrogateescape") + b"\n", flush=True)


def header_record(info: VideoInfo, labels: Labels, options: SinkOptions) -> dict[str, object]:
    """The first line of a jsonl file: what was run, on what, and what the ids mean."""
    run = options.header

    return {
        "schema": SCHEMA,
        "model": run.model,
        "weights_sha256": run.weights_sha256,
        "argv": list(run.argv),
        "version": run.version,
        "backend": run.backend,
        "device": run.device,
        "precision": run.precision,
        "labels": {**labels_to_json(labels), "void": labels.void},
        "kept_classes": None if options.classes is None else list(options.classes),
        "source": {
            "name": info.name,
            "width": info.size_hw[1],
            "height": info.size_hw[0],
            "time_base": str(info.time_base),
            "rate": None if info.rate is None else str(info.rate),
            "frames_hint": info.frames,
            "duration_s": info.duration_s,
            "sample_aspect_ratio": str(info.sample_aspect_ratio),
            "rotation": info.rotation,
            "codec": info.codec,
            "pixel_format": info.pixel_format,
        },
    }


def arrival_record(arrival: Arrival) -> dict[str, object]:
    """The time of a live frame on the wall, and the gap before it where there is one."""
    record: dict[str, object] = {"utc": arrival.utc, "utc_s": round(arrival.utc_s, 6)}
    if arrival.gap_s:
        record["gap_s"] = round(arrival.gap_s, 3)
    return record


def segment_record(segment: Segment, labels: Labels, runs: PixelRuns | None) -> dict[str, object]:
    """One entry of "segments"; with COCO run lengths when `runs` are given."""
    record: dict[str, object] = {
        "id": segment.id,
        "class": labels.classes[segment.class_id],
        "class_id": segment.class_id,
        "isthing": segment.is_thing,
        "area": segment.area,
        "bbox": list(segment.box),
    }
    if segment.score is not None:
        record["score"] = round(segment.score, 4)
    if runs is not None:
        record["rle"] = runs.run_lengths(segment.id)
    return record


class Csv(Sink):
    """One row per frame: the share of the picture that each class and void cover, 1 in all."""

    suffix: ClassVar[str] = ".csv"
    is_text: ClassVar[bool] = True

    def begin(self, info: VideoInfo, labels: Labels) -> None:
        self._stream = ByteStream(self.target)
        self._labels, self._time_base = labels, info.time_base
        self._columns = list(
            range(len(labels)) if self.options.classes is None else self.options.classes
        )
        self._stream.open()
        names = [labels.classes[i] for i in self._columns]
        self._row(["frame", "pts", "time", *names, "void"])

    def add(self, frame: Frame, prediction: Prediction) -> None:
        areas = prediction.map.class_areas(self._labels)
        shown = areas[self._columns]
        shares = share_texts(np.append(shown, areas.sum() - shown.sum()))
        self._row([frame.index, frame.pts, float(frame.pts * self._time_base), *shares])

    def end(self, *, keep: bool, complete: bool, packets: Sequence[Packet]) -> Path | None:
        return self._stream.close(keep=keep, complete=complete)

    def _row(self, values: Sequence[object]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(values)
        self._stream.write(text.getvalue().encode("utf-8"), flush=True)


def share_texts(areas: np.ndarray) -> list[str]:
    """Decimal shares of the total that add up to exactly 1, from pixel counts (N,).

    Largest-remainder rounding: what plain rounding would leave over goes to the entries that were
    cut the most.
    """
    total = int(areas.sum())
    unit = 10**_SHARE_DIGITS
    if total == 0:
        return ["0"] * len(areas)
    floors, remainders = np.divmod(areas.astype(np.int64) * unit, total)
    left_over = unit - int(floors.sum())
    for i in sorted(range(len(areas)), key=lambda i: -remainders[i])[:left_over]:
        floors[i] += 1
    return [_decimal(int(value)) for value in floors]


def _decimal(value: int) -> str:
    whole, part = divmod(value, 10**_SHARE_DIGITS)
    return f"{whole}.{part:0{_SHARE_DIGITS}d}".rstrip("0").rstrip(".")


@dataclass(slots=True)
class TrackRecord:
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

        # Prefer a frame away from the edge: a part of the thing may lie outside.
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
        self._tracks: dict[int, TrackRecord] = {}
        self._frames = 0
        self._stream = ByteStream(self.target)
        self._stream.open()

    def add(self, frame: Frame, prediction: Prediction) -> None:
        self.note_if_semantic(prediction, self._noun)
        found = object_map(prediction.map, self._labels)
        at = frame.index, float(frame.pts * self._info.time_base)
        for segment in found.segments or ():
            track = self._tracks.setdefault(segment.id, TrackRecord(at, at))
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

    def _rows(self) -> list[tuple[int, TrackRecord]]:
        """By first appearance."""
        return sorted(self._tracks.items(), key=lambda item: (item[1].first[0], item[0]))


class TracksCsv(_Tracks):
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


def _record(number: int, track: TrackRecord, labels: Labels) -> _Row:
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
