"""A decoded FFmpeg frame becomes an `Image`: the planes as they are, turned upright."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import av
import cv2
import numpy as np
from av.buffer import Buffer
from av.video.reformatter import VideoReformatter

from vidparse.errors import InputError
from vidparse.image import (
    FULL_RANGE,
    LIMITED_RANGE,
    UNSPECIFIED,
    ColourTags,
    Image,
    Nv12,
    Rgb,
    Yuv420,
    effective_matrix,
)
from vidparse.limits import check_size, max_pixels

_ANNOUNCING = ("PNG", "GIF", "WEBP", "JPEG", "BMP")  # heads that Pillow reads without a word
ON_DEVICE = "cuda"  # the pixel format of pictures that a CUDA device decoded and keeps
PLANAR_420 = ("yuv420p", "yuvj420p")
_PQ, _HLG, _BT2020_PRIMARIES = 16, 18, 9  # H.273


@dataclass(frozen=True, slots=True)
class Orientation:
    """The turn that stands a stored picture upright: transpose first, then mirror."""

    transpose: bool = False
    mirror_x: bool = False
    mirror_y: bool = False

    @property
    def degrees(self) -> int:
        """Clockwise turn; for a mirrored picture, that of its turn before the mirror."""
        turns = {(False, False, False): 0, (True, True, False): 90, (False, True, True): 180}
        return turns.get((self.transpose, self.mirror_x, self.mirror_y), 270 * self.transpose)

    def apply(self, plane: np.ndarray) -> np.ndarray:
        """A new contiguous (H, W[, C]) array, or the same one when there is nothing to do."""
        if self.transpose:
            plane = cv2.transpose(plane)
        if self.mirror_x or self.mirror_y:
            code = -1 if self.mirror_x and self.mirror_y else int(self.mirror_x)
            plane = cv2.flip(plane, code)
        return plane


# By the counter-clockwise angle of the display matrix.
_TURNS = {
    90: Orientation(True, False, True),
    180: Orientation(False, True, True),
    270: Orientation(True, True, False),
}


def check_announced(name: str, file: str | Path | BinaryIO) -> None:
    """The size in the head of a picture that FFmpeg did not decode; unknown kinds pass.

    Args:
        name: for messages.
        file: a path, or a binary file.

    Raises:
        InputError: it is larger than the limits.
    """
    from PIL import Image as Pillow  # only when something is wrong

    try:
        with Pillow.open(file, formats=_ANNOUNCING) as head:
            size_hw = head.height, head.width
    except Pillow.DecompressionBombError:
        raise InputError(
            f"{name}: far more pixels than {max_pixels()}; scale it down, or raise --max-pixels"
        ) from None
    except (OSError, SyntaxError, ValueError, TypeError, LookupError, struct.error):
        return  # no size, so no reason
    check_size(name, size_hw)


def turn_of(frame: av.VideoFrame) -> Orientation:
    """The turn by the display matrix of a frame (right angles and mirrors only)."""
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV 18 does not know EXIF side data, which JPEG files bring along
        return _TURNS.get(round(frame.rotation / 90) * 90 % 360, Orientation())
    if not isinstance(data, Buffer):
        return Orientation()
    # x' = a x + c y, y' = b x + d y, in 16.16 fixed point (ISO/IEC 14496-12, 6.2.2)
    a, b, _, c, d = np.frombuffer(memoryview(data), np.int32)[:5].tolist()

    # Take the nearest right angle: matrices are rounded, and players do not tilt either.
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(False, a < 0, d < 0)
    return Orientation(True, c < 0, b < 0)


@lru_cache(maxsize=32)
def is_rgb(format_name: str) -> bool:
    """A pixel format holds red, green and blue (a palette included)."""
    fmt = av.VideoFormat(format_name)
    return fmt.is_rgb or fmt.has_palette or format_name.startswith(("bayer", "mono", "xyz"))


def is_gray(format_name: str) -> bool:
    """gray, gray10le, ya8, ...: luma without chroma."""
    return format_name.startswith(("gray", "ya")) and "f32" not in format_name


def colour_of(frame: av.VideoFrame) -> ColourTags:
    """The colour tags of a frame.

    RGB has no YUV matrix and no range of its own: its tags are cleared, so that a YUV picture made
    of it is what players assume for untagged video.
    """
    matrix, primaries, transfer = frame.colorspace, frame.color_primaries, frame.color_trc

    # Clear 0 and 3: H.273 reserves them, or means RGB, which no YUV output may claim.
    tags = [UNSPECIFIED if value in (0, 3) else value for value in (matrix, primaries, transfer)]
    if is_rgb(frame.format.name):
        return ColourTags(UNSPECIFIED, tags[1], tags[2], 0)
    full = frame.format.name.startswith("yuvj") or frame.color_range == FULL_RANGE
    value = FULL_RANGE if full else int(frame.color_range)
    if is_gray(frame.format.name) and not value:
        value = FULL_RANGE  # untagged gray spans 0..255 (as in FFmpeg)
    return ColourTags(tags[0], tags[1], tags[2], value)


def hdr_note(tags: ColourTags, format_name: str) -> str | None:
    """One line for the user when the video is HDR, else None."""
    name = {_PQ: "HDR (PQ)", _HLG: "HDR (HLG)"}.get(tags.transfer)
    bits = max(component.bits for component in av.VideoFormat(format_name).components)
    if name is None and tags.primaries == _BT2020_PRIMARIES and bits > 8:
        name = f"wide-gamut BT.2020 {bits}-bit"
    if name is None:
        return None
    return f"{name} video: processed in 8 bits without tone mapping, so colours may look flat"


class Converter:
    """Turns every frame of one stream into an `Image` of one size.

    Not for several threads: an FFmpeg frame has one owner.
    """

    def __init__(self, first: av.VideoFrame) -> None:
        self._stored_hw = first.height, first.width
        self._turn = turn_of(first)
        self._tags = colour_of(first)
        self._reformatter = VideoReformatter()
        height, width = self._stored_hw
        self.size_hw = (width, height) if self._turn.transpose else (height, width)
        self.tags = self._tags
        self.degrees = self._turn.degrees
        self.transposed = self._turn.transpose
        self._matrix = effective_matrix(self._tags, self.size_hw[0])
        self.resized = 0  # frames of another size than the first, scaled to it

    def image(self, frame: av.VideoFrame) -> Image:
        """The picture, upright. Arrays are read-only views of the decoder's memory where possible:
        writing into them would damage the frames that are predicted from this one."""
        name = frame.format.name
        resize = (frame.height, frame.width) != self._stored_hw
        self.resized += resize
        if name == ON_DEVICE:
            if not resize:
                return self._on_device(frame)
            frame = self._reformatter.reformat(frame, format="nv12")  # to the host
            name = "nv12"
        if is_rgb(name):
            return Rgb(self._upright(self._reformat(frame, "rgb24", resize), 0, 3))
        if is_gray(name):
            luma = self._upright(self._reformat(frame, "gray", resize), 0)
            small = (-(-luma.shape[0] // 2), -(-luma.shape[1] // 2))

            # Add chroma without colour: what is no RGB is then one kind for all that follows.
            grey = np.full(small, 128, np.uint8)
            return Yuv420(luma, grey, grey, self._matrix, self._tags.range == FULL_RANGE)
        if name not in PLANAR_420 or resize:
            frame = self._reformat(frame, "yuv420p", resize)
        y, u, v = (self._upright(frame, plane) for plane in range(3))
        return Yuv420(y, u, v, self._matrix, self._tags.range == FULL_RANGE)

    def _on_device(self, frame: av.VideoFrame) -> Nv12:
        """A copy in the memory of the device: the decoder has few pictures, and wants them back."""
        import torch

        # Hand over the capsules: PyAV cannot wait for a stream, and its own is torch's default.
        y, uv = (torch.from_dlpack(plane.__dlpack__()).clone() for plane in frame.planes)
        torch.cuda.current_stream(y.device).synchronize()
        return Nv12(y, uv, self._matrix, self._tags.range == FULL_RANGE)

    def _reformat(self, frame: av.VideoFrame, name: str, resize: bool) -> av.VideoFrame:
        """Change of layout, depth and size; the range stays as it is."""
        if frame.format.name == name and not resize:
            return frame
        height, width = self._stored_hw

        # Name one range for both sides, or the scaler may stretch values between two.
        spread = None  # RGB knows one range only
        if name != "rgb24":
            spread = FULL_RANGE if self._tags.range == FULL_RANGE else LIMITED_RANGE
        return self._reformatter.reformat(
            frame,
            width=width,
            height=height,
            format=name,
            src_color_range=spread,
            dst_color_range=spread,
        )

    def _upright(self, frame: av.VideoFrame, index: int, channels: int = 1) -> np.ndarray:
        """Plane `index` as uint8 (H, W) or (H, W, channels), after the turn, read-only."""
        plane = self._turn.apply(plane_of(frame, index, channels))
        plane.flags.writeable = False
        return plane


def plane_of(frame: av.VideoFrame, index: int, channels: int = 1) -> np.ndarray:
    """A view of one 8-bit plane, uint8 (h, w) or (h, w, channels); lines may be padded."""
    # Cut the lines to the picture: FFmpeg pads them, by an amount of its own.
    plane = frame.planes[index]
    lines = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, abs(plane.line_size))
    if plane.line_size < 0:  # stored bottom-up
        lines = lines[::-1]
    lines = lines[: plane.height, : plane.width * channels]
    return lines if channels == 1 else lines.reshape(plane.height, plane.width, channels)
