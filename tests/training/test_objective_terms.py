"""Each term of each objective is the loss that its paper names, of the right frames and labels.

The losses themselves have tests of their own; here they are put together by hand.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidparse.data import IGNORE
from vidparse.errors import UsageError
from vidparse.labels import Labels
from vidparse.models.description import Preprocess
from vidparse.models.network import FrameNetwork, Outputs, State
from vidparse.training.losses import (
    bootstrapped_cross_entropy,
    confident_labels,
    contrastive_loss,
    lovasz_softmax,
    multi_frame_loss,
    pairwise_frame_loss,
    single_frame_loss,
    temporal_loss,
    union_cross_entropy,
    visibility,
)
from vidparse.training.objectives import OBJECTIVES, Objective, Setting, Teacher
from vidparse.training.objectives.objective import normalise
from vidparse.training.recipe_file import load_recipe, recipe_from
from vidparse.training.stream import Batch

K, SIDE = 5, 32
LABELS = Labels("five", tuple("abcde"), ((0, 0, 0),) * K, frozenset())
WEIGHTS = torch.tensor([0.2, 0.5, 1.0, 1.5, 1.8])
NO_UNIONS = torch.zeros(0, K, dtype=torch.bool)
SEEN = Preprocess(SIDE)


@dataclass(frozen=True)
class TinyConfig:
    classes: int = K


class Tiny(FrameNetwork):
    """Two convolutions, no norm and no chance: a pass has the same answer in training and in use.

    It remembers what it was shown.
    """

    def __init__(self, seed: int, scale: float = 1.0) -> None:
        super().__init__(TinyConfig())
        torch.manual_seed(seed)
        self.features = nn.Conv2d(3, 6, 4, stride=4)
        self.classifier = nn.Conv2d(6, K, 1)
        with torch.no_grad():
            self.classifier.weight *= scale
        self.shown: list[Tensor] = []

    def step(self, picture: Tensor, state: State = ()) -> tuple[Outputs, State]:
        self.shown.append(picture.clone())
        return Outputs(self.classifier(self.features(picture).relu())), state

    def tapped(self) -> nn.Conv2d:
        return self.classifier

    def answer(self, picture: Tensor) -> Tensor:
        return self.classifier(self.inner(picture))

    def inner(self, picture: Tensor) -> Tensor:
        return self.features(picture).relu()


class Canned(Tiny):
    """One answer for whatever clip is shown, with auxiliary scores and a term of its own."""

    def __init__(self, outputs: Outputs, own: float | None = None) -> None:
        super().__init__(0)
        self.outputs, self.own = outputs, own
        self.given_labels: list[Tensor] = []

    def forward_clip(self, frames: Tensor) -> Outputs:
        return self.outputs

    def own_terms(self, outputs: Outputs, labels: Tensor, *, ignore: int) -> dict[str, Tensor]:
        self.given_labels.append(labels)
        return {} if self.own is None else {"bank": torch.tensor(self.own)}


def uncounted() -> Tensor:
    raise AssertionError("no mask need be read")


def make(
    name: str,
    network: Tiny,
    *,
    average: nn.Module | None = None,
    teacher: nn.Module | None = None,
    class_weights: Tensor | None = None,
    unions: Tensor = NO_UNIONS,
    **fields: Any,
) -> Objective:
    if class_weights is not None:
        fields["class_weights"] = class_weights.tolist()
    values = {"arch": "perframe", "short_side": SIDE, "precision": "fp32", "objective": name}
    recipe = recipe_from({**values, "config": {"classes": K}, **fields}, "test")
    taught = Teacher(teacher, SEEN) if teacher is not None else None
    setting = Setting(recipe, LABELS, network, average or network, SEEN, uncounted, unions, taught)
    return OBJECTIVES[name](setting)


def make_batch(clips: int, frames: int, seed: int = 0) -> Batch:
    """Labels that differ from frame to frame; a void column, which is beyond the picture."""
    rng = np.random.default_rng(seed)
    shape = (clips, frames, SIDE, SIDE)
    labels = rng.integers(0, K, (clips, frames, SIDE // 8, SIDE // 8)).repeat(8, 2).repeat(8, 3)
    inside = np.ones(shape, bool)
    inside[..., :5] = False
    labels[~inside] = IGNORE
    flow = rng.uniform(-2, 2, (clips, 2, SIDE, SIDE)).astype(np.float32)
    pictures = [rng.integers(0, 256, (*shape, 3)).astype(np.uint8) for _ in range(2)]
    names = tuple(map(str, range(clips)))
    tensors = map(torch.from_numpy, (pictures[0], labels.astype(np.uint8), inside, flow))
    frames_, labels_, inside_, flow_ = tensors
    return Batch(frames_, labels_, inside_, flow_, torch.from_numpy(pictures[1]), names)


def entropy(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> float:
    """PyTorch's own cross-entropy at the size of the labels."""
    full = F.interpolate(logits, labels.shape[-2:], mode="bilinear", align_corners=False)
    return F.cross_entropy(full, labels.long(), weights, ignore_index=IGNORE).item()


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("heads", [1, 2])
def test_labels_teach_the_target_and_auxiliary_scores_each_frame_by_its_own(
    heads: int, weights: Tensor | None
) -> None:
    batch = make_batch(2, 4)
    outputs = Outputs(torch.randn(2, K, 8, 8), torch.randn(heads * 2 * 4, K, 4, 4))
    fields = {"auxiliary_weight": 0.3, "lovasz_weight": 0.7}
    terms = make("supervised", Canned(outputs), class_weights=weights, **fields)(batch)
    target = batch.labels[:, -1]
    assert terms.keys() == {"ce", "lovasz", "auxiliary"}
    assert terms["ce"].item() == pytest.approx(entropy(outputs.logits, target, weights), rel=1e-5)
    lovasz = lovasz_softmax(outputs.logits, target.long(), ignore=IGNORE).item()
    assert terms["lovasz"].item() == pytest.approx(0.7 * lovasz, rel=1e-5)
    assert outputs.auxiliary is not None
    by_frame = batch.labels.flatten(0, 1).repeat(heads, 1, 1)
    auxiliary = 0.3 * entropy(outputs.auxiliary, by_frame, weights)
    assert terms["auxiliary"].item() == pytest.approx(auxiliary, rel=1e-5)


