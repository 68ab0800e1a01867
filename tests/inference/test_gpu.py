"""On a CUDA device the session answers as on the CPU. Skipped where there is none."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from vidparse.errors import DeviceError
from vidparse.inference import Session, engine_and_reason, load_model
from vidparse.inference.devices import cuda_device_count
from vidparse.video import NVDEC, open_video
from vidparse.video.pieces import PieceSource

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


def test_torch_computes_in_fp16_by_default():
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


class TestNvdec:
    """A file that the GPU decodes is the file that the CPU decodes."""

    @pytest.mark.parametrize("codec", ["libx264", "libx265", "libvpx-vp9"])
    def test_pictures_and_times(self, clip, codec):
        path = clip("x.mkv", codec=codec, frames=60, size_hw=(144, 176), options={"g": "20"})
        with open_video(path, copy_streams=False) as source:
            expected = [(one.index, one.pts, one.duration, one.image.planes) for one in source]
        with open_video(path, copy_streams=False, device=0) as source:
            assert source.decoded_on == NVDEC
            found = [(one.index, one.pts, one.duration, one.image.planes) for one in source]
        assert [one[:3] for one in found] == [one[:3] for one in expected]
        for ours, theirs in zip(found, expected, strict=True):
            assert all(map(np.array_equal, ours[3], theirs[3]))

    def test_several_decoders_at_once(self, clip):
        path = clip("x.mp4", frames=400, size_hw=(144, 176), options={"g": "25", "bf": "2"})
        with open_video(path, copy_streams=False) as source:
            expected = [(one.index, one.pts, int(one.image.y.sum())) for one in source]
        with open_video(path, copy_streams=False, device=0) as source:
            assert isinstance(source, PieceSource)
            found = [(one.index, one.pts, int(one.image.host.y.sum())) for one in source]
        assert found == expected

    @pytest.mark.parametrize("name", ["street-student", "street-tcb"])
    def test_ids_are_those_of_pictures_from_the_cpu(self, cli, clip, tmp_path, name):
        ids = {}
        for decoder in ("gpu", "cpu"):
            out = tmp_path / decoder
            ended = cli(
                *("segment", clip("x.mp4", frames=40, size_hw=(360, 480)), "-m", name),
                *("--device", "cuda", "--decoder", decoder),
                *("--save", "masks,overlay", "-o", f"{out}/"),
            )
            assert ended.code == 0, ended.err
            assert ("NVDEC" in ended.err) == (decoder == "gpu")
            masks = sorted((out / "x.masks").glob("*.png"))
            ids[decoder] = np.stack([np.asarray(Image.open(path)) for path in masks])
        assert len(ids["gpu"]) == 40
        assert (ids["gpu"] == ids["cpu"]).mean() >= 0.999

    def test_a_file_that_it_cannot_decode(self, cli, clip, tmp_path):
        path = clip("x.mp4", pixel_format="yuv444p")
        words = ("segment", path, "--device", "cuda", "--save", "csv", "-o", f"{tmp_path}/")
        ended = cli(*words, "--decoder", "gpu")
        assert ended.code == 3
        assert "decoder gpu: yuv444p is decoded on the CPU only; use --decoder auto" in ended.err
        ended = cli(*words)
        assert ended.code == 0 and "yuv444p is decoded on the CPU only" in ended.err


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_segment(cli, tmp_path, backend):
    if backend == "onnx":
        needs_onnx_cuda()
    ended = cli(
        *("segment", "sample://street", "-m", "street-student", "--end", "0.3", "--json"),
        *("--device", "cuda", "--backend", backend, "-o", f"{tmp_path}/"),
    )
    assert ended.code == 0, ended.err
    summary = json.loads(ended.out)
    assert (summary["device"], summary["backend"]) == ("cuda:0", backend)
    assert summary["inputs"][0]["frames"] > 5
