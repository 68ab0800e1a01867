"""Inference: preprocess, network, postprocess, and the threads they run in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from vidparse.errors import ModelError, UsageError
from vidparse.hub import DEFAULT_MODEL, ModelFiles, resolve
from vidparse.inference.devices import choose_device
from vidparse.inference.pipeline import RunReport, StageTime, run
from vidparse.inference.runners import PRECISIONS, OnnxRunner, Runner, TorchRunner
from vidparse.inference.session import Session
from vidparse.models.checkpoint import Description, read_description

BACKENDS = ("auto", "torch", "onnx")


def load_model(
    name: str = DEFAULT_MODEL,
    *,
    backend: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    threads: int = 0,
) -> Runner:
    """A network ready to run.

    `backend="auto"` takes ONNX Runtime on the CPU where the model comes with an ONNX file and no
    half precision is asked for (it starts without importing torch and is faster there), and torch
    otherwise.

    Args:
        name: bundled name, or path to a .safetensors or .onnx file.
        device: auto, cpu, cuda or cuda:N; what is asked for and is not there raises.
        threads: CPU threads of the network; 0 means one a core.

    Raises:
        UsageError, ModelError, DeviceError: see each one's message.
    """
    if backend not in BACKENDS:
        raise UsageError(f"backend '{backend}': unknown; use {', '.join(BACKENDS)}")
    if precision not in PRECISIONS:
        raise UsageError(f"precision '{precision}': unknown; use {', '.join(PRECISIONS)}")
    files = resolve(name)
    place = choose_device(device)
    if backend == "auto":
        half = precision in ("bf16", "fp16")
        on_cpu = place.kind == "cpu"
        backend = "onnx" if files.onnx and not half and (on_cpu or not files.weights) else "torch"
    if backend == "onnx":
        path = files.onnx or _exported(files)
        runner = OnnxRunner(path, device=place, precision=precision, threads=threads)
        _check_sum(path, runner.description, files.entry and files.entry.onnx_sha256)
        return runner
    if files.weights is None:
        raise ModelError(
            f"{name}: the torch backend needs the .safetensors weights; use --backend onnx"
        )
    description = read_description(files.weights)
    _check_sum(files.weights, description, files.entry and files.entry.sha256)
    return TorchRunner(description, device=place, precision=precision, threads=threads)


def _check_sum(path: Path, found: Description, published: Any) -> None:
    if published and found.sha256 != published:
        raise ModelError(
            f"{path}: is not the published file (sha256 {found.sha256[:12]}..., not "
            f"{published[:12]}...); reinstall vidparse"
        )


def _exported(files: ModelFiles) -> Path:
    """The ONNX form of weights that come without one, exported once and kept in the cache."""
    from vidparse.export import export_onnx

    assert files.weights is not None  # a model has at least one form
    description = read_description(files.weights)
    folder = cache_folder() / "onnx"
    path = folder / f"{description.sha256}.onnx"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        export_onnx(description, path, half_storage=False)
    return path


def cache_folder() -> Path:
    """Where derived files are kept: $VIDPARSE_CACHE, else the user's cache folder."""
    if os.environ.get("VIDPARSE_CACHE"):
        return Path(os.environ["VIDPARSE_CACHE"])
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "vidparse"


__all__ = ["BACKENDS", "RunReport", "Runner", "Session", "StageTime", "load_model", "run"]
