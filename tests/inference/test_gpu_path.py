"""The path of frames on a GPU: its kernels, its session and its pictures.

Where no GPU is, Triton interprets the kernels and the session runs on the CPU.
"""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("triton", reason="Triton is not installed: it comes with '.[dev]' on Linux")

from vidparse.frame import Frame  # noqa: E402
from vidparse.image import Image, Nv12, Rgb, Yuv420  # noqa: E402
from vidparse.inference import Session, load_model  # noqa: E402
from vidparse.inference.gpu import kernels  # noqa: E402
from vidparse.inference.gpu.captured import in_precision  # noqa: E402
from vidparse.inference.gpu.kernels import InputMaker, Taps, argmax_at  # noqa: E402
from vidparse.inference.gpu.session import GpuSession  # noqa: E402
from vidparse.inference.preprocess import to_clip  # noqa: E402
from vidparse.inference.runners.pytorch import upsampled_argmax  # noqa: E402
from vidparse.labels import Labels  # noqa: E402
from vidparse.maps import Prediction, SegmentMap  # noqa: E402
from vidparse.models.description import Preprocess  # noqa: E402
from vidparse.sinks.overlay import Painter  # noqa: E402

if not torch.cuda.is_available():
    kernels.BLOCK = 1 << 14  # an interpreter's time goes by blocks, not by pixels

