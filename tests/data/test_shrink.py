"""`data convert --shrink`: pictures by areas, labels by the pixel below each centre."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from support.made_labels import LABELS
from vidparse.data import open_dataset
from vidparse.data.shrink import shrunk_map, shrunk_picture, shrunk_size
from vidparse.labels import labels_to_json
from vidparse.maps import SegmentMap, segments_of_ids

THINGS = LABELS.things


def test_a_size_keeps_its_proportion_and_is_never_enlarged() -> None:
    assert shrunk_size((1080, 1920), 480) == (480, 853)
    assert shrunk_size((1920, 1080), 480) == (853, 480)
    assert shrunk_size((360, 640), 480) == (360, 640)
    assert shrunk_size((360, 640), None) == (360, 640)


@pytest.mark.parametrize("side", [32, 33, 47, 50])
def test_labels_are_those_below_each_centre(side: int) -> None:
    """As Pillow's nearest neighbour has it, which made the published 480p masks."""
    ids = np.random.default_rng(side).integers(0, 3, (61, 97)).astype(np.uint8)
    small = shrunk_map(SegmentMap(ids), LABELS, side).ids
    height, width = shrunk_size((61, 97), side)
    expected = np.asarray(Pillow.fromarray(ids).resize((width, height), Pillow.Resampling.NEAREST))
    np.testing.assert_array_equal(small, expected)


def test_half_size_takes_means_of_pictures() -> None:
    picture = np.zeros((64, 80, 3), np.uint8)
    picture[::2, ::2] = 200  # one pixel of each block of four
    np.testing.assert_array_equal(shrunk_picture(picture, 32), np.full((32, 40, 3), 50, np.uint8))


def test_segments_are_counted_anew_and_leave_when_nothing_of_them_is_left() -> None:
    ids = np.full((64, 64), 5, np.uint16)
    ids[10:20, 20:40] = 7
    ids[0, 0] = 9  # not below the centre of any pixel of half the size
    segments = segments_of_ids(ids, {5: 0, 7: 1, 9: 2}, things=THINGS)
    small = shrunk_map(SegmentMap(ids, segments), LABELS, 32)
    assert small.segments is not None
    assert {one.id: (one.area, one.box) for one in small.segments} == {
        5: (32 * 32 - 50, (0, 0, 32, 32)),
        7: (50, (10, 5, 10, 5)),
    }


@pytest.fixture
def jpegs(tmp_path: Path) -> Path:
    """A data set in the layout `folder`: a JPEG of 64x48 per frame, its left half of class 1."""
    root = tmp_path / "set"
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    (root / "labels.json").write_text(json.dumps(labels_to_json(LABELS)))
    for i in range(2):
        mask = np.zeros((48, 64), np.uint8)
        mask[:, : 32 + 2 * i] = 1
        cv2.imwrite(str(root / "images" / f"{i}.jpg"), np.full((48, 64, 3), 90, np.uint8))
        cv2.imwrite(str(root / "masks" / f"{i}.png"), mask)
    return root


@pytest.mark.parametrize("to", ["folder", "vspw", "yolo-seg", "coco-panoptic", "cvat"])
def test_every_kind_of_format_holds_small_pictures_with_their_labels(
    cli, jpegs: Path, tmp_path: Path, to: str
) -> None:
    result = cli("data", "convert", jpegs, tmp_path / to, "--to", to, "--shrink", 32)
    assert result.code == 0, result.err
    split = "train" if to == "vspw" else "all"
    small = open_dataset(to, tmp_path / to, split)
    frames = [frame for video in small.videos for frame in video.frames]
    assert len(frames) == 2
    for i, frame in enumerate(frames):
        assert small.load_image(frame).shape == (32, 43, 3)
        np.testing.assert_allclose(small.load_image(frame), 90, atol=2)
        truth = small.load_truth(frame).classes()
        assert truth.shape == (32, 43)
        # Centres left of the edge: (2 x + 1) 64 / 86 < 32 + 2 i.
        edge = sum((2 * x + 1) * 64 // 86 < 32 + 2 * i for x in range(43))
        car = small.labels.classes.index("car")
        np.testing.assert_array_equal((truth == car).sum(axis=1), edge)


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        (["--shrink", "31"], "--shrink"),
        (["--shrink", "32", "--no-pictures"], "labels would not fit their pictures"),
    ],
)
def test_sizes_that_serve_nobody_are_refused(
    cli, jpegs: Path, tmp_path: Path, wishes: list[str], message: str
) -> None:
    result = cli("data", "convert", jpegs, tmp_path / "new", "--to", "cvat", *wishes)
    assert result.code == 2
    assert message in result.err
    assert not (tmp_path / "new").exists()
