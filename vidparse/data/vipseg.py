"""VIPSeg: 124 classes, 58 of them things, instance ids that last through a video."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from vidparse.data.dataset import FrameRecord, OnMissing, Video, refuse
from vidparse.data.pictures import read_indices, read_rgb
from vidparse.data.splits import check_split, paired_videos, read_split
from vidparse.data.values import IGNORE, MaskValues
from vidparse.errors import InputError
from vidparse.filenames import name_below
from vidparse.labels import Labels, load_labels
from vidparse.maps import (
    ListedPicture,
    SegmentMap,
    read_panoptic_json,
    read_segment_map,
    segments_of_ids,
)

log = logging.getLogger(__name__)
RATE_HZ = 5
SPLITS = ("train", "val", "test")
_STUFF_LIMIT = 125  # raw values below it are a bare category, from it on category * 100 + instance


class VipSeg:
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

    name = "vipseg"

    def __init__(self, root: Path, split: str, *, on_missing: OnMissing = refuse) -> None:
        check_split(self.name, split, SPLITS)
        self.split = split
        self.labels = load_labels("vspw")
        folders = [root / name for name in ("imgs", "images") if (root / name).is_dir()]
        if not folders:
            raise InputError(f"{root}: has neither imgs/ nor images/; point --data at VIPSeg")
        self._record = panoptic_json(root, split)
        self._table = read_panoptic_json(self._record) if self._record else None
        listed = (self._table.videos if self._table else None) or {}
        if self._table is not None and self._table.videos is None:
            raise InputError(
                f"{self._record}: its annotations are not grouped by video; give VIPSeg's own json"
            )
        masks = root / ("panomasksRGB" if self._record else "panomasks")
        if (
            self._record
            and not (root / f"{split}.txt").is_file()
            and self._record.stem.endswith(split)
        ):
            names = [name_below(name, self._record) for name in listed]
        else:
            names = read_split(root, split, SPLITS)
        coloured = any((root / "panomasksRGB" / name).is_dir() for name in names)
        if coloured and not masks.is_dir():
            raise InputError(
                f"{root / 'panomasksRGB'}: needs panoptic_gt_VIPSeg_{split}.json beside it, which "
                "says what the ids are; make it, or add panomasks/"
            )
        self.videos = paired_videos(
            names,
            lambda name: (folders[0] / name, masks / name),
            on_missing,
            interval_s=1 / RATE_HZ,
        )
        self.values: MaskValues | None = None if self._record else values_of(self.labels)
        self._segments: dict[tuple[str, str], ListedPicture] = {}
        for video in self.videos if self._record else ():
            self._hold_against(listed.get(video.name, ()), video, on_missing)
        self._warned: set[str] = set()

    def _hold_against(
        self, listed: tuple[ListedPicture, ...], video: Video, on_missing: OnMissing
    ) -> None:
        """Keep what the json says of a video, which must be about the frames that have masks."""
        assert self._record is not None
        rows = {row.stem: row for row in listed}
        for frame in video.frames:
            if frame.stem in rows:
                if not frame.labelled:
                    on_missing(
                        InputError(f"{frame}: {self._record.name} lists it, but it has no mask")
                    )
                self._segments[video.name, frame.stem] = rows.pop(frame.stem)
            elif frame.labelled:
                on_missing(
                    InputError(
                        f"{frame.mask}: {self._record.name} does not list it; make the json again"
                    )
                )
        for stem in rows:
            on_missing(
                InputError(
                    f"{self._record}: lists frame {stem} of {video.name}, which has no image; "
                    "fetch it again"
                )
            )

    def load_image(self, frame: FrameRecord) -> np.ndarray:
        assert frame.image is not None  # every frame of this data set lies on disk
        return read_rgb(frame.image)

    def load_mask(self, frame: FrameRecord) -> np.ndarray:
        if self.values is None:
            return self.load_panoptic(frame).classes(IGNORE)
        assert frame.mask is not None
        return self.values.decode(read_indices(frame.mask))

    def load_panoptic(self, frame: FrameRecord) -> SegmentMap:
        """Segments of a labelled frame, in order of its json, or of value without one.

        By value is also how the published conversion lists them. Nothing is a crowd there.
        """
        assert frame.mask is not None
        if self._record is not None:
            listed = self._segments.get((frame.video, frame.stem))
            if listed is None:
                raise InputError(
                    f"{frame.mask}: {self._record.name} does not list it; make the json again"
                )
            assert self._table is not None
            return read_segment_map(frame.mask, listed, self._table, self.labels, is_truth=True)
        assert self.values is not None
        raw = read_indices(frame.mask)
        counts = self.values.counts(raw)
        strays = self.values.strays(counts)
        if strays and frame.video not in self._warned:
            self._warned.add(frame.video)
            log.warning("%s: value %d is no class; taken as void", frame.mask, min(strays))
        return panomask_segments(raw, counts, self.values, self.labels)


def panoptic_json(root: Path, split: str) -> Path | None:
    """The json of the 720p conversion, where both it and its pictures are there."""
    names = (f"panoptic_gt_VIPSeg_{split}.json", "panoptic_gt_VIPSeg.json")
    found = [root / name for name in names if (root / name).is_file()]
    return found[0] if found and (root / "panomasksRGB").is_dir() else None


def values_of(labels: Labels) -> MaskValues:
    """What the 16-bit values of a panomask mean.

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
    return MaskValues(table, known, strict=False)


def panomask_segments(
    raw: np.ndarray, counts: np.ndarray, values: MaskValues, labels: Labels
) -> SegmentMap:
    """Segments of a panomask (H, W): ids are its values, values of no class are void.

    Args:
        counts: pixels of each value, as `values.counts(raw)` gives.
    """
    size = len(values.table)
    present = np.flatnonzero((counts[:size] > 0) & (values.table != IGNORE))  # (N,), ascending
    table = np.zeros(len(counts), np.uint16)
    table[present] = present
    ids = np.take(table, raw, mode="clip")
    class_of = {number: int(values.table[number]) for number in present.tolist()}
    return SegmentMap(ids, segments_of_ids(ids, class_of, things=labels.things))
