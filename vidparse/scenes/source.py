"""A scene as a video: what `open_video("sample://street")` reads from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from vidparse.errors import InputError, UsageError
from vidparse.frame import Frame, VideoInfo
from vidparse.image import ColourTags, Rgb
from vidparse.scenes.scene import Scene
from vidparse.scenes.spec import PREFIX, SceneSpec, parse_scene


class SceneSource:
    """Renders frames as they are asked for; only those wanted, so a late start costs nothing."""

    def __init__(
        self, spec: SceneSpec, start_s: Fraction | None, end_s: Fraction | None, stride: int
    ) -> None:
        self._scene = Scene(spec)
        self._stride = stride
        self._first = math.ceil((start_s or 0) * spec.rate)
        self._end = spec.frames
        if end_s is not None:
            self._end = min(self._end, math.ceil(end_s * spec.rate))
        self.info = VideoInfo(
            name=PREFIX + spec.name,
            size_hw=spec.size_hw,
            time_base=1 / spec.rate,
            rate=spec.rate,
            frames=spec.frames,
            duration_s=float(spec.frames / spec.rate),
            sample_aspect_ratio=Fraction(1),
            colour=ColourTags(),
            pixel_format="rgb24",
        )
        self.skipped = 0
        self.notes: list[str] = []

    def __iter__(self) -> Iterator[Frame]:
        """Raises: InputError: the range holds no frame."""
        if self._first >= self._end:
            raise InputError(
                f"{self.info.name}: no frame in that range; the video is "
                f"{self.info.duration_s:.2f} s long, choose another range"
            )
        for pts in range(self._first, self._end, self._stride):
            yield Frame(pts - self._first, pts, Rgb(self._scene.picture(pts)))

    def trailing_packets(self) -> list[Any]:
        """A scene has no sound."""
        return []

    def close(self) -> None:
        """Nothing is held open."""


def open_scene(
    spec: str,
    start_s: float | Fraction | None = None,
    end_s: float | Fraction | None = None,
    stride: int = 1,
) -> SceneSource:
    """A scene to iterate over, frame by frame.

    Args:
        spec: `sample://street?frames=120&size=1280x720&seed=3&rate=30000/1001`, see `parse_scene`.
        start_s: first moment wanted, in seconds.
        end_s: first moment not wanted.
        stride: deliver every n-th frame of that range.

    Raises:
        UsageError: an unknown scene, key or value, or a range that makes no sense.
    """
    scene = parse_scene(spec)
    if stride < 1:
        raise UsageError(f"stride {stride}: must be 1 or more; 2 takes every second frame")
    start, end = (None if edge is None else Fraction(str(edge)) for edge in (start_s, end_s))
    if (start or 0) < 0 or (end is not None and end <= (start or 0)):
        raise UsageError(f"{spec}: from {start_s} to {end_s} s is no range; give a later end")
    return SceneSource(scene, start, end, stride)
