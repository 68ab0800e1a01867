"""ONNX and float16 forms of a network answer as the network does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vidparse.errors import ModelError, OutputError
from vidparse.export import check_parity, export_onnx, export_weights, rendered_clips
from vidparse.export.weights import export_metadata
from vidparse.frame import Frame
from vidparse.hub import weights_folder
from vidparse.image import Rgb
from vidparse.inference import Session, load_model
from vidparse.labels import load_labels
from vidparse.models.checkpoint import load_network, read_description, save_checkpoint
from vidparse.models.description import Preprocess, metadata_of
from vidparse.models.zoo import build, facts_of


def frames(count: int, size_hw: tuple[int, int] = (90, 122)) -> list[Frame]:
    """Blocks of colour that move: scores have clear winners and borders between them."""
    rng = np.random.default_rng(3)
    blocks = rng.integers(0, 255, (size_hw[0] // 12 + 2, size_hw[1] // 12 + 2, 3), np.uint8)
    scene = np.repeat(np.repeat(blocks, 12, 0), 12, 1)[: size_hw[0], : size_hw[1]]
    return [
        Frame(index, index, Rgb(np.ascontiguousarray(np.roll(scene, 3 * index, 1))))
        for index in range(count)
    ]


def ids(runner, count: int = 20) -> np.ndarray:
    """uint8 (T, H, W)."""
    session = Session(runner, size=96)
    return np.stack([prediction.ids for _, prediction in session.run(frames(count))])


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def onnx_path(tiny_weights: Path, cache: Path) -> Path:
    """The tiny network as ONNX, exported as `--backend onnx` does it: once, into the cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIDPARSE_CACHE", str(cache))
        load_model(str(tiny_weights), backend="onnx", device="cpu", threads=1)
    (path,) = cache.rglob("*.*")
    assert path.name == f"{read_description(tiny_weights).sha256}.onnx"
    return path


def test_parity_is_measured(tiny_weights, onnx_path):
    """On pictures of the size that users' exports are held against."""
    network = load_network(read_description(tiny_weights))
    parity = check_parity(network, onnx_path, rendered_clips())
    assert parity.frames == 20
    assert parity.argmax_agreement >= 0.999
    assert parity.max_abs_difference < 1e-3


def test_the_bundled_forms_agree():
    torch, onnx = (load_model(backend=b, device="cpu", threads=1) for b in ("torch", "onnx"))
    assert (ids(torch, 2) == ids(onnx, 2)).mean() >= 0.99, "one of them is kept in float16"


def test_torch_and_onnx_agree_over_a_video(tiny_weights, onnx_path):
    expected = ids(load_model(str(tiny_weights), backend="torch", device="cpu", threads=1))
    got = ids(load_model(str(onnx_path), backend="onnx", device="cpu", threads=1))
    assert len(np.unique(expected)) > 2, "a network that sees one class only would prove nothing"
    assert (got == expected).mean() >= 0.999


def test_bf16_stays_close():
    runners = [load_model(backend="torch", precision=p, threads=1) for p in ("fp32", "bf16")]
    assert [runner.precision for runner in runners] == ["fp32", "bf16"]
    session = Session(runners[0], size=96)
    (prepared,) = session.prepared(frames(1))
    exact, rough = (r.answer(prepared.input[None]).values for r in runners)
    assert rough.dtype == np.float32
    assert np.linalg.norm(rough - exact) < 0.05 * np.linalg.norm(exact)


def test_any_size_of_input(tiny_weights, onnx_path):
    network = load_network(read_description(tiny_weights))
    rng = np.random.default_rng(0)
    shapes = [(32, 32), (33, 47), (64, 200), (200, 64), (97, 131)]
    clips = [rng.standard_normal((1, 3, *shape), dtype=np.float32) for shape in shapes]
    parity = check_parity(network, onnx_path, clips)
    assert parity.frames == 5
    assert parity.argmax_agreement >= 0.999


def test_the_description_travels(tiny_weights, onnx_path):
    mine = read_description(tiny_weights)
    theirs = load_model(str(onnx_path), threads=1).description
    assert (theirs.labels, theirs.preprocess) == (mine.labels, mine.preprocess)
    assert (theirs.arch, theirs.config) == (mine.arch, mine.config)
    assert theirs.training["source_sha256"] == mine.sha256


def test_float16_weights_round_trip(tiny_weights, tmp_path):
    from safetensors.numpy import load_file

    first, second = tmp_path / "half.safetensors", tmp_path / "again.safetensors"
    export_weights(read_description(tiny_weights), first)
    export_weights(read_description(first), second)
    full, half, again = (load_file(path) for path in (tiny_weights, first, second))
    assert half.keys() == full.keys()
    assert first.stat().st_size < 0.6 * tiny_weights.stat().st_size
    for name, values in half.items():
        assert values.dtype == (np.float16 if full[name].dtype == np.float32 else full[name].dtype)
        np.testing.assert_array_equal(values, again[name])
        np.testing.assert_allclose(values, full[name], rtol=1e-3, atol=1e-6)
    runners = [load_model(str(p), backend="torch", threads=1) for p in (tiny_weights, first)]
    assert (ids(runners[0], 4) == ids(runners[1], 4)).mean() >= 0.95


