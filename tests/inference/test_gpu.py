"""On a CUDA device the session says what it says on the CPU. Skipped where there is none."""

from __future__ import annotations

import json

import numpy as np
import pytest

from vidparse.errors import DeviceError
from vidparse.inference import Session, engine_and_reason, load_model
from vidparse.inference.devices import cuda_device_count
from vidparse.video import open_video

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device that torch can use"),
]


def needs_onnx_cuda() -> None:
    """Skip where ONNX Runtime is the CPU build, or finds no CUDA libraries."""
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has no CUDA provider")


@pytest.fixture(scope="module")
def frames():
    """Two frames of a rendered street: what the bundled model was made for."""
    source = open_video("sample://street", end_s=1.0, stride=20)
    taken = list(source)[:2]
    source.close()
    return taken


def ids(runner, frames) -> np.ndarray:
    return np.stack([prediction.ids for _, prediction in Session(runner).run(frames)])


@pytest.fixture(scope="module")
def expected(frames) -> np.ndarray:
    return ids(load_model(backend="torch", device="cpu", precision="fp32"), frames)


def test_the_driver_and_torch_count_the_same_devices():
    assert cuda_device_count() == torch.cuda.device_count()


@pytest.mark.parametrize(
    ("precision", "agreement"), [("fp32", 0.999), ("fp16", 0.99), ("bf16", 0.97)]
)
def test_torch(frames, expected, precision, agreement):
    runner = load_model(backend="torch", device="cuda", precision=precision)
    assert (runner.device, runner.precision) == ("cuda:0", precision)
    assert (ids(runner, frames) == expected).mean() >= agreement


def test_torch_computes_in_fp16_unless_told():
    runner = load_model(backend="torch", device="cuda:0")
    assert (runner.device, runner.precision) == ("cuda:0", "fp16")


def test_onnx(frames, expected):
    needs_onnx_cuda()
    runner = load_model(backend="onnx", device="cuda")
    assert (runner.backend, runner.device) == ("onnx", "cuda:0")
    assert (ids(runner, frames) == expected).mean() >= 0.99


def test_auto_takes_the_gpu():
    runner = load_model()
    assert (runner.device, runner.backend) == ("cuda:0", "torch")
    assert engine_and_reason(runner) == "PyTorch, CUDA, fp16 (auto: on a GPU)"


def test_a_device_that_is_not_there():
    with pytest.raises(DeviceError, match=r"cuda:99.*use --device cpu or auto"):
        load_model(device="cuda:99")


def test_memory_that_runs_out_is_one_line(frames):
    runner = load_model(backend="torch", device="cuda", precision="fp32")
    session = Session(runner, size=(96, 96))
    torch.cuda.set_per_process_memory_fraction(1e-4)
    try:
        torch.cuda.empty_cache()
        with pytest.raises(DeviceError, match="out of memory at 4096x4096"):
            runner.answer(np.zeros((1, 1, 3, 4096, 4096), np.float32))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert len(list(session.run(frames[:1]))) == 1, "and the next frame is fine"


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_segment(cli, tmp_path, backend):
    if backend == "onnx":
        needs_onnx_cuda()
    said = cli(
        *("segment", "sample://street", "-m", "street-student", "--end", "0.3", "--json"),
        *("--device", "cuda", "--backend", backend, "-o", f"{tmp_path}/"),
    )
    assert said.code == 0, said.err
    summary = json.loads(said.out)
    assert (summary["device"], summary["backend"]) == ("cuda:0", backend)
    assert summary["inputs"][0]["frames"] > 5
