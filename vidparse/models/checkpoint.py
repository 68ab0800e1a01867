"""Checkpoints: safetensors plus everything needed to use the weights (labels, preprocessing).

Nothing is ever unpickled.
"""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from vidparse.errors import ModelError, OutputError
from vidparse.files import whole_file
from vidparse.models.description import Description, describe
from vidparse.models.onnx_file import onnx_metadata

if TYPE_CHECKING:
    from torch import Tensor

    from vidparse.models.network import VideoNetwork


def file_sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_checkpoint(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write atomically: a reader sees the old file or the new one, never half of one.

    Raises:
        OutputError: disk full, or the folder is not there.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    # Lay tensors out anew: safetensors refuses views that are not contiguous.
    kept = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    try:
        with whole_file(path) as part:
            mode = part.stat().st_mode
            save_file(kept, part, metadata)

            # Let those read it who may read other files of the user: the writer makes it private.
            part.chmod(mode)
    except SafetensorError as error:
        raise OutputError(f"{path}: cannot be written ({error}); choose another place") from error


def is_model(path: Path) -> bool:
    """True for a safetensors file that describes a model of vidparse.

    Raises:
        ModelError: missing or damaged.
    """
    return "vidparse" in (_metadata(path) or {})


def read_description(path: Path) -> Description:
    """Description of a safetensors file; its tensors stay on disk.

    Raises:
        ModelError: missing, damaged, or not ours.
    """
    return describe(path, _metadata(path), file_sha256(path))


def read_onnx_description(path: Path) -> Description:
    """Description of an ONNX file of vidparse, read without running it.

    Raises:
        ModelError: damaged, or not ours.
    """
    try:
        metadata = onnx_metadata(path)
    except (ValueError, OSError) as error:
        raise unreadable(path, error, what="a readable ONNX file") from error
    return describe(path, metadata, file_sha256(path))


def _metadata(path: Path) -> dict[str, str] | None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            return file.metadata()
    except FileNotFoundError as error:
        # Look again: safetensors reports a file that may not be read as missing.
        why = (
            "may not be read; check its permissions"
            if path.exists()
            else "no such file; check the path"
        )
        raise ModelError(f"{path}: {why}") from error
    except (OSError, SafetensorError) as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, reason: object, *, what: str = "readable weights") -> ModelError:
    """The error for a file that could not be read as a model: what it holds in its place, if known.

    Args:
        reason: why the reader gave up. what: it should have been.
    """
    found = _content_of(path)
    if found:
        return ModelError(f"{path}: {found}")
    text = " ".join(str(reason).split())[:200]
    return ModelError(f"{path}: not {what} ({text}); fetch it again")


def _content_of(path: Path) -> str:
    """The content of a file that is no model, and what to do about it; "" where unknown."""
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError:
        return ""

    # Look past a byte-order mark and blank lines, which web pages may open with.
    text = start.lstrip(codecs.BOM_UTF8).lstrip().lower()
    if not start:
        return "is empty; fetch the weights again"
    if text.startswith(b"version https://git-lfs"):
        return (
            "is a Git LFS pointer, not the weights it stands for; run `git lfs pull` in its "
            "repository, or download the file itself"
        )
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<body")):
        return "is a web page, not weights; download the file itself, not the page that shows it"
    if text.startswith(b"{") and b"error" in text:
        return "is a server's error message, not weights; fetch them again"
    return ""


def load_network(description: Description) -> VideoNetwork:
    """The network with its weights, in float32 and eval mode, without what only training needs.

    Raises:
        ModelError: names, shapes or classes do not fit the architecture, or a weight is not finite.
    """
    from safetensors.torch import load_file

    from vidparse.models.zoo import build

    path = description.path
    try:
        network = build(description.arch, description.config, training=False)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    _check_classes(description, network)

    # Drop what only training needs: the network here was built without it.
    tensors = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in load_file(path).items()
        if name.split(".")[0] not in network.training_only
    }

    # Find NaN now: it would pass through every layer in silence.
    check_finite_weights(tensors, path)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        # Give one fault of the list: torch has a line for every tensor that does not fit.
        first = str(error).splitlines()[-1].strip()
        raise ModelError(
            f"{path}: does not fit architecture '{description.arch}': {first}; "
            "fetch weights made for this version"
        ) from error
    return network.eval()


def check_finite_weights(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raises: ModelError: a tensor holds NaN or infinite values, so that answers mean nothing."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ModelError(
                f"{path}: tensor '{name}' holds NaN or infinite values (its training diverged, or "
                "float16 overflowed); use an earlier checkpoint, or fetch it again"
            )


def _check_classes(description: Description, network: VideoNetwork) -> None:
    """Raises: ModelError: the settings are not those that follow from the labels."""
    for name, wanted in network.settings_for(description.labels).items():
        found = description.config.get(name, wanted)
        if found != wanted:
            raise ModelError(
                f"{description.path}: the network has {name} {found}, its labels need {wanted}; "
                "fetch it again"
            )
