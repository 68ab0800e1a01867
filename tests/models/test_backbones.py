"""Backbones: sizes of the papers, what is dilated how, any picture size, the windows of Swin."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from vidparse import export
from vidparse.models.backbones import BACKBONES, Swin
from vidparse.models.backbones.swin import (
    SwinBlock,
    from_windows,
    relative_positions,
    shift_mask,
    to_windows,
)
from vidparse.models.network import FrameNetwork, Outputs, State

tiny_swin = partial(Swin, 8, (2, 2, 2, 2), (1, 2, 2, 4))


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def make(name: str, **options) -> nn.Module:
    """Without memory for its weights; right for counts and shapes only."""
    with torch.device("meta"):
        return BACKBONES[name](**options).eval()


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("resnet101-deep", 42.624),  # SPEC 2.1
        ("resnet50-deep", 23.632),
        ("resnet101", 42.500),  # torchvision's, without its classifier
        ("resnet50", 23.508),
        ("resnet18", 11.177),
        ("efficientnet-lite0", 4.652 - 1.281 - 0.41216),  # less its classifier and last 1x1
        ("efficientnet-lite2", 6.092 - 1.281 - 0.45312),
    ],
)
def test_backbones_have_their_published_size(name: str, millions: float) -> None:
    assert parameters(make(name)) / 1e6 == pytest.approx(millions, abs=5e-4)


@pytest.mark.parametrize(
    ("name", "total", "classifier"),
    [
        ("swin-t", 28_288_354, 768_000 + 1000),
        ("swin-s", 49_606_258, 768_000 + 1000),
        ("swin-b", 87_768_224, 1_024_000 + 1000),
        ("swin-l", 196_532_476, 1_536_000 + 1000),
    ],
)
def test_swins_have_their_published_size(name: str, total: int, classifier: int) -> None:
    """The published networks have one norm at the end; these have one for each map."""
    network = make(name, output_stride=32)
    norms = sum(2 * channels for channels in network.channels[:3])
    assert parameters(network) == total - classifier + norms


@pytest.mark.parametrize(
    ("name", "output_stride", "sides"),
    [
        ("resnet101-deep", 8, [(120, 214), (60, 107), (60, 107), (60, 107)]),  # SPEC 7
        ("resnet101-deep", 16, [(120, 214), (60, 107), (30, 54), (30, 54)]),
        ("resnet50", 32, [(120, 214), (60, 107), (30, 54), (15, 27)]),
        ("mobilenetv2", 8, [(120, 214), (60, 107), (60, 107), (60, 107)]),
        ("efficientnet-lite0", 16, [(120, 214), (60, 107), (30, 54), (30, 54)]),
        ("efficientnet-lite2", 32, [(120, 214), (60, 107), (30, 54), (15, 27)]),
        ("swin-t", 32, [(120, 214), (60, 107), (30, 54), (15, 27)]),
    ],
)
def test_maps_of_a_480x853_picture(name: str, output_stride: int, sides: list) -> None:
    network = make(name, output_stride=output_stride)
    maps = network(torch.zeros(1, 3, 480, 853, device="meta"))
    assert [tuple(one.shape[2:]) for one in maps] == sides
    assert tuple(one.shape[1] for one in maps) == network.channels


def dilations(network: nn.Module, layer: str) -> list[list[int]]:
    """Of the 3x3 convolutions of each block of a layer."""
    return [
        [
            module.dilation[0]
            for module in block.modules()
            if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)
        ]
        for block in network.get_submodule(layer)
    ]


@pytest.mark.parametrize(
    ("name", "options", "layer3", "layer4"),
    [
        ("resnet50-deep", {}, [[1]] + [[2]] * 5, [[2], [4], [4]]),
        ("resnet50-deep", {"output_stride": 16}, [[1]] * 6, [[1], [2], [2]]),
        ("resnet50-deep", {"output_stride": 32}, [[1]] * 6, [[1]] * 3),
        ("resnet50-deep", {"dilation_rule": "all"}, [[2]] * 6, [[4]] * 3),
        ("resnet18", {}, [[1, 2]] * 2, [[1, 4]] * 2),
        ("resnet18", {"dilation_rule": "half"}, [[1, 2], [2, 2]], [[2, 4], [4, 4]]),
        ("resnet18", {"output_stride": 32}, [[1, 1]] * 2, [[1, 1]] * 2),
    ],
)
def test_which_convolution_is_dilated(name: str, options: dict, layer3: list, layer4: list) -> None:
    network = make(name, **options)
    assert dilations(network, "layer1") == [[1] * len(layer3[0])] * len(network.layer1)
    assert dilations(network, "layer2") == [[1] * len(layer3[0])] * len(network.layer2)
    assert dilations(network, "layer3") == layer3
    assert dilations(network, "layer4") == layer4
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
            assert module.padding == module.dilation, "maps keep their size"


@pytest.mark.parametrize("name", ["resnet18", "resnet50-deep"])
def test_half_dilation_computes_the_strided_function_at_more_places(name: str) -> None:
    torch.manual_seed(0)
    strided = BACKBONES[name](output_stride=32).eval()
    dilated = BACKBONES[name](output_stride=8, dilation_rule="half").eval()
    dilated.load_state_dict(strided.state_dict())
    x = torch.randn(1, 3, 128, 128)
    with torch.inference_mode():
        coarse, fine = strided(x), dilated(x)
    assert torch.allclose(fine[2][..., ::2, ::2], coarse[2], atol=1e-4)
    assert torch.allclose(fine[3][..., ::4, ::4], coarse[3], atol=1e-4)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("resnet50", {"conv1.weight": (64, 3, 7, 7), "layer3.5.bn3.running_var": (1024,)}),
        ("resnet50-deep", {"conv1.weight": (64, 3, 3, 3), "conv3.weight": (128, 64, 3, 3)}),
        ("resnet101-deep", {"bn3.bias": (128,), "layer1.0.downsample.0.weight": (256, 128, 1, 1)}),
        ("swin-t", {"patch_embed.proj.weight": (96, 3, 4, 4), "patch_embed.norm.bias": (96,)}),
        ("swin-t", {"layers.2.blocks.5.attn.relative_position_bias_table": (169, 12)}),
        ("swin-t", {"layers.1.blocks.0.attn.qkv.weight": (576, 192), "norm3.weight": (768,)}),
        ("swin-s", {"layers.2.blocks.17.mlp.fc2.weight": (384, 1536)}),
        ("swin-l", {"layers.2.downsample.reduction.weight": (1536, 3072)}),
        ("swin-l", {"layers.0.downsample.norm.weight": (768,)}),
        ("swin-l-window12", {"layers.3.blocks.1.attn.relative_position_bias_table": (529, 48)}),
    ],
)
def test_names_and_shapes_are_those_of_the_public_weights(name: str, known: dict) -> None:
    tensors = make(name, output_stride=32).state_dict()
    assert {key: tuple(tensors[key].shape) for key in known} == known


@pytest.mark.parametrize(
    ("name", "options", "word"),
    [
        ("swin-t", {"output_stride": 8}, "must be 32"),
        ("resnet18", {"output_stride": 4}, "8, 16 or 32"),
        ("resnet18", {"dilation_rule": "most"}, "half or all"),
    ],
)
def test_wrong_options(name: str, options: dict, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        make(name, **options)


class TestSwin:
    @pytest.mark.parametrize("size", [(32, 32), (33, 47), (97, 131), (224, 224)])
    def test_any_size(self, size: tuple[int, int]) -> None:
        network = tiny_swin().eval()
        with torch.inference_mode():
            maps = network(torch.randn(2, 3, *size))
        for one, channels, stride in zip(maps, (8, 16, 32, 64), (4, 8, 16, 32), strict=True):
            assert one.shape == (2, channels, -(-size[0] // stride), -(-size[1] // stride))
            assert one.isfinite().all()

    def test_windows_round_trip(self) -> None:
        x = torch.arange(2 * 6 * 9 * 4.0).reshape(2, 6, 9, 4)
        windows = to_windows(x, 2, 3, 3)
        assert windows.shape == (12, 9, 4)
        assert torch.equal(windows[4].reshape(3, 3, 4), x[0, 3:, 3:6])
        assert torch.equal(from_windows(windows, 2, 3, 3), x)

    def test_relative_positions_of_a_window_of_two(self) -> None:
        index = relative_positions(2)
        assert index.tolist() == [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]

    @pytest.mark.parametrize("shift", [0, 2])
    def test_tokens_attend_to_their_window_only(self, shift: int) -> None:
        """The gradient of one token reaches the tokens of its (shifted) window and no other."""
        torch.manual_seed(0)
        block = SwinBlock(8, 2, window=4, shift=shift, drop_path=0.0)
        x = torch.randn(1, 12, 12, 8, requires_grad=True)
        for row, column in [(0, 0), (1, 11), (5, 6), (11, 3)]:
            x.grad = None
            block(x, shift_mask(x, 4))[0, row, column].sum().backward()
            reached = x.grad[0].abs().amax(2) > 1e-20
            cell = torch.arange(12)
            rows = (cell + 4 - shift) // 4 == (row + 4 - shift) // 4
            columns = (cell + 4 - shift) // 4 == (column + 4 - shift) // 4
            assert torch.equal(reached, rows[:, None] & columns[None])

    def test_one_window_is_full_attention(self) -> None:
        torch.manual_seed(0)
        attention = SwinBlock(8, 2, window=4, shift=0, drop_path=0.0).attn
        x = torch.randn(1, 16, 8)
        query, key, value = attention.qkv(x).reshape(16, 3, 2, 4).permute(1, 2, 0, 3)
        table = attention.relative_position_bias_table
        expected = torch.empty(16, 2, 4)
        for head in range(2):
            scores = query[head] @ key[head].T / 2
            for i in range(16):
                for j in range(16):
                    down, right = i // 4 - j // 4 + 3, i % 4 - j % 4 + 3
                    scores[i, j] += table[down * 7 + right, head]
            expected[:, head] = scores.softmax(1) @ value[head]
        assert torch.allclose(attention(x, None)[0], attention.proj(expected.flatten(1)), atol=1e-6)

    def test_merging_takes_neighbours_in_the_published_order(self) -> None:
        merging = tiny_swin().layers[0].downsample
        seen: list[Tensor] = []
        merging.norm.register_forward_hook(lambda module, given, out: seen.append(given[0]))
        x = torch.randn(1, 5, 4, 8)
        assert merging(x).shape == (1, 3, 2, 16)
        expected = torch.cat([x[:, 0, 2], x[:, 1, 2], x[:, 0, 3], x[:, 1, 3]], dim=1)
        assert torch.equal(seen[0][:, 0, 1], expected)
        assert not seen[0][:, 2, 0, 8:16].any(), "the row below an odd side is zero"

    def test_skipped_branches_are_identities(self) -> None:
        torch.manual_seed(0)
        block = SwinBlock(8, 2, window=4, shift=0, drop_path=0.5).train()
        x = torch.randn(64, 4, 4, 8)
        same = (block(x, shift_mask(x, 4)) == x).flatten(1).all(1)
        assert 5 <= same.sum() <= 30, "about a quarter of the pictures skip both"
        assert torch.equal(block.eval()(x, shift_mask(x, 4)), block(x, shift_mask(x, 4)))

    @pytest.mark.slow
    def test_onnx_answers_as_torch_does(self, tmp_path: Path) -> None:
        """Padding, shifted windows and merging, at sizes the exporter did not see."""
        torch.manual_seed(0)
        network = FirstStage().eval()
        path = tmp_path / "stage.onnx"
        onnx.save(export.to_onnx(network), str(path))
        rng = np.random.default_rng(0)
        clips = [rng.standard_normal((1, 3, *hw), dtype=np.float32) for hw in [(97, 131), (32, 90)]]
        parity = export.check_parity(network, path, clips)
        assert parity.max_abs_difference < 1e-4
        assert parity.argmax_agreement >= 0.999


class FirstStage(FrameNetwork):
    """What is special about Swin to an exporter; a whole one takes it a minute."""

    def __init__(self) -> None:
        super().__init__(None)
        swin = tiny_swin()
        self.patches, self.stage = swin.patch_embed, swin.layers[0]

    def step(self, picture: Tensor, state: State = ()) -> tuple[Outputs, State]:
        x = self.stage.downsample(self.stage(self.patches(picture)))
        return Outputs(x.permute(0, 3, 1, 2)), state
