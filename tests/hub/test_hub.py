"""Models by name and by path; files that are missing, damaged, changed or not ours."""

from __future__ import annotations

import json
import shutil
import struct

import numpy as np
import pytest

from vidparse.errors import ModelError
from vidparse.hub import DEFAULT_MODEL, catalogue, known, resolve, weights_folder
from vidparse.inference import load_model
from vidparse.models.checkpoint import file_sha256, read_description
from vidparse.models.description import FORMAT


@pytest.fixture
def own_weights(tmp_path, monkeypatch):
    """A copy of the bundled weights that a test may spoil."""
    folder = tmp_path / "weights"
    shutil.copytree(weights_folder(), folder)
    monkeypatch.setattr(known, "weights_folder", lambda: folder)
    catalogue.cache_clear()
    yield folder
    catalogue.cache_clear()


class TestBundled:
    def test_every_entry_is_what_was_published(self):
        assert DEFAULT_MODEL in catalogue()
        for entry in catalogue().values():
            folder = weights_folder()
            assert file_sha256(folder / entry.weights) == entry.sha256
            assert file_sha256(folder / entry.onnx) == entry.onnx_sha256
            description = read_description(folder / entry.weights)
            assert description.labels.name == entry.labels
            assert entry.summary
            assert entry.licence
            assert all(0 < score <= 1 for score in entry.scores.values())

    def test_a_name_gives_both_forms(self):
        files = resolve(DEFAULT_MODEL)
        assert files.weights.suffix == ".safetensors"
        assert files.onnx.suffix == ".onnx"
        assert files.entry.name == DEFAULT_MODEL

    def test_both_forms_describe_the_same_network(self):
        weights = read_description(resolve(DEFAULT_MODEL).weights)
        onnx = load_model(DEFAULT_MODEL, backend="onnx", device="cpu", threads=1).description
        assert (weights.labels, weights.preprocess) == (onnx.labels, onnx.preprocess)
        assert (weights.arch, weights.config) == (onnx.arch, onnx.config)

    def test_the_default_on_a_cpu_is_onnx(self):
        runner = load_model(device="cpu", threads=1)
        assert (runner.backend, runner.device, runner.precision) == ("onnx", "cpu", "fp32")

    @pytest.mark.parametrize("backend", ["torch", "onnx"])
    def test_a_file_that_was_changed_is_refused(self, own_weights, backend):
        entry = catalogue()[DEFAULT_MODEL]
        path = own_weights / (entry.weights if backend == "torch" else entry.onnx)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        with pytest.raises(ModelError, match=r"is not the published file \(sha256 .*reinstall"):
            load_model(DEFAULT_MODEL, backend=backend, device="cpu", threads=1)

    @pytest.mark.parametrize("backend", ["torch", "onnx"])
    def test_a_file_that_is_gone_is_named(self, own_weights, backend):
        entry = catalogue()[DEFAULT_MODEL]
        path = own_weights / (entry.weights if backend == "torch" else entry.onnx)
        path.unlink()
        with pytest.raises(ModelError, match=path.name):
            load_model(DEFAULT_MODEL, backend=backend, device="cpu", threads=1)

    @pytest.mark.parametrize("text", ["", "[]", '{"x": {"weights": 1}}', '{"x": 5}', '{"x'])
    def test_a_damaged_catalogue(self, own_weights, text):
        (own_weights / "catalogue.json").write_text(text)
        catalogue.cache_clear()
        with pytest.raises(ModelError, match=r"catalogue.json: damaged .*; reinstall vidparse"):
            resolve(DEFAULT_MODEL)

    def test_no_weights_at_all(self, tmp_path, monkeypatch):
        monkeypatch.setattr(known, "__file__", str(tmp_path / "vidparse" / "hub" / "known.py"))
        with pytest.raises(ModelError, match="bundled weights are missing; reinstall"):
            weights_folder()


