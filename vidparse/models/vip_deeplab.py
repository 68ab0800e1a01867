"""ViP-DeepLab (Qiao et al., CVPR 2021): Panoptic-DeepLab, and offsets to the frame before.

Panoptic-DeepLab (Cheng et al., CVPR 2020) gives each frame its classes, the centres of its objects
and, at each position, the offset to the centre of the object there. A further branch sees two
successive frames and gives the offsets of the positions of the later one to the centres of the
earlier one: by these an object is known again. Pairs of frames are a state here, so that each
frame goes through the backbone once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vidparse.errors import UsageError
from vidparse.labels import Labels
from vidparse.models.backbones import backbone
from vidparse.models.description import PANOPTIC, StateTensor
from vidparse.models.heads.pooling import Aspp
from vidparse.models.layers import conv_bn_relu, enlarged
from vidparse.models.network import CentreMaps, State, VideoNetwork

STRIDE = 4  # of all maps of the answer
MIDDLE_STRIDE = 8  # of the map that the decoders join first
SPREAD = 0.01  # standard deviation of the first weights of the last convolutions
OFFSET_UNIT = 16.0  # pixels; offsets are some of these, so they are learnt as fast as scores are


@dataclass(frozen=True, slots=True)
class VipDeepLabConfig:
    """Classes, a backbone and widths. The defaults are those published for VIPSeg.

    A decoder of width w joins the maps of strides 8 and 4 with w / 4 and w / 8 channels.
    """

    classes: int
    backbone: str = "resnet50-deep"  # a key of BACKBONES
    output_stride: int = 32  # the pooling's dilations are 3, 6, 9 at 32 and 6, 12, 18 at 16
    pooling_width: int = 256  # channels of the dilated convolutions
    semantic_width: int = 256  # of the decoder of classes
    instance_width: int = 128  # of the decoders of centres and offsets


class VipDeepLab(VideoNetwork):
    """Backbone, decoders of classes, of objects and of objects of the frame before, and heads.

    Raises:
        ValueError: unknown backbone, or an output stride that it has not.
    """

    task = PANOPTIC
    answer_type = CentreMaps
    backbone_name = "backbone"
    config: VipDeepLabConfig

    def __init__(self, config: VipDeepLabConfig) -> None:
        super().__init__(config)
        self.alignment = config.output_stride
        self.backbone = backbone(config.backbone, output_stride=config.output_stride)
        fine, middle, _, deep = self.backbone.channels[:4]

        # Keep maps, not the picture, so that each frame is encoded once.
        self.state_tensors = (
            StateTensor("past_fine", (fine,), STRIDE),
            StateTensor("past_middle", (middle,), MIDDLE_STRIDE),
            StateTensor("past_deep", (deep,), config.output_stride),
            StateTensor("past_centres", (1,), STRIDE),
            StateTensor("past", (1,)),  # 1 where there was a frame before
        )

        def decoder(width: int, frames: int = 1) -> DeepLabDecoder:
            channels = (frames * fine, frames * middle, frames * deep)
            return DeepLabDecoder(channels, width, config.pooling_width, config.output_stride)

        self.semantic = decoder(config.semantic_width)
        self.instance = decoder(config.instance_width)
        self.following = decoder(config.instance_width, frames=2)
        narrow = max(1, config.instance_width // 4)
        self.classes = _head(config.semantic_width, config.semantic_width, config.classes)
        self.centres = _head(config.instance_width, narrow, 1)
        self.offsets = _head(config.instance_width, narrow, 2)
        self.earlier = _head(config.instance_width, narrow, 2)

    @classmethod
    def settings_for(cls, labels: Labels) -> dict[str, int]:
        if not labels.things:
            raise UsageError(
                f"vip-deeplab: the classes ({labels.name}) have no things to distinguish; mark "
                "some in labels.json, or use a semantic network"
            )
        return {"classes": len(labels)}

    def forward(self, clip: Tensor, state: State) -> tuple[CentreMaps, State]:
        """(B, T, 3, H, W) -> the maps of its N = B * T frames, those of one clip in a row.

        In training a clip is the beginning of a video: `state` is not looked at, and batch norms
        see pairs of real frames only.
        """
        batch, length = clip.shape[:2]
        pyramid = self.backbone(clip.flatten(0, 1))
        levels = (pyramid[0], pyramid[1], pyramid[3])
        classes = self.classes(self.semantic(levels))
        found = self.instance(levels)
        centres, offsets = self.centres(found), self.offsets(found) * OFFSET_UNIT

        # Put the maps of the frame before beside those of each frame.
        *kept, seen = state
        ours = [one.unflatten(0, (batch, length)) for one in (*levels, centres)]
        before = [
            # Follow the maps' type: under autocast they are halves.
            torch.cat([one[:, None].to(own.dtype), own[:, :-1]], dim=1)
            for one, own in zip(kept, ours, strict=True)
        ]

        # Leave first frames out of training: batch norm would count the zeros before them.
        first = 1 if self.training else 0
        pairs = tuple(
            torch.cat([one[:, first:], own[:, first:]], dim=2).flatten(0, 1)
            for one, own in zip(before[:3], ours[:3], strict=True)
        )
        earlier = self._earlier(pairs, batch, length - first, offsets)

        # Mark first frames, whose maps of a frame before are zeros and mean nothing.
        follows = torch.cat([seen, torch.ones_like(seen).expand(batch, length - 1)], dim=1)
        maps = CentreMaps(
            classes, centres, offsets, before[3].flatten(0, 1), earlier, follows.flatten()
        )
        return maps, (*(one[:, -1] for one in ours), torch.ones_like(seen))

    def _earlier(self, pairs: tuple[Tensor, ...], batch: int, length: int, like: Tensor) -> Tensor:
        """Offsets (B * T, 2, h, w) to the centres of the frame before; 0 where there is no pair.

        Args:
            pairs: maps of the last `length` frames of each clip, both frames of a pair in one.
            like: offsets of all frames.
        """
        # Spare the branch where clips have one frame: batch norms take no empty batch.
        if not length:
            return torch.zeros_like(like)
        found = self.earlier(self.following(pairs)) * OFFSET_UNIT
        if batch * length == len(like):
            return found
        found = found.unflatten(0, (batch, length))

        # Stand in for the frames left out, so that all maps are of equally many.
        return torch.cat([torch.zeros_like(found[:, :1]), found], dim=1).flatten(0, 1)

    def tapped(self) -> nn.Conv2d:
        last: nn.Conv2d = self.classes[-1]  # type: ignore[assignment]
        return last


class DeepLabDecoder(nn.Module):
    """Dilated convolutions side by side, then the maps of strides 8 and 4.

    Args:
        channels: of the maps of strides 4 and 8, and of the deepest one.
        width: of the result. pooling_width: of the dilated convolutions.
    """

    def __init__(
        self, channels: tuple[int, int, int], width: int, pooling_width: int, output_stride: int
    ) -> None:
        super().__init__()
        fine, middle, deep = channels

        # Keep the reach in pixels whatever the stride, as published for 32 and 16.
        rate = 96 // output_stride
        self.factor = output_stride // MIDDLE_STRIDE
        self.pooling = Aspp(deep, pooling_width, (rate, 2 * rate, 3 * rate))
        self.middle = conv_bn_relu(middle, max(1, width // 4), 1)
        self.join_middle = separable(pooling_width + max(1, width // 4), width)
        self.fine = conv_bn_relu(fine, max(1, width // 8), 1)
        self.join_fine = separable(width + max(1, width // 8), width)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """(B, ., H/4, W/4), (B, ., H/8, W/8), the deepest -> (B, width, H/4, W/4)."""
        fine, middle = self.fine(levels[0]), self.middle(levels[1])

        # Enlarge and cut: a resize to an odd size would draw the cells together.
        x = enlarged(self.pooling(levels[2]), middle, self.factor)
        x = self.join_middle(torch.cat([x, middle], dim=1))
        x = enlarged(x, fine, MIDDLE_STRIDE // STRIDE)
        return self.join_fine(torch.cat([x, fine], dim=1))


def separable(channels_in: int, channels_out: int) -> nn.Sequential:
    """A 5x5 convolution per channel and a 1x1, each with batch norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_in, 5, padding=2, groups=channels_in, bias=False),
        nn.BatchNorm2d(channels_in),
        nn.ReLU(inplace=True),
        conv_bn_relu(channels_in, channels_out, 1),
    )


def _head(channels_in: int, width: int, channels_out: int) -> nn.Sequential:
    last = nn.Conv2d(width, channels_out, 1)
    nn.init.normal_(last.weight, std=SPREAD)
    if last.bias is not None:
        nn.init.zeros_(last.bias)
    return nn.Sequential(separable(channels_in, width), last)
