"""Rendered scenes as a labelled data set: exact masks, no download."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import parse_qsl, urlencode

import numpy as np

from vidparse.data.dataset import Dataset, ExactFlow, FrameRecord, Video
from vidparse.data.folders import check_split
from vidparse.data.pictures import IGNORE, numbered_segments
from vidparse.errors import UsageError
from vidparse.labels import Labels, load_labels
from vidparse.maps import SegmentMap, count_codes
from vidparse.scenes import LABELS, Scene, SceneFrame, SceneSpec, parse_scene

VIDEOS = {"train": 12, "val": 3, "test": 3}  # of each split, unless the address sets it
FRAMES, SIZE_HW = 40, (360, 640)  # of each video, likewise
# Pixels of the smallest thing that is one: two cells of masks at a quarter of the size. Of the
# things of a street 46 % have fewer (27 % have six or fewer), of those of a crowd 18 %.
LEAST_AREA = 32
_MOST_VIDEOS = 100  # seeds that lie between two splits
_LARGEST_LEAST = 10**6
_SCENES_KEPT, _FRAMES_KEPT = 12, 4  # training reads at random, and a scene takes a second to build


def open_rendered(spec: str, split: str) -> Dataset:
    """One split: videos that differ in their seed; no seed is in two splits.

    Args:
        spec: `sample://street` or `sample://crowd`, with `?frames=N&size=WxH&seed=N&rate=N` as
            wanted, and of data sets alone `videos=N` (1 to 100, in this split) and `least=N`:
            pixels below which what is seen of a thing is void.

    Raises:
        UsageError: not such an address. InputError: unknown split.
    """
    check_split(spec, split, VIDEOS)
    address, _, query = spec.partition("?")
    keys = dict(parse_qsl(query, keep_blank_values=True))
    videos = _number(spec, "videos", keys.pop("videos", str(VIDEOS[split])), 1, _MOST_VIDEOS)
    least = _number(spec, "least", keys.pop("least", str(LEAST_AREA)), 0, _LARGEST_LEAST)
    keys = {"size": f"{SIZE_HW[1]}x{SIZE_HW[0]}", "frames": str(FRAMES)} | keys
    query = urlencode(keys, safe="/*")
    base = parse_scene(f"{address}?{query}", also=("videos", "least"))

    # Give each split seeds of its own, so that no scene is in two.
    first = 1000 * base.seed + _MOST_VIDEOS * list(VIDEOS).index(split)
    scenes = {
        f"{base.name}-{seed}": replace(base, seed=seed) for seed in range(first, first + videos)
    }
    labels = load_labels(LABELS)
    renderer = Renderer(scenes, labels, least)
    return Dataset(
        base.name,
        split,
        labels,
        tuple(
            Video(
                name,
                tuple(FrameRecord(name, f"{i:06d}", i) for i in range(one.frames)),
                interval_s=float(1 / one.rate),
            )
            for name, one in scenes.items()
        ),
        read_mask=renderer.classes,
        read_segments=renderer.segments,
        read_image=renderer.rgb,
        read_flow=renderer.flow,
        recipe=f"{base} least={least}",
    )


def _number(spec: str, key: str, text: str, low: int, high: int) -> int:
    """Raises: UsageError: the value of a key is no whole number within its limits."""
    if not re.fullmatch(r"\d{1,9}", text) or not low <= int(text) <= high:
        raise UsageError(f"{spec}: {key}={text}: write a whole number from {low} to {high}")
    return int(text)


class Renderer:
    """Frames of scenes. The few frames and scenes used last are kept.

    Args:
        scenes: by name of their video.
        least: pixels below which what is seen of a thing is void.
    """

    def __init__(self, scenes: Mapping[str, SceneSpec], labels: Labels, least: int) -> None:
        self._specs, self._labels, self._least = scenes, labels, least
        self._scenes: OrderedDict[str, Scene] = OrderedDict()
        self._frames: OrderedDict[tuple[str, int], SceneFrame] = OrderedDict()
        self._lock = threading.Lock()  # an entry may look ahead while the next frame is loaded

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state, _lock=threading.Lock())

    def rgb(self, frame: FrameRecord) -> np.ndarray:
        """RGB uint8 (H, W, 3)."""
        return self._render(frame).rgb

    def classes(self, frame: FrameRecord) -> np.ndarray:
        """Training ids uint8 (H, W)."""
        return self._render(frame).classes

    def segments(self, frame: FrameRecord) -> SegmentMap:
        """One segment per object and one per stuff class."""
        truth = self._render(frame)
        return numbered_segments(truth.classes, truth.instances, self._labels)

    def flow(self, frame: FrameRecord) -> ExactFlow:
        """The motion to the next frame, which knows what moves in front of what."""
        truth = self._render(frame)
        return ExactFlow(truth.flow, truth.flow_valid)

    def _render(self, frame: FrameRecord) -> SceneFrame:
        key = (frame.video, frame.index)
        with self._lock:
            if key not in self._frames:
                if frame.video not in self._scenes:
                    self._scenes[frame.video] = Scene(self._specs[frame.video])
                    while len(self._scenes) > _SCENES_KEPT:
                        self._scenes.popitem(last=False)
                rendered = self._scenes[frame.video].render(frame.index)
                self._frames[key] = without_slivers(rendered, self._least)
                while len(self._frames) > _FRAMES_KEPT:
                    self._frames.popitem(last=False)
            return self._frames[key]


def without_slivers(frame: SceneFrame, least: int) -> SceneFrame:
    """A frame whose things of fewer than `least` visible pixels are void."""
    numbers, areas = count_codes(frame.instances)
    slivers = numbers[(areas < least) & (numbers != 0)]
    if not len(slivers):
        return frame

    # Mark slivers in a table, so that the map is read once for all of them.
    table = np.zeros(int(numbers.max()) + 1, bool)
    table[slivers] = True
    gone = table[frame.instances]  # (H, W)
    return replace(
        frame,
        classes=np.where(gone, np.uint8(IGNORE), frame.classes),
        instances=np.where(gone, np.uint16(0), frame.instances),
    )