def test_unions_are_taught_in_every_term_and_hard_pixels_alone_on_request() -> None:
    batch = make_batch(2, 1)
    batch.labels[batch.labels == 4] = K  # a partial label: class 0 or 3
    unions = torch.tensor([[True, False, False, True, False]])
    outputs = Outputs(torch.randn(2, K, 8, 8), torch.randn(2, K, 8, 8))
    labels = batch.labels[:, 0].long()
    terms = make("supervised", Canned(outputs), unions=unions, class_weights=WEIGHTS)(batch)
    for name, logits, factor in (("ce", outputs.logits, 1), ("auxiliary", outputs.auxiliary, 0.4)):
        assert logits is not None
        wanted = union_cross_entropy(logits, labels, unions, ignore=IGNORE, class_weights=WEIGHTS)
        assert terms[name].item() == pytest.approx(factor * wanted.item(), rel=1e-5)

    fields = {"bootstrap_threshold": 1.2, "bootstrap_least": 77}
    terms = make("supervised", Canned(outputs), unions=unions, **fields)(batch)
    classes = torch.where(labels < K, labels, IGNORE)
    hard = bootstrapped_cross_entropy(
        outputs.logits, classes, ignore=IGNORE, threshold=1.2, least=77
    ).item()
    assert terms["ce"].item() == pytest.approx(hard, rel=1e-5)
    assert hard > 1.05 * entropy(outputs.logits, classes)


def test_a_networks_own_term_has_its_weight_and_the_targets_classes() -> None:
    batch = make_batch(2, 3)
    batch.labels[batch.labels == 4] = K
    network = Canned(Outputs(torch.randn(2, K, 8, 8)), own=3.0)
    unions = torch.tensor([[True, False, False, True, False]])
    terms = make("supervised", network, unions=unions, own_weight=0.5)(batch)
    assert terms["bank"].item() == pytest.approx(1.5)
    target = batch.labels[:, -1].long()
    assert torch.equal(network.given_labels[0], torch.where(target == K, IGNORE, target))


