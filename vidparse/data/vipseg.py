"""VIPSeg: 124 classes, 58 of them things, instance ids that last through a video."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from vidparse.data.dataset import IGNORE, FrameRecord, read_indices, read_rgb
from vidparse.data.splits import paired_video, read_split
from vidparse.errors import InputError
from vidparse.labels import Labels, load_labels

log = logging.getLogger(__name__)
SPLITS = ("train", "val", "test")
_STUFF_LIMIT = 125  # raw values below it are a bare category, from it on category * 100 + instance


class VipSeg:
    """One split of the original layout: imgs/<video>/*.jpg, panomasks/<video>/*.png (16 bits).

    The 720p conversion (images/) is read alike. `load_mask` gives training ids; `load_panoptic`
    gives categories and instances.

    Raises:
        InputError: the folder is not laid out like this, or a listed video is missing.
    """

    name = "vipseg"

    def __init__(self, root: Path, split: str) -> None:
        self.split = split
        self.labels = load_labels("vspw")
        folders = [root / name for name in ("imgs", "images") if (root / name).is_dir()]
        if not folders:
            raise InputError(f"{root}: has neither imgs/ nor images/; point --data at VIPSeg")
        self.videos = tuple(
            paired_video(name, folders[0] / name, root / "panomasks" / name)
            for name in read_split(root, split, SPLITS)
        )

    def load_image(self, frame: FrameRecord) -> np.ndarray:
        assert frame.image is not None  # every frame of this data set lies on disk
        return read_rgb(frame.image)

    def load_mask(self, frame: FrameRecord) -> np.ndarray:
        return self.load_panoptic(frame)[0]

    def load_panoptic(self, frame: FrameRecord) -> tuple[np.ndarray, np.ndarray]:
        """Training ids uint8 (H, W), and instance numbers int32 (H, W): 0 none, else 1 + stored."""
        assert frame.mask is not None
        return split_panomask(read_indices(frame.mask), self.labels, str(frame.mask))


def split_panomask(raw: np.ndarray, labels: Labels, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Raw panomask values to (training ids uint8, instance numbers int32, 0 = none).

    A value below 125 is a bare raw category (0 void); otherwise category * 100 + instance. Values
    that name no class, or an instance of stuff (200 occurs), become void.
    """
    raw = raw.astype(np.int64)
    bare = raw < _STUFF_LIMIT
    category = np.where(bare, raw, raw // 100) - 1
    is_thing = np.zeros(len(labels) + 1, bool)
    is_thing[list(labels.things)] = True
    known = (category >= 0) & (category < len(labels))
    wrong = ~bare & ~(known & is_thing[np.where(known, category, len(labels))])
    if wrong.any():
        log.warning("%s: value %d is no class; taken as void", name, int(raw[wrong][0]))
    good = known & ~wrong
    ids = np.where(good, category, IGNORE).astype(np.uint8)
    instances = np.where(good & ~bare, raw % 100 + 1, 0).astype(np.int32)
    return ids, instances
