"""Counts in messages: one is one, wherever the number comes from the data."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from vidparse.errors import counted

ONE_OF_MANY = re.compile(r"(?<![\w.,:])1 (error|warning|frame|video|picture|image|mask|thread)s\b")


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (0, "frame", "0 frames"),
        (1, "frame", "1 frame"),
        (2, "frame", "2 frames"),
        (1, "class", "1 class"),
        (11, "class", "11 classes"),
    ],
)
def test_counted(number, noun, text):
    assert counted(number, noun) == text


def write_folder(root: Path, *, damaged: bool) -> Path:
    """A data set of one labelled frame."""
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    picture = cv2.imencode(".png", np.zeros((48, 64), np.uint8))[1].tobytes()
    (root / "images/1.png").write_bytes(picture)
    (root / "masks/1.png").write_bytes(picture[:40] if damaged else picture)
    classes = [{"name": name, "thing": True, "colour": [9, 9, 9]} for name in ("cat", "dog")]
    (root / "labels.json").write_text(json.dumps({"name": "mine", "classes": classes}))
    return root


def test_one_error(cli, tmp_path):
    ended = cli("data", "check", write_folder(tmp_path / "d", damaged=True))
    assert ended.code == 3
    assert b"\n1 error, 0 warnings\n" in ended.out


def test_one_frame_of_one_video(cli, clip, colour_model, tmp_path):
    root = write_folder(tmp_path / "d", damaged=False)
    path = clip("x.mp4", frames=1)
    for words in (
        ("eval", "--data", root, "--pred", root / "masks", "--metrics", "miou"),
        ("segment", path, "--save", "csv"),
        ("bench", path, "-m", colour_model, "--repeats", 1, "--threads", 1),
        ("autolabel", "-m", colour_model, path, "-o", tmp_path / "pseudo", "--scales", "1"),
    ):
        ended = cli(*words)
        assert ended.code == 0, ended.err
        text = ended.err + ended.out.decode()
        assert "1 frame" in text, text
        assert not ONE_OF_MANY.search(text), text
