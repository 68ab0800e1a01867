"""Mean teacher: the average of the weights labels what has no labels (SSLTM, CVPR 2023)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vidparse.data import IGNORE
from vidparse.training.losses import confident_labels
from vidparse.training.objectives.objective import autocast, normalise, run_frames
from vidparse.training.objectives.supervised import Supervised
from vidparse.training.stream import Batch


class MeanTeacher(Supervised):
    """Clips with labels teach as usual. On the others the averaged network says what it sees in a
    mild view, and where it is sure the student has to say the same of a strongly recoloured one.
    """

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        recipe = self.recipe
        labels = batch.labels.long()  # (B, T, H, W)
        known = (labels[:, -1] != IGNORE).flatten(1).any(dim=1)  # (B,)
        assert batch.strong is not None  # the plan asks for it
        mild = normalise(batch.frames, self.preprocess)  # (B, T, 3, H, W)
        strong = normalise(batch.strong, self.preprocess)
        pseudo = self._labelled(mild)  # (B, H, W)
        outside = (batch.frames[:, -1] == 0).all(dim=-1)  # black: a view reaches past its frame
        pseudo = torch.where(outside, IGNORE, pseudo)
        # One pass over both kinds, so that batch norms see what they will see in use.
        seen = torch.where(known[:, None, None, None, None], mild, strong)
        own = torch.where(known[:, None, None, None], labels, IGNORE)
        logits, terms = self.taught(seen, own)
        guessed = torch.where(known[:, None, None], IGNORE, pseudo)
        terms["pseudo"] = recipe.pseudo_weight * self._cross_entropy(logits, guessed)
        return terms

    @torch.no_grad()
    def _labelled(self, clip: Tensor) -> Tensor:
        """What the average is sure of in the target: int64 (B, H, W)."""
        average: Any = self._frozen[0]
        with autocast(clip.device, self.recipe.precision):
            if hasattr(average, "forward_clip"):
                logits = average.forward_clip(clip).logits
            else:
                logits = run_frames(average, clip[:, -1]).logits
        full = F.interpolate(
            logits.float(), clip.shape[-2:], mode="bilinear", align_corners=False
        ).softmax(dim=1)
        return confident_labels(full, threshold=self.recipe.pseudo_threshold, ignore=IGNORE)