class TestPaths:
    def test_a_path_stands_for_that_file_alone(self, colour_model):
        files = resolve(str(colour_model))
        assert (files.onnx, files.weights, files.entry) == (colour_model, None, None)
        assert load_model(str(colour_model), threads=1).description.arch == "colours"

    @pytest.mark.parametrize("name", ["", "STREET-MNV2", "street", "weights.pth", "no/such"])
    def test_unknown_names(self, name):
        with pytest.raises(ModelError, match=f"unknown; use .*{DEFAULT_MODEL}.* or a path"):
            resolve(name)

    def test_a_folder_with_a_model(self, tmp_path, tiny_weights, colour_model):
        with pytest.raises(ModelError, match=r"holds no .safetensors or .onnx file, but nothing"):
            resolve(str(tmp_path))
        shutil.copy(colour_model, tmp_path / "a.onnx")
        assert resolve(str(tmp_path)).onnx == tmp_path / "a.onnx"
        shutil.copy(tiny_weights, tmp_path / "a.safetensors")
        files = resolve(str(tmp_path))
        assert (files.weights, files.onnx) == (tmp_path / "a.safetensors", tmp_path / "a.onnx")
        shutil.copy(tiny_weights, tmp_path / "b.safetensors")
        with pytest.raises(ModelError, match=r"several models; name one of a.safetensors, b"):
            resolve(str(tmp_path))

    def test_a_transformers_folder(self, tmp_path, tiny_weights):
        (tmp_path / "config.json").write_text('{"architectures": ["MaskFormerModel"]}')
        (tmp_path / "model.safetensors").write_bytes(tiny_weights.read_bytes())
        assert resolve(str(tmp_path)).weights is not None  # described by us: ours
        from safetensors.numpy import save_file

        save_file({"x": np.zeros(3, np.float32)}, tmp_path / "model.safetensors")
        files = resolve(str(tmp_path))
        assert (files.weights, files.transformers) == (None, tmp_path)

    def test_a_file_of_other_code(self, tmp_path):
        (tmp_path / "x.pth").write_bytes(b"")
        with pytest.raises(ModelError, match="see `vidparse convert`"):
            resolve(str(tmp_path / "x.pth"))

    @pytest.mark.parametrize("suffix", [".safetensors", ".onnx"])
    def test_missing_files(self, tmp_path, suffix):
        with pytest.raises(ModelError, match="no such file; check the path"):
            resolve(str(tmp_path / f"x{suffix}"))

    @pytest.mark.parametrize(
        "content",
        [b"", b"x", bytes(100), b"\xff" * 100, struct.pack("<Q", 2**40) + b"{}", b"GIF89a" * 99],
        ids=["empty", "a byte", "zeros", "ones", "huge header", "picture"],
    )
    @pytest.mark.parametrize("suffix", [".safetensors", ".onnx"])
    def test_files_that_are_no_model(self, tmp_path, suffix, content):
        path = tmp_path / f"x{suffix}"
        path.write_bytes(content)
        with pytest.raises(ModelError) as caught:
            load_model(str(path), device="cpu", threads=1)
        assert str(caught.value).startswith(f"{path}: {'not ' if content else 'is empty; '}")
        assert len(str(caught.value).splitlines()) == 1

    def test_half_a_download(self, tmp_path, colour_model):
        for source in (colour_model, resolve(DEFAULT_MODEL).weights):
            path = tmp_path / f"half{source.suffix}"
            path.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
            with pytest.raises(ModelError, match="fetch it again"):
                load_model(str(path), device="cpu", threads=1)


class TestForeign:
    def test_onnx_that_vidparse_did_not_make(self, tmp_path, colour_model):
        import onnx

        model = onnx.load(colour_model)
        del model.metadata_props[:]
        path = tmp_path / "theirs.onnx"
        onnx.save(model, path)
        with pytest.raises(ModelError, match="holds no vidparse description"):
            load_model(str(path), threads=1)

    def test_safetensors_that_vidparse_did_not_make(self, tmp_path):
        from safetensors.numpy import save_file

        path = tmp_path / "theirs.safetensors"
        for metadata in (None, {"format": "pt"}):
            save_file({"x": np.zeros(3, np.float32)}, path, metadata)
            with pytest.raises(ModelError, match="give weights written by `vidparse train`"):
                read_description(path)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"format": FORMAT + 1}, "is newer; update vidparse"),
            ({"labels": None}, "damaged description"),
            ({"preprocess": {"short_side": 5}}, "damaged description"),
            ({"arch": "transformer9000"}, "architecture 'transformer9000': unknown"),
            ({"config": {"classes": 11, "colour": "red"}}, "no such setting colour"),
            ({"config": {"classes": 11, "backbone": "vgg"}}, "config not usable"),
            ({"config": {"classes": 12}}, "the network has classes 12, its labels need 11"),
        ],
        ids=str,
    )
    def test_a_description_that_makes_no_sense(self, tmp_path, change, message):
        from safetensors import safe_open
        from safetensors.numpy import save_file

        path = tmp_path / "odd.safetensors"
        with safe_open(resolve(DEFAULT_MODEL).weights, framework="np") as file:
            record = json.loads(file.metadata()["vidparse"]) | change
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        save_file(tensors, path, {"vidparse": json.dumps(record)})
        with pytest.raises(ModelError, match=message) as caught:
            load_model(str(path), backend="torch", device="cpu", threads=1)
        assert len(str(caught.value).splitlines()) == 1

    def test_a_pickle_is_never_opened(self, tmp_path):
        import pickle

        class Trap:
            def __reduce__(self):
                return (pytest.fail, ("unpickled",))

        for suffix in (".safetensors", ".onnx", ".pth", ".pt"):
            path = tmp_path / f"trap{suffix}"
            path.write_bytes(pickle.dumps(Trap()))
            with pytest.raises(ModelError):
                load_model(str(path), device="cpu", threads=1)
