"""The thread that reads a live input, connection after connection, and the box of its frames."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

from vidparse.errors import InputError, Interrupted, TruncatedError, Unreachable
from vidparse.frame import Frame, Packet, VideoInfo
from vidparse.live.backoff import Backoff
from vidparse.live.connection import Opening
from vidparse.live.tally import Tally
from vidparse.live.timeline import Timeline
from vidparse.video.container import ContainerSource
from vidparse.video.demux import copied_streams, moved
from vidparse.video.source import Source

log = logging.getLogger(__name__)

_POLL_S = 0.1  # how soon a waiting thread notices that all is over
_ROOM = 4  # frames that wait, where every frame counts
_JOIN_S = 2.0  # patience with a thread that waits for the network
Notify = Callable[[str], None]


class Reader:
    """Frames of one live input, in a box for one other thread.

    Args:
        opening: of its connections.
        latest: the box holds the newest frame alone; else the source waits for room.
        tally: counts frames that newer ones replaced, and gaps.
        stop: ends all waiting.
        notify: shows the user a line at once.
        backoff: the pauses between tries.
    """

    def __init__(
        self,
        opening: Opening,
        *,
        latest: bool,
        tally: Tally,
        stop: threading.Event,
        notify: Notify = lambda _: None,
        backoff: Backoff | None = None,
    ) -> None:
        self._opening, self._tally, self._notify = opening, tally, notify
        self._latest, self._stop = latest, stop
        self._backoff = backoff or Backoff()
        self.notes: list[str] = []  # of connections that are over, each once
        self.skipped = 0  # damaged packets

        # Guard with `_change` what two threads touch.
        self._change = threading.Condition()
        self._box: deque[Frame] = deque()
        self._first: Source | None = None
        self._may_read = self._is_closed = self._is_over = False
        self._error: BaseException | None = None
        self._count = 0  # frames read so far
        self._connection: Source | None = None
        self._thread = threading.Thread(target=self._run, name="vidparse-live", daemon=True)
        self._thread.start()

    def first(self) -> Source:
        """Wait for the first connection; nothing is read from it before `begin`.

        Raises:
            InputError: it cannot be opened. Interrupted: by `stop`.
        """
        with self._change:
            while self._first is None and not self._is_over:
                if self._stop.is_set():
                    raise Interrupted(f"{self._opening.one.name}: interrupted before any frame")
                self._change.wait(_POLL_S)
            if self._first is None:
                assert self._error is not None
                raise self._error
            return self._first

    def begin(self, info: VideoInfo, timeline: Timeline) -> None:
        """Read on from the first connection. info: of all of them."""
        with self._change:
            self._info, self._timeline = info, timeline
            self._may_read = True
            self._change.notify_all()

    def take(self, *, wait_s: float = _POLL_S) -> Frame | None:
        """The next frame; None if none has come for so long, or no more will.

        Raises:
            TruncatedError: the source was lost for good. VidparseError: any other reason.
        """
        with self._change:
            if not self._box and not self._is_over:
                self._change.wait(wait_s)
            if self._box:
                frame = self._box.popleft()
                self._change.notify_all()
                return frame
            if self._is_over and self._error is not None:
                error, self._error = self._error, None
                raise error
            return None

    @property
    def is_over(self) -> bool:
        """No frame is left, and none will come."""
        with self._change:
            return self._is_over and not self._box

    def close(self) -> None:
        """End the thread; one that waits for the network ends by its time-out. Idempotent."""
        with self._change:
            self._is_closed = True
            self._box.clear()
            self._change.notify_all()
        self._opening.end()
        if self._thread is not threading.current_thread():
            self._thread.join(_JOIN_S)

    @property
    def _ends(self) -> bool:
        return self._is_closed or self._stop.is_set()

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            self._read_all()
        except Exception as problem:  # handed to whoever takes
            error = problem
        finally:
            try:
                if self._connection is not None:
                    self._connection.close()
                self._opening.close()
            except Exception as problem:
                log.debug("%s: not closed", self._opening.one.name, exc_info=problem)
            with self._change:
                self._error, self._is_over = error, True
                self._change.notify_all()

    def _read_all(self) -> None:
        """Connections, until the source ends or is lost for good."""
        connection: Source | None = self._opened()
        with self._change:
            self._first = connection
            self._change.notify_all()
            while not self._may_read:
                if self._ends:
                    return
                self._change.wait(_POLL_S)

        while connection is not None and not self._ends:
            begun_s = time.monotonic()
            why = self._read(connection)
            self._part(connection)
            if self._ends or (why is None and not self._opening.patience_s):
                return
            self._backoff.lasted(time.monotonic() - begun_s)
            connection = self._again(why)

    def _opened(self) -> Source:
        """The first connection: tried again only where the user wants patience."""
        until_s = time.monotonic() + (self._opening.options.reconnect_s or 0.0)
        while True:
            try:
                self._connection = self._opening()
            except Unreachable as error:
                pause_s = self._backoff.pause_s()
                if self._ends or time.monotonic() + pause_s > until_s:
                    raise
                self._notify(f"{error}; trying again")
                self._wait(pause_s)
                continue
            return self._connection

    def _read(self, connection: Source) -> TruncatedError | None:
        """All frames of a connection; why it broke, None where it ended by itself."""
        self._timeline.connected()
        keeps_sound = _sound(connection.info) == _sound(self._info)
        if self._info.copied and not keeps_sound:
            self._note("the sound of a later connection is of another kind, and is left out")
        try:
            for frame in connection:
                if self._ends:
                    return None
                self._put(self._placed(frame, connection.info, keeps_sound=keeps_sound))
        except TruncatedError as error:
            return error
        return None

    def _placed(self, frame: Frame, info: VideoInfo, *, keeps_sound: bool) -> Frame:
        """A frame as the outputs get it: its number, time, and sound of all connections."""
        stamp_s = frame.pts * info.time_base
        pts, arrival = self._timeline.place(stamp_s, time.monotonic())
        if arrival.gap_s:
            self._tally.saw_gap(arrival)

        packets: tuple[Packet, ...] = frame.packets if keeps_sound else ()
        if packets and self._timeline.shift_s:
            packets = moved(packets, self._timeline.shift_s)
        base = self._info.time_base
        lasts = frame.duration
        if lasts is not None and base != info.time_base:
            lasts = round(lasts * info.time_base / base) or None
        index, self._count = self._count, self._count + 1
        return replace(
            frame,
            index=index,
            pts=pts,
            time_base=base,
            duration=lasts,
            packets=packets,
            arrival=arrival,
        )

    def _put(self, frame: Frame) -> None:
        """Into the box: in place of an older frame, or once there is room."""
        with self._change:
            if self._latest and self._box:
                frame = frame.following(self._box.pop())
                self._tally.passed_over += 1
            while len(self._box) >= _ROOM and not self._ends:
                self._change.wait(_POLL_S)
            if not self._is_closed:
                self._box.append(frame)
            self._change.notify_all()

    def _part(self, connection: Source) -> None:
        """Let go of a connection, and keep its notes and counts."""
        self.skipped += connection.skipped
        for note in connection.notes:
            self._note(note)
        self._connection = None
        connection.close()

    def _note(self, text: str) -> None:
        if text not in self.notes and len(self.notes) < 8:
            self.notes.append(text)

    def _again(self, why: TruncatedError | None) -> Source | None:
        """The next connection; None where what comes back is no live source any more.

        Raises:
            TruncatedError: it was not reached in the time that it is given.
        """
        name, patience_s = self._opening.one.name, self._opening.patience_s
        if why is not None and not patience_s:
            raise why
        reason = "lost: the stream ended" if why is None else str(why).removeprefix(f"{name}: ")
        lost_s = time.monotonic()
        news = [f"{name}: {reason}; trying again"]

        # Keep back the news of an end until one more try has shown that it was none.
        if why is not None:
            self._notify_all(news)
        while not self._ends:
            pause_s = self._backoff.pause_s()
            left_s = lost_s + patience_s - time.monotonic()
            if left_s <= 0:
                raise self._lost(reason, patience_s)
            self._wait(min(pause_s, left_s))
            if self._ends:
                break
            try:
                connection = self._connection = self._opening()
            except InputError as error:
                self._notify_all(news)
                reason = str(error).removeprefix(f"{name}: ")
                log.debug("%s", error)
                continue

            # Take a stream that has got an end meanwhile for what it is: over.
            if self._opening.is_promised(connection):
                return None
            if isinstance(connection, ContainerSource) and isinstance(self._first, ContainerSource):
                connection.looks_like(self._first)
            self._notify_all([*news, f"{name}: back after {time.monotonic() - lost_s:.1f} s"])
            return connection
        return None

    def _notify_all(self, news: list[str]) -> None:
        """Show the user these lines, and take them off the list."""
        for line in news:
            self._notify(line)
        news.clear()

    def _lost(self, reason: str, patience_s: float) -> TruncatedError:
        name = self._opening.one.name
        return TruncatedError(
            f"{name}: gone for {patience_s:g} s ({reason}); outputs hold the frames before"
        )

    def _wait(self, time_s: float) -> None:
        until_s = time.monotonic() + time_s
        with self._change:
            while not self._ends and (left_s := until_s - time.monotonic()) > 0:
                self._change.wait(min(left_s, _POLL_S))


def _sound(info: VideoInfo) -> list[tuple[int, str, str, Fraction | None]]:
    """The copied streams of a connection, as far as packets depend on them."""
    return [
        (one.index, one.kind, one.codec, one.template.time_base) for one in copied_streams(info)
    ]
