"""The description that travels with weights: labels, preprocessing, and the shape of the state.

It is a JSON record in the string table of safetensors and ONNX files. Files come from anywhere, so
every value is checked once, when it is read. Nothing here needs torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from vidparse.errors import ModelError
from vidparse.labels import Labels, labels_from_json, labels_to_json
from vidparse.textfiles import parse_json

FORMAT = 2  # 1 had no task, window and alignment
RUN = "vidparse-run"  # key of a training run's state, which is no model
SEMANTIC, INSTANCE, PANOPTIC = "semantic", "instance", "panoptic"
TASKS = (SEMANTIC, PANOPTIC)  # of vidparse's own networks
AREA = "area"  # the resize of vidparse's own networks; the others are Pillow's
RESAMPLES = (AREA, "nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
SMALLEST, LARGEST = 32, 8192  # pixels, sides of a network input

_LONGEST_WINDOW = 256  # frames
_LARGEST_STATE = 2**31  # values of one tensor, without the axes that depend on the input's size


@dataclass(frozen=True, slots=True)
class Preprocess:
    """The preprocessing of a picture for a network; travels with the weights.

    The last four are for networks that were trained elsewhere, which see pictures as they were
    trained to: `vidparse.inference.preprocess.input_size` has the rules.
    """

    short_side: int  # pixels the shorter side is brought to; 0: pictures keep their size
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)  # of RGB / 255 (ImageNet)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    long_side: int | None = None  # pixels the longer side may not pass
    size_hw: tuple[int, int] | None = None  # this size exactly, whatever the picture's shape
    divisor: int = 1  # sides are rounded up to multiples of it
    resample: str = AREA  # one of RESAMPLES


@dataclass(frozen=True, slots=True)
class StateTensor:
    """One float tensor of a state; all are zero before the first frame of a video.

    shape: without the batch axis. stride: when not 0, two axes ceil(H / stride) and
    ceil(W / stride) follow.
    """

    name: str
    shape: tuple[int, ...]
    stride: int = 0

    def full_shape(self, size_hw: tuple[int, int]) -> tuple[int, ...]:
        """Shape for one video whose network input has that size, batch axis first."""
        if not self.stride:
            return (1, *self.shape)
        height, width = (-(-side // self.stride) for side in size_hw)
        return (1, *self.shape, height, width)


@dataclass(frozen=True, slots=True)
class Description:
    """The content of a weights file, without its tensors."""

    path: Path
    sha256: str
    arch: str
    config: dict[str, Any]
    labels: Labels
    preprocess: Preprocess
    training: dict[str, Any]  # recipe, data, scores: for people
    state: tuple[StateTensor, ...] = ()  # in ONNX files, whose graph has it as inputs and outputs
    task: str = SEMANTIC  # or INSTANCE or PANOPTIC: what the network answers with
    window: int = 1  # frames per call
    alignment: int = 1  # multiples of it are sides that the network covers evenly
    any_window: bool = False  # its frames are independent: any number per call will do


def metadata_of(
    *,
    arch: str,
    config: Mapping[str, Any],
    labels: Labels,
    preprocess: Preprocess,
    training: Mapping[str, Any],
    state: Sequence[StateTensor] = (),
    task: str = SEMANTIC,
    window: int = 1,
    alignment: int = 1,
    any_window: bool = False,
) -> dict[str, str]:
    """The string table that safetensors and ONNX files carry; no folder of a teacher is in it."""
    record: dict[str, Any] = {
        "format": FORMAT,
        "arch": arch,
        "config": dict(config),
        "labels": labels_to_json(labels),
        "preprocess": asdict(preprocess),
        "training": _without_folders(training),
        "task": task,
        "window": window,
        "alignment": alignment,
    }

    if any_window:
        record["any_window"] = True
    if state:
        record["state"] = [asdict(tensor) for tensor in state]
    return {"vidparse": json.dumps(record, sort_keys=True)}


def _without_folders(training: Mapping[str, Any]) -> dict[str, Any]:
    """The training record, its teacher by name: files travel, and folders name their user."""
    if not teacher_of(training):
        return dict(training)
    recipe = training["recipe"]
    short = {"teacher": name_to_share(teacher_of(training))}
    if "teacher" in recipe:  # as former versions have it
        return {**training, "recipe": recipe | short}
    return {**training, "recipe": recipe | {"objective": recipe["objective"] | short}}


def teacher_of(training: Mapping[str, Any]) -> str:
    """The teacher in a training record of any version, "" for none."""
    recipe = training.get("recipe")
    if not isinstance(recipe, Mapping):
        return ""
    objective = recipe.get("objective")
    table = objective if isinstance(objective, Mapping) else recipe
    teacher = table.get("teacher")
    return teacher if isinstance(teacher, str) else ""


def name_to_share(model: str) -> str:
    """The name of a model without the folders it lies in; an address on the hub stays whole."""
    return model if model.startswith("hf:") else PureWindowsPath(model).name


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
        record = _table(parse_json(metadata["vidparse"]), "the record")
        version = _whole(record["format"], "format", 1)
        if version > FORMAT:
            raise ModelError(f"{path}: format {version} is newer; update vidparse")
        return Description(
            path=path,
            sha256=sha256,
            arch=_word(record["arch"], "arch"),
            config=_table(record["config"], "config"),
            labels=labels_from_json(record["labels"]),
            preprocess=preprocess_from(_table(record["preprocess"], "preprocess")),
            training=_table(record["training"], "training"),
            state=_state_of(record.get("state", [])),
            task=_one_of(record.get("task", SEMANTIC), "task", TASKS),
            window=_whole(record.get("window", 1), "window", 1, _LONGEST_WINDOW),
            alignment=_whole(record.get("alignment", 1), "alignment", 1, LARGEST),
            any_window=_flag(record.get("any_window", False), "any_window"),
        )
    except KeyError as error:
        raise ModelError(f"{path}: damaged description (no {error}); fetch it again") from error
    except ValueError as error:
        raise ModelError(f"{path}: damaged description ({error}); fetch it again") from error


def preprocess_from(facts: Mapping[str, Any]) -> Preprocess:
    """The inverse of `asdict`, for JSON values; fields with a default may be missing.

    Raises:
        ValueError: a value is of another type, or out of range. KeyError: a field is missing.
    """
    short_side = _whole(facts["short_side"], "short_side", 0, LARGEST)
    long_side, size_hw = facts.get("long_side"), facts.get("size_hw")
    red, green, blue = _three(facts["mean"], "mean")
    red_std, green_std, blue_std = _three(facts["std"], "std", above=0.0)

    exact = None
    if size_hw is not None:
        if not isinstance(size_hw, list) or len(size_hw) != 2:
            raise ValueError("size_hw is to be two sides")
        height, width = (_whole(side, "size_hw", 1, LARGEST) for side in size_hw)
        exact = (height, width)

    return Preprocess(
        short_side,
        (red, green, blue),
        (red_std, green_std, blue_std),
        long_side=None if long_side is None else _whole(long_side, "long_side", 1, 2 * LARGEST),
        size_hw=exact,
        divisor=_whole(facts.get("divisor", 1), "divisor", 1, LARGEST),
        resample=_one_of(facts.get("resample", AREA), "resample", RESAMPLES),
    )


def _state_of(tensors: Any) -> tuple[StateTensor, ...]:
    if not isinstance(tensors, list):
        raise ValueError("state is to be a list")
    found: dict[str, StateTensor] = {}
    for entry in tensors:
        facts = _table(entry, "state")
        name = _word(facts["name"], "name of a state")
        if name in found:
            raise ValueError(f"two states are called '{name}'")
        if not isinstance(facts["shape"], list):
            raise ValueError(f"state {name}: shape is to be a list")
        shape = tuple(_whole(side, f"shape of {name}", 1, LARGEST**2) for side in facts["shape"])
        if math.prod(shape) > _LARGEST_STATE:
            raise ValueError(f"state {name} is too large")
        found[name] = StateTensor(name, shape, _whole(facts["stride"], "stride", 0, LARGEST))
    return tuple(found.values())


def _table(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} is to be a table")
    return value


def _word(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{what} is to be a word")
    return value


def _flag(value: Any, what: str) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{what} is to be true or false")
    return value


def _one_of(value: Any, what: str, known: Sequence[str]) -> str:
    if value not in known:
        raise ValueError(f"{what} is to be one of {', '.join(known)}")
    return value


def _whole(value: Any, what: str, least: int, most: int = 2**31) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{what} is to be a whole number, {least} to {most}")
    return value


def _three(values: Any, what: str, *, above: float = -math.inf) -> list[float]:
    """One finite number for each of red, green and blue."""
    right = isinstance(values, list) and len(values) == 3
    if not right or not all(_is_number(value) and value > above for value in values):
        positive = "" if above < 0 else " above 0"
        raise ValueError(f"{what} is to be three numbers{positive}")
    return [float(value) for value in values]


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e30
