"""Heads: sizes of the papers, what their parts promise to networks that blend frames."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidparse.export import export_onnx
from vidparse.labels import load_labels
from vidparse.models.backbones import BACKBONES
from vidparse.models.checkpoint import read_description, save_checkpoint
from vidparse.models.description import Preprocess, metadata_of
from vidparse.models.heads import (
    HEADS,
    AuxiliaryHead,
    DeepLabHead,
    LightDeepLabHead,
    OcrHead,
    PspHead,
    UperNetHead,
)
from vidparse.models.heads.pooling import POOL_BINS
from vidparse.models.zoo import build, config_of

RESNET101 = (256, 512, 1024, 2048)
SMALL = (8, 12, 16, 24)


def parameters(*networks: nn.Module) -> int:
    return sum(parameter.numel() for network in networks for parameter in network.parameters())


def pyramid(sides: list[tuple[int, int]], batch: int = 2) -> tuple[Tensor, ...]:
    return tuple(torch.randn(batch, c, *hw) for c, hw in zip(SMALL, sides, strict=True))


DILATED = [(26, 33), (13, 17), (13, 17), (13, 17)]
STRIDED = [(26, 33), (13, 17), (7, 9), (4, 5)]


class TestSizes:
    """SPEC 2.2, for ResNet-101 and 124 classes."""

    def test_psp(self) -> None:
        with torch.device("meta"):
            head = PspHead(RESNET101, 124, width=512)
            auxiliary = AuxiliaryHead(1024, 124, width=512)
        assert parameters(head, auxiliary) / 1e6 == pytest.approx(27.92, abs=0.005)

    def test_ocr(self) -> None:
        with torch.device("meta"):
            head = OcrHead(RESNET101, 124)
        assert parameters(head) / 1e6 == pytest.approx(15.47, abs=0.005)

    def test_upernet(self) -> None:
        with torch.device("meta"):
            head = UperNetHead(RESNET101, 124)
        assert parameters(head) / 1e6 == pytest.approx(40.58, abs=0.005)

    def test_deeplab(self) -> None:
        """Summed by hand: no figure is published for the head alone."""
        with torch.device("meta"):
            head = DeepLabHead(RESNET101, 124)
        convolutions = 2048 * 256 * (1 + 3 * 9 + 1) + 1280 * 256 + 256 * 48
        convolutions += 304 * 256 * 9 + 256 * 256 * 9 + 256 * 124
        norms = 2 * (256 * 6 + 48 + 256 * 2)
        assert parameters(head) == convolutions + norms + 124

    def test_deeplab_for_phones(self) -> None:
        """Summed by hand, for MobileNetV2 and VOC."""
        with torch.device("meta"):
            head = LightDeepLabHead((24, 32, 96, 320), 21)
        convolutions = 320 * 256 * 2 + 512 * 256 + 256 * 21
        assert parameters(head) == convolutions + 2 * 256 * 3 + 21


@pytest.mark.parametrize(
    ("name", "sides", "side"),
    [
        ("psp", DILATED, (13, 17)),
        ("ocr", DILATED, (13, 17)),
        ("ocr", STRIDED, (4, 5)),
        ("upernet", STRIDED, (26, 33)),
        ("upernet", DILATED, (26, 33)),
        ("deeplab", DILATED, (26, 33)),
        ("deeplab-light", DILATED, (13, 17)),
    ],
)
def test_scores_have_the_promised_size_and_reach_every_weight(
    name: str, sides: list, side: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    head = HEADS[name](SMALL, 5, width=16).train()
    scores = head(pyramid(sides))
    assert scores.shape == (2, 5, *side)
    scores.square().sum().backward()
    missed = [key for key, weight in head.named_parameters() if weight.grad is None]
    assert missed == []


def test_everything_a_head_sees_changes_its_scores() -> None:
    torch.manual_seed(0)
    used = {
        "psp": [3],
        "ocr": [2, 3],
        "upernet": [0, 1, 2, 3],
        "deeplab": [0, 3],
        "deeplab-light": [3],
    }
    for name, head in HEADS.items():
        maps = pyramid(DILATED)
        for one in maps:
            one.requires_grad_()
        head(SMALL, 5, width=16).eval()(maps).square().sum().backward()
        assert [i for i, one in enumerate(maps) if one.grad is not None] == used[name]


@pytest.mark.parametrize("finest", [4, 2])
@pytest.mark.parametrize("stride", [8, 16, 32])
@pytest.mark.parametrize("sides", [(97, 129), (100, 143), (113, 121)])
def test_refined_scores_do_not_shift_with_the_size(
    sides: tuple[int, int], stride: int, finest: int
) -> None:
    """What is near the left upper corner of a picture does not depend on where it ends."""
    torch.manual_seed(0)
    channels = (*SMALL, 6)
    head = PspHead(
        channels, 5, width=16, output_stride=stride, skip_channels=8, finest=finest
    ).eval()
    strides = (4, 8, 16, stride, 2)
    large = [torch.randn(1, c, 256 // s, 256 // s) for c, s in zip(channels, strides, strict=True)]
    small = [
        one[..., : -(-sides[0] // s), : -(-sides[1] // s)]
        for one, s in zip(large, strides, strict=True)
    ]
    fused = torch.randn(1, 16, 256 // stride, 256 // stride)
    cut = fused[..., : small[3].shape[2], : small[3].shape[3]]
    with torch.inference_mode():
        whole, part = head.refined(fused, large), head.refined(cut, small)
    assert part.shape[2:] == (-(-sides[0] // finest), -(-sides[1] // finest))
    rows, columns = ((side - stride - 16) // finest for side in sides)  # the border is padded
    torch.testing.assert_close(part[..., :rows, :columns], whole[..., :rows, :columns])


class TestLightDeepLab:
    CHANNELS = (*SMALL, 6)

    def heads(self) -> tuple[LightDeepLabHead, LightDeepLabHead]:
        """As published, and refined to stride 2, of the same weights."""
        torch.manual_seed(0)
        plain = LightDeepLabHead(self.CHANNELS, 5, width=16).eval()
        fine = LightDeepLabHead(
            self.CHANNELS, 5, width=16, skip_channels=8, finest=2, antialias=True
        ).eval()
        fine.aspp.load_state_dict(plain.aspp.state_dict())
        fine.coarse.load_state_dict(plain.classifier.state_dict())
        return plain, fine

    def maps(self, height: int, width: int) -> list[Tensor]:
        strides = (4, 8, 16, 16, 2)
        return [
            torch.randn(1, channels, -(-height // stride), -(-width // stride))
            for channels, stride in zip(self.CHANNELS, strides, strict=True)
        ]

    def test_its_mean_is_of_the_whole_picture(self) -> None:
        """By hand: two 1x1 branches, joined, and one 1x1 over both."""
        plain, _ = self.heads()
        deep = torch.randn(1, 24, 6, 8)
        (branch,), image, fuse = plain.aspp.branches, plain.aspp.image, plain.aspp.fuse
        with torch.inference_mode():
            mean = image(deep.mean(dim=(2, 3), keepdim=True)).expand(-1, -1, 6, 8)
            expected = plain.classifier(fuse(torch.cat([branch(deep), mean], dim=1)))
            scores = plain([deep] * 5)
        torch.testing.assert_close(scores, expected)

    @pytest.mark.parametrize("sides", [(64, 96), (65, 97), (66, 100)])
    def test_finer_maps_add_nothing_at_first(self, sides: tuple[int, int]) -> None:
        """Cell i of stride 16 lies at cell 8 i of stride 2, at every size."""
        plain, fine = self.heads()
        maps = self.maps(*sides)
        with torch.inference_mode():
            coarse, scores = plain(maps), fine(maps)
        assert scores.shape[2:] == maps[4].shape[2:]
        torch.testing.assert_close(scores[..., ::8, ::8], coarse)
        midway = (coarse[..., 0, 0] + coarse[..., 0, 1]) / 2
        torch.testing.assert_close(scores[..., 0, 4], midway)

    def test_they_are_learnt(self) -> None:
        _, fine = self.heads()
        maps = self.maps(64, 96)
        optimizer = torch.optim.AdamW(fine.parameters(), lr=1e-2)
        for _ in range(2):  # the first step moves the classifier alone: it was 0
            optimizer.zero_grad()
            fine(maps).square().sum().backward()
            optimizer.step()
        moved = [
            one.grad is not None and bool(one.grad.any()) for one in fine.laterals.parameters()
        ]
        assert all(moved)


class TestAntialias:
    def heads(self) -> tuple[PspHead, PspHead]:
        channels = (*SMALL, 6)
        torch.manual_seed(0)
        plain = PspHead(channels, 5, width=16, skip_channels=8, finest=2).eval()
        smooth = PspHead(channels, 5, width=16, skip_channels=8, finest=2, antialias=True).eval()
        smooth.load_state_dict(plain.state_dict())
        return plain, smooth

    def test_four_scores_that_alternate_do_not_show(self) -> None:
        plain, smooth = self.heads()
        alternating = torch.tensor([1.0, -1.0, -1.0, 1.0]).repeat(5)  # of each place
        for head in (plain, smooth):
            torch.nn.init.zeros_(head.classifier.weight)
            head.classifier.bias.data = 3 + alternating
        maps = [
            torch.randn(1, c, 32 // s, 32 // s)
            for c, s in zip((*SMALL, 6), (4, 8, 8, 8, 2), strict=True)
        ]
        with torch.inference_mode():
            assert plain(maps).std() > 0.9
            inner = smooth(maps)[..., 1:-1, 1:-1]  # the border has no partner
        torch.testing.assert_close(inner, torch.full_like(inner, 3.0))

    def test_scores_are_those_of_the_plain_head_filtered_and_the_mean_stays(self) -> None:
        plain, smooth = self.heads()
        sides = (30, 42)  # the picture's sides are no multiples of 8
        maps = [
            torch.randn(2, c, -(-2 * sides[0] // s), -(-2 * sides[1] // s))
            for c, s in zip((*SMALL, 6), (4, 8, 8, 8, 2), strict=True)
        ]
        with torch.inference_mode():
            raw, filtered = plain(maps).numpy(), smooth(maps).numpy()
        assert filtered.shape == (2, 5, *sides)
        for one, other in zip(raw.reshape(-1, *sides), filtered.reshape(-1, *sides), strict=True):
            kernel = np.array([0.25, 0.5, 0.25])
            wanted = cv2.sepFilter2D(one, -1, kernel, kernel, borderType=cv2.BORDER_REPLICATE)
            np.testing.assert_allclose(other, wanted, atol=1e-5)

    def test_is_for_scores_at_stride_2_alone(self) -> None:
        with pytest.raises(ValueError, match="set finest to 2"):
            PspHead(SMALL, 5, width=16, skip_channels=8, antialias=True)


class TestPsp:
    def test_forward_is_decode_of_pool(self) -> None:
        head = PspHead(SMALL, 5, width=16, skip_channels=8).eval()
        maps = pyramid(DILATED)
        pooled = head.pool(maps[3])
        assert [tuple(one.shape) for one in pooled] == [(2, 24, s, s) for s in POOL_BINS]
        assert torch.equal(head.decode(maps, pooled), head(maps))

    def test_pooled_maps_are_averages(self) -> None:
        deep = torch.randn(2, 24, 13, 17)
        for one, bins in zip(PspHead(SMALL, 5).pool(deep), POOL_BINS, strict=True):
            assert torch.allclose(one, F.adaptive_avg_pool2d(deep, bins), atol=1e-6)

    def test_corners_are_aligned_on_request(self) -> None:
        """With aligned corners the corner of the resized map is the corner of the small one."""
        head = PspHead(SMALL, 5, align_corners=True).eval()
        deep = torch.randn(1, 24, 13, 17)
        pooled = head.pool(deep)
        context = head.pooling(deep, pooled)  # (1, 48, 13, 17)
        expected = head.pooling.branches[3](pooled[3])[0, :, 5, 0]
        assert torch.allclose(context[0, -6:, 12, 0], expected, atol=1e-6)
        head.pooling.align_corners = False
        other = head.pooling(deep, pooled)
        assert torch.allclose(other[:, :30], context[:, :30], atol=1e-6)
        assert not torch.allclose(other, context)


class TestOcr:
    """SPEC 7.6 and the formulas of SPEC 2.2."""

    def test_weights_of_a_class_sum_to_one(self) -> None:
        """Pixel features that are one-hot over places make the weights themselves visible."""
        head = OcrHead(SMALL, 5, width=16)
        places = torch.eye(12).reshape(1, 12, 3, 4)
        scores = torch.randn(1, 5, 3, 4) * 4
        weights = head.gather(places, scores)  # (1, 12, 5)
        assert torch.allclose(weights.sum(1), torch.ones(1, 5), atol=1e-6)
        assert torch.allclose(weights[0].T, scores.flatten(2).softmax(2)[0], atol=1e-6)

    def test_constant_features_give_that_constant(self) -> None:
        head = OcrHead(SMALL, 5, width=16)
        constant = torch.randn(2, 16)
        pixels = constant[:, :, None, None].expand(2, 16, 13, 17)
        for size in [(13, 17), (26, 33)]:
            regions = head.gather(pixels, torch.randn(2, 5, *size) * 9)
            assert regions.shape == (2, 16, 5)
            assert torch.allclose(regions, constant[:, :, None].expand(2, 16, 5), atol=1e-5)

    def test_attention_by_the_formula(self) -> None:
        torch.manual_seed(0)
        head = OcrHead(SMALL, 3, width=16, key_width=8).eval()
        pixels, regions = torch.randn(1, 16, 2, 3), torch.randn(1, 16, 3)
        column = regions[..., None]
        query, key = head.query(pixels)[0], head.key(column)[0, :, :, 0]
        value = head.value(column)[0, :, :, 0]  # (8, 3)
        taken = torch.zeros(1, 8, 2, 3)
        for y in range(2):
            for x in range(3):
                weights = (query[:, y, x] @ key / 8**0.5).softmax(0)  # (3,)
                taken[0, :, y, x] = value @ weights
        assert torch.allclose(head.attend(pixels, regions), head.context(taken), atol=1e-6)

    def test_order_of_the_regions_does_not_matter_to_pixels(self) -> None:
        head = OcrHead(SMALL, 5, width=16, key_width=8).eval()
        pixels, regions = torch.randn(2, 16, 6, 7), torch.randn(2, 16, 5)
        context = head.attend(pixels, regions)
        assert context.shape == (2, 16, 6, 7)
        assert torch.allclose(head.attend(pixels, regions.flip(2)), context, atol=1e-5)

    def test_forward_is_its_steps(self) -> None:
        head = OcrHead(SMALL, 5, width=16, key_width=8).eval()
        maps = pyramid(DILATED)
        pixels, regions = head.pixels(maps[3]), head.regions(maps[2])
        logits = head.classify(pixels, head.attend(pixels, head.gather(pixels, regions)))
        assert torch.equal(head(maps), logits)
        assert torch.equal(head.scores(maps)[1], regions)

    def test_convolutions_have_a_bias_as_published(self) -> None:
        for module in OcrHead(SMALL, 5, width=16).modules():
            assert not isinstance(module, nn.Conv2d) or module.bias is not None


@pytest.mark.parametrize(("output_stride", "rates"), [(8, [12, 24, 36]), (16, [6, 12, 18])])
def test_deeplab_dilates_by_the_output_stride(output_stride: int, rates: list[int]) -> None:
    head = DeepLabHead(SMALL, 5, width=16, output_stride=output_stride)
    assert [branch[0].dilation[0] for branch in head.aspp.branches] == [1, *rates]


def test_shapes_of_spec_7_at_480x853() -> None:
    """N = 3 supports: four frames through the network, regions and scores for 124 classes."""
    with torch.device("meta"):
        backbone = BACKBONES["resnet101-deep"]().eval()
        psp, ocr = PspHead(RESNET101, 124, width=512).eval(), OcrHead(RESNET101, 124).eval()
        maps = backbone(torch.zeros(4, 3, 480, 853))
        assert maps[2].shape == (4, 1024, 60, 107)
        assert maps[3].shape == (4, 2048, 60, 107)
        assert [tuple(one.shape) for one in psp.pool(maps[3])] == [
            (4, 2048, s, s) for s in POOL_BINS
        ]
        assert psp.pooling.branches[3](psp.pool(maps[3])[3]).shape == (4, 512, 6, 6)
        assert psp(maps).shape == (4, 124, 60, 107)
        assert ocr.gather(ocr.pixels(maps[3]), ocr.regions(maps[2])).shape == (4, 512, 124)
        assert ocr(maps).shape == (4, 124, 60, 107)


def test_head_names_of_the_bundled_weights() -> None:
    network = build("perframe", {"classes": 2, "skip_channels": 8, "output_stride": 16})
    names = network.state_dict().keys()
    wanted = {
        "head.pooling.branches.3.1.running_var",
        "head.fuse.0.weight",
        "head.reduce.0.weight",
        "head.laterals.1.0.weight",
        "head.refine.0.0.weight",
        "head.classifier.bias",
        "auxiliary.0.0.weight",
        "auxiliary.2.bias",
    }
    assert wanted <= names


class TinyBackbone(nn.Module):
    """Four convolutions, so that an export is an export of the head."""

    channels = SMALL

    def __init__(self, *, output_stride: int) -> None:
        super().__init__()
        inputs, strides = (
            (3, *SMALL),
            (4, 2, output_stride // 16 or 1, 2 if output_stride > 8 else 1),
        )
        self.layers = nn.ModuleList(
            nn.Conv2d(inputs[i], inputs[i + 1], 5, strides[i], 2) for i in range(4)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        maps = []
        for layer in self.layers:
            x = layer(x)
            maps.append(x)
        return tuple(maps)


def awake(network: nn.Module) -> nn.Module:
    """Batch norms take the statistics of noise, so that untrained scores differ between places."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        network.train().step(torch.randn(4, 3, 96, 96))
    return network.eval()


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [
        {"head": "ocr", "width": 16, "key_width": 8},
        {"head": "ocr", "width": 16, "key_width": 8, "skip_channels": 8},
        {"head": "upernet", "width": 16, "output_stride": 32},
        {"head": "deeplab", "width": 16},
    ],
    ids=lambda config: config["head"],
)
def test_onnx_answers_as_torch_does(
    config: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The PSP head is exported in test_export.py."""
    monkeypatch.setitem(BACKBONES, "tiny", TinyBackbone)
    torch.manual_seed(0)
    network = awake(build("perframe", {"classes": 11, "backbone": "tiny", **config}))
    weights, path = tmp_path / "x.safetensors", tmp_path / "x.onnx"
    metadata = metadata_of(
        arch="perframe",
        config=config_of(network),
        labels=load_labels("camvid"),
        preprocess=Preprocess(short_side=96),
        training={},
    )
    save_checkpoint(weights, network.state_dict(), metadata)
    clips = [np.random.default_rng(0).standard_normal((1, 3, 97, 131), dtype=np.float32)]
    parity = export_onnx(read_description(weights), path, half_storage=False, clips=clips)
    with torch.inference_mode():
        logits = network(torch.from_numpy(clips[0]))[0].logits
    assert logits.std(dim=(2, 3)).max() > 0.01, "scores differ from place to place"
    assert parity.max_abs_difference < 1e-4
    assert parity.argmax_agreement >= 0.999
