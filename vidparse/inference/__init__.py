"""Inference: preprocess, network, postprocess, and the threads they run in."""

from __future__ import annotations

import os
from pathlib import Path

from vidparse.errors import ModelError, OutputError, UsageError
from vidparse.hub import DEFAULT_MODEL, ModelFiles, resolve
from vidparse.inference.devices import choose_device
from vidparse.inference.pipeline import RunReport, StageTime, run
from vidparse.inference.runners import PRECISIONS, OnnxRunner, Runner, TorchRunner
from vidparse.inference.session import Session
from vidparse.models.checkpoint import file_sha256, read_description

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
        _check_sum(path, files.entry.onnx_sha256 if files.entry else None)
        return OnnxRunner(path, device=place, precision=precision, threads=threads)
    if files.weights is None:
        why = f"precision {precision} needs" if precision in ("bf16", "fp16") else "torch needs"
        raise ModelError(
            f"{name}: {why} the .safetensors weights; give these, or use --backend onnx in fp32"
        )
    _check_sum(files.weights, files.entry.sha256 if files.entry else None)
    description = read_description(files.weights)
    return TorchRunner(description, device=place, precision=precision, threads=threads)


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
        try:
            folder.mkdir(parents=True, exist_ok=True)
            export_onnx(description, path, half_storage=False)
        except OSError as error:
            raise OutputError(
                f"{folder}: the ONNX form of the model can not be kept there ({error.strerror}); "
                "set VIDPARSE_CACHE to a folder or use --backend torch"
            ) from error
    return path


def cache_folder() -> Path:
    """Where derived files are kept: $VIDPARSE_CACHE, else the user's cache folder."""
    if os.environ.get("VIDPARSE_CACHE"):
        return Path(os.environ["VIDPARSE_CACHE"])
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "vidparse"


__all__ = ["BACKENDS", "RunReport", "Runner", "Session", "StageTime", "load_model", "run"]
