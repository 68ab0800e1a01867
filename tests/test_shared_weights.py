"""Files of weights that people share: no path of a machine in them, and pairs that fit together."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from support.made_camvid import make_camvid
from vidparse.hub import catalogue, weights_folder
from vidparse.labels import load_labels
from vidparse.models.checkpoint import (
    file_sha256,
    read_description,
    read_onnx_description,
    save_checkpoint,
)
from vidparse.models.description import Description, Preprocess, metadata_of, name_to_share
from vidparse.models.zoo import build, config_of

SECRET = "home-of-alice-7f3a"
SHORT = (
    *("--recipe", "street-plain", "--set", "objective=etc", "--set", "neighbours=simulated"),
    *("--set", "epochs=1", "--set", "steps_per_epoch=1", "--set", "batch_size=2"),
    *("--set", "crop_hw=[64,96]", "--set", "precision=fp32", "--set", "workers=0"),
    *("--set", "config.width=16", "--set", "config.key_width=8"),
    # The exporter is through with this network soonest.
    *("--set", "config.backbone=resnet18", "--set", "config.finest=4"),
    *("--threads", "1", "--device", "cpu"),
)


def save_teacher(path: Path) -> Path:
    config = {"classes": 11, "backbone": "resnet18", "output_stride": 16, "width": 8}
    network = build("perframe", config)
    metadata = metadata_of(
        arch="perframe",
        config=config_of(network),
        labels=load_labels("camvid"),
        preprocess=Preprocess(64),
        training={},
    )
    save_checkpoint(path, network.state_dict(), metadata)
    return path


def as_older_versions_wrote_it(path: Path, weights: Path, teacher: str) -> Path:
    """The weights with this teacher in the metadata, its folders and all."""
    from safetensors import safe_open

    with safe_open(weights, framework="pt") as file:
        record = json.loads(file.metadata()["vidparse"])
    record["training"]["recipe"] = {"teacher": teacher}
    save_file(load_file(weights), path, {"vidparse": json.dumps(record)})
    return path


def test_no_folder_of_a_run_is_in_the_weights_that_it_writes(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    place = tmp_path / SECRET
    (place / "data").mkdir(parents=True)
    data = make_camvid(place / "data")
    teacher = save_teacher(place / "wise.safetensors")
    given = ("--data", data, "--also", f"camvid={data}:test@0.5", "--val", f"camvid={data}")
    given += ("--teacher", teacher, "--init", teacher)

    ended = cli("train", *given, *SHORT, "-o", place / "run")
    assert ended.code == 0, ended.err
    best = place / "run" / "best.safetensors"
    shared = [best]
    for name in ("half.safetensors", "graph.onnx"):
        ended = cli("export", best, "-o", place / name)
        assert ended.code == 0, ended.err
        shared.append(place / name)

    for path in shared:
        assert SECRET.encode() not in path.read_bytes(), path.name
    for description in (*map(read_description, shared[:2]), read_onnx_description(shared[2])):
        assert description.training["recipe"]["objective"]["teacher"] == "wise.safetensors"
        assert description.training["teacher_sha256"] == file_sha256(teacher)
        assert description.training["validation"]["vc8"] is None  # two pictures are too few
    # What goes on with the run needs the way to its teacher and data.
    ended = cli("train", "--resume", place / "run" / "last.safetensors", "--device", "cpu")
    assert ended.code == 0, ended.err


def test_an_export_forgets_the_folders_that_older_weights_name(
    cli: Callable[..., Any], tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = f"/{SECRET}/best.safetensors"
    old = as_older_versions_wrote_it(tmp_path / "old.safetensors", tiny_weights, teacher)
    monkeypatch.setattr("vidparse.export.parity.PARITY_HW", (231, 333))  # of users' exports
    refused = cli("models", "push", old, "hf:me/street")
    assert refused.code == 4 and "vidparse export" in refused.err

    for name in ("half.safetensors", "graph.onnx"):
        ended = cli("export", old, "-o", tmp_path / name)
        assert ended.code == 0, ended.err
        assert SECRET.encode() not in (tmp_path / name).read_bytes()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "graph.onnx").unlink()
    offline = cli("models", "push", tmp_path / "half.safetensors", "hf:me/street")
    assert "HF_HUB_OFFLINE" in offline.err  # past the check


@pytest.mark.parametrize(
    ("given", "shared"),
    [
        ("street-student", "street-student"),
        ("", ""),
        ("hf:owner/repo@main/a.safetensors", "hf:owner/repo@main/a.safetensors"),
        ("/home/alice/runs/best.safetensors", "best.safetensors"),
        ("../alice/best.safetensors", "best.safetensors"),
        ("~/runs/best.safetensors", "best.safetensors"),
        ("C:\\Users\\alice\\best.safetensors", "best.safetensors"),
        ("runs/student/", "student"),
    ],
)
def test_a_model_goes_by_its_name(given: str, shared: str) -> None:
    assert name_to_share(given) == shared


def descriptions() -> Iterator[tuple[Description, Description]]:
    """Of both forms of every bundled model."""
    for entry in catalogue().values():
        folder = weights_folder()
        yield read_description(folder / entry.weights), read_onnx_description(folder / entry.onnx)


def words(value: Any) -> Iterator[str]:
    """Every text in a record, keys too."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from (key, *words(inner))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from words(inner)
    elif isinstance(value, str):
        yield value


def test_no_bundled_file_holds_an_absolute_path() -> None:
    for pair in descriptions():
        for description in pair:
            found = [*words(description.training), *words(description.config)]
            assert found
            absolute = [word for word in found if re.match(r"[/\\~]|[A-Za-z]:[/\\]", word)]
            assert absolute == [], description.path
            data = description.path.read_bytes()
            for start in (b"/home/", b"/root/", b"/Users/", b"/tmp/", b"/mnt/"):
                assert start not in data, description.path


def test_both_forms_of_a_bundled_model_fit_together() -> None:
    assert {path.stem for path in weights_folder().glob("*.safetensors")} == set(catalogue())
    listed = [name for entry in catalogue().values() for name in (entry.onnx, entry.int8) if name]
    assert sorted(path.name for path in weights_folder().glob("*.onnx")) == sorted(listed)
    for weights, graph in descriptions():
        assert graph.training["source_sha256"] == weights.sha256, graph.path
        facts = ("arch", "config", "labels", "preprocess", "task", "window", "alignment", "profile")
        for field in facts:
            assert getattr(graph, field) == getattr(weights, field), (graph.path, field)
        of_graph = {**graph.training}
        del of_graph["source_sha256"]
        assert of_graph == weights.training, graph.path


def test_catalogue_and_cards_have_the_sums_of_the_files() -> None:
    for name, entry in catalogue().items():
        card = (weights_folder() / f"{name}.md").read_text(encoding="utf-8")
        forms = [(entry.weights, entry.sha256), (entry.onnx, entry.onnx_sha256)]
        for file, sha256 in [*forms, *([(entry.int8, entry.int8_sha256)] if entry.int8 else [])]:
            assert file_sha256(weights_folder() / file) == sha256
            row = next(line for line in card.splitlines() if line.startswith(f"| `{file}`"))
            assert sha256 in row, row
