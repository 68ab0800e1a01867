"""Records hold exactly what the id maps hold: areas, boxes, run lengths, shares, times."""

from __future__ import annotations

import csv
import io
import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as coco

from vidparse.errors import OutputError
from vidparse.frame import Frame, VideoInfo
from vidparse.image import ColourTags, Rgb
from vidparse.labels import Labels
from vidparse.maps import Prediction, Segment, SegmentMap, class_segments, find_runs
from vidparse.sinks import RunHeader, SinkOptions
from vidparse.sinks.records import Csv, Jsonl, share_texts

LABELS = Labels(
    "toy", ("sky", "car, red", "road"), ((1, 2, 3), (4, 5, 6), (7, 8, 9)), frozenset({1})
)
INFO = VideoInfo(
    name="clip.mp4",
    size_hw=(2, 4),
    time_base=Fraction(1, 30000),
    rate=Fraction(30000, 1001),
    frames=2,
    duration_s=0.0667,
    sample_aspect_ratio=Fraction(1),
    colour=ColourTags(),
    codec="h264",
    pixel_format="yuv420p",
)
IDS = np.array([[0, 0, 1, 255], [0, 2, 1, 255]], np.uint8)
PICTURE = Rgb(np.zeros((2, 4, 3), np.uint8))


def predicted(
    index: int, ids: np.ndarray, segments: tuple[Segment, ...] | None = None
) -> Prediction:
    return Prediction(index, SegmentMap(ids, segments), LABELS)


def written(sink_class, options: SinkOptions, *pairs: tuple[Frame, Prediction]) -> str:
    stdout = io.BytesIO()
    sink = sink_class(stdout, options)
    sink.open(INFO, LABELS)
    for frame, prediction in pairs:
        sink.write(frame, prediction)
    sink.close(keep=True)
    return stdout.getvalue().decode("utf-8")


def test_jsonl_golden():
    header = RunHeader(
        model="street-student",
        weights_sha256="ab12",
        argv=("segment", "clip.mp4"),
        version="0.1.0",
        backend="onnx",
        device="cpu",
        precision="fp32",
    )
    text = written(
        Jsonl,
        SinkOptions(header=header),
        (Frame(0, 0, PICTURE), predicted(0, IDS)),
        (
            Frame(7, 6006, PICTURE, name="img_7"),
            predicted(7, np.full((2, 4), 255, np.uint8)),
        ),
    )
    first, second, third, end = text.split("\n")
    assert json.loads(first) == {
        "schema": "vidparse/1",
        "model": "street-student",
        "weights_sha256": "ab12",
        "argv": ["segment", "clip.mp4"],
        "version": "0.1.0",
        "backend": "onnx",
        "device": "cpu",
        "precision": "fp32",
        "labels": {
            "name": "toy",
            "classes": [
                {"name": "sky", "thing": False, "colour": [1, 2, 3]},
                {"name": "car, red", "thing": True, "colour": [4, 5, 6]},
                {"name": "road", "thing": False, "colour": [7, 8, 9]},
            ],
            "void": 255,
        },
        "kept_classes": None,
        "source": {
            "name": "clip.mp4",
            "width": 4,
            "height": 2,
            "time_base": "1/30000",
            "rate": "30000/1001",
            "frames_hint": 2,
            "duration_s": 0.0667,
            "sample_aspect_ratio": "1",
            "rotation": 0,
            "codec": "h264",
            "pixel_format": "yuv420p",
        },
    }
    assert second == (
        '{"frame":0,"pts":0,"time":0.0,"segments":['
        '{"id":0,"class":"sky","class_id":0,"isthing":false,"area":3,"bbox":[0,0,2,2]},'
        '{"id":1,"class":"car, red","class_id":1,"isthing":true,"area":2,"bbox":[2,0,1,2]},'
        '{"id":2,"class":"road","class_id":2,"isthing":false,"area":1,"bbox":[1,1,1,1]}]}'
    )
    assert third == '{"frame":7,"name":"img_7","pts":6006,"time":0.2002,"segments":[]}'
    assert end == ""


def test_jsonl_of_objects_with_scores_and_run_lengths():
    ids = np.array([[0, 0, 9, 9], [0, 0, 9, 0]], np.int32)
    segment = Segment(9, 1, True, 0.931249, 3, (2, 0, 2, 2))
    text = written(
        Jsonl,
        SinkOptions(rle=True),
        (Frame(0, 0, PICTURE), predicted(0, ids, (segment,))),
    )
    (entry,) = json.loads(text.split("\n")[1])["segments"]
    assert entry["score"] == 0.9312
    decoded = coco.decode(entry["rle"])
    np.testing.assert_array_equal(decoded, ids == 9)


