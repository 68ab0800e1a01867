"""Checkpoints of PanopticFCN in detectron2 and of EfficientNet-Lite's port become ours."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from support.made_panofcn import SMALL, made, published_file
from vidparse.convert import convert, read_tensors
from vidparse.errors import ModelError
from vidparse.labels import load_labels
from vidparse.models.backbones import BACKBONES
from vidparse.models.checkpoint import load_network, read_description
from vidparse.models.network import VideoNetwork
from vidparse.models.zoo import build


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
    path = Path(__file__).resolve().parents[3] / "shared" / "weights" / name
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
