"""Optical flow between frames: where every pixel of one picture is in another.

A flow F from a to b is float32 (2, H, W), pixels to the right and down, so that b(x + F(x)) shows
what a(x) shows. torch is imported only for RAFT. Files are Middlebury's .flo: a tag, the size, and
pairs (right, down) row by row, little endian.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np

from vidparse.errors import InputError, OutputError, UsageError
from vidparse.filenames import name_below
from vidparse.files import whole_file

if TYPE_CHECKING:
    from vidparse.flow.raft import RaftFlow

_TAG = b"PIEH"  # 202021.25 as float32
_HEADER = struct.Struct("<4sii")  # tag, width, height
_LONGEST_SIDE = 99_999  # as in Middlebury's own reader
_BORDERS = {"replicate": cv2.BORDER_REPLICATE, "constant": cv2.BORDER_CONSTANT}


class FlowEstimator(Protocol):
    """A method with its settings and weights; the same pictures give the same flow."""

    @property
    def name(self) -> str:
        """For people: "DIS medium", "RAFT raft-things"."""
        ...

    @property
    def key(self) -> str:
        """The name of method, settings and weights; letters, digits, dots and dashes only."""
        ...

    def between(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Flow float32 (2, H, W) from a to b, both RGB uint8 (H, W, 3)."""
        ...


def check_pair(a: np.ndarray, b: np.ndarray) -> None:
    """Refuse (ValueError) what is not a pair of RGB pictures of one size."""
    for picture in (a, b):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise ValueError(f"picture is {picture.dtype} {picture.shape}: use uint8 (H, W, 3)")
    if a.shape != b.shape:
        raise ValueError(f"pictures are {a.shape} and {b.shape}: flow needs one size")
    if not a.size:
        raise ValueError(f"pictures are {a.shape}: nothing in them")


_PRESETS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}
# OpenCV refuses sides below 12, and reads past its buffers (NaN, or a crash) when a side is too
# short for one 8 px patch at the presets' finest scale of 1/4: below 32.
_SMALLEST_SIDE = 64


