"""Checkpoints of PanopticFCN in detectron2 and of EfficientNet-Lite's port become ours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from vidparse.convert import convert, read_tensors
from vidparse.errors import ModelError
from vidparse.labels import load_labels
from vidparse.models.backbones import BACKBONES
from vidparse.models.checkpoint import load_network, read_description
from vidparse.models.network import VideoNetwork
from vidparse.models.zoo import build

# Our names -> those of the published code, written from that code and not from our table.
THEIRS = [
    (r"^backbone\.conv1\.", "backbone.bottom_up.stem.conv1."),
    (r"^backbone\.bn1\.", "backbone.bottom_up.stem.conv1.norm."),
    (
        r"^backbone\.layer(\d)\.(\d)\.downsample\.0\.",
        lambda m: f"backbone.bottom_up.res{int(m[1]) + 1}.{m[2]}.shortcut.",
    ),
    (
        r"^backbone\.layer(\d)\.(\d)\.downsample\.1\.",
        lambda m: f"backbone.bottom_up.res{int(m[1]) + 1}.{m[2]}.shortcut.norm.",
    ),
    (
        r"^backbone\.layer(\d)\.(\d)\.conv(\d)\.",
        lambda m: f"backbone.bottom_up.res{int(m[1]) + 1}.{m[2]}.conv{m[3]}.",
    ),
    (
        r"^backbone\.layer(\d)\.(\d)\.bn(\d)\.",
        lambda m: f"backbone.bottom_up.res{int(m[1]) + 1}.{m[2]}.conv{m[3]}.norm.",
    ),
    (r"^fpn\.(lateral|output)\.(\d)\.", lambda m: f"backbone.fpn_{m[1]}{int(m[2]) + 2}."),
    (r"^fpn\.p(\d)\.", r"backbone.top_block.p\1."),
    (
        r"^semantic\.branches\.(\d)\.(\d)\.0\.",
        lambda m: f"semantic_fpn.p{int(m[1]) + 2}.{2 * int(m[2])}.",
    ),
    (
        r"^semantic\.branches\.(\d)\.(\d)\.1\.",
        lambda m: f"semantic_fpn.p{int(m[1]) + 2}.{2 * int(m[2])}.norm.",
    ),
    (
        r"^positions\.tower\.convs\.(\d)\.offsets\.",
        lambda m: (
            f"position_head.position_head.position_head_head_{int(m[1]) + 1}.offset_mask_conv."
        ),
    ),
    (
        r"^positions\.tower\.convs\.(\d)\.",
        lambda m: f"position_head.position_head.position_head_head_{int(m[1]) + 1}.dcnv2.",
    ),
    (
        r"^positions\.tower\.norms\.(\d)\.0\.",
        lambda m: f"position_head.position_head.position_head_head_{int(m[1]) + 1}.dcnv2.norm.",
    ),
    (r"^positions\.centres\.", "position_head.out_inst."),
    (r"^positions\.regions\.", "position_head.out_sem."),
    (
        r"^kernels\.tower\.convs\.(\d)\.",
        lambda m: f"kernel_head.kernel_head.kernel_head_head_{int(m[1]) + 1}.",
    ),
    (
        r"^kernels\.tower\.norms\.(\d)\.0\.",
        lambda m: f"kernel_head.kernel_head.kernel_head_head_{int(m[1]) + 1}.norm.",
    ),
    (r"^kernels\.last\.", "kernel_head.out_conv."),
    (
        r"^encoder\.convs\.(\d)\.",
        lambda m: f"feature_encoder.encode_head.encode_head_head_{int(m[1]) + 1}.",
    ),
    (r"^(thing|stuff)_embedding\.", r"\1_generator.embed_extractor."),
]
SMALL = {"width": 8, "kernel_width": 12, "feature_width": 4}


def published_name(name: str) -> str:
    for pattern, replacement in THEIRS:
        if re.match(pattern, name):
            return re.sub(pattern, replacement, name)
    raise AssertionError(name)


def made(**settings) -> VideoNetwork:
    torch.manual_seed(0)
    classes = {"things": 3, "stuff": 8, "backbone": "resnet50-msra"}
    network = build("clip-panofcn", {**classes, **SMALL, **settings}).eval()
    for name, tensor in network.state_dict().items():
        if name.endswith(("bias", "running_mean")):
            tensor.normal_(std=0.1)
    return network


def published_file(network: VideoNetwork, path: Path) -> dict[str, torch.Tensor]:
    """A checkpoint of detectron2, whose frozen norms count no steps."""
    tensors = {
        published_name(name): tensor[..., None, None] if "embedding.weight" in name else tensor
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    torch.save({"model": tensors, "iteration": 1}, path)
    return tensors


@pytest.fixture(scope="module")
def deformable(tmp_path_factory: pytest.TempPathFactory) -> tuple[VideoNetwork, Path]:
    network = made(deformable=True)
    path = tmp_path_factory.mktemp("published") / "model_final.pth"
    published_file(network, path)
    return network, path


def test_published_network_answers_as_before(deformable, tmp_path: Path) -> None:
    network, path = deformable
    done = convert(
        [path], tmp_path / "o.safetensors", source="panopticfcn", arch="clip-panofcn",
        labels="camvid",
    )  # fmt: skip
    assert done.tensors == len([k for k in network.state_dict() if "tracked" not in k])
    assert done.dropped == ()
    description = read_description(done.path)
    assert description.preprocess.short_side == 720
    assert description.preprocess.mean == (0.485, 0.456, 0.406)
    assert description.preprocess.std == pytest.approx([1 / 255] * 3)
    assert (description.task, description.window, description.any_window) == ("panoptic", 3, True)
    ours = load_network(description)
    clip = torch.randn(1, 2, 3, 64, 96)
    with torch.inference_mode():
        expected, got = (net(clip, ())[0].outputs() for net in (network, ours))
    for name in expected:
        torch.testing.assert_close(got[name], expected[name])


def test_plain_convolutions_are_recognised(tmp_path: Path) -> None:
    network = made()
    tensors = published_file(network, tmp_path / "x.pth")
    plain = {name.replace(".dcnv2", ""): tensor for name, tensor in tensors.items()}
    torch.save({"model": plain}, tmp_path / "x.pth")
    done = convert(
        [tmp_path / "x.pth"], tmp_path / "o.safetensors", source="panopticfcn",
        arch="clip-panofcn", labels="camvid", settings={"clip_length": 8},
    )  # fmt: skip
    assert (done.config["deformable"], done.config["clip_length"]) == (False, 8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("kernel_head.out_conv.bias"), "'kernels.last.bias' is missing"),
        (lambda t: t.pop("position_head.out_sem.weight"), "'positions.regions.weight': missing"),
        (lambda t: t.update({"clip_fuse_head.t_w": torch.ones(2)}), "'clip_fuse_head.t_w'"),
    ],
)
def test_a_file_of_another_network_is_refused(deformable, tmp_path, change, message) -> None:
    tensors = dict(torch.load(deformable[1], weights_only=True)["model"])
    change(tensors)
    torch.save({"model": tensors}, tmp_path / "x.pth")
    with pytest.raises(ModelError, match=message):
        convert(
            [tmp_path / "x.pth"], tmp_path / "o.safetensors", source="panopticfcn",
            arch="clip-panofcn", labels="camvid",
        )  # fmt: skip


def test_labels_must_have_its_things_and_stuff(deformable, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="scores 3 things, label set 'cityscapes' has 8"):
        convert(
            [deformable[1]], tmp_path / "o.safetensors", source="panopticfcn",
            arch="clip-panofcn", labels="cityscapes",
        )  # fmt: skip


def test_msra_blocks_stride_in_the_first_convolution() -> None:
    with torch.device("meta"):
        network = BACKBONES["resnet50-msra"](output_stride=32)
    strides = [
        (block.conv1.stride[0], block.conv2.stride[0])
        for layer in (network.layer1, network.layer2, network.layer3, network.layer4)
        for block in list(layer)[:2]
    ]
    assert strides == [(1, 1), (1, 1)] + [(2, 1), (1, 1)] * 3


@pytest.mark.parametrize("arch", ["efficientnet-lite0", "efficientnet-lite2"])
def test_efficientnet_lite_is_a_start(tmp_path: Path, arch: str) -> None:
    state = BACKBONES[arch]().state_dict()
    more = {"_conv_head.weight": torch.zeros(2), "_bn1.bias": torch.zeros(2)}
    torch.save(state | more | {"_fc.bias": torch.zeros(2)}, tmp_path / "x.pth")
    done = convert(
        [tmp_path / "x.pth"], tmp_path / "s.safetensors", source="efficientnet-lite", arch=arch
    )
    found = read_tensors(done.path)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)
    assert done.dropped == (*more, "_fc.bias")


@pytest.mark.parametrize(
    ("arch", "name"),
    [
        ("efficientnet-lite0", "efficientnet-lite0-57934424.pth"),
        ("efficientnet-lite2", "efficientnet-lite2-9656183e.pth"),
    ],
)
def test_published_efficientnet_lite_is_a_start(tmp_path: Path, arch: str, name: str) -> None:
    path = Path(__file__).resolve().parents[2] / "shared" / "weights" / name
    if not path.is_file():
        pytest.skip(f"no {name} beside the checkout")
    done = convert([path], tmp_path / "s.safetensors", source="efficientnet-lite", arch=arch)
    assert done.tensors == len(BACKBONES[arch]().state_dict())
    assert {one.split(".")[0] for one in done.dropped} == {"_conv_head", "_bn1", "_fc"}


def test_one_efficientnet_is_not_the_other(tmp_path: Path) -> None:
    torch.save(BACKBONES["efficientnet-lite2"]().state_dict(), tmp_path / "x.pth")
    with pytest.raises(ModelError, match=r"'_blocks\.\d+\.\S+'"):
        convert(
            [tmp_path / "x.pth"], tmp_path / "s.safetensors", source="efficientnet-lite",
            arch="efficientnet-lite0",
        )  # fmt: skip


def test_training_starts_from_the_file_as_it_is(tmp_path: Path) -> None:
    from vidparse.training import read_start

    state = BACKBONES["efficientnet-lite0"]().state_dict()
    torch.save(state, tmp_path / "x.pth")
    network = build("clip-panofcn", {"things": 1, "backbone": "efficientnet-lite0", **SMALL})
    found = read_start(str(tmp_path / "x.pth")).tensors
    assert {f"backbone.{name}" for name in found} <= network.state_dict().keys()


def test_labels_of_vipseg_fit_the_published_network() -> None:
    labels = load_labels("vspw")
    assert (len(labels.things), len(labels) - len(labels.things)) == (58, 66)
