"""Clip-PanoFCN's network: sizes, the parts of its pyramid and heads, and its convolutions."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from vidparse.errors import ModelError
from vidparse.labels import load_labels
from vidparse.models.fpn import Fpn, SemanticFpn
from vidparse.models.network import KernelMaps, VideoNetwork
from vidparse.models.panofcn import (
    RARE,
    DeformableConv,
    PanoFcn,
    PanoFcnConfig,
    Tower,
    deform_conv,
    with_coordinates,
)
from vidparse.models.zoo import build, config_of, settings_for

SMALL = {"backbone": "mobilenetv2", "width": 16, "kernel_width": 24, "feature_width": 8}


def small(**settings) -> VideoNetwork:
    torch.manual_seed(0)
    return build("clip-panofcn", {"things": 3, "stuff": 8, **SMALL, **settings}).eval()


def maps_of(network: VideoNetwork, clip: torch.Tensor) -> KernelMaps:
    with torch.inference_mode():
        maps, state = network(clip, ())
    assert isinstance(maps, KernelMaps) and state == ()
    return maps


def test_maps_of_a_clip_that_is_no_multiple_of_32() -> None:
    maps = maps_of(small(), torch.randn(2, 3, 3, 100, 130))
    sides = [(16, 20), (8, 10), (4, 5), (2, 3), (1, 2)]  # of 128 x 160
    assert [tuple(one.shape) for one in maps.centres] == [(6, 3, *side) for side in sides]
    assert [tuple(one.shape) for one in maps.regions] == [(6, 9, *side) for side in sides]
    assert [tuple(one.shape) for one in maps.kernels] == [(6, 24, *side) for side in sides]
    assert maps.features.shape == (6, 8, 32, 40)
    for weight, bias in (maps.thing_embedding, maps.stuff_embedding):
        assert (weight.shape, bias.shape) == ((8, 24), (8,))


def test_outputs_have_the_names_of_an_export() -> None:
    named = maps_of(small(), torch.randn(1, 1, 3, 64, 64)).outputs()
    levels = [f"{name}{i}" for name in ("centres", "regions", "kernels") for i in range(3, 8)]
    rest = ["features", "thing_weight", "thing_bias", "stuff_weight", "stuff_bias"]
    assert list(named) == levels + rest

    # Pooled kernels stand in place of the regions.
    named = maps_of(small(pooled=True), torch.randn(1, 1, 3, 64, 64)).outputs()
    assert list(named) == [*levels[:5], *levels[10:], "pooled", *rest]


def test_pooled_kernels_are_means_by_probability() -> None:
    """Of the cells that lie in the frame, whatever was padded; each region's own one is added."""
    network = small(pooled=True)
    with torch.no_grad():
        own = network.region_kernels.normal_()
    maps = maps_of(network, torch.randn(1, 2, 3, 100, 130))
    assert maps.pooled is not None and maps.pooled.shape == (2, 9, 24 + 2)
    sides = [(13, 17), (7, 9), (4, 5), (2, 3), (1, 2)]
    for t in range(2):
        for region in range(9):
            total, squares, vector = 0.0, 0.0, torch.zeros(24)
            for (rows, columns), logits, kernels in zip(
                sides, maps.regions, maps.kernels, strict=True
            ):
                for row in range(rows):
                    for column in range(columns):
                        chance = float(logits[t, region, row, column].sigmoid())
                        total, squares = total + chance, squares + chance**2
                        vector += chance * kernels[t, :, row, column]
            wanted = torch.cat([vector / total + own[region], torch.tensor([total, squares])])
            torch.testing.assert_close(maps.pooled[t, region], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("norm", "pooled"), [("group", False), ("batch", False), ("batch", True)])
