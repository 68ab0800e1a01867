"""HRNetV2-W18-Small-v2 (Wang et al., TPAMI 2020): four resolutions side by side, fused often."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidparse.models.backbones.resnet import BasicBlock, Bottleneck
from vidparse.models.layers import resize_to
from vidparse.models.network import FrameNetwork, Outputs, State

STEM_WIDTH = 64
BOTTLENECKS = 2
BLOCKS = 2  # basic blocks of each branch of a module
MODULES = (1, 3, 2)  # of stages 2, 3 and 4


@dataclass(frozen=True, slots=True)
class HrNetConfig:
    """The small network of ETC's table V."""

    classes: int
    width: int = 18  # channels at stride 4; twice as many at each stride after it


class HrNet(FrameNetwork):
    """Branches at strides 4, 8, 16 and 32, concatenated at stride 4 for the scores.

    Parameter names are those of the authors' code (HRNet-Semantic-Segmentation), so its Cityscapes
    weights of hrnet_w18_small_v2 load as they are, and the ImageNet weights of that name load into
    all but `last_layer` (their incre_modules, downsamp_modules, final_layer and classifier are of
    no use here).

    Stateless, one frame a call.
    """

    def __init__(self, config: HrNetConfig) -> None:
        super().__init__(config)
        widths = [config.width * 2**i for i in range(4)]  # of the branches
        self.conv1 = _conv3x3(3, STEM_WIDTH, stride=2)
        self.bn1 = nn.BatchNorm2d(STEM_WIDTH)
        self.conv2 = _conv3x3(STEM_WIDTH, STEM_WIDTH, stride=2)
        self.bn2 = nn.BatchNorm2d(STEM_WIDTH)

        wide = STEM_WIDTH * Bottleneck.expansion
        self.layer1 = nn.Sequential(
            Bottleneck(STEM_WIDTH, STEM_WIDTH, stride=1, dilations=(1,)),
            *(
                Bottleneck(wide, STEM_WIDTH, stride=1, dilations=(1,))
                for _ in range(BOTTLENECKS - 1)
            ),
        )

        self.transition1 = nn.ModuleList(
            [_layer(wide, widths[0]), nn.Sequential(_layer(wide, widths[1], stride=2))]
        )

        # Add a branch of half the resolution before each stage.
        self.stage2 = _stage(widths[:2], MODULES[0])
        self.transition2 = _new_branch(widths[:3])
        self.stage3 = _stage(widths[:3], MODULES[1])
        self.transition3 = _new_branch(widths)
        self.stage4 = _stage(widths, MODULES[2])

        total = sum(widths)
        self.last_layer = nn.Sequential(
            nn.Conv2d(total, total, 1),
            nn.BatchNorm2d(total),
            nn.ReLU(inplace=True),
            nn.Conv2d(total, config.classes, 1),
        )

    def step(self, picture: Tensor, state: State = ()) -> tuple[Outputs, State]:
        """picture: (B, 3, H, W) normalised RGB -> logits (B, K, H/4, W/4)."""
        features = F.relu(self.bn1(self.conv1(picture)))
        features = F.relu(self.bn2(self.conv2(features)))
        features = self.layer1(features)  # (B, 256, H/4, W/4)
        branches = self.stage2([transition(features) for transition in self.transition1])

        # Call the last transition alone: the others are identities, there for the published names.
        branches = self.stage3([*branches, self.transition2[-1](branches[-1])])
        branches = self.stage4([*branches, self.transition3[-1](branches[-1])])
        same = [resize_to(branch, branches[0]) for branch in branches[1:]]
        both = torch.cat([branches[0], *same], dim=1)  # (B, 15 C, H/4, W/4), C the width
        return Outputs(self.last_layer(both)), ()


class Module(nn.Module):
    """Basic blocks in every branch, then every branch gets the sum of all (figure 2).

    features: list of (B, C_i, h / 2^i, w / 2^i) -> the same.
    """

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(
                *(BasicBlock(width, width, stride=1, dilations=(1, 1)) for _ in range(BLOCKS))
            )
            for width in widths
        )
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_path(widths, source, target) for source in range(len(widths)))
            for target in range(len(widths))
        )

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """One (B, C_i, h / 2^i, w / 2^i) per branch -> the same shapes."""
        features = [branch(x) for branch, x in zip(self.branches, features, strict=True)]
        fused: list[Tensor] = []
        for index, target in enumerate(features):
            paths = self.fuse_layers[index].children()
            parts = [path(source) for path, source in zip(paths, features, strict=True)]

            # Resize to the target's own size: a fixed factor would miss it where sides are odd.
            coarser = index + 1
            parts[coarser:] = [resize_to(part, target) for part in parts[coarser:]]
            fused.append(F.relu(sum(parts[1:], start=parts[0])))
        return fused


def _path(widths: list[int], source: int, target: int) -> nn.Module:
    """The layers from one branch to another: 1x1 before a resize, or 3x3 of stride 2."""
    if source == target:
        return nn.Identity()

    # Project before the resize, at the coarse size, where it costs least.
    if source > target:
        return _projection(widths[source], widths[target])

    # Leave the last ReLU out: it follows the sum over all branches.
    steps = target - source
    layers = [_layer(widths[source], widths[source], stride=2) for _ in range(steps - 1)]
    return nn.Sequential(*layers, _layer(widths[source], widths[target], stride=2)[:2])


def _stage(widths: list[int], modules: int) -> nn.Sequential:
    return nn.Sequential(*(Module(widths) for _ in range(modules)))


def _new_branch(widths: list[int]) -> nn.ModuleList:
    """Branches go on as they are; the last is new, made of the coarsest before it."""
    new = nn.Sequential(_layer(widths[-2], widths[-1], stride=2))
    return nn.ModuleList([*(nn.Identity() for _ in widths[:-1]), new])


def _layer(channels_in: int, channels_out: int, *, stride: int = 1) -> nn.Sequential:
    """3x3 convolution, batch norm, ReLU."""
    return nn.Sequential(
        _conv3x3(channels_in, channels_out, stride=stride),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


def _projection(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 1, bias=False), nn.BatchNorm2d(channels_out)
    )


def _conv3x3(channels_in: int, channels_out: int, *, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False)
