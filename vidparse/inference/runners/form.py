"""The form of a model that a runner reads: published weights, or ONNX, made where absent."""

from __future__ import annotations

import os
from pathlib import Path

from vidparse.errors import ModelError, OutputError
from vidparse.filenames import user_cache
from vidparse.hub import ModelFiles
from vidparse.models.checkpoint import file_sha256, read_description
from vidparse.requests.model import ModelChoice


def weights_form(files: ModelFiles, choice: ModelChoice) -> Path:
    """The .safetensors file, as it was published.

    Raises:
        ModelError: there is none, or it is another.
    """
    if files.weights is None:
        in_half = choice.precision in ("bf16", "fp16")
        why = f"precision {choice.precision} needs" if in_half else "torch needs"
        raise ModelError(
            f"{choice.name}: {why} the .safetensors weights; "
            "give these, or use --backend onnx in fp32"
        )
    _check_sum(files.weights, files.entry.sha256 if files.entry else None)
    return files.weights


def onnx_form(files: ModelFiles) -> Path:
    """The ONNX file: as it was published, or exported once and kept in the cache.

    Raises:
        ModelError: it is another, or the network cannot be exported.
        OutputError: the cache cannot be written.
    """
    if files.onnx is None:
        return _exported(files)
    _check_sum(files.onnx, files.entry.onnx_sha256 if files.entry else None)
    return files.onnx


def _check_sum(path: Path, published: str | None) -> None:
    """Before a bundled file is opened: it is what was published."""
    if not published:
        return
    try:
        found = file_sha256(path)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}; reinstall vidparse") from error
    if found != published:
        raise ModelError(
            f"{path}: is not the published file (sha256 {found[:12]}..., not "
            f"{published[:12]}...); reinstall vidparse, or fetch it with `vidparse models pull`"
        )


def _exported(files: ModelFiles) -> Path:
    """The ONNX form of weights that come without one, exported once and kept in the cache."""
    folder = cache_folder() / "onnx"
    try:
        if files.transformers is not None:
            from vidparse.inference.runners.transformers.onnx_form import exported_checkpoint

            return exported_checkpoint(files.transformers, folder, name=files.name)
        from vidparse.export import export_onnx

        assert files.weights is not None  # a model has at least one form
        description = read_description(files.weights)
        path = folder / f"{description.sha256}.onnx"
        if not path.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            export_onnx(description, path, half_storage=False, overwrite=True)
        return path
    except OSError as error:
        raise OutputError(
            f"{folder}: the ONNX form of the model cannot be kept there ({error.strerror}); "
            "set VIDPARSE_CACHE to a folder or use --backend torch"
        ) from error


def cache_folder() -> Path:
    """The folder of derived files: $VIDPARSE_CACHE, else the user's cache folder."""
    if os.environ.get("VIDPARSE_CACHE"):
        return Path(os.environ["VIDPARSE_CACHE"])
    return user_cache() / "vidparse"
