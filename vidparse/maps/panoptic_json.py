"""Panoptic json: the segments of pictures whose colours are ids (COCO panoptic, VIPSeg).

It is read as one flat list of annotations (COCO, Cityscapes-VPS), or grouped by video (VIPSeg).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from vidparse.errors import InputError
from vidparse.filenames import name_below
from vidparse.labels import Labels
from vidparse.maps.ids import MAX_ID, read_panoptic_png
from vidparse.maps.runs import regions_of
from vidparse.maps.segment_map import NOWHERE, VOID, Segment, SegmentMap
from vidparse.textfiles import Json, JsonTable, as_list, as_table, as_tables, read_json

NOT_CLAIMED = -1  # area of a listed segment of which the json has none
_LARGEST_SIDE = 1 << 20  # pixels
_LARGEST_AREA = 1 << 40
_LARGEST_CATEGORY = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class ListedPicture:
    """One picture of a panoptic json.

    segments: as listed: `class_id` is the json's own category, `area` what it claims or
        NOT_CLAIMED, `box` is not read, and `is_thing` is False until the picture is read.
    size_hw: where the json has it.
    """

    file_name: str
    segments: tuple[Segment, ...]
    size_hw: tuple[int, int] | None = None

    @property
    def stem(self) -> str:
        """The file name without folder and ending."""
        return PurePosixPath(self.file_name).stem


@dataclass(frozen=True, slots=True)
class PanopticJson:
    """A panoptic json: `videos` by id where it is grouped, else one flat list of `pictures`.

    categories: names by id; empty where the json has none. looks: of those that the json
    describes: thing or not, and the colour.
    """

    path: Path
    categories: dict[int, str]
    videos: dict[str, tuple[ListedPicture, ...]] | None
    pictures: tuple[ListedPicture, ...]
    looks: Mapping[int, tuple[bool, tuple[int, int, int]]] = field(default_factory=dict)


def read_panoptic_json(path: Path) -> PanopticJson:
    """A ground truth or a prediction.

    Raises:
        InputError: missing, not json, without the fields that the format has, with values of the
            wrong kind in them, or with names that lead out of a folder; the file is named.
    """
    try:
        record = as_table(read_json(path), "the record")
        listed = as_tables(record.get("categories") or [], "categories")
        categories = {
            _whole(entry["id"], "category id", _LARGEST_CATEGORY): str(entry["name"])
            for entry in listed
        }
        looks = {
            _whole(entry["id"], "category id", _LARGEST_CATEGORY): (
                bool(entry["isthing"]),
                _colour(entry["color"]),
            )
            for entry in listed
            if "isthing" in entry and "color" in entry
        }

        # Distinguish the two layouts by the first entry: videos number their annotations.
        annotations = as_tables(record["annotations"], "annotations")
        videos, images = record.get("videos") or [], record.get("images") or []
        if annotations and "video_id" in annotations[0]:
            grouped = _by_video(path, annotations, as_tables(videos, "videos"))
            return PanopticJson(path, categories, grouped, (), looks)
        pictures = _pictures(path, annotations, _sizes(images))
        return PanopticJson(path, categories, None, pictures, looks)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path}: not a panoptic json: {_reason(error)}; give one with segments_info and "
            "file_name in annotations[], or in annotations[].annotations[] beside video_id"
        ) from error


def read_segment_map(
    picture: Path,
    listed: ListedPicture,
    table: PanopticJson,
    labels: Labels,
    *,
    categories: Mapping[int, int] | None = None,
    is_truth: bool,
) -> SegmentMap:
    """The segments of a picture of ids, in the order of the json: published STQ depends on it.

    Args:
        picture: RGB picture of ids. listed: what `table` has on it.
        categories: class id by category of the json; None: they are class ids.
        is_truth: areas are those that the json claims, if it does for all of its segments, and a
            segment may have no pixel. Else they are counted, and every segment must have pixels.

    Raises:
        InputError: the picture is damaged, not of the size that the json has, or holds an id that
            is not listed; a category is unknown; an id is listed twice; a segment has no pixel.
    """
    ids, name = read_panoptic_png(picture), table.path.name
    if listed.size_hw is not None and ids.shape != listed.size_hw:
        height, width = listed.size_hw
        raise InputError(
            f"{picture}: is {ids.shape[1]}x{ids.shape[0]}, {name} has {width}x{height}; "
            "fetch or make both again"
        )

    categories = {i: i for i in range(len(labels))} if categories is None else categories
    for segment in listed.segments:
        if segment.class_id not in categories:
            highest = max(categories)
            hint = "; are they counted from 1?" if segment.class_id == highest + 1 else ""
            raise InputError(
                f"{picture}: segment {segment.id} has category {segment.class_id} in {name}; "
                f"the categories are {min(categories)}..{highest}{hint}"
            )

    known = {VOID, *(segment.id for segment in listed.segments)}
    if len(known) != len(listed.segments) + 1:
        raise InputError(f"{picture}: {name} lists an id twice, or id {VOID}; make it again")
    found = regions_of(ids)

    # Refuse ids that are not listed: they would be scored as void.
    if missing := found.keys() - known:
        advice = "fetch or make both again" if is_truth else "list every segment of the picture"
        raise InputError(f"{picture}: id {min(missing)} is not listed in {name}; {advice}")
    if not is_truth and (empty := known - found.keys() - {VOID}):
        raise InputError(
            f"{picture}: id {min(empty)} is listed in {name} but has no pixel; leave it out"
        )

    # Trust claimed areas of a truth, as published evaluators do, unless one lacks its own.
    claimed = is_truth and all(segment.area != NOT_CLAIMED for segment in listed.segments)
    segments = []
    for segment in listed.segments:
        area, box = found.get(segment.id, NOWHERE)
        class_id = categories[segment.class_id]
        segments.append(
            replace(
                segment,
                class_id=class_id,
                is_thing=class_id in labels.things,
                area=segment.area if claimed else area,
                box=box,
            )
        )
    return SegmentMap(ids, tuple(segments))


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"field {error} is missing"
    return str(error) if isinstance(error, ValueError) else f"a field is odd ({error})"


def _by_video(
    path: Path, annotations: list[JsonTable], videos: list[JsonTable]
) -> dict[str, tuple[ListedPicture, ...]]:
    sizes = {str(video.get("video_id")): _sizes(video.get("images") or []) for video in videos}
    found: dict[str, tuple[ListedPicture, ...]] = {}
    for video in annotations:
        name = str(video["video_id"])
        if name in found:
            raise ValueError(f"lists video {name} twice")
        listed = as_tables(video["annotations"], "annotations")
        found[name] = _pictures(path, listed, sizes.get(name, {}))
    return found


def _sizes(images: Json) -> dict[str, tuple[int, int]]:
    """Height and width by picture id, where the json has them."""
    return {
        str(image["id"]): (
            _whole(image["height"], "height", _LARGEST_SIDE),
            _whole(image["width"], "width", _LARGEST_SIDE),
        )
        for image in as_tables(images, "images")
        if "height" in image and "width" in image
    }


def _pictures(
    path: Path, records: list[JsonTable], sizes: dict[str, tuple[int, int]]
) -> tuple[ListedPicture, ...]:
    pictures: dict[str, ListedPicture] = {}
    for record in records:
        picture = _picture(path, record, sizes)
        if picture.file_name in pictures:
            raise ValueError(f"lists {picture.file_name} twice")
        pictures[picture.file_name] = picture
    return tuple(pictures.values())


def _picture(path: Path, record: JsonTable, sizes: dict[str, tuple[int, int]]) -> ListedPicture:
    segments = tuple(
        Segment(
            id=_whole(row["id"], "segment id", MAX_ID),
            class_id=_whole(row["category_id"], "category_id", _LARGEST_CATEGORY),
            is_thing=False,
            score=None,
            area=_whole(row["area"], "area", _LARGEST_AREA) if "area" in row else NOT_CLAIMED,
            box=NOWHERE[1],
            is_crowd=bool(_whole(row.get("iscrowd", 0), "iscrowd", 1)),
        )
        for row in as_tables(record["segments_info"], "segments_info")
    )

    # Refuse names that lead out of the folder, since files are opened by them.
    name = name_below(str(record.get("file_name") or record["image_id"]), path)
    key = str(record.get("image_id", PurePosixPath(name).stem))
    return ListedPicture(name, segments, sizes.get(key))


def _colour(value: Json) -> tuple[int, int, int]:
    """Raises: TypeError, ValueError: it is no triple of 0..255."""
    red, green, blue = (_whole(part, "color", 255) for part in as_list(value, "color"))
    return red, green, blue


def _whole(value: Json, name: str, largest: int) -> int:
    """A number of 0..largest; tools also write whole numbers as text or with a point.

    Raises:
        TypeError, ValueError: it is none.
    """
    if not isinstance(value, int | float | str):
        raise TypeError(f"{name} is to be a whole number")
    number = int(value)
    if isinstance(value, float) and number != value and name != "area":
        raise ValueError(f"{name} {value} is no whole number")
    if not 0 <= number <= largest:
        raise ValueError(f"{name} {number} is not in 0..{largest}")
    return number
