"""One frame of a data set held against its format: its size, its pixels per class, its problems."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vidparse.data.dataset import Dataset, FrameRecord
from vidparse.data.folders import is_painted
from vidparse.data.pictures import (
    IGNORE,
    MaskValues,
    image_size,
    mask_size,
    read_indices,
    size_mismatch,
)
from vidparse.data.tool_folders import FramesBeside
from vidparse.errors import InputError
from vidparse.maps import VOID, SegmentMap, count_codes


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a file; a warning where reading it goes on regardless."""

    path: str
    what: str
    warning: bool = False


@dataclass(slots=True)
class FrameFacts:
    """Size, pixels per class and problems of a frame."""

    size_hw: tuple[int, int] | None = None
    pixels: np.ndarray | None = None  # int64 (256,): of each training id and of IGNORE
    problems: list[Problem] = field(default_factory=list)


def check_frame(dataset: Dataset, frame: FrameRecord, *, quick: bool) -> FrameFacts:
    """Read a frame's files; problems end up in the facts.

    Args:
        quick: read the heads of the files only.
    """
    facts = FrameFacts()
    if frame.image is None:
        return _made(dataset, frame, facts, quick)
    try:
        facts.size_hw = _size(dataset, frame, quick)
    except InputError as error:
        facts.problems.append(Problem(str(frame.image), _what(error, frame.image)))

    if not frame.labelled or frame.mask is None:
        return facts

    values = dataset.values
    try:
        if quick and is_painted(frame):  # text has no head
            size_hw = mask_size(frame.mask, of_indices=values is not None)
        elif values is not None:
            size_hw = _check_indices(frame.mask, values, facts)
        elif dataset.is_panoptic:
            size_hw = _check_segments(frame.mask, dataset.load_truth(frame), facts)
        else:
            mask = dataset.load_mask(frame)
            size_hw = (mask.shape[0], mask.shape[1])
            facts.pixels = np.bincount(mask.ravel(), minlength=256)
    except InputError as error:
        facts.problems.append(Problem(str(frame.mask), _what(error, frame.mask)))
        return facts

    # Compare sizes as people see them: EXIF turns images and not masks.
    if facts.size_hw is not None and size_hw != facts.size_hw:
        what = size_mismatch(frame.image, size_hw, facts.size_hw)
        facts.problems.append(Problem(str(frame.mask), what))
    return facts


def _made(dataset: Dataset, frame: FrameRecord, facts: FrameFacts, quick: bool) -> FrameFacts:
    """A frame that is made when it is read; a bad file that it is made of is a problem."""
    read = dataset.read_image
    if isinstance(read, FramesBeside) and read.film(frame.video) is None:
        # Name a picture by itself, and the frames of a video, which go by numbers, at once.
        is_film = frame.stem.isdecimal()
        missing = f"pictures of {frame.video} and no video" if is_film else f"picture {frame.stem}"
        what = f"no {missing} beside it: labels alone can be read"
        facts.problems.append(Problem(str(frame.mask or frame), what, warning=True))
    if quick:
        return facts
    try:
        mask = dataset.load_mask(frame)
    except InputError as error:
        path, _, what = str(error).partition(": ")
        facts.problems.append(Problem(path, what))
        return facts
    facts.size_hw = mask.shape[0], mask.shape[1]
    if frame.labelled:  # all is void in a frame that nobody labelled
        facts.pixels = np.bincount(mask.ravel(), minlength=256)
    return facts


def _what(error: InputError, path: Path) -> str:
    """The error without the path that it begins with."""
    return str(error).removeprefix(f"{path}: ")


def _size(dataset: Dataset, frame: FrameRecord, quick: bool) -> tuple[int, int]:
    """Height and width of a frame's image. Raises: InputError: damaged; the file is named."""
    assert frame.image is not None
    if quick:
        return image_size(frame.image)
    height, width = dataset.load_image(frame).shape[:2]
    return height, width


def _check_indices(path: Path, values: MaskValues, facts: FrameFacts) -> tuple[int, int]:
    raw = read_indices(path)
    counts = values.counts(raw)
    facts.pixels = values.per_class(counts)
    strays = values.strays(counts)

    # Take strays for errors only where the format has a rule against them.
    if strays:
        listed = ", ".join(f"{value} ({pixels} px)" for value, pixels in strays.items())
        what = f"holds values that are no class: {listed}"
        what += "" if values.rule else "; taken as void"
        facts.problems.append(Problem(str(path), what, warning=not values.rule))
    return raw.shape[0], raw.shape[1]


def _check_segments(path: Path, objects: SegmentMap, facts: FrameFacts) -> tuple[int, int]:
    """Pixels of each class, and the areas that the json claims against those of the picture."""
    ids, pixels = count_codes(objects.ids)
    counted = dict(zip(ids.tolist(), pixels.tolist(), strict=True))
    facts.pixels = np.zeros(256, np.int64)
    facts.pixels[IGNORE] = counted.get(VOID, 0)
    for segment in objects.segments or ():
        found = counted.get(segment.id, 0)
        facts.pixels[segment.class_id] += found
        if not found:
            what = f"id {segment.id} is listed but has no pixel"
        elif segment.area != found:
            what = f"id {segment.id} has {found} pixels, {segment.area} by its json"
        else:
            continue
        facts.problems.append(Problem(str(path), what, warning=True))
    return objects.ids.shape[0], objects.ids.shape[1]
