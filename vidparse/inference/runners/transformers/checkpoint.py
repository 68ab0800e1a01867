"""A folder as the Hugging Face hub has it: what its json files say of the network in it.

Nothing here needs transformers; nothing is unpickled, no code of a checkpoint is run.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from vidparse.errors import ModelError, UsageError
from vidparse.filenames import name_below
from vidparse.inference.runners.transformers.architecture import Architecture, architecture_of
from vidparse.inference.runners.transformers.classes import labels_of
from vidparse.models.checkpoint import file_sha256
from vidparse.models.description import (
    INSTANCE,
    PANOPTIC,
    SEMANTIC,
    Description,
    Preprocess,
    preprocess_from,
)
from vidparse.textfiles import (
    JsonTable,
    as_list,
    as_number,
    as_table,
    as_whole,
    as_word,
    parse_json,
)

TASKS = ("auto", SEMANTIC, INSTANCE, PANOPTIC)
_NAMED_TASKS = (  # parts of names that say what a checkpoint was trained for
    (PANOPTIC, ("panoptic", "vipseg")),
    (INSTANCE, ("instance", "ytvis", "youtubevis", "ovis")),
    (SEMANTIC, ("semantic", "vspw")),
)
_WEIGHTS, _SHARDS = "model.safetensors", "model.safetensors.index.json"
_PROCESSORS = ("preprocessor_config.json", "video_preprocessor_config.json")
_FILTERS = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")  # Pillow's numbers
_USUAL_SQUARE = 640
_IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def read_checkpoint(folder: Path, *, name: str = "", task: str = "auto") -> Description:
    """Labels, preprocessing and checksum of the checkpoint in `folder`; tensors stay on disk.

    Args:
        name: its address on the hub, which may say what it was trained for.
        task: what to run it for. auto: what the name says (panoptic, instance, semantic, or a data
            set of one of them); else panoptic for OneFormer, VidEoMT and COCO's 133 classes, and
            semantic for others. Networks whose masks leave each other alone are read as panoptic
            where they were trained for instances.

    Raises:
        ModelError: a file is missing or damaged, the weights are pickled, or the architecture or
            the preprocessing is not supported.
        UsageError: a task that is unknown, or that this architecture does not do.
    """
    if task not in TASKS:
        raise UsageError(f"task '{task}': unknown; use {', '.join(TASKS)}")

    shown = name or str(folder)
    config = _read_json(folder / "config.json", shown)
    architecture = architecture_of(config, shown)
    weights = _weights_in(folder, shown)
    processor = _read_processor(folder, shown)

    try:
        task = _chosen_task(task, architecture, config, shown)
        short_name = shown.rstrip("/").rpartition("/")[2]
        labels = labels_of(config, processor, name=short_name, panoptic=task != SEMANTIC)
        if architecture.square:
            processor = {**processor, **_square_sizes(config, processor, architecture, task)}
        preprocess = _preprocess_of(processor, architecture, shown)
    except (ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
        raise ModelError(f"{shown}: damaged description ({error}); fetch it again") from error

    return Description(
        path=weights,
        sha256=_checksum(folder, weights),
        arch=architecture.name,
        config={key: config[key] for key in config if key not in ("id2label", "label2id")},
        labels=labels,
        preprocess=preprocess,
        training={},
        task=task,
    )


def _chosen_task(wanted: str, architecture: Architecture, config: JsonTable, name: str) -> str:
    if wanted not in ("auto", SEMANTIC) and not architecture.masks:
        raise UsageError(f"{name}: {architecture.name} is semantic only; use task semantic")
    if wanted == INSTANCE and not architecture.square:
        raise UsageError(f"{name}: {architecture.name} has instances as panoptic; use that task")
    if wanted != "auto" or not architecture.masks:
        return wanted if wanted != "auto" else SEMANTIC
    hints = f"{name} {config.get('_name_or_path', '')}".casefold()
    for task, words in _NAMED_TASKS:
        if any(word in hints for word in words):
            return PANOPTIC if task == INSTANCE and not architecture.square else task
    coco = len(as_table(config.get("id2label") or {}, "id2label")) == 133
    return PANOPTIC if architecture.reads_task or architecture.follows or coco else SEMANTIC


def _square_sizes(
    config: JsonTable, processor: JsonTable, architecture: Architecture, task: str
) -> JsonTable:
    """The size to say to a processor of squares: that of the network, whatever it says itself."""
    side = as_whole(config.get("image_size", _USUAL_SQUARE), "image_size")
    if architecture.follows:
        return {"do_resize": True, "size": {"height": side, "width": side}}
    whole = task != SEMANTIC or not processor.get("do_split_image")
    edges: JsonTable = {"shortest_edge": side, "longest_edge": side if whole else None}
    return {"do_resize": True, "size": edges, "max_size": None}


def splits_pictures(folder: Path, name: str) -> bool:
    """True where the checkpoint in `folder` takes pictures for semantic segmentation in parts."""
    return bool(_read_processor(folder, name).get("do_split_image"))


def _preprocess_of(processor: JsonTable, architecture: Architecture, name: str) -> Preprocess:
    """The work of the image processor, as one resize and one affine map per channel."""
    for option in ("do_center_crop", "pad_size"):
        if processor.get(option):
            raise ModelError(f"{name}: {option} of its processor is not supported; choose another")

    # Fold rescaling into mean and deviation: pictures here are RGB / 255.
    factor = as_number(processor.get("rescale_factor", 1 / 255), "rescale_factor")
    unit = 255 * (factor if processor.get("do_rescale", True) else 1.0)  # x / 255 * unit
    mean, std = [0.0] * 3, [1.0] * 3
    if processor.get("do_normalize", True):
        mean = _numbers(processor, "image_mean") or _IMAGENET[0]
        std = _numbers(processor, "image_std") or _IMAGENET[1]

    resample = processor.get("resample")
    sizes: JsonTable = {"short_side": 0}
    if processor.get("do_resize", True):
        sizes = _sizes_of(processor, architecture, name)
    return preprocess_from(
        {
            "mean": [value / unit for value in mean],
            "std": [value / unit for value in std],
            "resample": _FILTERS[2 if resample is None else as_whole(resample, "resample")],
            **sizes,
        }
    )


def _numbers(processor: JsonTable, key: str) -> list[float]:
    """A list of numbers, empty where the processor has none."""
    return [as_number(one, key) for one in as_list(processor.get(key) or [], key)]


def _sizes_of(processor: JsonTable, architecture: Architecture, name: str) -> JsonTable:
    """The size fields of Preprocess."""
    usual: JsonTable = dict(architecture.size)
    size = processor.get("size") or usual
    if isinstance(size, int):  # as older processors wrote it
        longest = processor.get("max_size") or usual.get("longest_edge")
        square: JsonTable = {"height": size, "width": size}
        size = {"shortest_edge": size, "longest_edge": longest} if architecture.masks else square
    size = as_table(size, "size")

    divisor = architecture.divisor
    if divisor > 1:
        wanted = processor.get("size_divisor", processor.get("size_divisibility", divisor))
        divisor = as_whole(wanted, "size_divisor")
    divisor = max(1, divisor)

    if size.get("shortest_edge"):
        longest = size.get("longest_edge") or processor.get("max_size")
        return {
            "short_side": as_whole(size["shortest_edge"], "shortest_edge"),
            "long_side": as_whole(longest, "longest_edge") if longest else None,
            "divisor": divisor,
        }
    if size.get("height") and size.get("width"):
        height, width = (as_whole(size[side], side) for side in ("height", "width"))
        return {"short_side": min(height, width), "size_hw": [height, width], "divisor": divisor}
    raise ModelError(f"{name}: size {size} of its processor is not supported; choose another")


def _read_processor(folder: Path, name: str) -> JsonTable:
    """The processor's json, which newer checkpoints keep inside processor_config.json."""
    for file in _PROCESSORS:
        if (folder / file).is_file():
            return _read_json(folder / file, name)
    within = folder / "processor_config.json"
    if not within.is_file():
        return _read_json(folder / _PROCESSORS[0], name)
    parts = _read_json(within, name)
    for part in ("image_processor", "video_processor"):
        if isinstance(found := parts.get(part), dict):
            return found
    raise ModelError(f"{name}: {within.name} describes no image processor; choose another")


