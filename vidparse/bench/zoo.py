"""What the networks of the zoo cost: size, multiplications, state, and time a frame."""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from vidparse.errors import ModelError, UsageError
from vidparse.inference.devices import Device, cpu_count
from vidparse.inference.runners import OnnxRunner
from vidparse.labels import load_labels
from vidparse.models.checkpoint import Preprocess, metadata_of, read_description, save_checkpoint
from vidparse.models.state import state_bytes
from vidparse.models.zoo import build, config_of


@dataclass(frozen=True, slots=True)
class Candidate:
    """A network with its settings, and the per-frame network that it is compared with."""

    arch: str
    config: dict[str, Any]
    twin: str | None = None


_LIGHT = {"backbone": "mobilenetv2", "output_stride": 16}
_DEEP = {"backbone": "resnet101-deep", "output_stride": 8}
CANDIDATES: dict[str, Candidate] = {
    "mobilenetv2-psp": Candidate("perframe", _LIGHT),
    "mobilenetv2-ocr": Candidate("perframe", _LIGHT | {"head": "ocr"}),
    "tcb-ppm-mobilenetv2": Candidate("tcb-ppm", _LIGHT | {"width": 256}, "mobilenetv2-psp"),
    "tcb-ocr-mobilenetv2": Candidate(
        "tcb-ocr", _LIGHT | {"width": 256, "key_width": 128}, "mobilenetv2-ocr"
    ),
    "resnet18-psp": Candidate("perframe", {"backbone": "resnet18", "align_corners": True}),
    "bisenetv2": Candidate("bisenetv2", {}),
    "espnetv2": Candidate("espnetv2", {}),
    "hardnet": Candidate("hardnet", {}),
    "hrnet": Candidate("hrnet", {}),
    "pspnet101": Candidate("perframe", _DEEP | {"width": 512}),
    "ocrnet101": Candidate("perframe", _DEEP | {"head": "ocr", "width": 512, "key_width": 256}),
    "tcb-ppm-101": Candidate("tcb-ppm", _DEEP, "pspnet101"),
    "tcb-ocr-101": Candidate("tcb-ocr", _DEEP, "ocrnet101"),
    "netwarp-psp-101": Candidate("netwarp", _DEEP | {"head": "psp", "flow": "none"}),
    "ssltm-101": Candidate("ssltm", _DEEP),
    "upernet101": Candidate(
        "perframe", _DEEP | {"output_stride": 32, "head": "upernet", "width": 512}
    ),
    "deeplab101": Candidate("perframe", _DEEP | {"head": "deeplab"}),
}


@dataclass(frozen=True, slots=True)
class ZooRow:
    """One network; times are medians in milliseconds a frame, NaN where not measured."""

    name: str
    twin: str | None
    parameters: int
    multiplications: float  # multiply-accumulates of one frame
    state_bytes: int
    torch_ms: float
    torch_bf16_ms: float
    onnx_ms: float
    ratio: float  # of torch_ms to the twin's, both measured in turn
    published_ratio: float  # the scheme that runs the backbone on every support, to the twin


def zoo_names() -> list[str]:
    """What `bench_zoo` can measure."""
    return list(CANDIDATES)


def bench_zoo(
    names: Sequence[str],
    *,
    size_hw: tuple[int, int] = (480, 853),
    classes: int = 124,
    repeats: int = 5,
    threads: int = 0,
    onnx: bool = True,
    on_row: Callable[[ZooRow], None] = lambda row: None,
) -> list[ZooRow]:
    """Measure networks with random weights on the CPU, one after another.

    A network and its twin run in turn, frame by frame, so that drift hits both alike.

    Raises:
        UsageError: a name is not one of `zoo_names()`.
    """
    unknown = [name for name in names if name not in CANDIDATES]
    if unknown:
        raise UsageError(f"zoo '{unknown[0]}': unknown; use {', '.join(CANDIDATES)}")
    torch.set_num_threads(threads or cpu_count())
    rows = []
    for name in names:
        row = _measure(name, size_hw, classes, repeats, threads, onnx=onnx)
        rows.append(row)
        on_row(row)
    return rows


