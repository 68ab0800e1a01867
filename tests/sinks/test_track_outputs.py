"""`tracks` and `tracks-json`: one row per id, with the numbers that its frames add up to."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from support.object_outputs import TOY, crowd, info_of, objects, scenes, write
from vidparse.errors import Interrupted
from vidparse.frame import Frame
from vidparse.image import Rgb
from vidparse.maps import Prediction, SegmentMap
from vidparse.sinks import SinkOptions
from vidparse.sinks.records import TracksCsv, TracksJson

STEP = 2 / 25  # seconds from frame to frame of `write`


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def square(left: int, side: int, *, kind: int = 1, score: float | None = None) -> SegmentMap:
    """An object 5 on road 1, in 12x16 pixels."""
    ids = np.ones((12, 16), np.uint16)
    ids[3 : 3 + side, left : left + side] = 5
    found = objects(ids, {1: 0, 5: kind})
    segments = tuple(replace(one, score=score) if one.id == 5 else one for one in found.segments)
    return SegmentMap(ids, segments)


ROAD = objects(np.ones((12, 16), np.uint16), {1: 0})
MAPS = [
    ROAD,
    square(0, 6, score=0.5),  # the largest, at the edge
    square(2, 4, kind=2, score=0.25),
    ROAD,  # hidden
    square(4, 5),
    square(11, 3),
    ROAD,
]


def test_golden(tmp_path: Path) -> None:
    write("tracks", tmp_path / "x.csv", MAPS)
    road, car = rows_of(tmp_path / "x.csv")
    areas = [36, 16, 25, 9]
    assert car == {
        "id": "5",
        "class": "car",
        "class_id": "1",
        "isthing": "1",
        "first_frame": "1",
        "last_frame": "5",
        "first_time": str(STEP),
        "last_time": str(5 * STEP),
        "length": "4",
        "mean_area": str(sum(areas) / 4),
        "mean_score": "0.375",
        "votes": "car:3;dog:1",
        "best_frame": "4",
        "best_time": str(4 * STEP),
        "best_box": "4 3 5 5",
    }
    assert road["class"] == "road" and road["isthing"] == "0" and road["mean_score"] == ""
    assert (road["first_frame"], road["last_frame"], road["length"]) == ("0", "6", "7")
    assert float(road["mean_area"]) == round(12 * 16 - sum(areas) / 7, 2)


def test_json_has_the_same_rows(tmp_path: Path) -> None:
    write("tracks", tmp_path / "x.csv", MAPS)
    write("tracks-json", tmp_path / "x.json", MAPS)
    table = json.loads((tmp_path / "x.json").read_text())
    assert (table["schema"], table["frames"], table["source"]["width"]) == ("vidparse/1", 7, 16)
    assert len(table["tracks"]) == 2
    for row, line in zip(table["tracks"], rows_of(tmp_path / "x.csv"), strict=True):
        assert row.keys() == line.keys()
        for key in ("id", "class", "length", "mean_area", "best_frame", "first_time"):
            assert str(row[key]) == line[key]
    assert table["tracks"][1]["votes"] == {"car": 3, "dog": 1}
    assert table["tracks"][1]["best_box"] == [4, 3, 5, 5]


def test_rendered_scenes_add_up(tmp_path: Path) -> None:
    dataset, videos = scenes()
    for name, maps in videos.items():
        write("tracks", tmp_path / name, maps, dataset.labels)
        rows = {int(row["id"]): row for row in rows_of(tmp_path / name)}
        ids = np.stack([found.ids for found in maps])
        assert rows.keys() == {*np.unique(ids).tolist()} - {0}
        for number, row in rows.items():
            seen = np.flatnonzero((ids == number).any(axis=(1, 2)))
            assert (int(row["first_frame"]), int(row["last_frame"])) == (seen[0], seen[-1])
            assert int(row["length"]) == len(seen)
            area = float(row["mean_area"]) * len(seen)
            assert area == pytest.approx((ids == number).sum(), abs=0.01 * len(seen))


def test_more_than_1000_of_one_class(tmp_path: Path) -> None:
    write("tracks", tmp_path / "x", [crowd(1500), crowd(1500, 70_000)])
    rows = rows_of(tmp_path / "x")
    assert [int(row["id"]) for row in rows] == [*range(1, 1501), *range(70_000, 71_500)]
    assert {row["length"] for row in rows} == {"1"}


def test_semantic_and_empty(tmp_path: Path) -> None:
    (note,) = write("tracks", tmp_path / "x", [SegmentMap(np.array([[0, 1, 255]], np.uint8))] * 2)
    assert "tracks: objects are not known" in note
    assert [(row["id"], row["class"]) for row in rows_of(tmp_path / "x")] == [
        ("1", "road"),
        ("2", "car"),
    ]
    write("tracks-json", tmp_path / "y", [objects(np.zeros((3, 3), np.uint16), {})])
    assert json.loads((tmp_path / "y").read_text())["tracks"] == []


@pytest.mark.parametrize("kind", [TracksCsv, TracksJson])
def test_an_interrupt_keeps_what_was_seen_and_an_error_nothing(tmp_path: Path, kind: type) -> None:
    for error, kept in ((Interrupted("x"), True), (ValueError("x"), False)):
        path = tmp_path / str(kept)
        with pytest.raises(type(error)), kind(path, SinkOptions()) as sink:
            sink.open(info_of((12, 16)), TOY)
            for i, found in enumerate(MAPS[:3]):
                picture = Rgb(np.zeros((12, 16, 3), np.uint8))
                sink.write(Frame(i, 2 * i, picture), Prediction(i, found, TOY))
            raise error
        assert path.exists() is kept
        assert sorted(one.name for one in tmp_path.iterdir()) == ["True"]
    assert b"car" in (tmp_path / "True").read_bytes()


def test_a_stream_gets_it_at_the_end() -> None:
    out = io.BytesIO()
    sink = TracksJson(out, SinkOptions())
    sink.open(info_of((12, 16)), TOY)
    sink.write(Frame(0, 0, Rgb(np.zeros((12, 16, 3), np.uint8))), Prediction(0, MAPS[1], TOY))
    assert out.getvalue() == b""
    sink.close(keep=True)
    assert len(json.loads(out.getvalue())["tracks"]) == 2


@pytest.mark.parametrize("kind", [TracksCsv, TracksJson])
def test_memory_does_not_grow_with_frames(kind: type) -> None:
    sink = kind(io.BytesIO(), SinkOptions())
    sink.open(info_of((12, 16)), TOY)
    picture = Rgb(np.zeros((12, 16, 3), np.uint8))
    sizes = []
    tracemalloc.start()
    for i in range(3000):
        sink.write(Frame(i, 1000 + i, picture), Prediction(i, MAPS[i % len(MAPS)], TOY))
        if i in (300, 2999):
            kept = tracemalloc.take_snapshot().filter_traces(
                [tracemalloc.Filter(True, "*/sinks/*")]
            )
            sizes.append(sum(trace.size for trace in kept.traces))
    tracemalloc.stop()
    sink.close(keep=True)
    assert sizes[1] < sizes[0] + 500, sizes
