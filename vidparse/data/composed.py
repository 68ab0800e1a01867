"""Composed clips: cut-outs that move over street pictures, with exact ids, made when read."""

from __future__ import annotations

import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np

from vidparse.data.cutouts import Cutout, cut, is_source, list_cutouts
from vidparse.data.dataset import (
    ALL,
    SPLITS,
    Dataset,
    Format,
    FrameRecord,
    OnMissing,
    Video,
    format_of,
    refuse,
)
from vidparse.data.folders import check_split
from vidparse.data.pictures import IGNORE, check_fits, numbered_segments
from vidparse.data.rendered import LEAST_AREA
from vidparse.data.shots import (
    Composed,
    Scenery,
    Shot,
    Sprite,
    compose,
    draw_actors,
    draw_camera,
    scenery_of,
    sprite_of,
)
from vidparse.errors import InputError
from vidparse.labels import Labels
from vidparse.maps import SegmentMap, count_codes
from vidparse.textfiles import Json, read_json

FILE = "composed.json"
VIDEOS = {"train": 200, "val": 20, "test": 20}
_EXAMPLE = '{"backgrounds": ["camvid-objects=CamVid"], "cutouts": ["yolo-seg=coco128"]}'
_MOST_PICTURES = 24  # of a cut-out
_KEPT_FRAMES, _KEPT_SCENERIES, _KEPT_SPRITES, _KEPT_SHOTS = 8, 16, 400, 64
K = TypeVar("K")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Composition:
    """The clips to make.

    backgrounds, cutouts: name of the format and folder of each source. videos: of each split.
    rate_hz: frames per second. size_hw: of the frames; None: as the background. objects: least and
    most of a video. least: pixels below which the visible part of a thing is void.
    """

    backgrounds: tuple[tuple[str, Path], ...]
    cutouts: tuple[tuple[str, Path], ...]
    videos: Mapping[str, int]
    frames: int = 12
    rate_hz: float = 5.0
    size_hw: tuple[int, int] | None = None
    objects: tuple[int, int] = (3, 10)
    least: int = LEAST_AREA
    seed: int = 0


def read_plan(path: Path) -> Composition:
    """composed.json. Raises: InputError: missing, or not of its form; the key is named."""
    record = read_json(path)
    if not isinstance(record, dict):
        raise InputError(f"{path}: no record of clips; write {_EXAMPLE}")
    strange = sorted(record.keys() - _READERS.keys())
    if strange:
        raise InputError(f"{path}: unknown key '{strange[0]}'; use {', '.join(_READERS)}")

    values: dict[str, Any] = {}
    for key, (field, read) in _READERS.items():
        if key not in record:
            continue
        try:
            values[field] = read(record[key])
        except (TypeError, ValueError) as error:
            raise InputError(f"{path}: {key}: {error}; write it as in {_EXAMPLE}") from error

    for key in ("backgrounds", "cutouts"):
        if key not in values:
            raise InputError(f"{path}: names no {key}; write {_EXAMPLE}")
        values[key] = tuple((name, path.parent / folder) for name, folder in values[key])
    return Composition(**({"videos": VIDEOS} | values))


def _sources(value: Json) -> list[tuple[str, str]]:
    texts: list[Json] = value if isinstance(value, list) else [value]
    pairs = [str(text).partition("=") for text in texts]
    if not pairs or any(not name or not folder for name, _, folder in pairs):
        raise ValueError('not a list of "FORMAT=FOLDER"')
    return [(name, folder) for name, _, folder in pairs]


def _whole(low: int, high: int) -> Callable[[Json], int]:
    def read(value: Json) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"not a whole number from {low} to {high}")
        return value

    return read


def _videos(value: Json) -> dict[str, int]:
    count = _whole(1, 1_000_000)
    if not isinstance(value, dict):
        return dict.fromkeys(SPLITS, count(value))
    if strange := sorted(value.keys() - VIDEOS.keys()):
        raise ValueError(f"no split '{strange[0]}'")
    return VIDEOS | {split: count(number) for split, number in value.items()}


def _rate_hz(value: Json) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.1 <= value <= 1000:
        raise ValueError("not a rate from 0.1 to 1000 frames per second")
    return float(value)