def test_frames_are_independent_and_padding_is_black(norm: str, pooled: bool) -> None:
    """So a clip may have any length, and a picture may be padded before or inside."""
    network = small(norm=norm, pooled=pooled)
    assert network.any_window and network.window == 3
    clip = torch.randn(1, 3, 3, 60, 90)
    together = maps_of(network, clip).outputs()
    alone = [maps_of(network, clip[:, i : i + 1]).outputs() for i in range(3)]
    padded = maps_of(network, F.pad(clip, (0, 6, 0, 4))).outputs()
    for name, maps in together.items():
        torch.testing.assert_close(padded[name], maps)
        if not name.startswith(("thing", "stuff")):
            joined = torch.cat([one[name] for one in alone])
            torch.testing.assert_close(joined, maps, atol=1e-4, rtol=1e-4)


def test_published_size() -> None:
    """ResNet-50, FPN 256 and the heads of 58 things and 66 classes of stuff, by hand."""
    network = PanoFcn(PanoFcnConfig(things=58, stuff=66))
    conv = 256 * 256 * 9
    parts = {
        "backbone": 23_508_032,
        "fpn": (256 + 512 + 1024 + 2048) * 256 + 4 * 256 + 4 * (conv + 256) + 2 * (conv + 256),
        "semantic": 7 * (conv + 512),
        "encoder": 258 * 64 * 9 + 2 * 64 * 64 * 9 + 3 * 64,
        "positions": 3 * (conv + 512) + (58 + 67) * (256 * 9 + 1),
        "kernels": 258 * 256 * 9 + 2 * conv + 3 * 512 + conv + 256,
        "thing_embedding": 257 * 64,
        "stuff_embedding": 257 * 64,
    }
    for name, wanted in parts.items():
        part = network.get_submodule(name)
        assert sum(one.numel() for one in part.parameters()) == wanted, name
    assert {name.split(".")[0] for name in network.state_dict()} == set(parts)


def test_positions_start_rare_and_masks_empty() -> None:
    maps = maps_of(small(), torch.randn(1, 2, 3, 64, 64))
    for one in (*maps.centres, *maps.regions):
        assert abs(float(one.mean()) - RARE) < 0.2


def test_classes_come_from_the_labels() -> None:
    labels = load_labels("camvid")
    settings = settings_for("clip-panofcn", labels)
    assert settings == {"things": 3, "stuff": 8}
    assert config_of(build("clip-panofcn", {**settings, **SMALL}))["things"] == 3


def test_labels_without_things_are_refused() -> None:
    with pytest.raises(ModelError, match="things is 0; it must be 1 or more"):
        build("clip-panofcn", {"things": 0, "stuff": 11, **SMALL})


def test_things_alone_are_enough() -> None:
    maps = maps_of(small(stuff=0), torch.randn(1, 1, 3, 64, 64))
    assert {one.shape[1] for one in maps.regions} == {1}


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"norm": "layer"}, "no norm 'layer'"), ({"backbone": "vgg"}, "no backbone 'vgg'")],
)
def test_settings_that_do_not_exist_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        small(**settings)


def test_pyramid_adds_what_is_coarser() -> None:
    """With weights that only pass on, P2 is the sum of all four maps."""
    fpn = Fpn([1, 1, 1, 1], 1)
    for conv in (*fpn.lateral, *fpn.output):
        nn.init.dirac_(conv.weight)
    maps = [torch.full((1, 1, 32 >> i, 32 >> i), 10.0**i) for i in range(4)]
    with torch.no_grad():
        levels = fpn(maps)
        expected = fpn.p7(F.relu(fpn.p6(levels[3])))
    assert [float(one.mean()) for one in levels[:4]] == [1111, 1110, 1100, 1000]
    assert [one.shape[2] for one in levels] == [32, 16, 8, 4, 2, 1]
    torch.testing.assert_close(levels[5], expected)


def test_semantic_branches_double_bilinearly() -> None:
    semantic = SemanticFpn(1, 1, norm="none")
    for module in semantic.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.dirac_(module.weight)
    levels = [torch.rand(1, 1, 32 >> i, 48 >> i) for i in range(4)]
    expected = levels[0]
    for doublings in (1, 2, 3):
        x = levels[doublings]
        for _ in range(doublings):
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        expected = expected + x
    torch.testing.assert_close(semantic(levels), expected)
    convolutions = [len(branch) for branch in semantic.branches]
    assert convolutions == [1, 1, 2, 3]


