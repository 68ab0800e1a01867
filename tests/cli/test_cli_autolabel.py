"""`vidparse autolabel` as people call it."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.commands import Finished
from support.made_folder import make_folder
from vidparse.data import open_dataset

Run = Callable[..., Finished]
FAST = ("--scales", "1", "--no-flip", "--threads", "1", "--device", "cpu")
SCENES = "sample://street?size=96x64&frames=2"


@pytest.fixture
def run(cli: Run, colour_model: Path) -> Run:
    return lambda *arguments: cli("autolabel", *FAST, "-m", colour_model, *arguments)


@pytest.fixture
def other_labels(colour_model: Path, tmp_path: Path) -> Path:
    """The model of `colour_model`, whose last class is called otherwise."""
    import onnx
    from onnx import helper

    model = onnx.load(colour_model)
    text = {entry.key: entry.value for entry in model.metadata_props}["vidparse"]
    helper.set_model_props(model, {"vidparse": text.replace("Bicyclist", "Llama")})
    path = tmp_path / "llamas.onnx"
    onnx.save(model, path)
    return path


def test_a_split_and_the_summary_of_it(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "pseudo"
    made = make_folder(tmp_path / "made", videos=2, frames=3)
    split = ("--dataset", "folder", "--data", made, "--threshold", "0", "-o", out)
    ended = run(*split)
    assert ended.code == 0, ended.err
    assert ended.lines == [f"6 frames, 100.0% of the pixels labelled -> {out}"]
    record = json.loads(run(*split, "--json").out)
    assert (record["made"], record["skipped"], record["frames"]) == (0, 6, 6)
    assert sum(record["class_shares_of_kept"].values()) == pytest.approx(1)
    assert len(open_dataset("folder", out, "train").videos) == 2
    quiet = run(*split, "-q")
    assert (quiet.code, quiet.out, quiet.err) == (0, b"", "")


def test_a_video(run: Run, clip: Callable[..., Path], tmp_path: Path) -> None:
    ended = run(clip("drive.mp4", frames=9), "--every", "2", "--max-frames", "3",
               "-o", tmp_path / "pseudo")  # fmt: skip
    assert ended.code == 0 and ended.err.startswith("3 frames, ")
    masks = sorted(path.name for path in (tmp_path / "pseudo/masks/drive").iterdir())
    assert masks == ["000000.png", "000002.png", "000004.png"]


def test_models_of_other_classes(run: Run, other_labels: Path, tmp_path: Path) -> None:
    ended = run("-m", other_labels, "--dataset", SCENES, "-o", tmp_path / "pseudo")
    assert ended.code == 2 and len(ended.lines) == 1
    assert "llamas.onnx: has other classes than" in ended.err and "'Llama'" in ended.err
    assert not (tmp_path / "pseudo").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "inputs: name either a data set with --dataset, or videos"),
        (("x.mp4", "--dataset", "camvid"), 2, "inputs: name either"),
        (("--dataset", "nothing"), 2, "data set 'nothing': unknown"),
        (("--dataset", "idd-lite"), 2, "name it with --data"),
        (("--dataset", SCENES, "--unlabelled"), 3, "has no frame without a mask"),
        (("--dataset", SCENES, "--within", "--unlabelled"), 2, "drop one"),
        (
            ("--dataset", SCENES, "--within", "--labels", "voc"),
            2,
            "cannot be regrouped to 'voc'",
        ),
        (("--dataset", SCENES, "--every", "2"), 2, "--every: is for videos"),
        (("nowhere.mp4",), 3, "nowhere.mp4"),
        (("nowhere.mp4", "--within"), 2, "belong to a data set"),
        (("x.mp4", "--scales", "1,big"), 2, "--scales '1,big': not numbers"),
        (("x.mp4", "--scales", "nan"), 2, "must be above 0"),
        (("x.mp4", "--slide", "8"), 2, "slide 8: must lie in"),
        (("x.mp4", "--labels", "nothing"), 2, "label set 'nothing': unknown"),
        (("x.mp4", "--labels", "vspw"), 2, "cannot be regrouped to 'vspw'"),
        (("x.mp4", "-m", "nowhere.onnx"), 4, "nowhere.onnx"),
    ],
)
def test_errors_are_one_line(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    ended = run(*arguments, "-o", tmp_path / "pseudo")
    assert ended.code == code, ended.err
    assert len(ended.lines) == 1 and message in ended.err


def test_interrupted_and_resumed(
    run: Run,
    process: Callable[..., subprocess.Popen[bytes]],
    clip: Callable[..., Path],
    colour_model: Path,
    tmp_path: Path,
) -> None:
    out = tmp_path / "pseudo"
    source = (clip("long.mp4", frames=300, size_hw=(96, 128)), "-o", out)
    running = process("autolabel", *FAST, "-m", colour_model, *source)
    deadline = time.monotonic() + 60
    while not list(out.glob("masks/*/*.png")) and time.monotonic() < deadline:
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    message = running.communicate(timeout=60)[1].decode()
    assert running.returncode == 130 and "the same command goes on from there" in message
    done = len(list(out.glob("masks/*/*.png")))
    assert 0 < done < 300 and not list(out.rglob("*.vidparse-part"))
    record = json.loads(run(*source, "--max-frames", str(done + 1), "--json").out)
    assert (record["made"], record["skipped"]) == (1, done)
