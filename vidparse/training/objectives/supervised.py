"""Cross-entropy and what goes with it, on single frames or on the clips of a video network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vidparse.data import IGNORE
from vidparse.models.network import Outputs
from vidparse.training.losses import (
    bootstrapped_cross_entropy,
    lovasz_softmax,
    union_cross_entropy,
)
from vidparse.training.objectives.objective import (
    Objective,
    Setting,
    autocast,
    normalise,
    run_clips,
)
from vidparse.training.stream import Batch


class Supervised(Objective):
    """Labels teach the target; auxiliary scores are taught on every labelled frame of the clip.

    TCB, NetWarp and SSLTM see clips through their `forward_clip` (VSPW, section 4.3: weight 0.4 on
    the auxiliary scores of all frames); per-frame networks see the target alone.
    """

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.register_buffer("class_weights", setting.class_weights, persistent=False)
        self.register_buffer("unions", setting.unions, persistent=False)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        clip = normalise(batch.frames, self.preprocess)  # (B, T, 3, H, W)
        labels = batch.labels.long()  # (B, T, H, W)
        return self.taught(clip, labels)[1]

    def taught(self, clip: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Scores (B, K, h, w) and terms of clips (B, T, 3, H, W), labels (B, T, H, W).

        The target comes last.
        """
        target = labels[:, -1]
        with autocast(clip.device, self.recipe.precision):
            outputs = run_clips(self.network, clip)
        terms = self.terms(outputs, target, labels.flatten(0, 1))

        classes = torch.where(target < outputs.logits.shape[1], target, IGNORE)
        for name, term in self.network.own_terms(outputs, classes, ignore=IGNORE).items():
            terms[name] = self.recipe.own_weight * term
        return outputs.logits, terms

    def terms(
        self, outputs: Outputs, target: Tensor, all_labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Terms of one pass.

        Args:
            target: int64 (B, H, W). all_labels: int64 (N, H, W) of the frames that the auxiliary
                scores are of, where these are not the targets alone.
        """
        recipe = self.recipe
        terms = {"ce": self._cross_entropy(outputs.logits, target)}
        if recipe.lovasz_weight:
            lovasz = lovasz_softmax(outputs.logits, target, ignore=IGNORE)
            terms["lovasz"] = recipe.lovasz_weight * lovasz
        if outputs.auxiliary is not None and recipe.auxiliary_weight:
            labels = target if all_labels is None else all_labels
            heads = len(outputs.auxiliary) // len(labels)
            auxiliary = self._cross_entropy(outputs.auxiliary, labels.repeat(heads, 1, 1))
            terms["auxiliary"] = recipe.auxiliary_weight * auxiliary
        return terms

    def _cross_entropy(self, logits: Tensor, target: Tensor) -> Tensor:
        recipe = self.recipe
        if recipe.bootstrap_threshold:
            classes = torch.where(target < logits.shape[1], target, IGNORE)
            return bootstrapped_cross_entropy(
                logits,
                classes,
                ignore=IGNORE,
                threshold=recipe.bootstrap_threshold,
                least=recipe.bootstrap_least,
            )
        weights: Any = self.class_weights
        unions: Any = self.unions
        return union_cross_entropy(logits, target, unions, ignore=IGNORE, class_weights=weights)
