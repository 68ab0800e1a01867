"""Int8 models: what they keep of the answer, what stays float, and how they are requested."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from support.small_networks import save_tcb_ocr
from vidparse.errors import DeviceError, InputError, ModelError, UsageError
from vidparse.export import Quantized, check_rendered, export_int8, quantize, rendered_clips
from vidparse.export.graph import temporal_nodes
from vidparse.export.quantize import _search, _Watched
from vidparse.export.quantizer import Quantizer
from vidparse.hub import DEFAULT_MODEL, resolve
from vidparse.inference import load_model
from vidparse.inference.preprocess import sample_clips
from vidparse.labels import load_labels
from vidparse.models.checkpoint import read_description
from vidparse.models.description import Preprocess

SIZE_HW = (96, 160)


@pytest.fixture(scope="module", autouse=True)
def few_inputs() -> Iterator[None]:
    """Weights of small layers make up for each other; thousands of inputs take half a minute."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vidparse.export.rounding._MOST_INPUTS", 600)
        yield


@pytest.fixture(scope="module")
def exported(
    tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Quantized]:
    """The tiny network in int8. Untrained scores are close to each other: 70 % will do."""
    path = tmp_path_factory.mktemp("int8") / "tiny.onnx"
    clips = rendered_clips(12, SIZE_HW)
    return path, export_int8(read_description(tiny_weights), path, clips=clips, least_agreement=0.7)


@pytest.fixture(scope="module")
def streaming(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Quantized]:
    """A network that remembers: weights, int8 model, and what became of it."""
    weights = save_tcb_ocr(tmp_path_factory.mktemp("streaming") / "tcb.safetensors")
    path = weights.with_suffix(".onnx")
    quantized = export_int8(
        read_description(weights), path, clips=rendered_clips(12, SIZE_HW), least_agreement=0.5
    )
    return weights, path, quantized


def quantised_weights(model: Any) -> dict[str, Any]:
    """Scales of the weights that a DequantizeLinear makes, by the name of the weights."""
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return {
        node.input[0]: values[node.input[1]]
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in values
    }


def test_the_class_stays_on_frames_it_was_not_calibrated_on(exported) -> None:
    _, quantized = exported
    assert (quantized.calibration_frames, quantized.parity.frames) == (6, 6)
    assert quantized.parity.argmax_agreement >= 0.7
    assert quantized.parity.max_abs_difference > 0, "nothing was rounded"
    assert not quantized.rendered


def test_weights_are_int8_with_a_scale_a_channel(exported, tiny_weights) -> None:
    path, quantized = exported
    model = onnx.load(path)
    scales = quantised_weights(model)
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert len(convolutions) == quantized.layers
    many = [scale for name, scale in scales.items() if name.endswith(".weight_quantized")]
    assert len(many) == len(convolutions) - len(quantized.float_layers)
    assert all(scale.ndim == 1 and scale.size > 1 for scale in many)
    assert path.stat().st_size < 0.4 * tiny_weights.stat().st_size


@pytest.mark.slow
def test_the_bundled_model_keeps_its_answer(tmp_path: Path) -> None:
    weights = resolve(DEFAULT_MODEL).weights
    assert weights is not None
    clips = rendered_clips(12, (180, 320))
    quantized = export_int8(read_description(weights), tmp_path / "x.onnx", clips=clips)
    assert quantized.parity.argmax_agreement >= 0.98
    assert len(quantized.float_layers) <= 4


def test_any_size_of_input(exported, tiny_weights) -> None:
    int8 = load_model(str(exported[0]), backend="onnx", device="cpu", threads=1)
    exact = load_model(str(tiny_weights), backend="torch", device="cpu", threads=1)
    for size_hw in ((64, 64), (65, 131), (200, 90)):
        (clip,) = rendered_clips(1, size_hw)
        one, other = int8.answer(clip[None]).values[0], exact.answer(clip[None]).values[0]
        assert one.shape == other.shape
        assert (one * other).sum() > 0.85 * np.linalg.norm(one) * np.linalg.norm(other)


