"""Checkpoints: safetensors plus everything needed to use the weights (labels, preprocessing).

Nothing is ever unpickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidparse.errors import ModelError, OutputError
from vidparse.labels import Labels, labels_from_json, labels_to_json
from vidparse.models.state import StateTensor
from vidparse.textfiles import parse_json

if TYPE_CHECKING:
    from torch import Tensor, nn

FORMAT = 1
RUN = "vidparse-run"  # key of a training run's state, which is no model


@dataclass(frozen=True, slots=True)
class Preprocess:
    """How a picture becomes network input; travels with the weights.

    The last four are for networks that were trained elsewhere, which see pictures as they were
    trained to: `vidparse.inference.preprocess.input_size` has the rules.
    """

    short_side: int  # pixels the shorter side is brought to; 0: pictures keep their size
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)  # of RGB / 255 (ImageNet)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    long_side: int | None = None  # pixels the longer side may not pass
    size_hw: tuple[int, int] | None = None  # this size exactly, whatever the picture's shape
    divisor: int = 1  # sides are rounded up to multiples of it
    resample: str = "area"  # or one of Pillow's filters: bilinear, bicubic, ...


@dataclass(frozen=True, slots=True)
class Description:
    """What a weights file says of itself, without its tensors."""

    path: Path
    sha256: str
    arch: str
    config: dict[str, Any]
    labels: Labels
    preprocess: Preprocess
    training: dict[str, Any]  # recipe, data, scores: for people
    state: tuple[StateTensor, ...] = ()  # in ONNX files, whose graph has it as inputs and outputs
    task: str = "semantic"  # or "panoptic": what the network's answer is turned into


def file_sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def metadata_of(
    *,
    arch: str,
    config: Mapping[str, Any],
    labels: Labels,
    preprocess: Preprocess,
    training: Mapping[str, Any],
    state: Sequence[StateTensor] = (),
) -> dict[str, str]:
    """The string table that safetensors and ONNX files carry."""
    record: dict[str, Any] = {
        "format": FORMAT,
        "arch": arch,
        "config": dict(config),
        "labels": labels_to_json(labels),
        "preprocess": asdict(preprocess),
        "training": dict(training),
    }
    if state:
        record["state"] = [asdict(tensor) for tensor in state]
    return {"vidparse": json.dumps(record, sort_keys=True)}


def describe(path: Path, metadata: Mapping[str, str] | None, sha256: str) -> Description:
    """Read the string table back.

    Raises:
        ModelError: it is not ours, newer than this version, or damaged.
    """
    if metadata and RUN in metadata:
        raise ModelError(
            f"{path}: the state of a training run, to resume from; its model is the "
            "best.safetensors beside it"
        )
    if not metadata or "vidparse" not in metadata:
        raise ModelError(
            f"{path}: holds no vidparse description; give weights written by `vidparse train`"
        )
    try:
        record = parse_json(metadata["vidparse"])
        if record["format"] > FORMAT:
            raise ModelError(f"{path}: format {record['format']} is newer; update vidparse")
        facts = record["preprocess"]
        return Description(
            path=path,
            sha256=sha256,
            arch=record["arch"],
            config=record["config"],
            labels=labels_from_json(record["labels"]),
            preprocess=_preprocess_of(facts),
            training=record["training"],
            state=tuple(
                StateTensor(tensor["name"], tuple(tensor["shape"]), tensor["stride"])
                for tensor in record.get("state", ())
            ),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: damaged description ({error}); fetch it again") from error


def _preprocess_of(facts: Mapping[str, Any]) -> Preprocess:
    """From its stored form, which may be of before some fields were there."""
    size_hw = facts.get("size_hw")
    return Preprocess(
        facts["short_side"],
        tuple(facts["mean"]),
        tuple(facts["std"]),
        long_side=facts.get("long_side"),
        size_hw=tuple(size_hw) if size_hw else None,
        divisor=facts.get("divisor", 1),
        resample=facts.get("resample", "area"),
    )


def save_checkpoint(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write atomically: a reader sees the old file or the new one, never half of one.

    Raises:
        OutputError: disk full, or the folder is not there.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    part = path.with_name(path.name + ".part")
    kept = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    try:
        save_file(kept, part, metadata)
        part.chmod(0o644)  # the writer makes it private
        part.replace(path)
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise OutputError(f"{path}: can not be written ({error}); choose another place") from error


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


def _metadata(path: Path) -> dict[str, str] | None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            return file.metadata()
    except FileNotFoundError as error:
        raise ModelError(f"{path}: no such file; check the path") from error
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: not readable weights ({error}); fetch it again") from error


def load_network(description: Description) -> nn.Module:
    """The network with its weights, in float32 and eval mode.

    Raises:
        ModelError: names or shapes do not fit the architecture.
    """
    from safetensors.torch import load_file

    from vidparse.models.zoo import build

    network = build(description.arch, {**description.config, "auxiliary": False})
    tensors = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in load_file(description.path).items()
        if not name.startswith("auxiliary.")
    }
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise ModelError(
            f"{description.path}: does not fit architecture '{description.arch}': {first}; "
            "fetch weights made for this version"
        ) from error
    return network.eval()