def _read_json(path: Path, name: str) -> JsonTable:
    try:
        return as_table(parse_json(path.read_bytes()), "it")
    except OSError as error:
        raise ModelError(
            f"{name}: {path.name} cannot be read ({error.strerror}); fetch it again"
        ) from error
    except TypeError as error:
        raise ModelError(f"{name}: {path.name} is damaged (no table); fetch it again") from error
    except ValueError as error:
        raise ModelError(f"{name}: {path.name} is damaged ({error}); fetch it again") from error


def _weights_in(folder: Path, name: str) -> Path:
    for file in (_WEIGHTS, _SHARDS):
        if (folder / file).is_file():
            return folder / file
    pickled = sorted(path.name for path in folder.glob("*.bin"))
    if pickled:
        raise ModelError(
            f"{name}: {pickled[0]} is a pickle, which can run code and is never opened; "
            f"choose a checkpoint with {_WEIGHTS}"
        )
    raise ModelError(f"{name}: holds no {_WEIGHTS}; fetch it again")


def _checksum(folder: Path, weights: Path) -> str:
    """sha256 of the weights; of weights in parts, that of the list of the parts' own."""
    if weights.name == _WEIGHTS:
        return file_sha256(weights)
    try:
        index = as_table(parse_json(weights.read_bytes()), "the index")
        files = as_table(index["weight_map"], "weight_map").values()
        listed = sorted({as_word(one, "weight_map") for one in files})
        parts = [name_below(part, weights, failure=ModelError) for part in listed]
        lines = [f"{file_sha256(folder / part)}  {part}\n" for part in parts]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{weights}: damaged, or a part is missing; fetch it again") from error
    return hashlib.sha256("".join(lines).encode()).hexdigest()
