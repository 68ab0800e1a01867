"""A folder as the Hugging Face hub has it: its network, as its json files describe it.

Nothing here needs transformers; nothing is unpickled, no code of a checkpoint is run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from vidparse.errors import ModelError, UsageError
from vidparse.filenames import name_below
from vidparse.labels import Labels, available_labels, load_labels
from vidparse.labels.colours import hue_wheel
from vidparse.models.checkpoint import file_sha256
from vidparse.models.description import (
    INSTANCE,
    PANOPTIC,
    SEMANTIC,
    Description,
    Preprocess,
    preprocess_from,
)
from vidparse.requests.model import TASKS
from vidparse.textfiles import (
    JsonTable,
    as_list,
    as_number,
    as_table,
    as_whole,
    as_word,
    parse_json,
)

_NAMED_TASKS = (  # parts of names that show which task a checkpoint was trained for
    (PANOPTIC, ("panoptic", "vipseg")),
    (INSTANCE, ("instance", "ytvis", "youtubevis", "ovis")),
    (SEMANTIC, ("semantic", "vspw")),
)
_WEIGHTS, _SHARDS = "model.safetensors", "model.safetensors.index.json"
_PROCESSORS = ("preprocessor_config.json", "video_preprocessor_config.json")
_FILTERS = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")  # Pillow's numbers
_USUAL_SQUARE = 640
_IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
_LARGE, _ALIKE = 100, 0.8  # large sets are known by most names: synonyms are many
_COCO_THINGS, _COCO_PANOPTIC = 80, 133
_SQUARE = {"height": 512, "width": 512}
_BOUNDED = {"shortest_edge": 800, "longest_edge": 1333}


@dataclass(frozen=True, slots=True)
class Architecture:
    """One class of transformers.

    size, divisor: of its processor's input where a checkpoint does not set them.
    masks: it answers with scored masks rather than with scores of classes.
    mask_hw: size that transformers brings the masks to before it reads them; None: as they are.
    least_score, least_instance: of a query, above which its mask counts: its class's, and for
        instances its class's times its mask's.
    """

    name: str
    size: dict[str, int]
    divisor: int = 1
    masks: bool = False
    mask_hw: tuple[int, int] | None = None
    least_score: float = 0.5
    least_instance: float = 0.5
    reads_task: bool = False  # the task is an input of the network
    exports: bool = False  # it has an ONNX form
    square: bool = False  # it takes squares of config.image_size, and reads masks at full size
    follows: bool = False  # its queries follow objects from frame to frame


_takes_squares = partial(Architecture, size={}, masks=True, least_score=0.8, square=True)
_ALL = (
    Architecture("SegformerForSemanticSegmentation", _SQUARE, exports=True),
    Architecture("UperNetForSemanticSegmentation", _SQUARE),
    Architecture("MaskFormerForInstanceSegmentation", _BOUNDED, 32, masks=True),
    Architecture(
        "Mask2FormerForUniversalSegmentation", _BOUNDED, 32, masks=True, mask_hw=(384, 384)
    ),
    Architecture("OneFormerForUniversalSegmentation", _BOUNDED, masks=True, reads_task=True),
    _takes_squares("EomtForUniversalSegmentation", least_instance=0.8),
    _takes_squares("EomtDinov3ForUniversalSegmentation", least_instance=0.8),
    _takes_squares("VideomtForUniversalSegmentation", follows=True),
)
ARCHITECTURES = {architecture.name: architecture for architecture in _ALL}


def architecture_of(config: JsonTable, name: str) -> Architecture:
    """The one that config.json names.

    Raises:
        ModelError: none, or one that is not supported. Code that a checkpoint brings is never run.
    """
    named = config.get("architectures")
    listed = [str(one) for one in named] if isinstance(named, list) else []
    for one in listed:
        if one in ARCHITECTURES:
            return ARCHITECTURES[one]
    what = f"architecture {listed[0]} is not supported" if listed else "names no architecture"
    raise ModelError(f"{name}: {what}; choose a checkpoint of {', '.join(ARCHITECTURES)}")


def read_checkpoint(folder: Path, *, name: str = "", task: str = "auto") -> Description:
    """Labels, preprocessing and checksum of the checkpoint in `folder`; tensors stay on disk.

    Args:
        name: its address on the hub, which may show the task it was trained for.
        task: the task to run it for. auto: that of its name (panoptic, instance, semantic, or a
            data set of one of them); else panoptic for OneFormer, VidEoMT and COCO's 133 classes,
            and semantic for others. Networks whose masks leave each other alone are read as
            panoptic where they were trained for instances.

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
    """The size for a processor of squares: that of the network, not that of its own file."""
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

        # Sort the parts and keep names inside the folder: the index is somebody else's.
        listed = sorted({as_word(one, "weight_map") for one in files})
        parts = [name_below(part, weights, failure=ModelError) for part in listed]
        lines = [f"{file_sha256(folder / part)}  {part}\n" for part in parts]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{weights}: damaged, or a part is missing; fetch it again") from error
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def labels_of(config: JsonTable, processor: JsonTable, *, name: str, panoptic: bool) -> Labels:
    """Names come from id2label. One of vidparse's own sets lends its colours when names agree.

    Things are those that the processor lists; else those of the known set; else, for COCO's names,
    its 80 things. Nothing known: each mask of a panoptic network is a thing of its own, as in
    transformers without `label_ids_to_fuse`.

    Raises:
        ValueError, TypeError: damaged config.
    """
    classes = _names(config)
    known = _known_set(classes)

    # Keep the checkpoint's own words where most of them agree with a known set.
    if known is not None and _agreement(known, classes) == 1:
        labels = known
    elif known is not None:
        labels = Labels(known.name, classes, known.colours, known.things)
    else:
        rows = hue_wheel(len(classes)).tolist()
        colours = tuple((red, green, blue) for red, green, blue in rows)
        everything = frozenset(range(len(classes))) if panoptic else frozenset()
        things = _coco_things(classes)
        labels = Labels(name, classes, colours, everything if things is None else things)

    listed = _listed_things(processor, len(classes))
    return labels if listed is None else replace(labels, things=listed)


