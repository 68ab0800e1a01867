"""ETC: a per-frame student that is accurate and steady (Liu et al., ECCV 2020 and its journal).

loss = CE + 0.1 * (TL + PF + MF), on triplets (a frame before, the labelled frame, the next); the
frame before is left out where neither PF nor MF has a weight, the next where TL has none either.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from vidparse.errors import UsageError
from vidparse.models.network import Outputs, VideoNetwork
from vidparse.training.clips import ClipPlan, plan_of
from vidparse.training.losses import (
    ConvLSTM,
    multi_frame_loss,
    pairwise_frame_loss,
    single_frame_loss,
    temporal_loss,
    visibility,
)
from vidparse.training.losses.temporal import TemporalKind
from vidparse.training.objectives.objective import (
    FeatureTap,
    Setting,
    Teacher,
    check_per_frame,
    ramp,
    run_frames,
)
from vidparse.training.objectives.supervised import Supervised, SupervisedOptions
from vidparse.training.recipe import Positive, Recipe, Share, Weight
from vidparse.training.stream import Batch

HELPER_WEIGHT = 0.1  # of the term that keeps MF's embedding of the teacher from collapsing
WEIGHT_LIMIT = 0.1  # its parameters are clipped to +- this


class DistilledOptions(SupervisedOptions):
    """ETC's fields of a recipe."""

    gap: Positive = 3  # frames between the target and the one before, at most
    temporal_weight: Weight = 0.1  # TL
    temporal_ramp: Share = 0.0  # of the run: TL's weight rises over it, see `ramp`
    temporal_kind: TemporalKind = "kl"  # "mse" as the released code has it
    pair_weight: Weight = 0.1  # PF
    pair_pool: Positive = 2  # cells of the scores' map that are averaged first
    motion_weight: Weight = 0.1  # MF
    motion_cell: Positive = 16  # cells of the features' map that are averaged first
    frame_weight: Weight = 0.0  # SF: teacher's probabilities on single frames
    clean_teacher: bool = False  # it sees the frames before noise and degradation


@dataclass(frozen=True, slots=True)
class Around:
    """A frame before the target, the target, and the very next; those that a loss looks at."""

    gap: int  # between the target and the one before, at most; 0 for none before
    next: bool

    def draw(self, rng: np.random.Generator) -> tuple[int, ...]:
        """In the order of time."""
        before = (-int(rng.integers(1, self.gap + 1)),) if self.gap else ()
        return (*before, 0, *((1,) if self.next else ()))


