"""A training recipe: TOML on disk, a frozen record in memory, every field open to override.

A file may begin with `base = "NAME"`: it then holds what differs from that recipe.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from vidparse.errors import UsageError
from vidparse.textfiles import OutOfRange, parse_toml

# Fields whose value is one of a few words.
CHOICES: dict[str, tuple[str, ...]] = {
    "optimizer": ("adamw", "sgd"),
    "norm": ("batch", "sync", "frozen"),
    "precision": ("fp32", "bf16", "fp16"),
    "neighbours": ("video", "simulated"),
    "border": ("reflect", "black", "mean"),
}
# Smallest and largest value of a number.
RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(
        [
            "epochs",
            "batch_size",
            "accumulate",
            "validate_every",
            "bootstrap_least",
        ],
        (1, math.inf),
    ),
    **dict.fromkeys(
        [
            "steps_per_epoch",
            "warmup_steps",
            "workers",
            "lr_backbone",
            "lr_head",
            "weight_decay",
            "poly_power",
            "clip_gradient",
            "auxiliary_weight",
            "lovasz_weight",
            "own_weight",
            "bootstrap_threshold",
        ],
        (0, math.inf),
    ),
    **dict.fromkeys(("reverse", "colour", "blur"), (0, 1)),
    "short_side": (16, 16384),
    "rotation": (0, 180),
    "seed": (0, 2**31 - 1),
}


# Names of fields in files and commands of older versions.
OLDER_NAMES = {"bank_weight": "own_weight"}


def number(default: float, least: float = 0, most: float = math.inf) -> Any:
    """A field of an objective's options that is a number within bounds."""
    return field(default=default, metadata={"range": (least, most)})


def word(default: str, *choices: str) -> Any:
    """A field of an objective's options that is one of a few words."""
    return field(default=default, metadata={"choices": choices})


@dataclass(frozen=True, slots=True)
class NoOptions:
    """The fields of an objective that has none of its own."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides what comes out of a run."""

    arch: str  # key of models.zoo.MODELS
    config: Mapping[str, Any] = field(default_factory=dict)  # the network's own settings
    short_side: int = 360  # network input in use; goes into the checkpoint
    objective: str = "supervised"  # a name of OBJECTIVES: what a step minimises
    teacher: str = ""  # etc: name or path of the model that is distilled

    # schedule
    epochs: int = 60
    steps_per_epoch: int = 0  # 0: one pass over the labelled frames of the first data set
    batch_size: int = 8  # of one step, over all processes
    accumulate: int = 1  # parts a batch is worked through in
    optimizer: str = "adamw"  # or "sgd" (momentum 0.9)
    lr_backbone: float = 2e-4
    lr_head: float = 1e-3
    weight_decay: float = 1e-2  # not on biases and norms
    decay_norms: bool = False  # on the norms' weights after all, as TCB's code has it
    warmup_steps: int = 100
    poly_power: float = 0.9
    ema_decay: float = 0.998  # 0 turns the average off
    clip_gradient: float = 5.0  # largest norm; 0: not clipped
    shard: bool = False  # spread weights and moments over processes (FSDP), for large networks
    norm: str = "batch"  # "sync": over processes (GPUs); "frozen": statistics stay as they are
    precision: str = "bf16"  # autocast of the forward pass; "fp32" turns it off

    # losses
    auxiliary_weight: float = 0.4
    lovasz_weight: float = 0.0
    class_weights: tuple[float, ...] = ()  # one a class
    class_weight_offset: float = 0.0  # > 1: weights are 1 / ln(offset + share of the class)
    bootstrap_threshold: float = 0.0  # > 0: only pixels whose loss is above it (FC-HarDNet: 0.3)
    bootstrap_least: int = 4096  # and at least so many a picture
    own_weight: float = 1.0  # of the network's own terms (ssltm: its category centres)

    # clips
    neighbours: str = "video"  # or "simulated": a camera moving over the target
    reverse: float = 0.5  # tcb, netwarp, ssltm: how often a clip runs backwards

    # labels
    label_fraction: float = 1.0  # of the first data set's frames keep their labels

    # views
    crop_hw: tuple[int, int] = (360, 480)
    scale_range: tuple[float, float] = (0.5, 2.0)  # 1 shows things as large as in use (short_side)
    scales: tuple[float, ...] = ()  # one of these instead of a scale within the range
    flip: bool = True
    rotation: float = 0.0  # degrees
    colour: float = 0.3  # brightness, contrast and saturation are drawn from 1 +- this
    blur: float = 0.1  # how often
    border: str = "reflect"  # beyond the picture, where labels are void; or "black", or "mean"

    # bookkeeping
    validate_every: int = 5  # epochs
    metrics: tuple[str, ...] = ("miou",)  # of eval; the first chooses the best weights
    seed: int = 0
    workers: int = 1

    options: Any = field(default_factory=NoOptions)  # fields of the objective, its `Options`