def test_weights_of_several_runs_are_averaged(tiny_weights, tmp_path):
    from safetensors.numpy import load_file

    mine = read_description(tiny_weights)
    first = load_file(tiny_weights)
    doubled = {n: v * 3 if v.dtype == np.float32 else v for n, v in first.items()}
    other, out = tmp_path / "other.safetensors", tmp_path / "mean.safetensors"
    save_checkpoint(
        other, {n: torch.from_numpy(v) for n, v in doubled.items()}, export_metadata(mine)
    )

    export_weights(mine, out, others=[read_description(other)])
    for name, values in load_file(out).items():
        if first[name].dtype == np.float32:
            np.testing.assert_allclose(values, 2 * first[name], rtol=1e-3, atol=1e-5)
        else:
            np.testing.assert_array_equal(values, first[name])
    training = read_description(out).training
    assert training["averaged_sha256"] == [mine.sha256, read_description(other).sha256]


def test_runs_of_older_versions_are_averaged_with_new_ones(tmp_path):
    """Settings have come and gone; the network that they make is the same."""
    arch, labels = "espnetv2", load_labels("voc")
    network = build(arch, {"classes": 21, "width": 1.0})
    paths = tmp_path / "new.safetensors", tmp_path / "old.safetensors"
    older = {"classes": 21, "width": 1.0, "pyramid_width": 0, "auxiliary": False}
    for path, changes in zip(paths, ({}, {"config": older}), strict=True):
        facts = {**facts_of(network), **changes}
        metadata = metadata_of(
            arch=arch, **facts, labels=labels, preprocess=Preprocess(64, divisor=32), training={}
        )
        save_checkpoint(path, network.state_dict(), metadata)
    new, old = map(read_description, paths)
    assert new.config != old.config
    export_weights(new, tmp_path / "mean.safetensors", others=[old])
    assert (tmp_path / "mean.safetensors").exists()


def test_the_mean_has_no_figures_that_were_measured_on_one_of_its_runs(tmp_path):
    """A profile would note clips by the scores of other weights."""
    student = read_description(weights_folder() / "street-student.safetensors")
    assert student.profile is not None
    student = replace(student, training={**student.training, "validation": {"miou": 0.7}})
    export_weights(student, tmp_path / "mean.safetensors", others=[student])
    found = read_description(tmp_path / "mean.safetensors")
    assert found.profile is None and "validation" not in found.training
    assert found.training["steps"] == student.training["steps"]


def test_runs_that_remember_at_another_pace_are_not_averaged(tiny_weights, tmp_path):
    mine = read_description(tiny_weights)
    other = replace(mine, memory_interval_s=0.5)
    with pytest.raises(ModelError, match="weights of another network"):
        export_weights(mine, tmp_path / "mean.safetensors", others=[other])


def test_only_runs_of_one_network_are_averaged(tiny_weights, tmp_path, cli):
    out = tmp_path / "mean.safetensors"
    ended = cli("export", tiny_weights, "--average", "street-student", "-o", out)
    assert ended.code != 0 and "weights of another network" in ended.err and not out.exists()
    ended = cli("export", tiny_weights, "--average", tiny_weights, "-o", tmp_path / "a.onnx")
    assert ended.code == 2 and "--average writes weights" in ended.err
    ended = cli("export", tiny_weights, "--average", tiny_weights, "--profile", "x", "-o", out)
    assert ended.code == 2 and "--profile: measures one model" in ended.err
    assert cli("export", tiny_weights, "--average", tiny_weights, "-o", out).code == 0


