"""Audio and subtitle streams of an input that are copied, and their packets on the way."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av

from vidparse.video.selection import Selection


@dataclass(frozen=True, slots=True)
class CopiedStream:
    """An audio or subtitle stream of an input, to be copied as it is.

    It holds what a muxer needs in a container of its own, so it outlives the file it describes.
    """

    index: int  # of its packets
    kind: str  # "audio" or "subtitle"
    codec: str  # FFmpeg's name: "aac", "subrip", ...
    language: str | None
    duration_s: float | None
    disposition: int
    metadata: tuple[tuple[str, str], ...]
    template: Any  # a PyAV stream


def copied_stream(stream: Any) -> CopiedStream:
    """The record of a PyAV input stream that has a codec."""
    holder = av.open(io.BytesIO(), mode="w", format="null")
    return CopiedStream(
        index=stream.index,
        kind=stream.type,
        codec=stream.codec_context.codec.canonical_name,
        language=stream.language,
        duration_s=float(stream.duration * stream.time_base) if stream.duration else None,
        disposition=int(stream.disposition),
        metadata=tuple(stream.metadata.items()),
        template=holder.add_stream_from_template(stream),
    )


class CopiedPackets:
    """Packets of the copied streams, each kept until the picture that it belongs to.

    A file may hold its sound far ahead of its pictures; a run that is interrupted shall not end
    with sound and no picture.
    """

    def __init__(self, indices: Sequence[int], selection: Selection) -> None:
        self._selection = selection
        self._waiting: dict[int, deque[Any]] = {index: deque() for index in indices}
        self._origin_s: Fraction | None = None

    def place(self, origin_s: Fraction) -> None:
        """Times count from here on, that of the first frame; what lies outside the range goes."""
        self._origin_s = origin_s
        for index, packets in self._waiting.items():
            self._waiting[index] = deque(packet for packet in packets if self._wanted(packet))

    def time_s(self, packet: Any) -> Fraction | None:
        """Seconds from the first frame of the video."""
        stamp = packet.dts if packet.pts is None else packet.pts
        if stamp is None or self._origin_s is None:
            return None
        return stamp * packet.time_base - self._origin_s

    def _wanted(self, packet: Any) -> bool:
        start_s, end_s = self._selection.start_s, self._selection.end_s
        if self._selection.whole:
            return True
        now_s = self.time_s(packet)
        return (
            now_s is not None
            and (start_s is None or now_s >= start_s)
            and (end_s is None or now_s < end_s)
        )

    def add(self, packet: Any) -> None:
        """Keep a packet that lies in the range, or any until it is known where that begins."""
        if packet.stream_index in self._waiting and (
            self._origin_s is None or self._wanted(packet)
        ):
            self._waiting[packet.stream_index].append(packet)

    def taken(self, before_s: Fraction | None = None) -> tuple[Any, ...]:
        """Remove and return packets that begin before a time; all without one."""
        taken = []
        for packets in self._waiting.values():
            while packets:
                now_s = None if before_s is None else self.time_s(packets[0])
                if before_s is not None and now_s is not None and now_s >= before_s:
                    break
                taken.append(packets.popleft())
        return tuple(taken)

    def clear(self) -> None:
        for packets in self._waiting.values():
            packets.clear()
