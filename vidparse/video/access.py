"""The limits of what an input may make FFmpeg open: itself, and no other file of this machine.

FFmpeg follows lists of files (HLS and DASH playlists, concat scripts, SDP, numbered images)
wherever they point, and takes a file for one by its content. Here every input is opened with a
whitelist of formats and of protocols. A playlist on the disk may name files below its folder, one
of the network may name addresses of its own server (`vidparse/video/servers.py`). Lists may open
addresses anywhere by the protocols of `--allow-protocols`.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self, TypedDict, Unpack

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer

from vidparse.errors import InputError
from vidparse.limits import NETWORK_PROTOCOLS, allowed_protocols, decoder_limit

if TYPE_CHECKING:
    from vidparse.video.raw import Pipe

log = logging.getLogger(__name__)

# What FFmpeg builds those from, by its own names.
_INNER_PROTOCOLS = ("httpproxy", "crypto", "data", "ffrtmphttp", "ffrtmpcrypt")

# Formats that open what their content names, and such as stand for something else than their bytes.
_FOLLOWING = {
    *("concat", "hls", "dash", "imf", "image2", "sdp", "rtsp", "rtp", "sap", "vobsub"),
    *("webm_dash_manifest", "lavfi", "avisynth", "vapoursynth", "bluray", "dvdvideo"),
}
_PATTERN_MARKS = "%*?[{"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)[:,]")  # FFmpeg: up to a colon, or to options
_NETWORK_FORMATS = ("hls", "dash", "rtsp", "rtp")
_ANY_NAMES = {"safe": "0", "allowed_extensions": "ALL", "allowed_segment_extensions": "ALL"}
_LOCAL_LISTS = ("hls", "dash", "concat", "sdp")  # followed where protocols are allowed
_LISTS = (b"ffconcat", b"#EXTM3U", b"v=0", b"<?xml", b"<MPD", b"# VobSub")  # how they begin
_FILE_SCHEME = "file://"
_WEB = ("http", "https")
_NO_REDIRECTS = {"max_redirects": "0"}
_ONE_BY_ONE = {"http_persistent": "0", "http_multiple": "0"}  # connections through an `io_open`
_WRAPPERS = frozenset(("concat", "subfile", "crypto", "data", "cache", "async"))  # no "//" needed


def local_path(address: str) -> str:
    """A path, also where it is written as file:///path."""
    return address.removeprefix(_FILE_SCHEME)


def is_address(target: str) -> bool:
    """Something of the network and not a path, or wrapped as users allow (`subfile,,...:x`)."""
    if target.startswith(_FILE_SCHEME):
        return False
    return "://" in target or _scheme(target) in allowed_protocols() & _WRAPPERS


Opener = Callable[[str, int, dict[str, str]], BinaryIO]  # url, flags, options


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
    settings: Mapping[str, str] | None = None,
    **wishes: Unpack[Wishes],
) -> InputContainer:
    """`av.open` for reading, limited to what this target may open.

    Args:
        target: a path, an address, or anything with `read`.
        name: for messages.
        missing: gets the names of a playlist that are not there, as they are met.
        settings: for FFmpeg's demuxer and protocols.
        wishes: as for `av.open`.

    Raises:
        InputError: an address of a kind that is not opened, or a playlist that leaves its folder.
        FFmpegError, OSError: as `av.open`.
    """
    reach = _reach_of(target, name, [] if missing is None else missing)
    reach = replace(reach, options={**reach.options, **(settings or {})})
    try:
        return reach.opened(reach.address, **wishes)
    except av.error.ArgumentError:
        if reach.lists:
            return reach.with_lists().opened(reach.address, **wishes)
        if not isinstance(target, str) or reach.opener or not Path(local_path(target)).is_file():
            raise
    except (av.error.FFmpegError, OSError) as error:
        if error.errno != errno.EIO or not isinstance(target, str) or _scheme(target) not in _WEB:
            raise
        from vidparse.video.servers import moved

        # Find out why, and follow a redirect here: FFmpeg would follow it anywhere.
        further = moved(target, name)
        if further is None or not reach.lists:
            raise
        return open_limited(further, name, missing=missing, settings=settings, **wishes)

    # FFmpeg took the name for a pattern, or the content for a list (which is refused once more). A
    # file that is opened by its number has no name.
    number = os.open(local_path(str(target)), os.O_RDONLY | getattr(os, "O_BINARY", 0))
    return reach.opened(os.fdopen(number, "rb"), **wishes)


