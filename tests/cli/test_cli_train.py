"""`vidparse train` from the command line: the recipe that it chooses, and its messages."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from support.made_camvid import make_camvid
from vidparse.errors import Interrupted
from vidparse.flow.raft import Raft
from vidparse.labels import labels_to_json, load_labels
from vidparse.models.checkpoint import save_checkpoint
from vidparse.models.description import Preprocess, metadata_of
from vidparse.models.zoo import build, config_of
from vidparse.requests.training import available_recipes
from vidparse.training import load_recipe

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
    assert (record["objective"]["kind"], record["network"]["arch"]) == (chosen[1], network)
    assert (tmp_path / "run" / "best.safetensors").is_file()


def test_the_default_recipe_has_the_network_of_a_model_with_a_memory(
    cli: Callable[..., Any], camvid: Path
) -> None:
    ended = cli("train", "--data", camvid, "--init", "street-tcb", "--dry-run")
    assert ended.code == 0, ended.err
    record = json.loads(ended.out)["recipe"]["network"]
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
    message = "class 'cup' never occurs; if 255 stands for 'cup', store 1 in its place"
    assert (message in ended.err) == objects_are_void


def test_a_run_goes_on_from_its_state_alone(
    cli: Callable[..., Any], camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = ("--data", camvid, "--also", f"camvid={camvid}:test@0.5", "--val", f"camvid={camvid}")
    short = [*SHORT, "--set", "epochs=2", "--set", "class_weight_offset=0"]
    tiny = ["--set", "config.width=16", "--set", "config.key_width=8", "--set", "seed=5"]
    whole = cli("train", *data, "--recipe", "street-plain", *short, *tiny, "-o", "whole")
    assert whole.code == 0, whole.err
    from vidparse.training import fit, recorded_run

    # The same run as an interrupt after the first of its steps leaves it.
    state = Path("broken/last.safetensors")
    recipe, request = recorded_run(Path("whole/last.safetensors"))
    assert request is not None and request.sources[1].weight == 0.5
    assert request.validation is not None and request.validation.root == camvid.absolute()
    stop = threading.Event()
    with pytest.raises(Interrupted):
        fit(
            recipe,
            request.sources,
            validation=request.validation,
            out=Path("broken"),
            overwrite=True,
            device="cpu",
            threads=1,
            on_step=lambda progress: stop.set(),
            stop=stop,
        )
    ended = cli("train", "--resume", state, "--threads", "1", "--device", "cpu")
    assert ended.code == 0, ended.err
    assert "best validation miou" in ended.err
    expected, got = (load_file(f"{run}/last.safetensors") for run in ("whole", "broken"))
    assert expected.keys() == got.keys()
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    changed = cli("train", "--resume", state, "--set", "epochs=9")
    assert changed.code == 2 and "another recipe (epochs 2, not 9)" in changed.err


def test_without_a_validation_there_are_curves(
    cli: Callable[..., Any], camvid: Path, tmp_path: Path
) -> None:
    ended = cli(
        "train",
        "--data",
        camvid,
        "--val",
        "none",
        *SHORT,
        "--set",
        "warmup_steps=50",
        "-o",
        tmp_path,
    )
    assert ended.code == 0, ended.err
    assert "<svg" in (tmp_path / "curves.html").read_text()
    assert "warmup_steps 50: the run has 2 steps" in ended.err


@pytest.fixture(scope="module")
def givens(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """What some recipes ask for: data of Cityscapes' classes, a teacher, a flow."""
    folder = tmp_path_factory.mktemp("givens")
    labels = load_labels("cityscapes")
    for split in ("train", "val"):
        (folder / split / "images").mkdir(parents=True)
        (folder / split / "masks").mkdir()
        for i in range(8):
            cv2.imwrite(
                str(folder / split / "images" / f"{i}.png"), np.zeros((32, 64, 3), np.uint8)
            )
            cv2.imwrite(str(folder / split / "masks" / f"{i}.png"), np.zeros((32, 64), np.uint8))
    (folder / "labels.json").write_text(json.dumps(labels_to_json(labels)))
    network = build("perframe", {"classes": 19, "output_stride": 16, "width": 8})
    metadata = metadata_of(
        arch="perframe",
        config=config_of(network),
        labels=labels,
        preprocess=Preprocess(64),
        training={},
    )
    save_checkpoint(folder / "teacher.safetensors", network.state_dict(), metadata)
    torch.save(Raft().state_dict(), folder / "raft.pth")
    cityscapes = ["--dataset", "folder", "--data", folder]
    teacher = ["--teacher", folder / "teacher.safetensors"]
    return {
        "etc-teacher": cityscapes,
        "etc-student": [*cityscapes, *teacher],
        "netwarp": ["--flow-weights", folder / "raft.pth"],
    }


