"""Rendered scenes as a labelled data set: exact masks, no download."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from vidparse.data.dataset import Dataset, FrameRecord, Video
from vidparse.data.folders import check_split
from vidparse.data.values import IGNORE
from vidparse.labels import Labels, load_labels
from vidparse.maps import VOID, SegmentMap, count_codes, segments_of_ids
from vidparse.scenes import LABELS, Scene, SceneFrame, SceneSpec, parse_scene

VIDEOS = {"train": 12, "val": 3, "test": 3}  # of each split
FRAMES, SIZE_HW = 40, (360, 640)  # of each video, unless the address says otherwise
_SCENES_KEPT, _FRAMES_KEPT = 3, 4


def open_rendered(spec: str, split: str) -> Dataset:
    """One split: videos that differ in their seed; no seed is in two splits.

    Args:
        spec: `sample://street` or `sample://crowd`, with `?frames=N&size=WxH&seed=N` as wanted.

    Raises:
        UsageError: not such an address. InputError: unknown split.
    """
    check_split(spec, split, VIDEOS)
    query = spec if "?" in spec else f"{spec}?"
    if "size=" not in query:
        query += f"&size={SIZE_HW[1]}x{SIZE_HW[0]}"
    if "frames=" not in query:
        query += f"&frames={FRAMES}"
    base, labels = parse_scene(query), load_labels(LABELS)
    first = 1000 * base.seed + 100 * list(VIDEOS).index(split)
    scenes = {
        f"{base.name}-{seed}": replace(base, seed=seed)
        for seed in range(first, first + VIDEOS[split])
    }

    videos = tuple(
        Video(
            name,
            tuple(FrameRecord(name, f"{i:06d}", i) for i in range(one.frames)),
            interval_s=float(1 / one.rate),
        )
        for name, one in scenes.items()
    )
    renderer = Renderer(scenes, labels)
    return Dataset(
        base.name,
        split,
        labels,
        videos,
        read_mask=renderer.classes,
        read_segments=renderer.segments,
        read_image=renderer.rgb,
    )


class Renderer:
    """Frames of scenes. The few frames and scenes used last are kept.

    Args:
        scenes: by name of their video.
    """

    def __init__(self, scenes: Mapping[str, SceneSpec], labels: Labels) -> None:
        self._specs, self._labels = scenes, labels
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
        """One segment per object and one per stuff class; id = instance * 256 + class + 1."""
        truth = self._render(frame)
        ids = truth.instances.astype(np.uint32) * 256 + truth.classes + 1
        ids[truth.classes == IGNORE] = VOID
        present = np.setdiff1d(count_codes(ids)[0], VOID).tolist()  # ascending
        class_of = {number: number % 256 - 1 for number in present}
        return SegmentMap(ids, segments_of_ids(ids, class_of, things=self._labels.things))

    def _render(self, frame: FrameRecord) -> SceneFrame:
        key = (frame.video, frame.index)
        with self._lock:
            if key not in self._frames:
                if frame.video not in self._scenes:
                    self._scenes[frame.video] = Scene(self._specs[frame.video])
                    while len(self._scenes) > _SCENES_KEPT:
                        self._scenes.popitem(last=False)
                self._frames[key] = self._scenes[frame.video].render(frame.index)
                while len(self._frames) > _FRAMES_KEPT:
                    self._frames.popitem(last=False)
            return self._frames[key]
