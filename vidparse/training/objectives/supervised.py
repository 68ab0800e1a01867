"""Cross-entropy and what goes with it, on single frames or on the clips of a video network."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from torch import Tensor

from vidparse.data import IGNORE
from vidparse.errors import UsageError, counted
from vidparse.models.network import Outputs
from vidparse.training.losses import (
    bootstrapped_cross_entropy,
    class_weights_from_counts,
    lovasz_softmax,
    union_cross_entropy,
)
from vidparse.training.objectives.objective import Objective, Setting, run_clips
from vidparse.training.recipe import LISTED, ObjectiveOptions, Offset, Positive, Weight
from vidparse.training.stream import Batch


class SupervisedOptions(ObjectiveOptions):
    """Fields of a recipe for cross-entropy and what goes with it."""

    auxiliary_weight: Weight = 0.4
    lovasz_weight: Weight = 0.0
    own_weight: Weight = 1.0  # of the network's own terms (ssltm: its category centres)
    class_weights: Annotated[tuple[float, ...], LISTED] = ()  # one per class
    class_weight_offset: Offset = 0.0  # > 1: weights are 1 / ln(offset + share of the class)
    bootstrap_threshold: Weight = 0.0  # > 0: only pixels whose loss is above it (FC-HarDNet: 0.3)
    bootstrap_least: Positive = 4096  # and at least so many per picture


class Supervised(Objective):
    """Labels teach the target; auxiliary scores are taught on every labelled frame of the clip.

    TCB, NetWarp and SSLTM see clips through their `forward_clip` (VSPW, section 4.3: weight 0.4 on
    the auxiliary scores of all frames); per-frame networks see the target alone.
    """

    Options: ClassVar[type[ObjectiveOptions]] = SupervisedOptions
    options: SupervisedOptions
    class_weights: Tensor | None
    unions: Tensor

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)

        # Keep both out of checkpoints: recipe and data give them anew.
        weights = self._class_weights(setting)
        self.register_buffer("class_weights", weights, persistent=False)
        self.register_buffer("unions", setting.unions, persistent=False)

    def _class_weights(self, setting: Setting) -> Tensor | None:
        """Each class's weight in the cross-entropy, (K,); None for no weights.

        Raises:
            UsageError: more or fewer are given than there are classes.
        """
        given, classes = self.options.class_weights, len(setting.labels)
        if given and len(given) != classes:
            raise UsageError(
                f"class_weights: {len(given)} of them for {counted(classes, 'class')}; "
                "give one a class"
            )
        if given:
            return torch.tensor(given)
        if not self.options.class_weight_offset:
            return None
        offset = self.options.class_weight_offset
        counts = torch.from_numpy(setting.class_counts())
        return class_weights_from_counts(counts, offset=offset)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        clip = self.normalised(batch.frames)  # (B, T, 3, H, W)
        labels = batch.labels.long()  # (B, T, H, W)
        return self.taught(clip, labels)[1]

    def taught(self, clip: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Scores (B, K, h, w) and terms of clips (B, T, 3, H, W), labels (B, T, H, W).

        The target comes last.
        """
        target = labels[:, -1]
        with self.autocast(clip.device):
            outputs = run_clips(self.network, clip)
        terms = self.terms(outputs, target, labels.flatten(0, 1))

        # Hide unions from the network's own terms, which know classes alone.
        classes = torch.where(target < outputs.logits.shape[1], target, IGNORE)
        for name, term in self.network.own_terms(outputs, classes, ignore=IGNORE).items():
            terms[name] = self.options.own_weight * term
        return outputs.logits, terms

    def terms(
        self, outputs: Outputs, target: Tensor, all_labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Terms of one pass.

        Args:
            target: int64 (B, H, W). all_labels: int64 (N, H, W) of the frames that the auxiliary
                scores are of, where these are not the targets alone.
        """
        options = self.options
        terms = {"ce": self._cross_entropy(outputs.logits, target)}
        if options.lovasz_weight:
            lovasz = lovasz_softmax(outputs.logits, target, ignore=IGNORE)
            terms["lovasz"] = options.lovasz_weight * lovasz
        if outputs.auxiliary is not None and options.auxiliary_weight:
            labels = target if all_labels is None else all_labels

            # Repeat the labels for every head: their scores lie one after another.
            heads = len(outputs.auxiliary) // len(labels)
            auxiliary = self._cross_entropy(outputs.auxiliary, labels.repeat(heads, 1, 1))
            terms["auxiliary"] = options.auxiliary_weight * auxiliary
        return terms

    def _cross_entropy(self, logits: Tensor, target: Tensor) -> Tensor:
        options = self.options
        if options.bootstrap_threshold:
            # Leave unions out: this loss has one right class per pixel.
            classes = torch.where(target < logits.shape[1], target, IGNORE)
            return bootstrapped_cross_entropy(
                logits,
                classes,
                ignore=IGNORE,
                threshold=options.bootstrap_threshold,
                least=options.bootstrap_least,
            )
        return union_cross_entropy(
            logits, target, self.unions, ignore=IGNORE, class_weights=self.class_weights
        )
