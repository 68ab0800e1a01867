"""Training of ViP-DeepLab on pairs of frames: what each pixel teaches, and short runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from support.made_camvid import make_camvid
from support.resumed import check_resumes
from vidparse.data import IGNORE
from vidparse.errors import UsageError
from vidparse.labels import Labels
from vidparse.models.description import Preprocess
from vidparse.models.network import CentreMaps, VideoNetwork
from vidparse.models.zoo import build, settings_for
from vidparse.requests.training import SourceRequest
from vidparse.training.clips import load_clip
from vidparse.training.objectives import OBJECTIVES, Objective, Setting
from vidparse.training.processes import Processes
from vidparse.training.recipe_file import recipe_from
from vidparse.training.stream import Batch, collate
from vidparse.training.trainer import Trainer
from vidparse.training.training_sets import TrainingSets, open_training_sets

SCENE = "sample://street?frames=6&size=192x128&videos=1&least=0"
TERMS = {"semantic", "centres", "offsets", "earlier_offsets"}
CONFIG = {
    "backbone": "mobilenetv2", "output_stride": 16,
    "pooling_width": 16, "semantic_width": 16, "instance_width": 16,
}  # fmt: skip
SETTINGS = {
    "arch": "vip-deeplab",
    "objective": "deeplab",
    "crop_hw": [64, 96],
    "short_side": 128,
    "epochs": 1,
    "steps_per_epoch": 2,
    "batch_size": 2,
    "precision": "fp32",
    "workers": 0,
    "metrics": ["vpq", "stq"],
    "warmup_steps": 0,
    "config": CONFIG,
}
LABELS = Labels(
    "made", ("ground", "car", "person"), ((0, 0, 0), (9, 0, 0), (0, 9, 0)), frozenset({1, 2})
)


def recipe(**fields):
    return recipe_from({**SETTINGS, **fields}, "test")


@pytest.fixture(scope="module")
def sources() -> TrainingSets:
    return open_training_sets([SourceRequest(SCENE, None)])


def network(labels: Labels) -> VideoNetwork:
    torch.manual_seed(0)
    return build("vip-deeplab", {**CONFIG, **settings_for("vip-deeplab", labels)})


def taught_by(net: VideoNetwork, labels: Labels, **fields) -> Objective:
    wanted = recipe(**fields)
    setting = Setting(
        wanted,
        labels,
        net,
        net,
        Preprocess(128, divisor=16),
        lambda: np.zeros(0),
        torch.zeros(0, len(labels)),
    )
    return OBJECTIVES["deeplab"](setting)


def objective(labels: Labels, **fields) -> Objective:
    return taught_by(network(labels), labels, **fields)


def clip_of(sources: TrainingSets, *, seed: int = 0, **fields):
    wanted = recipe(**fields)
    plan = OBJECTIVES["deeplab"].clips(wanted, network(sources.labels))
    part = sources.first
    rng = np.random.default_rng(seed)
    return load_clip(part, part.labelled[3], plan, rng, labelled=True)


class Answering(VideoNetwork):
    """A network whose answer is set by hand."""

    answer_type = CentreMaps

    def __init__(self, maps: CentreMaps) -> None:
        super().__init__(None)
        self.maps = maps

    def forward(self, clip, state):
        return self.maps, state


def answered(maps: CentreMaps, batch: Batch, **fields) -> dict[str, torch.Tensor]:
    """The terms for an answer to a batch with LABELS."""
    return taught_by(Answering(maps), LABELS, **fields)(batch)


def pair(labels: np.ndarray, objects: np.ndarray) -> Batch:
    """A batch of one clip (T, H, W)."""
    frames = torch.zeros(1, *labels.shape, 3, dtype=torch.uint8)
    inside = torch.ones(1, *labels.shape, dtype=torch.bool)
    known = torch.from_numpy(labels.astype(np.uint8))[None]
    things = torch.from_numpy(objects.astype(np.int32))[None]
    return Batch(frames, known, inside, None, None, ("made",), things)


def moved() -> tuple[np.ndarray, np.ndarray]:
    """Labels and objects (2, 16, 24) of a car that drives 4 pixels to the right."""
    labels, objects = np.zeros((2, 16, 24), int), np.zeros((2, 16, 24), int)
    for t, left in enumerate((4, 8)):
        labels[t, 4:9, left : left + 7], objects[t, 4:9, left : left + 7] = 1, 5
    return labels, objects


def answer(length: int = 2, side_hw: tuple[int, int] = (16, 24)) -> CentreMaps:
    """Zeros, which a loss can be traced to."""

    def zeros(channels: int) -> torch.Tensor:
        return torch.zeros(length, channels, *side_hw, requires_grad=True)

    return CentreMaps(zeros(3), zeros(1), zeros(2), zeros(1), zeros(2), torch.ones(length))


def touched(maps: torch.Tensor) -> np.ndarray:
    """bool (N, h, w): where any channel has a gradient."""
    return (maps.grad != 0).any(dim=1).numpy()


class TestPixels:
    def test_each_term_is_worked_out_by_hand(self) -> None:
        labels, objects = moved()
        terms = answered(answer(), pair(labels, objects), centre_sigma=2.0, hard_share=1.0)
        assert terms.keys() == TERMS
        share = 35 / (16 * 24)  # of the car, which is small and weighs 3
        assert terms["semantic"].item() == pytest.approx(np.log(3) * (1 + 2 * share), rel=1e-5)
        # 5 rows and 7 columns around their middle: 6 / 5 and 12 / 7 pixels on average
        own = (6 / 5 + 12 / 7) / 2
        assert terms["offsets"].item() == pytest.approx(0.01 * own, rel=1e-5)
        back = (6 / 5 + np.mean([1, 2, 3, 4, 5, 6, 7])) / 2  # the centre was 4 columns to the left
        assert terms["earlier_offsets"].item() == pytest.approx(0.01 * back, rel=1e-5)
        y, x = np.ogrid[:16, :24]
        bells = [np.exp(-((y - 6) ** 2 + (x - middle) ** 2) / 8) for middle in (7, 11)]
        reach = [(np.abs(y - 6) <= 7) & (np.abs(x - middle) <= 7) for middle in (7, 11)]
        heat = [(bell * near) ** 2 for bell, near in zip(bells, reach, strict=True)]
        assert terms["centres"].item() == pytest.approx(200 * np.mean(heat), rel=1e-4)

    def test_small_things_weigh_more_and_large_ones_do_not(self) -> None:
        batch = pair(*moved())
        costs = [
            answered(answer(), batch, hard_share=1.0, small_area=area)["semantic"].item()
            for area in (35, 36)
        ]
        assert costs[0] == pytest.approx(np.log(3), rel=1e-5) and costs[1] > costs[0]

    def test_void_teaches_nothing(self) -> None:
        labels, objects = moved()
        labels[:, 10:], labels[:, 5] = IGNORE, IGNORE
        maps = answer()
        sum(answered(maps, pair(labels, objects), hard_share=1.0).values()).backward()
        void = labels == IGNORE
        for one in (maps.classes, maps.centres, maps.offsets, maps.earlier_offsets):
            assert not touched(one)[void].any()
        assert touched(maps.classes)[~void].all()

    def test_a_thing_without_a_number_has_a_class_and_no_centre(self) -> None:
        labels, objects = moved()
        labels[:, 12:, :6] = 2
        maps = answer()
        sum(answered(maps, pair(labels, objects), hard_share=1.0).values()).backward()
        assert touched(maps.classes).all()
        assert not touched(maps.centres)[:, 12:, :6].any()
        assert not touched(maps.offsets)[:, 12:, :6].any()

    def test_unions_of_classes_teach_nothing(self) -> None:
        labels, objects = moved()
        labels[:, 12:] = 3  # the first id after those of the classes
        maps = answer()
        sum(answered(maps, pair(labels, objects), hard_share=1.0).values()).backward()
        assert not touched(maps.classes)[:, 12:].any()
        assert not touched(maps.centres)[:, 12:].any()

    def test_stuff_with_a_number_is_no_thing(self) -> None:
        labels, objects = moved()
        objects[:, 12:] = 9
        maps = answer()
        sum(answered(maps, pair(labels, objects)).values()).backward()
        assert not touched(maps.offsets)[:, 12:].any()

    def test_a_thing_that_was_not_there_before_has_no_way_back(self) -> None:
        labels, objects = moved()
        objects[1][objects[1] == 5] = 6
        maps = answer()
        terms = answered(maps, pair(labels, objects))
        sum(terms.values()).backward()
        assert terms["earlier_offsets"].item() == 0 and not touched(maps.earlier_offsets).any()
        away = objects > 0
        away[0, 6, 7] = away[1, 6, 11] = False  # the centres themselves
        assert np.array_equal(touched(maps.offsets), away)

    def test_a_frame_before_without_labels_shows_no_way_back(self) -> None:
        labels, objects = moved()
        alone = answered(answer(), pair(labels, objects))
        labels[0], objects[0] = IGNORE, 0
        found = answered(answer(), pair(labels, objects))
        assert found["earlier_offsets"].item() == 0
        assert found["semantic"].item() == pytest.approx(alone["semantic"].item(), rel=1e-5)
        assert found["offsets"].item() == pytest.approx(alone["offsets"].item(), rel=1e-5)


class TestObjective:
    def test_terms_have_gradients_everywhere(self, sources) -> None:
        taught = objective(sources.labels)
        terms = taught(collate([clip_of(sources, seed=seed) for seed in range(2)]))
        assert terms.keys() == TERMS
        assert all(torch.isfinite(term) and term > 0 for term in terms.values())
        sum(terms.values()).backward()
        missing = [n for n, p in taught.network.named_parameters() if p.grad is None]
        assert missing == []

    def test_weights_scale_their_terms(self, sources) -> None:
        batch = collate([clip_of(sources)])
        before = objective(sources.labels).eval()(batch)
        weights = {"semantic": 2.0, "centre": 600.0, "offset": 0.04, "earlier": 0.05}
        fields = {f"{name}_weight": weight for name, weight in weights.items()}
        after = objective(sources.labels, **fields).eval()(batch)
        times = [(after[name] / before[name]).item() for name in before]
        assert times == pytest.approx([2, 3, 4, 5], rel=1e-4)

    def test_a_batch_is_the_mean_of_its_clips(self, sources) -> None:
        clips = [clip_of(sources, seed=seed) for seed in range(2)]
        taught = objective(sources.labels).eval()
        both = taught(collate(clips))
        apart = [taught(collate([one])) for one in clips]
        for name, term in both.items():
            mean = sum(one[name].item() for one in apart) / 2
            assert term.item() == pytest.approx(mean, rel=1e-3), name

    def test_nothing_in_view(self, sources) -> None:
        """Still every parameter takes part, for distributed training."""
        taught = objective(sources.labels)
        batch = collate([clip_of(sources, seed=seed) for seed in range(2)])
        labels = torch.full_like(batch.labels, IGNORE)
        objects = torch.zeros_like(batch.objects)
        terms = taught(replace(batch, labels=labels, objects=objects))
        assert all(term.item() == 0 for term in terms.values())
        sum(terms.values()).backward()
        assert [n for n, p in taught.network.named_parameters() if p.grad is None] == []

    def test_pairs_are_successive_frames_and_the_target_is_last(self, sources) -> None:
        plan = OBJECTIVES["deeplab"].clips(recipe(reverse=0.0), network(sources.labels))
        assert plan.with_objects and plan.length == 2
        assert plan.neighbours.draw(np.random.default_rng(0)) == (-1, 0)


class TestRefusals:
    @pytest.mark.parametrize(
        ("arch", "config"),
        [("perframe", {"classes": 11}), ("clip-panofcn", {"things": 3, "stuff": 8})],
    )
    def test_networks_without_centres(self, arch: str, config: dict[str, int]) -> None:
        with torch.device("meta"):
            net = build(arch, config)
        with pytest.raises(UsageError, match=f"maps of centres, {arch} does not; use arch vip-"):
            OBJECTIVES["deeplab"].clips(recipe(arch=arch, config={}), net)

    def test_clips_of_one_frame(self, sources) -> None:
        with pytest.raises(UsageError, match="clip_length 1: objective deeplab learns from frames"):
            OBJECTIVES["deeplab"].clips(recipe(clip_length=1), network(sources.labels))

    def test_data_without_objects(self, cli, tmp_path: Path) -> None:
        path = written(tmp_path)
        camvid = make_camvid(tmp_path)
        words = ("train", "--dataset", "camvid", "--data", camvid, "--recipe", path)
        for more in (("--dry-run",), ("-o", tmp_path / "run", "--val", "none")):
            ended = cli(*words, *more)
            assert (ended.code, ended.err.count("\n")) == (2, 1)
            assert "data set camvid: does not distinguish objects" in ended.err
        assert not (tmp_path / "run").exists()


def written(folder: Path) -> Path:
    """The settings as a recipe file."""
    tables = {
        "network": {"arch": "vip-deeplab", "short_side": 128},
        "network.config": CONFIG,
        "data": {"workers": 0},
        "views": {"crop_hw": [64, 96]},
        "schedule": {"epochs": 1, "steps_per_epoch": 2, "batch_size": 2},
        "optimiser": {"precision": "fp32", "warmup_steps": 0},
        "objective": {"kind": "deeplab"},
        "validation": {"metrics": ["vpq", "stq"]},
    }
    lines = []
    for table, fields in tables.items():
        lines += [f"[{table}]", *(f"{name} = {json.dumps(one)}" for name, one in fields.items())]
    path = folder / "small.toml"
    path.write_text("\n".join(lines))
    return path


def test_a_run_of_two_steps_and_its_dry_run(cli, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ("train", "--dataset", SCENE, "--recipe", written(tmp_path))
    planned = cli(*words, "--dry-run")
    assert planned.code == 0, planned.err
    assert json.loads(planned.out)["estimate"]["clip_frames"] == 2
    assert cli(*words, "-o", run, "--val", "none").code == 0
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    losses = [line["losses"] for line in lines if "losses" in line]
    assert losses and all(one["earlier_offsets"] > 0 for one in losses)


def test_a_resumed_run_equals_an_unbroken_one(sources: TrainingSets, tmp_path: Path) -> None:
    def run(folder: Path) -> Trainer:
        wanted = recipe(epochs=2, steps_per_epoch=1, validate_every=1, ema_decay=0.5)
        return Trainer(
            wanted, sources, None, folder, processes=Processes(device=torch.device("cpu"))
        )

    check_resumes(run, tmp_path)