FACTS = Preprocess(short_side=36)
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def picture(size_hw: tuple[int, int], seed: int = 0, *, matrix: int = 1) -> Yuv420:
    """Noise, in which every sample counts."""
    rng = np.random.default_rng(seed)
    small_hw = -(-size_hw[0] // 2), -(-size_hw[1] // 2)
    y, u, v = (rng.integers(0, 256, hw, np.uint8) for hw in (size_hw, small_hw, small_hw))
    return Yuv420(y, u, v, matrix, full_range=False)


def on_device(image: Yuv420) -> Nv12:
    uv = np.stack([image.u, image.v], axis=-1)
    y, uv = (torch.from_numpy(plane).to(DEVICE) for plane in (image.y, uv))
    return Nv12(y, uv, image.matrix, image.full_range)


class TestInputMaker:
    @pytest.mark.parametrize(
        "size_hw",
        [(72, 128), (108, 192), (45, 80), (36, 64), (30, 40), (50, 64)],
        ids="{0[0]}x{0[1]}".format,
    )
    @pytest.mark.parametrize("matrix", [1, 6])
    def test_is_to_clip_to_one_level(self, size_hw, matrix) -> None:
        """Areas and neighbours, whole scales and others, odd sides, both planes each way."""
        image = picture(size_hw, matrix=matrix)
        expected = to_clip(image, (36, 64), FACTS)[0]  # (3, 36, 64)
        found = torch.zeros(3, 36, 64, device=DEVICE)
        maker = InputMaker(size_hw, (36, 64), FACTS, matrix=matrix, full_range=False, device=DEVICE)
        maker(*(torch.from_numpy(plane).to(DEVICE) for plane in image.planes), found)
        levels = np.abs(found.cpu().numpy() - expected) * 255 * np.array(FACTS.std)[:, None, None]
        assert levels.max() < 1.01
        assert (levels > 0.5).mean() < 0.05

    def test_planes_side_by_side_and_any_layout(self) -> None:
        image = picture((36, 64))
        maker = InputMaker((36, 64), (18, 32), FACTS, matrix=1, full_range=False, device=DEVICE)
        planar = torch.zeros(3, 18, 32, device=DEVICE)
        maker(*(torch.from_numpy(plane).to(DEVICE) for plane in image.planes), planar)

        nv12 = on_device(image)
        half = torch.zeros(2, 3, 18, 32, device=DEVICE, dtype=torch.half)
        half = half.contiguous(memory_format=torch.channels_last)
        maker(nv12.y, nv12.uv[..., 0], nv12.uv[..., 1], half[1])
        assert torch.equal(half[1], planar.half()) and not half[0].any()


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize(("length", "wanted"), [(10, 10), (9, 3), (10, 3), (3, 10), (7, 6)])
def test_taps_keep_the_mean(length: int, wanted: int, linear: bool) -> None:
    taps = Taps.of_axis(length, wanted, linear=linear)
    unit = 2048 if linear else 1
    assert taps.weight.sum(axis=1) == pytest.approx(np.full(wanted, unit))
    assert taps.index.min() >= 0 and taps.index.max() < length


@pytest.mark.parametrize(
    ("classes", "score_hw", "size_hw"),
    [
        (11, (9, 16), (36, 64)),
        (3, (10, 20), (45, 77)),
        (5, (30, 30), (20, 25)),
        (300, (4, 4), (9, 9)),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_argmax_is_that_of_the_whole_pictures(classes, score_hw, size_hw, dtype) -> None:
    scores = torch.randn(2, classes, *score_hw, generator=torch.Generator().manual_seed(0))
    scores = scores.to(DEVICE, dtype).contiguous(memory_format=torch.channels_last)
    ids = torch.zeros(2, *size_hw, device=DEVICE)
    ids = ids.to(torch.uint8 if classes <= 255 else torch.uint16)
    argmax_at(scores, ids)
    same = ids.int() == upsampled_argmax(scores, size_hw).int()
    assert same.float().mean() >= 0.999  # rounding may change a tie


def test_a_tie_goes_to_the_lower_class() -> None:
    ids = torch.full((1, 8, 8), 9, device=DEVICE, dtype=torch.uint8)
    argmax_at(torch.ones(1, 4, 2, 2, device=DEVICE), ids)
    assert not ids.any()


class TestNv12:
    def test_is_the_same_picture_on_the_host(self) -> None:
        image = picture((36, 64))
        device = on_device(image)
        assert device.size_hw == (36, 64)
        assert np.array_equal(device.rgb((18, 32)), image.rgb((18, 32)))
        assert all(map(np.array_equal, device.planes, image.planes))
        assert device.yuv420(1, False) is device.host, "and comes over once"

    @pytest.mark.parametrize("opacity", [0.0, 0.3, 1.0])
    def test_is_painted_as_on_the_host(self, opacity: float) -> None:
        image = picture((36, 64))
        colours = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
        labels = Labels("two", ("a", "b"), tuple(map(tuple, colours.tolist())), frozenset())
        ids = np.random.default_rng(1).choice([0, 1, 255], (36, 64)).astype(np.uint8)
        found = Prediction(0, SegmentMap(ids), labels)
        painter = Painter(labels, colours, opacity=opacity, contours=True)
        pairs = zip(
            painter.paint(on_device(image), found).planes,
            painter.paint(image, found).planes,
            strict=True,
        )
        for ours, theirs in pairs:
            assert np.abs(ours.astype(int) - theirs).max() <= 1  # halves may fall to either side


def frames(images: list[Image]) -> list[Frame]:
    return [Frame(number, number, image) for number, image in enumerate(images)]


class TestGpuSession:
    @pytest.mark.parametrize("name", ["street-student", "street-tcb"])
    @pytest.mark.parametrize("kind", ["nv12", "yuv420", "rgb"])
    def test_ids_are_those_of_the_session_for_all(self, name, kind) -> None:
        """Ten frames: a whole batch and a part of one; a second shot; another size."""
        sizes = [(64, 96)] * 10 + [(48, 96)] * 2
        pictures = [smooth(hw, i // 7) for i, hw in enumerate(sizes)]
        runner = load_model(name, backend="torch", device=str(DEVICE), precision="fp32")
        made: list[Image] = list(pictures)
        if kind == "nv12":
            made = [on_device(one) for one in pictures]
        elif kind == "rgb":
            made = [Rgb(one.rgb()) for one in pictures]
        expected = [found.ids for _, found in Session(runner, size=64).run(frames(made))]
        session = GpuSession(runner, size=64)
        found = list(session.finished(session.answered(session.prepared(frames(made)), live=False)))
        assert [frame.index for frame, _ in found] == list(range(12))
        for (_, prediction), ids in zip(found, expected, strict=True):
            assert prediction.ids.dtype == ids.dtype
            assert (prediction.ids == ids).mean() >= 0.99

    def test_keeps_the_classes_that_are_wanted(self) -> None:
        runner = load_model(backend="torch", device=str(DEVICE), precision="fp32")
        session = GpuSession(runner, size=64, classes=(0, 3))
        stages = session.answered(session.prepared(frames([smooth((64, 96), 0)])), live=True)
        ((_, prediction),) = session.finished(stages)
        assert set(np.unique(prediction.ids)) <= {0, 3, 255}


def smooth(size_hw: tuple[int, int], seed: int) -> Yuv420:
    """A picture with structure, such as a network has an opinion on."""
    import cv2

    image = picture((size_hw[0] // 8, size_hw[1] // 8), seed)
    small_hw = size_hw[0] // 2, size_hw[1] // 2
    sizes = size_hw, small_hw, small_hw
    planes = [
        cv2.resize(plane, hw[::-1], interpolation=cv2.INTER_CUBIC)
        for plane, hw in zip(image.planes, sizes, strict=True)
    ]
    return Yuv420(*planes, image.matrix, image.full_range)


def test_norms_are_folded_and_scores_stay() -> None:
    runner = load_model(backend="torch", device="cpu", precision="fp32")
    folded = in_precision(runner.module, torch.float32)
    clip = torch.randn(1, 1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected, _ = runner.module(clip, ())
        found, _ = folded(clip, ())
    assert torch.allclose(found.logits, expected.logits, atol=1e-3)
    left, before = (
        sum(isinstance(one, torch.nn.BatchNorm2d) for one in network.modules())
        for network in (folded, runner.module)
    )
    assert left == 0 < before
