"""The cache of the Hugging Face hub on this machine, read without its library or the network.

Layout (documented by huggingface_hub): models--OWNER--REPO/refs/REVISION names a commit, whose
files are in snapshots/COMMIT. Read by hand: huggingface_hub takes a quarter of a second to import;
`scan_cache_dir` leaves out a whole repository for one damaged file, and fails for all where a
reference is no text; `snapshot_download(local_files_only=True)` follows a reference such as
"../.." out of the cache.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from vidparse.errors import ModelError
from vidparse.filenames import home_path, user_cache
from vidparse.hub.address import DEFAULT_REVISION, HubAddress
from vidparse.hub.files import CONFIG, ModelFiles, files_in, read_table
from vidparse.textfiles import as_list, as_table, parse_json


@dataclass(frozen=True, slots=True)
class CachedModel:
    """A model of the hub that is on this machine."""

    address: HubAddress
    files: ModelFiles
    labels: str  # name of its label set, or the transformers architecture
    classes: int
    bytes: int


def cache_root() -> Path:
    """$HF_HUB_CACHE, else hub/ in $HF_HOME or in the user's cache folder, as of now.

    huggingface_hub's own constants, this one and that of :func:`is_offline`, are of its import.
    """
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(variable):
            return home_path(os.environ[variable])
    home = os.environ.get("HF_HOME")
    return (home_path(home) if home else user_cache() / "huggingface") / "hub"


def is_offline() -> bool:
    """True if $HF_HUB_OFFLINE forbids the network."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def repo_folder(repo: str) -> Path:
    """The place of a repository in the cache, which need not exist."""
    return cache_root() / f"models--{repo.replace('/', '--')}"


def snapshot(address: HubAddress) -> Path | None:
    """Folder of the files of a revision, as far as they are here."""
    folder = repo_folder(address.repo)
    commit = _commit_in(folder / "refs" / address.revision) or address.revision
    found = folder / "snapshots" / commit
    return found if found.is_dir() else None


def _commit_in(reference: Path) -> str:
    """The commit that a branch or tag stands for; "" for what names no folder of the cache."""
    try:
        commit = reference.read_bytes().decode("ascii").strip()
    except (OSError, ValueError):
        return ""

    # Refuse what is no bare name: "../.." would lead out of the cache.
    return commit if commit.isalnum() else ""


def cached_models() -> list[CachedModel]:
    """Models of the hub that are on this machine: ours, and transformers' for segmentation."""
    found = []
    for folder in sorted(cache_root().glob("models--*--*")):
        repo = folder.name.removeprefix("models--").replace("--", "/", 1)
        for snapshot_folder in sorted((folder / "snapshots").glob("*/")):
            revision = _name_of(folder, snapshot_folder.name)
            found += _models_in(snapshot_folder, HubAddress(repo, revision))
    return found


def _name_of(folder: Path, commit: str) -> str:
    """The branch or tag that stands for a commit, the default one first; else the commit."""
    root = folder / "refs"
    names = [
        str(path.relative_to(root))
        for path in sorted(root.rglob("*"))
        if _commit_in(path) == commit
    ]
    return DEFAULT_REVISION if DEFAULT_REVISION in names else (names or [commit])[0]


def _models_in(folder: Path, address: HubAddress) -> list[CachedModel]:
    # Leave out parts of weights, and links whose file has not come yet.
    named = sorted(
        path.name
        for path in folder.glob("*.safetensors")
        if path.is_file() and "-of-" not in path.name
    )
    try:
        whole = [("", files_in(folder, "", str(address)))]
    except ModelError:  # several models, or none
        whole = [(name, files_in(folder, name, f"{address}/{name}")) for name in named]
    models = []
    for name, files in whole:
        described = _described(files)
        if described is not None:
            place = HubAddress(address.repo, address.revision, name)
            paths = [files.weights, files.onnx, *_weights_of(files.transformers)]
            size = sum(path.stat().st_size for path in paths if path)
            models.append(CachedModel(place, files, *described, size))
    return models


def _described(files: ModelFiles) -> tuple[str, int] | None:
    """Label set and number of classes; None for what is no segmentation network."""
    try:
        if files.transformers:
            config = as_table(parse_json((files.transformers / CONFIG).read_bytes()), CONFIG)
            architecture = str(as_list(config["architectures"], "architectures")[0])
            classes = len(as_table(config.get("id2label") or {}, "id2label"))
            return (architecture, classes) if "Segmentation" in architecture else None
        if files.weights:
            record = as_table(parse_json(read_table(files.weights)["vidparse"]), "the record")
            labels = as_table(record["labels"], "labels")
            return str(labels["name"]), len(as_list(labels["classes"], "classes"))
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        pass  # not ours
    return None


def _weights_of(folder: Path | None) -> list[Path]:
    found = sorted(folder.glob("model*.safetensors")) if folder else []
    return [path for path in found if path.is_file()]
