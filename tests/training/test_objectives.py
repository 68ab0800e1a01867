"""Every objective trains every kind of network it is for, and is the sum that it documents."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pytest
import torch
from pydantic import Field
from torch import Tensor, nn

from support.made_camvid import make_camvid, trainer
from vidparse.errors import UsageError
from vidparse.labels import load_labels
from vidparse.models.description import Preprocess
from vidparse.models.network import FrameNetwork, Outputs, State, VideoNetwork
from vidparse.models.zoo import build
from vidparse.training.clips import ClipPlan, views_of
from vidparse.training.losses import temporal_loss, union_cross_entropy, visibility
from vidparse.training.objectives import OBJECTIVES
from vidparse.training.objectives.distilled import DistilledOptions
from vidparse.training.objectives.objective import (
    FeatureTap,
    Teacher,
    normalise,
    run_frames,
)
from vidparse.training.objectives.supervised import Supervised, SupervisedOptions
from vidparse.training.recipe import Recipe
from vidparse.training.recipe_file import changed_recipe
from vidparse.training.stream import Batch
from vidparse.training.weights import load_flow_weights, load_teacher, taught_by

SMALL = {"output_stride": 16, "width": 16}
VIDEO = {"backbone": "mobilenetv2", "key_width": 8, **SMALL}
ETC = {"objective": "etc", "neighbours": "simulated", "pair_pool": 1, "motion_cell": 2}


@pytest.fixture(scope="module")
def camvid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_camvid(tmp_path_factory.mktemp("camvid"))


def teacher(short_side: int = 60) -> Teacher:
    torch.manual_seed(7)
    network = build("perframe", {"classes": 11, **SMALL, "width": 24, "auxiliary": False})
    return Teacher(network.eval().requires_grad_(False), Preprocess(short_side))


CASES = {
    "tcb-ocr": {"arch": "tcb-ocr", "config": VIDEO, "neighbours": "simulated"},
    "tcb-ppm on video": {"arch": "tcb-ppm", "config": {"backbone": "mobilenetv2", **SMALL}},
    "netwarp": {"arch": "netwarp", "config": {"backbone": "mobilenetv2", "flow": "none", **SMALL}},
    "ssltm": {
        "arch": "ssltm",
        "config": {**VIDEO, "heads": 2, "bank_key_width": 8, "attention_window": [3, 2, 2]},
    },
    "bisenetv2": {"arch": "bisenetv2", "config": {}},
    "etc": ETC | {"frame_weight": 0.1},
    "stcl": {"objective": "stcl", "contrast_width": 16},
    "mean-teacher": {"objective": "mean-teacher", "label_fraction": 0.5, "steps_per_epoch": 3},
    "mean-teacher of ssltm": {
        "objective": "mean-teacher",
        "label_fraction": 0.5,
        "steps_per_epoch": 1,
        "arch": "ssltm",
        "config": {**VIDEO, "heads": 2, "bank_key_width": 8, "attention_window": [3, 2, 2]},
    },
    "bootstrapped": {"bootstrap_threshold": 0.3, "bootstrap_least": 64},
}
TERMS = {
    "etc": {"ce", "auxiliary", "tl", "pf", "mf", "sf"},
    "stcl": {"ce", "auxiliary", "stcl"},
    "mean-teacher": {"ce", "auxiliary", "pseudo"},
    "ssltm": {"ce", "auxiliary", "bank"},
}


@pytest.mark.parametrize("name", CASES)
def test_a_step_moves_every_weight_that_is_used(name: str, camvid: Path, tmp_path: Path) -> None:
    changes = {"epochs": 1, "validate_every": 9, **CASES[name]}
    # its teacher is used to larger pictures
    run = trainer(camvid, tmp_path, teacher(96) if name == "etc" else None, **changes)
    before = {key: value.clone() for key, value in run.learner.objective.named_parameters()}
    losses = run._train_step(run._stream())
    assert TERMS.get(name, {"ce"}) <= losses.keys()
    after = dict(run.learner.objective.named_parameters())
    still = [key for key, value in after.items() if torch.equal(before[key], value)]
    assert not [key for key, value in after.items() if value.grad is None]
    # BiSeNetV2 starts with residual branches that weigh nothing
    assert len(still) < (0.3 if name == "bisenetv2" else 0.1) * len(before), still


def batch_of(run) -> Batch:
    return next(run._stream())


def test_etc_is_the_sum_of_its_losses(camvid: Path, tmp_path: Path) -> None:
    run = trainer(camvid, tmp_path, teacher(), **ETC, auxiliary_weight=0.0)
    run.learner.objective.eval()  # no dropout: two passes agree
    batch = batch_of(run)
    with torch.no_grad():
        terms = run.learner.objective(batch)
        clip = normalise(batch.frames, run.learner.preprocess)
        logits = [run.learner.network.step(clip[:, i])[0].logits for i in range(3)]
        ce = union_cross_entropy(
            logits[1], batch.labels[:, 1].long(), torch.zeros(0, 11, dtype=torch.bool), ignore=255
        )
        assert batch.flow is not None and batch.clean is not None
        clean = normalise(batch.clean, run.learner.preprocess)
        seen = visibility(clean[:, 1], clean[:, 2], batch.flow) * batch.inside[:, 1, None]
        tl = temporal_loss(logits[1], logits[2], seen, batch.flow)
    assert terms["ce"].item() == pytest.approx(ce.item(), rel=1e-5)
    assert terms["tl"].item() == pytest.approx(0.1 * tl.item(), rel=1e-4)


def test_a_student_that_is_the_teacher_has_nothing_to_learn_of_it(
    camvid: Path, tmp_path: Path
) -> None:
    changes = ETC | {"frame_weight": 1.0, "config": {**SMALL, "auxiliary": False}}
    no_teacher = {"pair_weight": 0.0, "motion_weight": 0.0, "frame_weight": 0.0}
    run = trainer(camvid, tmp_path, **(changes | no_teacher))
    twin = copy.deepcopy(run.learner.network).requires_grad_(False).eval()
    run = trainer(camvid, tmp_path, Teacher(twin, run.learner.preprocess), **changes)
    run.learner.objective.eval()
    with torch.no_grad():
        terms = run.learner.objective(batch_of(run))
    assert terms["pf"].item() == pytest.approx(0, abs=1e-9)
    assert terms["sf"].item() == pytest.approx(0, abs=1e-6)


def test_a_teacher_sees_things_as_large_as_it_is_used_to() -> None:
    rgb = torch.randint(0, 256, (2, 3, 40, 60, 3), dtype=torch.uint8)
    frames = normalise(rgb, Preprocess(240)).flatten(0, 1)
    network = nn.Identity()
    assert torch.equal(Teacher(network, Preprocess(240)).pictures(rgb, 240), frames)
    assert torch.equal(Teacher(network, Preprocess(0)).pictures(rgb, 240), frames)
    assert Teacher(network, Preprocess(360)).pictures(rgb, 240).shape == (6, 3, 60, 90)
    assert Teacher(network, Preprocess(180, divisor=32)).pictures(rgb, 240).shape == (6, 3, 32, 64)
    flat = torch.full((1, 1, 40, 60, 3), 51, dtype=torch.uint8)
    other = Preprocess(120, mean=(0.1, 0.2, 0.3), std=(1.0, 0.5, 0.25))
    seen = Teacher(network, other).pictures(flat, 240)
    assert seen.shape == (1, 3, 20, 30)
    assert torch.allclose(seen[0, :, 7, 9], torch.tensor([0.1, 0.0, -0.4]), atol=1e-6)


def test_etc_without_a_teacher_is_the_temporal_loss_alone(camvid: Path, tmp_path: Path) -> None:
    alone = ETC | {"pair_weight": 0.0, "motion_weight": 0.0}
    run = trainer(camvid, tmp_path, **alone)
    assert run._train_step(run._stream()).keys() == {"ce", "auxiliary", "tl"}
    assert batch_of(run).frames.shape[1] == 2  # no loss looks at a frame before
    with pytest.raises(UsageError, match="need a teacher"):
        trainer(camvid, tmp_path, **ETC)


def test_the_losses_of_a_pair_are_those_of_its_target_and_the_next(
    camvid: Path, tmp_path: Path
) -> None:
    some = ETC | {"pair_weight": 0.0, "motion_weight": 0.0, "frame_weight": 1.0}
    run = trainer(camvid, tmp_path, teacher(), **some)
    run.learner.objective.eval()
    batch = batch_of(run)
    longer = replace(
        batch,
        frames=torch.cat([batch.frames[:, :1], batch.frames], dim=1),
        labels=torch.cat([torch.full_like(batch.labels[:, :1], 9), batch.labels], dim=1),
        inside=torch.cat([torch.ones_like(batch.inside[:, :1]), batch.inside], dim=1),
        clean=torch.cat([batch.clean[:, :1], batch.clean], dim=1),
        worse=torch.cat([torch.ones_like(batch.worse[:, :1]), batch.worse], dim=1),
    )
    with torch.no_grad():
        pair, triplet = run.learner.objective(batch), run.learner.objective(longer)
    for name in ("ce", "tl"):
        assert pair[name].item() == pytest.approx(triplet[name].item(), rel=1e-4)
    lone = trainer(camvid, tmp_path, teacher(), **some, temporal_weight=0.0)
    assert lone._train_step(lone._stream()).keys() == {"ce", "auxiliary", "sf"}


class Constant(FrameNetwork):
    """Answers the same for every picture: class 4 on the left, nothing certain on the right."""

    def step(self, picture: Tensor, state: State = ()) -> tuple[Outputs, State]:
        logits = torch.zeros(len(picture), 11, 4, 4)
        logits[:, 4, :, :2] = 9
        return Outputs(logits), ()


def test_the_mean_teacher_teaches_what_it_is_sure_of(camvid: Path, tmp_path: Path) -> None:
    run = trainer(
        camvid,
        tmp_path,
        objective="mean-teacher",
        label_fraction=0.5,
        unlabelled_share=0.5,
        steps_per_epoch=4,
        scales=[2.0],  # no black border
    )
    run.learner.objective._frozen = (Constant(None), None)
    batch = batch_of(run)
    labels = batch.labels.clone()
    labels[0] = 255
    batch = replace(batch, labels=labels)
    mild, inside = normalise(batch.frames, run.learner.preprocess), batch.inside[:, -1]
    every = torch.ones(len(mild), dtype=torch.bool)
    _, pseudo, _ = run.learner.objective._learnt_from(mild, mild, inside, every)
    assert (pseudo[:, :, :24] == 4).all() and (pseudo[:, :, 48:] == 255).all()
    run.learner.objective.eval()
    with torch.no_grad():
        terms = run.learner.objective(batch)
    assert terms["pseudo"].item() > 0
    everything = replace(batch, labels=torch.full_like(batch.labels, 3))
    with torch.no_grad():
        assert (
            run.learner.objective(everything)["pseudo"].item() == 0
        )  # all have labels of their own


def test_norms_of_the_mean_teachers_student_remember_the_mild_views_alone(
    camvid: Path, tmp_path: Path
) -> None:
    run = trainer(
        camvid,
        tmp_path,
        objective="mean-teacher",
        batch_size=4,
        label_fraction=0.5,
        steps_per_epoch=4,
    )
    batch = batch_of(run)
    labels = torch.full_like(batch.labels, 3)
    labels[1::2] = 255
    batch = replace(batch, labels=labels)
    alone = copy.deepcopy(run.learner.network).train()
    with torch.no_grad():
        alone.step(normalise(batch.frames[::2, -1], run.learner.preprocess))
    run.learner.objective.train()
    terms = run.learner.objective(batch)
    torch.stack(list(terms.values())).sum().backward()
    for (name, mine), other in zip(
        run.learner.network.named_buffers(), alone.buffers(), strict=True
    ):
        if "backbone" in name and "running" in name:  # a norm of two pooled values is not stable
            assert torch.allclose(mine, other, atol=1e-5), name
    assert all(
        norm.momentum == 0.1
        for norm in run.learner.network.modules()
        if isinstance(norm, nn.BatchNorm2d)
    )
    labels[1] = 3  # one alone has no statistics: all in one pass
    assert run.learner.objective(replace(batch, labels=labels)).keys() == terms.keys()


def test_features_are_what_the_classifier_sees() -> None:
    network = build("perframe", {"classes": 11, **SMALL}).eval()
    picture = torch.randn(1, 3, 32, 32)
    with FeatureTap(network.tapped()) as tap, torch.no_grad():
        network.step(picture)
        deep = network.backbone(picture)[3]
    assert tap.take().shape[1] == 2 * deep.shape[1]  # PSPNet's concatenation
    assert torch.equal(tap.take()[:, : deep.shape[1]], deep)
    last = build("hardnet", {"classes": 11}).eval()
    with FeatureTap(last.tapped()) as tap, torch.no_grad():
        logits = last.step(picture)[0].logits
        assert torch.equal(last.tapped()(tap.take()), logits)
    for arch in ("bisenetv2", "espnetv2", "hrnet"):
        assert build(arch, {"classes": 11}).tapped().out_channels == 11


def test_teachers_are_checked(camvid: Path, tmp_path: Path) -> None:
    run = trainer(camvid, tmp_path, epochs=1)
    run.fit()
    best = str(tmp_path / "best.safetensors")
    loaded = load_teacher(best, run.sets.labels)
    assert not any(p.requires_grad for p in loaded.network.parameters())
    assert loaded.preprocess == run.learner.preprocess
    with pytest.raises(UsageError, match="knows the 11 classes of camvid, not those of voc"):
        load_teacher(best, load_labels("voc"))


def test_netwarp_wants_the_weights_of_its_flow(camvid: Path, tmp_path: Path) -> None:
    config = {"backbone": "mobilenetv2", **SMALL}
    with pytest.raises(UsageError, match="give --flow-weights"):
        trainer(camvid, tmp_path, arch="netwarp", config=config)
    network = build("perframe", {"classes": 11, **SMALL})
    with pytest.raises(UsageError, match="follows no flow"):
        load_flow_weights(network, tmp_path / "raft.pth", arch="perframe")


def test_frozen_norms_keep_their_statistics(camvid: Path, tmp_path: Path) -> None:
    run = trainer(camvid, tmp_path, norm="frozen")
    before = {k: v.clone() for k, v in run.learner.network.named_buffers()}
    run._train_step(run._stream())
    assert all(
        torch.equal(before[key], value) for key, value in run.learner.network.named_buffers()
    )


@dataclass(frozen=True)
class Far:
    """The target and a frame two before it."""

    def draw(self, rng: np.random.Generator) -> tuple[int, ...]:
        return (-2, 0)


class Steady(Supervised):
    """A toy: the scores of two frames are drawn together, cross-entropy of the second."""

    class Options(SupervisedOptions):
        steady_weight: Annotated[float, Field(ge=0, le=2)] = 0.5
        steady_norm: Literal["l1", "l2"] = "l1"

    options: Options

    @classmethod
    def clips(cls, recipe: Recipe, network: VideoNetwork) -> ClipPlan:
        return ClipPlan(Far(), views_of(recipe))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        clip = normalise(batch.frames, self.preprocess)
        before, now = (run_frames(self.network, clip[:, i]) for i in range(2))
        apart = (before.logits - now.logits).abs().mean()
        terms = self.terms(now, batch.labels[:, 1].long())
        return terms | {"steady": self.options.steady_weight * apart}


def test_a_new_objective_is_a_class_and_a_line(
    camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(OBJECTIVES, "steady", Steady)
    run = trainer(camvid, tmp_path, objective="steady", steady_weight=0.25, epochs=1)
    assert run.recipe.objective == Steady.Options(kind="steady", steady_weight=0.25)
    losses: dict[str, float] = {}
    run.fit(lambda progress: losses.update(progress.losses))
    assert losses["steady"] > 0
    record = json.loads((tmp_path / "recipe.json").read_text())["objective"]
    assert (record["kind"], record["steady_weight"]) == ("steady", 0.25)
    assert "pair_weight" not in record
    for field, value, words in (
        ("steady_weight", "3", "0 to 2"),
        ("steady_norm", "l3", "use l1, l2"),
        ("steady_wait", "1", "no field steady_wait; try steady_weight"),
        ("teacher", "street-student", "is for objective etc, not steady"),
    ):
        with pytest.raises(UsageError, match=words):
            changed = changed_recipe(run.recipe, {field: value})
            taught_by(changed, None)
    other = changed_recipe(run.recipe, {"objective": "etc"})
    assert isinstance(other.objective, DistilledOptions)
    assert other.objective.pair_weight == 0.1, "fields of the other objective are left out"
