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
from vidparse.training.mixing import Mix, boxes, class_masks, mixed, partners
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
    mix: Mix = "none"  # of two strong views: "cutmix" a rectangle, "classmix" half of the classes


class MeanTeacher(Supervised):
    """Clips with labels teach as usual. On the others the averaged network predicts labels for
    a mild view, and where it is sure the student has to predict the same for a strongly recoloured
    one, which may be mixed of two: of their labels, too.
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
        assert batch.strong is not None  # by the plan
        mild = self.normalised(batch.frames)  # (B, T, 3, H, W)
        strong = self.normalised(batch.strong)
        counted = batch.inside[:, -1] & ~known[:, None, None]  # (B, H, W)

        # Part the two kinds where each has two clips: a batch norm can do nothing with one.
        apart = 1 < int(known.sum()) < len(known) - 1
        if not apart:
            strong, guess, counted = self._learnt_from(mild, strong, counted, ~known)
            seen = torch.where(known[:, None, None, None, None], mild, strong)
            own = torch.where(known[:, None, None, None], labels, IGNORE)
            logits, terms = self.taught(seen, own)
            return terms | {"pseudo": self._guessed(logits, guess, counted)}
        _, terms = self.taught(mild[known], labels[known])
        others = ~known
        strong, guess, counted = self._learnt_from(
            mild[others], strong[others], counted[others], others[others]
        )

        # Keep strong views out of the running statistics: use shows no such colours.
        with statistics_kept(self.network):
            nothing = torch.full_like(labels[others], IGNORE)
            # The zeros are added so that every parameter has a gradient, as DDP needs.
            logits, zeros = self.taught(strong, nothing)
        terms = {name: term + zeros[name] for name, term in terms.items()}
        return terms | {"pseudo": self._guessed(logits, guess, counted)}

    def _guessed(self, logits: Tensor, guess: Tensor, counted: Tensor) -> Tensor:
        """The term of the average's labels: scores (B, K, h, w) against its guess."""
        options = self.options
        weight = options.pseudo_weight * ramp(self.progress, options.pseudo_ramp)
        return weight * pseudo_cross_entropy(logits, guess, counted, ignore=IGNORE)

    @torch.no_grad()
    def _learnt_from(
        self, mild: Tensor, strong: Tensor, counted: Tensor, which: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The student's clips, the labels of their targets that the average is sure of, and where.

        Args:
            mild, strong: (B, T, 3, H, W), both views. counted: bool (B, H, W), where the average's
                word counts. which: bool (B,), the clips that may be mixed.

        Returns:
            (B, T, 3, H, W), int64 (B, H, W), and bool (B, H, W), all mixed alike.
        """
        options = self.options
        with self.autocast(mild.device):
            logits = run_clips(self._frozen[0], mild).logits
        full = F.interpolate(
            logits.float(), mild.shape[-2:], mode="bilinear", align_corners=False
        ).softmax(dim=1)
        guess = confident_labels(full, threshold=options.pseudo_threshold, ignore=IGNORE)
        if options.mix == "none":
            return strong, guess, counted

        # Mix what the average sees in whole pictures: it is to see no seams.
        if options.mix == "cutmix":
            mask = boxes(len(guess), (guess.shape[1], guess.shape[2])).to(guess.device)
        else:
            mask = class_masks(full.argmax(dim=1), counted)
        partner = partners(which)
        strong, guess, counted = (mixed(one, mask, partner) for one in (strong, guess, counted))
        return strong, guess, counted


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
