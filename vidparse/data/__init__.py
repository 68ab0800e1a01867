"""Labelled data sets. A new one is one class and one line in DATASETS."""

from __future__ import annotations

from pathlib import Path

from vidparse.data.camvid import CamVid
from vidparse.data.camvid_full import CamVid32
from vidparse.data.cityscapes import Cityscapes
from vidparse.data.cityscapes_vps import CityscapesVps
from vidparse.data.dataset import (
    Dataset,
    DatasetOpener,
    FrameRecord,
    PanopticDataset,
    Video,
    frame_interval_s,
    is_panoptic,
    labelled_frames,
)
from vidparse.data.davis import Davis
from vidparse.data.folder import PlainFolder
from vidparse.data.idd_lite import IddLite
from vidparse.data.rendered import RenderedScenes
from vidparse.data.values import IGNORE
from vidparse.data.vipseg import VipSeg
from vidparse.data.vspw import Vspw
from vidparse.data.yolo_seg import YoloSegments
from vidparse.errors import InputError, UsageError

DATASETS: dict[str, DatasetOpener] = {
    "camvid": CamVid,
    "camvid-32": CamVid32,
    "cityscapes": Cityscapes,
    "cityscapes-vps": CityscapesVps,
    "davis": Davis,
    "folder": PlainFolder,
    "idd-lite": IddLite,
    "vipseg": VipSeg,
    "vspw": Vspw,
    "yolo-seg": YoloSegments,
}


def open_dataset(name: str, root: Path | None, split: str) -> Dataset:
    """A split of a data set by name; `sample://street` and `sample://crowd` need no folder.

    Raises:
        UsageError: unknown data set. InputError: the folder is missing or not laid out like it.
    """
    if name.startswith("sample://"):
        return RenderedScenes(name, split)
    known_dataset(name)
    if root is None:
        raise UsageError(f"data set '{name}': lies in a folder; name it with --data")
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; point --data at the data set")
    return DATASETS[name](root, split)


def known_dataset(name: str) -> str:
    """`name`, if a data set in a folder is called so.

    Raises:
        UsageError: none is.
    """
    if name not in DATASETS:
        known = ", ".join([*sorted(DATASETS), "sample://street", "sample://crowd"])
        raise UsageError(f"data set '{name}': unknown; use {known}")
    return name


__all__ = [
    "DATASETS",
    "IGNORE",
    "Dataset",
    "FrameRecord",
    "PanopticDataset",
    "Video",
    "frame_interval_s",
    "is_panoptic",
    "known_dataset",
    "labelled_frames",
    "open_dataset",
]