def _names(config: JsonTable) -> tuple[str, ...]:
    listed = as_table(config.get("id2label") or {}, "id2label")
    by_id = {int(key): str(value).strip() for key, value in listed.items()}

    # Count up to the highest id, since lists of names may have gaps.
    count = max(by_id, default=as_whole(config.get("num_labels", 2), "num_labels") - 1) + 1
    if min(by_id, default=0) < 0 or not 1 <= count <= 65535:
        raise ValueError(f"id2label has ids {min(by_id, default=0)} to {count - 1}")
    return tuple(by_id.get(i, f"LABEL_{i}") for i in range(count))


def _known_set(classes: Sequence[str]) -> Labels | None:
    for name in available_labels():
        labels = load_labels(name)
        if len(labels) == len(classes):
            enough = _ALIKE if len(classes) >= _LARGE else 1.0
            if _agreement(labels, classes) >= enough:
                return labels
    return None


def _agreement(labels: Labels, classes: Sequence[str]) -> float:
    """Share of ids whose first synonym is the same."""
    pairs = zip(labels.classes, classes, strict=True)
    return sum(_first(ours) == _first(theirs) for ours, theirs in pairs) / len(classes)


def _first(name: str) -> str:
    return name.split(",")[0].split(";")[0].strip().casefold()


def _coco_things(classes: Sequence[str]) -> frozenset[int] | None:
    last = _COCO_THINGS - 1
    if len(classes) not in (_COCO_THINGS, _COCO_PANOPTIC):
        return None
    if (classes[0], classes[last]) != ("person", "toothbrush"):
        return None
    return frozenset(range(_COCO_THINGS))


def _listed_things(processor: JsonTable, count: int) -> frozenset[int] | None:
    """OneFormer's processors carry them."""
    listed = as_table(processor.get("metadata") or {}, "metadata").get("thing_ids")
    if listed is None:
        return None
    things = frozenset(as_whole(one, "thing_ids") for one in as_list(listed, "thing_ids"))
    if not all(0 <= one < count for one in things):
        raise ValueError(f"thing_ids go to {max(things)}, classes to {count - 1}")
    return things