def test_the_file_records_that_it_is_int8(exported, tiny_weights) -> None:
    path, quantized = exported
    runner = load_model(str(path), backend="onnx", device="cpu", threads=1)
    assert runner.precision == "int8"
    mine = read_description(tiny_weights)
    assert (runner.description.labels, runner.description.arch) == (mine.labels, mine.arch)
    facts = runner.description.training["int8"]
    assert facts["argmax_agreement"] == quantized.parity.argmax_agreement
    assert runner.description.training["source_sha256"] == mine.sha256
    with pytest.raises(DeviceError, match="computes in int8; use --precision auto"):
        load_model(str(path), backend="onnx", device="cpu", precision="fp32")


class TestWithState:
    def test_what_is_remembered_stays_float(self, streaming) -> None:
        _, path, quantized = streaming
        model = onnx.load(path)
        names = [tensor.name for tensor in load_model(str(path), device="cpu").description.state]
        assert names == ["regions", "memory", "seen"]
        between = temporal_nodes(model.graph, names)
        assert quantized.temporal_operations >= 10
        blending = [node for node in model.graph.node if node.name in between]
        read = {name for node in blending for name in node.input}
        for node in model.graph.node:
            if node.op_type == "QuantizeLinear":
                assert not set(names) & set(node.input)
                assert not {f"{name}_next" for name in names} & set(node.input)
        assert set(names) <= read
        kinds = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
        assert all(kinds[name] == TensorProto.FLOAT for name in names)

    def test_pictures_of_several_sizes_are_no_video(self, streaming, tmp_path: Path) -> None:
        weights, _, _ = streaming
        clips = [*rendered_clips(1, (64, 96)), *rendered_clips(1, (96, 64))]
        message = (
            "input is 64x96 and 96x64, but tcb-ocr takes the pictures as one video; give images"
        )
        with pytest.raises(UsageError, match=message):
            export_int8(read_description(weights), tmp_path / "x.onnx", clips=clips)

    def test_memory_stays_near_that_of_float32(self, streaming) -> None:
        """Rounding does not add up: the last frame is as close as the first."""
        weights, path, _ = streaming
        int8 = load_model(str(path), backend="onnx", device="cpu", threads=1)
        exact = load_model(str(weights), backend="torch", device="cpu", threads=1)
        assert int8.remembers
        apart = []
        for clip in rendered_clips(16, SIZE_HW):
            one, other = int8.answer(clip[None]).values[0], exact.answer(clip[None]).values[0]
            apart.append(np.linalg.norm(one - other) / np.linalg.norm(other))
        assert max(apart[-3:]) < 2 * max(apart[:3])
        assert max(apart) < 0.3


def chain(hard: bool) -> Any:
    """Four 1x1 convolutions, clip (3) -> logits (4).

    hard: the first writes one channel a thousand times as large as the others, which the second
    scales back: in int8 the others would be rounded away in between.
    """
    rng = np.random.default_rng(0)
    matrices = [rng.standard_normal((4, 3)), *(np.eye(4) + 0.1 for _ in range(3))]
    if hard:
        matrices[0][0] *= 1000
        matrices[1][:, 0] /= 1000
    nodes, tensors, value = [], [], "clip"
    for index, matrix in enumerate(matrices):
        name, output = f"network.layer{index}.weight", "logits" if index == 3 else f"x{index}"
        weights = matrix.astype(np.float32)[:, :, None, None]
        tensors.append(numpy_helper.from_array(weights, name))
        nodes.append(helper.make_node("Conv", [value, name], [output], name=f"conv{index}"))
        value = output
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("clip", TensorProto.FLOAT, [1, 3, "height", "width"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 4, "height", "width"])],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def test_harmful_layers_stay_float_and_are_named(tmp_path: Path, monkeypatch) -> None:
    # Leave the loud channel as it is, which would be no harm otherwise.
    monkeypatch.setattr("vidparse.export.quantizer.equalise_sums", lambda *_: 0)
    clips = rendered_clips(4, (64, 64))
    work = Quantizer(chain(hard=True), (), clips[:2], clips[2:], tmp_path)
    before = work.agreement(work.build(8))
    model, _, kept = _search(work, 0.95)
    assert before < 0.9 < 0.95 <= work.agreement(model)
    assert {layer.name for layer in kept} == {"layer0", "layer1"}
    assert all(layer.harm > 0.05 for layer in kept)
    assert len([name for name in quantised_weights(model) if "weight" in name]) == 2