def zoo_record(row: ZooRow) -> dict[str, Any]:
    """Plain values for `--json`; NaN becomes null."""
    return {
        key: None if isinstance(value, float) and math.isnan(value) else value
        for key, value in asdict(row).items()
    }


def _measure(
    name: str, size_hw: tuple[int, int], classes: int, repeats: int, threads: int, *, onnx: bool
) -> ZooRow:
    candidate = CANDIDATES[name]
    network = _network(candidate, classes)
    clip = torch.randn(1, 3, *size_hw).contiguous(memory_format=torch.channels_last)
    arms: dict[str, Callable[[], object]] = {"torch": _stepper(network, clip)}
    if candidate.twin:
        arms["twin"] = _stepper(_network(CANDIDATES[candidate.twin], classes), clip)
        frames = clip[:, None].expand(-1, len(candidate.config.get("dilations", (3, 6, 9))) + 1,
                                      -1, -1, -1)  # fmt: skip
        published: Any = network
        arms["published"] = lambda: published.forward_clip(frames)
    with torch.autocast("cpu", torch.bfloat16):
        half = _stepper(network, clip)

    def in_half() -> object:
        with torch.autocast("cpu", torch.bfloat16):
            return half()

    arms["bf16"] = in_half
    with tempfile.TemporaryDirectory() as folder:
        if onnx:
            arms["onnx"] = _onnx_stepper(candidate, network, classes, clip, Path(folder), threads)
        times = _interleaved(arms, repeats)
    ratio = times["torch"] / times["twin"] if candidate.twin else math.nan
    return ZooRow(
        name=name,
        twin=candidate.twin,
        parameters=sum(p.numel() for p in network.parameters()),
        multiplications=_multiplications(network, clip),
        state_bytes=state_bytes(network.state_tensors, size_hw),  # type: ignore[arg-type]
        torch_ms=times["torch"],
        torch_bf16_ms=times["bf16"],
        onnx_ms=times.get("onnx", math.nan),
        ratio=ratio,
        published_ratio=times["published"] / times["twin"] if candidate.twin else math.nan,
    )


def _network(candidate: Candidate, classes: int) -> nn.Module:
    torch.manual_seed(0)
    config = {"classes": classes, **candidate.config, "auxiliary": False}
    return build(candidate.arch, config).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _stepper(network: Any, clip: Tensor) -> Callable[[], object]:
    """One frame at a time, with its state."""
    state = network.init_state(tuple(clip.shape[2:]), clip.device, clip.dtype)

    def step() -> Tensor:
        nonlocal state
        with torch.inference_mode():
            outputs, state = network(clip, state)
        return outputs.logits

    return step


def _onnx_stepper(
    candidate: Candidate, network: Any, classes: int, clip: Tensor, folder: Path, threads: int
) -> Callable[[], object]:
    from vidparse.export import export_onnx

    weights = folder / "network.safetensors"
    labels = load_labels("vspw" if classes == 124 else "camvid")
    metadata = metadata_of(
        arch=candidate.arch, config=config_of(network), labels=labels,
        preprocess=Preprocess(480), training={},
    )  # fmt: skip
    save_checkpoint(weights, network.state_dict(), metadata)
    path = folder / "network.onnx"
    try:
        export_onnx(read_description(weights), path, half_storage=False)
    except ModelError:
        return lambda: None
    runner = OnnxRunner(path, device=Device("cpu"), precision="fp32", threads=threads)
    picture = np.ascontiguousarray(clip.numpy())
    return lambda: runner.run(picture)


def _interleaved(arms: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median milliseconds of every arm; each runs once unmeasured."""
    times: dict[str, list[float]] = {name: [] for name in arms}
    for repeat in range(repeats + 1):
        for name, arm in arms.items():
            start = time.perf_counter()
            with torch.inference_mode():
                arm()
            if repeat:
                times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def _multiplications(network: Any, clip: Tensor) -> float:
    """Multiply-accumulates of one frame, convolutions and matrix products."""
    state = network.init_state(tuple(clip.shape[2:]), clip.device, clip.dtype)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(clip, state)
    return counter.get_total_flops() / 2
