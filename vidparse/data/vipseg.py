"""VIPSeg: 124 classes, 58 of them things, with stable instance ids in each video."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from vidparse.data.dataset import SPLITS, Dataset, Format, FrameRecord, OnMissing, Video, refuse
from vidparse.data.folders import (
    ListedSegments,
    check_split,
    listed_splits,
    paired_videos,
    read_split,
)
from vidparse.data.pictures import IGNORE, MaskValues, read_indices
from vidparse.data.tool_folders import own_labels
from vidparse.errors import InputError
from vidparse.filenames import name_below
from vidparse.labels import Labels, load_labels
from vidparse.maps import ListedPicture, SegmentMap, read_panoptic_json, segments_of_ids

log = logging.getLogger(__name__)
RATE_HZ = 5
_STUFF_LIMIT = 125  # raw values below it are a bare category, from it on category * 100 + instance


def open_vipseg(root: Path, split: str, *, on_missing: OnMissing = refuse) -> Dataset:
    """One split, in the original layout or the 720p conversion.

    Original: imgs/<video>/*.jpg and panomasks/<video>/*.png (16 bits). Segment ids are the stored
    values, so they are the same object through the video; the format itself has room for 100
    instances of a category. Values that name no class, or an instance of stuff (200 occurs), are
    void.

    720p: images/, panomasksRGB/ and panoptic_gt_VIPSeg_{split}.json or panoptic_gt_VIPSeg.json;
    ids, categories and areas are theirs. Without them panomasks/ is read as above. Videos are those
    of {split}.txt, or without it those of the split's own json.

    Raises:
        InputError: the folder is not laid out like this, a listed video is missing, or the json
            and the folders do not name the same frames.
    """
    check_split("vipseg", split, SPLITS)
    folders = [root / name for name in ("imgs", "images") if (root / name).is_dir()]
    if not folders:
        raise InputError(f"{root}: has neither imgs/ nor images/; point --data at VIPSeg")
    record = panoptic_json(root, split)
    labels = own_labels(root, root) or load_labels("vspw")
    table = read_panoptic_json(record) if record else None
    if table is not None and table.videos is None:
        raise InputError(
            f"{record}: its annotations are not grouped by video; give VIPSeg's own json"
        )

    listed = (table.videos if table else None) or {}
    masks = root / ("panomasksRGB" if record else "panomasks")
    if record and not (root / f"{split}.txt").is_file() and record.stem.endswith(split):
        names = [name_below(name, record) for name in listed]
    else:
        names = read_split(root, split)
    coloured = any((root / "panomasksRGB" / name).is_dir() for name in names)
    if coloured and not masks.is_dir():
        raise InputError(
            f"{root / 'panomasksRGB'}: needs panoptic_gt_VIPSeg_{split}.json beside it, which "
            "has the meaning of the ids; make it, or add panomasks/"
        )

    videos = paired_videos(
        names,
        lambda name: (folders[0] / name, masks / name),
        on_missing,
        interval_s=1 / RATE_HZ,
    )
    if record is None or table is None:
        values = values_of(labels)
        return Dataset(
            "vipseg", split, labels, videos, values, read_segments=_Panomasks(values, labels)
        )

    # Hold json and folders against each other: a shifted list would swap whole frames.
    rows: dict[Path, ListedPicture] = {}
    for video in videos:
        rows |= _held_against(listed.get(video.name, ()), video, record, on_missing)
    return Dataset(
        "vipseg", split, labels, videos, read_segments=ListedSegments(table, rows, labels)
    )


def _held_against(
    listed: tuple[ListedPicture, ...], video: Video, record: Path, on_missing: OnMissing
) -> dict[Path, ListedPicture]:
    """The rows of a video in the json by mask; they must be about the frames that have masks."""
    rows, found = {row.stem: row for row in listed}, dict[Path, ListedPicture]()
    for frame in video.frames:
        if frame.stem in rows:
            row = rows.pop(frame.stem)
            if frame.mask is None:
                on_missing(InputError(f"{frame}: {record.name} lists it, but it has no mask"))
            else:
                found[frame.mask] = row
        elif frame.labelled:
            what = f"{record.name} does not list it; make the json again"
            on_missing(InputError(f"{frame.mask}: {what}"))
    for stem in rows:
        what = f"lists frame {stem} of {video.name}, which has no image; fetch it again"
        on_missing(InputError(f"{record}: {what}"))
    return found


class _Panomasks:
    """Segments of the original masks, by value, as the published conversion lists them.

    Nothing is a crowd there. A value of no class is logged once per video.
    """

    def __init__(self, values: MaskValues, labels: Labels) -> None:
        self._values, self._labels = values, labels
        self._warned: set[str] = set()

    def __call__(self, frame: FrameRecord) -> SegmentMap:
        assert frame.mask is not None
        raw = read_indices(frame.mask)
        counts = self._values.counts(raw)
        strays = self._values.strays(counts)
        if strays and frame.video not in self._warned:
            self._warned.add(frame.video)
            log.warning("%s: value %d is no class; taken as void", frame.mask, min(strays))
        return panomask_segments(raw, counts, self._values, self._labels)


def panoptic_json(root: Path, split: str) -> Path | None:
    """The json of the 720p conversion, where both it and its pictures are there."""
    names = (f"panoptic_gt_VIPSeg_{split}.json", "panoptic_gt_VIPSeg.json")
    found = [root / name for name in names if (root / name).is_file()]
    return found[0] if found and (root / "panomasksRGB").is_dir() else None


def values_of(labels: Labels) -> MaskValues:
    """The meaning of the 16-bit values of a panomask.

    A value below 125 is a bare raw category (0 void, 1..124), of stuff or of a thing without
    number; otherwise it is category * 100 + instance, of things alone.
    """
    table, known = np.full(1 << 16, IGNORE, np.uint8), np.zeros(1 << 16, bool)
    known[0] = True
    for category in range(len(labels)):
        raw = [category + 1]
        if category in labels.things:
            raw += range(max(_STUFF_LIMIT, 100 * (category + 1)), 100 * (category + 2))
        table[raw], known[raw] = category, True
    return MaskValues(table, known)


def panomask_segments(
    raw: np.ndarray, counts: np.ndarray, values: MaskValues, labels: Labels
) -> SegmentMap:
    """Segments of a panomask (H, W): ids are its values, values of no class are void.

    Args:
        counts: pixels of each value, as `values.counts(raw)` gives.
    """
    size = len(values.table)

    # List the values that occur: all others would be segments without pixels.
    present = np.flatnonzero((counts[:size] > 0) & (values.table != IGNORE))  # (N,), ascending
    table = np.zeros(len(counts), np.uint16)
    table[present] = present
    ids = np.take(table, raw, mode="clip")
    class_of = {number: int(values.table[number]) for number in present.tolist()}
    return SegmentMap(ids, segments_of_ids(ids, class_of, things=labels.things))


def _splits(root: Path) -> tuple[str, ...]:
    own = {split: panoptic_json(root, split) for split in SPLITS}
    return listed_splits(root) or tuple(
        split for split, path in own.items() if path is not None and path.stem.endswith(split)
    )


FORMAT = Format(
    open=open_vipseg,
    sign="panomasks/ or panomasksRGB/",
    matches=lambda root: (root / "panomasks").is_dir() or (root / "panomasksRGB").is_dir(),
    splits=_splits,
    masks=("panomasks/{video}/*.png", "panomasksRGB/{video}/*.png"),
)