ETC = {"temporal_weight": 0.3, "pair_weight": 0.5, "motion_weight": 0.7, "frame_weight": 0.9}


@pytest.mark.parametrize("kind", ["kl", "mse"])
def test_etc_is_its_four_losses_of_the_right_frames(kind: str) -> None:
    batch = make_batch(2, 3)
    student, teacher = Tiny(1), Tiny(2).eval()
    fields = {**ETC, "temporal_kind": kind, "pair_pool": 2, "motion_cell": 3}
    objective = make("etc", student, teacher=teacher, class_weights=WEIGHTS, **fields)
    terms = objective(batch)
    clip = normalise(batch.frames, SEEN)
    mine, theirs = (
        [network.answer(clip[:, i]) for i in range(3)] for network in (student, teacher)
    )
    assert terms.keys() == {"ce", "tl", "pf", "mf", "sf"}
    ce = entropy(mine[1], batch.labels[:, 1], WEIGHTS)
    assert terms["ce"].item() == pytest.approx(ce, rel=1e-5)

    assert batch.flow is not None
    visible = visibility(clip[:, 1], clip[:, 2], batch.flow, cancelling=kind == "mse")
    counted = visible * batch.inside[:, 1, None]
    tl = temporal_loss(mine[1], mine[2], counted, batch.flow, kind=kind).item()
    assert terms["tl"].item() == pytest.approx(0.3 * tl, rel=1e-4)
    assert tl != temporal_loss(mine[1], mine[2], visible, batch.flow, kind=kind).item()

    before, after = (
        pairwise_frame_loss(mine[1], mine[i], theirs[1], theirs[i], pool=2).item() for i in (0, 2)
    )
    assert terms["pf"].item() == pytest.approx(0.5 * (before + after), rel=1e-4)
    inner = [
        torch.stack([network.inner(clip[:, i]) for i in range(3)], dim=1)
        for network in (student, teacher)
    ]
    motion, helper = multi_frame_loss(objective.motion, *inner, cell=3)
    mf = 0.7 * (motion + 0.1 * helper).item()
    assert terms["mf"].item() == pytest.approx(mf, rel=1e-4)
    sf = single_frame_loss(
        torch.stack(mine, 1).flatten(0, 1),
        torch.stack(theirs, 1).flatten(0, 1),
        batch.inside.flatten(0, 1),
        class_weights=WEIGHTS,
    )
    assert terms["sf"].item() == pytest.approx(0.9 * sf.item(), rel=1e-4)


@pytest.mark.parametrize("clean_teacher", [False, True])
def test_a_teacher_may_see_the_frames_before_they_were_degraded(clean_teacher: bool) -> None:
    batch = replace(make_batch(2, 1), clean=make_batch(2, 1, seed=5).frames)
    student, teacher = Tiny(1), Tiny(2).eval()
    fields = dict.fromkeys(("temporal_weight", "pair_weight", "motion_weight"), 0.0)
    fields |= {"frame_weight": 0.9, "clean_teacher": clean_teacher}
    sf = make("etc", student, teacher=teacher, **fields)(batch)["sf"].item()
    assert batch.clean is not None
    seen = normalise(batch.clean if clean_teacher else batch.frames, SEEN)[:, 0]
    wanted = single_frame_loss(
        student.answer(normalise(batch.frames, SEEN)[:, 0]),
        teacher.answer(seen),
        batch.inside.flatten(0, 1),
        class_weights=None,
    )
    assert sf == pytest.approx(0.9 * wanted.item(), rel=1e-4)


