"""Cityscapes: 19 classes, one labelled frame in every 30-frame snippet (the 20th).

Cityscapes-VPS, too: six labelled frames of each snippet, objects numbered through it.
"""

from __future__ import annotations

import re
from pathlib import Path

from vidparse.data.dataset import SPLITS, Dataset, Format, FrameRecord, OnMissing, Video, refuse
from vidparse.data.folders import (
    ListedSegments,
    check_split,
    counted_interval_s,
    has_match,
    sorted_files,
    sorted_folders,
)
from vidparse.data.pictures import mask_values
from vidparse.errors import InputError
from vidparse.filenames import natural_key
from vidparse.labels import load_labels
from vidparse.maps import read_panoptic_json

RATE_HZ = 17
_IMAGES = ("leftImg8bit_sequence", "leftImg8bit")  # the first that is there
# labelId -> trainId; every other value is void.
TRAIN_IDS = {
    7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12,
    26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18,
}  # fmt: skip
# Ids run from 0 to 33; license plates are -1, which an 8-bit PNG stores as 255.
VALUES = mask_values(TRAIN_IDS, void=(*range(34), 255))
_FRAME = re.compile(r"(?P<city>[a-z-]+)_(?P<sequence>\d{6})_(?P<frame>\d{6})_leftImg8bit")
_VPS_ENDINGS = ("_newImg8bit", "_leftImg8bit", "_final_mask", "_gtFine_color")
_VPS_PREFIX = (
    2  # parts of a name that Cityscapes does not have: number of the video, number of the frame
)


def open_cityscapes(root: Path, split: str, *, on_missing: OnMissing = refuse) -> Dataset:
    """One split of leftImg8bit_sequence (30-frame snippets) or, without it, of leftImg8bit.

    Masks are gtFine's labelIds. A snippet is a video of its own; its labelled frame is the one that
    gtFine has a file for.

    Raises:
        InputError: the folder is not laid out like this.
    """
    check_split("cityscapes", split, SPLITS)
    folders = [root / name / split for name in _IMAGES]
    folder = next((path for path in folders if path.is_dir()), None)
    if folder is None:
        raise InputError(f"{folders[-1]}: no such folder; point --data at Cityscapes")
    videos: list[Video] = []
    for city in sorted_folders(folder):
        masks = root / "gtFine" / split / city.name
        videos += [_snippet(run, masks) for run in snippets(city)]
    return Dataset("cityscapes", split, load_labels("cityscapes"), tuple(videos), VALUES)


def city_splits(root: Path) -> tuple[str, ...]:
    """Splits of a folder that is laid out as Cityscapes is."""
    return tuple(
        split for split in SPLITS if any((root / name / split).is_dir() for name in _IMAGES)
    )


def snippets(images: Path) -> list[list[tuple[int, Path]]]:
    """Pictures of a folder in runs of consecutive frame numbers, at most 30, each number with its
    path; a gap begins the next snippet.
    """
    runs: list[list[tuple[int, Path]]] = []
    last = ("", -2)
    for path in sorted_files(images, (".png", ".jpg")):
        parts = _FRAME.fullmatch(path.stem)
        if parts is None:
            continue
        here = (parts["sequence"], int(parts["frame"]))

        # Cut by numbers and by length: snippets that follow each other leave no gap.
        if here[0] != last[0] or here[1] != last[1] + 1 or len(runs[-1]) == 30:
            runs.append([])
        runs[-1].append((here[1], path))
        last = here
    return runs


def _snippet(run: list[tuple[int, Path]], masks: Path) -> Video:
    name = run[0][1].stem.removesuffix("_leftImg8bit")
    frames = []
    for i, (_, path) in enumerate(run):
        stem = path.stem.removesuffix("_leftImg8bit")
        mask = masks / f"{stem}_gtFine_labelIds.png"
        found = mask if mask.is_file() else None
        frames.append(FrameRecord(name, stem, i, path, found, found is not None))
    return Video(name, tuple(frames), counted_interval_s([number for number, _ in run], RATE_HZ))


FORMAT = Format(
    open=open_cityscapes,
    sign="leftImg8bit/{split}/<city>/*_leftImg8bit.png",
    matches=lambda root: has_match(root, "leftImg8bit*/*/*/*_leftImg8bit.png"),
    splits=city_splits,
    masks=("gtFine/{split}/*/*_gtFine_labelIds.png",),
    every_frame=False,
)


