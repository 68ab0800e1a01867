"""The video with another background: blurred, of one colour, a picture, or another video."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from vidparse.errors import InputError, TruncatedError, UsageError
from vidparse.filenames import home_path, one_or_several
from vidparse.frame import Frame, Packet, VideoInfo
from vidparse.image import Rgb
from vidparse.labels import Labels
from vidparse.maps import Prediction
from vidparse.matting.foreground import foreground_colours
from vidparse.requests.matte import EACH
from vidparse.requests.outputs import SinkOptions
from vidparse.sinks.overlay import Overlay
from vidparse.sinks.sink import in_no_frame
from vidparse.video import open_video

BLUR = "blur"
_COLOUR = re.compile(r"#([0-9a-fA-F]{6}|[0-9a-fA-F]{3})")
_SMALLER = 4  # the picture is blurred at this part of its size
_DEVIATIONS_PER_HEIGHT = 36
_NOT_NOTHING = 1e-3
_ROUNDING_S = 1e-3  # of times, which Matroska counts in milliseconds


class Background(Overlay):
    """The matte's pixels before another background; containers, sound and times as overlay.

    Of several mattes the front is the largest alpha of all.
    """

    suffix: ClassVar[str] = ".background.mp4"
    by_ending: ClassVar[bool] = False
    picture_suffix: ClassVar[str] = ".background.png"
    needs_mattes: ClassVar[bool] = True

    @classmethod
    def refuse(cls, options: SinkOptions, labels: Labels) -> None:
        wanted = options.mattes.matte
        if wanted is not None and EACH in one_or_several(wanted):
            raise UsageError(
                f"--matte {EACH}: makes a file for each class, and a background is behind one; "
                "name the classes in front of it"
            )
        _backdrop(options.mattes.background).close()

    def prepare(self, info: VideoInfo, labels: Labels) -> None:
        self._backdrop = _backdrop(self.options.mattes.background)
        self._start_s: float | None = None
        self._has_seen = False

    def add(self, frame: Frame, prediction: Prediction) -> None:
        picture = frame.image.rgb()
        alpha: np.ndarray = np.zeros(picture.shape[:2], np.uint8)
        for matte in prediction.mattes:
            alpha = np.maximum(alpha, matte.alpha)
        if self._start_s is None:
            self._start_s = frame.time_s
        self._has_seen |= bool(alpha.any())

        behind = self._backdrop.at(frame.time_s - self._start_s, picture, alpha)
        mixed = composed(foreground_colours(picture, alpha), behind, alpha)
        self.put(frame, Rgb(mixed).yuv420(self._matrix, self._full_range))

    def end(self, *, keep: bool, complete: bool, packets: Sequence[Packet]) -> Path | None:
        self._backdrop.close()
        if self._backdrop.note:
            self.notes.append(self._backdrop.note)
        if keep and not self._has_seen:
            wanted = self.options.mattes.matte
            self.notes.append(in_no_frame("background", wanted, "the background is all there is"))
        return super().end(keep=keep, complete=complete, packets=packets)


def composed(front: np.ndarray, behind: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """RGB uint8 (H, W, 3): front where alpha uint8 (H, W) is 255, behind where it is 0."""
    share = alpha.astype(np.float32)[..., None] / np.float32(255)
    mixed = behind + share * (front.astype(np.float32) - behind)
    found: np.ndarray = np.rint(mixed).astype(np.uint8)
    return found


class _Backdrop(ABC):
    """A background, frame by frame.

    Attributes:
        note: for the user; "" where there is nothing to note.
    """

    note: str = ""

    @abstractmethod
    def at(self, time_s: float, picture: np.ndarray, alpha: np.ndarray) -> np.ndarray:
        """RGB uint8 (H, W, 3) behind a picture; seconds count from the first frame."""

    def close(self) -> None:
        """Let go of files."""
        return None


def _backdrop(wish: str | None) -> _Backdrop:
    """Raises: UsageError: neither a word, a colour nor a file. InputError: not to be read."""
    if wish is None or wish == BLUR:
        return _Blurred()
    if _COLOUR.fullmatch(wish):
        # Double each digit of a short colour, as CSS does.
        digits = wish[1:] if len(wish) == 7 else "".join(2 * one for one in wish[1:])
        return _Plain((int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)))
    path = home_path(wish)
    if not path.is_file():
        reason = "a folder" if wish and path.is_dir() else "no such file"
        if wish.startswith("#"):
            reason = "no colour of 3 or 6 hexadecimal digits"
        raise UsageError(
            f"--background '{wish}': {reason}; write blur, a colour such as #00FF00, "
            "or a picture or video"
        )
    return _Played(path)


class _Blurred(_Backdrop):
    """The picture's own background out of focus, without what is in front of it."""

    def at(self, time_s: float, picture: np.ndarray, alpha: np.ndarray) -> np.ndarray:
        height, width = alpha.shape
        size = max(1, width // _SMALLER), max(1, height // _SMALLER)
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        clear = cv2.resize(cv2.bitwise_not(alpha), size, interpolation=cv2.INTER_AREA)

        # Weigh by what is background: else the object would glow round itself.
        weight = clear.astype(np.float32) / np.float32(255) + np.float32(_NOT_NOTHING)
        deviation = max(1.0, size[1] / _DEVIATIONS_PER_HEIGHT)
        mixed = cv2.GaussianBlur(small * weight[..., None], (0, 0), deviation)
        total = cv2.GaussianBlur(weight, (0, 0), deviation)
        far: NDArray[np.float32] = np.asarray(mixed / total[..., None], np.float32)
        near = cv2.resize(far, (width, height), interpolation=cv2.INTER_LINEAR)
        return np.clip(np.rint(near), 0, 255).astype(np.uint8)


class _Plain(_Backdrop):
    """One colour."""

    def __init__(self, colour: tuple[int, int, int]) -> None:
        self._colour = colour

    def at(self, time_s: float, picture: np.ndarray, alpha: np.ndarray) -> np.ndarray:
        return np.full_like(picture, self._colour)


class _Played(_Backdrop):
    """A picture, or a video that plays beside the input and begins anew when it ends.

    One that is cut off begins anew behind its last good frame, with a note.

    Raises:
        InputError: not one frame of it can be decoded.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._source = open_video(path, copy_streams=False)
        self._frames: Iterator[Frame] = iter(self._source)
        try:
            first = self._next()
            if first is None:
                raise InputError(f"{path}: no frame could be decoded; check the file")
            self._now, self._ahead = first, self._next()
        except BaseException:
            self._source.close()
            raise
        self._offset_s = -first.time_s  # from its own clock to that of the input
        self._fitted: np.ndarray | None = None

    def at(self, time_s: float, picture: np.ndarray, alpha: np.ndarray) -> np.ndarray:
        by_s = time_s + _ROUNDING_S
        while self._ahead is not None and self._ahead.time_s + self._offset_s <= by_s:
            self._now, self._fitted = self._ahead, None
            self._ahead = self._next()
            if self._ahead is None:
                self._begin_anew()
        size_hw = picture.shape[:2]
        if self._fitted is None or self._fitted.shape[:2] != size_hw:
            self._fitted = covering(self._now.image.rgb(), (size_hw[0], size_hw[1]))
        return self._fitted

    def _next(self) -> Frame | None:
        """The next frame; None at the end, wherever that is."""
        try:
            return next(self._frames, None)
        except TruncatedError:
            # Let it through, and the run would end here, as if the input itself were cut off.
            self.note = (
                f"background: {self._path} is cut off, and begins anew behind its last frame"
            )
            return None

    def _begin_anew(self) -> None:
        """Play the video once more, after its last frame was shown for its time."""
        rate = self._source.info.nominal_rate
        lasts = self._now.duration
        shown_s = float(lasts * self._now.time_base) if lasts else float(1 / rate)
        end_s = self._now.time_s + self._offset_s + shown_s
        self._source.close()
        self._source = open_video(self._path, copy_streams=False)
        self._frames = iter(self._source)
        self._ahead = self._next()
        if self._ahead is not None:
            self._offset_s = end_s - self._ahead.time_s

    def close(self) -> None:
        self._source.close()


def covering(picture: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """A picture scaled to cover a size, its middle; RGB uint8 (H, W, 3)."""
    height, width = size_hw
    scale = max(height / picture.shape[0], width / picture.shape[1])
    size = max(width, round(picture.shape[1] * scale)), max(height, round(picture.shape[0] * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    large = cv2.resize(picture, size, interpolation=how)
    top, left = (size[1] - height) // 2, (size[0] - width) // 2
    return np.ascontiguousarray(large[top : top + height, left : left + width])
