"""The files of a model in a folder or a repository."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from vidparse.errors import ModelError
from vidparse.hub.known import CatalogueEntry
from vidparse.textfiles import JsonTable, as_table, parse_json

CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
WEIGHTS = "model.safetensors"
TRAINED = "best.safetensors"  # of the folder of a training run
SHARDS = "model.safetensors.index.json"  # lists the parts of weights that come in several files


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model on this machine: one or more of its forms, or a folder that transformers reads."""

    name: str
    weights: Path | None  # safetensors
    onnx: Path | None
    entry: CatalogueEntry | None = None
    transformers: Path | None = None  # config.json, preprocessor_config.json, model.safetensors
    int8: Path | None = None  # ONNX that computes in int8, beside one in float32

    def in_int8(self) -> Self:
        """The same model, whose ONNX file is the one that computes in int8."""
        entry = self.entry and replace(self.entry, onnx_sha256=self.entry.int8_sha256)
        return replace(self, onnx=self.int8, entry=entry)


@dataclass(frozen=True, slots=True)
class ModelFileNames:
    """Names of the files that make up a model."""

    weights: str | None
    onnx: str | None
    shards: tuple[str, ...] = ()  # transformers weights in several files


def choose(names: Sequence[str], file: str, place: str) -> ModelFileNames:
    """The model among the files of a repository or folder.

    Args:
        names: relative paths. file: the wanted one; "" for model.safetensors, else
            best.safetensors, else the only .safetensors, with the .onnx of the same name; else the
            only .onnx.
        place: for messages.

    Raises:
        ModelError: there is none, or several that it could be.
    """
    if file:
        if file not in names:
            raise ModelError(f"{place}: no file '{file}'; it holds {_listed(names)}")
        if not file.endswith((".safetensors", ".onnx")):
            raise ModelError(f"{place}: '{file}' is no .safetensors or .onnx file; name one")
        return ModelFileNames(None, file) if file.endswith(".onnx") else ModelFileNames(file, None)

    top = [name for name in names if "/" not in name]

    # Look for the list of parts first: a part alone looks like weights, and is no network.
    if SHARDS in top:
        shards = tuple(n for n in top if n.startswith("model-") and n.endswith(".safetensors"))
        return ModelFileNames(SHARDS, None, shards)
    weights = [n for n in top if n.endswith(".safetensors")]

    # Prefer the usual names: the folder of a training run holds last.safetensors, too.
    for usual in (WEIGHTS, TRAINED):
        if usual in weights:
            weights = [usual]
            break

    onnx = [name for name in top if name.endswith(".onnx")]
    if len(weights) == 1:
        twin = f"{weights[0].removesuffix('.safetensors')}.onnx"
        return ModelFileNames(weights[0], twin if twin in onnx else None)
    if len(weights) > 1 or len(onnx) > 1:
        raise ModelError(f"{place}: holds several models; name one of {_listed(weights or onnx)}")
    if not onnx:
        raise ModelError(f"{place}: holds no .safetensors or .onnx file, but {_listed(names)}")
    return ModelFileNames(None, onnx[0])


def files_in(folder: Path, file: str, name: str) -> ModelFiles:
    """The model in a folder: ours, or one that transformers reads.

    Raises:
        ModelError: there is none, or several that it could be.
    """
    names = [file] if file and (folder / file).is_file() else _names_in(folder)
    chosen = choose(names, file, str(name))
    weights = folder / chosen.weights if chosen.weights else None
    ours = weights is not None and weights.suffix == ".safetensors" and is_described(weights)
    if not ours and not file and is_transformers(folder):
        # Look for every part: a download that ended early leaves a list without them.
        if any(not (folder / shard).is_file() for shard in _shards(folder)):
            raise ModelError(f"{name}: parts of its weights are missing; fetch it again")
        return ModelFiles(name, None, None, transformers=folder)
    return ModelFiles(name, weights, folder / chosen.onnx if chosen.onnx else None)


def is_transformers(folder: Path) -> bool:
    """True if config.json describes a network of transformers."""
    return bool(_read_json(folder / CONFIG).get("architectures"))


def is_described(path: Path) -> bool:
    """True if a .safetensors file carries vidparse's description."""
    return "vidparse" in read_table(path)


def read_table(path: Path) -> dict[str, str]:
    """The string table of a .safetensors file, without its tensors; {} when it has none."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError):
        return {}  # the loader of the file reports its fault


def _names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def _shards(folder: Path) -> set[str]:
    weight_map = _read_json(folder / SHARDS).get("weight_map")
    return {str(part) for part in weight_map.values()} if isinstance(weight_map, dict) else set()


def _read_json(path: Path) -> JsonTable:
    try:
        return as_table(parse_json(path.read_bytes()), path.name)
    except (OSError, TypeError, ValueError):
        return {}


def _listed(names: Sequence[str]) -> str:
    shown = [name for name in names if not name.startswith(".")]
    more = f" and {len(shown) - 6} more" if len(shown) > 6 else ""
    return ", ".join(shown[:6]) + more or "nothing"