def test_an_export_that_disagrees_is_not_kept(tiny_weights, tmp_path, monkeypatch):
    monkeypatch.setattr("vidparse.export.onnx.to_onnx", lambda network: wrong_model())
    with pytest.raises(ModelError, match="it was not kept"):
        export_onnx(read_description(tiny_weights), tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []


def wrong_model():
    """Scores of 11 classes that have nothing to do with the picture."""
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.default_rng(0).standard_normal((11, 3, 16, 16)).astype(np.float32)
    node = helper.make_node("Conv", ["clip", "weights"], ["logits"], strides=[16, 16],
                            auto_pad="SAME_UPPER")  # fmt: skip
    graph = helper.make_graph(
        [node],
        "wrong",
        [helper.make_tensor_value_info("clip", TensorProto.FLOAT, [1, 3, "h", "w"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 11, "y", "x"])],
        [numpy_helper.from_array(weights, "weights")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.mark.parametrize("suffix", [".onnx", ".safetensors"])
def test_places_that_can_not_be_written_are_known_at_once(tiny_weights, tmp_path, suffix):
    export = export_onnx if suffix == ".onnx" else export_weights
    description = read_description(tiny_weights)
    (tmp_path / f"folder{suffix}").mkdir()
    for path in (tmp_path / f"none/x{suffix}", tmp_path / f"folder{suffix}", tiny_weights):
        with pytest.raises(OutputError, match=r"cannot be written|holds the|a directory"):
            export(description, path)


@pytest.mark.parametrize("suffix", [".onnx", ".safetensors"])
def test_what_is_there_is_not_replaced_unasked(tiny_weights, tmp_path, suffix):
    export = export_onnx if suffix == ".onnx" else export_weights
    path = tmp_path / f"x{suffix}"
    path.write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists already; choose another name or add --overwrite"):
        export(read_description(tiny_weights), path)
    assert path.read_bytes() == b"mine"


def test_a_failed_export_leaves_what_was_there(tiny_weights, tmp_path, monkeypatch):
    path = tmp_path / "x.onnx"
    path.write_bytes(b"mine")
    monkeypatch.setattr("vidparse.export.onnx.to_onnx", lambda network: wrong_model())
    with pytest.raises(ModelError, match="it was not kept"):
        export_onnx(read_description(tiny_weights), path, overwrite=True)
    assert path.read_bytes() == b"mine"
    assert list(tmp_path.iterdir()) == [path]


class TestCommand:
    def test_segment_with_both_backends(
        self, cli, clip, tiny_weights, onnx_path, cache, tmp_path, monkeypatch
    ):
        """The second call with `--backend onnx` finds in the cache what the first put there."""
        monkeypatch.setenv("VIDPARSE_CACHE", str(cache))
        monkeypatch.setattr("vidparse.export.export_onnx", None)
        path = clip("x.mp4", frames=8, size_hw=(96, 128))
        masks = {}
        for backend in ("torch", "onnx"):
            ended = cli(
                *("segment", path, "-m", tiny_weights, "--backend", backend, "--threads", "1"),
                *("--save", "masks", "-o", tmp_path / backend, "--json"),
            )
            assert ended.code == 0, ended.err
            assert json.loads(ended.out)["backend"] == backend
            pictures = sorted((tmp_path / backend).iterdir())
            masks[backend] = np.stack([np.asarray(Image.open(picture)) for picture in pictures])
        assert masks["torch"].shape == (8, 96, 128)
        assert (masks["torch"] == masks["onnx"]).mean() >= 0.999

    def test_a_cache_that_can_not_be_written(self, cli, clip, tiny_weights, tmp_path, monkeypatch):
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("VIDPARSE_CACHE", str(tmp_path / "file"))
        ended = cli("segment", clip("x.mp4", frames=1), "-m", tiny_weights, "--backend", "onnx")
        assert (ended.code, len(ended.lines)) == (6, 1)
        assert "set VIDPARSE_CACHE to a folder or use --backend torch" in ended.err

    def test_export_float16_weights(self, cli, tiny_weights, tmp_path):
        out = tmp_path / "half.safetensors"
        record = json.loads(cli("export", tiny_weights, "-o", out, "--json").out)
        assert record["bytes"] == out.stat().st_size
        assert record["sha256"] == read_description(out).sha256
        again = cli("export", tiny_weights, "-o", out)
        assert (again.code, len(again.lines)) == (6, 1)
        assert cli("export", tiny_weights, "-o", out, "--overwrite").code == 0

    @pytest.mark.parametrize(
        ("model", "out", "code", "message"),
        [
            ("none.safetensors", "x.onnx", 4, "no such file"),
            ("nobody", "x.onnx", 4, "model 'nobody': unknown"),
            ("tiny", "x.pt", 2, "end the name in .onnx or .safetensors"),
            ("tiny", "none/x.onnx", 6, "cannot be written"),
            ("onnx", "x.onnx", 4, "has no .safetensors weights"),
        ],
    )
    def test_export_refusals(
        self, cli, tiny_weights, colour_model, tmp_path, model, out, code, message
    ):
        model = {"tiny": tiny_weights, "onnx": colour_model}.get(model, model)
        ended = cli("export", model, "-o", tmp_path / out)
        assert (ended.code, len(ended.lines)) == (code, 1)
        assert message in ended.err
        assert list(tmp_path.iterdir()) == []


def test_the_file_holds_nothing_of_the_machine_that_made_it(onnx_path) -> None:
    from vidparse.hub import DEFAULT_MODEL, resolve

    for path in (onnx_path, resolve(DEFAULT_MODEL).onnx):
        assert b"site-packages" not in path.read_bytes()
        assert b"perframe.py" not in path.read_bytes()
