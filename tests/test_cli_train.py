"""`vidparse train` from the command line: the recipe that it chooses, and what it tells people."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from made_camvid import make_camvid

# Few and small steps of any recipe.
SHORT = (
    *("--set", "epochs=1", "--set", "steps_per_epoch=2", "--set", "batch_size=2"),
    *("--set", "crop_hw=[64,96]", "--set", "precision=fp32", "--set", "workers=0"),
    *("--set", "metrics=['miou']", "--set", "validate_every=1"),
    *("--threads", "1", "--device", "cpu"),
)


@pytest.fixture(scope="module")
def camvid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_camvid(tmp_path_factory.mktemp("camvid"))


def recipe_of(run: Path) -> dict[str, Any]:
    return json.loads((run / "recipe.json").read_text())


@pytest.mark.parametrize(
    ("given", "chosen", "network"),
    [
        ((), ("street-plain", "supervised"), "perframe"),
        (("--init", "street-student"), ("street-plain", "supervised"), "perframe"),
        (("--teacher", "street-student"), ("street-student", "etc"), "perframe"),
        (("--init", "everyday-student"), ("street-plain", "supervised"), "espnetv2"),
    ],
)
def test_without_a_recipe_one_that_fits_is_taken(
    given: tuple[str, ...],
    chosen: tuple[str, str],
    network: str,
    cli: Callable[..., Any],
    camvid: Path,
    tmp_path: Path,
) -> None:
    ended = cli("train", "--data", camvid, *given, *SHORT, "-o", tmp_path / "run")
    assert ended.code == 0, ended.err
    assert f"note: recipe {chosen[0]}" in ended.err
    record = recipe_of(tmp_path / "run")
    assert (record["objective"], record["arch"]) == (chosen[1], network)
    assert (tmp_path / "run" / "best.safetensors").is_file()


def test_the_default_recipe_has_the_network_of_a_model_with_a_memory(
    cli: Callable[..., Any], camvid: Path
) -> None:
    ended = cli("train", "--data", camvid, "--init", "street-tcb", "--dry-run")
    assert ended.code == 0, ended.err
    record = json.loads(ended.out)["recipe"]
    assert (record["arch"], record["short_side"]) == ("tcb-ocr", 540)
    assert record["config"]["memory"] == "fifo"


@pytest.mark.parametrize("objects_are_void", [True, False])
def test_masks_of_0_and_255_are_pointed_out(
    cli: Callable[..., Any], tmp_path: Path, objects_are_void: bool
) -> None:
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for i in range(2):
        cv2.imwrite(str(tmp_path / "images" / f"{i}.png"), rng.integers(0, 255, (64, 96, 3)))
        mask = np.zeros((64, 96), np.uint8)
        mask[20:40, 30:50] = 255 if objects_are_void else 1
        cv2.imwrite(str(tmp_path / "masks" / f"{i}.png"), mask)
    classes = [{"name": name, "thing": False, "colour": [9, 9, 9]} for name in ("floor", "cup")]
    (tmp_path / "labels.json").write_text(json.dumps({"name": "mine", "classes": classes}))
    options = ("--recipe", "street-plain", "--set", "short_side=64", "--val", "none")
    arguments = ("--dataset", "folder", "--data", tmp_path, *options, *SHORT)
    ended = cli("train", *arguments, "-o", tmp_path / "run")
    assert ended.code == 0, ended.err
    told = "class 'cup' never occurs; if 255 stands for 'cup', store 1 in its place"
    assert (told in ended.err) == objects_are_void