class Distilled(Supervised):
    """TL between the target and the next frame; PF, MF and, by its weight, SF against a teacher.

    Without a teacher TL alone remains: this is how ETC trains the teacher itself.
    """

    Options = DistilledOptions
    options: DistilledOptions
    takes_teacher = True

    @classmethod
    def clips(cls, recipe: Recipe, network: VideoNetwork) -> ClipPlan:
        check_per_frame(recipe, network)
        options = recipe.objective
        assert isinstance(options, DistilledOptions)
        compares = bool(options.pair_weight or options.motion_weight)  # both neighbours
        neighbours = Around(
            options.gap if compares else 0, next=compares or options.temporal_weight > 0
        )
        follows = options.temporal_weight > 0
        return replace(
            plan_of(recipe, neighbours),
            with_flow=follows,
            with_clean=follows or options.clean_teacher,
        )

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        options = self.options
        teaches = options.pair_weight or options.motion_weight or options.frame_weight
        if teaches and setting.teacher is None:
            raise UsageError(
                "objective etc: PF, MF and SF need a teacher; set --teacher, or "
                "pair_weight, motion_weight and frame_weight to 0 for the temporal loss alone"
            )
        # in tuples, as _frozen is
        self._features = (self.network.tapped(),)
        if setting.teacher is not None:
            self._teachers_features = (setting.teacher.network.tapped(),)
        self.motion = ConvLSTM() if options.motion_weight else None

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        clip = self.normalised(batch.frames)  # (B, T, 3, H, W)
        size = clip.shape[:2]
        at = 1 if size[1] == 3 else 0  # the target: the middle of a triplet, else the first
        frames, options = clip.flatten(0, 1), self.options
        with self.autocast(clip.device), FeatureTap(self._features[0]) as tap:
            outputs = run_frames(self.network, frames)
        logits = outputs.logits.float().unflatten(0, size)  # (B, T, K, h, w)
        terms = self.terms(_of_frame(at, outputs, size), batch.labels[:, at].long())

        if options.temporal_weight:
            seen = clip if batch.clean is None else self.normalised(batch.clean)
            weight = options.temporal_weight * ramp(self.progress, options.temporal_ramp)
            terms["tl"] = weight * self._temporal(batch, seen[:, at:], logits[:, at:], at)

        teacher = self._frozen[1]
        if teacher is not None:
            terms |= self._taught_by(teacher, batch, outputs.logits, tap.take())
        return terms

    def _temporal(self, batch: Batch, seen: Tensor, logits: Tensor, at: int) -> Tensor:
        """TL between the first two of some frames.

        Args:
            seen: (B, T', 3, H, W), the target first, without noise: it makes V small where the
                loss is wanted most. logits: (B, T', K, h, w).
            at: the target's place in the clips.
        """
        kind, flow = self.options.temporal_kind, batch.flow
        assert flow is not None  # by the plan
        visible = visibility(seen[:, 0], seen[:, 1], flow, cancelling=kind == "mse")

        # Leave the border out: no motion is known of it.
        visible = visible * batch.inside[:, at, None]
        if batch.flow_valid is not None:
            # Look no further where a point is known to be hidden, whatever hides it looks like.
            visible = visible * batch.flow_valid[:, None]
        now, later = logits[:, 0], logits[:, 1]
        if batch.worse is not None:
            # Let a good frame teach a degraded one, and not be drawn to it.
            now_worse, later_worse = batch.worse[:, at], batch.worse[:, at + 1]
            now = _held(now, later_worse & ~now_worse)
            later = _held(later, now_worse & ~later_worse)
        return temporal_loss(now, later, visible, flow, kind=kind)

    def _taught_by(
        self, teacher: Teacher, batch: Batch, logits: Tensor, features: Tensor
    ) -> dict[str, Tensor]:
        """Terms of the teacher's answer to the frames."""
        options, size = self.options, batch.frames.shape[:2]
        shown = batch.frames
        if options.clean_teacher and batch.clean is not None:
            shown = batch.clean
        pictures = teacher.pictures(shown, self.recipe.network.short_side)  # (B * T, 3, H', W')
        with (
            torch.no_grad(),
            self.autocast(pictures.device),
            FeatureTap(self._teachers_features[0]) as tap,
        ):
            guess = run_frames(teacher.network, pictures).logits.float()

        terms: dict[str, Tensor] = {}
        mine, theirs = logits.float().unflatten(0, size), guess.unflatten(0, size)
        if options.pair_weight:
            pairs = [
                pairwise_frame_loss(
                    mine[:, 1],
                    mine[:, other],
                    theirs[:, 1],
                    theirs[:, other],
                    pool=options.pair_pool,
                )
                for other in (0, 2)
            ]
            terms["pf"] = options.pair_weight * torch.stack(pairs).sum()

        if self.motion is not None:
            motion, helper = multi_frame_loss(
                self.motion,
                features.float().unflatten(0, size),
                tap.take().float().unflatten(0, size),
                cell=options.motion_cell,
            )
            terms["mf"] = options.motion_weight * (motion + HELPER_WEIGHT * helper)

        if options.frame_weight:
            within = batch.inside.flatten(0, 1)  # (B * T, H, W)
            single = single_frame_loss(logits, guess, within, class_weights=self.class_weights)
            terms["sf"] = options.frame_weight * single
        return terms

    def after_step(self) -> None:
        if self.motion is not None:
            # Clip after every step, as released: without a limit all maps could be encoded alike.
            self.motion.clip_weights(WEIGHT_LIMIT)


def _held(logits: Tensor, which: Tensor) -> Tensor:
    """Scores (B, K, h, w) of which those of some clips, bool (B,), get no gradient."""
    return torch.where(which[:, None, None, None], logits.detach(), logits)


def _of_frame(at: int, outputs: Outputs, size: torch.Size) -> Outputs:
    """The scores of frame `at` of each clip, those of every auxiliary classifier too."""
    logits = outputs.logits.unflatten(0, size)[:, at]
    if outputs.auxiliary is None:
        return Outputs(logits)
    heads = len(outputs.auxiliary) // (size[0] * size[1])
    auxiliary = outputs.auxiliary.unflatten(0, (heads, *size))[:, :, at]  # (A, B, K, h, w)
    return Outputs(logits, auxiliary.flatten(0, 1))
