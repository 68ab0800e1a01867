"""Colours of classes: published ones, ones that everybody can tell apart, or a file's.

Everybody includes people who confuse red and green.
"""

from __future__ import annotations

import colorsys
from functools import lru_cache
from pathlib import Path

import numpy as np

from vidparse.errors import UsageError, counted
from vidparse.labels import Labels, available_labels, load_labels
from vidparse.textfiles import Json, JsonTable, decode_text, parse_json

PUBLISHED, DISTINCT = "published", "distinct"
_HUE_RANGE = 0.16  # of the wheel: objects stay recognisable as of their class
# Powers of the inverse plastic number in three dimensions: places that fill a cube evenly.
_COLOUR_STEPS = (0.8191725133961645, 0.6710436067037893, 0.5497004779019703)
_UNCOLOURED = "background"  # of VOC and DAVIS: everything that is no class, and black
GOLDEN_RATIO = 0.6180339887498949  # successive multiples spread evenly round the hue circle
_FAR = 20.0  # distance in Lab beyond which colours need not move further from what was wished
_WIDE = 45.0  # distance in Lab of which more makes no difference
_MANY = 300  # classes from which on no choice of colours helps
_ROUNDS = 6  # of halving, to find how much of that many classes can have
_GRID = np.arange(0, 256, 17)
_DARKEST, _BRIGHTEST = 30.0, 93.0  # lightness that shows on pictures of any kind
# What is seen without green or red cones, in linear RGB: Machado, Oliveira and Fernandes, "A
# Physiologically-based Model for Simulation of Color Vision Deficiency", TVCG 2009, severity 1.
_DEUTERANOPIA = (
    (0.367322, 0.860646, -0.227968),
    (0.280085, 0.672501, 0.047413),
    (-0.011820, 0.042940, 0.968881),
)
_PROTANOPIA = (
    (0.152286, 1.052583, -0.204868),
    (0.114503, 0.786281, 0.099216),
    (-0.003882, -0.048116, 1.051998),
)
_TO_XYZ = np.array(  # linear sRGB to CIE XYZ, white D65
    [
        (0.4124564, 0.3575761, 0.1804375),
        (0.2126729, 0.7151522, 0.0721750),
        (0.0193339, 0.1191920, 0.9503041),
    ]
)


def palettes() -> list[str]:
    """Values of `--palette`, apart from files."""
    return [PUBLISHED, DISTINCT, *available_labels()]


def class_colours(labels: Labels, palette: str | None) -> np.ndarray:
    """RGB uint8 (C, 3), one row per class, as files of class ids hold them.

    Args:
        labels: the label set of the ids; its own colours are used when `palette` is None or
            "published".
        palette: a label set's name (by class name where both have it, else by id), "distinct",
            or a file: .json (a list of [r, g, b], or {class name: [r, g, b]}) or .txt (r g b).

    Raises:
        UsageError: no such palette, or a file that does not hold colours.
    """
    own = np.array(labels.colours, np.uint8).reshape(-1, 3)
    if palette is None or palette == PUBLISHED:
        return own
    if palette == DISTINCT:
        return distinct_colours(len(labels))

    path = Path(palette)
    if path.suffix.lower() in (".json", ".txt"):
        return _from_file(path, labels, own)
    if palette not in available_labels():
        known = ", ".join(palettes())
        raise UsageError(f"palette '{palette}': unknown; try {known}, or a .json or .txt file")
    return _from_labels(load_labels(palette), labels)


def drawn_colours(labels: Labels, palette: str | None) -> np.ndarray:
    """The same for drawing on pictures.

    Published colours are moved apart, where no palette is chosen, so that people who confuse
    red and green can tell classes apart; colours that somebody gave a label set of his own stay.

    Raises:
        UsageError: as `class_colours`.
    """
    colours = class_colours(labels, palette)

    # Move published colours only: somebody chose the others.
    if palette is None and not _are_chosen(labels):
        coloured = [i for i in range(len(labels)) if i not in uncoloured(labels)]
        colours[coloured] = far_apart(colours[coloured])
    return colours


