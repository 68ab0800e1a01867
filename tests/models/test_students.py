"""Published efficient networks: sizes, training, export, and real weights on real pictures."""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from vidparse.errors import ModelError
from vidparse.models.bisenetv2 import BiSeNetV2, BiSeNetV2Config
from vidparse.models.espnetv2 import EspNetV2, EspNetV2Config, PoolingPyramid, branch_dilations
from vidparse.models.hardnet import FcHarDNet, FcHarDNetConfig, links_of, width_of
from vidparse.models.hrnet import HrNet, HrNetConfig
from vidparse.models.layers import pool_near
from vidparse.models.zoo import build

BESIDE = Path(__file__).resolve().parents[3] / "shared"
STRIDES = {BiSeNetV2: 8, EspNetV2: 2, FcHarDNet: 4, HrNet: 4}  # of the scores


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def make(arch: type, classes: int) -> torch.nn.Module:
    if arch is BiSeNetV2:
        return BiSeNetV2(BiSeNetV2Config(classes, auxiliary=False))
    config = {EspNetV2: EspNetV2Config, FcHarDNet: FcHarDNetConfig, HrNet: HrNetConfig}[arch]
    return arch(config(classes))


def awake(network: torch.nn.Module) -> torch.nn.Module:
    """Batch norm statistics of noise, so that differences reach the scores."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
            torch.nn.init.normal_(module.weight, 1.0, 0.2)
    with torch.no_grad():
        network.train().step(torch.randn(2, 3, 128, 128))
    return network.eval()


@pytest.mark.parametrize(
    ("network", "parameters"),
    [
        (lambda: make(BiSeNetV2, 19), 3_358_627),  # 3.36 M for inference
        (lambda: BiSeNetV2(BiSeNetV2Config(19)), 5_231_487),  # 5.23 M in training
        (lambda: make(FcHarDNet, 19), 4_119_257),  # 4.1 M in the authors' readme
        (lambda: make(HrNet, 19), 3_939_579),  # 3.9 M in the authors' readme
        (lambda: make(EspNetV2, 20), 789_242),  # what the authors' Cityscapes file holds
    ],
    ids=["bisenetv2", "bisenetv2-training", "hardnet", "hrnet", "espnetv2"],
)
def test_networks_have_the_published_size(network, parameters: int) -> None:
    assert sum(parameter.numel() for parameter in network().parameters()) == parameters


@pytest.mark.parametrize(
    ("arch", "classes", "gmacs"),
    [(FcHarDNet, 19, 35.2), (HrNet, 19, 76.9), (EspNetV2, 20, 10.8)],
)
def test_networks_have_the_published_cost(arch: type, classes: int, gmacs: float) -> None:
    """At 1024x2048: readmes say 35.4 and 71.6 (times 2^30); ESPNetV2's paper 2.70 at half that."""
    from torch.utils.flop_counter import FlopCounterMode

    network = make(arch, classes).eval().to("meta")
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network.step(torch.zeros(1, 3, 1024, 2048, device="meta"))
    assert counter.get_total_flops() / 2e9 == pytest.approx(gmacs, abs=0.1)