def available_recipes() -> list[str]:
    """Names of the recipes that ship with vidparse."""
    folder = files("vidparse.training") / "recipes"
    return sorted(e.name.removesuffix(".toml") for e in folder.iterdir() if e.name[-5:] == ".toml")


def load_recipe(
    name: str,
    overrides: Mapping[str, str] | None = None,
    *,
    network: Mapping[str, Any] | None = None,
) -> Recipe:
    """A recipe by name or by path to a TOML file.

    Args:
        overrides: field name (or "config.NAME") -> value in TOML syntax ("3e-4", "[256, 256]").
        network: fields that take the place of the recipe's before `overrides` do.

    Raises:
        UsageError: unknown recipe or field, or a value of the wrong type.
    """
    return _overridden({**_read(name), **(network or {})}, overrides or {}, name)


def changed_recipe(recipe: Recipe, overrides: Mapping[str, str]) -> Recipe:
    """A recipe with fields in TOML syntax in place of its own, as in :func:`load_recipe`."""
    return _overridden(recipe_record(recipe), overrides, "of the run")


def _overridden(values: dict[str, Any], overrides: Mapping[str, str], name: str) -> Recipe:
    values = todays_names(values, name)
    changes = todays_names({key: _parse(key, v) for key, v in overrides.items()}, "--set")
    if changes.get("arch", values.get("arch")) != values.get("arch"):
        values.pop("config", None)  # settings of another network
    for key, value in changes.items():
        _set(values, key, value)
    return recipe_from(values, name)