def uncoloured(labels: Labels) -> frozenset[int]:
    """Ids of classes that overlays leave as the picture is: they say that nothing is there."""
    names = enumerate(labels.classes)
    return frozenset(i for i, name in names if name.casefold() == _UNCOLOURED)


def _are_chosen(labels: Labels) -> bool:
    """True if the colours are neither a published label set's nor made up by vidparse."""
    if labels.colours == tuple(map(tuple, hue_wheel(len(labels)).tolist())):
        return False
    known = labels.name in available_labels()
    return not known or load_labels(labels.name).colours != labels.colours


def instance_colour(colour: tuple[int, int, int], instance: int) -> tuple[int, int, int]:
    """The class colour varied in hue, saturation and brightness, the same for an id in every frame.

    Ids of one class that follow each other are far apart, and thousands of them have a colour each.
    """
    hue, saturation, value = colorsys.rgb_to_hsv(*(channel / 255 for channel in colour))

    # Step by irrational shares: neighbours in number are far apart in colour.
    turns = [instance * step % 1.0 for step in _COLOUR_STEPS]
    hue = (hue + (turns[0] - 0.5) * _HUE_RANGE) % 1.0
    most = min(max(saturation, 0.45) + 0.15, 1.0)
    saturation = most * (0.55 + 0.45 * turns[1])
    most = min(max(value, 0.4) * 1.25, 1.0)
    value = most * (0.6 + 0.4 * turns[2])
    red, green, blue = (
        round(channel * 255) for channel in colorsys.hsv_to_rgb(hue, saturation, value)
    )
    return red, green, blue


def _from_labels(other: Labels, labels: Labels) -> np.ndarray:
    # Go by name first: sets share classes under other ids.
    by_name = {
        name.casefold(): colour for name, colour in zip(other.classes, other.colours, strict=True)
    }
    rows = [
        by_name.get(name.casefold(), other.colours[i % len(other)])
        for i, name in enumerate(labels.classes)
    ]
    return np.array(rows, np.uint8).reshape(-1, 3)


def _from_file(path: Path, labels: Labels, own: np.ndarray) -> np.ndarray:
    try:
        text = decode_text(path.read_bytes())
        if path.suffix.lower() == ".txt":
            lines = [line.split("#")[0].replace(",", " ").split() for line in text.splitlines()]
            rows = _rows([[int(value) for value in line[:3]] for line in lines if line])
        else:
            record = parse_json(text)
            if isinstance(record, dict):
                return _by_name(path, record, labels, own)
            rows = _rows(record)
    except OSError as error:
        raise UsageError(f"palette {path}: {error.strerror}; check the path") from error
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"palette {path}: not a list of colours ({error}); write one 'r g b' line a class"
        ) from error

    if len(rows) < len(labels):
        raise UsageError(
            f"palette {path}: {counted(len(rows), 'colour')} for {counted(len(labels), 'class')} "
            f"of '{labels.name}'; add the missing ones"
        )
    return rows[: len(labels)]


def _by_name(path: Path, record: JsonTable, labels: Labels, own: np.ndarray) -> np.ndarray:
    colours = own.copy()
    for name, colour in record.items():
        (class_id,) = labels.select([name])
        colours[class_id] = _rows([colour])[0]
    return colours


def _rows(values: Json) -> np.ndarray:
    rows = np.array(values)
    if rows.ndim != 2 or rows.shape[1] != 3 or rows.dtype.kind not in "iu":
        raise ValueError("rows of three whole numbers expected")
    if rows.min() < 0 or rows.max() > 255:
        raise ValueError("values must be 0 to 255")
    return rows.astype(np.uint8)


