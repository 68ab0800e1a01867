"""One file through several decoders of a GPU at once, each with pieces from key frame to key frame.

A GPU has several decoders, and one stream keeps one of them busy. Pieces follow each other exactly:
times come from the packets, and a decoder reads on until it has all pictures of its piece, also
those that are shown before the key frame of the next.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import pairwise

from vidparse.frame import Frame
from vidparse.threads import in_thread
from vidparse.video.container import ContainerSource
from vidparse.video.source import Source, Stamps

_LEAST_FRAMES = 48  # of a piece: what is shorter spends its time on seeking
_MEMORY_SHARE = 4  # of the free memory of the device one part of these many is for pictures
_PIXEL_BYTES = 1.5  # of 4:2:0


class PieceSource(Source):
    """The frames of one file, as its :class:`ContainerSource` has them.

    Args:
        first: the file, opened, nothing read. It reads the first piece.
        again: opens the file anew, for the other decoders.
        starts: places of the first frames of the pieces in `stamps`, see :func:`piece_starts`.
        decoders: how many at once.
        ahead: frames that each may be ahead of who reads them.
    """

    def __init__(
        self,
        first: ContainerSource,
        again: Callable[[], ContainerSource],
        stamps: Stamps,
        starts: tuple[int, ...],
        *,
        decoders: int,
        ahead: int,
    ) -> None:
        self.info, self.decoded_on = first.info, first.decoded_on
        self._first, self._again, self._stamps = first, again, stamps
        self._opened = {0: first}  # by number of the lane
        self._decoders, self._ahead = min(decoders, len(starts)), ahead
        self._stuck = threading.Event()

        # (pts of the first frame, of the first frame behind it)
        edges = [None, *(stamps.pts[place] for place in starts[1:]), first.end_pts]
        self._pieces = list(pairwise(edges))

    @property
    def skipped(self) -> int:
        return sum(source.skipped for source in list(self._opened.values()))

    @property
    def notes(self) -> list[str]:
        return self._first.notes_with(list(self._opened.values())[1:])

    def stamps(self) -> Stamps | None:
        return self._stamps

    def __iter__(self) -> Iterator[Frame]:
        """Frames in order. Raises: as :class:`ContainerSource`."""
        count, last, halt = 0, None, threading.Event()
        with ExitStack() as stack:
            lanes = [
                stack.enter_context(
                    closing(
                        in_thread(
                            self._lane(number),
                            name=f"decoder-{number}",
                            stuck=self._stuck,
                            halt=halt,
                            depth=self._ahead,
                        )
                    )
                )
                for number in range(self._decoders)
            ]

            # Start them all: each waits for its turn with frames in hand.
            for lane in lanes:
                next(lane)
            for number in range(len(self._pieces)):
                for frame in lanes[number % len(lanes)]:
                    if frame is None:
                        break
                    yield replace(frame, index=count)
                    count, last = count + 1, frame

            # Check the end by the source of the last piece: frames were counted here alone.
            source = self._opened[(len(self._pieces) - 1) % len(lanes)]
            if last is not None and source.is_over:
                source.check_end(count, last.pts, last.duration or 0)

    def _lane(self, number: int) -> Iterator[Frame | None]:
        """Frames of one decoder: None when it has begun, then frames, and None after each piece."""
        yield None
        source = self._first
        if number:
            source = self._again()
            self._opened[number] = source
        for start, until in self._pieces[number :: self._decoders]:
            yield from source.piece(start, until)
            yield None

    def close(self) -> None:
        # Leave the file to a thread that is stuck in it: it must not be closed in use.
        if not self._stuck.is_set():
            for source in self._opened.values():
                source.close()


def in_pieces(
    source: ContainerSource, again: Callable[[], ContainerSource], *, decoders: int, memory: int
) -> Source:
    """The same frames through several decoders, where that is exact and pays; else `source`.

    Args:
        again: opens the file once more.
        decoders: at most so many at once.
        memory: bytes of the device that are free.
    """
    info = source.info

    # Leave sound to one reader, and uneven times whose durations come from the frame before.
    if info.copied or info.rate is None or not source.is_whole or decoders < 2:
        return source
    stamps = source.stamps()
    if stamps is None or not stamps.pts or stamps.pts[0] != stamps.first:
        return source  # the packets promise other frames than were found
    starts = piece_starts(stamps)
    picture = info.size_hw[0] * info.size_hw[1] * _PIXEL_BYTES
    ahead = int(memory / _MEMORY_SHARE / picture / decoders)
    if len(starts) < 2 or ahead < _LEAST_FRAMES:
        return source

    # Hold a piece each at most: who has more in hand only waits for the others.
    longest = max(after - start for start, after in pairwise((*starts, len(stamps.pts))))
    ahead = min(ahead, longest)
    return PieceSource(source, again, stamps, starts, decoders=decoders, ahead=ahead)


def piece_starts(stamps: Stamps) -> tuple[int, ...]:
    """Places of key frames at which pieces begin, the first of them 0."""
    starts = [0]
    for place, is_key in enumerate(stamps.keys):
        if is_key and place - starts[-1] >= _LEAST_FRAMES:
            starts.append(place)
    return tuple(starts)