def test_clean_frames_decide_what_is_visible() -> None:
    """Noise would make V small, where the loss is wanted most."""
    batch = replace(make_batch(2, 2), clean=make_batch(2, 2, seed=5).frames)
    student = Tiny(1)
    fields = {"temporal_weight": 0.3, "pair_weight": 0.0, "motion_weight": 0.0}
    tl = make("etc", student, **fields)(batch)["tl"].item()
    assert batch.clean is not None and batch.flow is not None
    shown, clean = normalise(batch.frames, SEEN), normalise(batch.clean, SEEN)
    mine = [student.answer(shown[:, i]) for i in range(2)]

    def by(pair: Tensor) -> float:
        visible = visibility(pair[:, 0], pair[:, 1], batch.flow) * batch.inside[:, 0, None]
        return 0.3 * temporal_loss(*mine, visible, batch.flow).item()

    assert tl == pytest.approx(by(clean), rel=1e-4)
    assert tl != pytest.approx(by(shown), rel=0.01)


@pytest.mark.parametrize("kind", ["kl", "mse"])
def test_nothing_is_learnt_of_points_that_are_known_to_be_hidden(kind: str) -> None:
    batch, student = make_batch(2, 2), Tiny(1)
    fields = {"temporal_weight": 1.0, "pair_weight": 0.0, "motion_weight": 0.0}
    objective = make("etc", student, **fields, temporal_kind=kind)
    valid = torch.zeros(2, SIDE, SIDE, dtype=torch.bool)
    tl = [
        objective(replace(batch, flow_valid=one))["tl"].item()
        for one in (None, ~valid, valid, torch.arange(SIDE).expand_as(valid) < 16)
    ]
    assert tl[0] == tl[1] > tl[3] > tl[2] == 0
    clip = normalise(batch.frames, SEEN)
    mine = [student.answer(clip[:, i]) for i in range(2)]
    visible = visibility(clip[:, 0], clip[:, 1], batch.flow, cancelling=kind == "mse")
    visible = visible * batch.inside[:, 0, None]
    visible[..., 16:] = 0
    wanted = temporal_loss(*mine, visible, batch.flow, kind=kind).item()
    assert tl[3] == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize(
    ("worse", "learns"),
    [((0, 0), (1, 1)), ((1, 1), (1, 1)), ((1, 0), (1, 0)), ((0, 1), (0, 1))],
)
def test_the_temporal_loss_draws_a_degraded_frame_to_a_good_one_and_not_back(
    worse: tuple[int, int], learns: tuple[int, int]
) -> None:
    batch = make_batch(1, 2)
    batch = replace(batch, clean=batch.frames, worse=torch.tensor([worse]).bool())
    fields = {"temporal_weight": 1.0, "pair_weight": 0.0, "motion_weight": 0.0}
    objective = make("etc", Tiny(1), **fields)
    logits = torch.randn(1, 2, K, 8, 8, requires_grad=True)
    loss = objective._temporal(batch, normalise(batch.frames, SEEN), logits, 0)
    loss.backward()
    assert logits.grad is not None
    assert tuple(logits.grad[0].flatten(1).any(dim=1).int().tolist()) == learns
    alike = replace(batch, worse=torch.zeros(1, 2, dtype=torch.bool))
    same = objective._temporal(alike, normalise(batch.frames, SEEN), logits, 0)
    assert loss.item() == pytest.approx(same.item()), "its value is the same whoever learns"


def test_the_weight_of_the_temporal_loss_may_rise() -> None:
    batch = make_batch(2, 2)
    fields = {"pair_weight": 0.0, "motion_weight": 0.0, "temporal_ramp": 0.5}
    objective = make("etc", Tiny(1), **fields)
    full = objective(batch)["tl"].item()
    objective.progress = 0.25  # t = 1/2: exp(-5 / 4)
    assert objective(batch)["tl"].item() == pytest.approx(0.286505 * full, rel=1e-4)


