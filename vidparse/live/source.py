"""A live input as the pipeline sees it: one source of frames, however often it is lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from vidparse.arrival import LiveReport
from vidparse.errors import InputError
from vidparse.frame import Frame
from vidparse.live.backoff import Backoff
from vidparse.live.connection import Opening, is_live, no_live_input
from vidparse.live.reader import Notify, Reader
from vidparse.live.tally import Tally
from vidparse.live.timeline import Timeline
from vidparse.requests.live import LATEST
from vidparse.video.source import Selection, Source


class LiveSource(Source):
    """The frames of a live input, as they come or always the newest; see :class:`Reader`.

    Args:
        opening: of its connections.
        selection: the frames that are wanted; seconds count from the first one.
        stop: ends the iteration.
        notify: shows the user a line at once.
        backoff: the pauses between tries to reach it again.

    Attributes:
        tally: counts of what became of its frames.

    Raises:
        InputError: it cannot be opened. Interrupted: `stop` was set meanwhile.
    """

    def __init__(
        self,
        opening: Opening,
        selection: Selection | None = None,
        *,
        stop: threading.Event | None = None,
        notify: Notify = lambda _: None,
        backoff: Backoff | None = None,
    ) -> None:
        self._opening, self._selection = opening, selection or Selection()
        self._stop = stop or opening.stop
        self.tally = Tally()
        self._latest = opening.options.policy == LATEST
        self._wanted: threading.Semaphore | None = None
        # Let no frames queue up where only the newest counts.
        self.queued = 1 if self._latest else Source.queued

        self._reader = Reader(
            opening,
            latest=self._latest,
            tally=self.tally,
            stop=self._stop,
            notify=notify,
            backoff=backoff,
        )
        try:
            first = self._reader.first()
            self.is_promised = opening.is_promised(first)
            self.info = opening.info(first)
        except BaseException:
            self._reader.close()
            raise
        self._has_stamps = opening.has_stamps(first)

    def on_demand(self) -> None:
        """Give one frame per call of `request_frame`, where only the newest counts."""
        if self._latest:
            self._wanted = threading.Semaphore(0)

    def request_frame(self) -> None:
        """Request one more frame now."""
        if self._wanted is not None:
            self._wanted.release()

    def end_requests(self) -> None:
        """Nobody takes a frame any more: let the iteration go on, so that it can be closed."""
        self._wanted = None

    def __iter__(self) -> Iterator[Frame]:
        """Frames, until the source ends or `stop` is set; once.

        Raises:
            TruncatedError: it was lost for good.
        """
        keeps_pace = not self._opening.is_file
        timeline = Timeline(self.info.time_base, has_stamps=self._has_stamps, keeps_pace=keeps_pace)
        self._reader.begin(self.info, timeline)
        start = end = None
        count, first_pts, passed = 0, None, None

        while not self._stop.is_set():
            self._await_request()
            frame = self._next()
            if frame is None:
                break
            if first_pts is None:
                first_pts = frame.pts
                start, end = self._selection.bounds(first_pts, self.info.time_base)
            if end is not None and frame.pts >= end:
                return

            # Drop the sound before the range, and hand that of the frames that a stride leaves out
            # on to the next one.
            frame = frame if passed is None else frame.following(passed)
            is_inside = start is None or frame.pts >= start
            if not is_inside or count % self._selection.stride:
                count, passed = count + is_inside, frame if is_inside else None
                self.request_frame()
                continue
            count, passed = count + 1, None
            yield frame
        if not count and not self._stop.is_set():
            raise InputError(f"{self.info.name}: ended before any frame that is wanted")

    def _await_request(self) -> None:
        """Wait until a frame is requested, or until none will be, or all ends before."""
        while (wanted := self._wanted) is not None and not wanted.acquire(timeout=0.1):
            if self._stop.is_set() or self._reader.is_over:
                return

    def _next(self) -> Frame | None:
        """The next frame; None at the end, and where `stop` is set."""
        while not self._stop.is_set():
            frame = self._reader.take()
            if frame is not None or self._reader.is_over:
                return frame
        return None

    def written(self, frame: Frame) -> None:
        self.tally.wrote(frame)

    @property
    def live(self) -> LiveReport:
        return self.tally.report()

    @property
    def skipped(self) -> int:
        return self._reader.skipped

    @property
    def notes(self) -> list[str]:
        return [*self._reader.notes, *self.tally.notes()]

    def close(self) -> None:
        self._reader.close()


def open_live(
    opening: Opening,
    selection: Selection,
    *,
    notify: Notify = lambda _: None,
    backoff: Backoff | None = None,
) -> LiveSource | None:
    """A live input; None for what is none, as a video that lies at an address.

    Raises:
        InputError: it cannot be opened. Interrupted: it was not to be waited for.
        UsageError: options of live inputs for a video that lies there.
    """
    if not is_live(opening.one, opening.options):
        return None
    source = LiveSource(opening, selection, notify=notify, backoff=backoff)
    if not source.is_promised:
        return source
    source.close()
    if opening.options.wants_live:
        raise no_live_input(opening.one, opening.options)
    return None
