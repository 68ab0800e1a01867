"""Arms of the comparisons: what differs is the method, and each of them trains."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from support.made_camvid import make_camvid
from vidparse.labels import load_labels
from vidparse.models.zoo import build, settings_for
from vidparse.requests.training import SourceRequest
from vidparse.training.processes import Processes
from vidparse.training.recipe import Recipe, difference
from vidparse.training.recipe_file import load_recipe
from vidparse.training.trainer import Trainer
from vidparse.training.training_sets import open_training_sets

SMALL = {
    "short_side": "60", "crop_hw": "[48, 64]", "batch_size": "2", "epochs": "1", "workers": "0",
    "steps_per_epoch": "2", "precision": "fp32",
}  # fmt: skip

# One arm, its twin, and the fields in which they differ.
ARMS = [
    ("burst-tcb", "burst-ocr", {"arch", "head", "memory"}),
    ("burst-ppm", "burst-psp", {"arch", "head", "key_width", "auxiliary_width"}),
    ("burst-psp", "burst-ocr", {"head", "width", "key_width"}),
    ("burst-ocr-pictures", "burst-ocr", {"batch_size"}),
    ("burst-etc", "burst-ocr", {"objective"}),
    ("street-stcl", "street-pairs", {"contrast_weight"}),
    ("sparse-mean-teacher", "sparse-ocr", {"objective", "batch_size"}),
    ("camvid-stcl", "camvid-pairs", {"contrast_weight"}),
    ("camvid-etc", "camvid-plain", {"objective"}),
    ("camvid-tcb", "camvid-ocr", {"arch", "head", "memory", "skip_channels"}),  # 0 is its own
    ("camvid-mean-teacher", "camvid-eighth", {"objective", "batch_size"}),
]


def fields_of(recipe: Recipe) -> dict[str, Any]:
    """All fields in one table; an objective of another kind is one field."""
    record = recipe.record()
    config = record["network"].pop("config")
    tables = {name: table for name, table in record.items() if name != "objective"}
    found = {field: value for table in tables.values() for field, value in table.items()}
    kind = record["objective"]["kind"]
    of_kind = record["objective"] if kind == "stcl" else {}
    return found | config | of_kind | {"objective": kind}


@pytest.mark.parametrize(("arm", "twin", "apart"), ARMS)
def test_arms_differ_in_nothing_but_their_method(arm: str, twin: str, apart: set[str]) -> None:
    ours, theirs = fields_of(load_recipe(arm)), fields_of(load_recipe(twin))
    named = {name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)}
    assert named <= apart, difference(load_recipe(arm).record(), load_recipe(twin).record())


@pytest.mark.parametrize(("arm", "twin"), [("burst-tcb", "burst-ocr"), ("burst-ppm", "burst-psp")])
def test_networks_with_supports_have_the_weights_of_those_without(arm: str, twin: str) -> None:
    """So the same weights can be read as either, and the gain is not one of size."""
    shapes = []
    for recipe in map(load_recipe, (arm, twin)):
        arch = recipe.network.arch
        settings = {**recipe.network.config, **settings_for(arch, load_labels("camvid"))}
        with torch.device("meta"):
            network = build(arch, settings)
        shapes.append({name: one.shape for name, one in network.state_dict().items()})
    assert shapes[0] == shapes[1]


def run_of(name: str, camvid: Path, out: Path, **fields: str) -> Trainer:
    recipe = load_recipe(name, {**SMALL, **fields})
    sets = open_training_sets(
        [SourceRequest("camvid", camvid)],
        label_fraction=recipe.data.label_fraction,
        labels_per_video=recipe.data.labels_per_video,
    )
    return Trainer(recipe, sets, None, out, processes=Processes(device=torch.device("cpu")))


@pytest.fixture(scope="module")
def camvid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_camvid(tmp_path_factory.mktemp("camvid"))


def test_twins_are_taught_the_same_targets(camvid: Path, tmp_path: Path) -> None:
    tcb, ocr = (run_of(name, camvid, tmp_path / name) for name in ("burst-tcb", "burst-ocr"))
    for _, ours, theirs in zip(range(2), tcb._stream(), ocr._stream(), strict=False):
        assert ours.names == theirs.names and ours.frames.shape[1] == 4
        assert torch.equal(ours.frames[:, -1], theirs.frames[:, -1])
        assert torch.equal(ours.labels[:, -1], theirs.labels[:, -1])


NEW = ["burst-ocr", "burst-tcb", "burst-psp", "burst-ppm", "street-stcl", "sparse-mean-teacher"]
NEW += ["sparse-ssltm"]


@pytest.mark.parametrize("name", NEW)
def test_arms_train(name: str, camvid: Path, tmp_path: Path) -> None:
    """Two steps of each, at a small size; the others differ from these in numbers alone."""
    narrow = {} if "ssltm" not in name else {"config.attention_window": "[3, 2, 2]"}
    run = run_of(name, camvid, tmp_path, **narrow)
    seen: list[dict[str, float]] = []
    run.fit(lambda progress: seen.append(progress.losses))
    assert len(seen) == 2 and all(math.isfinite(sum(losses.values())) for losses in seen)
    assert all(losses["ce"] > 0 for losses in seen)
