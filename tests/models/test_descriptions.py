"""The description in a weights file is checked once, when it is read."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vidparse.errors import ModelError
from vidparse.labels import labels_from_json
from vidparse.models.checkpoint import load_network, read_description, save_checkpoint
from vidparse.models.description import FORMAT, StateTensor, describe

Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def changed(tiny_weights: Path, tmp_path: Path) -> Callable[[Change], Path]:
    """The tiny network with its record changed."""
    from safetensors import safe_open
    from safetensors.torch import load_file

    def make(change: Change) -> Path:
        with safe_open(tiny_weights, framework="np") as file:
            record = json.loads(file.metadata()["vidparse"])
        change(record)
        path = tmp_path / "changed.safetensors"
        save_checkpoint(path, load_file(tiny_weights), {"vidparse": json.dumps(record)})
        return path

    return make


def put(*keys: Any, value: Any) -> Change:
    """Set one value of the record."""

    def change(record: dict[str, Any]) -> None:
        for key in keys[:-1]:
            record = record[key]
        record[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (put("preprocess", "mean", value=[0.4, 0.4]), "mean is to be three numbers"),
        (put("preprocess", "mean", value=[0.4, float("nan"), 0.4]), "NaN is no number"),
        (put("preprocess", "mean", value=["a", "b", "c"]), "mean is to be three numbers"),
        (put("preprocess", "std", value=[0.2, 0.0, 0.2]), "std is to be three numbers above 0"),
        (put("preprocess", "std", value=[0.2, -0.2, 0.2]), "std is to be three numbers above 0"),
        (put("preprocess", "std", value=[True, True, True]), "std is to be three numbers"),
        (put("preprocess", "std", value=[float("inf"), 1, 1]), "Infinity is no number"),
        (put("preprocess", "short_side", value="96"), "short_side is to be a whole number"),
        (put("preprocess", "short_side", value=10**9), "short_side is to be a whole number"),
        (put("preprocess", "short_side", value=10**400), "out of range"),
        (put("preprocess", "short_side", value=True), "short_side is to be a whole number"),
        (put("preprocess", "divisor", value=0), "divisor is to be a whole number, 1 to"),
        (put("preprocess", "size_hw", value=[64]), "size_hw is to be two sides"),
        (put("preprocess", "resample", value="magic"), "resample is to be one of area"),
        (put("preprocess", value="small"), "preprocess is to be a table"),
        (put("preprocess", value={}), "no 'short_side'"),
        (put("arch", value=["perframe"]), "arch is to be a word"),
        (put("config", value="classes"), "config is to be a table"),
        (put("training", value=None), "training is to be a table"),
        (put("labels", value=[]), "no name of the label set"),
        (put("labels", "classes", 3, "colour", value=[1, 2, float("nan")]), "NaN is no number"),
        (put("labels", "classes", 3, "colour", value=[1, 2, 3.5]), "class 3: colour is to be"),
        (put("format", value="1"), "format is to be a whole number"),
        (put("task", value="depth"), "task is to be one of semantic, panoptic"),
        (put("window", value=0), "window is to be a whole number, 1 to"),
        (put("alignment", value=2.5), "alignment is to be a whole number"),
        (put("state", value={"a": 1}), "state is to be a list"),
        (put("profile", value=[]), "profile is to be a table"),
        (put("profile", value={"pictures": 0}), "pictures of the profile is to be a whole number"),
        (put("profile", value={"pictures": 3, "confidence": 0.9}), "confidence is to be a table"),
        (
            put("profile", value={"pictures": 3, "confidence": {"mean": 2, "deviation": 0.1}}),
            "confidence is to be a mean and a deviation from 0 to 1",
        ),
        (put("state", value=[{"name": "a", "shape": [-1], "stride": 0}]), "shape of a is to be"),
        (put("state", value=[{"name": "a", "shape": [2**20] * 2, "stride": 0}]), "too large"),
    ],
)
def test_values_are_checked_when_they_are_read(changed, change: Change, word: str) -> None:
    with pytest.raises(ModelError, match=word) as caught:
        read_description(changed(change))
    assert str(caught.value).startswith(str(changed(lambda _: None))), "the file is named"
    assert "\n" not in str(caught.value)


def test_a_deep_record_is_one_line(tmp_path: Path) -> None:
    deep = '{"vidparse": 1, "config": ' + "[" * 100_000 + "]" * 100_000 + "}"
    with pytest.raises(ModelError, match="nested too deeply"):
        describe(tmp_path / "deep.onnx", {"vidparse": deep}, "")


def test_a_newer_format_is_not_taken_for_damage(changed) -> None:
    with pytest.raises(ModelError, match=f"format {FORMAT + 1} is newer; update vidparse"):
        read_description(changed(put("format", value=FORMAT + 1)))


def test_files_without_the_newer_fields_have_their_defaults(changed) -> None:
    def before(record: dict[str, Any]) -> None:
        record["format"] = 1
        for name in ("task", "window", "alignment"):
            del record[name]

    description = read_description(changed(before))
    assert (description.task, description.window, description.alignment) == ("semantic", 1, 1)
    load_network(description)


def test_the_state_travels() -> None:
    from vidparse.labels import load_labels
    from vidparse.models.description import Preprocess, metadata_of

    state = (StateTensor("ring", (9, 4)), StateTensor("map", (2,), stride=8))
    table = metadata_of(
        arch="any", config={}, labels=load_labels("voc"), preprocess=Preprocess(0), training={},
        state=state, task="panoptic", window=3, alignment=32, any_window=True,
    )  # fmt: skip
    found = describe(Path("x.onnx"), table, "")
    assert (found.state, found.task, found.window, found.alignment) == (state, "panoptic", 3, 32)
    assert found.any_window
    record = json.loads(table["vidparse"])
    table["vidparse"] = json.dumps({**record, "any_window": 1})
    with pytest.raises(ModelError, match="any_window is to be true or false"):
        describe(Path("x.onnx"), table, "")


def test_labels_that_are_not_the_networks_are_refused(changed) -> None:
    def fifty(record: dict[str, Any]) -> None:
        one = {"thing": False, "colour": [1, 2, 3]}
        record["labels"]["classes"] = [{"name": f"class {i}", **one} for i in range(50)]

    path = changed(fifty)
    with pytest.raises(ModelError, match="the network has classes 11, its labels need 50"):
        load_network(read_description(path))


def test_settings_of_the_wrong_type_name_the_file(changed) -> None:
    path = changed(put("config", "width", value="wide"))
    with pytest.raises(ModelError, match=r"changed.safetensors: .* width is 'wide'"):
        load_network(read_description(path))


def test_forty_thousand_labels_are_read_at_once() -> None:
    one = {"thing": False, "colour": [1, 2, 3]}
    record = {"name": "many", "classes": [{"name": f"class {i}", **one} for i in range(40_000)]}
    began = time.process_time()
    assert len(labels_from_json(record)) == 40_000
    assert time.process_time() - began < 2
    record["classes"].append({"name": "class 7", **one})  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="two classes are called 'class 7'"):
        labels_from_json(record)
    record["classes"] = [{"name": str(i), **one} for i in range(65_536)]
    with pytest.raises(ValueError, match="65536 classes are more than 65535"):
        labels_from_json(record)


class TestValuesThatAreNotFinite:
    """NaN and infinite weights or scores are never turned into an answer."""

    @pytest.fixture
    def broken(self, tiny_weights: Path, tmp_path: Path) -> Path:
        from safetensors import safe_open
        from safetensors.torch import load_file

        tensors = load_file(tiny_weights)
        name = "head.classifier.weight"
        tensors[name] = tensors[name] * float("nan")
        with safe_open(tiny_weights, framework="np") as file:
            metadata = file.metadata()
        path = tmp_path / "nan.safetensors"
        save_checkpoint(path, tensors, metadata)
        return path

    def test_weights_are_refused_when_they_are_loaded(self, broken: Path) -> None:
        with pytest.raises(ModelError, match=r"nan.safetensors: tensor 'head.classifier.weight'"):
            load_network(read_description(broken))

    @pytest.mark.parametrize("name", ["out.onnx", "out.safetensors"])
    def test_weights_are_not_exported(self, broken: Path, tmp_path: Path, name: str) -> None:
        from vidparse.export import export_onnx, export_weights

        out = tmp_path / name
        export = export_onnx if out.suffix == ".onnx" else export_weights
        with pytest.raises(ModelError, match="holds NaN or infinite values"):
            export(read_description(broken), out)
        assert not out.exists()

    def test_weights_that_do_not_fit_float16_are_not_kept_in_it(
        self, tiny_weights: Path, tmp_path: Path
    ) -> None:
        from safetensors import safe_open
        from safetensors.torch import load_file

        from vidparse.export import export_weights

        tensors = load_file(tiny_weights)
        tensors["head.classifier.bias"] = tensors["head.classifier.bias"] + 70_000
        with safe_open(tiny_weights, framework="np") as file:
            save_checkpoint(tmp_path / "large.safetensors", tensors, file.metadata())
        description = read_description(tmp_path / "large.safetensors")
        with pytest.raises(ModelError, match=r"'head.classifier.bias' does not fit float16"):
            export_weights(description, tmp_path / "half.safetensors")
        assert not (tmp_path / "half.safetensors").exists()

    def test_answers_are_never_shown(self, tiny_weights: Path, tmp_path: Path, cli) -> None:
        from vidparse.export import check_parity
        from vidparse.export.parity import check_finite
        from vidparse.export.weights import export_metadata

        network = load_network(read_description(tiny_weights))
        with pytest.raises(ModelError, match="infinite logits"):
            check_finite({"logits": np.array([1.0, np.inf])}, "torch")
        import torch
        from onnx import numpy_helper

        from vidparse.export.onnx import describe_model, save_model, to_onnx

        # Break the graph that other tests export, too: to export a broken network takes long.
        path, model = tmp_path / "inf.onnx", to_onnx(network)
        name = "network.head.classifier.bias"
        (bias,) = (tensor for tensor in model.graph.initializer if tensor.name == name)
        infinite = np.full(bias.dims, np.inf, np.float32)
        bias.CopyFrom(numpy_helper.from_array(infinite, name))
        with torch.no_grad():
            network.head.classifier.bias.fill_(float("inf"))
        describe_model(model, export_metadata(read_description(tiny_weights)))
        save_model(model, path)
        clips = [np.zeros((1, 3, 64, 64), np.float32)]
        with pytest.raises(ModelError, match="NaN or infinite logits"):
            check_parity(network, path, clips)
        ended = cli("segment", "sample://street?frames=2&size=96x64", "-m", path, "--save", "csv",
                   "-o", tmp_path / "out.csv")  # fmt: skip
        assert (ended.code, len(ended.lines)) == (4, 1), ended.err
        assert "inf.onnx: the network answers with NaN or infinite values" in ended.err
        assert not (tmp_path / "out.csv").exists()

    def test_of_half_precisions_the_full_one_is_the_way_out(self, tiny_weights: Path) -> None:
        from vidparse.inference import Masks, Scores
        from vidparse.inference.devices import Device
        from vidparse.inference.runners import TorchRunner

        runner = TorchRunner(
            read_description(tiny_weights), device=Device("cpu"), precision="bf16", threads=1
        )
        scores = Scores(np.zeros((1, 11, 4, 4), np.float32))
        assert runner.checked(scores) is scores
        scores.values[0, 3, 1, 2] = np.nan
        with pytest.raises(ModelError, match=r"in bf16, the network .*; use --precision fp32"):
            runner.checked(scores)
        with pytest.raises(ModelError, match="scores 12 classes, its description has 11 labels"):
            runner.checked(Scores(np.zeros((1, 12, 4, 4), np.float32)))
        inside, one = np.zeros((1, 1, 4, 4), np.float32), np.ones(1, np.float32)
        with pytest.raises(ModelError, match="finds class 11, its description has 11 labels"):
            runner.checked(Masks(inside, one, np.array([11])))
        with pytest.raises(ModelError, match="NaN or infinite"):
            runner.checked(Masks(inside, one * np.inf, np.array([1])))
        runner.checked(Masks(inside[:0], one[:0], np.array([], np.int64)))

    def test_weights_are_not_converted(self, tmp_path: Path) -> None:
        import torch

        from vidparse.convert import convert

        path = tmp_path / "start.pth"
        torch.save({"features.0.0.weight": torch.full((32, 3, 3, 3), float("inf"))}, path)
        with pytest.raises(ModelError, match=r"start.pth: tensor 'features.0.0.weight'"):
            convert([path], tmp_path / "o.safetensors", source="torchvision", arch="mobilenetv2")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a Git LFS pointer"),
        (b"\xef\xbb\xbf\n<!DOCTYPE html><html></html>", "is a web page, not weights; download"),
        (b'{"error": "Repository not found"}', "is a server's error message"),
        (b"", "is empty; fetch the weights again"),
        (b"\x00\x01 neither", "fetch it again"),
    ],
)
@pytest.mark.parametrize("ending", ["safetensors", "onnx", "pth"])
def test_files_that_are_no_weights_are_named(
    tmp_path: Path, content: bytes, message: str, ending: str
) -> None:
    from vidparse.convert import read_tensors
    from vidparse.inference.devices import Device
    from vidparse.inference.runners import OnnxRunner
    from vidparse.models.checkpoint import read_onnx_description

    path = tmp_path / f"file.{ending}"
    path.write_bytes(content)
    readers: dict[str, list[Callable[[Path], Any]]] = {
        "safetensors": [read_description, read_tensors],
        "onnx": [
            read_onnx_description,
            lambda path: OnnxRunner(path, device=Device("cpu"), precision="auto", threads=1),
        ],
        "pth": [read_tensors],
    }
    for read in readers[ending]:
        with pytest.raises(ModelError, match=message) as caught:
            read(path)
        assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)
