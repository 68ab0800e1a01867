"""Training on things and stuff: what clips hold, what is made of it, and a short run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from support.made_camvid import make_camvid
from support.resumed import check_resumes
from vidparse.data import IGNORE, open_dataset
from vidparse.data.dataset import FrameRecord
from vidparse.errors import UsageError
from vidparse.labels import Labels
from vidparse.maps import SegmentMap, segments_of_ids
from vidparse.models.description import Preprocess
from vidparse.models.zoo import build, settings_for
from vidparse.requests.training import SourceRequest
from vidparse.training.clips import load_clip
from vidparse.training.losses import ClipLosses
from vidparse.training.neighbours import Run
from vidparse.training.objectives import OBJECTIVES, Setting
from vidparse.training.objectives.objective import autocast
from vidparse.training.processes import Processes
from vidparse.training.recipe_file import recipe_from
from vidparse.training.stream import Batch, collate
from vidparse.training.trainer import Trainer
from vidparse.training.training_sets import TrainingSets, open_training_sets

SCENE = "sample://street?frames=6&size=192x128&videos=1&least=0"
SETTINGS = {
    "arch": "clip-panofcn",
    "objective": "panoptic",
    "crop_hw": [64, 96],
    "short_side": 128,
    "epochs": 1,
    "steps_per_epoch": 2,
    "batch_size": 2,
    "precision": "fp32",
    "workers": 0,
    "metrics": ["vpq", "stq"],
    "warmup_steps": 0,
    "config": {"backbone": "mobilenetv2", "width": 32, "kernel_width": 32, "feature_width": 16},
}


def recipe(**fields):
    return recipe_from({**SETTINGS, **fields}, "test")


@pytest.fixture(scope="module")
def sources() -> TrainingSets:
    return open_training_sets([SourceRequest(SCENE, None)])


def network(labels: Labels, **config):
    settings = {**SETTINGS["config"], **settings_for("clip-panofcn", labels), **config}
    return build("clip-panofcn", settings)


def objective(labels: Labels, **fields):
    net, wanted = network(labels), recipe(**fields)
    setting = Setting(
        wanted,
        labels,
        net,
        net,
        Preprocess(128, divisor=32),
        lambda: torch.zeros(0),
        torch.zeros(0, len(labels)),
    )
    return OBJECTIVES["panoptic"](setting)


def clip_of(sources: TrainingSets, *, frame: int = 3, seed: int = 0, **fields):
    wanted = recipe(**fields)
    plan = OBJECTIVES["panoptic"].clips(wanted, network(sources.labels))
    part = sources.first
    rng = np.random.default_rng(seed)
    return load_clip(part, part.labelled[frame], plan, rng, labelled=True)


class TestRegionWeights:
    def test_a_rare_region_weighs_more_and_things_are_one(self, sources) -> None:
        labels = sources.labels
        counts = np.zeros(len(labels), np.int64)
        stuff = sorted(set(range(len(labels))) - set(labels.things))
        counts[stuff[0]], counts[stuff[1]], counts[list(labels.things)] = 9000, 100, 450
        wanted = recipe(class_weight_offset=1.1, config={**SETTINGS["config"], "pooled": True})
        net = network(labels, pooled=True)
        setting = Setting(
            wanted,
            labels,
            net,
            net,
            Preprocess(128, divisor=32),
            lambda: counts,
            torch.zeros(0, len(labels)),
        )
        weights = OBJECTIVES["panoptic"](setting).region_weights
        total = counts.sum()
        things = counts[list(labels.things)].sum()
        expected = 1 / np.log(1.1 + np.array([things, *counts[stuff]]) / total)
        assert weights.numpy() == pytest.approx(expected / expected.mean(), rel=1e-5)
        assert objective(labels).region_weights is None

    @pytest.mark.parametrize("offset", [1.0, -2.0])
    def test_an_offset_without_a_logarithm_is_refused(self, offset: float) -> None:
        with pytest.raises(UsageError, match=r"class_weight_offset.*above 1, or 0 for none"):
            recipe(class_weight_offset=offset)


@pytest.mark.parametrize(
    ("cpu", "is_half"), [("AVX2", False), ("DEFAULT", False), ("AVX512", True)]
)
def test_bf16_is_left_to_processors_that_have_it(
    monkeypatch: pytest.MonkeyPatch, cpu: str, is_half: bool
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: cpu)
    layer, pictures = torch.nn.Conv2d(3, 4, 1), torch.zeros(1, 3, 2, 2)
    with autocast(torch.device("cpu"), "bf16"):
        assert (layer(pictures).dtype == torch.bfloat16) == is_half


class TestRun:
    def test_frames_end_with_the_target(self) -> None:
        rng = np.random.default_rng(0)
        assert Run(3).draw(rng) == (-2, -1, 0)
        assert Run(1).draw(rng) == (0,)

    def test_gaps_and_directions_are_drawn(self) -> None:
        rng = np.random.default_rng(0)
        drawn = {Run(3, most_gap=2, reverse=0.5).draw(rng) for _ in range(50)}
        assert drawn == {(-2, -1, 0), (2, 1, 0), (-4, -2, 0), (4, 2, 0)}


class TestClips:
    @pytest.mark.parametrize("neighbours", ["video", "simulated"])
    def test_a_thing_has_one_number_and_one_class(self, sources, neighbours) -> None:
        clip = clip_of(sources, neighbours=neighbours, crop_hw=[128, 192], scale_range=[1, 1])
        assert clip.objects is not None and clip.objects.dtype == np.uint16
        assert clip.objects.shape == clip.labels.shape == (3, 128, 192)
        numbers = np.unique(clip.objects[clip.objects > 0])
        assert numbers.size > 1
        for number in numbers:
            (kind,) = np.unique(clip.labels[clip.objects == number])
            assert int(kind) in sources.labels.things
        here = np.isin(clip.labels, list(sources.labels.things))
        assert np.array_equal(clip.objects > 0, here)

    def test_numbers_follow_a_thing_through_the_video(self, sources) -> None:
        clip = clip_of(sources, crop_hw=[128, 192], scale_range=[1, 1], flip=False, short_side=128)
        part = sources.first
        frames = part.video_of(part.labelled[3]).frames[1:4]
        truth = np.stack([part.dataset.load_truth(one).ids for one in frames])
        pairs = {(int(a), int(b)) for a, b in zip(clip.objects.flat, truth.flat, strict=True) if a}
        assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})

    def test_outside_the_picture_there_is_nothing(self, sources) -> None:
        clip = clip_of(sources, crop_hw=[256, 384], scale_range=[0.5, 0.5])
        assert not clip.objects[~clip.inside].any()
        assert (clip.labels[~clip.inside] == IGNORE).all()

    def test_a_crowd_has_a_class_and_no_number(self, sources) -> None:
        part = sources.first

        def crowded(frame: FrameRecord) -> SegmentMap:
            truth = part.dataset.load_truth(frame)
            return replace(
                truth, segments=tuple(replace(one, is_crowd=one.is_thing) for one in truth.segments)
            )

        changed = replace(part, dataset=replace(part.dataset, read_segments=crowded))
        labels, objects = changed.load_objects(part.labelled[0])
        before, things = part.load_objects(part.labelled[0])
        assert things.any() and not objects.any()
        assert np.array_equal(labels, before)

    def test_ids_beyond_16_bits_are_numbered(self, sources) -> None:
        part = sources.first

        def wide(frame: FrameRecord) -> SegmentMap:
            ids = np.zeros((128, 192), np.uint32)
            ids[:50, :50], ids[60:, 60:] = 70_000, 16_000_000
            car = min(sources.labels.things)
            kinds = {70_000: car, 16_000_000: car}
            return SegmentMap(ids, segments_of_ids(ids, kinds, things=sources.labels.things))

        dataset = replace(part.dataset, read_segments=wide, read_mask=None)
        changed = TrainingSets(sources.labels, (replace(part, dataset=dataset),), sources.unions)
        clip = clip_of(changed, crop_hw=[128, 192], scale_range=[1, 1])
        assert np.unique(clip.objects).tolist() == [0, 1, 2]


class TestObjective:
    def test_terms_have_gradients_everywhere(self, sources) -> None:
        taught = objective(sources.labels)
        batch = collate([clip_of(sources, seed=seed) for seed in range(2)])
        terms = taught(batch)
        assert set(terms) == set(ClipLosses._fields)
        assert all(torch.isfinite(term) for term in terms.values())
        sum(terms.values()).backward()
        missing = [n for n, p in taught.network.named_parameters() if p.grad is None]
        assert missing == []

    def test_weights_scale_their_terms(self, sources) -> None:
        batch = collate([clip_of(sources)])
        torch.manual_seed(0)
        one = objective(sources.labels).eval()
        torch.manual_seed(0)
        other = objective(sources.labels, position_weight=2.0, mask_weight=1.5).eval()
        before, after = one(batch), other(batch)
        assert after["position_things"].item() == pytest.approx(
            2 * before["position_things"].item(), rel=1e-4
        )
        assert after["mask_stuff"].item() == pytest.approx(
            before["mask_stuff"].item() / 2, rel=1e-4
        )

    def test_a_batch_is_the_mean_of_its_clips(self, sources) -> None:
        clips = [clip_of(sources, seed=seed) for seed in range(2)]
        taught = objective(sources.labels).eval()
        both = taught(collate(clips))
        apart = [taught(collate([one])) for one in clips]
        for name, term in both.items():
            mean = sum(one[name].item() for one in apart) / 2
            assert term.item() == pytest.approx(mean, rel=1e-3), name

    def test_things_by_their_number_among_things(self, sources) -> None:
        taught, labels = objective(sources.labels), sources.labels
        things = sorted(labels.things)
        ids = torch.full((1, 4, 6), min(set(range(len(labels))) - labels.things))
        objects = torch.zeros(1, 4, 6, dtype=torch.int64)
        ids[0, 0], objects[0, 0] = things[1], 7
        ids[0, 1], objects[0, 1] = things[2], 2
        ids[0, 3], objects[0, 3] = IGNORE, 5  # unknown: no thing
        masks, kinds = taught._objects(ids, objects)
        assert kinds.tolist() == [2, 1]
        assert masks.sum(dim=(1, 2, 3)).tolist() == [6, 6]

    def test_a_crowd_teaches_its_region_and_no_centre_in_it(self, sources) -> None:
        taught, batch = objective(sources.labels).eval(), collate([clip_of(sources)])
        things = torch.tensor(sorted(sources.labels.things))
        crowd = replace(batch, objects=torch.zeros_like(batch.objects))
        void = replace(
            crowd, labels=crowd.labels.masked_fill(torch.isin(crowd.labels, things), IGNORE)
        )
        known, unknown, empty = taught(batch), taught(crowd), taught(void)
        assert known["mask_things"] > 0 and unknown["mask_things"] == 0
        assert unknown["position_stuff"].item() == pytest.approx(known["position_stuff"].item())
        assert unknown["mask_stuff"].item() == pytest.approx(known["mask_stuff"].item())
        assert 0 < unknown["position_things"] < empty["position_things"]

    def test_nothing_in_view(self, sources) -> None:
        """Still every parameter takes part, for distributed training."""
        taught = objective(sources.labels)
        batch = collate([clip_of(sources)])
        terms = taught(unlabelled(batch, slice(None)))
        assert all(term.item() == 0 for term in terms.values())
        sum(terms.values()).backward()
        assert [n for n, p in taught.network.named_parameters() if p.grad is None] == []

    def test_frames_without_labels_teach_nothing(self, sources) -> None:
        taught = objective(sources.labels).eval()
        batch = collate([clip_of(sources)])
        target = replace(
            batch,
            frames=batch.frames[:, 2:],
            labels=batch.labels[:, 2:],
            inside=batch.inside[:, 2:],
            objects=batch.objects[:, 2:],
        )
        alone, among = taught(target), taught(unlabelled(batch, slice(0, 2)))
        for name, term in alone.items():
            assert among[name].item() == pytest.approx(term.item(), rel=1e-3), name


def unlabelled(batch: Batch, frames: slice) -> Batch:
    """The batch with nothing known of some frames."""
    labels, objects = batch.labels.clone(), batch.objects.clone()
    labels[:, frames], objects[:, frames] = IGNORE, 0
    return replace(batch, labels=labels, objects=objects)


class TestRefusals:
    def test_a_semantic_network(self, sources) -> None:
        net = build("perframe", {"classes": 11, "backbone": "mobilenetv2", "head": "deeplab"})
        with pytest.raises(UsageError, match="kernel maps, perframe does not"):
            OBJECTIVES["panoptic"].clips(recipe(arch="perframe", config={}), net)

    def test_classes_without_things(self) -> None:
        labels = Labels("land", ("sea", "sand"), ((0, 0, 0), (1, 1, 1)), frozenset())
        with pytest.raises(UsageError, match=r"classes \(land\) have no things to distinguish"):
            settings_for("clip-panofcn", labels)

    def test_data_without_objects(self, cli, tmp_path: Path) -> None:
        path = written(tmp_path)
        camvid = make_camvid(tmp_path)
        words = ("train", "--dataset", "camvid", "--data", camvid, "--recipe", path)
        for more in (("--dry-run",), ("-o", tmp_path / "run", "--val", "none")):
            ended = cli(*words, *more)
            assert ended.code == 2
            assert "data set camvid: does not distinguish objects" in ended.err
        assert not (tmp_path / "run").exists()

    def test_objects_scored_of_a_semantic_network(self, cli, tmp_path: Path) -> None:
        words = ("train", "--dataset", SCENE, "--recipe", "street-plain", "--dry-run")
        ended = cli(*words, "--set", "metrics=['vpq']")
        assert ended.code == 2
        assert "metric 'vpq': distinguishes objects" in ended.err


def written(folder: Path) -> Path:
    """The settings as a recipe file."""
    lines = [f"{k} = {json.dumps(v)}" for k, v in SETTINGS.items() if k != "config"]
    lines += ["[config]", *(f"{k} = {json.dumps(v)}" for k, v in SETTINGS["config"].items())]
    path = folder / "small.toml"
    path.write_text("\n".join(lines))
    return path


def test_a_run_of_two_steps_and_its_dry_run(cli, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ("train", "--dataset", SCENE, "--recipe", written(tmp_path))
    planned = cli(*words, "--dry-run")
    assert planned.code == 0, planned.err
    assert cli(*words, "-o", run, "--val", "none").code == 0
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    losses = [line["losses"] for line in lines if "losses" in line]
    assert losses and all(one["mask_things"] > 0 for one in losses)


def test_a_resumed_run_equals_an_unbroken_one(sources: TrainingSets, tmp_path: Path) -> None:
    def run(folder: Path) -> Trainer:
        wanted = recipe(epochs=2, steps_per_epoch=1, validate_every=1, ema_decay=0.5)
        return Trainer(
            wanted, sources, None, folder, processes=Processes(device=torch.device("cpu"))
        )

    check_resumes(run, tmp_path)


def test_the_data_set_distinguishes_objects() -> None:
    assert open_dataset(SCENE, None, "train").is_panoptic
