"""Cityscapes-VPS: six labelled frames of each 30-frame snippet, objects numbered through it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vidparse.data.cityscapes import RATE_HZ, snippets
from vidparse.data.dataset import FrameRecord, OnMissing, Video, counted_interval_s, refuse
from vidparse.data.pictures import read_rgb
from vidparse.data.splits import check_split, sorted_files
from vidparse.data.values import IGNORE
from vidparse.errors import InputError
from vidparse.filenames import natural_key
from vidparse.labels import load_labels
from vidparse.maps import SegmentMap, read_panoptic_json, read_segment_map

SPLITS = ("train", "val", "test")
_ENDINGS = ("_newImg8bit", "_leftImg8bit", "_final_mask", "_gtFine_color")
_PREFIX = (
    2  # parts of a name that Cityscapes does not have: number of the video, number of the frame
)


class CityscapesVps:
    """One split (Kim et al., CVPR 2020), as its authors' scripts lay it out.

    {split}/img/0001_0001_frankfurt_000000_000294_newImg8bit.png, RGB ids in
    {split}/panoptic_video/..._final_mask.png, and panoptic_gt_{split}_city_vps.json. The frames
    that Cityscapes labelled itself keep its endings, _leftImg8bit and _gtFine_color. The number in
    front names the video. Without img/, all 30 frames of each snippet are taken from img_all/.
    Categories are Cityscapes' 19 training ids. A split without json is unlabelled.

    Raises:
        InputError: the folder is not laid out like this, or json and folders differ in the frames.
    """

    name = "cityscapes-vps"

    def __init__(self, root: Path, split: str, *, on_missing: OnMissing = refuse) -> None:
        check_split(self.name, split, SPLITS)
        self.split = split
        self.labels = load_labels("cityscapes")
        self._record = root / f"panoptic_gt_{split}_city_vps.json"
        folder = root / split / "panoptic_video"
        if folder.is_dir() and not self._record.is_file():
            raise InputError(f"{self._record}: no such file; it says what {folder} holds")
        self._table = read_panoptic_json(self._record) if self._record.is_file() else None
        listed = self._table.pictures if self._table else ()
        self._segments = {frame_id(row.stem): row for row in listed}
        masks = {frame_id(path.stem): path for path in sorted_files(folder, (".png",))}
        for key in sorted(self._segments.keys() - masks.keys()):
            error = f"{self._record}: lists {key}, which {folder} lacks; make both again"
            on_missing(InputError(error))
        for key in sorted(masks.keys() - self._segments.keys()):
            error = f"{masks[key]}: {self._record.name} does not list it; make both again"
            on_missing(InputError(error))
        labelled = {key: masks[key] for key in masks.keys() & self._segments.keys()}
        self.videos = _videos(root / split, labelled, on_missing)

    def load_image(self, frame: FrameRecord) -> np.ndarray:
        assert frame.image is not None  # every frame of this data set lies on disk
        return read_rgb(frame.image)

    def load_mask(self, frame: FrameRecord) -> np.ndarray:
        return self.load_panoptic(frame).classes(IGNORE)

    def load_panoptic(self, frame: FrameRecord) -> SegmentMap:
        """Segments of a labelled frame, in the order of the json."""
        assert frame.mask is not None and self._table is not None
        listed = self._segments[frame_id(frame.mask.stem)]
        return read_segment_map(frame.mask, listed, self._table, self.labels, is_truth=True)


def frame_id(stem: str) -> str:
    """A picture's name without what says which kind of picture it is."""
    for ending in _ENDINGS:
        stem = stem.removesuffix(ending)
    return stem


def _videos(base: Path, masks: dict[str, Path], on_missing: OnMissing) -> tuple[Video, ...]:
    """Videos by number; `masks` by the whole name of their frame."""
    frames = sorted_files(base / "img", (".png", ".jpg"))
    if frames:
        by_video: dict[str, list[Path]] = {}
        for path in frames:
            by_video.setdefault(path.name.split("_")[0], []).append(path)
        known = masks
    elif (base / "img_all").is_dir():
        number_of = {_scene(key): key.split("_")[0] for key in masks}
        by_video = {}
        for run in snippets(base / "img_all"):
            paths = [path for _, path in run]
            keys = [frame_id(path.stem) for path in paths]
            numbers = [number_of[key] for key in keys if key in number_of]
            by_video[numbers[0] if numbers else keys[0]] = paths
        known = {_scene(key): path for key, path in masks.items()}
    else:
        raise InputError(f"{base / 'img'}: no images; point --data at Cityscapes-VPS")
    listed = sorted(by_video.items(), key=lambda item: natural_key(item[0]))
    videos = tuple(_video(name, paths, known) for name, paths in listed)
    used = {frame.mask for video in videos for frame in video.frames}
    for path in sorted(set(masks.values()) - used):
        on_missing(InputError(f"{path}: no image goes with it; fetch the images again"))
    return videos


def _scene(key: str) -> str:
    """The name that Cityscapes itself gives to a frame."""
    return "_".join(key.split("_")[_PREFIX:])


def _video(name: str, paths: list[Path], masks: dict[str, Path]) -> Video:
    stems = [frame_id(path.stem) for path in paths]
    return Video(
        name,
        tuple(
            FrameRecord(name, stem, i, path, masks.get(stem), stem in masks)
            for i, (stem, path) in enumerate(zip(stems, paths, strict=True))
        ),
        counted_interval_s(_numbers(stems), RATE_HZ),
    )


def _numbers(stems: list[str]) -> list[int]:
    """Numbers of the frames in their recording, which end their names; none if one has none."""
    numbers = [stem.rpartition("_")[2] for stem in stems]
    return [int(number) for number in numbers] if all(map(str.isdecimal, numbers)) else []
