"""From a model's name to its files: the weights folder, the hub's cache, then a download."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

from vidparse.errors import ModelError
from vidparse.hub import known
from vidparse.hub.address import SCHEME, HubAddress, parse_address
from vidparse.hub.cached import cache_root, is_offline, snapshot
from vidparse.hub.files import WEIGHTS, ModelFiles, files_in
from vidparse.hub.known import CatalogueEntry, catalogue

# Answers of the system that concern one path, not the machine.
_NOT_THERE = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EIO, errno.ESTALE)


def resolve(name: str, *, refresh: bool = False) -> ModelFiles:
    """Find a model; what is not on this machine is downloaded.

    Args:
        name: a known name; hf:owner/repo[@revision][/file]; a .safetensors or .onnx file; or a
            folder that holds one, or a transformers checkpoint. A path to a file stands for that
            file alone: what lies beside it may be of another age.
        refresh: look for a newer version on the hub even when the model is cached.

    Raises:
        ModelError: unknown name, missing file, no network, or a download that is not what was
            published.
    """
    try:
        return _found(name, refresh=refresh)
    except OSError as error:  # of a path; the hub's own failures are ModelErrors
        if isinstance(error.filename, str | os.PathLike) and error.errno in _NOT_THERE:
            raise ModelError(f"{name}: {error.strerror}; check the path and permissions") from error
        raise


def _found(name: str, *, refresh: bool) -> ModelFiles:
    if name.startswith(SCHEME):
        return _from_hub(parse_address(name), name, refresh=refresh)

    path = Path(name)
    if path.suffix in (".safetensors", ".onnx"):
        if not path.is_file():
            raise ModelError(f"{name}: no such file; check the path, or see `vidparse models`")
        is_onnx = path.suffix == ".onnx"
        return ModelFiles(path.stem, None if is_onnx else path, path if is_onnx else None)

    entries = catalogue()
    if name in entries:
        return _known(entries[name], refresh=refresh)

    # A known name comes before a folder of that name, which may lie here by chance.
    if name and path.is_dir():
        return files_in(path, "", name)
    if name and path.is_file():
        raise ModelError(
            f"{name}: not a .safetensors or .onnx file; see `vidparse convert` for other code's"
        )
    raise ModelError(
        f"model '{name}': unknown; use {', '.join(sorted(entries))} or a path to a "
        ".safetensors or .onnx file, or hf:owner/repo"
    )


def found_here(name: str) -> ModelFiles | None:
    """The files of a known name or path, as `resolve` finds them; None where it would fetch them.

    Raises:
        ModelError: as `resolve`.
    """
    if name.startswith(SCHEME):
        return None
    entry = catalogue().get(name)
    return resolve(name) if entry is None else locate(entry)


def locate(entry: CatalogueEntry) -> ModelFiles | None:
    """The files of a known model as far as they are on this machine; None when they are not."""
    folder = known.weights_folder()
    if not entry.repo or (folder / entry.weights).is_file():
        return _forms(entry, folder)
    found = snapshot(_address_of(entry))
    if found is None or not (found / entry.weights).is_file():
        return None
    files = _forms(entry, found)

    # Leave out what a download of an older version did not bring.
    return replace(files, onnx=_if_here(files.onnx), int8=_if_here(files.int8))


def _if_here(path: Path | None) -> Path | None:
    return path if path and path.is_file() else None


def _forms(entry: CatalogueEntry, folder: Path) -> ModelFiles:
    return ModelFiles(
        entry.name,
        folder / entry.weights,
        folder / entry.onnx if entry.onnx else None,
        entry,
        int8=folder / entry.int8 if entry.int8 else None,
    )


def _known(entry: CatalogueEntry, *, refresh: bool) -> ModelFiles:
    files = locate(entry)
    if files is not None and not (refresh and entry.repo):
        return files
    _refuse_offline(entry.name)
    from vidparse.hub.client import check_published, fetch

    wanted = tuple(name for name in (entry.onnx, entry.int8, entry.weights) if name)
    folder = fetch(_address_of(entry), wanted)

    # Check the catalogue's sums, too: what lies on the hub can be replaced there.
    sums = {
        entry.weights: entry.sha256,
        entry.onnx: entry.onnx_sha256,
        entry.int8: entry.int8_sha256,
    }
    for name in wanted:
        check_published(folder / name, sums[name], entry.name)
    return _forms(entry, folder)


def _address_of(entry: CatalogueEntry) -> HubAddress:
    return parse_address(f"{SCHEME}{entry.repo}{'@' if entry.revision else ''}{entry.revision}")


def _from_hub(address: HubAddress, name: str, *, refresh: bool) -> ModelFiles:
    cached = None if refresh else _cached(address, name)
    # A file that goes by another name may be one of several: only the hub knows.
    sure = cached and (address.file or cached.transformers or _is_standard(cached))
    if cached and (sure or is_offline()):
        return cached
    _refuse_offline(name)
    from vidparse.hub.client import UnreachableError, fetch

    try:
        folder = fetch(address)
    except UnreachableError:
        # Go on with what is here where the hub does not answer.
        if cached:
            return cached
        raise
    return _short_named(files_in(folder, address.file, name), address)


def _cached(address: HubAddress, name: str) -> ModelFiles | None:
    folder = snapshot(address)
    if folder is None:
        return None
    try:
        return _short_named(files_in(folder, address.file, name), address)
    except ModelError:  # only a part of it is here
        return None


def _is_standard(files: ModelFiles) -> bool:
    return files.weights is not None and files.weights.name == WEIGHTS


def _short_named(files: ModelFiles, address: HubAddress) -> ModelFiles:
    """The name that outputs and tables show: the repository's own."""
    return replace(files, name=address.repo.rpartition("/")[2])


def _refuse_offline(name: str) -> None:
    if is_offline():
        raise ModelError(
            f"{name}: not on this machine ({cache_root()}) and HF_HUB_OFFLINE is set; "
            f"unset it and run `vidparse models pull {name}`"
        )