class DisFlow:
    """Dense inverse search (Kroeger et al., ECCV 2016): flow without weights, in milliseconds.

    OpenCV's, on luma. The result does not depend on the number of threads. Pictures with a side
    under 64 px are continued by their edge pixels first.

    Args:
        preset: ultrafast, fast or medium.
    """

    def __init__(self, preset: str = "medium") -> None:
        if preset not in _PRESETS:
            raise ValueError(f"preset '{preset}': use {', '.join(_PRESETS)}")
        self.preset = preset
        self.name = f"DIS {preset}"
        self.key = f"dis-{preset}"

    def between(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Flow float32 (2, H, W) from a to b, both RGB uint8 (H, W, 3)."""
        check_pair(a, b)
        height, width = a.shape[:2]

        # Make one per call: it holds buffers, so calls cannot share it.
        search = cv2.DISOpticalFlow.create(_PRESETS[self.preset])
        flow = search.calc(_luma(a), _luma(b), None)  # type: ignore[call-overload]  # (h, w, 2)
        return np.ascontiguousarray(flow[:height, :width].transpose(2, 0, 1))


def _luma(picture: np.ndarray) -> np.ndarray:
    """uint8 (h, w), grown to the right and down to the smallest side."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    height, width = grey.shape
    below, beside = max(0, _SMALLEST_SIDE - height), max(0, _SMALLEST_SIDE - width)
    if not below and not beside:
        return grey
    return cv2.copyMakeBorder(grey, 0, below, 0, beside, cv2.BORDER_REPLICATE)


class FlowCache:
    """An estimator that first looks for a stored flow of a pair.

    A pair's file is FOLDER/METHOD/VIDEO/STEM.flo, METHOD being the estimator's key and STEM that of
    the pair's first frame. Nothing but these names is compared: a folder serves one data set, with
    the same next frame to every frame. float32 is kept exactly, so nothing changes in the results.

    Args:
        folder: made when the first flow is written; None keeps nothing.
    """

    def __init__(self, estimator: FlowEstimator, folder: Path | None) -> None:
        self.estimator, self.folder = estimator, folder

    @property
    def name(self) -> str:
        return self.estimator.name

    @property
    def key(self) -> str:
        return self.estimator.key

    def between(self, a: np.ndarray, b: np.ndarray, *, video: str, stem: str) -> np.ndarray:
        """Flow float32 (2, H, W) from a to b, both RGB uint8 (H, W, 3), read or computed and kept.

        Args:
            video, stem: names of the video and of frame a, each a single part of a path.

        Raises:
            InputError: the file kept is damaged or of another size.
            OutputError: the folder cannot be written.
        """
        if self.folder is None:
            return self.estimator.between(a, b)
        path = self._path(self.folder, video, stem)

        # Make the folder before the flow: seconds of work must not end where none can be kept.
        if _is_there(path):
            return _read(path, a.shape[:2])
        flow = self.estimator.between(a, b)
        write_flo(path, flow)
        return flow

    def _path(self, folder: Path, video: str, stem: str) -> Path:
        for name in (video, stem):
            name_below(name, folder)
        return folder / self.estimator.key / video / f"{stem}.flo"


def _is_there(path: Path) -> bool:
    """True if the file exists; else makes its folder, before work that may take seconds."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.exists()
    except OSError as error:
        raise OutputError(
            f"{path}: {error.strerror}; name a folder that can be written to keep flow in"
        ) from error


def _read(path: Path, size_hw: tuple[int, ...]) -> np.ndarray:
    flow = read_flo(path)
    if flow.shape[1:] != size_hw:
        had, wanted = flow.shape[1:], size_hw
        raise InputError(
            f"{path}: flow of {had[1]}x{had[0]} for pictures of {wanted[1]}x{wanted[0]}; "
            "keep the flow of each data set in a folder of its own"
        )
    return flow


_DIS_PRESETS = {"dis": "medium", "dis-fast": "fast", "dis-ultrafast": "ultrafast"}
FLOW_NAMES = (*_DIS_PRESETS, "raft")


class FlowSource(Protocol):
    """Flow between frames of named videos, computed or found."""

    @property
    def name(self) -> str:
        """For people; goes into results."""
        ...

    @property
    def key(self) -> str:
        """Method, settings and weights: whatever decides the flow."""
        ...

    def between(self, a: np.ndarray, b: np.ndarray, *, video: str, stem: str) -> np.ndarray:
        """Flow float32 (2, H, W) from a to b, RGB uint8 (H, W, 3); `stem` is the name of a."""
        ...


def open_flow(
    name: str, *, weights: Path | None = None, device: str = "cpu", cache: Path | None = None
) -> FlowSource:
    """A source of flow, ready to work.

    Args:
        name: one of FLOW_NAMES.
        weights: RAFT's, required there and refused elsewhere.
        device: RAFT's, as torch names it.
        cache: folder that keeps every flow for the next run.

    Raises:
        UsageError: unknown name, or weights that are missing or make no sense.
        ModelError: weights that cannot be used. DeviceError: a device that is not there.
    """
    return FlowCache(open_estimator(name, weights, device), cache)


def open_estimator(name: str, weights: Path | None, device: str) -> FlowEstimator:
    """A method by its name; arguments and errors as of `open_flow`."""
    if name not in FLOW_NAMES:
        raise UsageError(f"flow '{name}': unknown; use {', '.join(FLOW_NAMES)}")
    if name in _DIS_PRESETS:
        if weights is not None:
            raise UsageError(f"flow '{name}': has no weights; use raft, or drop --flow-weights")
        return DisFlow(_DIS_PRESETS[name])
    if weights is None:
        raise UsageError(
            "flow 'raft': needs weights; give --flow-weights raft-things.pth, "
            "one of the public models of RAFT's authors"
        )
    from vidparse.flow.raft import RaftFlow

    return RaftFlow(weights, device=device)


def read_flo(path: Path) -> np.ndarray:
    """Flow float32 (2, H, W), bit for bit what the file holds.

    Raises:
        InputError: missing, damaged, or another format; the file is named.
    """
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER.size)
            held = os.fstat(file.fileno()).st_size - _HEADER.size

            # Compare the size with the header before any memory is taken.
            width, height = _size(path, header)
            if held != width * height * 8:
                raise InputError(
                    f"{path}: {held} bytes of flow where {width}x{height} needs "
                    f"{width * height * 8}; delete it and make it again"
                )
            data = file.read()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; check the path") from error

    pairs = np.frombuffer(data, "<f4").reshape(height, width, 2)
    return np.ascontiguousarray(pairs.transpose(2, 0, 1), np.float32)  # (2, H, W)


def _size(path: Path, header: bytes) -> tuple[int, int]:
    """Width and height; the header alone decides, so that no size is trusted with memory."""
    if len(header) < _HEADER.size or not header.startswith(_TAG):
        raise InputError(f"{path}: not a .flo file (no PIEH tag); delete it and make it again")
    _, width, height = _HEADER.unpack(header)
    if not (1 <= width <= _LONGEST_SIDE and 1 <= height <= _LONGEST_SIDE):
        raise InputError(f"{path}: has a size of {width}x{height}; delete it and make it again")
    return width, height


def write_flo(path: Path, flow: np.ndarray) -> None:
    """Write flow float32 (2, H, W) atomically: a reader sees all of it or the file before.

    Raises:
        OutputError: the folder cannot be written.
    """
    if flow.dtype != np.float32 or flow.ndim != 3 or flow.shape[0] != 2:
        raise ValueError(f"flow is {flow.dtype} {flow.shape}: use float32 (2, H, W)")
    height, width = flow.shape[1:]
    if not (1 <= width <= _LONGEST_SIDE and 1 <= height <= _LONGEST_SIDE):
        raise ValueError(f"flow is {flow.shape}: sides must be 1 to {_LONGEST_SIDE}")

    # Lay pairs side by side, little endian, as the format has them.
    pairs = np.ascontiguousarray(flow.transpose(1, 2, 0), "<f4")  # (H, W, 2)
    with whole_file(path) as part, part.open("wb") as file:
        file.write(_HEADER.pack(_TAG, width, height))
        file.write(pairs.data)


def warp_image(image: np.ndarray, flow: np.ndarray, *, border: str = "replicate") -> np.ndarray:
    """Backward warp: out(x) = image(x + flow(x)), bilinear.

    Args:
        image: (H, W) or (H, W, C), uint8 or float32.
        flow: (2, H, W), pixels right and down, from the wanted picture to `image`.
        border: pixels outside the picture: those of its edge ("replicate") or 0 ("constant").

    Returns:
        Shape and type of `image`.
    """
    if border not in _BORDERS:
        raise ValueError(f"border '{border}': use {' or '.join(_BORDERS)}")
    height, width = image.shape[:2]
    if flow.shape != (2, height, width):
        raise ValueError(f"flow is {flow.shape}, image is {image.shape}")

    # Keep to float32: remap takes no float64.
    x = np.arange(width, dtype=np.float32)[None] + flow[0].astype(np.float32, copy=False)
    y = np.arange(height, dtype=np.float32)[:, None] + flow[1].astype(np.float32, copy=False)
    warped = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=_BORDERS[border])

    # Put a last axis of 1 back, which OpenCV drops.
    return warped.reshape(image.shape)


def __getattr__(name: str) -> object:
    if name != "RaftFlow":
        raise AttributeError(f"module 'vidparse.flow' has no attribute '{name}'")
    from vidparse.flow.raft import RaftFlow

    return RaftFlow


__all__ = [
    "FLOW_NAMES",
    "DisFlow",
    "FlowCache",
    "FlowEstimator",
    "FlowSource",
    "RaftFlow",
    "open_estimator",
    "open_flow",
    "read_flo",
    "warp_image",
    "write_flo",
]
