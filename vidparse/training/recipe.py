"""A training recipe: TOML on disk, a frozen record in memory, every field open to override."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, get_type_hints

from vidparse.errors import UsageError


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides what comes out of a run."""

    arch: str  # key of models.zoo.MODELS
    config: Mapping[str, Any] = field(default_factory=dict)  # the network's own settings
    short_side: int = 360  # network input in use; goes into the checkpoint

    # schedule
    epochs: int = 60
    batch_size: int = 8
    optimizer: str = "adamw"  # or "sgd" (momentum 0.9)
    lr_backbone: float = 2e-4
    lr_head: float = 1e-3
    weight_decay: float = 1e-2  # not on biases and norms
    warmup_steps: int = 100
    poly_power: float = 0.9
    ema_decay: float = 0.998  # 0 turns the average off
    clip_gradient: float = 5.0
    precision: str = "bf16"  # autocast of the forward pass; "fp32" turns it off

    # losses
    auxiliary_weight: float = 0.4
    lovasz_weight: float = 0.0
    class_weight_offset: float = 0.0  # 0: unweighted; else 1 / ln(offset + share)

    # views
    crop_hw: tuple[int, int] = (360, 480)
    scale_range: tuple[float, float] = (0.5, 2.0)

    # bookkeeping
    validate_every: int = 5  # epochs
    seed: int = 0
    workers: int = 1


def available_recipes() -> list[str]:
    """Names of the recipes that ship with vidparse."""
    folder = files("vidparse.training") / "recipes"
    return sorted(e.name.removesuffix(".toml") for e in folder.iterdir() if e.name[-5:] == ".toml")


def load_recipe(name: str, overrides: Mapping[str, str] | None = None) -> Recipe:
    """A recipe by name or by path to a TOML file.

    Args:
        overrides: field name (or "config.NAME") -> value in TOML syntax ("3e-4", "[256, 256]").

    Raises:
        UsageError: unknown recipe or field, or a value of the wrong type.
    """
    path = Path(name)
    if path.suffix == ".toml":
        if not path.is_file():
            raise UsageError(f"recipe '{name}': no such file; check the path")
        text = path.read_text(encoding="utf-8")
    else:
        entry = files("vidparse.training") / "recipes" / f"{name}.toml"
        if not entry.is_file():
            raise UsageError(f"recipe '{name}': unknown; use {', '.join(available_recipes())}")
        text = entry.read_text(encoding="utf-8")
    try:
        values = tomllib.loads(text)
        for key, value in (overrides or {}).items():
            _set(values, key, _parse(value))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"recipe '{name}': not TOML: {error}; mend the line") from error
    return recipe_from(values, name)


def recipe_from(values: Mapping[str, Any], name: str) -> Recipe:
    """Check field names and types and build the record."""
    known = {f.name for f in fields(Recipe)}
    unknown = set(values) - known
    if unknown:
        raise UsageError(
            f"recipe '{name}': no field {', '.join(sorted(unknown))}; "
            f"fields are {', '.join(sorted(known))}"
        )
    if "arch" not in values:
        raise UsageError(f"recipe '{name}': field arch is missing; name a network")
    hints = get_type_hints(Recipe)
    checked = {}
    for key, value in values.items():
        wanted = hints[key]
        if wanted is float and isinstance(value, int):
            value = float(value)
        if key in ("crop_hw", "scale_range"):
            value = tuple(value)
        plain = {int: int, float: float, str: str}.get(wanted)
        if plain and (not isinstance(value, plain) or isinstance(value, bool)):
            raise UsageError(f"recipe '{name}': {key} = {value!r} should be {plain.__name__}")
        checked[key] = value
    return Recipe(**checked)


def recipe_record(recipe: Recipe) -> dict[str, Any]:
    """Plain values for logs and checkpoints."""
    record = asdict(recipe)
    return {k: list(v) if isinstance(v, tuple) else v for k, v in record.items()}


def with_config(recipe: Recipe, **settings: Any) -> Recipe:
    """The recipe with more network settings (the number of classes, for one)."""
    return replace(recipe, config={**recipe.config, **settings})


def _set(values: dict[str, Any], key: str, value: Any) -> None:
    if key.startswith("config."):
        values.setdefault("config", {})[key.removeprefix("config.")] = value
    else:
        values[key] = value


def _parse(text: str) -> Any:
    """A TOML value; bare words are strings."""
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text