def test_nothing_stays_float_without_need(tmp_path: Path) -> None:
    clips = rendered_clips(4, (64, 64))
    work = Quantizer(chain(hard=False), (), clips[:2], clips[2:], tmp_path)
    _, bits, kept = _search(work, 0.95)
    assert (bits, kept) in ((8, ()), (7, ()))  # 7 on a CPU whose 16-bit sums overflow


def test_int8_that_does_not_do_is_refused(tmp_path: Path) -> None:
    clips = rendered_clips(4, (64, 64))
    work = Quantizer(chain(hard=True), (), clips[:2], clips[2:], tmp_path)
    notes, steps = [], []
    watched = _Watched(lambda done, total: steps.append((done, total)), notes.append)
    with pytest.raises(ModelError, match="whichever layer stays float"):
        _search(work, 1.01, watched)
    assert f"measuring {len(work.candidates)} layers one by one" in notes[0]
    assert [done for done, _ in steps] == list(range(1, len(steps) + 1))
    assert steps[-1][1] >= len(steps) > len(work.candidates)


def test_a_failure_names_the_way_out(tiny_weights: Path, tmp_path: Path, monkeypatch) -> None:
    def fails(*_: object) -> None:
        raise ModelError("in int8 the class is another")

    monkeypatch.setattr(quantize, "Quantizer", lambda *_: None)
    monkeypatch.setattr(quantize, "_search", fails)
    monkeypatch.setattr(quantize, "CALIBRATION_FRAMES", 4)
    description, path = read_description(tiny_weights), tmp_path / "x.onnx"
    with pytest.raises(ModelError, match="another; add --calibrate with a clip of yours, or exp"):
        export_int8(description, path)
    with pytest.raises(ModelError, match="another; try a longer clip, or export without --int8"):
        export_int8(description, path, clips=rendered_clips(4, SIZE_HW))


