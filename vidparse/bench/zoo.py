"""The costs of the zoo's networks: size, multiplications, state, and time per frame."""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from vidparse.errors import ModelError, UsageError, counted
from vidparse.export import export_int8, export_onnx, rendered_clips
from vidparse.inference.devices import Device, check_threads, cpu_count
from vidparse.inference.runners import OnnxRunner, OpenVinoRunner, has_openvino
from vidparse.labels import Labels
from vidparse.models.checkpoint import read_description, save_checkpoint
from vidparse.models.description import Preprocess, metadata_of
from vidparse.models.network import Answer, VideoNetwork, state_bytes
from vidparse.models.zoo import MODELS, build, facts_of, settings_for
from vidparse.requests.segment import ARMS


@dataclass(frozen=True, slots=True)
class Candidate:
    """A network with its settings, and the per-frame network that it is compared with."""

    arch: str
    config: dict[str, object]
    twin: str | None = None


_LIGHT = {"backbone": "mobilenetv2", "output_stride": 16}
_NARROW = {"width": 64, "kernel_width": 64, "feature_width": 48, "norm": "batch"}
_SLIM = {"pooling_width": 64, "semantic_width": 64, "instance_width": 64}
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
    "clip-panofcn-mobilenetv2": Candidate("clip-panofcn", _NARROW | {"backbone": "mobilenetv2"}),
    "clip-panofcn-lite0": Candidate("clip-panofcn", _NARROW | {"backbone": "efficientnet-lite0"}),
    "clip-panofcn-50": Candidate("clip-panofcn", {"deformable": True}),
    "vip-deeplab-mobilenetv2": Candidate("vip-deeplab", _SLIM | {"backbone": "mobilenetv2"}),
    "vip-deeplab-50": Candidate("vip-deeplab", {}),
}


@dataclass(frozen=True, slots=True)
class ZooRow:
    """One network; times are medians in milliseconds a frame, ratios NaN without a twin."""

    name: str
    twin: str | None
    parameters: int
    multiplications: float  # multiply-accumulates of one frame
    state_bytes: int
    times_ms: dict[str, float]  # by backend and precision: "torch fp32", "openvino int8"
    ratio: float  # of torch fp32 to the twin's, both measured in turn
    published_ratio: float  # the scheme that runs the backbone on every support, to the twin


def candidates() -> dict[str, Candidate]:
    """CANDIDATES, and each architecture that none of them has, with its own settings."""
    covered = {candidate.arch for candidate in CANDIDATES.values()}
    return CANDIDATES | {arch: Candidate(arch, {}) for arch in MODELS if arch not in covered}


def zoo_names() -> list[str]:
    """Names of the networks that `bench_zoo` can measure."""
    return list(candidates())


