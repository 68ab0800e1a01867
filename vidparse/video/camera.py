"""Cameras of this machine, by FFmpeg's devices: `camera://0`, `camera:///dev/video2?size=640x480`."""

from __future__ import annotations

import errno
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

import av
from av.container import InputContainer

from vidparse.errors import InputError, Unreachable, UsageError
from vidparse.requests.option import frame_rate, input_size

SCHEME = "camera://"
# The device of FFmpeg by platform, and the name of the camera of a number there.
_DEVICES = {
    "linux": ("v4l2", "/dev/video{}"),
    "darwin": ("avfoundation", "{}"),
    "win32": ("dshow", "video={}"),
}
_SETTINGS = ("size", "rate", "format")


def is_camera(name: str) -> bool:
    """By name: a camera of this machine."""
    return name.startswith(SCHEME)


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera, and how it is to be opened.

    device: FFmpeg's name of the kind. place: the camera's own name there.
    settings: for FFmpeg.
    """

    name: str
    device: str
    place: str
    settings: tuple[tuple[str, str], ...] = ()

    @classmethod
    def named(cls, address: str, *, platform: str = sys.platform) -> Camera:
        """The camera of an address such as `camera://0?size=1280x720&rate=30`.

        Raises:
            UsageError: it names no camera, or settings that none has.
            InputError: this system has no cameras that can be opened.
        """
        place, _, query = address.removeprefix(SCHEME).partition("?")
        device, pattern = _DEVICES.get(platform, ("", ""))
        if not place:
            raise UsageError(f"{address}: names no camera; write camera://0 for the first one")
        if not _is_known(device):
            raise InputError(
                f"{address}: cameras cannot be opened on this system; pipe its video in with "
                "another program, as in ffmpeg ... -f yuv4mpegpipe - | vidparse segment -"
            )

        # Take a number for the system's own name of that camera.
        by_number = place.isdecimal() or device == "dshow"
        settings = _settings(address, dict(parse_qsl(query, keep_blank_values=True)))
        return cls(address, device, pattern.format(place) if by_number else place, settings)

    def open(self, timeout_s: float) -> InputContainer:
        """A PyAV input container of its pictures.

        Raises:
            InputError: it is not there, may not be used, or refuses its settings.
            Unreachable: it is in use, or was not there and may come back.
        """
        try:
            return av.open(
                self.place,
                mode="r",
                format=self.device,
                container_options=dict(self.settings),
                timeout=(timeout_s, timeout_s),
            )
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise self._why(error) from error

    def _why(self, error: Exception) -> InputError:
        number = getattr(error, "errno", None)
        if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
            return Unreachable(
                f"{self.name}: no camera is at {self.place}{_others()}; connect it, or name another"
            )
        if number in (errno.EACCES, errno.EPERM):
            return InputError(
                f"{self.name}: {self.place} may not be used; add this user to the group 'video'"
            )
        if number == errno.EBUSY:
            return Unreachable(f"{self.name}: is in use; close the other program")
        if number in (errno.ENOTTY, errno.EINVAL) or isinstance(error, av.error.InvalidDataError):
            return InputError(
                f"{self.name}: {self.place} is no camera, or has no such size or rate; try another"
            )
        return InputError(
            f"{self.name}: cannot be opened ({getattr(error, 'strerror', None) or error}); "
            "try another camera"
        )


def _is_known(device: str) -> bool:
    """FFmpeg here has this kind of device; some have several names."""
    return any(device in names.split(",") for names in av.formats_available)


def _settings(address: str, wishes: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """Size, rate and pixel format in FFmpeg's words."""
    strange = next((name for name in wishes if name not in _SETTINGS), None)
    if strange is not None:
        raise UsageError(
            f"{address}: '{strange}' is no setting of a camera; use {', '.join(_SETTINGS)}, as in "
            "camera://0?size=1280x720&rate=30"
        )
    found = []
    if "size" in wishes:
        sides = input_size(wishes["size"], "size")
        if isinstance(sides, int):
            raise UsageError(f"{address}: size {sides}: needs both sides; write size=1280x720")
        found.append(("video_size", f"{sides[1]}x{sides[0]}"))
    if "rate" in wishes:
        found.append(("framerate", str(frame_rate(wishes["rate"], "rate"))))
    if "format" in wishes:
        found.append(("input_format", wishes["format"]))
    return tuple(found)


def _others() -> str:
    """The cameras that are there, for a message."""
    there = sorted(str(path) for path in Path("/dev").glob("video*"))
    return f" (there are: {', '.join(there[:8])})" if there else ""
