"""OpenVINO as a backend: the same answers as ONNX Runtime, and when it is taken."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import numpy as np
import pytest

from support.small_networks import save_tcb_ocr
from vidparse.errors import DeviceError, ModelError, UsageError
from vidparse.export import export_onnx, rendered_clips
from vidparse.hub import DEFAULT_MODEL, resolve
from vidparse.inference import Runner, Scores, engine_and_reason, load_model
from vidparse.inference.devices import Device
from vidparse.inference.runners import OnnxRunner, OpenVinoRunner, has_bf16, has_openvino
from vidparse.models.checkpoint import read_description

BUNDLED = resolve(DEFAULT_MODEL).onnx
needs_openvino = pytest.mark.skipif(
    not has_openvino(), reason="openvino is not installed: pip install 'vidparse[openvino]'"
)
SIZE_HW = (96, 128)


@pytest.fixture(scope="module")
def streaming(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file of a network that remembers."""
    weights = save_tcb_ocr(tmp_path_factory.mktemp("streaming") / "tcb.safetensors")
    path = weights.with_suffix(".onnx")
    export_onnx(read_description(weights), path, half_storage=False)
    return path


def scores_of(runner: Runner, clip: np.ndarray) -> np.ndarray:
    """Scores (K, h, w) of one frame (1, 3, H, W)."""
    answer = runner.answer(clip[None])
    assert isinstance(answer, Scores)
    return answer.values[0]


def onnx_runner(path: Path) -> OnnxRunner:
    return OnnxRunner(path, device=Device("cpu"), precision="fp32", threads=1)


