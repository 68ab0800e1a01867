"""Names of a file, where a folder would be made, and a picture where a video would."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from support.colour_model import save_nearest_colour
from vidparse.data.convert import check_new_folder
from vidparse.errors import OutputError
from vidparse.labels import load_labels


@pytest.mark.parametrize("name", ["README.md", "x.mp4", "x.PNG", "labels.json"])
def test_a_name_of_a_file_makes_no_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match="is a name of a file"):
        check_new_folder(tmp_path / name)
    check_new_folder(tmp_path / "v1.2")


@pytest.fixture
def picture(tmp_path: Path) -> tuple[Path, ...]:
    """A picture whose right half is Car, and a model that is not quite sure of it."""
    ids = np.zeros((48, 64), int)
    ids[:, 32:] = 8
    colours = np.array(load_labels("camvid").colours, np.uint8)
    cv2.imwrite(str(tmp_path / "one.png"), colours[ids][..., ::-1])
    return tmp_path / "one.png", save_nearest_colour(tmp_path / "nearest.onnx", "camvid")


@pytest.mark.parametrize(("out", "place"), [("o.png", "o.png"), ("d/", "d/one.matte.png")])
def test_a_matte_of_one_picture_is_a_picture(
    cli: Callable[..., Any], picture: tuple[Path, ...], tmp_path: Path, out: str, place: str
) -> None:
    source, model = picture
    words = ("segment", source, "-m", model, "--matte", "Car", "--save", "matte")
    ended = cli(*words, "-o", f"{tmp_path}/{out}")
    assert ended.code == 0, ended.err
    alpha = cv2.imread(str(tmp_path / place), cv2.IMREAD_UNCHANGED)
    assert alpha.shape == (48, 64)
    assert (alpha[:, :16] == 0).all() and (alpha[:, 48:] > 127).all()


@pytest.mark.parametrize(("out", "before"), [("d/o.png", "o"), ("d/", "one")])
def test_mattes_of_each_of_one_picture_have_the_names_of_classes(
    cli: Callable[..., Any], picture: tuple[Path, ...], tmp_path: Path, out: str, before: str
) -> None:
    source, model = picture
    (tmp_path / "d").mkdir()
    words = ("segment", source, "-m", model, "--matte", "each", "--save", "matte")
    ended = cli(*words, "-o", f"{tmp_path}/{out}")
    assert ended.code == 0, ended.err
    after = ".png" if out.endswith(".png") else ".matte.png"
    names = sorted(one.name for one in (tmp_path / "d").iterdir())
    assert names == [f"{before}.Car{after}", f"{before}.Sky{after}"]


def test_folders_of_one_picture_are_replaced_where_that_is_wished(
    cli: Callable[..., Any], picture: tuple[Path, ...], tmp_path: Path
) -> None:
    source, model = picture
    words = ("segment", source, "-m", model, "--matte", "Car", "--save", "masks,trimap")
    for code, more in ((0, ()), (6, ()), (0, ("--overwrite",))):
        ended = cli(*words, "-o", f"{tmp_path}/d/", *more)
        assert ended.code == code, ended.err
    assert (tmp_path / "d" / "one.masks" / "one.png").is_file()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x.webm", "end it in .mp4, .mov, .mkv, or in / for a directory, or save cutout-vp9"),
        ("x.gif", "end it in .mp4, .mov, .mkv, or in / for a directory"),
    ],
)
def test_an_ending_that_a_matte_has_not_leads_to_the_output_that_has_it(
    cli: Callable[..., Any], clip: Callable[..., Path], tmp_path: Path, name: str, message: str
) -> None:
    ended = cli("segment", clip("a.mp4", frames=1), "--matte", "Car", "-o", tmp_path / name)
    assert ended.code == 2 and ended.err.endswith(f"{message}\n")