def hue_wheel(count: int) -> np.ndarray:
    """`count` colours round the hue circle, the same for an id in every run; uint8 (count, 3)."""
    rows = []
    for i in range(count):
        hue = (0.02 + i * GOLDEN_RATIO) % 1.0
        value = (1.0, 0.78, 0.6)[i % 3]
        saturation = (0.85, 0.6)[i // 3 % 2]
        rows.append(colorsys.hsv_to_rgb(hue, saturation, value))
    return np.rint(np.array(rows).reshape(-1, 3) * 255).astype(np.uint8)


def distinct_colours(count: int) -> np.ndarray:
    """Such colours as far apart as `far_apart` makes them, uint8 (count, 3)."""
    return far_apart(hue_wheel(count))


def far_apart(wished: np.ndarray) -> np.ndarray:
    """Colours near the wished ones that keep a distance from each other in everybody's eyes.

    The classes choose in turn: each takes the colour nearest to its wish among those that lie far
    enough from all colours taken, as seen with all cones, without green and without red ones. How
    far that can be is found by halving. With few classes nothing moves further than it must, and no
    two come nearer, for eyes with all cones, than they were wished. With some hundred classes the
    wishes stay as they are.

    Args:
        wished: RGB uint8 (N, 3).

    Returns:
        RGB uint8 (N, 3).
    """
    if len(wished) > _MANY:
        return wished
    return np.array(_far_apart(tuple(map(tuple, wished.tolist()))), np.uint8).reshape(-1, 3)


@lru_cache(maxsize=8)
def _far_apart(wished: tuple[tuple[int, int, int], ...]) -> tuple[tuple[int, int, int], ...]:
    grid = np.stack(np.meshgrid(_GRID, _GRID, _GRID, indexing="ij"), -1).reshape(-1, 3)
    colours = np.concatenate([np.array(wished, np.int64).reshape(-1, 3), grid])  # (M, 3)
    seen = as_seen(colours).astype(np.float32)  # (3, M, 3)
    usable = (seen[0, :, 0] >= _DARKEST) & (seen[0, :, 0] <= _BRIGHTEST)

    lab = seen[0, : len(wished)]
    apart = np.clip(np.sqrt(((lab[:, None] - lab[None]) ** 2).sum(-1)), _FAR, _WIDE)  # (N, N)
    chosen = _choose(seen, usable, apart, 1.0)
    low, high = 0.0, 1.0
    for _ in range(_ROUNDS if chosen is None else 0):
        middle = (low + high) / 2
        found = _choose(seen, usable, apart, middle)
        if found is None:
            high = middle
        else:
            low, chosen = middle, found
    if chosen is None:  # more classes than there are colours: ids repeat them
        return wished
    return tuple((int(r), int(g), int(b)) for r, g, b in colours[chosen])


def _choose(
    seen: np.ndarray, usable: np.ndarray, apart: np.ndarray, share: float
) -> list[int] | None:
    """Row of `seen` (3, M, 3) for each of its first N; None when the colours run out.

    Each two are at least `share` of the distance `apart` (N, N) from each other for eyes with all
    cones, and `share` of _FAR for others.
    """
    free = usable.copy()
    to_chosen = np.empty((len(apart), seen.shape[1]), np.float32)  # distances with all cones
    chosen: list[int] = []

    # Take for each class the free colour nearest its wish, far enough from all chosen before.
    for i in range(len(apart)):
        mine = free & (to_chosen[:i] >= share * apart[i, :i, None]).all(0)
        if not mine.any():
            return None

        # Stay near the wish, so that published colours remain known.
        to_wish = ((seen[0] - seen[0, i]) ** 2).sum(-1)  # (M,)
        best = int(np.where(mine, to_wish, np.inf).argmin())
        chosen.append(best)

        # Rule out what a colour-blind eye could not tell from it.
        distances = np.sqrt(((seen - seen[:, best, None]) ** 2).sum(-1))  # (3, M)
        to_chosen[i] = distances[0]
        free &= (distances[1:] >= share * _FAR).all(0)
    return chosen


def as_seen(rgb: np.ndarray) -> np.ndarray:
    """CIE Lab (3, N, 3) of RGB (N, 3): with all cones, without green ones, without red ones."""
    encoded = rgb / 255.0

    # Undo sRGB's curve first: cones add up light and not encoded values.
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    views = [linear, *(linear @ np.array(m).T for m in (_DEUTERANOPIA, _PROTANOPIA))]
    xyz = np.clip(np.stack(views), 0, 1) @ _TO_XYZ.T  # (3, N, 3)
    ratio = xyz / _TO_XYZ.sum(1)
    root = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)
