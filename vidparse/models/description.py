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

from vidparse.errors import ModelError
from vidparse.labels import Labels, labels_from_json, labels_to_json
from vidparse.limits import LARGEST
from vidparse.models.profile import Profile, profile_from
from vidparse.textfiles import (
    Json,
    JsonTable,
    as_flag,
    as_list,
    as_number,
    as_table,
    as_whole,
    as_word,
    parse_json,
)

FORMAT = 2  # 1 had no task, window and alignment
RUN = "vidparse-run"  # key of a training run's state, which is no model
SEMANTIC, INSTANCE, PANOPTIC = "semantic", "instance", "panoptic"
TASKS = (SEMANTIC, PANOPTIC)  # of vidparse's own networks
AREA = "area"  # the resize of vidparse's own networks; the others are Pillow's
RESAMPLES = (AREA, "nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")

_LONGEST_WINDOW = 256  # frames
_LONGEST_INTERVAL_S = 86400
# Of networks whose files may be older than the field: those of VSPW's 15 frames per second.
_TAUGHT_AT = {"tcb-ocr": 1 / 15, "tcb-ppm": 1 / 15}
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

        # Round up, as padded convolutions do: the last cell may hang over the border.
        height, width = (-(-side // self.stride) for side in size_hw)
        return (1, *self.shape, height, width)


@dataclass(frozen=True, slots=True)
class Description:
    """The content of a weights file, without its tensors."""

    path: Path
    sha256: str
    arch: str
    config: Mapping[str, object]
    labels: Labels
    preprocess: Preprocess
    training: JsonTable  # recipe, data, scores: for people
    state: tuple[StateTensor, ...] = ()  # in ONNX files, whose graph has it as inputs and outputs
    task: str = SEMANTIC  # or INSTANCE or PANOPTIC: what the network answers with
    window: int = 1  # frames per call
    alignment: int = 1  # multiples of it are sides that the network covers evenly
    any_window: bool = False  # its frames are independent: any number per call will do
    # Seconds from frame to frame that its memory was taught with; None: it takes every frame.
    memory_interval_s: float | None = None
    profile: Profile | None = None  # of what it learnt from; None where nobody measured it


def metadata_of(
    *,
    arch: str,
    config: Mapping[str, object],
    labels: Labels,
    preprocess: Preprocess,
    training: Mapping[str, object],
    state: Sequence[StateTensor] = (),
    task: str = SEMANTIC,
    window: int = 1,
    alignment: int = 1,
    any_window: bool = False,
    memory_interval_s: float | None = None,
    profile: Profile | None = None,
) -> dict[str, str]:
    """The string table that safetensors and ONNX files carry; no folder of a teacher is in it."""
    record: dict[str, object] = {
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
    if memory_interval_s is not None:
        record["memory_interval_s"] = memory_interval_s
    if state:
        record["state"] = [asdict(tensor) for tensor in state]
    if profile is not None:
        record["profile"] = asdict(profile)
    return {"vidparse": json.dumps(record, sort_keys=True)}


def _without_folders(training: Mapping[str, object]) -> dict[str, object]:
    """The training record, its teacher by name: files travel, and folders name their user."""
    teacher, recipe = teacher_of(training), _inner(training, "recipe")
    if not teacher:
        return dict(training)
    short = {"teacher": name_to_share(teacher)}

    # Change it where it stands: former versions have it flat in the recipe.
    if "teacher" in recipe:
        return {**training, "recipe": {**recipe, **short}}
    return {**training, "recipe": {**recipe, "objective": {**_inner(recipe, "objective"), **short}}}


def teacher_of(training: Mapping[str, object]) -> str:
    """The teacher in a training record of any version, "" for none."""
    recipe = _inner(training, "recipe")
    teacher = (_inner(recipe, "objective") or recipe).get("teacher")
    return teacher if isinstance(teacher, str) else ""


def _inner(table: Mapping[str, object], key: str) -> Mapping[str, object]:
    """The table under a key, an empty one where there is none."""
    inner = table.get(key)
    return inner if isinstance(inner, Mapping) else {}


def name_to_share(model: str) -> str:
    """The name of a model without the folders it lies in; an address on the hub stays whole."""
    # Split at slashes of both kinds: the record may come from Windows.
    return model if model.startswith("hf:") else PureWindowsPath(model).name


def describe(path: Path, metadata: Mapping[str, str] | None, sha256: str) -> Description:
    """Read the string table back.

    Raises:
        ModelError: it is not ours, newer than this version, or damaged.
    """
    # Name a run's state first: it lies beside the model, and is easily given in its place.
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
        record = as_table(parse_json(metadata["vidparse"]), "the record")
        version = as_whole(record["format"], "format", 1)

        # Stop at a newer format before its fields, which may mean other things there.
        if version > FORMAT:
            raise ModelError(f"{path}: format {version} is newer; update vidparse")

        # Fill in what format 1 lacks: task, window and alignment.
        arch = as_word(record["arch"], "arch")
        return Description(
            path=path,
            sha256=sha256,
            arch=arch,
            config=as_table(record["config"], "config"),
            labels=labels_from_json(record["labels"]),
            preprocess=preprocess_from(as_table(record["preprocess"], "preprocess")),
            training=as_table(record["training"], "training"),
            state=_state_of(record.get("state", [])),
            task=_one_of(record.get("task", SEMANTIC), "task", TASKS),
            window=as_whole(record.get("window", 1), "window", 1, _LONGEST_WINDOW),
            alignment=as_whole(record.get("alignment", 1), "alignment", 1, LARGEST),
            any_window=as_flag(record.get("any_window", False), "any_window"),
            memory_interval_s=_memory_interval_of(record, arch),
            profile=profile_from(record["profile"]) if "profile" in record else None,
        )
    except KeyError as error:
        raise ModelError(f"{path}: damaged description (no {error}); fetch it again") from error
    except (TypeError, ValueError) as error:
        raise ModelError(f"{path}: damaged description ({error}); fetch it again") from error


def preprocess_from(facts: Mapping[str, Json]) -> Preprocess:
    """The inverse of `asdict`, for JSON values; fields with a default may be missing.

    Raises:
        TypeError, ValueError: a value is of another type, or out of range.
        KeyError: a field is missing.
    """
    short_side = as_whole(facts["short_side"], "short_side", 0, LARGEST)
    long_side, size_hw = facts.get("long_side"), facts.get("size_hw")
    red, green, blue = _three(facts["mean"], "mean")
    red_std, green_std, blue_std = _three(facts["std"], "std", above=0.0)

    exact = None
    if size_hw is not None:
        if not isinstance(size_hw, list) or len(size_hw) != 2:
            raise ValueError("size_hw is to be two sides")
        height, width = (as_whole(side, "size_hw", 1, LARGEST) for side in size_hw)
        exact = (height, width)

    return Preprocess(
        short_side,
        (red, green, blue),
        (red_std, green_std, blue_std),
        long_side=None if long_side is None else as_whole(long_side, "long_side", 1, 2 * LARGEST),
        size_hw=exact,
        divisor=as_whole(facts.get("divisor", 1), "divisor", 1, LARGEST),
        resample=_one_of(facts.get("resample", AREA), "resample", RESAMPLES),
    )


def _state_of(tensors: Json) -> tuple[StateTensor, ...]:
    found: dict[str, StateTensor] = {}
    for entry in as_list(tensors, "state"):
        facts = as_table(entry, "state")
        name = as_word(facts["name"], "name of a state")

        # Refuse a name that comes twice: states are inputs of a graph, which go by name.
        if name in found:
            raise ValueError(f"two states are called '{name}'")
        sides = as_list(facts["shape"], f"state {name}: shape")
        shape = tuple(as_whole(side, f"shape of {name}", 1, LARGEST**2) for side in sides)

        # Bound the product too: zeros of this size are made on a file's word alone.
        if math.prod(shape) > _LARGEST_STATE:
            raise ValueError(f"state {name} is too large")
        found[name] = StateTensor(name, shape, as_whole(facts["stride"], "stride", 0, LARGEST))
    return tuple(found.values())


def _memory_interval_of(record: JsonTable, arch: str) -> float | None:
    """Raises: TypeError, ValueError: it is no number of seconds between two frames."""
    value = record.get("memory_interval_s")
    if value is None and arch in _TAUGHT_AT:
        # Take the interval of the training data, which older files have.
        stored = as_table(record["training"], "training").get("frame_interval_s")
        is_known = isinstance(stored, int | float) and 0 < stored <= _LONGEST_INTERVAL_S
        value = stored if is_known else _TAUGHT_AT[arch]
    if value is None:
        return None
    interval_s = as_number(value, "memory_interval_s")
    if not 0 < interval_s <= _LONGEST_INTERVAL_S:
        raise ValueError(f"memory_interval_s is to lie in 0..{_LONGEST_INTERVAL_S} s")
    return interval_s


def _one_of(value: Json, what: str, known: Sequence[str]) -> str:
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{what} is to be one of {', '.join(known)}")
    return value


def _three(values: Json, what: str, *, above: float = -math.inf) -> list[float]:
    """One finite number for each of red, green and blue."""
    listed = values if isinstance(values, list) else []

    # Keep flags out: Python takes True for a whole number.
    numbers = [
        float(one) for one in listed if isinstance(one, int | float) and not isinstance(one, bool)
    ]

    # Compare so that NaN fails too, and bound the values to where float32 has room.
    in_range = all(abs(one) < 1e30 and one > above for one in numbers)
    if not in_range or not len(listed) == len(numbers) == 3:
        positive = "" if above < 0 else " above 0"
        raise ValueError(f"{what} is to be three numbers{positive}")
    return numbers
