"""A rendered scene as a video: what `open_video("sample://street")` reads from."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from vidparse.frame import Frame, VideoInfo
from vidparse.image import ColourTags, Rgb
from vidparse.scenes import Scene, parse_scene
from vidparse.scenes.spec import PREFIX
from vidparse.video.source import Selection, Source, Stamps


class SceneSource(Source):
    """Renders only the frames that are wanted, one at a time, so a late start costs nothing."""

    def __init__(self, text: str, selection: Selection) -> None:
        """`text`: `sample://street?frames=120&size=1280x720&seed=3`, see `parse_scene`.

        Raises:
            UsageError: an unknown scene, key or value.
        """
        spec = parse_scene(text)
        self._scene, self._selection = Scene(spec), selection
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

    def __iter__(self) -> Iterator[Frame]:
        """Raises: InputError: the range holds no frame."""
        base = self.info.time_base
        first, end = self._bounds()
        if first >= end:
            raise self._selection.nothing(self.info.name, self.info.duration_s)
        for pts in range(first, end, self._selection.stride):
            lasts = min(self._selection.stride, end - pts)
            picture = Rgb(self._scene.picture(pts))
            yield Frame(pts, pts, picture, duration=lasts, time_base=base)

    def _bounds(self) -> tuple[int, int]:
        """Numbers of the first frame that is wanted, and of the first that is not any more."""
        frames = self.info.frames or 0
        start, end = self._selection.bounds(0, self.info.time_base)
        return start or 0, frames if end is None else min(frames, end)

    def stamps(self) -> Stamps:
        return Stamps.even(*self._bounds())