def _size_hw(value: Json) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,4})x(\d{1,4})", str(value))
    if match is None or not all(64 <= int(side) <= 4096 for side in match.groups()):
        raise ValueError("not WIDTHxHEIGHT of 64 to 4096 pixels")
    return int(match[2]), int(match[1])


def _objects(value: Json) -> tuple[int, int]:
    count = _whole(0, 1000)
    if not isinstance(value, list) or len(value) != 2 or count(value[0]) > count(value[1]):
        raise ValueError("not [LEAST, MOST]")
    least, most = (count(one) for one in value)
    return least, most


# key of composed.json -> field of Composition, and its reader
_READERS: dict[str, tuple[str, Callable[[Json], object]]] = {
    "backgrounds": ("backgrounds", _sources),
    "cutouts": ("cutouts", _sources),
    "videos": ("videos", _videos),
    "frames": ("frames", _whole(1, 100_000)),
    "rate": ("rate_hz", _rate_hz),
    "size": ("size_hw", _size_hw),
    "objects": ("objects", _objects),
    "least": ("least", _whole(0, 1_000_000)),
    "seed": ("seed", _whole(0, 10**18)),
}


def open_composed(root: Path, split: str, *, on_missing: OnMissing = refuse) -> Dataset:
    """The clips that composed.json describes.

    It names `backgrounds`, labelled street pictures, and `cutouts`, data sets that objects are cut
    out of, as "FORMAT=FOLDER" (a relative folder starts at composed.json). `videos` (a number, or
    one for each split), `frames`, `rate`, `size` ("480x360"), `objects` (least and most of a
    video), `least` and `seed` may be given, too.

    Labels are those of the backgrounds. Pictures and objects come from the sources' split of the
    same name; those that have no splits are halved by video: even places for train, odd ones for
    val and test. Things of a background without objects are crowds. No object is in two splits.

    Raises:
        InputError: composed.json or a source is not as it should be, or nothing could be cut out.
    """
    check_split("composed", split, SPLITS)
    plan = read_plan(root / FILE)
    backgrounds = [part_of(*one, split, on_missing) for one in plan.backgrounds]
    labels = backgrounds[0].labels
    for one in backgrounds[1:]:
        if one.labels.classes != labels.classes:
            raise InputError(
                f"{root / FILE}: backgrounds {backgrounds[0].name} and {one.name} have other "
                f"classes ({labels.difference(one.labels)}); use those of one label set"
            )

    # Cut out of the same split only, so that no object is in two.
    sources = [part_of(*one, split, on_missing) for one in plan.cutouts]
    cutouts: list[Cutout] = []
    for number, source in enumerate(sources):
        if not is_source(source):
            raise InputError(
                f"{root / FILE}: cutouts {source.name}: does not distinguish objects; use one that "
                "does, such as camvid-objects, yolo-seg or davis"
            )
        cutouts += list_cutouts(number, source, source.videos, labels)
    if not cutouts:
        raise InputError(
            f"{root / FILE}: no whole object of {labels.name}'s things in its cutouts; add sources"
        )

    names = [f"{split}-{number:04d}" for number in range(plan.videos[split])]
    composer = Composer(plan, labels, split, names, backgrounds, sources, cutouts)
    return Dataset(
        "composed",
        split,
        labels,
        tuple(
            Video(
                name,
                tuple(FrameRecord(name, f"{i:06d}", i) for i in range(plan.frames)),
                interval_s=1 / plan.rate_hz,
            )
            for name in names
        ),
        read_mask=composer.classes,
        read_segments=composer.segments,
        read_image=composer.rgb,
        recipe=_recipe(plan, backgrounds, cutouts),
    )


def _recipe(plan: Composition, backgrounds: Sequence[Dataset], cutouts: Sequence[Cutout]) -> str:
    """The plan, and a digest of the files that clips are made of, by name, size and time."""
    frames = [frame for one in backgrounds for video in one.videos for frame in video.frames]
    frames += [frame for one in cutouts for frame in one.frames]
    digest = hashlib.sha256(repr(cutouts).encode())
    for path in dict.fromkeys(path for frame in frames for path in (frame.image, frame.mask)):
        if path is not None:
            # Take size and time of files in place of contents: sources are gigabytes.
            status = path.stat()
            digest.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode())
    return f"{plan} {digest.hexdigest()}"


