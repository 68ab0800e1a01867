"""Polygons in YOLO form of one's own classes, which a data.yaml names."""

from __future__ import annotations

import itertools
import math
import re
from contextlib import suppress
from pathlib import Path, PurePosixPath

from vidparse.data.dataset import SPLITS, Dataset, FrameRecord, OnMissing, Video
from vidparse.data.folders import PICTURES, check_flat, check_split, sorted_files, sorted_folders
from vidparse.data.pictures import image_size
from vidparse.data.shapes import Listed, Polygons, Region, dataset_of, made_labels
from vidparse.data.tool_folders import IMAGES, free_name, own_labels
from vidparse.data.yolo_polygons import read_polygons
from vidparse.errors import InputError
from vidparse.filenames import is_folder
from vidparse.textfiles import parse_json, read_text

DATA = "data.yaml"
# A part of a list in brackets; quotes at its start may hold commas.
_WORD = re.compile(r"""(?:(?<!\w)"(?:\\.|[^"\\])*"|(?<!\w)'(?:''|[^'])*'|[^,])+""")


def data_yaml(root: Path, split: str = "") -> Path | None:
    """The file that names classes, in the split's own folder or the root, beside images/ or the
    folders of splits that it names.

    The root may be that file.
    """
    if root.is_file():
        return root if root.name == DATA and _has_pictures(root) else None
    for folder in (root / split, root):
        path = folder / DATA
        if path.is_file() and _has_pictures(path):
            return path
    return None


def _has_pictures(path: Path) -> bool:
    return (path.parent / IMAGES).is_dir() or bool(yaml_splits(path))


def yaml_splits(path: Path) -> dict[str, Path]:
    """The folders of pictures of train, val and test that a data.yaml names and that are there.

    None where all are one within images/, as `--save yolo-seg` writes it. They are looked for
    beside the file: exports name them from elsewhere (`../train/images`).
    """
    base, named = path.parent, dict[str, Path]()
    with suppress(InputError):
        for line in read_text(path).splitlines():
            key, _, rest = line.split(" #")[0].partition(":")
            parts = PurePosixPath(rest.strip().strip("'\"")).parts
            inside = [part for part in parts if part not in ("..", "/")]
            if key in SPLITS and inside and is_folder(folder := base.joinpath(*inside)):
                named[key] = folder
    folders = {*named.values()}
    is_one = len(folders) == 1 and base / IMAGES in (*folders, *next(iter(folders)).parents)
    return {} if is_one else named


def open_own_yolo(path: Path, split: str, on_missing: OnMissing) -> Dataset:
    """images/[<video>/]NAME.jpg and labels/[<video>/]NAME.txt beside a data.yaml.

    Where it names folders of splits, pictures are those of its `split`, and the labels lie in the
    folder that is called labels in place of images, as Ultralytics has it. A line is an object; a
    pixel in several is of the smallest. Pixels in none are of the class `background`, or void where
    there is no such class.

    Raises:
        InputError: data.yaml names no classes or another split, there are no pictures, or a line is
            no polygon.
    """
    base, named = path.parent, yaml_splits(path)
    if named:
        check_split(str(base), split, named)
    top = named.get(split, base / IMAGES)
    try:
        names = yaml_names(read_text(path))
        labels = own_labels(base, base) or made_labels("yolo-seg", names)
    except ValueError as error:
        raise InputError(f"{path}: {error}; list them under 'names:'") from error
    if len(labels) != len(names):
        raise InputError(f"{path}: {len(names)} names, classes.json has {len(labels)}; mend one")

    videos, listed = list[Video](), dict[tuple[str, int], Listed]()
    folders = sorted_folders(top)
    for folder in folders:
        check_flat(folder, on_missing)
    for folder in (top, *folders):
        frames = list[FrameRecord]()
        video = free_name(folder.name, [one.name for one in videos])
        for image in sorted_files(folder, PICTURES):
            file = _labels_of(top, base) / image.relative_to(top).with_suffix(".txt")
            index, size_hw = len(frames), image_size(image)
            polygons = read_polygons(file, len(labels)) if file.is_file() else []
            scale = size_hw[::-1]
            regions = tuple(Region(i, Polygons((points * scale,))) for i, points in polygons)
            listed[video, index] = Listed(str(file), size_hw, regions)
            mask = file if file.is_file() else None
            frames.append(FrameRecord(video, image.stem, index, image, mask))
        if frames:
            videos.append(Video(video, tuple(frames), math.inf))
    if not videos:
        raise InputError(f"{top}: holds no images; put them there")
    return dataset_of("yolo-seg", split, labels, videos, listed, small_on_top=True)


def _labels_of(pictures: Path, base: Path) -> Path:
    """The folder of labels: that of pictures, with `labels` in place of its last `images`."""
    parts = [*reversed(pictures.relative_to(base).parts)]
    if IMAGES in parts:
        parts[parts.index(IMAGES)] = "labels"
    return base.joinpath(*reversed(parts))


def yaml_names(text: str) -> list[str]:
    """The classes of a data.yaml, as a list or by number, in lines or in brackets.

    Raises:
        ValueError: there are none, or numbers that leave gaps.
    """
    lines = [line.split(" #")[0].rstrip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.lstrip().startswith("#")]
    start = next((i for i, line in enumerate(lines) if line.startswith("names:")), None)
    if start is None:
        raise ValueError("has no 'names:'")
    below = itertools.takewhile(lambda line: line.startswith((" ", "-")), lines[start + 1 :])
    rows = [line.strip() for line in (lines[start].removeprefix("names:"), *below) if line.strip()]

    # Read on to the end of a list in brackets, which tools break into lines.
    if rows and rows[0].startswith(("[", "{")):
        inside = re.sub(r"[\]}]\s*$", "", " ".join(rows)[1:])
        words = [word.strip() for word in _WORD.findall(inside) if word.strip()]
    else:
        words = [row.removeprefix("- ").strip() for row in rows]

    # Take "3: car" for the class of that number.
    found: dict[int, str] = {}
    for place, word in enumerate(words):
        number, colon, name = word.partition(":")
        is_numbered = bool(colon) and number.strip().isdecimal()
        found[int(number) if is_numbered else place] = _unquoted(name if is_numbered else word)
    if not found or sorted(found) != list(range(len(found))):
        raise ValueError("names no classes, or leaves numbers out")
    return [found[i] for i in range(len(found))]


def _unquoted(word: str) -> str:
    word = word.strip()
    if word.startswith('"'):
        value = parse_json(word)
        return value if isinstance(value, str) else word
    if len(word) > 1 and word[0] == word[-1] == "'":
        return word[1:-1].replace("''", "'")
    return word
