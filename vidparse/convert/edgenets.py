"""ESPNetV2 of its authors' code (sacmehta/EdgeNets): our names are theirs.

Cityscapes weights score 20 classes, the last of them "background" (void); it is cut off, since our
label sets have no void class. Pictures are RGB / 255 with ImageNet's mean and deviation.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from vidparse.convert.renaming import Renamed, need, rename
from vidparse.errors import ModelError
from vidparse.labels import Labels
from vidparse.models.espnetv2 import CHANNELS

ARCHS = ("espnetv2",)
PARTS = (
    "base_net",
    *(f"bu_dec_l{level}" for level in (1, 2, 3, 4)),
    *(f"merge_enc_dec_l{level}" for level in (2, 3, 4)),
    *(f"bu_br_l{level}" for level in (2, 3, 4)),
)
CLASSIFIER = ("bu_dec_l4.merge_layer.3.weight", "bu_dec_l4.merge_layer.3.bias")
# Their sizes at test time, width x height: 1024x512 on Cityscapes, 384x384 on VOC.
SHORT_SIDES = {"cityscapes": 512, "voc": 384}


def convert(tensors: Mapping[str, Tensor], arch: str, labels: Labels) -> Renamed:
    """Their state dict as ours.

    Raises:
        ModelError: it is not of this network.
    """
    found = rename(tensors, {part: part for part in PARTS})
    own = found.tensors

    # Read the width off the deepest layer: checkpoints carry no configuration.
    deepest = len(need(own, "base_net.level4_0.act.weight"))
    widths = {channels[3]: width for width, channels in CHANNELS.items()}
    if deepest not in widths:
        raise ModelError(f"{deepest} channels at stride 16: no width of ESPNetV2 has them")

    outputs = len(need(own, CLASSIFIER[0]))
    if labels.name == "cityscapes" and outputs == len(labels) + 1:
        own |= {name: need(own, name)[:-1] for name in CLASSIFIER}
        outputs -= 1

    config: dict[str, object] = {
        "classes": outputs,
        "width": widths[deepest],
        "decoder_width": len(need(own, "bu_br_l2.0.weight")) // 4,
        "pyramid_width": len(need(own, "bu_dec_l4.stages.0.weight")),
    }
    return Renamed(own, found.rules, (), config, SHORT_SIDES.get(labels.name, 480))
