"""Networks: parameter counts of the papers, sizes for odd inputs, exact pooling."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from vidparse.errors import ModelError
from vidparse.hub import DEFAULT_MODEL, resolve
from vidparse.labels import load_labels
from vidparse.models.backbones import BACKBONES
from vidparse.models.checkpoint import load_network, read_description
from vidparse.models.layers import pool_to
from vidparse.models.zoo import build, config_of, settings_for
from vidparse.requests.training import available_recipes
from vidparse.training.losses import cross_entropy
from vidparse.training.recipe_file import load_recipe
from vidparse.training.weights import Start, load_matching


def parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("config", "millions"),
    [
        # SPEC 2.7: the teacher and the students of ETC, 19 classes
        (
            {
                "classes": 19,
                "backbone": "resnet101-deep",
                "dilation_rule": "all",
                "width": 512,
                "align_corners": True,
                "auxiliary": True,
            },
            68.07,
        ),
        ({"classes": 19, "backbone": "resnet18", "align_corners": True}, 13.80),
        ({"classes": 19}, 3.39),  # MobileNetV2; paper: 3.2 M, head not published
        # SPEC 2.1 and 2.2: backbone and head of the image models of VSPW
        ({"backbone": "resnet101-deep", "width": 512}, 42.624 + 27.921 - 4.783),
        (
            {"backbone": "resnet101-deep", "width": 512, "head": "ocr", "key_width": 256},
            42.624 + 15.473,
        ),
        (
            {
                "backbone": "resnet101-deep",
                "output_stride": 32,
                "head": "upernet",
                "width": 512,
            },
            42.624 + 40.577,
        ),
        ({"backbone": "resnet101-deep", "head": "deeplab"}, 59.49),
        # SSLTM, supplementary (SPEC 4.2): Swin-S
        (
            {
                "backbone": "swin-s",
                "output_stride": 32,
                "head": "ocr",
                "width": 512,
                "key_width": 256,
            },
            55.46,
        ),
        ({"backbone": "swin-s", "output_stride": 32, "head": "upernet"}, 58.09),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else None,
)
def test_networks_have_their_published_size(config: dict, millions: float) -> None:
    with torch.device("meta"):
        network = build("perframe", {"classes": 124, "auxiliary": False, **config})
    assert parameters(network) / 1e6 == pytest.approx(millions, abs=0.01)


@pytest.mark.parametrize(
    ("config", "stride"),
    [
        ({"backbone": "mobilenetv2", "output_stride": 8}, 8),
        ({"backbone": "mobilenetv2", "output_stride": 16}, 16),
        ({"backbone": "mobilenetv2", "output_stride": 32}, 32),
        ({"backbone": "mobilenetv2", "output_stride": 16, "skip_channels": 32}, 4),
        ({"output_stride": 16, "skip_channels": 32, "finest": 2}, 2),
        ({"head": "ocr", "width": 32, "output_stride": 16, "skip_channels": 16}, 4),
        ({"head": "ocr", "width": 32, "output_stride": 16, "skip_channels": 16, "finest": 2}, 2),
        ({"output_stride": 16, "skip_channels": 8, "finest": 2, "antialias": True}, 2),
        ({"backbone": "resnet18", "output_stride": 8}, 8),
        ({"backbone": "resnet18", "output_stride": 16, "skip_channels": 32}, 4),
        ({"backbone": "resnet18", "head": "ocr", "width": 32, "key_width": 16}, 8),
        ({"head": "ocr", "output_stride": 32, "width": 32, "key_width": 16}, 32),
        ({"backbone": "resnet18", "head": "upernet", "width": 32, "output_stride": 32}, 4),
        ({"head": "deeplab", "width": 32, "output_stride": 16}, 4),
        ({"head": "deeplab-light", "width": 32, "output_stride": 16}, 16),
        ({"head": "deeplab-light", "output_stride": 16, "skip_channels": 8, "finest": 2}, 2),
    ],
)
def test_score_maps_have_the_promised_stride(config: dict, stride: int) -> None:
    network = build("perframe", {"classes": 5, **config}).eval()
    with torch.inference_mode():
        outputs, state = network.step(torch.zeros(1, 3, 97, 131))
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


@pytest.mark.parametrize(
    "config",
    [
        *({"backbone": "resnet18", "head": head} for head in ("psp", "ocr", "upernet", "deeplab")),
        *({"head": head, "skip_channels": 8, "finest": 2} for head in ("psp", "ocr")),
    ],
    ids=lambda config: "-".join(map(str, config.values())),
)
def test_a_training_step_moves_every_weight(config: dict) -> None:
    torch.manual_seed(0)
    config = {"classes": 4, "output_stride": 16, "width": 16, **config}
    network = build("perframe", config).train()
    before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    outputs, _ = network.step(torch.randn(2, 3, 64, 96))
    target = torch.randint(0, 4, (2, 64, 96))
    assert outputs.auxiliary is not None and outputs.auxiliary.shape == (2, 4, 4, 6)
    loss = sum(cross_entropy(scores, target, ignore=255) for scores in outputs[:2])
    loss.backward()
    optimizer.step()
    still = [k for k, weight in network.named_parameters() if torch.equal(weight, before[k])]
    assert still == []


@pytest.mark.parametrize("head", ["psp", "ocr"])
def test_no_auxiliary_output_unless_wanted(head: str) -> None:
    network = build("perframe", {"classes": 4, "head": head, "auxiliary": False}).train()
    outputs, _ = network.step(torch.randn(2, 3, 64, 64))
    assert outputs.auxiliary is None
    assert not any(name.startswith("auxiliary.") for name in network.state_dict())


def test_bundled_weights_fit_strictly() -> None:
    description = read_description(resolve(DEFAULT_MODEL).weights)
    network = load_network(description)  # refuses names that are missing or unknown
    assert (network.config.head, network.config.finest) == ("ocr", 2)
    with torch.device("meta"):
        trained = build(description.arch, description.config)
    assert trained.config.auxiliary, "the settings of its training are still understood"


@pytest.mark.parametrize("name", available_recipes())
def test_recipes_build_networks(name: str) -> None:
    recipe = load_recipe(name)
    with torch.device("meta"):
        settings = {
            **settings_for(recipe.network.arch, load_labels("camvid")),
            **recipe.network.config,
        }
        assert parameters(build(recipe.network.arch, settings)) > 7e5


def test_backbone_weights_start_a_network_by_name() -> None:
    public = BACKBONES["resnet18"](output_stride=32).state_dict()
    network = build("perframe", {"classes": 3, "backbone": "resnet18", "head": "deeplab"})
    classifier = {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}
    assert load_matching(network, Start("", public | classifier)).tensors == len(public)
    assert torch.equal(network.backbone.layer4[1].conv2.weight, public["layer4.1.conv2.weight"])


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
        ("perframe", {"classes": 3, "backbone": "resnet"}, "no backbone 'resnet'; known are mob"),
        ("perframe", {"classes": 3, "head": "pps"}, "no head 'pps'; known are psp, ocr"),
        ("perframe", {"classes": 3, "head": "upernet", "skip_channels": 8}, "no use for skip_ch"),
        (
            "perframe",
            {"classes": 3, "skip_channels": 8, "finest": 3},
            "finest must be 2 or 4, not 3",
        ),
        ("perframe", {"classes": 3, "finest": 2}, "finest 2: needs skip_channels above 0"),
        ("perframe", {"classes": 3, "backbone": "resnet18", "finest": 2}, "no map of stride 2"),
        ("perframe", {"classes": 3, "head": "ocr", "auxiliary_width": 8}, "no use for auxiliary"),
        ("perframe", {"classes": 3, "key_width": 64}, "head 'psp' has no use for key_width"),
        ("perframe", {"classes": 3, "dilation_rule": "all"}, "no use for dilation_rule"),
        ("perframe", {"classes": 3, "backbone": "swin-t"}, "output_stride of Swin must be 32"),
        ("perframe", {"classes": 0}, "classes is 0; it must be 1 or more"),
        ("perframe", {"classes": 3, "width": -3}, "width is -3; it must be 1 or more"),
        ("perframe", {"classes": 3, "skip_channels": -1}, "must be 0 or more"),
        ("perframe", {"classes": 3, "width": "a"}, "width is 'a', not a whole number"),
        ("perframe", {"classes": 3, "width": True}, "width is True, not a whole number"),
        ("perframe", {"classes": 3, "backbone": 3}, "backbone is 3, not a word"),
        ("perframe", {"classes": 3, "auxiliary": 1}, "auxiliary is 1, not true or false"),
        ("tcb-ocr", {"classes": 3, "dilations": 3}, "dilations is 3, not a list"),
        ("tcb-ocr", {"classes": 3, "dilations": [3, 0]}, "dilations is .3, 0.; it must be 1"),
        ("tcb-ocr", {"classes": 3, "memory_decay": "x"}, "memory_decay is 'x', not a number"),
    ],
)
def test_wrong_requests_are_model_errors(arch: str, config: dict, word: str) -> None:
    with pytest.raises(ModelError, match=word):
        build(arch, config)
