"""Losses as pure functions of scores, features and labels."""

from vidparse.training.losses.contrastive import contrastive_loss
from vidparse.training.losses.cross_entropy import (
    bootstrapped_cross_entropy,
    class_weights_from_counts,
    cross_entropy,
    lovasz_softmax,
    pseudo_cross_entropy,
    union_cross_entropy,
)
from vidparse.training.losses.distillation import (
    ConvLSTM,
    confident_labels,
    multi_frame_loss,
    pairwise_frame_loss,
    single_frame_loss,
)
from vidparse.training.losses.panoptic import (
    ClipLosses,
    clip_losses,
    hard_cross_entropy,
    heat_loss,
    offset_loss,
    position_loss,
    weighted_dice_loss,
)
from vidparse.training.losses.temporal import temporal_loss, visibility, warp

__all__ = [
    "ClipLosses",
    "ConvLSTM",
    "bootstrapped_cross_entropy",
    "class_weights_from_counts",
    "clip_losses",
    "confident_labels",
    "contrastive_loss",
    "cross_entropy",
    "hard_cross_entropy",
    "heat_loss",
    "lovasz_softmax",
    "multi_frame_loss",
    "offset_loss",
    "pairwise_frame_loss",
    "position_loss",
    "pseudo_cross_entropy",
    "single_frame_loss",
    "temporal_loss",
    "union_cross_entropy",
    "visibility",
    "warp",
    "weighted_dice_loss",
]
