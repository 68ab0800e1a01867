"""The opening of live inputs, once for each connection."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import BinaryIO, cast

from vidparse.errors import UsageError
from vidparse.frame import VideoInfo
from vidparse.live.growing import GrowingFile
from vidparse.requests.live import ENDLESS_S, LiveOptions
from vidparse.requests.segment import RawPipe
from vidparse.video import Input, Source
from vidparse.video.access import is_address
from vidparse.video.camera import is_camera
from vidparse.video.container import ContainerSource
from vidparse.video.inputs import is_image
from vidparse.video.playhead import Live
from vidparse.video.raw import Pipe, RawSource
from vidparse.video.source import Selection

_SAMPLE = "sample://"
# Streams that are plain connections: whoever closes one has ended it.
_PLAIN = ("tcp://",)
# Formats without times: FFmpeg assumes 25 pictures per second.
_TIMELESS = {
    *("mpjpeg", "mjpeg", "mjpeg_2000", "h264", "hevc", "m4v", "image2pipe", "jpeg_pipe"),
    *("png_pipe", "webp_pipe", "bmp_pipe", "smjpeg", "rawvideo"),
}
_FINE_BASE = Fraction(1, 90_000)


def is_live(one: Input, options: LiveOptions) -> bool:
    """By name and options: an input that may come as it is made; addresses show it when opened.

    Raises:
        UsageError: options of live inputs for one that is none.
    """
    is_stream = is_address(one.address) and not one.address.startswith(_SAMPLE)
    is_pipe = one.name == "-"
    if options.follow:
        if one.path is None or one.path.is_dir() or one.images is not None or is_image(one.path):
            raise UsageError(f"--follow: {one.name} is no file that grows; name a video file")
        return True
    if options.wants_live and not (is_stream or is_pipe):
        raise no_live_input(one, options)
    return is_stream or (is_pipe and options.wants_live)


def no_live_input(one: Input, options: LiveOptions) -> UsageError:
    """The error of options that only live inputs have."""
    option = "--policy" if options.policy is not None else "--max-latency"
    return UsageError(
        f"{option}: {one.name} is no live input; leave it out, or use --follow for a file that "
        "grows"
    )


@dataclass(slots=True)
class Opening:
    """The way to open the connections of one live input.

    raw: standard input holds raw frames like this. stdin: what is read in its place.
    """

    one: Input
    options: LiveOptions
    stop: threading.Event
    copy_streams: bool = False
    track: int | None = None
    raw: RawPipe | None = None
    stdin: BinaryIO | None = None
    _file: GrowingFile | None = field(default=None, repr=False)

    def __call__(self) -> Source:
        """The next connection, with its first picture decoded.

        Raises:
            InputError: it cannot be opened. Unreachable: which may pass.
        """
        one = self.one
        if one.name == "-":
            pipe = Pipe(self.stdin)
            if self.raw is not None:
                return RawSource(pipe, self.raw, Selection())
            return self._container(pipe, "stdin")
        if not self.options.follow or one.path is None:
            return self._container(one.address, one.name)

        # Look into a file first: its end would never come for one that cannot be read yet.
        self._file = file = GrowingFile(
            one.path, one.name, idle_s=self.options.follow_idle_s, stop=self.stop
        )
        try:
            file.check_order()
            return self._container(Pipe(cast("BinaryIO", file)), one.name)
        except BaseException:
            file.close()
            raise

    def _container(self, target: str | Pipe, name: str) -> ContainerSource:
        live = Live(self.options.timeout_s)
        return ContainerSource(target, name, Selection(), self.copy_streams, self.track, live=live)

    def end(self) -> None:
        """Let a reader that waits for a growing file go on to its end."""
        if self._file is not None:
            self._file.end()

    def close(self) -> None:
        """Let go of what outlives connections; when nobody reads any more."""
        if self._file is not None:
            self._file.close()

    @property
    def is_file(self) -> bool:
        """A file or pipe: it has one connection, and need not keep pace with the clock."""
        return self.options.follow or self.one.name == "-"

    @property
    def patience_s(self) -> float:
        """Seconds in which to try to reach it again; 0: not at all."""
        if self.is_file:
            return 0.0
        if self.options.reconnect_s is not None:
            return self.options.reconnect_s
        return 0.0 if self.one.address.startswith(_PLAIN) else ENDLESS_S

    def has_stamps(self, source: Source) -> bool:
        """The times of its frames are the source's own."""
        if self.is_file or not isinstance(source, ContainerSource):
            return True
        return source.format not in _TIMELESS

    def is_promised(self, source: Source) -> bool:
        """True if it has a known length: a video that lies there, and is not made now."""
        if self.is_file or is_camera(self.one.address):
            return False
        return isinstance(source, ContainerSource) and source.is_promised

    def info(self, source: Source) -> VideoInfo:
        """Facts of the first connection that hold for all."""
        info = replace(source.info, frames=None, duration_s=None)
        if not self.has_stamps(source):
            info = replace(info, time_base=_FINE_BASE, rate=None)
        return info