def test_a_missing_package_is_a_one_line_error(cli, clip, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(UsageError, match=r"pip install 'vidparse\[openvino\]'"):
        load_model(backend="openvino", device="cpu")
    ended = cli("segment", clip("x.mp4", frames=1), "--backend", "openvino")
    assert (ended.code, len(ended.lines)) == (2, 1)


def test_auto_does_not_need_it(colour_model, monkeypatch) -> None:
    monkeypatch.setattr("vidparse.inference.load.has_openvino", lambda: False)
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert load_model(device="cpu", threads=1).backend == "onnx"
    runner = load_model(device="cpu", precision="bf16", threads=1)
    assert (runner.backend, runner.engine) == ("torch", "PyTorch, bf16, 1 thread")
    assert runner.chosen == "OpenVINO is not installed, or this CPU has no bf16"


@needs_openvino
class TestRunner:
    def test_it_answers_as_onnx_runtime_does(self) -> None:
        mine, theirs = OpenVinoRunner(BUNDLED, precision="auto", threads=1), onnx_runner(BUNDLED)
        assert (mine.backend, mine.device, mine.precision) == ("openvino", "cpu", "fp32")
        for clip in rendered_clips(2, SIZE_HW):
            np.testing.assert_allclose(scores_of(mine, clip), scores_of(theirs, clip), atol=1e-3)

    def test_remembers_what_onnx_runtime_remembers(self, streaming) -> None:
        mine, theirs = (
            OpenVinoRunner(streaming, precision="fp32", threads=1),
            onnx_runner(streaming),
        )
        assert mine.remembers
        clips = rendered_clips(12, SIZE_HW)
        first = [scores_of(mine, clip) for clip in clips]
        for one, clip in zip(first, clips, strict=True):
            np.testing.assert_allclose(one, scores_of(theirs, clip), atol=1e-3)
        mine.reset()
        again = [scores_of(mine, clip) for clip in clips]
        assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
        mine.reset()
        assert np.abs(scores_of(mine, clips[-1]) - first[-1]).max() > 1e-3, (
            "the past had no part in it"
        )

    def test_scores_are_not_written_over(self) -> None:
        runner = OpenVinoRunner(BUNDLED, precision="fp32", threads=1)
        one, other = rendered_clips(1, SIZE_HW)[0], np.zeros((1, 3, *SIZE_HW), np.float32)
        scores = scores_of(runner, one)
        kept = scores.copy()
        scores_of(runner, other)
        assert np.array_equal(scores, kept)

    def test_sizes_may_change_and_few_are_kept(self, streaming) -> None:
        mine, theirs = (
            OpenVinoRunner(streaming, precision="fp32", threads=1),
            onnx_runner(streaming),
        )
        for size_hw in ((64, 64), (65, 131), (96, 80), (64, 90), (64, 64)):
            mine.reset()
            theirs.reset()
            for clip in rendered_clips(2, size_hw):
                np.testing.assert_allclose(
                    scores_of(mine, clip),
                    scores_of(theirs, clip),
                    atol=1e-3,
                )
        assert len(mine._requests) == 3

    @pytest.mark.skipif(not has_openvino() or not has_bf16(), reason="this CPU has no bf16")
    def test_bf16_stays_close(self) -> None:
        exact, rough = (OpenVinoRunner(BUNDLED, precision=p, threads=1) for p in ("fp32", "bf16"))
        assert rough.precision == "bf16"
        (clip,) = rendered_clips(1, SIZE_HW)
        one, other = scores_of(exact, clip), scores_of(rough, clip)
        assert 0 < np.linalg.norm(other - one) < 0.05 * np.linalg.norm(one)

    def test_precision_that_is_not_there(self, monkeypatch) -> None:
        with pytest.raises(DeviceError, match="computes in fp32 or bf16"):
            OpenVinoRunner(BUNDLED, precision="fp16")
        monkeypatch.setattr("vidparse.inference.runners.openvino.has_bf16", lambda: False)
        with pytest.raises(DeviceError, match="this CPU does not have it; use fp32"):
            OpenVinoRunner(BUNDLED, precision="bf16")

    def test_a_damaged_file(self, colour_model, tmp_path) -> None:
        import onnx

        model = onnx.load(colour_model)
        model.graph.node[1].op_type = "NoSuchOperation"
        path = tmp_path / "x.onnx"
        onnx.save(model, path)
        with pytest.raises(ModelError, match=r"x\.onnx: not a usable ONNX model") as caught:
            OpenVinoRunner(path, precision="fp32").answer(np.zeros((1, 1, 3, 64, 64), np.float32))
        assert "\n" not in str(caught.value)
        path.write_bytes(colour_model.read_bytes()[:200])
        with pytest.raises(ModelError, match=r"x\.onnx: not a readable ONNX file"):
            OpenVinoRunner(path, precision="fp32")

    def test_out_of_memory(self, colour_model, monkeypatch) -> None:
        runner = OpenVinoRunner(colour_model, precision="fp32", threads=1)

        def fail(size_hw: tuple[int, int]) -> None:
            raise RuntimeError("Exception from src/inference: std::bad_alloc")

        monkeypatch.setattr(runner, "_request", fail)
        with pytest.raises(DeviceError, match="out of memory at 128x96; lower --size"):
            runner.answer(np.zeros((1, 1, 3, *SIZE_HW), np.float32))


@needs_openvino
class TestChoice:
    def test_auto_in_fp32_is_onnx_runtime(self) -> None:
        assert load_model(device="cpu", threads=1).backend == "onnx"

    @pytest.mark.skipif(not has_openvino() or not has_bf16(), reason="this CPU has no bf16")
    def test_auto_in_bf16_is_openvino(self, caplog) -> None:
        caplog.set_level(logging.INFO, "vidparse")
        runner = load_model(device="cpu", precision="bf16", threads=1)
        assert (runner.backend, runner.precision) == ("openvino", "bf16")
        assert f"{DEFAULT_MODEL}: backend openvino (the fastest in bf16)" in caplog.text

    def test_auto_for_int8_is_openvino(self, colour_model, tmp_path) -> None:
        import json

        import onnx

        model = onnx.load(colour_model)
        record = json.loads(model.metadata_props[0].value)
        record["training"]["int8"] = {"weight_bits": 8}
        model.metadata_props[0].value = json.dumps(record)
        onnx.save(model, tmp_path / "x.onnx")
        runner = load_model(str(tmp_path / "x.onnx"), device="cpu", threads=1)
        assert (runner.backend, runner.precision) == ("openvino", "int8")
        assert engine_and_reason(runner) == "OpenVINO, int8, 1 thread (auto: the fastest in int8)"
        assert load_model(str(colour_model), device="cpu", threads=1).backend == "onnx"

    def test_a_gpu_is_not_for_it(self, monkeypatch) -> None:
        monkeypatch.setattr("vidparse.inference.devices.cuda_device_count", lambda: 1)
        with pytest.raises(DeviceError, match="device cuda: OpenVINO runs on the CPU"):
            load_model(backend="openvino", device="cuda")
        assert load_model(backend="openvino", threads=1).device == "cpu"

    def test_segment(self, cli, clip, tmp_path) -> None:
        import json

        path = clip("x.mp4", frames=4, size_hw=(96, 128))
        masks = {}
        for backend in ("onnx", "openvino"):
            out = tmp_path / backend
            ended = cli(
                "segment", path, "--backend", backend, "--save", "masks", "-o", out, "--json"
            )
            assert ended.code == 0, ended.err
            assert json.loads(ended.out)["backend"] == backend
            masks[backend] = [one.read_bytes() for one in sorted(out.iterdir())]
        assert len(masks["onnx"]) == 4
        assert masks["onnx"] == masks["openvino"]
