"""Recipes are tables: files with them, files of former versions, overrides, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vidparse.errors import UsageError
from vidparse.training import available_recipes, load_recipe
from vidparse.training.recipe import difference, short_names
from vidparse.training.recipe_file import changed_recipe, recipe_from

TABLES = """
[network]
arch = "perframe"
[network.config]
width = 9
[optimiser]
kind = "sgd"
[objective]
kind = "etc"
gap = 2
[validation]
every = 3
"""
FLAT = """
arch = "perframe"
optimizer = "sgd"
objective = "etc"
gap = 2
validate_every = 3
[config]
width = 9
"""


def written(folder: Path, text: str, name: str = "mine.toml") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_former_files_are_read_with_a_note(tmp_path: Path) -> None:
    notes: list[str] = []
    now = load_recipe(written(tmp_path, TABLES), on_note=notes.append)
    assert not notes
    assert load_recipe(written(tmp_path, FLAT), on_note=notes.append) == now
    assert len(notes) == 1 and "write arch below [network]" in notes[0]
    assert (now.optimiser.kind, now.validation.every) == ("sgd", 3)
    assert now.objective.kind == "etc" and now.network.config == {"width": 9}


def test_the_command_passes_the_note_on(cli, tmp_path: Path) -> None:
    former = cli("train", "--recipe", written(tmp_path, FLAT), "--dry-run")
    assert former.code == 0 and "note: recipe" in former.err
    now = cli("train", "--recipe", written(tmp_path, TABLES), "--dry-run")
    assert now.code == 0 and now.err == ""
    assert json.loads(former.out) == json.loads(now.out)


def test_a_file_of_tables_may_be_based_on_a_former_one(tmp_path: Path) -> None:
    written(tmp_path, FLAT, "former.toml")
    child = (
        "\n[network.config]\nskip_channels = 4\n[optimiser]\nlr_head = 1\n[objective]\ngap = 5\n"
    )
    recipe = load_recipe(written(tmp_path, f'base = "former.toml"{child}'))
    assert recipe.network.config == {"width": 9, "skip_channels": 4}
    assert (recipe.optimiser.kind, recipe.optimiser.lr_head) == ("sgd", 1.0)
    assert short_names(recipe.record())["gap"] == 5


@pytest.mark.parametrize(
    ("place", "short", "text"),
    [
        ("optimiser.lr_head", "lr_head", "0.5"),
        ("optimiser.kind", "optimizer", "sgd"),
        ("objective.kind", "objective", "stcl"),
        ("objective.own_weight", "bank_weight", "0.5"),
        ("network.config.width", "config.width", "7"),
        ("network.config", "config", "{width = 7}"),
        ("validation.every", "validate_every", "2"),
        ("views.crop_hw", "crop_hw", "[64, 96]"),
    ],
)
def test_a_field_is_set_with_and_without_its_table(place: str, short: str, text: str) -> None:
    plain = load_recipe("street-plain")
    changed = load_recipe("street-plain", {place: text})
    assert changed != plain
    assert (
        load_recipe("street-plain", {short: text})
        == changed
        == changed_recipe(plain, {short: text})
    )
    with pytest.raises(UsageError, match=f"{place} has a value already"):
        load_recipe("street-plain", {place: text, short: text})


@pytest.mark.parametrize("name", available_recipes())
def test_shipped_recipes_are_tables_and_come_back_from_their_records(name: str) -> None:
    notes: list[str] = []
    recipe = load_recipe(name, on_note=notes.append)
    assert not notes
    record = json.loads(json.dumps(recipe.record()))
    assert recipe_from(record, name) == recipe
    assert difference(record, recipe.record()) == "in nothing"


def test_what_is_not_a_recipe_is_refused_in_one_line(tmp_path: Path) -> None:
    head = '[network]\narch = "perframe"\n'
    for text, words in (
        (head + "[optimiser]\nlr_haed = 1\n", "no field optimiser.lr_haed; try lr_head"),
        (head + "[optimizer]\nkind = 'sgd'\n", "optimizer = .* should be str"),
        (head + "[speed]\nlr_head = 1\n", "no field speed"),
        (
            "epochs = 2\n" + head + "[schedule]\nepochs = 3\n",
            "epochs is the older name of schedule",
        ),
        ("views = 3\n" + head, "views = 3 should be a table"),
        (head + "config = 3\n", "config = 3 should be a table"),
        (head + "[data]\nlabel_fraction = 0\n", "label_fraction = 0: above 0 to 1"),
        (head + "[optimiser]\nema_decay = 1\n", "ema_decay = 1: 0 to below 1"),
        (head + "[views]\nscales = [1.0, 0.0]\n", r"scales = 0.0: must be above 0"),
        (head + "[views]\nscale_range = [2, 1]\n", r"write \[least, greatest\], above 0"),
        (head + "[views]\nborder = 'grey'\n", "border 'grey': use reflect, black, mean"),
        (head + "[views]\nborder = 3\n", "border = 3 should be str"),
        (head + "[views]\nflip = 1\n", "flip = 1 should be bool"),
        (head + "[objective]\nkind = 'etc'\ntemporal_kind = 'l2'\n", "'l2': use kl, mse"),
        (head + "[objective]\nclass_weights = ['a']\n", "class_weights = 'a' should be float"),
        (head + "[validation]\nevery = 0\n", "validate_every = 0: must be 1 or more"),
        ("[schedule]\nepochs = 3\n", "field arch is missing"),
    ):
        with pytest.raises(UsageError, match=words) as raised:
            load_recipe(written(tmp_path, text))
        assert "\n" not in str(raised.value)


def test_differences_have_the_names_that_set_takes() -> None:
    plain = load_recipe("street-plain").record()
    for field, text, words in (
        ("epochs", "9", "epochs 18, not 9"),
        ("optimizer", "sgd", 'optimizer "adamw", not "sgd"'),
        ("config.width", "7", "config.width 128, not 7"),
    ):
        assert difference(plain, load_recipe("street-plain", {field: text}).record()) == words