@pytest.mark.parametrize("name", available_recipes())
def test_every_recipe_can_be_rehearsed(
    name: str, cli: Callable[..., Any], givens: dict[str, list[Any]]
) -> None:
    recipe = load_recipe(name)
    given = givens.get(name, [])
    if recipe.objective.kind == "etc" and not given:
        given = ["--teacher", "street-student"]
    data = [] if "--data" in given else ["--dataset", "sample://street?size=160x90&frames=8"]
    ended = cli("train", "--recipe", name, *data, *given, "--dry-run")
    assert ended.code == 0, ended.err
    plan = json.loads(ended.out)
    estimate = plan["estimate"]
    assert estimate["steps"] == recipe.schedule.epochs * estimate["steps_per_epoch"]
    assert estimate["samples"] == estimate["steps"] * recipe.schedule.batch_size

    # Little is kept where a classifier learns alone.
    least_mib = 1 if recipe.optimiser.trainable else 10
    assert estimate["parameters"] > 5e5 and estimate["activations_mib"] > least_mib


def test_a_rehearsal_finds_what_would_end_the_run(
    cli: Callable[..., Any], camvid: Path, givens: dict[str, list[Any]], tmp_path: Path
) -> None:
    other = tmp_path / "other.pth"
    torch.save({"nothing": torch.zeros(3)}, other)
    teacher = givens["etc-student"][-1]
    raft = givens["netwarp"][-1]
    for arguments, code, words in (
        (["--init", tmp_path / "no.pth"], 4, "no such file"),
        (["--init", other], 2, "no tensor of it fits"),
        (["--init", "no-such-model"], 4, "unknown"),
        (["--recipe", "street-student"], 2, "need a teacher"),
        (["--recipe", "etc-student"], 4, "runs/etc-teacher/best.safetensors"),
        (["--teacher", teacher], 2, "knows the 19 classes"),
        (["--recipe", "street-plain", "--teacher", "street-student"], 2, "not supervised"),
        (["--recipe", "netwarp"], 2, "give --flow-weights"),
        (["--flow-weights", raft], 2, "follows no flow"),
        (["--recipe", "netwarp", "--flow-weights", other], 4, "other.pth"),
        (["--recipe", "etc-teacher"], 2, "class_weights: 19 of them for 11 classes"),
        (["--val", f"camvid={tmp_path}"], 3, str(tmp_path)),
        (["--set", "metrics=['vpq']"], 2, "distinguishes objects"),
        (["--set", "steps_per_epoch=0", "--set", "batch_size=64"], 3, "fewer than a batch"),
        (["--recipe", "stcl", "--set", "arch=tcb-ocr"], 2, "has a memory"),
    ):
        ended = cli("train", "--data", camvid, *arguments, "--dry-run")
        assert ended.code == code and words in ended.err, (arguments, ended.code, ended.err)
    ended = cli("train", "--data", camvid, "--init", "street-student", "--dry-run")
    assert ended.code == 0 and "starts from street-student: 409 of 409 tensors fit" in ended.err


@pytest.mark.parametrize(
    ("number", "workers"), [(signal.SIGINT, 0), (signal.SIGINT, 1), (signal.SIGTERM, 1)]
)
def test_an_interrupt_is_answered_at_once(
    process: Callable[..., Any],
    camvid: Path,
    tmp_path: Path,
    number: signal.Signals,
    workers: int,
) -> None:
    """By a note, before the step under way is done; then the run ends with its state.

    A worker process that loads clips heeds no signal itself, and must not keep the run.
    """
    more = ("--set", "steps_per_epoch=4000", "--set", "config.width=16", "--val", "none")
    more += ("--set", f"workers={workers}")
    run = process("train", "--data", camvid, *SHORT, *more, "-o", tmp_path)
    while not (tmp_path / "log.jsonl").exists():
        assert run.poll() is None
        time.sleep(0.05)
    run.send_signal(number)
    _, err = run.communicate(timeout=200)
    assert run.returncode == 130
    heard, end = (err.decode().find(text) for text in ("note: stopping after", "stopped at step"))
    assert 0 < heard < end, err.decode()
    assert (tmp_path / "last.safetensors").exists()