def bench_zoo(
    names: Sequence[str],
    *,
    size_hw: tuple[int, int] = (480, 853),
    classes: int = 124,
    repeats: int = 5,
    threads: int = 0,
    backends: Sequence[str] = ARMS,
    on_row: Callable[[ZooRow], None] = lambda row: None,
) -> list[ZooRow]:
    """Measure networks with random weights on the CPU, one after another.

    All forms of a network and its twin run in turn, frame by frame, so that drift hits all alike.

    Args:
        backends: of ARMS; onnx and openvino need an export, which takes seconds to minutes.

    Raises:
        UsageError: a name is not one of `zoo_names()`, or a backend is unknown.
    """
    known = zoo_names()
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"zoo '{unknown[0]}': unknown; use {', '.join(known)}")
    strange = [name for name in backends if name not in ARMS]
    if strange:
        raise UsageError(f"backend '{strange[0]}': unknown; use {', '.join(ARMS)}")
    check_threads(threads)
    torch.set_num_threads(threads or cpu_count())

    labels = Labels(
        counted(classes, "class"),
        tuple(f"class {i}" for i in range(classes)),
        ((0, 0, 0),) * classes,
        frozenset(range(classes // 2)),  # about as many things as in VIPSeg
    )
    rows = []
    for name in names:
        row = _measure(name, size_hw, labels, repeats, threads, backends)
        rows.append(row)
        on_row(row)
    return rows


def zoo_record(row: ZooRow) -> dict[str, object]:
    """Plain values for `--json`; NaN becomes null."""
    return {
        key: None if isinstance(value, float) and math.isnan(value) else value
        for key, value in asdict(row).items()
    }


def _measure(
    name: str,
    size_hw: tuple[int, int],
    labels: Labels,
    repeats: int,
    threads: int,
    backends: Sequence[str],
) -> ZooRow:
    candidate = candidates()[name]
    network = _network(candidate, labels)
    picture = torch.randn(1, 3, *size_hw).contiguous(memory_format=torch.channels_last)
    clip = picture[:, None].repeat(1, network.window, 1, 1, 1)  # (1, T, 3, H, W)
    arms: dict[str, Callable[[], object]] = {"torch fp32": _stepper(network, clip)}

    # Give the twin, which goes frame by frame, the same picture in turn with the network.
    if candidate.twin:
        arms["twin"] = _stepper(_network(CANDIDATES[candidate.twin], labels), picture[:, None])
        count = len(network.companions(network.config, np.random.default_rng(0)))
        frames = picture[:, None].expand(-1, count, -1, -1, -1)
        arms["published"] = lambda: network.forward_clip(frames)

    if "torch" in backends:
        arms["torch bf16"] = _in_half(_stepper(network, clip))
    with tempfile.TemporaryDirectory() as folder:
        arms |= _exported_arms(candidate, network, labels, clip, Path(folder), threads, backends)
        times = _interleaved(arms, repeats)
    times = {arm: time_ms / network.window for arm, time_ms in times.items()}
    twin, whole = times.pop("twin", math.nan), times.pop("published", math.nan)
    return ZooRow(
        name=name,
        twin=candidate.twin,
        parameters=sum(p.numel() for p in network.parameters()),
        multiplications=_multiplications(network, clip) / network.window,
        state_bytes=state_bytes(network.state_tensors, size_hw),
        times_ms=times,
        ratio=times["torch fp32"] / twin,
        published_ratio=whole / twin,
    )


def _in_half(step: Callable[[], object]) -> Callable[[], object]:
    def run() -> object:
        with torch.autocast("cpu", torch.bfloat16):
            return step()

    return run


def _network(candidate: Candidate, labels: Labels) -> VideoNetwork:
    torch.manual_seed(0)
    settings = settings_for(candidate.arch, labels) | candidate.config
    network = build(candidate.arch, settings, training=False).requires_grad_(False)
    return network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _stepper(network: VideoNetwork, clip: Tensor) -> Callable[[], object]:
    """One clip (1, T, 3, H, W) at a time, with its state."""
    state = network.first_state(clip)

    def step() -> Answer:
        nonlocal state
        with torch.inference_mode():
            answer, state = network(clip, state)
        return answer

    return step


def _exported_arms(
    candidate: Candidate,
    network: VideoNetwork,
    labels: Labels,
    clip: Tensor,
    folder: Path,
    threads: int,
    backends: Sequence[str],
) -> dict[str, Callable[[], object]]:
    """The network through ONNX Runtime and OpenVINO; what cannot be had is left out."""
    if not {"onnx", "openvino"} & set(backends):
        return {}

    weights = folder / "network.safetensors"
    metadata = metadata_of(
        arch=candidate.arch, **facts_of(network), labels=labels,
        preprocess=Preprocess(480), training={},
    )  # fmt: skip
    save_checkpoint(weights, network.state_dict(), metadata)

    description = read_description(weights)
    plain, small = folder / "network.onnx", folder / "int8.onnx"
    with suppress(ModelError):
        export_onnx(description, plain, half_storage=False)
    with suppress(ModelError):  # random weights: only the time of int8 means anything here
        export_int8(description, small, clips=rendered_clips(4), least_agreement=0.0)

    frames = np.ascontiguousarray(clip.numpy())
    arms: dict[str, Callable[[], object]] = {}

    for path, precisions in ((plain, ("fp32", "bf16")), (small, ("int8",))):
        if not path.is_file():
            continue
        if "onnx" in backends:
            runner = OnnxRunner(path, device=Device("cpu"), precision="auto", threads=threads)
            arms[f"onnx {runner.precision}"] = partial(runner.answer, frames)
        if "openvino" in backends and has_openvino():
            for precision in precisions:
                wanted = "auto" if precision == "int8" else precision
                ready = OpenVinoRunner(path, precision=wanted, threads=threads)
                arms[f"openvino {precision}"] = partial(ready.answer, frames)
    return arms


def _interleaved(arms: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median milliseconds of every arm; each runs once unmeasured."""
    times: dict[str, list[float]] = {name: [] for name in arms}
    for repeat in range(repeats + 1):
        for name, arm in arms.items():
            start = time.perf_counter()
            with torch.inference_mode():
                arm()

            # Leave out the first round, which also takes memory and fills caches.
            if repeat:
                times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def _multiplications(network: VideoNetwork, clip: Tensor) -> float:
    """Multiply-accumulates of a clip (1, T, 3, H, W), convolutions and matrix products."""
    state = network.first_state(clip)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(clip, state)

    # Halve: the counter takes a product and its sum for two operations.
    return counter.get_total_flops() / 2