def test_coordinates_are_rows_and_columns() -> None:
    x = with_coordinates(torch.zeros(2, 4, 3, 5))
    torch.testing.assert_close(x[1, 4], torch.linspace(-1, 1, 3)[:, None].expand(3, 5))
    torch.testing.assert_close(x[1, 5], torch.linspace(-1, 1, 5).expand(3, 5))
    assert with_coordinates(torch.zeros(1, 1, 1, 1)).flatten().tolist() == [0, -1, -1]


def test_levels_have_batch_norms_of_their_own_but_share_convolutions() -> None:
    assert len(Tower(4, 8, norm="batch", levels=5).norms[0]) == 5
    assert len(Tower(4, 8, norm="group", levels=5).norms[0]) == 1
    tower = Tower(4, 8, norm="batch", levels=2).train()
    tower(10 + torch.randn(2, 4, 6, 6), 1)
    seen = [int(norm.num_batches_tracked) for norms in tower.norms for norm in norms]
    assert seen == [0, 1] * 3


def by_definition(x, moved, shares, weight, bias):
    """Equation 1, tap by tap and pixel by pixel, with four neighbours read one by one."""
    batch, _, height, width = x.shape
    out = torch.zeros(batch, len(weight), height, width, dtype=x.dtype)
    for b in range(batch):
        for i in range(height):
            for j in range(width):
                total = bias.clone()
                for k in range(9):
                    y = i + k // 3 - 1 + float(moved[b, 2 * k, i, j])
                    at = j + k % 3 - 1 + float(moved[b, 2 * k + 1, i, j])
                    total += shares[b, k, i, j] * weight[:, :, k // 3, k % 3] @ read(x[b], y, at)
                out[b, :, i, j] = total
    return out


def read(x, y, at):
    top, left = int(y // 1), int(at // 1)
    value = torch.zeros(len(x), dtype=x.dtype)
    for row in (top, top + 1):
        for column in (left, left + 1):
            if 0 <= row < x.shape[1] and 0 <= column < x.shape[2]:
                value += (1 - abs(y - row)) * (1 - abs(at - column)) * x[:, row, column]
    return value


def deformable_case(height: int, width: int, spread: float):
    torch.manual_seed(1)
    x = torch.randn(2, 3, height, width, dtype=torch.float64)
    moved = spread * torch.randn(2, 18, height, width, dtype=torch.float64)
    shares = torch.rand(2, 9, height, width, dtype=torch.float64)
    weight = torch.randn(4, 3, 3, 3, dtype=torch.float64)
    return x, moved, shares, weight, torch.randn(4, dtype=torch.float64)


@pytest.mark.parametrize(("height", "width"), [(4, 5), (1, 3), (2, 1)])
def test_deformable_convolution_is_its_definition(height: int, width: int) -> None:
    case = deformable_case(height, width, spread=1.7)
    torch.testing.assert_close(deform_conv(*case), by_definition(*case))


def test_deformable_convolution_without_offsets_is_a_convolution() -> None:
    x, _, _, weight, bias = deformable_case(4, 5, spread=0)
    still, whole = torch.zeros(2, 18, 4, 5).double(), torch.ones(2, 9, 4, 5).double()
    expected = F.conv2d(x, weight, bias, padding=1)
    torch.testing.assert_close(deform_conv(x, still, whole, weight, bias), expected)
    fresh = DeformableConv(3, 4)
    y = torch.randn(1, 3, 5, 6)
    halved = F.conv2d(y, fresh.weight, padding=1) / 2
    torch.testing.assert_close(fresh(y), halved)


def test_deformable_convolution_has_the_right_gradients() -> None:
    inputs = [one.requires_grad_() for one in deformable_case(2, 3, spread=0.3)]
    assert torch.autograd.gradcheck(deform_conv, inputs, fast_mode=True)


def test_a_deformable_position_head_trains() -> None:
    network = small(deformable=True).train()
    maps, _ = network(torch.randn(1, 2, 3, 64, 64), ())
    sum(one.square().sum() for one in maps.outputs().values()).backward()
    missing = [name for name, one in network.named_parameters() if one.grad is None]
    assert not missing
