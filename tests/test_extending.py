"""A new thing is one class (or record) and one line in its table; nothing else is edited.

CONTRIBUTING.md names the tables; each gets a toy. The commands then know the toy by its name.
"""

from __future__ import annotations

import csv
import json
import os
import re
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from support import toys
from vidparse.maps import SegmentMap
from vidparse.models.checkpoint import save_checkpoint
from vidparse.models.description import Preprocess, metadata_of
from vidparse.models.network import VideoNetwork
from vidparse.models.zoo import MODELS, build, facts_of, settings_for

ROOT = Path(__file__).parents[1]
SIZE_HW = (48, 64)
FRAMES = 7  # two windows of three frames, and a short one


class Row(NamedTuple):
    """Where a new thing goes: its base class, its folder, and the table that names it."""

    kind: str
    base: str
    folder: str
    table: str


def rows() -> list[Row]:
    """The rows of "Where a new thing goes" in CONTRIBUTING.md."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| ([\w ]+) \| `(\w+)`.*? \| `(.+?)/` \| `([\w.]+)` \|$", text, re.M)
    return [Row(*columns) for columns in found]


def table_of(row: Row) -> dict[str, Any]:
    module, _, name = row.table.rpartition(".")
    return getattr(import_module(module), name)


@pytest.fixture(autouse=True)
def tables(monkeypatch: pytest.MonkeyPatch) -> None:
    for row in rows():
        monkeypatch.setitem(table_of(row), "toy", toys.TOYS[row.kind])


def test_contributing_names_every_table():
    assert [row.kind for row in rows()] == list(toys.TOYS)


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.kind)
def test_contributing_names_the_class_and_its_folder(row):
    (toy,) = (toys.TOYS[row.kind],)
    classes = [one for one in (toy if isinstance(toy, tuple) else (toy,)) if isinstance(one, type)]
    bases = {base.__name__ for one in classes or [type(toys.FORMAT)] for base in one.__mro__}
    assert row.base in bases
    own = [one for one in table_of(row).values() if getattr(one, "__module__", None)]
    folder = row.folder.replace("/", ".")
    assert (ROOT / row.folder).is_dir()
    assert all(one.__module__.startswith((folder, "support.toys", "functools")) for one in own)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A checkpoint of the toy network."""
    import torch

    torch.manual_seed(0)
    network = build("toy", settings_for("toy", toys.LABELS))
    metadata = metadata_of(
        arch="toy", labels=toys.LABELS, preprocess=Preprocess(48), training={}, **facts_of(network)
    )
    path = tmp_path / "toy.safetensors"
    save_checkpoint(path, network.state_dict(), metadata)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The toy data set: one video of each split, a bright half and a dark half."""
    root = tmp_path / "data"
    classes = np.zeros(SIZE_HW, np.uint8)
    classes[:, 32:] = 3
    for split in ("train", "val"):
        images, masks = root / "images" / split / "a", root / "masks" / split / "a"
        images.mkdir(parents=True)
        masks.mkdir(parents=True)
        for i in range(FRAMES):
            rgb = np.full((*SIZE_HW, 3), 40 + i, np.uint8)
            rgb[:, 32:] = 200
            Image.fromarray(rgb).save(images / f"{i:03d}.png")
            Image.fromarray(classes).save(masks / f"{i:03d}.png")
    (root / "toy.txt").touch()
    return root


def test_segment_runs_the_network_and_writes_the_output(cli, clip, weights, tmp_path):
    video = clip("in.mp4", frames=FRAMES)
    ended = cli("segment", video, "-m", weights, "--save", "toy,vipseg,jsonl", "-o", f"{tmp_path}/")
    assert (ended.code, ended.err.count("vidparse:")) == (0, 0)
    head, *lines = (tmp_path / "in.toy").read_text().splitlines()
    assert head == f"in.mp4 {len(toys.LABELS)}"
    assert [line.split()[0] for line in lines] == [str(i) for i in range(FRAMES)]


def test_a_file_name_with_its_ending_chooses_the_output(cli, clip, weights, tmp_path):
    ended = cli("segment", clip("in.mp4", frames=4), "-m", weights, "-o", tmp_path / "x.toy")
    assert ended.code == 0
    assert (tmp_path / "x.toy").read_text().count("\n") == 4


@pytest.mark.parametrize("command", ["segment", "train", "eval"])
def test_errors_list_it(cli, data, command):
    wrong = {
        "segment": [["x.mp4", "--save", "tox"], ["x.mp4", "--backend", "tox"]],
        "train": [["--dataset", "tox"]],
        "eval": [["--dataset", "tox"], ["--dataset", "toy", "--data", data, "--metrics", "tox"]],
    }
    for words in wrong[command]:
        ended = cli(command, *words)
        assert ended.code == 2
        assert "toy" in ended.err


def test_segment_links_by_it(cli, clip, weights, tmp_path):
    video = clip("in.mp4", frames=FRAMES)
    out = tmp_path / "x.jsonl"
    ended = cli("segment", video, "-m", weights, "--linker", "toy", "-o", out)
    assert ended.code == 0, ended.err
    frames = [json.loads(line)["segments"] for line in out.read_text().splitlines()[1:]]
    ids = [{segment["id"] for segment in segments} for segments in frames]
    assert all(number % 10 == 0 for one in ids for number in one)
    assert len(ids) == FRAMES and not ids[0] & ids[-1]


def test_segment_runs_on_it(cli, clip, colour_model, tmp_path):
    out = tmp_path / "x.csv"
    ended = cli("segment", clip("in.mp4", frames=2), "--backend", "toy", "-o", out)
    assert ended.code == 0, ended.err
    with out.open() as lines:
        shares = [float(row[toys.LABELS.classes[3]]) for row in csv.DictReader(lines)]
    assert shares == [1.0, 1.0]


def test_torch_and_onnx_give_the_same_answer(cli, clip, weights, tmp_path):
    assert cli("export", weights, "-o", tmp_path / "toy.onnx").code == 0
    video = clip("in.mp4", frames=FRAMES)
    for form in ("safetensors", "onnx"):
        place = tmp_path / form
        ended = cli(
            "segment", video, "-m", tmp_path / f"toy.{form}", "--save", "jsonl", "-o", f"{place}/"
        )
        assert ended.code == 0
    torch_lines, onnx_lines = (
        [json.loads(line) for line in (tmp_path / form / "in.jsonl").read_text().splitlines()][1:]
        for form in ("safetensors", "onnx")
    )
    assert len(torch_lines) == FRAMES
    assert torch_lines == onnx_lines


def test_eval_reads_the_data_and_scores_by_the_metric(cli, weights, data):
    ended = cli("eval", "--dataset", "toy", "--data", data, "-m", weights, "--json")
    assert ended.code == 0
    assert "toy" in json.loads(ended.out)["entries"][0]["scores"]


def test_the_data_set_is_recognised(cli, data):
    ended = cli("data", "check", data)
    assert ended.code == 0
    assert "toy" in ended.err + ended.out.decode()


@pytest.mark.parametrize("objective", ["toy", "supervised"])
def test_train_two_steps(cli, data, tmp_path, objective):
    recipe = tmp_path / "toy.toml"
    recipe.write_text(
        f'arch = "toy"\nobjective = "{objective}"\nepochs = 1\nsteps_per_epoch = 2\n'
        "batch_size = 2\nshort_side = 48\ncrop_hw = [48, 64]\nlr_backbone = 0.1\nlr_head = 0.1\n"
        'workers = 0\nmetrics = ["toy"]\n'
    )
    run = tmp_path / "run"
    ended = cli("train", "--dataset", "toy", "--data", data, "--recipe", recipe, "-o", run)
    assert ended.code == 0, ended.err
    steps = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert any(objective == "supervised" or "toy" in step.get("losses", {}) for step in steps)
    trained = cli("eval", "--dataset", "toy", "--data", data, "-m", run / "best.safetensors")
    assert trained.code == 0


def test_bench_measures_it(cli, clip, weights, tmp_path, monkeypatch):
    # whole runs are timed in processes of their own, which must know the toys, too
    lines = "import vidparse.sinks, vidparse.models.zoo as zoo\n"
    lines += "from support import toys\n"
    lines += "vidparse.sinks.SINKS['toy'] = toys.ToySink\n"
    lines += "zoo.MODELS['toy'] = (toys.ToyConfig, toys.ToyNetwork)\n"
    (tmp_path / "sitecustomize.py").write_text(lines)
    places = [str(tmp_path), str(Path(__file__).parent), str(Path(__file__).parents[1])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(places))
    ended = cli(
        "bench", clip("in.mp4", frames=FRAMES), "-m", weights, "--repeats", "1", "--save", "toy"
    )
    assert ended.code == 0
    assert cli("bench", "--zoo", "toy", "--repeats", "1", "--backends", "torch").code == 0


def test_a_map_without_segments_is_refused_by_every_reader(cli, weights, data, monkeypatch):
    """Of a data set that distinguishes objects; classes alone are for `read_mask`."""
    read = toys.read_toy
    monkeypatch.setattr(toys, "read_toy", lambda frame: SegmentMap(read(frame).classes()))
    message = "data set toy distinguishes objects and read no segments here"

    checked = cli("data", "check", data)
    assert checked.code == 3 and message in checked.err + checked.out.decode()
    for metrics in ("toy", "vpq", "miou"):
        scored = cli(
            *("eval", "--dataset", "toy", "--data", data, "--metrics", metrics, "-m", weights)
        )
        assert scored.code == 3 and message in scored.err, metrics


class UntrainedNetwork(toys.ToyNetwork):
    """The toy, without scores to learn from."""

    forward_clip = VideoNetwork.forward_clip


@pytest.mark.parametrize("objective", ["supervised", "etc", "stcl", "mean-teacher"])
def test_a_network_without_scores_is_refused_before_anything_is_written(
    objective, data, cli, tmp_path, monkeypatch
):
    monkeypatch.setitem(MODELS, "toy", (toys.ToyConfig, UntrainedNetwork))
    recipe = tmp_path / "toy.toml"
    recipe.write_text(f'arch = "toy"\nobjective = "{objective}"\ncrop_hw = [48, 64]\n')
    words = ("train", "--dataset", "toy", "--data", data, "--recipe", recipe, "-o", tmp_path / "r")
    for more in ((), ("--dry-run",)):
        ended = cli(*words, *more)
        assert ended.code == 2
        assert f"objective {objective}: learns from scores of classes" in ended.err
        assert not (tmp_path / "r").exists()
