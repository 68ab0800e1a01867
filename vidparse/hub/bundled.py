"""The catalogue: models that vidparse knows by name, in its own weights folder or on the hub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from vidparse.errors import ModelError, UsageError
from vidparse.hub.published import published_models
from vidparse.labels import Labels, available_labels, classes_like, load_labels
from vidparse.textfiles import JsonTable, as_number, as_table, as_word, parse_json


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One model that vidparse knows by name."""

    name: str
    weights: str  # safetensors file in the weights folder or the repository
    sha256: str
    onnx: str  # as weights; "" where there is none
    onnx_sha256: str
    labels: str
    summary: str  # one line for people
    licence: str
    scores: dict[str, float]
    repo: str = ""  # owner/repo on the hub; "" for what comes with vidparse
    revision: str = ""  # commit that the sums are of


def weights_folder() -> Path:
    """The bundled weights: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "weights", package.parent / "weights"):
        if (folder / "catalogue.json").is_file():
            return folder
    raise ModelError(f"{package / 'weights'}: bundled weights are missing; reinstall vidparse")


@lru_cache(maxsize=1)
def catalogue() -> dict[str, CatalogueEntry]:
    """Known models by name.

    Raises:
        ModelError: the weights folder is missing or its catalogue damaged.
    """
    path = weights_folder() / "catalogue.json"
    try:
        records = as_table(parse_json(path.read_bytes()), "the catalogue")
        return {name: _entry(name, as_table(one, name)) for name, one in records.items()}
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{path}: damaged ({error}); reinstall vidparse") from error


def _entry(name: str, fields: JsonTable) -> CatalogueEntry:
    """Raises: KeyError, TypeError: a field is missing, or of another type."""
    scores = as_table(fields["scores"], "scores")
    return CatalogueEntry(
        name=name,
        weights=as_word(fields["weights"], "weights"),
        sha256=as_word(fields["sha256"], "sha256"),
        onnx=as_word(fields["onnx"], "onnx"),
        onnx_sha256=as_word(fields["onnx_sha256"], "onnx_sha256"),
        labels=as_word(fields["labels"], "labels"),
        summary=as_word(fields["summary"], "summary"),
        licence=as_word(fields["licence"], "licence"),
        scores={metric: as_number(score, metric) for metric, score in scores.items()},
        repo=as_word(fields.get("repo", ""), "repo"),
        revision=as_word(fields.get("revision", ""), "revision"),
    )


def select_classes(labels: Labels, names: Sequence[str]) -> tuple[int, ...]:
    """Ids of classes by name; the error names known models that have what this label set has not.

    Raises:
        UsageError: a name is not in the label set.
    """
    for name in names:
        try:
            labels.select([name])
        except UsageError as error:
            models = _models_knowing(name)
            if classes_like(name, labels.classes):  # then only those that call it the same
                same = name.strip().casefold()
                models = {one: word for one, word in models.items() if word.casefold() == same}
            if not models:
                raise
            others = ", ".join(f"-m {model} ('{called}')" for model, called in models.items())
            raise UsageError(f"{error}; or a model that knows it: {others}") from None
    return labels.select(names)


def _models_knowing(name: str) -> dict[str, str]:
    """Known models with a class that means `name`, and what they call it."""
    found = {}
    for entry in catalogue().values():
        alike = classes_like(name, load_labels(entry.labels).classes)
        if alike:
            found[entry.name] = alike[0]
    return found or _first_published(name)


def _first_published(name: str) -> dict[str, str]:
    """The first model to be fetched that has it, and what that calls it."""
    for model in published_models().values():
        if model.labels in available_labels():
            alike = classes_like(name, load_labels(model.labels).classes)
            if alike:
                return {model.name: alike[0]}
    return {}