def _read(name: str, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """Fields of a recipe and of those it is based on, its own first.

    Raises:
        UsageError: no such recipe, not TOML, or based on itself.
    """
    path = Path(name)
    entry = files("vidparse.training") / "recipes" / f"{name}.toml"
    place = path if path.suffix == ".toml" else entry
    if not place.is_file():
        hint = "no such file; check the path" if place is path else "unknown; use "
        known = "" if place is path else ", ".join(available_recipes())
        raise UsageError(f"recipe '{name}': {hint}{known}")

    try:
        values = parse_toml(place.read_bytes())
    except ValueError as error:
        raise UsageError(f"recipe '{name}': not TOML: {error}; mend the line") from error
    values = todays_names(values, name)
    _checked("config", values.get("config", {}), dict, name)
    base = values.pop("base", None)
    if base is None:
        return values

    if not isinstance(base, str):
        raise UsageError(f"recipe '{name}': base = {base!r} should be the name of a recipe")
    if base.endswith(".toml"):
        base = str(path.parent / base)  # beside the file that names it
    if base in (name, *above):
        raise UsageError(f"recipe '{name}': is based on itself; take its line `base` out")
    below = _read(base, (name, *above))
    if "arch" in values and values["arch"] != below.get("arch"):
        below.pop("config", None)  # settings of another network

    config = {**below.get("config", {}), **values.get("config", {})}
    return {**below, **values, "config": config}


def todays_names(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Fields of a recipe of any version, by the names that they have today.

    Raises:
        UsageError: one field has a value by both of its names.
    """
    twice = [old for old, new in OLDER_NAMES.items() if old in values and new in values]
    if twice:
        raise UsageError(
            f"recipe '{name}': {twice[0]} is the older name of {OLDER_NAMES[twice[0]]}; "
            "take one of the two out"
        )
    return {OLDER_NAMES.get(key, key): value for key, value in values.items()}


def recipe_from(values: Mapping[str, Any], name: str) -> Recipe:
    """Check field names, types and ranges and build the record.

    Raises:
        UsageError: see the message.
    """
    from vidparse.training.objectives import OBJECTIVES

    values = todays_names(values, name)
    shared = {f.name for f in fields(Recipe)} - {"options"}
    owned = {f.name for kind in OBJECTIVES.values() for f in fields(kind.Options)}
    known = shared | owned
    unknown = sorted(set(values) - known)
    if unknown:
        near = difflib.get_close_matches(unknown[0], known, n=3)
        raise UsageError(
            f"recipe '{name}': no field {', '.join(unknown)}; "
            + (f"try {', '.join(near)}" if near else f"fields are {', '.join(sorted(known))}")
        )
    if "arch" not in values:
        raise UsageError(f"recipe '{name}': field arch is missing; name a network")

    hints = get_type_hints(Recipe)
    recipe = Recipe(
        **{key: _checked(key, values[key], hints[key], name) for key in values if key in shared}
    )
    _check_words(recipe, CHOICES | {"objective": tuple(OBJECTIVES)}, name)
    _check_ranges(recipe, RANGES, name)
    options = {key: _options(kind.Options, values, name) for key, kind in OBJECTIVES.items()}
    recipe = replace(recipe, options=options[recipe.objective])
    if recipe.batch_size % recipe.accumulate:
        raise UsageError(
            f"recipe '{name}': a batch of {recipe.batch_size} cannot be worked through in "
            f"{recipe.accumulate} equal parts; choose another accumulate"
        )
    for key, is_right, hint in _rules(recipe):
        if not is_right:
            raise UsageError(f"recipe '{name}': {key} = {getattr(recipe, key)!r}: {hint}")
    return recipe


def _options(kind: type[Any], values: Mapping[str, Any], name: str) -> Any:
    """The fields of an objective, checked; those of others are passed over."""
    hints = get_type_hints(kind)
    mine = {f.name: f for f in fields(kind)}
    options = kind(
        **{key: _checked(key, values[key], hints[key], name) for key in values if key in mine}
    )
    for rule, check in (("choices", _check_words), ("range", _check_ranges)):
        ruled = {key: f.metadata[rule] for key, f in mine.items() if rule in f.metadata}
        check(options, ruled, name)
    return options


def _check_words(record: Any, choices: Mapping[str, tuple[str, ...]], name: str) -> None:
    for key, words in choices.items():
        value = getattr(record, key)
        if value not in words:
            raise UsageError(f"recipe '{name}': {key} '{value}': use {', '.join(words)}")


def _check_ranges(record: Any, ranges: Mapping[str, tuple[float, float]], name: str) -> None:
    for key, (least, most) in ranges.items():
        value = getattr(record, key)
        if not least <= value <= most:
            span = f"must be {least:g} or more" if most == math.inf else f"{least:g} to {most:.15g}"
            raise UsageError(f"recipe '{name}': {key} = {value}: {span}")


def _rules(recipe: Recipe) -> list[tuple[str, bool, str]]:
    """(field, whether its value makes sense, what would)."""
    low, *high = recipe.scale_range
    return [
        ("metrics", bool(recipe.metrics), "name one at least"),
        ("crop_hw", len(recipe.crop_hw) == 2 and min(recipe.crop_hw) > 0, "write [height, width]"),
        ("scale_range", len(high) == 1 and 0 < low <= high[0], "write [least, greatest], above 0"),
        ("scales", all(scale > 0 for scale in recipe.scales), "must be above 0"),
        ("label_fraction", 0 < recipe.label_fraction <= 1, "must lie in 0..1"),
        ("ema_decay", 0 <= recipe.ema_decay < 1, "must lie in 0..1"),
        (
            "class_weight_offset",
            recipe.class_weight_offset == 0 or recipe.class_weight_offset > 1,
            "must be above 1, or 0 for none",
        ),
    ]


def recipe_record(recipe: Recipe) -> dict[str, Any]:
    """Plain values for logs and checkpoints."""
    record = asdict(recipe)
    record |= record.pop("options")
    return {k: list(v) if isinstance(v, tuple) else v for k, v in record.items()}


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The first field of two records that is not the same, in words."""
    for name in sorted(before.keys() | now.keys()):
        one, other = before.get(name), now.get(name)
        if isinstance(one, dict) and isinstance(other, dict) and one != other:
            return f"config.{difference(one, other)}"
        if one != other:
            return f"{name} {json.dumps(one)}, not {json.dumps(other)}"
    return "in nothing"


def with_config(recipe: Recipe, **settings: Any) -> Recipe:
    """The recipe with more network settings (the number of classes, for one)."""
    return replace(recipe, config={**recipe.config, **settings})


def _checked(key: str, value: Any, wanted: Any, name: str) -> Any:
    """A value of the type of its field.

    Raises:
        UsageError: it is of another, or a number that is none.
    """
    if key == "config":
        if not isinstance(value, Mapping):
            raise UsageError(f"recipe '{name}': config = {value!r} should be a table")
        return value
    if get_origin(wanted) is not tuple:
        return _plain(key, value, wanted, name)
    if not isinstance(value, (list, tuple)):
        raise UsageError(f"recipe '{name}': {key} = {value!r} should be a list")
    return tuple(_plain(key, one, get_args(wanted)[0], name) for one in value)


def _plain(key: str, value: Any, wanted: type, name: str) -> Any:
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    mixed_up = isinstance(value, bool) and wanted is not bool
    if not isinstance(value, wanted) or mixed_up:
        raise UsageError(f"recipe '{name}': {key} = {value!r} should be {wanted.__name__}")
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"recipe '{name}': {key} = {value!r}: write a finite number")
    return value


def _set(values: dict[str, Any], key: str, value: Any) -> None:
    if key.startswith("config."):
        values.setdefault("config", {})[key.removeprefix("config.")] = value
    else:
        values[key] = value


def _parse(key: str, text: str) -> Any:
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