def test_jsonl_lines_can_be_read_while_it_runs(tmp_path):
    sink = Jsonl(tmp_path / "clip.jsonl", SinkOptions())
    sink.open(INFO, LABELS)
    part = tmp_path / "clip.vidparse-part.jsonl"
    assert len(part.read_text().splitlines()) == 1
    sink.write(Frame(0, 0, PICTURE), predicted(0, IDS))
    assert json.loads(part.read_text().splitlines()[1])["frame"] == 0
    sink.close(keep=True)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.jsonl"]


def test_csv_golden():
    text = written(
        Csv,
        SinkOptions(),
        (Frame(0, 0, PICTURE), predicted(0, IDS)),
        (Frame(1, 1001, PICTURE), predicted(1, np.full((2, 4), 2, np.uint8))),
    )
    assert text == (
        'frame,pts,time,sky,"car, red",road,void\n'
        "0,0,0.0,0.375,0.25,0.125,0.25\n"
        "1,1001,0.03336666666666667,0,0,1,0\n"
    )


def test_csv_of_chosen_classes_counts_the_rest_as_void():
    text = written(
        Csv,
        SinkOptions(classes=(2, 1)),
        (Frame(0, 0, PICTURE), predicted(0, IDS)),
    )
    header, row = csv.reader(io.StringIO(text))
    assert header[3:] == ["road", "car, red", "void"]
    assert row[3:] == ["0.125", "0.25", "0.625"]


def test_csv_of_objects_adds_them_up_by_class():
    ids = np.array([[0, 0, 9, 9], [0, 0, 8, 0]], np.int32)
    segments = (
        Segment(9, 1, True, 0.9, 2, (2, 0, 2, 1)),
        Segment(8, 1, True, 0.9, 1, (2, 1, 1, 1)),
    )
    areas = SegmentMap(ids, segments).class_areas(LABELS)
    assert areas.tolist() == [0, 3, 0, 5]


@given(st.lists(st.integers(0, 40_000_000), min_size=1, max_size=130))
def test_shares_add_up_to_one_and_are_near_the_truth(areas):
    texts = share_texts(np.array(areas))
    total = sum(areas)
    if total == 0:
        assert set(texts) == {"0"}
        return
    shares = [Fraction(text) for text in texts]
    assert sum(shares) == 1
    for share, area in zip(shares, areas, strict=True):
        assert abs(share - Fraction(area, total)) < Fraction(1, 10**8)
        assert area or share == 0


id_maps = arrays.arrays(
    st.sampled_from([np.uint8, np.uint16, np.int32]),
    st.tuples(st.integers(1, 12), st.integers(1, 14)),
    elements=st.sampled_from([0, 1, 2, 255]),
)


@settings(max_examples=150, deadline=None)
@given(id_maps)
def test_segments_agree_with_the_coco_library(ids):
    runs = find_runs(ids, down_columns=True)
    segments = class_segments(runs, LABELS)
    assert segments == class_segments(find_runs(ids), LABELS)  # along the rows
    assert [segment.id for segment in segments] == [int(i) for i in np.unique(ids) if i != 255]
    for segment in segments:
        reference = coco.encode(np.asfortranarray((ids == segment.id).astype(np.uint8)))
        mine = runs.run_lengths(segment.id)
        assert mine["counts"] == reference["counts"].decode()
        assert mine["size"] == reference["size"]
        assert segment.area == int(coco.area(reference))
        assert list(segment.box) == coco.toBbox(reference).tolist()
        assert segment.is_thing == (segment.id == 1)
    counted = SegmentMap(ids).class_areas(LABELS)
    assert counted.tolist() == [int((ids == i).sum()) for i in (0, 1, 2, 255)]


def test_run_lengths_of_an_absent_id_are_all_background():
    runs = find_runs(IDS, down_columns=True)
    assert coco.decode(runs.run_lengths(77)).sum() == 0


def test_an_id_of_no_class_is_refused():
    with pytest.raises(OutputError, match="id 3"):
        class_segments(find_runs(np.full((2, 2), 3, np.uint8)), LABELS)
    with pytest.raises(OutputError, match="id -1"):
        class_segments(find_runs(np.full((2, 2), -1, np.int32)), LABELS)
