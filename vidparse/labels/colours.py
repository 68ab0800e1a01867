"""Colours of classes: published ones, ones that everybody can distinguish, or a file's.

Everybody includes people who confuse red and green.
"""

from __future__ import annotations

import colorsys
from pathlib import Path

import numpy as np

from vidparse.errors import UsageError, counted
from vidparse.labels import Labels, available_labels, common_classes, load_labels
from vidparse.labels.apart import far_apart
from vidparse.textfiles import Json, JsonTable, decode_text, parse_json

PUBLISHED, APART, DISTINCT = "published", "apart", "distinct"
_COLOURFUL = 20.0  # least chroma of Lab of a hue wheel: no class looks as if it had none
_HUE_RANGE = 0.16  # of the wheel: objects stay recognisable as of their class
# Powers of the inverse plastic number in three dimensions: places that fill a cube evenly.
_COLOUR_STEPS = (0.8191725133961645, 0.6710436067037893, 0.5497004779019703)
_UNCOLOURED = "background"  # of VOC and DAVIS: everything that is no class, and black
GOLDEN_RATIO = 0.6180339887498949  # successive multiples spread evenly round the hue circle


def palettes() -> list[str]:
    """Values of `--palette`, apart from files."""
    return [PUBLISHED, APART, DISTINCT, *available_labels()]


def class_colours(labels: Labels, palette: str | None) -> np.ndarray:
    """RGB uint8 (C, 3), one row per class, as files of class ids hold them.

    Args:
        labels: the label set of the ids; its own colours are used when `palette` is None or
            "published".
        palette: a label set's name (by class name where both have it, else by id), "apart" (its
            own colours, moved until everybody can distinguish them), "distinct", or a file: .json
            (a list of [r, g, b], or {class name: [r, g, b]}) or .txt (r g b).

    Raises:
        UsageError: no such palette, or a file that does not hold colours.
    """
    own = np.array(labels.colours, np.uint8).reshape(-1, 3)
    if palette is None or palette == PUBLISHED:
        return own
    if palette == APART:
        return _moved_apart(own, labels)
    if palette == DISTINCT:
        wheel = hue_wheel(len(labels))
        return far_apart(wheel, common_classes(labels), least_chroma=_COLOURFUL)

    path = Path(palette)
    if path.suffix.lower() in (".json", ".txt"):
        return _from_file(path, labels, own)
    if palette not in available_labels():
        known = ", ".join(palettes())
        raise UsageError(f"palette '{palette}': unknown; try {known}, or a .json or .txt file")
    return _from_labels(load_labels(palette), labels)


def drawn_colours(labels: Labels, palette: str | None) -> np.ndarray:
    """The same for drawing on pictures.

    Where no palette is chosen, published colours are those of "apart", so that people who confuse
    red and green can distinguish classes; colours that somebody gave a label set of his own stay.

    Raises:
        UsageError: as `class_colours`.
    """
    colours = class_colours(labels, palette)

    # Move published colours only: somebody chose the others.
    if palette is None and not _are_chosen(labels):
        return _moved_apart(colours, labels)
    return colours


def _moved_apart(colours: np.ndarray, labels: Labels) -> np.ndarray:
    """Class colours (C, 3) as far apart as `far_apart` makes them, those common together most."""
    coloured = [i for i in range(len(labels)) if i not in uncoloured(labels)]
    common = [coloured.index(i) for i in common_classes(labels) if i in coloured]
    moved = colours.copy()
    least_chroma = _COLOURFUL if _are_made_up(labels) else 0.0
    moved[coloured] = far_apart(colours[coloured], common, least_chroma=least_chroma)
    return moved


def uncoloured(labels: Labels) -> frozenset[int]:
    """Ids of classes that overlays leave as the picture is: they mark pixels of no other class."""
    names = enumerate(labels.classes)
    return frozenset(i for i, name in names if name.casefold() == _UNCOLOURED)


def _are_chosen(labels: Labels) -> bool:
    """True if the colours are neither a published label set's nor made up by vidparse."""
    if _are_made_up(labels):
        return False
    known = labels.name in available_labels()
    return not known or load_labels(labels.name).colours != labels.colours


def _are_made_up(labels: Labels) -> bool:
    """True if the colours are those of a label set that brought none."""
    return labels.colours == tuple(map(tuple, hue_wheel(len(labels)).tolist()))


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
    return far_apart(hue_wheel(count), least_chroma=_COLOURFUL)
