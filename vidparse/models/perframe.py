"""Per-frame networks: a backbone and a head by name, no memory.

With them come the students and the teacher of ETC (table V) and the image models of VSPW.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from torch import Tensor, nn

from vidparse.models.backbones import backbone
from vidparse.models.heads import HEADS, AuxiliaryHead, Head, OcrHead, score_alignment
from vidparse.models.network import FrameNetwork, Outputs, State

# head -> the fields of PerFrameConfig that it has a use for
HEAD_OPTIONS: dict[str, tuple[str, ...]] = {
    "psp": ("width", "output_stride", "skip_channels", "finest", "antialias", "align_corners"),
    "ocr": ("width", "key_width", "output_stride", "skip_channels", "finest", "antialias"),
    "upernet": ("width",),
    "deeplab": ("width", "output_stride"),
    "deeplab-light": ("width", "output_stride", "skip_channels", "finest", "antialias"),
}


@dataclass(frozen=True, slots=True)
class PerFrameConfig:
    """A backbone, a head and their widths.

    As published: PSPNet, OCRNet and UPerNet have width 512 (OCRNet key_width 256), ETC's students
    and DeepLabV3+ 256. UPerNet stands on a backbone of output stride 32.
    """

    classes: int
    backbone: str = "mobilenetv2"  # a key of BACKBONES
    output_stride: int = 8  # of the deepest features; 16 is about three times cheaper than 8
    width: int = 256  # channels inside the head
    skip_channels: int = 0  # > 0 refines with stride 8 and 4 features (see RefinedHead)
    finest: int = 4  # with skip_channels: stride of the scores, 4 or 2
    antialias: bool = False  # with finest 2: no chequered edges (see RefinedHead)
    auxiliary: bool = True  # scores of the third stage as well, in training only
    head: str = "psp"  # a key of HEADS
    key_width: int = 128  # ocr: channels of the attention
    align_corners: bool = False  # psp: how pooled maps are resized; True in ETC's networks
    dilation_rule: str = ""  # ResNets: "half" or "all" (see ResNet); "" is the backbone's default
    auxiliary_width: int = 256  # channels of the auxiliary classifier; not for ocr


class PerFrame(FrameNetwork):
    """Backbone and head; stateless, one frame a call.

    Raises:
        ValueError: unknown backbone or head, or a setting that the chosen ones have no use for.
    """

    backbone_name = "backbone"
    training_only = ("auxiliary",)
    config: PerFrameConfig

    def __init__(self, config: PerFrameConfig) -> None:
        super().__init__(config)
        options = _head_options(config)
        self.alignment = score_alignment(config.output_stride, config.skip_channels)
        self.backbone = backbone(
            config.backbone,
            output_stride=config.output_stride,
            finest=config.finest,
            dilation_rule=config.dilation_rule,
        )
        pyramid = self.backbone.channels
        self.head: Head = HEADS[config.head](pyramid, config.classes, **options)
        self.auxiliary: AuxiliaryHead | None = None

        # Make none for OCR, whose region scores take its part.
        if config.auxiliary and config.head != "ocr":
            self.auxiliary = AuxiliaryHead(pyramid[2], config.classes, width=config.auxiliary_width)

    def step(self, picture: Tensor, state: State = ()) -> tuple[Outputs, State]:
        """picture: (B, 3, H, W) normalised RGB -> logits (B, K, H/s, W/s).

        s is 4 for upernet and deeplab, `finest` for psp and ocr with skip_channels (see
        RefinedHead.refined), else the output stride.
        """
        pyramid = self.backbone(picture)
        auxiliary = None
        if isinstance(self.head, OcrHead):
            logits, regions = self.head.scores(pyramid)
            if self.training and self.config.auxiliary:
                auxiliary = regions
        else:
            logits = self.head(pyramid)
            if self.training and self.auxiliary is not None:
                auxiliary = self.auxiliary(pyramid[2])
        return Outputs(logits, auxiliary), ()

    def tapped(self) -> nn.Conv2d:
        return self.head.tapped()


def _head_options(config: PerFrameConfig) -> dict[str, object]:
    """The settings that go to the head; those of other heads must be left alone."""
    if config.head not in HEADS:
        raise ValueError(f"no head '{config.head}'; known are {', '.join(HEADS)}")
    mine = HEAD_OPTIONS[config.head]

    # Refuse settings of other heads, which would seem to work; the backbone has output_stride.
    others = {name for names in HEAD_OPTIONS.values() for name in names} - {*mine, "output_stride"}
    if config.head == "ocr":
        others.add("auxiliary_width")
    for field in fields(config):
        if field.name in others and getattr(config, field.name) != field.default:
            raise ValueError(f"head '{config.head}' has no use for {field.name}")
    return {name: getattr(config, name) for name in mine}
