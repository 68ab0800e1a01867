"""Entries: models and folders of predictions, scored alike."""

from __future__ import annotations

from pathlib import Path

from vidparse.data.pictures import is_coloured
from vidparse.errors import InputError
from vidparse.evaluation.entries.entry import Entry, InputFrame
from vidparse.evaluation.entries.folders import MaskEntry, PanopticEntry, PanopticFolders
from vidparse.evaluation.entries.model import (
    SUPPORTS,
    ModelEntry,
    PublishedTcbEntry,
    check_published,
)


def open_predictions(folder: Path, *, name: str | None = None, raw_ids: bool = False) -> Entry:
    """Predictions made by any tool; the layout shows their kind.

    pan_pred/ with pred.json is VIPSeg's form, a single json beside pictures in colours COCO
    panoptic, V.panoptic/ that for each video V; anything else is taken as index masks, see
    :class:`MaskEntry`.

    Raises:
        InputError: no such folder, or nothing in it that could be a prediction.
    """
    name = name or folder.resolve().name
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; point --pred at a folder of predictions")
    table, pictures = folder / "pred.json", folder / "pan_pred"

    # Know VIPSeg's layout by either part, so that a missing one is named.
    if table.is_file() or pictures.is_dir():
        for path in (table, pictures):
            if not path.exists():
                raise InputError(f"{path}: missing; VIPSeg predictions are pan_pred/ and pred.json")
        return PanopticEntry(pictures, table, name=name)

    tables = sorted(folder.glob("*.json"))
    if len(tables) == 1 and not _holds_masks(folder, tables[0]):
        beside = folder / tables[0].stem
        pictures = beside if beside.is_dir() else folder
        return PanopticEntry(pictures, tables[0], name=name, by_number=pictures == folder)

    if any(folder.glob("*.panoptic/panoptic.json")):
        return PanopticFolders(folder, name=name)
    if not any(folder.iterdir()):
        raise InputError(f"{folder}: is empty; point --pred at a folder of predictions")
    return MaskEntry(folder, name=name, raw_ids=raw_ids)


def _holds_masks(folder: Path, table: Path) -> bool:
    """True for pictures of class ids, beside which a json of anything else may lie."""
    if (folder / table.stem).is_dir():
        return False
    pictures = (path for pattern in ("*.png", "*/*.png") for path in folder.glob(pattern))
    first = next(pictures, None)
    try:
        return first is not None and not is_coloured(first)
    except InputError:  # whoever reads it names it
        return False


__all__ = [
    "SUPPORTS",
    "Entry",
    "InputFrame",
    "MaskEntry",
    "ModelEntry",
    "PanopticEntry",
    "PanopticFolders",
    "PublishedTcbEntry",
    "check_published",
    "open_predictions",
]