@dataclass(frozen=True, slots=True)
class _Reach:
    """The files and addresses that a target may make FFmpeg open.

    opener: opens what a list names; None: FFmpeg does, by these protocols.
    lists: formats that are tried with `opener` where the target is none of `formats`.
    options: further ones of FFmpeg.
    """

    address: str | BinaryIO | Pipe
    formats: tuple[str, ...]
    protocols: frozenset[str] = frozenset(("none",))
    opener: Opener | None = None
    lists: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)

    def with_lists(self) -> Self:
        return replace(self, formats=(*self.formats, *self.lists), lists=())

    def opened(self, address: str | BinaryIO | Pipe, **wishes: Unpack[Wishes]) -> InputContainer:
        """Raises: FFmpegError, OSError: as `av.open`. InputError: as the opener."""
        limits = {
            "format_whitelist": ",".join(self.formats),
            "protocol_whitelist": ",".join(sorted(self.protocols)),
        }
        # Have the most pixels also for what is decoded to find the streams.
        most = {"max_pixels": decoder_limit()}
        return av.open(
            address,
            mode="r",
            options=most,
            container_options={**limits, **self.options},
            io_open=None if self.lists else self.opener,
            **wishes,
        )


def _reach_of(target: str | BinaryIO | Pipe, name: str, missing: list[str]) -> _Reach:
    """Raises: InputError: an address of a kind that is not opened."""
    # Begin with nothing but the bytes themselves: a stream has no reason to open a file.
    own: tuple[str, ...] = (_own_formats(),)
    allowed = allowed_protocols()
    if not isinstance(target, str):
        return _Reach(target, own)

    if is_address(target):
        scheme = _check_scheme(target, name)
        protocols = frozenset((*NETWORK_PROTOCOLS, *_INNER_PROTOCOLS)) | allowed
        if scheme not in _WEB:
            return _Reach(target, (*own, *_NETWORK_FORMATS), protocols)
        from vidparse.video.servers import Servers, moved, server_of, tls_options

        # Try once by our own client where FFmpeg has no certificates to check the server's by.
        trust = tls_options() if scheme == "https" else {}
        if scheme == "https" and not trust:
            moved(target, name)
        if scheme in allowed:
            return _Reach(target, (*own, *_NETWORK_FORMATS), protocols, options=trust)

        # Let lists of the web through a client of our own, which stays on their server.
        opener = Servers(server_of(target), name, missing)
        options = _NO_REDIRECTS | _ONE_BY_ONE | trust
        return _Reach(target, own, protocols, opener, _NETWORK_FORMATS, options)

    path, protocols = Path(local_path(target)), allowed | {"file"}
    # "file:" because FFmpeg takes what comes before a colon in a name for a protocol.
    address, head = f"file:{path}", _head(path)
    if head.startswith(b"#EXTM3U") or (allowed and is_list(head)):
        formats = (*own, *(_LOCAL_LISTS if allowed else ("hls",)))
        if "file" in allowed:
            return _Reach(address, formats, protocols, options=_ANY_NAMES)
        neighbours = _Neighbours(path, name, missing)
        return _Reach(address, formats, protocols, neighbours, options=_ONE_BY_ONE)
    if not set(str(path)) & set(_PATTERN_MARKS):
        own = (*own, "image2")  # a name without a pattern is one picture
    return _Reach(address, own, protocols)


def is_list(head: bytes) -> bool:
    """By its first bytes: a text that names other files or addresses."""
    return head.lstrip().startswith(_LISTS)


def _check_scheme(address: str, name: str) -> str:
    """The protocol of an address. Raises: InputError: it is not opened."""
    scheme = _scheme(address)
    if scheme not in {*NETWORK_PROTOCOLS, *allowed_protocols()}:
        scheme = address.partition("://")[0]
        raise InputError(
            f"{name}: '{scheme}' is no kind of address that is opened; give a file, or an address "
            "that begins with http://, https://, rtsp://, rtmp://, srt://, udp:// or tcp://"
        )
    return scheme


def _scheme(address: str) -> str:
    """The part that FFmpeg takes for the protocol; "" for a plain name."""
    match = _SCHEME.match(address)
    return match[1] if match else ""


@lru_cache(maxsize=1)
def _own_formats() -> str:
    """The demuxers that read nothing but their own bytes, as a list for FFmpeg."""
    # Take FFmpeg's list instead of keeping one: builds differ in what they hold.
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
        """Raises: InputError: `url` is elsewhere; once, as FFmpeg may open many before it ends."""
        if _scheme(url) in allowed_protocols() & {*_WEB}:
            from vidparse.video.servers import Servers

            return Servers(None, self._name, self._missing)(url, flags, options)
        named = url.removeprefix("file:")
        named = named.removeprefix("//") if named.startswith("///") else named

        # Follow symbolic links before the check: one below the folder may point out of it.
        path = Path(named).resolve()
        if not path.is_relative_to(self._folder) or "://" in url or flags & _WRITE:
            # Refuse aloud once: FFmpeg may open many more before it ends.
            if self._refused:
                return io.BytesIO()
            self._refused = True
            raise InputError(
                f"{self._name}: names '{named}', which does not lie in the playlist's own folder; "
                "copy the segments there, give them one by one, or allow what it opens with "
                f"--allow-protocols {_scheme(url) or 'file'}"
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
