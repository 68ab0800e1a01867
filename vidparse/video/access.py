"""The limits of what an input may make FFmpeg open: itself, and no other file of this machine.

FFmpeg follows lists of files (HLS and DASH playlists, concat scripts, SDP, numbered images)
wherever they point, and takes a file for one by its content. Here every input is opened with a
whitelist of formats and of protocols. A playlist on the disk may name files below its folder, one
of the network may name addresses.
"""

from __future__ import annotations

import io
import logging
import os
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypedDict, Unpack

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer

from vidparse.errors import InputError
from vidparse.limits import decoder_limit

if TYPE_CHECKING:
    from vidparse.video.raw import Pipe

log = logging.getLogger(__name__)

NETWORK_PROTOCOLS = (
    *("http", "https", "ftp", "sftp", "rtsp", "rtsps", "rtp", "srtp", "udp", "tcp", "tls", "srt"),
    *("rtmp", "rtmps", "rtmpt", "rtmpe", "rtmpte", "rtmpts", "mmsh", "mmst"),
)
# What FFmpeg builds those from, by its own names.
_INNER_PROTOCOLS = ("httpproxy", "crypto", "data", "ffrtmphttp", "ffrtmpcrypt")

# Formats that open what their content names, and such as stand for something else than their bytes.
_FOLLOWING = {
    *("concat", "hls", "dash", "imf", "image2", "sdp", "rtsp", "rtp", "sap", "vobsub"),
    *("webm_dash_manifest", "lavfi", "avisynth", "vapoursynth", "bluray", "dvdvideo"),
}
_PATTERN_MARKS = "%*?[{"
_NETWORK_FORMATS = ("hls", "dash", "rtsp", "rtp")
_LISTS = (b"ffconcat", b"#EXTM3U", b"v=0", b"<?xml", b"<MPD", b"# VobSub")  # how they begin
_FILE_SCHEME = "file://"


def local_path(address: str) -> str:
    """A path, also where it is written as file:///path."""
    return address.removeprefix(_FILE_SCHEME)


def is_address(target: str) -> bool:
    """Something of the network and not a path."""
    return "://" in target and not target.startswith(_FILE_SCHEME)


class Wishes(TypedDict, total=False):
    """Arguments of `av.open` that are the caller's to choose."""

    format: str
    timeout: tuple[float, float] | None
    metadata_errors: str
    hwaccel: HWAccel | None


def open_limited(
    target: str | BinaryIO | Pipe,
    name: str,
    *,
    missing: list[str] | None = None,
    **wishes: Unpack[Wishes],
) -> InputContainer:
    """`av.open` for reading, limited to what this target may open.

    Args:
        target: a path, an address, or anything with `read`.
        name: for messages.
        missing: gets the names of a playlist that are not there, as they are met.
        wishes: as for `av.open`.

    Raises:
        InputError: an address of a kind that is not opened, or a playlist that leaves its folder.
        FFmpegError, OSError: as `av.open`.
    """
    # Begin with nothing but the bytes themselves: a stream has no reason to open a file.
    formats, protocols, opener = _own_formats(), "none", None
    address = target

    if isinstance(target, str) and is_address(target):
        _check_scheme(target, name)
        formats = ",".join((formats, *_NETWORK_FORMATS))
        protocols = ",".join((*NETWORK_PROTOCOLS, *_INNER_PROTOCOLS))
    elif isinstance(target, str):
        path, protocols = Path(local_path(target)), "file"
        # "file:" because FFmpeg takes what comes before a colon in a name for a protocol.
        address = f"file:{path}"
        if _head(path).startswith(b"#EXTM3U"):
            formats = f"{formats},hls"
            opener = _Neighbours(path, name, [] if missing is None else missing)
        elif not set(str(path)) & set(_PATTERN_MARKS):
            formats = f"{formats},image2"  # a name without a pattern is one picture

    limits = {"format_whitelist": formats, "protocol_whitelist": protocols}
    most = {"max_pixels": decoder_limit()}  # also for what is decoded to find the streams
    opened = partial(
        av.open, mode="r", options=most, container_options=limits, io_open=opener, **wishes
    )

    try:
        return opened(address)
    except av.error.ArgumentError:
        if not isinstance(target, str) or opener or not Path(local_path(target)).is_file():
            raise
    # FFmpeg took the name for a pattern, or the content for a list (which is refused once more). A
    # file that is opened by its number has no name.
    number = os.open(local_path(target), os.O_RDONLY | getattr(os, "O_BINARY", 0))
    return opened(os.fdopen(number, "rb"))


def is_list(head: bytes) -> bool:
    """By its first bytes: a text that names other files or addresses."""
    return head.lstrip().startswith(_LISTS)


def _check_scheme(address: str, name: str) -> None:
    scheme = address.partition("://")[0]
    if scheme not in NETWORK_PROTOCOLS:
        raise InputError(
            f"{name}: '{scheme}' is no kind of address that is opened; give a file, or an address "
            "that begins with http://, https://, rtsp://, rtmp://, srt://, udp:// or tcp://"
        )


@lru_cache(maxsize=1)
def _own_formats() -> str:
    """The demuxers that read nothing but their own bytes, as a list for FFmpeg."""
    # Ask FFmpeg for its list instead of keeping one: builds differ in what they hold.
    names = []
    for name in sorted(av.formats_available):
        try:
            known = av.ContainerFormat(name, "r")
        except ValueError:
            continue  # a muxer only
        if not known.no_file and not _FOLLOWING & set(name.split(",")):
            names.append(name)
    return ",".join(names)


def _head(path: Path) -> bytes:
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(16)


class _Neighbours:
    """Opens for a playlist the regular files that lie below its folder, symbolic links followed."""

    def __init__(self, playlist: Path, name: str, missing: list[str]) -> None:
        self._folder, self._name, self._missing = playlist.resolve().parent, name, missing
        self._refused = False

    def __call__(self, url: str, flags: int, options: dict[str, str]) -> BinaryIO:
        """Raises: InputError: `url` is elsewhere; once, FFmpeg may ask for many before it ends."""
        named = url.removeprefix("file:")
        named = named.removeprefix("//") if named.startswith("///") else named

        # Follow symbolic links before the check: one below the folder may point out of it.
        path = Path(named).resolve()
        if not path.is_relative_to(self._folder) or "://" in url or flags & _WRITE:
            # Refuse aloud once: FFmpeg may ask for many more before it ends.
            if self._refused:
                return io.BytesIO()
            self._refused = True
            raise InputError(
                f"{self._name}: names '{named}', which does not lie in the playlist's own folder; "
                "copy the segments there, or give them one by one"
            )

        # A segment that is missing is empty: the rest of the list still plays.
        try:
            if path.is_file():
                return path.open("rb")
        except OSError as error:
            log.debug("%s: %s", path, error)
        self._missing.append(path.name)
        return io.BytesIO()


_WRITE = 2  # AVIO_FLAG_WRITE