def part_of(name: str, root: Path, split: str, on_missing: OnMissing = refuse) -> Dataset:
    """The part of a source that a split may use."""
    known = format_of(name)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder, named in {FILE}; correct it there")

    # Take a source's own splits where it has them, and halve the others.
    if known.splits(root) not in ((), (ALL,)):
        return known.open(root, split, on_missing=on_missing)
    whole = known.open(root, ALL, on_missing=on_missing)
    if len(whole.videos) == 1:  # pictures side by side
        (video,) = whole.videos
        frames = video.frames[0 if split == "train" else 1 :: 2]
        return replace(whole, videos=(replace(video, frames=frames),))
    return replace(whole, videos=whole.videos[0 if split == "train" else 1 :: 2])


class Composer:
    """Makes frames; those made last are kept, and so are pictures, cut-outs and shots.

    Args:
        names: of the videos.
    """

    def __init__(
        self, plan: Composition, labels: Labels, split: str, names: Sequence[str],
        backgrounds: Sequence[Dataset], sources: Sequence[Dataset], cutouts: Sequence[Cutout],
    ) -> None:  # fmt: skip
        self._plan, self._labels, self._split = plan, labels, list(SPLITS).index(split)
        self._places = {name: i for i, name in enumerate(names)}
        self._sources, self._cutouts = tuple(sources), tuple(cutouts)

        self._pictures = [
            (dataset, frame)
            for dataset in backgrounds
            for video in dataset.videos
            for frame in video.frames
            if frame.labelled
        ]
        if not self._pictures:
            raise InputError(f"{FILE}: no labelled picture in its backgrounds; add sources")

        # Shuffle backgrounds once per split, so that videos use each before any comes again.
        rng = np.random.Generator(np.random.PCG64([plan.seed, self._split]))
        self._order = rng.permutation(len(self._pictures))

        # Keep what was made last, for workers that read a clip frame by frame.
        self._frames: OrderedDict[tuple[str, int], Composed] = OrderedDict()
        self._sceneries: OrderedDict[int, Scenery] = OrderedDict()
        self._sprites: OrderedDict[int, Sprite] = OrderedDict()
        self._shots: OrderedDict[str, Shot] = OrderedDict()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, object]:
        left_out = ("_lock", "_frames", "_sceneries", "_sprites")
        return {name: value for name, value in vars(self).items() if name not in left_out}

    def __setstate__(self, state: dict[str, object]) -> None:
        empty: dict[str, object] = {
            name: OrderedDict() for name in ("_frames", "_sceneries", "_sprites")
        }
        vars(self).update(state, _lock=threading.Lock(), **empty)

    def rgb(self, frame: FrameRecord) -> np.ndarray:
        """RGB uint8 (H, W, 3)."""
        return self._frame(frame).rgb

    def classes(self, frame: FrameRecord) -> np.ndarray:
        """Training ids uint8 (H, W)."""
        return self._frame(frame).classes

    def segments(self, frame: FrameRecord) -> SegmentMap:
        """One segment per object, stuff class and crowd of a thing class."""
        made = self._frame(frame)
        return numbered_segments(made.classes, made.numbers, self._labels)

    def _frame(self, frame: FrameRecord) -> Composed:
        with self._lock:
            return _kept(
                self._frames, (frame.video, frame.index), _KEPT_FRAMES, lambda: self._make(frame)
            )

    def _make(self, frame: FrameRecord) -> Composed:
        shot = _kept(self._shots, frame.video, _KEPT_SHOTS, lambda: self._draw(frame.video))
        actors = tuple(
            (actor, self._sprite(actor.cutout), self._cutouts[actor.cutout].class_id)
            for actor in shot.actors
        )
        scenery = self._scenery(shot.scenery, shot.mirrored)
        made = compose(scenery, shot.camera, actors, frame.index / self._plan.rate_hz)

        # Make void what shows too little of a thing to be one.
        numbers, areas = count_codes(made.numbers)
        for number, area in zip(numbers.tolist(), areas.tolist(), strict=True):
            if number and area < self._plan.least:
                gone = made.numbers == number
                made.classes[gone], made.numbers[gone] = IGNORE, 0
        return made

    def _draw(self, video: str) -> Shot:
        """The shot of a video, from the seed, the split and its place alone."""
        place = self._places[video]
        rng = np.random.Generator(np.random.PCG64([self._plan.seed, self._split, place, 1]))
        picture = int(self._order[place % len(self._order)])
        mirrored = bool(rng.random() < 0.5)
        scenery = self._scenery(picture, mirrored)
        duration_s = self._plan.frames / self._plan.rate_hz
        camera = draw_camera(scenery.size_hw, duration_s, rng)
        low, high = self._plan.objects
        actors = draw_actors(
            scenery, self._by_class(), self._labels, int(rng.integers(low, high + 1)),
            duration_s, rng,
        )  # fmt: skip
        return Shot(picture, mirrored, camera, actors)

    def _by_class(self) -> dict[int, list[tuple[int, Cutout]]]:
        found: dict[int, list[tuple[int, Cutout]]] = {}
        for number, one in enumerate(self._cutouts):
            found.setdefault(one.class_id, []).append((number, one))
        return found

    def _scenery(self, picture: int, mirrored: bool) -> Scenery:
        key = 2 * picture + mirrored
        return _kept(
            self._sceneries, key, _KEPT_SCENERIES, lambda: self._read_scenery(picture, mirrored)
        )

    def _read_scenery(self, picture: int, mirrored: bool) -> Scenery:
        dataset, frame = self._pictures[picture]
        rgb, classes = dataset.load_image(frame), dataset.load_mask(frame)
        check_fits(frame, classes.shape, rgb)
        numbers: np.ndarray = np.zeros(classes.shape, np.uint16)
        if dataset.is_panoptic:
            truth = dataset.load_truth(frame)
            things = [s for s in truth.segments or () if s.is_thing and not s.is_crowd and s.area]
            for number, one in enumerate(things, 1):
                x, y, width, height = one.box
                box = slice(y, y + height), slice(x, x + width)
                numbers[box][truth.ids[box] == one.id] = number

        # Shrink ids by the nearest pixel: a mean of two is a third object.
        if self._plan.size_hw is not None:
            size = self._plan.size_hw[::-1]
            rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
            classes = cv2.resize(classes, size, interpolation=cv2.INTER_NEAREST_EXACT)
            numbers = cv2.resize(numbers, size, interpolation=cv2.INTER_NEAREST_EXACT)
        if mirrored:
            rgb, classes, numbers = (
                np.ascontiguousarray(one[:, ::-1]) for one in (rgb, classes, numbers)
            )

        return scenery_of(rgb, classes, numbers, self._labels)

    def _sprite(self, number: int) -> Sprite:
        return _kept(self._sprites, number, _KEPT_SPRITES, lambda: self._read_sprite(number))

    def _read_sprite(self, number: int) -> Sprite:
        one = self._cutouts[number]
        frames = range(min(len(one.frames), _MOST_PICTURES))
        cuts = [cut(self._sources[one.source], one, place) for place in frames]
        return sprite_of(cuts, one.rate_hz)


def _kept(store: OrderedDict[K, T], key: K, most: int, make: Callable[[], T]) -> T:
    """A value from a store of the ones used last."""
    if key not in store:
        store[key] = make()
        while len(store) > most:
            store.popitem(last=False)
    store.move_to_end(key)
    return store[key]


def _splits(root: Path) -> tuple[str, ...]:
    """Those that all sources have; a source without splits is part of each."""
    if not (root / FILE).is_file():
        return ()
    plan = read_plan(root / FILE)
    found = [format_of(name).splits(folder) for name, folder in (*plan.backgrounds, *plan.cutouts)]
    return tuple(
        split for split in SPLITS if all(split in one or one in ((), (ALL,)) for one in found)
    )


FORMAT = Format(
    open=open_composed,
    sign=FILE,
    matches=lambda root: (root / FILE).is_file(),
    splits=_splits,
)
