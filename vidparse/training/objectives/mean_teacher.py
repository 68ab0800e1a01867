"""Mean teacher: the average of the weights labels what has no labels (SSLTM, CVPR 2023).

Tarvainen and Valpola (NeurIPS 2017), with hard labels where the teacher is sure.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from vidparse.data import IGNORE
from vidparse.models.network import VideoNetwork
from vidparse.training.clips import ClipPlan
from vidparse.training.losses import confident_labels, pseudo_cross_entropy
from vidparse.training.objectives.objective import ramp, run_clips
from vidparse.training.objectives.supervised import Supervised, SupervisedOptions
from vidparse.training.recipe import Recipe, Share, Weight
from vidparse.training.stream import Batch


class MeanTeacherOptions(SupervisedOptions):
    """The mean teacher's fields of a recipe."""

    unlabelled_share: Annotated[float, Field(ge=0, le=0.999)] = 0.5  # of a batch
    pseudo_weight: Weight = 1.0
    pseudo_ramp: Share = 0.4  # of the run: the weight rises over it, see `ramp`
    pseudo_threshold: Share = 0.8


class MeanTeacher(Supervised):
    """Clips with labels teach as usual. On the others the averaged network says what it sees in a
    mild view, and where it is sure the student has to say the same of a strongly recoloured one.
    """

    Options = MeanTeacherOptions
    options: MeanTeacherOptions

    @classmethod
    def clips(cls, recipe: Recipe, network: VideoNetwork) -> ClipPlan:
        return replace(super().clips(recipe, network), with_strong=True)

    @classmethod
    def unlabelled_share(cls, recipe: Recipe) -> float:
        assert isinstance(recipe.objective, MeanTeacherOptions)
        return recipe.objective.unlabelled_share

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        labels = batch.labels.long()  # (B, T, H, W)
        known = (labels[:, -1] != IGNORE).flatten(1).any(dim=1)  # (B,)
        assert batch.strong is not None  # the plan asks for it
        mild = self.normalised(batch.frames)  # (B, T, 3, H, W)
        strong = self.normalised(batch.strong)
        unseen = ~batch.inside[:, -1]  # (B, H, W)

        # Part the two kinds where each has two clips: a batch norm can do nothing with one.
        apart = 1 < int(known.sum()) < len(known) - 1
        if not apart:
            seen = torch.where(known[:, None, None, None, None], mild, strong)
            own = torch.where(known[:, None, None, None], labels, IGNORE)
            logits, terms = self.taught(seen, own)
            return terms | {"pseudo": self._guessed(logits, mild, unseen | known[:, None, None])}
        _, terms = self.taught(mild[known], labels[known])

        # Keep strong views out of the running statistics: use shows no such colours.
        with statistics_kept(self.network):
            nothing = torch.full_like(labels[~known], IGNORE)
            # The zeros are added so that every parameter has a gradient, as DDP asks.
            logits, zeros = self.taught(strong[~known], nothing)
        terms = {name: term + zeros[name] for name, term in terms.items()}
        return terms | {"pseudo": self._guessed(logits, mild[~known], unseen[~known])}

    def _guessed(self, logits: Tensor, mild: Tensor, excluded: Tensor) -> Tensor:
        """The term of the average's labels: scores (B, K, h, w) against what it sees in `mild`.

        excluded: bool (B, H, W), where its word does not count.
        """
        options = self.options
        weight = options.pseudo_weight * ramp(self.progress, options.pseudo_ramp)
        return weight * pseudo_cross_entropy(logits, self._labelled(mild), ~excluded, ignore=IGNORE)

    @torch.no_grad()
    def _labelled(self, clip: Tensor) -> Tensor:
        """The labels of the target that the average is sure of: int64 (B, H, W)."""
        with self.autocast(clip.device):
            logits = run_clips(self._frozen[0], clip).logits
        full = F.interpolate(
            logits.float(), clip.shape[-2:], mode="bilinear", align_corners=False
        ).softmax(dim=1)
        return confident_labels(full, threshold=self.options.pseudo_threshold, ignore=IGNORE)


@contextlib.contextmanager
def statistics_kept(network: nn.Module) -> Iterator[None]:
    """Batch norms that train normalise by the batch as ever, but do not remember it."""
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        # Stop the memory alone: in eval mode the batch would not normalise itself.
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
