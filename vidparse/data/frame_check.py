"""One frame of a data set, its image and its mask, held against the format."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from vidparse.data.dataset import (
    PILLOW_ERRORS,
    Dataset,
    FrameRecord,
    IndexDataset,
    is_panoptic,
    read_indices,
)
from vidparse.data.values import IGNORE, MaskValues
from vidparse.errors import InputError
from vidparse.panoptic import VOID, PanopticMap, count_codes

INDEX_MODES = ("1", "L", "P", "I", "I;16")  # Pillow's names for one channel


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a file; a warning where reading it goes on regardless."""

    path: str
    what: str
    warning: bool = False


@dataclass(slots=True)
class FrameFacts:
    """What a frame turned out to be."""

    size_hw: tuple[int, int] | None = None
    pixels: np.ndarray | None = None  # int64 (256,): of each training id and of IGNORE
    problems: list[Problem] = field(default_factory=list)


def check_frame(dataset: Dataset, frame: FrameRecord, *, quick: bool) -> FrameFacts:
    """Read a frame's files; what is wrong ends up in the facts.

    Args:
        quick: only what the heads of the files say.
    """
    facts = FrameFacts()
    assert frame.image is not None  # data sets in a folder
    facts.size_hw = _size(frame.image, quick, facts)
    if not frame.labelled or frame.mask is None:
        return facts
    values = dataset.values if isinstance(dataset, IndexDataset) else None
    try:
        if quick and frame.mask.suffix != ".txt":  # text has no head
            size_hw = _mask_size(frame.mask, values)
        elif values is not None:
            size_hw = _check_indices(frame.mask, values, facts)
        elif is_panoptic(dataset):
            size_hw = _check_segments(frame.mask, dataset.load_panoptic(frame), facts)
        else:
            mask = dataset.load_mask(frame)
            size_hw = (mask.shape[0], mask.shape[1])
            facts.pixels = np.bincount(mask.ravel(), minlength=256)
    except InputError as error:
        what = str(error).removeprefix(f"{frame.mask}: ")
        facts.problems.append(Problem(str(frame.mask), what))
        return facts
    if facts.size_hw is not None and size_hw != facts.size_hw:
        facts.problems.append(
            Problem(
                str(frame.mask),
                f"is {size_hw[1]}x{size_hw[0]}, its image {facts.size_hw[1]}x{facts.size_hw[0]}",
            )
        )
    return facts


def _size(path: Path, quick: bool, facts: FrameFacts) -> tuple[int, int] | None:
    """Height and width of an image; Pillow also finds one that ends early."""
    try:
        if path.stat().st_size == 0:
            raise InputError(f"{path}: empty file; fetch it again")
        with Pillow.open(path) as picture:
            if not quick:
                picture.load()
            return picture.height, picture.width
    except InputError as error:
        facts.problems.append(Problem(str(path), str(error).removeprefix(f"{path}: ")))
    except FileNotFoundError:
        facts.problems.append(Problem(str(path), "no such file; fetch it"))
    except PILLOW_ERRORS as error:
        facts.problems.append(Problem(str(path), f"damaged image: {_reason(error, path)}"))
    return None


def _mask_size(path: Path, values: MaskValues | None) -> tuple[int, int]:
    """Height and width that the head of a mask tells.

    Raises:
        InputError: not a picture, or of the other kind: colours, not indices, or the reverse.
    """
    try:
        with Pillow.open(path) as picture:
            if (picture.mode in INDEX_MODES) != (values is not None) and picture.mode != "P":
                kind = "class indices" if values is not None else "colours"
                raise InputError(f"{path}: a mask of mode {picture.mode}, not of {kind}")
            return picture.height, picture.width
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; fetch it") from error
    except PILLOW_ERRORS as error:
        raise InputError(f"{path}: damaged mask: {_reason(error, path)}") from error


def _check_indices(path: Path, values: MaskValues, facts: FrameFacts) -> tuple[int, int]:
    raw = read_indices(path)
    counts = values.counts(raw)
    facts.pixels = values.per_class(counts)
    strays = values.strays(counts)
    if strays:
        listed = ", ".join(f"{value} ({pixels} px)" for value, pixels in strays.items())
        what = f"holds values that are no class: {listed}"
        what += "" if values.strict else "; taken as void"
        facts.problems.append(Problem(str(path), what, warning=not values.strict))
    return raw.shape[0], raw.shape[1]


def _check_segments(path: Path, objects: PanopticMap, facts: FrameFacts) -> tuple[int, int]:
    """Pixels of each class, and the areas that the json claims against those of the picture."""
    ids, pixels = count_codes(objects.ids)
    counted = dict(zip(ids.tolist(), pixels.tolist(), strict=True))
    facts.pixels = np.zeros(256, np.int64)
    facts.pixels[IGNORE] = counted.get(VOID, 0)
    areas = objects.areas if objects.areas is not None else [None] * len(objects.segments)
    for (segment, category, _), area in zip(objects.segments.tolist(), areas, strict=True):
        found = counted.get(segment, 0)
        facts.pixels[category] += found
        if not found:
            what = f"id {segment} is listed but has no pixel"
        elif area is not None and area != found:
            what = f"id {segment} has {found} pixels, its json says {area}"
        else:
            continue
        facts.problems.append(Problem(str(path), what, warning=True))
    return objects.ids.shape[0], objects.ids.shape[1]


def _reason(error: Exception, path: Path) -> str:
    """Pillow's reason without the path, which it quotes."""
    text = str(error).replace(repr(str(path)), "the file")
    return "not a picture" if text.startswith("cannot identify") else text