def test_the_teacher_of_etc_learns_nothing_and_the_motion_encoder_is_clipped() -> None:
    student, teacher = Tiny(1), Tiny(2).eval().requires_grad_(False)
    objective = make("etc", student, teacher=teacher, motion_cell=3, **ETC)
    torch.stack(list(objective(make_batch(2, 3)).values())).sum().backward()
    assert all(weight.grad is None for weight in teacher.parameters())
    assert not any(
        weight is other for weight in objective.parameters() for other in teacher.parameters()
    )
    motion = dict(objective.motion.named_parameters())
    assert all(weight.grad is not None and weight.grad.any() for weight in motion.values())
    with torch.no_grad():
        for weight in motion.values():
            weight.copy_(torch.linspace(-3, 3, weight.numel()).view_as(weight))
    objective.after_step()
    for weight in motion.values():
        assert weight.min().item() == pytest.approx(-0.1)
        assert weight.max().item() == pytest.approx(0.1)


def test_stcl_contrasts_projections_of_two_frames_by_the_labels_of_each() -> None:
    batch = make_batch(2, 2)
    batch.labels[:, 1, :8] = K  # a partial label is no class
    unions = torch.tensor([[True, False, False, True, False]])
    network = Tiny(3)
    fields = {"contrast_weight": 0.3, "contrast_temperature": 0.2, "contrast_width": 7}
    fields["contrast_features"] = "head"
    objective = make("stcl", network, unions=unions, contrast_pixels=9999, **fields).eval()
    terms = objective(batch)
    clip = normalise(batch.frames, SEEN)
    inner = [network.inner(clip[:, i]) for i in range(2)]
    projected = [objective.projection(one) for one in inner]
    assert projected[0].shape[1] == 7
    classes = torch.where(batch.labels < K, batch.labels, IGNORE).long()
    wanted = contrastive_loss(
        *projected, classes[:, 0], classes[:, 1], ignore=IGNORE, temperature=0.2, per_class=9999
    )
    assert terms.keys() == {"ce", "stcl"}
    assert terms["stcl"].item() == pytest.approx(0.3 * wanted.item(), rel=1e-4)
    same = contrastive_loss(
        *projected, classes[:, 0], classes[:, 0], ignore=IGNORE, temperature=0.2, per_class=9999
    )
    assert same.item() != pytest.approx(wanted.item(), rel=3e-4)
    logits = network.answer(clip.flatten(0, 1))
    ce = union_cross_entropy(
        logits, batch.labels.flatten(0, 1).long(), unions, ignore=IGNORE
    ).item()
    assert terms["ce"].item() == pytest.approx(ce, rel=1e-5)
    few = make("stcl", network, unions=unions, contrast_pixels=1, **fields).eval()
    few.projection = objective.projection
    assert few(batch)["stcl"].item() != pytest.approx(terms["stcl"].item(), rel=1e-3)


class Pyramid(nn.Module):
    """Four maps, each half as large as the one before."""

    channels = (4, 5, 6, 7)

    def __init__(self) -> None:
        super().__init__()
        steps = zip((3, *self.channels), self.channels, strict=False)
        self.stages = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in steps)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        maps = []
        for stage in self.stages:
            x = stage(x).relu()
            maps.append(x)
        return tuple(maps)


class Encoded(Tiny):
    """A backbone, and a head of two convolutions on its last map."""

    backbone_name = "backbone"

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.backbone = Pyramid()
        self.features = nn.Conv2d(7, 6, 1)

    def inner(self, picture: Tensor) -> Tensor:
        return self.features(self.backbone(picture)[3]).relu()

    def step(self, picture: Tensor, state: State = ()) -> tuple[Outputs, State]:
        return Outputs(self.answer(picture)), state


def test_stcl_projects_what_the_encoder_gives_unless_the_head_is_chosen() -> None:
    batch, network = make_batch(2, 2), Encoded(3)
    fields = {"contrast_weight": 0.3, "contrast_width": 9, "contrast_pixels": 9999}
    encoder = make("stcl", network, **fields).eval()
    head = make("stcl", network, contrast_features="head", **fields).eval()
    assert encoder.projection[0].in_channels == 7 and head.projection[0].in_channels == 6

    clip, labels = normalise(batch.frames, SEEN), batch.labels.long()
    projected = [encoder.projection(network.backbone(clip[:, i])[3]) for i in range(2)]
    wanted = contrastive_loss(
        *projected, labels[:, 0], labels[:, 1], ignore=IGNORE, per_class=9999
    ).item()
    assert encoder(batch)["stcl"].item() == pytest.approx(0.3 * wanted, rel=1e-4)

    with pytest.raises(UsageError, match="perframe has no encoder apart; set contrast_features"):
        make("stcl", Tiny(3), **fields)


