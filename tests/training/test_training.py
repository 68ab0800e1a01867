"""Training on a made CamVid: it learns, resumes exactly, and names what is wrong."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from support.made_camvid import TINY, make_camvid, trainer
from vidparse.data import labelled_frames, open_dataset
from vidparse.errors import InputError, Interrupted, ModelError, UsageError, VidparseError
from vidparse.labels import labels_to_json, load_labels
from vidparse.models.checkpoint import load_network, read_description
from vidparse.models.description import RUN
from vidparse.models.zoo import build, settings_for
from vidparse.training import (
    SourceRequest,
    TrainingRequest,
    fit,
    load_recipe,
    recorded_run,
    rehearse,
)
from vidparse.training.learner import Average, rate_factor
from vidparse.training.logbook import read_log
from vidparse.training.objectives import OBJECTIVES
from vidparse.training.objectives.supervised import SupervisedOptions
from vidparse.training.recipe import short_name
from vidparse.training.recipe_file import available_recipes, recipe_from
from vidparse.training.rehearsal import estimate
from vidparse.training.run_folder import BEST
from vidparse.training.stream import Batch
from vidparse.training.training_sets import open_training_sets
from vidparse.training.weights import read_start


@pytest.fixture(scope="module")
def camvid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_camvid(tmp_path_factory.mktemp("camvid"))


def test_masks_come_as_training_ids(camvid: Path) -> None:
    dataset = open_dataset("camvid", camvid, "train")
    frames = labelled_frames(dataset)
    assert len(frames) == 6 and frames[0].stem == "0001TP_000000"
    mask = dataset.load_mask(frames[0])
    assert mask[0, 0] == 255 and set(np.unique(mask)) == {0, 3, 8, 255}
    assert (dataset.load_image(frames[0])[40, 0] == (90, 90, 90)).all()


def test_damaged_data_is_named(camvid: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="trainannot"):
        open_dataset("camvid", tmp_path, "train")
    with pytest.raises(UsageError, match="unknown"):
        open_dataset("camvit", camvid, "train")
    dataset = open_dataset("camvid", camvid, "test")
    colour = tmp_path / "colour.png"
    Pillow.fromarray(np.zeros((4, 4, 3), np.uint8)).save(colour)
    high = tmp_path / "high.png"
    Pillow.fromarray(np.full((4, 4), 77, np.uint8)).save(high)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n")
    frame = labelled_frames(dataset)[0]
    for path, word in ((colour, "mode RGB"), (high, "77"), (broken, "damaged")):
        bad = replace(frame, mask=path)
        with pytest.raises(InputError, match=f"{path.name}.*{word}"):
            dataset.load_mask(bad)


def test_it_learns_and_writes_usable_weights(camvid: Path, tmp_path: Path) -> None:
    run = trainer(camvid, tmp_path, epochs=14, validate_every=14, lr_backbone=2e-3, lr_head=5e-3)
    losses: list[float] = []
    best = run.fit(lambda progress: losses.append(progress.loss))
    assert sum(losses[-3:]) < 0.75 * sum(losses[:3])
    assert best is not None and best > 0.5
    steps, validations = read_log(tmp_path / "log.jsonl")
    assert steps.steps[-1] == run.steps and validations.scores["miou"][-1] == pytest.approx(best)
    assert validations.classes["Sky"][-1] > 0.5
    assert json.loads((tmp_path / "recipe.json").read_text())["data_sets"][0]["labelled"] == 6
    assert "<svg" in (tmp_path / "curves.html").read_text()
    description = read_description(tmp_path / "best.safetensors")
    assert description.labels.classes[8] == "Car"
    assert description.preprocess.short_side == 60
    assert description.training["data"][0]["dataset"] == "camvid"
    assert description.training["frame_interval_s"] == pytest.approx(1 / 30, abs=1e-4)
    network = load_network(description)
    outputs, _ = network.step(torch.zeros(1, 3, 64, 96))
    assert outputs.logits.shape == (1, 11, 16, 24)


def test_what_is_not_trainable_stays_to_the_bit(camvid: Path, tmp_path: Path) -> None:
    run = trainer(camvid, tmp_path, trainable=["head.classifier.*"], weight_decay=0.1)
    before = {name: one.clone() for name, one in run.learner.network.state_dict().items()}
    run.fit()
    after = load_file(run.folder.best)
    moved = {name for name in after if not torch.equal(before[name], after[name])}
    assert moved == {"head.classifier.weight", "head.classifier.bias"}
    assert run.learner.network.training  # dropout, for one, is as usual


def test_norms_of_a_trained_part_learn_beside_an_untrained_one(
    camvid: Path, tmp_path: Path
) -> None:
    run = trainer(camvid, tmp_path, trainable=["head.*"])
    before = {name: one.clone() for name, one in run.learner.network.state_dict().items()}
    run.fit()
    after = load_file(run.folder.best)
    statistics = [name for name in after if name.endswith("running_mean")]
    moved = {name for name in statistics if not torch.equal(before[name], after[name])}
    assert moved == {name for name in statistics if name.startswith("head.")} != set()


def test_a_run_of_a_part_resumes_bit_for_bit(camvid: Path, tmp_path: Path) -> None:
    chosen = {"trainable": ["head.*"]}
    trainer(camvid, tmp_path / "whole", **chosen).fit()
    stop = threading.Event()
    with pytest.raises(Interrupted):
        trainer(camvid, tmp_path / "broken", **chosen).fit(
            lambda progress: stop.set() if progress.step == 2 else None, stop=stop
        )
    resumed = trainer(camvid, tmp_path / "broken", **chosen)
    resumed.resume(resumed.folder.last)
    resumed.fit()
    whole, again = (load_file(tmp_path / name / "last.safetensors") for name in ("whole", "broken"))
    assert whole.keys() == again.keys()
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_a_pattern_that_names_nothing_is_refused(camvid: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'hed\.\*': names no parameter of perframe; its parts "):
        trainer(camvid, tmp_path, trainable=["head.*", "hed.*"])


def test_an_estimate_counts_the_moments_of_what_is_trained(camvid: Path) -> None:
    sets = open_training_sets([SourceRequest("camvid", camvid)])
    whole, part = (
        estimate(recipe_from({**TINY, "trainable": names}, "tiny"), sets)
        for names in ([], ["head.*"])
    )
    assert whole.trained_parameters == whole.parameters == part.parameters
    assert 0 < part.trained_parameters < part.parameters
    freed = 3 * 4 * (part.parameters - part.trained_parameters) / 2**20
    assert whole.weights_mib - part.weights_mib == pytest.approx(freed)
    assert part.activations_mib < whole.activations_mib


def test_resumed_weights_equal_unbroken_ones_bit_for_bit(camvid: Path, tmp_path: Path) -> None:
    whole = trainer(camvid, tmp_path / "whole")
    whole.fit()

    class Enough(Exception):
        pass

    def stop_after_one_epoch(progress) -> None:
        if progress.step == 3:
            raise Enough

    broken = trainer(camvid, tmp_path / "broken")
    with pytest.raises(Enough):
        broken.fit(stop_after_one_epoch)
    resumed = trainer(camvid, tmp_path / "broken")
    resumed.resume(tmp_path / "broken" / "last.safetensors")
    assert resumed.step == 3
    resumed.fit()
    expected = load_file(tmp_path / "whole" / "last.safetensors")
    got = load_file(tmp_path / "broken" / "last.safetensors")
    assert expected.keys() == got.keys()
    for name in expected:
        assert torch.equal(expected[name], got[name]), name


def test_a_stopped_run_names_how_to_go_on(camvid: Path, tmp_path: Path) -> None:
    stop = threading.Event()
    run = trainer(camvid, tmp_path)
    with pytest.raises(Interrupted, match=r"stopped at step 2 of 6; go on with --resume"):
        run.fit(lambda progress: stop.set() if progress.step == 2 else None, stop=stop)
    again = trainer(camvid, tmp_path)
    again.resume(tmp_path / "last.safetensors")
    assert again.step == 2


def test_resume_refuses_another_recipe(camvid: Path, tmp_path: Path) -> None:
    trainer(camvid, tmp_path, epochs=1).fit()
    with pytest.raises(UsageError, match="another recipe"):
        trainer(camvid, tmp_path, epochs=3).resume(tmp_path / "last.safetensors")
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    with pytest.raises(ModelError, match="not readable"):
        trainer(camvid, tmp_path).resume(tmp_path / "junk.safetensors")


def test_bad_sample_ends_with_its_name(camvid: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    for folder in ("train", "trainannot", "val", "valannot"):
        (root / folder).mkdir(parents=True)
        for path in (camvid / folder).iterdir():
            (root / folder / path.name).write_bytes(path.read_bytes())
    (root / "train" / "0001TP_000003.png").write_bytes(b"not a picture")
    recipe = recipe_from({**TINY, "workers": 1}, "tiny")
    with pytest.raises(InputError, match=r"0001TP_000003\.png: damaged image: not a picture"):
        fit(recipe, [SourceRequest("camvid", root)], out=tmp_path / "out", device="cpu")


def test_schedule_warms_up_and_decays_to_nothing() -> None:
    recipe = recipe_from({**TINY, "warmup_steps": 10}, "tiny")
    assert rate_factor(0, 100, recipe) == pytest.approx(0.1)
    assert rate_factor(50, 100, recipe) == pytest.approx(0.5**0.9)
    assert rate_factor(99, 100, recipe) == pytest.approx(0.01**0.9)


def test_average_of_weights_is_the_formula() -> None:
    network = torch.nn.Linear(1, 1, bias=False)
    network.weight.data.fill_(0.0)
    average = Average(network, decay=0.9)
    network.weight.data.fill_(1.0)
    average.update(network.state_dict(), step=0)  # warm-up: decay 1/11
    assert average.network.weight.item() == pytest.approx(10 / 11)
    average.update(network.state_dict(), step=10_000)
    assert average.network.weight.item() == pytest.approx(1 - (1 / 11) * 0.9)
    assert not average.network.weight.requires_grad and not average.network.training


@pytest.mark.parametrize("name", available_recipes())
def test_shipped_recipes_build(name: str) -> None:
    recipe = load_recipe(name)
    arch = recipe.network.arch
    settings = {**recipe.network.config, **settings_for(arch, load_labels("camvid"))}
    with torch.device("meta"):  # shapes alone: some of them are large
        network = build(arch, settings)
    assert OBJECTIVES[recipe.objective.kind].clips(recipe, network).length in (1, 2, 3, 4)


def test_recipe_overrides_and_their_errors() -> None:
    recipe = load_recipe(
        "street-mnv2", {"epochs": "3", "lr_head": "1", "config.width": "64", "optimizer": "sgd"}
    )
    assert (recipe.schedule.epochs, recipe.optimiser.lr_head) == (3, 1.0)
    assert (recipe.network.config["width"], recipe.optimiser.kind) == (64, "sgd")
    for key, value, word in (
        ("epoch", "3", "no field epoch"),
        ("every", "1", "no field every; try validate_every"),
        ("epochs", "many", "should be int"),
        ("batch_size", "2.5", "should be int"),
        ("crop_hw", "3", "should be a list"),
        ("objective", "magic", "use supervised, etc"),
        ("gap", "0", "must be 1 or more"),
        ("accumulate", "3", "equal parts"),
        ("seed", "-1", "0 to 2147483647"),
        ("metrics", "[]", "name one"),
        ("crop_hw", "[360]", "height, width"),
        ("scale_range", "[0, 2]", "above 0"),
        ("config", "3", "should be a table"),
        ("class_weight_offset", "0.5", "above 1"),
        ("steps_per_epoch", "-1", "0 or more"),
        ("crop_hw", "['a', 3]", "crop_hw = 'a' should be int"),
        ("crop_hw", "[64.5, 96]", "should be int"),
        ("scales", '["x"]', "should be float"),
        ("metrics", "[1]", "should be str"),
        ("lr_head", "nan", "finite"),
        ("lr_head", "-1", "0 or more"),
        ("colour", "9", "0 to 1"),
        ("pair_pool", "0", "1 or more"),
        ("lr_haed", "1", "no field lr_haed; try lr_head"),
    ):
        with pytest.raises(UsageError, match=word):
            load_recipe("street-mnv2", {key: value})
    with pytest.raises(UsageError, match="street-mnv2"):
        load_recipe("street")
    assert load_recipe("street-mnv2", {"arch": "bisenetv2"}).network.config == {}


def own_weight_of(name: str, **overrides: str) -> float:
    objective = load_recipe(name, overrides).objective
    assert isinstance(objective, SupervisedOptions)
    return objective.own_weight


def test_a_field_keeps_the_name_that_it_had(camvid: Path, tmp_path: Path) -> None:
    """In recipes, on the command line, and in the state of a run."""
    assert own_weight_of("street-mnv2", bank_weight="0.5") == 0.5
    (tmp_path / "old.toml").write_text('arch = "ssltm"\nbank_weight = 0.25\n')
    child = tmp_path / "child.toml"
    child.write_text('base = "old.toml"\nepochs = 2\n')
    assert own_weight_of(str(child)) == 0.25
    child.write_text('base = "old.toml"\nown_weight = 2\n')
    assert own_weight_of(str(child)) == 2
    child.write_text('base = "old.toml"\nbank_weight = 3\n')
    assert own_weight_of(str(child), own_weight="4") == 4
    child.write_text('base = "old.toml"\nown_weight = 2\nbank_weight = 3\n')
    with pytest.raises(UsageError, match="bank_weight is the older name of own_weight"):
        load_recipe(str(child))

    trainer(camvid, tmp_path, epochs=1, own_weight=0.5).fit()
    state = tmp_path / "last.safetensors"
    with safe_open(state, framework="pt") as file:
        facts = json.loads(file.metadata()[RUN])
    facts["recipe"] = {  # without tables, as former versions wrote it
        short_name(table, field): value
        for table, fields in facts["recipe"].items()
        for field, value in fields.items()
    }
    facts["recipe"]["bank_weight"] = facts["recipe"].pop("own_weight")
    save_file(load_file(state), state, {RUN: json.dumps(facts)})
    assert recorded_run(state)[0] == trainer(camvid, tmp_path, epochs=1, own_weight=0.5).recipe
    again = trainer(camvid, tmp_path, epochs=1, own_weight=0.5)
    again.resume(state)
    assert again.step == again.steps


def test_a_recipe_may_say_what_differs_from_another(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text('arch = "perframe"\nepochs = 3\n[config]\nwidth = 9\n')
    child = tmp_path / "child.toml"
    child.write_text(f'base = "{tmp_path}/base.toml"\nepochs = 5\n[config]\nskip_channels = 8\n')
    recipe = load_recipe(str(child), {"seed": "4"})
    assert (recipe.schedule.epochs, recipe.schedule.seed) == (5, 4)
    assert recipe.network.config == {"width": 9, "skip_channels": 8}
    child.write_text(f'base = "{tmp_path}/base.toml"\narch = "tcb-ocr"\n[config]\nwidth = 7\n')
    assert load_recipe(str(child)).network.config == {"width": 7}
    child.write_text(f'base = "{child}"\n')
    with pytest.raises(UsageError, match="based on itself"):
        load_recipe(str(child))
    child.write_text('base = "base.toml"\n')  # beside it, wherever the command runs
    assert load_recipe(str(child)).schedule.epochs == 3
    for text, word in (
        (b"\xe9", "not TOML"),
        (b"base = 5", "should be the name of a recipe"),
        (b'base = "base.toml"\nconfig = 5', "should be a table"),
    ):
        child.write_bytes(text)
        with pytest.raises(UsageError, match=word):
            load_recipe(str(child))


def test_rendered_scenes_are_a_data_set() -> None:
    address = "sample://street?size=160x90&frames=3"
    splits = {s: open_dataset(address, None, s) for s in ("train", "val", "test")}
    names = [video.name for split in splits.values() for video in split.videos]
    assert len(names) == len(set(names)) == 18
    dataset = splits["val"]
    frame = labelled_frames(dataset)[1]
    rgb, mask = dataset.load_image(frame), dataset.load_mask(frame)
    assert rgb.shape == (90, 160, 3) and mask.shape == (90, 160)
    assert set(np.unique(mask)) <= {*range(11), 255} and {1, 3} <= set(np.unique(mask))
    again = open_dataset(address, None, "val")
    assert (again.load_image(frame) == rgb).all()
    with pytest.raises(UsageError, match="name it with --data"):
        open_dataset("camvid", None, "val")


def test_accumulated_parts_give_the_gradient_of_the_whole(camvid: Path, tmp_path: Path) -> None:
    """Where nothing depends on the batch: norms frozen, no dropout, no void."""
    settings = {
        "norm": "frozen",
        "batch_size": 4,
        "steps_per_epoch": 2,
        "epochs": 1,
        "scale_range": [1.0, 1.0],
        "auxiliary_weight": 0.0,
        "config": {"head": "upernet", "output_stride": 16, "width": 16, "auxiliary": False},
    }
    losses = []
    for parts in (1, 2):
        run = trainer(camvid, tmp_path / str(parts), accumulate=parts, **settings)
        run.fit(lambda progress: losses.append(progress.loss))
    assert losses[:2] == pytest.approx(losses[2:], rel=1e-4)


def test_what_cannot_be_scored_fails_before_the_first_step(camvid: Path, tmp_path: Path) -> None:
    sources = [SourceRequest("camvid", camvid)]
    for changes, request, word in (
        ({"metrics": ["vpq"]}, None, "distinguishes objects"),
        ({"metrics": ["mious"]}, None, "metric 'mious': unknown"),
        ({}, SourceRequest("camvid-32", camvid, "val"), "CamVid"),
    ):
        with pytest.raises(VidparseError, match=word):
            fit(
                recipe_from({**TINY, **changes}, "tiny"),
                sources,
                validation=request,
                out=tmp_path,
                device="cpu",
            )

    # Metrics that the data cannot have, before hours of steps: VC needs a mask on every frame.
    drives = tmp_path / "drives"
    for kind, stems in (("images", "ab"), ("masks", "a")):
        for stem in stems:
            (drives / "val" / kind).mkdir(parents=True, exist_ok=True)
            Pillow.fromarray(np.zeros((32, 32), np.uint8)).save(
                drives / "val" / kind / f"{stem}.png"
            )
    labels = labels_to_json(load_labels("camvid"))
    (drives / "labels.json").write_text(json.dumps(labels))
    recipe, scored = recipe_from({**TINY, "metrics": ["vc8"]}, "tiny"), tmp_path / "scored"
    request = SourceRequest("folder", drives, "val")
    with pytest.raises(UsageError, match="vc8: needs a mask on every frame"):
        fit(recipe, sources, validation=request, out=scored, device="cpu")
    with pytest.raises(UsageError, match="vc8: needs a mask on every frame"):
        rehearse(recipe, TrainingRequest(tuple(sources), request))
    assert not scored.exists()

    run = recipe_from({**TINY, "epochs": 1}, "tiny")
    assert fit(run, sources, validates=False, out=tmp_path / "blind", device="cpu") is None
    assert (tmp_path / "blind" / "best.safetensors").exists()


def test_a_run_is_not_overwritten_by_chance(camvid: Path, tmp_path: Path) -> None:
    sources = [SourceRequest("camvid", camvid)]
    run = recipe_from({**TINY, "epochs": 1}, "tiny")
    fit(run, sources, validates=False, out=tmp_path, device="cpu")
    with pytest.raises(UsageError, match=r"holds a run already; go on with --resume"):
        fit(run, sources, validates=False, out=tmp_path, device="cpu")

    # The model alone is worth as much, where people removed the state to save room.
    (tmp_path / "last.safetensors").unlink()
    model = (tmp_path / BEST).read_bytes()
    with pytest.raises(UsageError, match=r"best\.safetensors: is the model of an earlier run"):
        fit(run, sources, validates=False, out=tmp_path, device="cpu")
    assert (tmp_path / BEST).read_bytes() == model
    fit(run, sources, validates=False, out=tmp_path, device="cpu", overwrite=True)


def test_resume_refuses_other_data(camvid: Path, tmp_path: Path) -> None:
    trainer(camvid, tmp_path).fit()
    one, two = SourceRequest("camvid", camvid), SourceRequest("camvid", camvid, "val")
    with pytest.raises(UsageError, match="learnt from other data"):
        fit(
            trainer(camvid, tmp_path / "x").recipe,
            [one, two],
            out=tmp_path,
            resume=tmp_path / "last.safetensors",
            device="cpu",
        )


def test_resume_refuses_classes_in_another_order(camvid: Path, tmp_path: Path) -> None:
    """The weights would fit, and learn each class in place of another."""
    labels = load_labels("camvid")
    root = tmp_path / "set"
    shutil.copytree(camvid / "train", root / "images")
    shutil.copytree(camvid / "trainannot", root / "masks")
    for path in (root / "masks").iterdir():
        mask = np.array(Pillow.open(path))
        Pillow.fromarray(np.where(mask == 11, 255, mask).astype(np.uint8)).save(path)

    record = labels_to_json(labels)
    (root / "labels.json").write_text(json.dumps(record))
    sources = [SourceRequest("folder", root, "train")]
    out, recipe = tmp_path / "out", recipe_from({**TINY, "epochs": 1}, "tiny")
    fit(recipe, sources, validates=False, out=out, device="cpu")
    record["classes"] = record["classes"][::-1]  # type: ignore[index]
    (root / "labels.json").write_text(json.dumps(record))
    last = out / "last.safetensors"
    with pytest.raises(UsageError, match="learnt 'Sky' where the data has 'Bicyclist' now"):
        fit(recipe, sources, validates=False, out=out, resume=last, device="cpu")


def test_a_run_goes_on_in_its_own_folder(camvid: Path, tmp_path: Path) -> None:
    sources = [SourceRequest("camvid", camvid)]
    run = recipe_from({**TINY, "epochs": 1}, "tiny")
    fit(run, sources, validates=False, out=tmp_path / "a", device="cpu")
    last = tmp_path / "a" / "last.safetensors"
    with pytest.raises(UsageError, match="goes on in its own folder"):
        fit(run, sources, validates=False, out=tmp_path / "b", resume=last, device="cpu")
    with pytest.raises(UsageError, match=r"another recipe \(epochs 1, not 2\)"):
        again = recipe_from(TINY, "tiny")
        fit(again, sources, validates=False, out=tmp_path / "a", resume=last, device="cpu")
    with pytest.raises(ModelError, match="is a folder"):
        fit(run, sources, validates=False, out=tmp_path, resume=tmp_path / "a", device="cpu")
    with pytest.raises(ModelError, match="state of a training run"):
        read_description(last)
    best = read_start(str(last.with_name(BEST)))
    assert read_start(str(last)).tensors.keys() == best.tensors.keys()
    assert best.classes is not None and best.classes[8] == "Car"


def test_a_validation_that_failed_is_made_up_for(
    camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **more: object) -> None:
        raise InputError("a mask is damaged")

    whole = trainer(camvid, tmp_path / "whole", epochs=2)
    whole.fit()
    run = trainer(camvid, tmp_path / "run", epochs=2)
    with monkeypatch.context() as patch, pytest.raises(InputError, match="a mask is damaged"):
        patch.setattr("vidparse.training.trainer.validate", broken)
        run.fit()
    assert not (tmp_path / "run" / BEST).exists()
    again = trainer(camvid, tmp_path / "run", epochs=2)
    again.resume(tmp_path / "run" / "last.safetensors")
    assert again.fit() == whole.best
    weights = [load_file(tmp_path / name / BEST) for name in ("whole", "run")]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_a_model_that_is_lost_is_made_anew_and_a_run_begun_anew_keeps_none(
    camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trainer(camvid, tmp_path, epochs=1)
    best = run.fit()
    (tmp_path / BEST).unlink()
    again = trainer(camvid, tmp_path, epochs=1)
    again.resume(tmp_path / "last.safetensors")
    assert again.fit() == best and (tmp_path / BEST).exists()
    anew = trainer(camvid, tmp_path, epochs=1)
    monkeypatch.setattr(anew, "_train_step", lambda stream: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        anew.fit()
    assert not (tmp_path / BEST).exists() and not (tmp_path / "last.safetensors").exists()


def test_a_run_goes_on_where_a_picture_was_damaged(
    camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trainer(camvid, tmp_path / "whole", epochs=2, validate_every=2)
    whole.fit()
    run = trainer(camvid, tmp_path / "run", epochs=2, validate_every=2)
    step = run._train_step

    def damaged_later(stream: Iterator[Batch]) -> dict[str, float]:
        if run.step == 2:
            raise InputError("x.png: damaged; get another copy")
        return step(stream)

    monkeypatch.setattr(run, "_train_step", damaged_later)
    last = tmp_path / "run" / "last.safetensors"
    with pytest.raises(InputError, match=r"get another copy; then go on with --resume .*last"):
        run.fit()
    again = trainer(camvid, tmp_path / "run", epochs=2, validate_every=2)
    again.resume(last)
    assert again.step == 2
    again.fit()
    ends = [load_file(tmp_path / name / "last.safetensors") for name in ("whole", "run")]
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])


def test_nothing_to_learn_is_an_error(camvid: Path, tmp_path: Path) -> None:
    run = trainer(camvid, tmp_path, epochs=1)
    run.sets.first.table[:] = 255
    with pytest.raises(InputError, match="without a pixel of a known class"):
        run.fit()
    run = trainer(camvid, tmp_path / "one", epochs=1, batch_size=1)
    with pytest.raises(UsageError, match="needs two samples at least"):
        run.fit()


def test_a_note_warns_that_scores_on_what_is_learnt_flatter(camvid: Path, tmp_path: Path) -> None:
    notes: list[str] = []
    source = SourceRequest("camvid", camvid)
    run = recipe_from({**TINY, "epochs": 1}, "tiny")
    fit(run, [source], out=tmp_path / "a", device="cpu", on_note=notes.append)
    assert not notes
    fit(run, [source], validation=source, out=tmp_path / "b", device="cpu", on_note=notes.append)
    assert len(notes) == 1 and "the scores flatter" in notes[0]


def test_a_metric_whose_score_has_another_name_chooses_the_best(
    camvid: Path, tmp_path: Path
) -> None:
    """`--set metrics=["boundary"]` scores as boundary_iou: the last weights are not the best."""
    run = trainer(camvid, tmp_path, epochs=1, metrics=["boundary", "miou"])
    best = run.fit()
    _, validations = read_log(tmp_path / "log.jsonl")
    assert best == pytest.approx(validations.scores["boundary_iou"][-1], rel=1e-5)


def test_an_undefined_score_is_beaten_by_any(camvid: Path, tmp_path: Path) -> None:
    run = trainer(camvid, tmp_path)
    run.score = run.best = float("nan")
    assert run._is_best()
    run.score, run.best = 0.3, 0.5
    assert not run._is_best()


def test_nan_ends_with_the_names_of_the_samples(camvid: Path, tmp_path: Path) -> None:
    run = trainer(camvid, tmp_path)
    with torch.no_grad():
        next(iter(run.learner.network.parameters())).fill_(float("nan"))
    with pytest.raises(VidparseError, match=r"became nan at step 0, with .*0001TP_\d+.*; lower"):
        run.fit()


def test_half_precision_trains_where_it_can(camvid: Path, tmp_path: Path) -> None:
    for field, word in (("precision", "GPUs only"), ("norm", "GPUs only")):
        value = {"precision": "fp16", "norm": "sync"}[field]
        with pytest.raises(UsageError, match=word):
            trainer(camvid, tmp_path, **{field: value})
