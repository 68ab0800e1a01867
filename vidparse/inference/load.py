"""From a model's name to a network ready to run."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

from vidparse.errors import DeviceError, ModelError, UsageError, VidparseError
from vidparse.filenames import is_file, is_folder
from vidparse.hub import DEFAULT_MODEL, ModelFiles, found_here, resolve
from vidparse.inference.devices import Device, check_threads, choose_device, has_vnni
from vidparse.inference.runners import (
    RUNNERS,
    Runner,
    backends,
    has_bf16,
    has_openvino,
    stored_precision,
)
from vidparse.models.description import INSTANCE, PANOPTIC
from vidparse.requests.model import PRECISIONS, ModelChoice

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

    `backend="auto"` takes the fastest that keeps the answer (measured: see the guide on models): on
    the CPU, for a model that comes as ONNX, ONNX Runtime (it starts without importing torch), in
    int8 where the CPU has VNNI and the model an int8 form, else in fp32; and OpenVINO, where it is
    installed, in bf16 and for int8 files; torch otherwise. The runner's `engine` names the choice,
    `chosen` the reason.

    Args: those of :class:`ModelChoice`.

    Raises:
        UsageError, ModelError, DeviceError: see each one's message.
    """
    return load_chosen(ModelChoice(os.fspath(name), backend, device, precision, threads, task))


def load_chosen(choice: ModelChoice) -> Runner:
    """The network of a choice: see :func:`load_model`, which makes one of its arguments.

    Several names, or several looks at a picture, give an `Ensemble`.
    """
    if choice.variants is not None:
        names = model_names(choice.name)
        if len(names) > 1 or not choice.variants.is_plain:
            from vidparse.inference.runners.ensemble import Ensemble

            runners = [
                (name, load_chosen(replace(choice.of(name), variants=None))) for name in names
            ]
            return Ensemble(runners, choice.variants)

    backend, precision, task = choice.backend, choice.precision, choice.task
    if backend not in backends():
        raise UsageError(f"backend '{backend}': unknown; use {', '.join(backends())}")
    if precision not in PRECISIONS:
        raise UsageError(f"precision '{precision}': unknown; use {', '.join(PRECISIONS)}")
    check_threads(choice.threads)

    files = resolve(choice.name)
    place = choose_device(choice.device)
    why = ""
    if precision == "int8":
        files, place = _only_int8(files, choice, place)

    if backend == "auto":
        files, backend, why = _taken(files, place, precision)
        log.info("%s: backend %s (%s)", files.name, backend, why)

    if backend == "openvino" and place.kind != "cpu":
        if choice.device != "auto":
            raise DeviceError(
                f"device {choice.device}: OpenVINO runs on the CPU here; use --device cpu"
            )
        place = Device("cpu")

    is_folder = files.transformers is not None
    if is_folder and backend == "torch":
        backend = "transformers"
    elif is_folder and task in (INSTANCE, PANOPTIC):
        raise _only_semantic(choice, backend)  # known before an export that may take a minute
    runner = RUNNERS[backend].load(files, choice, place)

    if task not in ("auto", runner.description.task):
        raise _only_semantic(choice, backend)
    runner.chosen = why
    return runner


def model_names(text: str) -> list[str]:
    """`a,b` -> ["a", "b"]; a file or folder of that very name is one model.

    Raises:
        UsageError: an empty name.
    """
    is_there = is_file(Path(text)) or is_folder(Path(text))
    names = [text] if is_there else [name.strip() for name in text.split(",")]
    if len(names) > 1 and not all(names):
        raise UsageError(f"model '{text}': a name is empty; separate names by single commas")
    return names


def open_ahead(choice: ModelChoice) -> None:
    """Begin to open the session that :func:`load_chosen` will need, if it is sure to be one.

    It is for a file on this machine that ONNX Runtime reads on the CPU. Faults of the choice
    are left to `load_chosen` to report.
    """
    if choice.backend not in ("auto", "onnx") or choice.precision != "auto":
        return
    try:
        if choice.variants is not None and len(model_names(choice.name)) > 1:
            return
        check_threads(choice.threads)
        files, place = found_here(choice.name), choose_device(choice.device)
        if files is None or files.onnx is None or place.kind != "cpu":
            return
        backend = choice.backend
        if backend == "auto":
            files, backend, _ = _taken(files, place, choice.precision)
        if files.onnx is not None and backend == "onnx":
            from vidparse.inference.runners.ort_session import begin_session

            begin_session(files.onnx, place, choice.threads)
    except (VidparseError, OSError) as error:
        log.debug("%s: not opened ahead", choice.name, exc_info=error)


def decided(choice: ModelChoice, runner: Runner) -> ModelChoice:
    """A choice by which a process on another CPU decides as this one did.

    Args:
        choice: that the runner was loaded by.
    """
    if choice.precision != "auto" or runner.device != "cpu":
        return choice
    if runner.parts:
        # Leave each model of several to itself where they do not all compute alike.
        settled = {decided(replace(choice, variants=None), part) for part in runner.parts}
        alike = settled.pop() if len(settled) == 1 else choice
        return replace(alike, variants=choice.variants)
    if runner.precision == "int8":
        return replace(choice, backend=runner.backend, precision="int8", device="cpu")
    return replace(choice, precision=runner.precision)


def _only_int8(files: ModelFiles, choice: ModelChoice, place: Device) -> tuple[ModelFiles, Device]:
    """The files with the int8 form as their ONNX, and the CPU.

    Raises:
        ModelError: there is no int8 form. DeviceError: the choice is a GPU, or torch.
    """
    if choice.backend == "torch":
        raise DeviceError("precision int8: PyTorch does not compute in it; use --backend onnx")
    if place.kind != "cpu" and choice.device != "auto":
        raise DeviceError(f"device {choice.device}: int8 runs on the CPU here; use --device cpu")
    if files.int8 is not None:
        return files.in_int8(), Device("cpu")
    if files.onnx is None or not _is_int8(files.onnx):
        make = f"`vidparse export {choice.name} -o fast.onnx --int8`"
        way_out = f"use fp32, or make one with {make}" if files.weights else "use fp32"
        raise ModelError(f"precision int8: {choice.name} has no int8 form; {way_out}")
    return files, Device("cpu")


def _only_semantic(choice: ModelChoice, backend: str) -> UsageError:
    return UsageError(
        f"task '{choice.task}': {choice.name} is semantic with backend {backend}; use auto"
    )


def _taken(files: ModelFiles, place: Device, precision: str) -> tuple[ModelFiles, str, str]:
    """The form and the backend for `auto`, and why."""
    if precision == "auto" and files.int8 and place.kind == "cpu" and has_vnni():
        return files.in_int8(), "onnx", "this CPU has VNNI"
    backend, why = _fastest(files, place, precision)
    return files, backend, why


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
        if precision in ("auto", "int8") and not files.entry and _is_int8(files.onnx):
            return "openvino", "the fastest in int8"
    if precision == "bf16":
        return "torch", "OpenVINO is not installed, or this CPU has no bf16"
    if place.kind != "cpu":
        return "onnx", "the model has no .safetensors weights"
    return "onnx", "the quickest to start"


def _is_int8(path: Path) -> bool:
    from vidparse.models.checkpoint import read_onnx_description

    try:
        return stored_precision(read_onnx_description(path)) == "int8"
    except ModelError:
        return False  # the runner of the file reports its fault
