"""Cut-outs as outputs: the colours of an object, free of those behind it, with its alpha.

Alpha is straight (not multiplied into the colours), as editors expect of ProRes 4444 and browsers
of WebM. Far from the object the picture keeps its own colours, under an alpha of 0.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, ClassVar

import cv2
import numpy as np

from vidparse.errors import OutputError
from vidparse.frame import Frame, VideoInfo
from vidparse.image import FULL_RANGE, YuvAlpha, effective_matrix
from vidparse.maps import Matte
from vidparse.requests.outputs import SinkOptions
from vidparse.sinks.mattes import EncodedMatte, MatteFile, MattePictures, Mattes
from vidparse.sinks.sink import Target
from vidparse.sinks.stream import Encoding

_PRORES = Encoding("mov", "prores_ks", "yuva444p10le")
_PRORES_OPTIONS = {"profile": "4444", "vendor": "apl0", "alpha_bits": "16"}
_VP9 = Encoding("webm", "libvpx-vp9", "yuva420p")
# auto-alt-ref: hidden frames and alpha do not go together in libvpx.
_VP9_OPTIONS = {
    "crf": "24",
    "b": "0",
    "deadline": "realtime",
    "cpu-used": "5",
    "row-mt": "1",
    "auto-alt-ref": "0",
    "lag-in-frames": "0",
}
_PNG_EFFORT = [cv2.IMWRITE_PNG_COMPRESSION, 3]


class CutoutProRes(Mattes):
    """ProRes 4444 with alpha in mov, for editors; sound copied."""

    suffix: ClassVar[str] = ".cutout.mov"
    endings: ClassVar[tuple[str, ...]] = (".mov",)
    copies_streams: ClassVar[bool] = True

    def __init__(self, where: Target | Path | BinaryIO, options: SinkOptions) -> None:
        """Raises: OutputError: a stream, which mov cannot be written to."""
        super().__init__(where, options)
        if self.target.path is None:
            raise OutputError(
                f"{self.target.name}: a pipe cannot hold mov; save cutout-vp9, or to a file"
            )

    def matte_file(self, target: Target) -> MatteFile:
        return _CutoutVideo(target, _PRORES, _PRORES_OPTIONS, sound=self._has_sound)

    @property
    def _has_sound(self) -> bool:
        return self.options.audio and not self._each


class CutoutVp9(Mattes):
    """VP9 with alpha in WebM, for browsers and OBS; sound copied or made Opus."""

    suffix: ClassVar[str] = ".cutout.webm"
    endings: ClassVar[tuple[str, ...]] = (".webm",)
    by_ending: ClassVar[bool] = True
    copies_streams: ClassVar[bool] = True

    def matte_file(self, target: Target) -> MatteFile:
        sound = self.options.audio and not self._each
        return _CutoutVideo(target, _VP9, _VP9_OPTIONS, sound=sound)


class CutoutPictures(MattePictures):
    """RGBA PNGs, one per frame."""

    suffix: ClassVar[str] = ".cutout"
    output: ClassVar[str] = "cutout-png"

    def picture(self, frame: Frame, matte: Matte | None) -> bytes:
        if matte is None:
            rgba = np.zeros((*self._info.size_hw, 4), np.uint8)
        else:
            rgba = np.dstack([cutout_colours(frame, matte), matte.alpha])
        done, data = cv2.imencode(".png", cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA), _PNG_EFFORT)
        if not done:
            raise OutputError(f"{self.target.name}: frame {frame.index} is too large for PNG")
        return data.tobytes()


def cutout_colours(frame: Frame, matte: Matte) -> np.ndarray:
    """RGB uint8 (H, W, 3) that go with the alpha of a matte."""
    from vidparse.matting.foreground import foreground_colours

    return foreground_colours(frame.image.rgb(), matte.alpha)


class _CutoutVideo(EncodedMatte):
    """One video with alpha."""

    def __init__(
        self, target: Target, encoding: Encoding, options: dict[str, str], *, sound: bool
    ) -> None:
        super().__init__(target, sound=sound)
        self._encoding, self._options = encoding, options

    def open(self, info: VideoInfo) -> None:
        self._size_hw = info.size_hw
        self._matrix = effective_matrix(info.colour, info.size_hw[0])
        self._full_range = info.colour.range == FULL_RANGE
        self._video.open(info, self._encoding, options=self._options, copy_streams=self._sound)

    def write(self, frame: Frame, matte: Matte | None) -> None:
        if matte is None:
            colours = np.zeros((*self._size_hw, 3), np.uint8)
            alpha = np.zeros(self._size_hw, np.uint8)
        else:
            colours, alpha = cutout_colours(frame, matte), matte.alpha
        make = YuvAlpha.of_10_bits if self._encoding is _PRORES else YuvAlpha.halved
        image = make(colours, alpha, self._matrix, self._full_range)
        self.put(image, frame)
