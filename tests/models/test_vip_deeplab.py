"""ViP-DeepLab: its maps, and pairs of frames as a state."""

from __future__ import annotations

import pytest
import torch

from support.made_vip_deeplab import CONFIG, made
from vidparse.errors import ModelError, UsageError
from vidparse.labels import Labels, load_labels
from vidparse.models.network import VideoNetwork
from vidparse.models.zoo import build, settings_for

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def network() -> VideoNetwork:
    return made()


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("size_hw", [(64, 96), (67, 90), (32, 33)])
@pytest.mark.parametrize("stride", [8, 16, 32])
def test_maps_are_at_stride_4(stride: int, size_hw: tuple[int, int]) -> None:
    network = build("vip-deeplab", {**CONFIG, "output_stride": stride}).eval()
    clip = noise(2, 3, 3, *size_hw)
    with torch.inference_mode():
        answer, state = network(clip, network.first_state(clip))
    h, w = (-(-side // 4) for side in size_hw)
    assert answer.classes.shape == (6, 11, h, w)
    assert answer.centres.shape == answer.earlier_centres.shape == (6, 1, h, w)
    assert answer.offsets.shape == answer.earlier_offsets.shape == (6, 2, h, w)
    assert answer.follows.tolist() == [0, 1, 1, 0, 1, 1]
    wanted = [(2, *one.full_shape(size_hw)[1:]) for one in network.state_tensors]
    assert [tuple(one.shape) for one in state] == wanted


def test_a_frame_is_paired_with_the_one_before(network: VideoNetwork) -> None:
    clip = noise(1, 3, 3, 64, 96)
    with torch.inference_mode():
        answer, _ = network(clip, network.first_state(clip))
        changed = clip.clone()
        changed[:, 0] = 0
        other, _ = network(changed, network.first_state(changed))
    torch.testing.assert_close(answer.earlier_centres[1:], answer.centres[:-1], rtol=0, atol=0)
    assert not answer.earlier_centres[0].any()
    assert (answer.earlier_offsets[1] - other.earlier_offsets[1]).abs().max() > 1e-3
    for name in ("classes", "centres", "offsets"):
        torch.testing.assert_close(getattr(answer, name)[1:], getattr(other, name)[1:])
    torch.testing.assert_close(answer.earlier_offsets[2], other.earlier_offsets[2])


def test_training_takes_a_clip_as_a_beginning_and_pairs_alone() -> None:
    network = made().train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()  # the same in both modes
    clip = noise(2, 3, 3, 64, 96)
    with torch.no_grad():
        answer, _ = network(clip, network.first_state(clip))
        again, _ = network(clip, tuple(one + 1 for one in network.first_state(clip)))
        expected, _ = network.eval()(clip, network.first_state(clip))
    torch.testing.assert_close(answer.earlier_offsets, again.earlier_offsets)
    firsts, pairs = [0, 3], [1, 2, 4, 5]
    assert not answer.earlier_offsets[firsts].any()
    torch.testing.assert_close(answer.earlier_offsets[pairs], expected.earlier_offsets[pairs])
    torch.testing.assert_close(answer.classes, expected.classes)


def test_one_frame_is_no_pair() -> None:
    network = made().train()
    clip = noise(2, 1, 3, 64, 96)
    answer, _ = network(clip, network.first_state(clip))
    assert not answer.earlier_offsets.any() and answer.offsets.shape == (2, 2, 16, 24)


def test_the_published_widths() -> None:
    labels = load_labels("vspw")
    config = {**settings_for("vip-deeplab", labels), "backbone": "resnet50-deep"}
    network = build("vip-deeplab", config)
    shapes = {name: tuple(one.shape) for name, one in network.state_dict().items()}
    assert shapes["semantic.join_middle.0.weight"] == (256 + 64, 1, 5, 5)
    assert shapes["semantic.join_fine.3.0.weight"] == (256, 256 + 32, 1, 1)
    assert shapes["instance.join_fine.3.0.weight"] == (128, 128 + 16, 1, 1)
    assert shapes["following.fine.0.weight"] == (16, 2 * 256, 1, 1)
    assert shapes["classes.1.weight"] == (124, 256, 1, 1)
    assert shapes["centres.1.weight"] == (1, 32, 1, 1)
    dilations = [branch[0].dilation[0] for branch in network.semantic.pooling.branches]
    assert dilations == [1, 3, 6, 9]


def test_classes_without_things_and_strides_are_refused() -> None:
    labels = Labels("land", ("sea", "sand"), ((0, 0, 0), (1, 1, 1)), frozenset())
    with pytest.raises(UsageError, match=r"classes \(land\) have no things to distinguish"):
        settings_for("vip-deeplab", labels)
    with pytest.raises(ModelError, match="output_stride must be 8, 16 or 32"):
        build("vip-deeplab", {**CONFIG, "output_stride": 5})
