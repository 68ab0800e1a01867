"""Labelled data sets. A new one is one file with a `Format`, and one line in FORMATS."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from vidparse.data.dataset import (
        Dataset,
        Format,
        FrameRecord,
        Video,
        format_of,
        frame_interval_s,
        labelled_frames,
        open_dataset,
    )
    from vidparse.data.pictures import IGNORE
    from vidparse.data.recognition import recognise, usual_format

# name -> the module of its Format, and the Format's name there unless it is FORMAT. Text, so that
# the command line can list the names without loading numpy.
FORMATS = {
    "300vw": "vidparse.data.faces_300vw",
    "camvid": "vidparse.data.camvid",
    "camvid-32": "vidparse.data.camvid:FORMAT_32",
    "camvid-objects": "vidparse.data.camvid_objects",
    "cityscapes": "vidparse.data.cityscapes",
    "cityscapes-vps": "vidparse.data.cityscapes:FORMAT_VPS",
    "coco": "vidparse.data.coco_instances",
    "coco-panoptic": "vidparse.data.coco_panoptic",
    "composed": "vidparse.data.composed",
    "cvat": "vidparse.data.cvat",
    "davis": "vidparse.data.davis",
    "folder": "vidparse.data.folder",
    "idd-lite": "vidparse.data.idd_lite",
    "label-studio": "vidparse.data.label_studio",
    "labelme": "vidparse.data.labelme",
    "vipseg": "vidparse.data.vipseg",
    "vspw": "vidparse.data.vspw",
    "yolo-seg": "vidparse.data.yolo_seg",
    "ytvis": "vidparse.data.coco_instances:FORMAT_YTVIS",
}
SAMPLES = ("sample://street", "sample://crowd")  # rendered, without a folder


def dataset_names() -> list[str]:
    """Values of `--dataset`."""
    return [*sorted(FORMATS), *SAMPLES]


# public name -> module; imported on first use
_PUBLIC = {
    "IGNORE": "vidparse.data.pictures",
    "Dataset": "vidparse.data.dataset",
    "Format": "vidparse.data.dataset",
    "FrameRecord": "vidparse.data.dataset",
    "Video": "vidparse.data.dataset",
    "format_of": "vidparse.data.dataset",
    "frame_interval_s": "vidparse.data.dataset",
    "labelled_frames": "vidparse.data.dataset",
    "open_dataset": "vidparse.data.dataset",
    "recognise": "vidparse.data.recognition",
    "usual_format": "vidparse.data.recognition",
}
__all__ = [
    "FORMATS",
    "IGNORE",
    "SAMPLES",
    "Dataset",
    "Format",
    "FrameRecord",
    "Video",
    "dataset_names",
    "format_of",
    "frame_interval_s",
    "labelled_frames",
    "open_dataset",
    "recognise",
    "usual_format",
]


def __getattr__(name: str) -> object:
    from vidparse.tables import public_member

    return public_member(_PUBLIC, __name__, name)
