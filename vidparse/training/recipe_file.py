"""Recipes from TOML, command lines and records: read, brought to today's form, checked.

A file may begin with `base = "NAME"`: it then holds what differs from that recipe.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import TypeVar, get_args

from annotated_types import Ge, Gt, Le, Lt
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from vidparse.errors import UsageError
from vidparse.filenames import is_file
from vidparse.requests.training import available_recipes
from vidparse.textfiles import Json, JsonTable, OutOfRange, parse_toml
from vidparse.training.objectives import OBJECTIVES
from vidparse.training.recipe import (
    OLDER_NAMES,
    TABLES,
    ObjectiveOptions,
    Recipe,
    RecipeTable,
    short_name,
)

_Table = TypeVar("_Table", bound=RecipeTable)

# Faults of a value by pydantic's names, and in words.
_TYPES = {
    "int_type": "should be int",
    "float_type": "should be float",
    "bool_type": "should be bool",
    "string_type": "should be str",
    "tuple_type": "should be a list",
    "dict_type": "should be a table",
    "finite_number": "write a finite number",
}


def load_recipe(
    name: str,
    overrides: Mapping[str, str] | None = None,
    *,
    network: Mapping[str, Json] | None = None,
    on_note: Callable[[str], None] = lambda _: None,
) -> Recipe:
    """A recipe by name or by path to a TOML file.

    Args:
        overrides: field -> value in TOML syntax ("3e-4", "[256, 256]"). A field is named with its
            table ("optimiser.lr_head") or without ("lr_head"); settings of the network are
            "config.NAME".
        network: fields of [network] that take the place of the recipe's before `overrides` do.
        on_note: gets a line for each file in the form of former versions.

    Raises:
        UsageError: unknown recipe or field, or a value of the wrong type.
    """
    tables = _read(name, on_note)
    tables["network"] = {**_fields_of(tables, "network", name), **(network or {})}
    return _overridden(tables, overrides or {}, name)


def changed_recipe(recipe: Recipe, overrides: Mapping[str, str]) -> Recipe:
    """A recipe with fields in TOML syntax in place of its own, as in :func:`load_recipe`."""
    return _overridden(recipe.record(), overrides, "of the run")


def recipe_from(values: Mapping[str, Json], name: str) -> Recipe:
    """Check names, types and bounds of all fields and build the record.

    Args:
        values: of a recipe of any version. Fields of other objectives are checked and left out.

    Raises:
        UsageError: see the message.
    """
    tables = upgrade(values, name)
    _check_names(tables, name)
    objective = _objective(_fields_of(tables, "objective", name), name)
    built = {
        table: _built(kind, _fields_of(tables, table, name), name, table)
        for table, kind in TABLES.items()
        if table != "objective"
    }
    recipe = Recipe.model_validate({**built, "objective": objective})

    # Check what holds between two fields here: pydantic sees each by itself.
    schedule = recipe.schedule
    if schedule.batch_size % schedule.accumulate:
        raise UsageError(
            f"recipe '{name}': a batch of {schedule.batch_size} cannot be worked through in "
            f"{schedule.accumulate} equal parts; choose another accumulate"
        )
    if recipe.data.labels_per_video and recipe.data.label_fraction < 1:
        raise UsageError(
            f"recipe '{name}': label_fraction and labels_per_video both choose the labels "
            "of the run; leave one out"
        )
    return recipe


def upgrade(values: Mapping[str, Json], name: str) -> JsonTable:
    """The tables of a recipe of any version; what no version knows stays as it is.

    In former versions fields stand outside of tables, some by other names.

    Raises:
        UsageError: one field has a value by both of its names.
    """
    older = _outside(values)

    # Copy the tables: the caller's record must stay as it was.
    tables: JsonTable = {
        key: dict(value) if isinstance(value, dict) else value
        for key, value in values.items()
        if key not in older
    }

    # Move each older field into its table, unless that has it already.
    given: dict[str, str] = {}
    for key, place in older.items():
        table, _, field = place.partition(".")
        tables.setdefault(table, {})
        fields = _fields_of(tables, table, name)
        if field in fields:
            raise UsageError(
                f"recipe '{name}': {key} is the older name of {given.get(place, place)}; "
                "take one of the two out"
            )
        fields[field], given[place] = values[key], key
    return tables


def _outside(values: Mapping[str, Json]) -> dict[str, str]:
    """The fields that stand outside of tables, and their places in them."""
    # Put older names last: of two names the later one is reported as the older.
    places = _places()
    return {
        key: places[key]
        for key in sorted(values, key=lambda key: key in OLDER_NAMES)
        if key in places and not (key in TABLES and isinstance(values[key], dict))
    }


def _places() -> dict[str, str]:
    """The table and field, "optimiser.lr_head", of every short and older name."""
    places = {
        short_name(table, field): f"{table}.{field}"
        for table in TABLES
        for field in _known_fields(table)
    }
    return places | OLDER_NAMES


def _known_fields(table: str) -> dict[str, FieldInfo]:
    """The fields of a table; of [objective] those of every objective."""
    found = dict(TABLES[table].model_fields)
    if table == "objective":
        for kind in OBJECTIVES.values():
            found |= kind.Options.model_fields
    return found


def _read(name: str, on_note: Callable[[str], None], above: tuple[str, ...] = ()) -> JsonTable:
    """Tables of a recipe and of those it is based on, its own fields first.

    Raises:
        UsageError: no such recipe, not TOML, or based on itself.
    """
    path = Path(name)
    entry = files("vidparse.training") / "recipes" / f"{name}.toml"
    place = path if path.suffix == ".toml" else entry
    if not (is_file(path) if place is path else name in available_recipes()):
        hint = "no such file; check the path" if place is path else "unknown; use "
        known = "" if place is path else ", ".join(available_recipes())
        raise UsageError(f"recipe '{name}': {hint}{known}")

    try:
        values = parse_toml(place.read_bytes())
    except ValueError as error:
        raise UsageError(f"recipe '{name}': not TOML: {error}; mend the line") from error
    base = values.pop("base", None)
    tables = upgrade(values, name)
    older = _outside(values)
    if older:
        key, table = next((key, place.partition(".")[0]) for key, place in older.items())
        on_note(
            f"recipe '{name}': has fields outside of tables, which a later release will not read; "
            f"write {key} below [{table}], and so on as in vidparse/training/recipes"
        )

    # Check each file by itself, so that errors name it and not one based on it.
    for table in tables.keys() & TABLES.keys():
        _fields_of(tables, table, name)
    _fields_of(_fields_of(tables, "network", name), "config", name)
    if base is None:
        return tables

    if not isinstance(base, str):
        raise UsageError(f"recipe '{name}': base = {base!r} should be the name of a recipe")
    if base.endswith(".toml"):
        base = str(path.parent / base)  # beside the file that names it
    if base in (name, *above):
        raise UsageError(f"recipe '{name}': is based on itself; take its line `base` out")
    return _joined(_read(base, on_note, (name, *above)), tables, name)


def _joined(below: JsonTable, above: JsonTable, name: str) -> JsonTable:
    """Checked tables with the fields of those above in place of those below."""
    joined: JsonTable = {
        table: {**_fields_of(below, table, name), **_fields_of(above, table, name)}
        if table in TABLES
        else above.get(table, below.get(table))
        for table in {**below, **above}
    }
    old, new = _fields_of(below, "network", name), _fields_of(above, "network", name)

    # Inherit settings of the same network alone: others have other fields.
    same = new.get("arch", old.get("arch")) == old.get("arch")
    inherited = _fields_of(old, "config", name) if same else {}
    settings: JsonTable = {**inherited, **_fields_of(new, "config", name)}
    return joined | {"network": _fields_of(joined, "network", name) | {"config": settings}}


def _overridden(tables: JsonTable, overrides: Mapping[str, str], name: str) -> Recipe:
    """The recipe of checked tables with values in TOML syntax in them."""
    places = _places()
    changes: JsonTable = {}
    for key, text in overrides.items():
        place = f"network.{key}" if key.startswith("config.") else places.get(key, key)
        if place in changes:
            raise UsageError(f"--set {key}={text}: {place} has a value already; leave one out")
        changes[place] = _parse(key, text)

    network = _fields_of(tables, "network", name)
    if changes.get("network.arch", network.get("arch")) != network.get("arch"):
        # Drop the settings, which are those of another network.
        network.pop("config", None)
    for place, value in changes.items():
        *path, field = place.split(".", 2) if place.partition(".")[0] in TABLES else [place]
        fields = tables
        for table in path:
            fields.setdefault(table, {})
            fields = _fields_of(fields, table, name)
        fields[field] = value
    return recipe_from(tables, name)


def _parse(key: str, text: str) -> Json:
    """A TOML value; bare words are strings.

    Raises:
        UsageError: a number that is infinite, none at all, or beyond 64 bits.
    """
    try:
        return parse_toml(f"v = {text}")["v"]
    except OutOfRange as error:
        raise UsageError(f"--set {key}={text}: {error}; write a finite number") from error
    except ValueError:
        return text


def _fields_of(tables: JsonTable, table: str, name: str) -> JsonTable:
    """A table by its name, empty where there is none. Raises: UsageError: it is no table."""
    fields = tables.get(table, {})
    if not isinstance(fields, dict):
        raise UsageError(f"recipe '{name}': {table} = {fields!r} should be a table")
    return fields


def _check_names(tables: JsonTable, name: str) -> None:
    """Raises: UsageError: a name that is no field, or a table that is none."""
    unknown = sorted(key for key in tables if key not in TABLES)
    for table in tables.keys() & TABLES.keys():
        fields = _fields_of(tables, table, name)
        unknown += sorted(f"{table}.{key}" for key in fields if key not in _known_fields(table))
    if not unknown:
        return
    known = _places().keys() - OLDER_NAMES.keys()
    last = unknown[0].rpartition(".")[2]

    # Offer a field of this very name first: some are called by their table, too (validate_every).
    same = [short for short, place in _places().items() if place.endswith(f".{last}")]
    near = same or difflib.get_close_matches(last, known, n=3)
    raise UsageError(
        f"recipe '{name}': no field {', '.join(unknown)}; "
        + (f"try {', '.join(near)}" if near else f"fields are {', '.join(sorted(known))}")
    )


def _objective(fields: JsonTable, name: str) -> ObjectiveOptions:
    """The table of the objective that it names; fields of others are checked alone."""
    built = {
        kind: _built(
            objective.Options,
            {key: fields[key] for key in fields if key in objective.Options.model_fields},
            name,
            "objective",
        )
        for kind, objective in OBJECTIVES.items()
    }

    # Read the name from any of them: all tables have the field.
    chosen = next(iter(built.values())).kind if built else ""
    if chosen not in built:
        raise UsageError(f"recipe '{name}': objective '{chosen}': use {', '.join(OBJECTIVES)}")
    return built[chosen]


def _built(kind: type[_Table], fields: Mapping[str, object], name: str, table: str) -> _Table:
    """A table of checked names.

    Raises:
        UsageError: a value of another type or out of bounds; the message shows the first.
    """
    try:
        return kind.model_validate(dict(fields))
    except ValidationError as error:
        problem = error.errors()[0]
    key = str(problem["loc"][0])
    reason = _problem(problem, short_name(table, key), kind.model_fields[key])
    raise UsageError(f"recipe '{name}': {reason}")


def _problem(problem: ErrorDetails, key: str, field: FieldInfo) -> str:
    """The fault that pydantic found in a field, in words."""
    kind, value = problem["type"], problem["input"]
    if kind == "missing":
        return f"field {key} is missing; name a network"
    if kind == "literal_error" and isinstance(value, str):
        words = get_args(field.annotation)
        return f"{key} '{value}': use {', '.join(words)}"
    if kind == "literal_error":
        return f"{key} = {value!r} should be str"
    if kind in _TYPES:
        return f"{key} = {value!r}{':' if kind == 'finite_number' else ''} {_TYPES[kind]}"
    if kind == "value_error":
        return f"{key} = {value!r}: {problem['ctx']['error']}"
    return f"{key} = {value}: {_bounds(problem, field)}"


def _bounds(problem: ErrorDetails, field: FieldInfo) -> str:
    """The bounds of a number in words; of one in a list the bound that it breaks."""
    low = next((rule for rule in field.metadata if isinstance(rule, Ge | Gt)), None)
    high = next((rule for rule in field.metadata if isinstance(rule, Le | Lt)), None)
    if high is None or low is None:
        broken = problem["ctx"]
        return (
            f"must be {broken['ge']:g} or more"
            if "ge" in broken
            else f"must be above {broken['gt']:g}"
        )
    least = f"{low.ge:g}" if isinstance(low, Ge) else f"above {low.gt:g}"
    most = f"{high.le:.15g}" if isinstance(high, Le) else f"below {high.lt:.15g}"
    return f"{least} to {most}"