def test_what_onnx_runtime_cannot_do_is_one_line(
    tiny_weights: Path, tmp_path: Path, monkeypatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("[ONNXRuntimeError] no such operator\nand a second line")

    monkeypatch.setattr(quantize, "Quantizer", fails)
    with pytest.raises(ModelError, match=r"cannot bring perframe to int8 \(.*operator\); export w"):
        export_int8(
            read_description(tiny_weights), tmp_path / "x.onnx", clips=rendered_clips(2, SIZE_HW)
        )
    assert not list(tmp_path.iterdir())


def test_the_share_in_int8_is_counted(exported, tmp_path: Path) -> None:
    _, quantized = exported
    assert quantized.float_layers == () and quantized.int8_share == 1
    clips = rendered_clips(4, (64, 64))
    work = Quantizer(chain(hard=False), (), clips[:2], clips[2:], tmp_path)

    # 12, 16, 16 and 16 multiplications at each place; the first stays float.
    assert work.int8_share({"conv0"}) == 48 / 60
    assert 0 < work.speed(chain(hard=False)) < 100


@pytest.mark.parametrize("name", ["camvid", "camvid-32", "cityscapes"])
def test_a_rendered_street_calibrates_models_of_streets(name: str) -> None:
    check_rendered(load_labels(name))


@pytest.mark.parametrize("name", ["voc", "vspw", "ade20k", "davis"])
def test_a_rendered_street_calibrates_no_other_model(name: str) -> None:
    with pytest.raises(UsageError, match=r"classes of .*; add --calibrate with a clip of what"):
        check_rendered(load_labels(name))


def test_one_frame_does_not_calibrate(tiny_weights: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="1 frame is too few"):
        export_int8(
            read_description(tiny_weights), tmp_path / "x.onnx", clips=rendered_clips(1, SIZE_HW)
        )


class TestSamples:
    @pytest.mark.parametrize(("frames", "count"), [(5, 8), (8, 8), (23, 4), (34, 6)])
    def test_are_spread_over_the_video(self, clip, frames: int, count: int) -> None:
        """The patch in the corner of the test picture shows which frame it is."""
        path = clip("x.mp4", frames=frames)
        facts = Preprocess(48, mean=(0, 0, 0), std=(1, 1, 1))
        clips = sample_clips(str(path), facts, count)
        assert len(clips) == min(frames, count)
        greys = np.array([one[0, :, 2:6, 2:6].mean() * 255 for one in clips])
        indices = np.round((greys - 40) / 5).astype(int)
        steps = np.diff(indices)
        assert steps.min() >= 1 and steps.max() <= 2 * -(-frames // count)
        assert indices[0] == 0 and indices[-1] >= frames - 1 - frames // count

    @pytest.mark.parametrize("frames", [40, 41, 64, 100, 333])
    def test_are_taken_in_rows(self, tmp_path: Path, frames: int) -> None:
        """The grey of a picture is its number."""
        folder = tmp_path / "row"
        folder.mkdir()
        for i in range(frames):
            grey = np.array([[[i // 16 * 10 + 5] * 3, [i % 16 * 10 + 5] * 3]], np.uint8)
            cv2.imwrite(str(folder / f"{i}.png"), grey.repeat(32, 0).repeat(16, 1))
        facts = Preprocess(0, mean=(0, 0, 0), std=(1, 1, 1))
        clips = sample_clips(str(folder), facts, 12, row=4)
        pairs = [np.round(one[0, 0, 16, [8, 24]] * 25.5 - 0.5).astype(int) for one in clips]
        numbers = np.array([16 * high + low for high, low in pairs])
        assert len(numbers) == 12
        starts = numbers[::4]
        assert numbers.tolist() == [start + i for start in starts for i in range(4)]
        assert starts[0] == 0 and np.diff(starts).min() >= 4
        assert starts[-1] > 0.6 * frames - 4

    def test_photographs_have_their_own_sizes(self, tmp_path: Path) -> None:
        for i, size_hw in enumerate(((48, 64), (96, 64), (200, 100))):
            cv2.imwrite(str(tmp_path / f"{i}.png"), np.zeros((*size_hw, 3), np.uint8))
        clips = sample_clips(str(tmp_path), Preprocess(48), 8)
        assert [one.shape[2:] for one in clips] == [(48, 64), (72, 48), (96, 48)]

    def test_one_frame_is_too_few(self, clip) -> None:
        with pytest.raises(InputError, match=r"x\.mp4: 1 frame is too few"):
            sample_clips(str(clip("x.mp4", frames=1)), Preprocess(48), 8)


class TestCommand:
    @pytest.mark.slow
    def test_int8(self, cli, clip, tiny_weights, tmp_path, monkeypatch) -> None:
        monkeypatch.setattr(export_int8, "__kwdefaults__", {
            **export_int8.__kwdefaults__, "least_agreement": 0.5})  # fmt: skip
        path, out = clip("x.mp4", frames=6, size_hw=(96, 128)), tmp_path / "x.onnx"
        ended = cli("export", tiny_weights, "-o", out, "--int8", "--calibrate", path, "--json")
        assert ended.code == 0, ended.err
        record = json.loads(ended.out)
        assert (record["calibration_frames"], record["frames"]) == (3, 3)
        assert record["precision"] == "int8"
        assert ended.lines[0] == f"int8: calibrating on {path}, which takes minutes"
        assert f"int8: calibrated on 3 frames of {path}; on 3 others the class" in ended.lines[1]
        run = cli("segment", path, "-m", out, "-o", tmp_path / "out/", "--save", "csv", "--json")
        assert (run.code, json.loads(run.out)["precision"]) == (0, "int8")

    @pytest.mark.parametrize(
        ("words", "code", "message"),
        [
            (["-o", "x.safetensors", "--int8"], 2, "int8 is for ONNX"),
            (["-o", "x.onnx", "--calibrate", "y.mp4"], 2, "add --int8"),
            (["-o", "x.onnx", "--int8", "--calibrate", "none.mp4"], 3, "none.mp4"),
            (["-o", "there.onnx", "--int8"], 6, "exists already"),
        ],
    )
    def test_refusals(self, cli, tiny_weights, tmp_path, monkeypatch, words, code, message) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "there.onnx").write_bytes(b"mine")
        ended = cli("export", tiny_weights, *words)
        assert (ended.code, len(ended.lines)) == (code, 1), ended.err
        assert message in ended.err
        assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"mine"]

    def test_everyday_things_are_not_calibrated_on_a_street(self, cli, tmp_path) -> None:
        ended = cli("export", "everyday-student", "-o", tmp_path / "x.onnx", "--int8")
        assert (ended.code, len(ended.lines)) == (2, 1), ended.err
        assert "of the 21 classes of voc; add --calibrate with a clip" in ended.err
        assert not (tmp_path / "x.onnx").exists()
