"""Inference: preprocess, network, postprocess, and the threads they run in."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from vidparse.errors import DeviceError, ModelError, OutputError, UsageError
from vidparse.filenames import user_cache
from vidparse.hub import DEFAULT_MODEL, ModelFiles, resolve
from vidparse.inference.devices import Device, check_threads, choose_device
from vidparse.inference.pipeline import RunReport, StageTime, run
from vidparse.inference.runners import (
    PRECISIONS,
    OnnxRunner,
    OpenVinoRunner,
    Runner,
    TorchRunner,
    engine_and_reason,
    has_bf16,
    has_openvino,
    import_openvino,
    stored_precision,
)
from vidparse.inference.session import Session
from vidparse.models.checkpoint import file_sha256, read_description

BACKENDS = ("auto", "torch", "onnx", "openvino")

log = logging.getLogger(__name__)


def load_model(
    name: str | os.PathLike[str] = DEFAULT_MODEL,
    *,
    backend: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    threads: int = 0,
    task: str = "auto",
) -> Runner:
    """A network ready to run.

    `backend="auto"` takes the fastest that keeps the answer (measured: see the README): on the CPU,
    for a model that comes as ONNX, ONNX Runtime in fp32 (it starts without importing torch), and
    OpenVINO, where it is installed, in bf16 and for int8 files; torch otherwise. The runner's
    `engine` says what it is, `chosen` why.

    Args:
        name: known name, hf:owner/repo[@revision][/file], .safetensors or .onnx file, or folder.
        device: auto, cpu, cuda or cuda:N; what is asked for and is not there raises.
        threads: CPU threads of the network; 0 means one a core.
        task: auto, semantic or panoptic, for transformers checkpoints that can do both.

    Raises:
        UsageError, ModelError, DeviceError: see each one's message.
    """
    name = os.fspath(name)
    if backend not in BACKENDS:
        raise UsageError(f"backend '{backend}': unknown; use {', '.join(BACKENDS)}")
    if precision not in PRECISIONS:
        raise UsageError(f"precision '{precision}': unknown; use {', '.join(PRECISIONS)}")
    check_threads(threads)
    files = resolve(name)
    place = choose_device(device)
    why = ""
    if backend == "auto":
        backend, why = _fastest(files, place, precision)
        log.info("%s: backend %s (%s)", files.name, backend, why)
    if backend == "openvino" and place.kind != "cpu":
        if device != "auto":
            raise DeviceError(f"device {device}: OpenVINO runs on the CPU here; use --device cpu")
        place = Device("cpu")
    runner = _runner(files, name, backend, place, precision, threads, task)
    runner.chosen = why
    return runner


def _runner(
    files: ModelFiles,
    name: str,
    backend: str,
    place: Device,
    precision: str,
    threads: int,
    task: str,
) -> Runner:
    """The network in one of the frameworks; errors as those of :func:`load_model`."""
    if files.transformers is not None and backend == "torch":
        from vidparse.inference.runners.transformers import TransformersRunner

        return TransformersRunner(
            files.transformers,
            device=place,
            precision=precision,
            threads=threads,
            name=name,
            task=task,
        )
    if task not in ("auto", "semantic"):
        raise UsageError(f"task '{task}': {name} is semantic with backend {backend}; use auto")
    if backend in ("onnx", "openvino"):
        if backend == "openvino":
            import_openvino()  # said before an export that may take a minute
        path = files.onnx or _exported(files)
        if files.onnx is not None and files.entry:  # what was exported here has no published sum
            _check_sum(path, files.entry.onnx_sha256)
        if backend == "openvino":
            return OpenVinoRunner(path, precision=precision, threads=threads)
        return OnnxRunner(path, device=place, precision=precision, threads=threads)
    if files.weights is None:
        why = f"precision {precision} needs" if precision in ("bf16", "fp16") else "torch needs"
        raise ModelError(
            f"{name}: {why} the .safetensors weights; give these, or use --backend onnx in fp32"
        )
    _check_sum(files.weights, files.entry.sha256 if files.entry else None)
    description = read_description(files.weights)
    return TorchRunner(description, device=place, precision=precision, threads=threads)


def _fastest(files: ModelFiles, place: Device, precision: str) -> tuple[str, str]:
    """The backend for `auto`, and why."""
    if files.onnx is None:
        return "torch", "the model has no ONNX file"
    if place.kind != "cpu" and files.weights:
        return "torch", "on a GPU"
    if precision == "fp16":
        return "torch", "the only one with fp16"
    if place.kind == "cpu" and has_openvino():
        if precision == "bf16" and has_bf16():
            return "openvino", "the fastest in bf16"
        if precision == "auto" and not files.entry and _is_int8(files.onnx):
            return "openvino", "the fastest in int8"
    if precision == "bf16":
        return "torch", "OpenVINO is not installed, or this CPU has no bf16"
    if place.kind != "cpu":
        return "onnx", "the model has no .safetensors weights"
    return "onnx", "the quickest to start"


def _is_int8(path: Path) -> bool:
    from vidparse.hub.onnx_file import read_onnx_description

    try:
        return stored_precision(read_onnx_description(path)) == "int8"
    except ModelError:
        return False  # whoever runs the file says what is wrong with it


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
            f"{folder}: the ONNX form of the model can not be kept there ({error.strerror}); "
            "set VIDPARSE_CACHE to a folder or use --backend torch"
        ) from error


def cache_folder() -> Path:
    """Where derived files are kept: $VIDPARSE_CACHE, else the user's cache folder."""
    if os.environ.get("VIDPARSE_CACHE"):
        return Path(os.environ["VIDPARSE_CACHE"])
    return user_cache() / "vidparse"


__all__ = [
    "BACKENDS",
    "RunReport",
    "Runner",
    "Session",
    "StageTime",
    "engine_and_reason",
    "load_model",
    "run",
]