def open_cityscapes_vps(root: Path, split: str, *, on_missing: OnMissing = refuse) -> Dataset:
    """One split (Kim et al., CVPR 2020), as its authors' scripts lay it out.

    {split}/img/0001_0001_frankfurt_000000_000294_newImg8bit.png, RGB ids in
    {split}/panoptic_video/..._final_mask.png, and panoptic_gt_{split}_city_vps.json. The frames
    that Cityscapes labelled itself keep its endings, _leftImg8bit and _gtFine_color. The number in
    front names the video. Without img/, all 30 frames of each snippet are taken from img_all/.
    Categories are Cityscapes' 19 training ids. A split without json is unlabelled.

    Raises:
        InputError: the folder is not laid out like this, or json and folders differ in the frames.
    """
    check_split("cityscapes-vps", split, SPLITS)
    record = root / f"panoptic_gt_{split}_city_vps.json"
    folder = root / split / "panoptic_video"
    if folder.is_dir() and not record.is_file():
        raise InputError(f"{record}: no such file; it lists the content of {folder}")
    table = read_panoptic_json(record) if record.is_file() else None
    listed = {frame_id(row.stem): row for row in (table.pictures if table else ())}
    masks = {frame_id(path.stem): path for path in sorted_files(folder, (".png",))}

    # Hold json and pictures against each other, since a frame in one alone would go unscored.
    for key in sorted(listed.keys() - masks.keys()):
        on_missing(InputError(f"{record}: lists {key}, which {folder} lacks; make both again"))
    for key in sorted(masks.keys() - listed.keys()):
        on_missing(InputError(f"{masks[key]}: {record.name} does not list it; make both again"))

    labelled = {key: masks[key] for key in masks.keys() & listed.keys()}
    videos = _vps_videos(root / split, labelled, on_missing)
    labels = load_labels("cityscapes")
    return Dataset(
        "cityscapes-vps",
        split,
        labels,
        videos,
        read_segments=ListedSegments(
            table, {mask: listed[key] for key, mask in labelled.items()}, labels
        ),
        windows=(1, 2, 3, 4),
    )


def frame_id(stem: str) -> str:
    """The name of a frame: a picture's without the ending that stands for its kind."""
    for ending in _VPS_ENDINGS:
        stem = stem.removesuffix(ending)
    return stem


def _vps_videos(base: Path, masks: dict[str, Path], on_missing: OnMissing) -> tuple[Video, ...]:
    """Videos by number; `masks` by the whole name of their frame."""
    frames = sorted_files(base / "img", (".png", ".jpg"))
    if frames:
        by_video: dict[str, list[Path]] = {}
        for path in frames:
            by_video.setdefault(path.name.split("_")[0], []).append(path)
        known = masks
    elif (base / "img_all").is_dir():
        # Name videos by their masks: img_all has no number of the video.
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
    videos = tuple(_vps_video(name, paths, known) for name, paths in listed)

    # A mask without an image would go unscored.
    used = {frame.mask for video in videos for frame in video.frames}
    for path in sorted(set(masks.values()) - used):
        on_missing(InputError(f"{path}: no image goes with it; fetch the images again"))
    return videos


def _scene(key: str) -> str:
    """The name that Cityscapes itself gives to a frame."""
    return "_".join(key.split("_")[_VPS_PREFIX:])


def _vps_video(name: str, paths: list[Path], masks: dict[str, Path]) -> Video:
    stems = [frame_id(path.stem) for path in paths]
    return Video(
        name,
        tuple(
            FrameRecord(name, stem, i, path, masks.get(stem), stem in masks)
            for i, (stem, path) in enumerate(zip(stems, paths, strict=True))
        ),
        counted_interval_s(_vps_numbers(stems), RATE_HZ),
    )


def _vps_numbers(stems: list[str]) -> list[int]:
    """Numbers of the frames in their recording, which end their names; none if one has none."""
    numbers = [stem.rpartition("_")[2] for stem in stems]
    return [int(number) for number in numbers] if all(map(str.isdecimal, numbers)) else []


def _vps_splits(root: Path) -> tuple[str, ...]:
    return tuple(
        split
        for split in SPLITS
        if (root / split / "img").is_dir() or (root / split / "img_all").is_dir()
    )


FORMAT_VPS = Format(
    open=open_cityscapes_vps,
    sign="panoptic_gt_{split}_city_vps.json or {split}/panoptic_video/",
    matches=lambda root: (
        has_match(root, "panoptic_*_city_vps.json") or has_match(root, "*/panoptic_video")
    ),
    splits=_vps_splits,
    masks=(),  # opening it compares all three of images, masks and json
    every_frame=False,
)