@pytest.mark.parametrize("arch", STRIDES)
@pytest.mark.parametrize("size", [(32, 32), (77, 131)])
def test_score_maps_have_the_promised_stride(arch: type, size: tuple[int, int]) -> None:
    network, stride = make(arch, 5).eval(), STRIDES[arch]
    with torch.inference_mode():
        outputs, state = network.step(torch.zeros(1, 3, *size))
    assert outputs.logits.shape == (1, 5, *(-(-side // stride) for side in size))
    assert outputs.auxiliary is None and state == () and network.state_tensors == ()


@pytest.mark.parametrize("arch", STRIDES)
def test_inference_repeats_and_looks_at_the_whole_picture(arch: type) -> None:
    network = awake(make(arch, 3))
    clip = torch.randn(1, 3, 65, 90)
    changed = clip.clone()
    changed[..., -8:, -8:] += 3.0
    with torch.inference_mode():
        first, again, other = (network.step(x)[0].logits for x in (clip, clip, changed))
    assert torch.equal(first, again)
    assert not torch.allclose(first[..., :4, :4], other[..., :4, :4], atol=1e-6)


@pytest.mark.parametrize("arch", STRIDES)
def test_a_training_step_moves_every_layer_towards_the_labels(arch: type) -> None:
    network = make(arch, 4)
    network = BiSeNetV2(BiSeNetV2Config(4)) if arch is BiSeNetV2 else network
    network.train()
    clip = torch.randn(2, 3, 64, 96)
    target = (clip.mean(1) > 0).long()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    losses = []
    for _ in range(4):
        outputs, _ = network.step(clip)
        loss = F.cross_entropy(F.interpolate(outputs.logits, target.shape[1:]), target)
        if outputs.auxiliary is not None:
            assert outputs.auxiliary.shape == (4 * 2, 4, 32, 48)  # four heads of two pictures
            scores = F.interpolate(outputs.auxiliary, target.shape[1:])
            loss = loss + F.cross_entropy(scores, target.repeat(4, 1, 1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    still = [name for name, p in network.named_parameters() if p.grad is None]
    assert all(name.endswith("_0.eesp.module_act.weight") for name in still)


def test_auxiliary_heads_stay_out_of_inference() -> None:
    trained = BiSeNetV2(BiSeNetV2Config(4)).eval()
    lean = BiSeNetV2(BiSeNetV2Config(4, auxiliary=False)).eval()
    tensors = trained.state_dict()
    lean.load_state_dict({k: v for k, v in tensors.items() if not k.startswith("auxiliary.")})
    clip = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        outputs, _ = trained.step(clip)
        assert outputs.auxiliary is None
        assert torch.equal(outputs.logits, lean.step(clip)[0].logits)


@pytest.mark.parametrize("arch", ["espnetv2", "hardnet", "hrnet"])
def test_an_auxiliary_classifier_that_does_not_exist_is_refused(arch: str) -> None:
    assert build(arch, {"classes": 3, "auxiliary": False}), "as checkpoints of before have it"
    with pytest.raises(ModelError, match="no such setting auxiliary"):
        build(arch, {"classes": 3, "auxiliary": True})


def test_parameter_names_are_those_of_the_public_code() -> None:
    expected = {
        BiSeNetV2: (
            "detail.S3.2.bn.running_var",
            "segment.S1S2.left.1.conv.weight",
            "segment.S3.0.shortcut.3.bias",
            "segment.S5_4.3.dwconv.1.weight",
            "segment.S5_5.conv_gap.bn.bias",
            "bga.right2.2.weight",
            "head.conv_out.1.bias",
        ),
        FcHarDNet: (
            "base.3.norm.bias",
            "base.4.layers.3.conv.weight",
            "base.14.conv.weight",
            "base.17.conv.weight",
            "conv1x1_up.3.conv.weight",
            "denseBlocksUp.0.layers.7.norm.running_mean",
            "finalConv.bias",
        ),
        HrNet: (
            "bn2.weight",
            "layer1.0.downsample.1.bias",
            "layer1.1.conv3.weight",
            "transition1.0.0.weight",
            "transition1.1.0.1.bias",
            "transition3.3.0.0.weight",
            "stage3.2.branches.2.1.bn2.weight",
            "stage4.1.fuse_layers.0.3.1.weight",
            "stage4.1.fuse_layers.3.0.2.1.weight",
            "last_layer.3.weight",
        ),
    }
    for arch, names in expected.items():
        assert set(names) <= make(arch, 2).state_dict().keys()
    names = BiSeNetV2(BiSeNetV2Config(2)).state_dict().keys()
    assert "auxiliary.aux5_4.conv_out.0.1.conv.weight" in names
    assert "auxiliary.aux2.conv_out.1.bias" in names


def test_hard_links_follow_powers_of_two() -> None:
    assert [links_of(layer) for layer in (1, 2, 3, 4, 6, 8)] == [
        [0], [1, 0], [2], [3, 2, 0], [5, 4], [7, 6, 4, 0],
    ]  # fmt: skip
    assert [width_of(layer, 10) for layer in (1, 2, 3, 4)] == [10, 18, 10, 28]


def test_esp_branches_fall_back_beyond_the_receptive_field() -> None:
    assert [branch_dilations(field) for field in (13, 9, 7, 5)] == [
        [1, 2, 3, 4], [1, 2, 3, 4], [1, 1, 2, 3], [1, 1, 1, 2],
    ]  # fmt: skip


@pytest.mark.parametrize("size", [(5, 9), (12, 7), (31, 40)])
def test_a_traced_pyramid_equals_the_native_one(size, monkeypatch: pytest.MonkeyPatch) -> None:
    pyramid = PoolingPyramid(6, 4, 3, scores=True).eval()
    features = torch.randn(1, 6, *size)
    with torch.inference_mode():
        native = pyramid(features)
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
        traced = pyramid(features)
    assert torch.allclose(native, traced, atol=1e-5)


def test_pooling_of_near_sizes_is_the_adaptive_one() -> None:
    for rows, columns in [(1, 64), (2, 3), (5, 7), (8, 4), (31, 33), (86, 171)]:
        larger = [(15 * side + 9) // 10 for side in (rows, columns)]  # as the pyramid has them
        features = torch.randn(2, 3, *larger)
        native = torch.nn.functional.adaptive_avg_pool2d(features, (rows, columns))
        assert torch.allclose(pool_near(features, rows, columns), native, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("arch", STRIDES)
def test_onnx_of_any_size_gives_the_same_scores(arch: type) -> None:
    import onnxruntime

    class LogitsOnly(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, clip: torch.Tensor) -> torch.Tensor:
            return self.network.step(clip)[0].logits

    network = awake(make(arch, 3))
    sides = {2: torch.export.Dim("height", min=32, max=8192)}
    sides[3] = torch.export.Dim("width", min=32, max=8192)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            LogitsOnly().eval(),
            (torch.zeros(1, 3, 352, 640),),
            dynamo=True,
            input_names=["clip"],
            dynamic_shapes={"clip": sides},
            verbose=False,
        )
    session = onnxruntime.InferenceSession(
        program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    for size in ((32, 32), (79, 131)):
        clip = torch.randn(1, 3, *size)
        with torch.inference_mode():
            expected = network.step(clip)[0].logits.numpy()
        (got,) = session.run(None, {"clip": clip.numpy()})
        assert got.shape == expected.shape
        assert np.abs(got - expected).max() < 1e-3 * np.abs(expected).max()


def published(name: str, config: EspNetV2Config) -> EspNetV2:
    path = BESIDE / "weights" / name
    if not path.is_file():
        pytest.skip(f"no {name} beside the checkout")
    network = EspNetV2(config)
    tensors = torch.load(path, map_location="cpu", weights_only=True)
    if config.classes == 19:  # leave the void output out
        for name in ("weight", "bias"):
            tensors[f"bu_dec_l4.merge_layer.3.{name}"] = tensors[f"bu_dec_l4.merge_layer.3.{name}"][
                :19
            ]
    network.load_state_dict(tensors, strict=True)
    return network.eval()


def classes_of(network: EspNetV2, path: Path, size_wh: tuple[int, int]) -> np.ndarray:
    """Class ids (H, W) of a picture brought to `size_wh` for the network."""
    if not path.is_file():
        pytest.skip(f"no {path.name} beside the checkout")
    rgb = np.asarray(Image.open(path).convert("RGB"))
    small = cv2.resize(rgb, size_wh).astype(np.float32) / 255
    small = (small - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    clip = torch.from_numpy(small.transpose(2, 0, 1)[None].astype(np.float32))
    with torch.inference_mode():
        logits = network.step(clip)[0].logits
    full = F.interpolate(logits, rgb.shape[:2], mode="bilinear", align_corners=True)
    return full[0].argmax(0).numpy()


@pytest.mark.parametrize(("photo", "coco", "voc"), [(81, 4, 1), (110, 0, 15), (641, 5, 6)])
def test_published_voc_weights_find_what_the_photo_shows(photo: int, coco: int, voc: int) -> None:
    """An aeroplane, people, a bus."""
    folder = BESIDE / "data" / "coco128_seg"
    network = published("espnetv2_s_2.0_pascal_384x384.pth", EspNetV2Config(21))
    predicted = classes_of(network, folder / "images/train2017" / f"{photo:012}.jpg", (384, 384))
    truth = np.zeros(predicted.shape, np.uint8)
    for line in (folder / "labels/train2017" / f"{photo:012}.txt").read_text().splitlines():
        kind, *corners = line.split()
        if int(kind) == coco:
            polygon = np.array(corners, float).reshape(-1, 2) * predicted.shape[::-1]
            cv2.fillPoly(truth, [polygon.round().astype(np.int32)], 1)
    both = (predicted == voc) & (truth == 1)
    assert both.sum() / ((predicted == voc) | (truth == 1)).sum() > 0.85


@pytest.mark.parametrize("config", [EspNetV2Config(20), EspNetV2Config(19, pyramid_width=10)])
def test_published_cityscapes_weights_read_a_street(config: EspNetV2Config) -> None:
    """The network mostly recognises CamVid's classes, which it has never seen."""
    folder = BESIDE / "data" / "camvid"
    network = published("espnetv2_s_2.0_city_1024x512.pth", config)
    predicted = classes_of(network, folder / "val" / "0016E5_07969.jpg", (1024, 512))
    truth = np.asarray(Image.open(folder / "valannot" / "0016E5_07969.png"))
    meant = {0: [10], 1: [2], 3: [0], 5: [8, 9], 8: [13, 14]}  # sky, building, road, tree, car
    for camvid, cityscapes in meant.items():
        assert np.isin(predicted[truth == camvid], cityscapes).mean() > 0.9, camvid
    assert (predicted == 19).sum() == 0  # the void output, trained with weight 0, never wins
