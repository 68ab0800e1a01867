"""Records of what was seen: JSON Lines with an entry a segment, CSV with each class's share."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from vidparse.frame import Frame, Packet, VideoInfo
from vidparse.labels import Labels, labels_to_json
from vidparse.maps import PixelRuns, Prediction, Segment, class_segments, find_runs
from vidparse.requests.outputs import SinkOptions
from vidparse.sinks.sink import Sink
from vidparse.sinks.stream import ByteStream

SCHEMA = "vidparse/1"
_SHARE_DIGITS = 8  # tells single pixels apart up to 8K frames


class Jsonl(Sink):
    """A header line, then one line a frame, each flushed as it is written."""

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
                "segments": [
                    segment_record(segment, self._labels, runs if rle else None)
                    for segment in segments
                ],
            }
        )

    def end(self, *, keep: bool, complete: bool, packets: Sequence[Packet]) -> Path | None:
        return self._stream.close(keep=keep, complete=complete)

    def _line(self, record: Mapping[str, object]) -> None:
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
    """One row a frame: the share of the picture that each class covers, and void; adds up to 1."""

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
