"""One run in a page: its codes, maps, timeline and flicker, filled frame by frame."""

from __future__ import annotations

import numpy as np

from vidparse.errors import InputError
from vidparse.labels.colours import drawn_colours
from vidparse.sinks.stream import Rows
from vidparse.view.blocks import Chunks, Column
from vidparse.view.codes import Codes
from vidparse.view.flicker import UNKNOWN, FlickerMeter
from vidparse.view.records import FrameRecord
from vidparse.view.result import Result
from vidparse.view.timeline import Timeline

FLICKER_UNIT = 1_000_000  # of the flicker of a frame, as a whole number


class Side:
    """The left or right of a page.

    Args:
        number: 0 or 1.
        size_hw: of the maps in the page.
        palette: as of `drawn_colours`.
        rows: where blocks of ids wait.
    """

    def __init__(
        self, result: Result, number: int, size_hw: tuple[int, int], palette: str | None, rows: Rows
    ) -> None:
        labels = result.header.labels
        self.result = result
        self.colours = drawn_colours(labels, palette)
        self.codes = Codes(labels, self.colours, result.ids, size_hw)
        self.timeline = Timeline.of(len(labels), result.header.size_hw)
        self._flickers: tuple[float, int] = (0.0, 0)  # their sum and number
        self._ids = result.ids.reader(result.header.size_hw)
        self._chunks = Chunks(f"ids-{number}", rows)
        self._meter = FlickerMeter()
        self._column = Column(f"flicker-{number}", str(result.path))

    def add(self, place: int, record: FrameRecord, luma: np.ndarray) -> None:
        """The next frame of the page.

        Args:
            luma: of its picture, uint8 in the size of the maps.

        Raises:
            InputError: its ids are missing or damaged. OutputError: disk full and the like.
        """
        ids, size_hw = self._ids(record), self.result.header.size_hw
        if ids.shape != size_hw:
            raise InputError(
                f"{self.result.ids.path}: frame {record.number} is {ids.shape[1]}x{ids.shape[0]}, "
                f"the video {size_hw[1]}x{size_hw[0]}; segment it again with --save masks,jsonl"
            )
        runs = self.codes.runs_of(ids, record)
        self._chunks.add(runs)
        self.timeline.add(place, record)

        flicker = self._meter.see(luma, self.codes.classes(runs))
        if flicker == UNKNOWN:
            self._column.add(UNKNOWN)
            return
        self._column.add(round(flicker * FLICKER_UNIT))
        self._flickers = self._flickers[0] + flicker, self._flickers[1] + 1

    @property
    def flicker(self) -> float | None:
        """Its mean over all frames that have one; None where none has."""
        total, count = self._flickers
        return total / count if count else None

    def finish(self) -> bytes:
        """Write the last ids; the element of the flicker of each frame."""
        self._chunks.finish()
        return self._column.finish()