def test_stcl_without_weight_is_cross_entropy_on_both_frames_and_nothing_beside() -> None:
    """The arm that its gain is measured against has no further weights, and the same pictures."""
    batch, network = make_batch(2, 2), Encoded(3)
    plain = make("stcl", network, contrast_weight=0.0)
    assert plain(batch).keys() == {"ce"}
    assert {*plain.parameters()} == {*network.parameters()}
    both = make("stcl", network, contrast_weight=0.2)(batch)
    assert plain(batch)["ce"].item() == pytest.approx(both["ce"].item(), rel=1e-6)
    ours, twin = (load_recipe(f"camvid-{name}").record() for name in ("stcl", "pairs"))
    ours["objective"]["contrast_weight"] = 0.0
    assert ours == twin


@pytest.mark.parametrize("clips", [2, 6])
def test_the_mean_teacher_labels_the_mild_view_and_the_student_sees_the_strong(clips: int) -> None:
    """Two clips go through the student together, of six those with labels apart."""
    batch = make_batch(clips, 1)
    known = torch.arange(clips) % 2 == 0
    batch.labels[~known] = IGNORE
    student, average = Tiny(4), Tiny(5, scale=6.0).eval()
    fields = {"pseudo_weight": 0.6, "pseudo_threshold": 0.6}
    objective = make("mean-teacher", student, average=average, class_weights=WEIGHTS, **fields)
    terms = objective(batch)
    assert batch.strong is not None
    mild, strong = (normalise(rgb[:, 0], SEEN) for rgb in (batch.frames, batch.strong))
    ce = entropy(student.answer(mild[known]), batch.labels[known, 0], WEIGHTS)
    assert terms["ce"].item() == pytest.approx(ce, rel=1e-5)

    scores = F.interpolate(average.answer(mild[~known]), (SIDE, SIDE), mode="bilinear")
    sure = confident_labels(scores.softmax(1), threshold=0.6, ignore=IGNORE)
    inside = batch.inside[~known, 0]
    pseudo = torch.where(inside, sure, IGNORE)
    assert 0.1 < (sure == IGNORE).float().mean() < 0.9

    # Divide by all pixels within the view; no class weighs more than another.
    kept = (pseudo != IGNORE).sum() / inside.sum()
    wanted = 0.6 * kept.item() * entropy(student.answer(strong[~known]), pseudo)
    assert terms["pseudo"].item() == pytest.approx(wanted, rel=1e-5)
    shown = torch.cat(student.shown)
    for rgb in (*mild[known], *strong[~known]):
        assert any(torch.equal(rgb, one) for one in shown)
    assert not any(torch.equal(rgb, one) for rgb in mild[~known] for one in shown)


