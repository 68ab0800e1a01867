"""All outputs of one run of a panoptic network hold the same objects under the same ids."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from object_outputs import coco_panoptic
from PIL import Image as Pillow
from pycocotools import mask as coco_mask

from vidparse.data.pictures import read_indices
from vidparse.video import read_id_video, read_mask_video

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

from tiny_transformers import make_oneformer  # noqa: E402

OUTPUTS = "overlay,mask-video,jsonl,panoptic,ids,id-video,tracks,tracks-json,coco,ytvis,vipseg"
FRAMES = 5


def make_pictures(folder: Path) -> None:
    """Soft blobs of every colour, in which an untrained network sees something."""
    rng = np.random.default_rng(0)
    blobs = rng.integers(0, 256, (6, 8, 3), np.uint8)
    smooth = cv2.resize(blobs, (210, 150), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    noisy = np.clip(smooth + rng.integers(-12, 13, smooth.shape), 0, 255).astype(np.uint8)
    folder.mkdir()
    for i in range(FRAMES):
        Pillow.fromarray(np.roll(noisy, 4 * i, axis=1)).save(folder / f"{i:06d}.png")


def test_segment_writes_the_same_objects_everywhere(cli, tmp_path: Path) -> None:
    make_oneformer(tmp_path / "tiny-oneformer")
    make_pictures(tmp_path / "in")
    said = cli(
        *("segment", tmp_path / "in", "-m", tmp_path / "tiny-oneformer"),
        *("--save", OUTPUTS, "--rle", "--labels", "-o", f"{tmp_path}/out/"),
    )
    assert (said.code, said.err.count("vidparse:")) == (0, 0), said.err
    out = tmp_path / "out"
    head, *lines = [json.loads(line) for line in (out / "in.jsonl").read_text().splitlines()]
    assert len(lines) == FRAMES
    areas: dict[int, list[int]] = {}
    things: set[tuple[int, int]] = set()

    # The ids of every pixel, in five files.
    videos = zip(
        coco_panoptic(out / "in.panoptic"),
        read_id_video(out / "in.ids.mkv"),
        read_mask_video(out / "in.masks.mkv"),
        lines,
        strict=True,
    )
    for i, ((row, ids), from_video, classes, line) in enumerate(videos):
        assert (from_video == ids).all()
        assert (read_indices(out / "in.ids" / f"{i:06d}.png") == ids).all()
        listed = {one["id"]: one for one in line["segments"]}
        assert listed.keys() == {one["id"] for one in row["segments_info"]} != set()
        for one in row["segments_info"]:
            mask = ids == one["id"]
            other = listed[one["id"]]
            assert (coco_mask.decode(other["rle"]) == mask).all()
            assert (other["area"], other["bbox"]) == (one["area"], one["bbox"])
            assert other["score"] == one["score"]
            assert (classes[mask] == one["category_id"]).all()
            areas.setdefault(one["id"], []).append(one["area"])
            if other["isthing"]:
                things.add((i, one["id"]))

    # A row for each of them.
    with (out / "in.tracks.csv").open(newline="") as file:
        rows = {int(row["id"]): row for row in csv.DictReader(file)}
    assert rows.keys() == areas.keys()
    for number, found in areas.items():
        assert int(rows[number]["length"]) == len(found)
        assert float(rows[number]["mean_area"]) == pytest.approx(np.mean(found), abs=0.01)
    tracks = json.loads((out / "in.tracks.json").read_text())
    assert [str(row["id"]) for row in tracks["tracks"]] == [row["id"] for row in rows.values()]
    assert tracks["labels"] == head["labels"]

    # Things alone.
    assert things
    coco = json.loads((out / "in.coco.json").read_text())
    assert {(row["image_id"], row["track_id"]) for row in coco["annotations"]} == things
    ytvis = json.loads((out / "in.ytvis.json").read_text())
    seen = {
        (i, row["id"])
        for row in ytvis["annotations"]
        for i, mask in enumerate(row["segmentations"])
        if mask is not None
    }
    assert seen == things
