"""Where weights come from: a bundled name, or a path."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from vidparse.errors import ModelError

DEFAULT_MODEL = "street-mnv2"


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One model that vidparse knows by name."""

    name: str
    weights: str  # safetensors file in the weights folder
    sha256: str
    onnx: str
    onnx_sha256: str
    labels: str
    summary: str  # one line for people
    licence: str
    scores: dict[str, float]


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model on this machine: one or both of its forms."""

    name: str
    weights: Path | None  # safetensors
    onnx: Path | None
    entry: CatalogueEntry | None = None


def weights_folder() -> Path:
    """The bundled weights: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    for folder in (package / "weights", package.parent / "weights"):
        if (folder / "catalogue.json").is_file():
            return folder
    raise ModelError(f"{package / 'weights'}: bundled weights are missing; reinstall vidparse")


@lru_cache(maxsize=1)
def catalogue() -> dict[str, CatalogueEntry]:
    """Bundled models by name.

    Raises:
        ModelError: the weights folder is missing or its catalogue damaged.
    """
    path = weights_folder() / "catalogue.json"
    try:
        records: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {name: CatalogueEntry(name=name, **fields) for name, fields in records.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: damaged ({error}); reinstall vidparse") from error


def resolve(name: str) -> ModelFiles:
    """Find a model by bundled name or by path to a .safetensors or .onnx file.

    A path stands for that file alone: what lies beside it may be of another age.

    Raises:
        ModelError: unknown name, missing file, or a bundled file that is not what was published.
    """
    path = Path(name)
    if path.suffix in (".safetensors", ".onnx"):
        if not path.is_file():
            raise ModelError(f"{name}: no such file; check the path, or see `vidparse models`")
        is_onnx = path.suffix == ".onnx"
        return ModelFiles(path.stem, None if is_onnx else path, path if is_onnx else None)
    entries = catalogue()
    if name not in entries:
        raise ModelError(
            f"model '{name}': unknown; use {', '.join(sorted(entries))} or a path to a "
            ".safetensors or .onnx file"
        )
    entry = entries[name]
    folder = weights_folder()
    return ModelFiles(name, folder / entry.weights, folder / entry.onnx, entry)