@pytest.mark.parametrize("mix", ["cutmix", "classmix"])
@pytest.mark.parametrize("clips", [3, 6])
def test_views_and_labels_of_the_mean_teacher_are_mixed_alike(
    mix: str, clips: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clips 1 and 2 of three go with the labelled one, 1, 3 and 5 of six by themselves."""
    batch = make_batch(clips, 2)
    known = torch.arange(clips) % 2 == 0 if clips > 3 else torch.arange(clips) == 0
    batch.labels[~known] = IGNORE
    batch.inside[:, -1, :, :9] = False
    batch.inside[-1, -1] = True  # its partner has a border that it lacks
    student, average = Tiny(4), Tiny(5, scale=6.0).eval()
    mask = torch.rand(clips, SIDE, SIDE, generator=torch.Generator().manual_seed(3)) < 0.5
    calls = []

    def hand_made(*given: Any) -> Tensor:
        calls.append(given)
        return mask[-given[0] :] if isinstance(given[0], int) else mask[-len(given[0]) :]

    module = "vidparse.training.objectives.mean_teacher."
    monkeypatch.setattr(module + ("boxes" if mix == "cutmix" else "class_masks"), hand_made)
    objective = make("mean-teacher", student, average=average, mix=mix, pseudo_threshold=0.6)
    terms = objective(batch)
    assert batch.strong is not None and len(calls) == 1
    mild, strong = (normalise(rgb, SEEN) for rgb in (batch.frames, batch.strong))

    others = (~known).nonzero()[:, 0].tolist()
    scores = F.interpolate(average.answer(mild[:, -1]), (SIDE, SIDE), mode="bilinear")
    sure = confident_labels(scores.softmax(1), threshold=0.6, ignore=IGNORE)
    views, wanted, within = [], [], []
    of_others = mask[-len(others) :] if clips > 3 else mask[others]
    for place, one in enumerate(others):
        other, own = others[(place + 1) % len(others)], of_others[place]
        views.append(torch.where(own, strong[one, -1], strong[other, -1]))
        inside = torch.where(own, batch.inside[one, -1], batch.inside[other, -1])
        wanted.append(torch.where(own, sure[one], sure[other]))
        within.append(inside)
    pseudo = torch.where(torch.stack(within), torch.stack(wanted), IGNORE)
    assert 0.05 < (pseudo == IGNORE).float().mean() < 0.95
    kept = (pseudo != IGNORE).sum() / torch.stack(within).sum()
    full = kept.item() * entropy(student.answer(torch.stack(views)), pseudo)
    assert terms["pseudo"].item() == pytest.approx(full, rel=1e-5)
    if mix == "classmix":
        ids, counted = calls[0]
        rows = others if clips > 3 else list(range(clips))
        assert torch.equal(ids, scores.argmax(1)[rows])
        assert torch.equal(counted[-1], batch.inside[others[-1], -1])


def test_the_mean_teacher_of_clips_looks_at_targets_alone() -> None:
    """A companion's labels do not make a clip a labelled one."""
    batch = make_batch(2, 3)
    batch.labels[1, -1] = IGNORE
    objective = make("mean-teacher", Tiny(4), average=Tiny(5, scale=9.0).eval())
    with_companions = objective(batch)
    batch.labels[1, :-1] = IGNORE
    without = objective(replace(batch, labels=batch.labels))
    assert with_companions["pseudo"].item() == pytest.approx(without["pseudo"].item())
    assert with_companions["pseudo"].item() > 0


def test_the_word_of_the_mean_teacher_comes_to_count_over_the_first_part_of_a_run() -> None:
    """exp(-5 (1 - t)^2), t from 0 to 1 over pseudo_ramp of all steps."""
    batch = make_batch(2, 1)
    batch.labels[1] = IGNORE
    fields = {"average": Tiny(5, scale=9.0).eval(), "pseudo_weight": 2.0, "pseudo_ramp": 0.4}
    objective = make("mean-teacher", Tiny(4), **fields)

    def weight(progress: float) -> float:
        objective.progress = progress
        return objective(batch)["pseudo"].item()

    full = weight(1.0)
    assert full > 0
    shares = [weight(progress) / full for progress in (0.0, 0.1, 0.2, 0.4, 0.7)]
    assert shares == pytest.approx([0.006738, 0.060055, 0.286505, 1, 1], rel=1e-3)
    at_once = make("mean-teacher", Tiny(4), **{**fields, "pseudo_ramp": 0.0})
    at_once.progress = 0.0
    assert at_once(batch)["pseudo"].item() == pytest.approx(full)


def test_arms_of_the_mean_teacher_share_everything_but_the_frames_without_labels() -> None:
    ours, twin = (load_recipe(f"camvid-{name}") for name in ("mean-teacher", "eighth"))
    assert ours.optimiser == twin.optimiser and ours.data == twin.data and ours.views == twin.views
    options = ours.objective
    labelled = ours.schedule.batch_size * (1 - options.unlabelled_share)
    assert labelled == twin.schedule.batch_size
    assert ours.schedule.steps_per_epoch == twin.schedule.steps_per_epoch
