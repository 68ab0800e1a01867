"""The first frames of a source, for inputs that may not end (`--max-frames`)."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import islice

from vidparse.arrival import LiveReport
from vidparse.errors import counted
from vidparse.frame import Frame, Packet
from vidparse.limits import max_frames
from vidparse.threads import close_iterator
from vidparse.video.demux import stream_and_time
from vidparse.video.source import Source, Stamps


def limited(source: Source) -> Source:
    """The source, or its first frames where this process has a limit of frames."""
    most = max_frames()
    return source if most is None else FirstFrames(source, most)


class FirstFrames(Source):
    """Yields the first frames of another source, and ends its sound with them.

    Args:
        source: closed with this one.
        most: frames that are yielded at most, 1 or more.
    """

    def __init__(self, source: Source, most: int) -> None:
        self.source, self._most = source, most
        self.info, self.decoded_on = source.info, source.decoded_on
        self.queued = source.queued
        self._end_s: Fraction | None = None  # of the last frame, once the limit is met

    def __iter__(self) -> Iterator[Frame]:
        """Raises: TruncatedError, InputError: as the source does, within these frames."""
        frames, frame = iter(self.source), None
        try:
            for count, frame in enumerate(islice(frames, self._most), start=1):
                # Note the end before the frame goes out: its sinks may be closed behind it.
                if count == self._most:
                    self._end_s = (frame.pts + (frame.duration or 0)) * frame.time_base
                yield frame
        finally:
            close_iterator(frames)

    def written(self, frame: Frame) -> None:
        self.source.written(frame)

    @property
    def live(self) -> LiveReport | None:
        return self.source.live

    @property
    def skipped(self) -> int:
        return self.source.skipped

    @property
    def notes(self) -> list[str]:
        notes = self.source.notes
        if self._end_s is not None and self.info.frames != self._most:
            notes = [*notes, f"ended after {counted(self._most, 'frame')}, by --max-frames"]
        return notes

    def stamps(self) -> Stamps | None:
        return self.source.stamps()

    def trailing_packets(self) -> list[Packet]:
        packets = self.source.trailing_packets()
        return [packet for packet in packets if self._is_heard(packet)]

    def _is_heard(self, packet: Packet) -> bool:
        """True unless it begins behind the last picture."""
        if self._end_s is None:
            return True
        _, begins_s = stream_and_time(packet)
        return begins_s is not None and begins_s < self._end_s

    def close(self) -> None:
        self.source.close()
