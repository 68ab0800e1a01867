"""Networks: parameter counts of the papers, sizes for odd inputs, exact pooling."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from vidparse.errors import ModelError
from vidparse.models.layers import pool_to
from vidparse.models.zoo import build, config_of


def parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_resnet18_psp_has_the_measured_size() -> None:
    network = build("perframe", {"classes": 19, "backbone": "resnet18", "auxiliary": False})
    assert parameters(network) / 1e6 == pytest.approx(13.80, abs=0.01)  # SPEC 2.7: 13.80 M


def test_mobilenetv2_psp_is_near_the_published_size() -> None:
    network = build("perframe", {"classes": 19, "auxiliary": False})
    assert parameters(network) / 1e6 == pytest.approx(3.39, abs=0.02)  # paper: 3.2 M


@pytest.mark.parametrize(
    ("config", "stride"),
    [
        ({"backbone": "mobilenetv2", "output_stride": 8}, 8),
        ({"backbone": "mobilenetv2", "output_stride": 16}, 16),
        ({"backbone": "mobilenetv2", "output_stride": 32}, 32),
        ({"backbone": "mobilenetv2", "output_stride": 16, "skip_channels": 32}, 4),
        ({"backbone": "resnet18", "output_stride": 8}, 8),
        ({"backbone": "resnet18", "output_stride": 16, "skip_channels": 32}, 4),
    ],
)
def test_score_maps_have_the_promised_stride(config: dict, stride: int) -> None:
    network = build("perframe", {"classes": 5, **config}).eval()
    with torch.inference_mode():
        outputs, state = network(torch.zeros(1, 3, 97, 131))
    assert outputs.logits.shape == (1, 5, -(-97 // stride), -(-131 // stride))
    assert outputs.auxiliary is None and state == ()


def test_dilation_instead_of_stride_keeps_the_function_on_coarse_grids() -> None:
    """A dilated network sampled at the strided positions equals the strided one (no padding)."""
    torch.manual_seed(0)
    strided = build("perframe", {"classes": 3, "output_stride": 32, "auxiliary": False}).eval()
    dilated = build("perframe", {"classes": 3, "output_stride": 16, "auxiliary": False}).eval()
    dilated.load_state_dict(strided.state_dict())
    x = torch.randn(1, 3, 256, 256)
    with torch.inference_mode():
        coarse = strided.backbone(x)[3]
        fine = dilated.backbone(x)[3]
    assert fine.shape[-1] == 2 * coarse.shape[-1]
    assert torch.allclose(fine[..., ::2, ::2], coarse, atol=1e-5)


def test_training_mode_has_an_auxiliary_output() -> None:
    network = build("perframe", {"classes": 4}).train()
    outputs, _ = network(torch.randn(2, 3, 64, 64))
    assert outputs.auxiliary is not None and outputs.auxiliary.shape[:2] == (2, 4)


@pytest.mark.parametrize("size", [(6, 6), (23, 40), (7, 11), (60, 107)])
@pytest.mark.parametrize("bins", [1, 2, 3, 6])
def test_pooling_equals_torch(size: tuple[int, int], bins: int) -> None:
    x = torch.randn(2, 3, *size)
    assert torch.allclose(pool_to(x, bins), F.adaptive_avg_pool2d(x, bins), atol=1e-6)


def test_parameter_names_are_torchvisions() -> None:
    names = build("perframe", {"classes": 2}).backbone.state_dict().keys()
    assert "features.0.0.weight" in names
    assert "features.1.conv.0.1.running_mean" in names
    assert "features.17.conv.3.bias" in names
    names = build("perframe", {"classes": 2, "backbone": "resnet18"}).backbone.state_dict().keys()
    assert {"conv1.weight", "layer2.0.downsample.1.running_var", "layer4.1.bn2.bias"} <= set(names)


def test_config_travels() -> None:
    network = build("perframe", {"classes": 7, "skip_channels": 16, "output_stride": 16})
    again = build("perframe", config_of(network))
    assert again.config == network.config


@pytest.mark.parametrize(
    ("arch", "config", "word"),
    [
        ("perfame", {}, "unknown"),
        ("perframe", {"classes": 3, "colour": 1}, "no such setting colour"),
        ("perframe", {"classes": 3, "output_stride": 5}, "output_stride"),
        ("perframe", {}, "classes"),
    ],
)
def test_wrong_requests_are_model_errors(arch: str, config: dict, word: str) -> None:
    with pytest.raises(ModelError, match=word):
        build(arch, config)
