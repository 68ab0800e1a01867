"""Whoever watches a batch: receives the progress of its inputs."""

from __future__ import annotations

from typing import Protocol

from vidparse.batch.result import InputResult
from vidparse.frame import Frame, VideoInfo


class Watcher(Protocol):
    """Receives the progress of a run; the command line draws a bar.

    `batch` comes first, with the number of inputs, and with True where they are segmented side by
    side: then `begin` and `frame` do not come. `begin` comes once an input was opened, with the
    frames to expect (None when nobody knows); `end` comes once for every input. `notify`
    gets lines for the user at once: that a live input is lost, or back.
    """

    def batch(self, inputs: int, *, side_by_side: bool) -> None: ...
    def begin(self, info: VideoInfo, frames: int | None) -> None: ...
    def frame(self, frame: Frame) -> None: ...
    def end(self, result: InputResult) -> None: ...
    def notify(self, text: str) -> None: ...


class Silent:
    """A watcher that does nothing."""

    def batch(self, inputs: int, *, side_by_side: bool) -> None: ...
    def begin(self, info: VideoInfo, frames: int | None) -> None: ...
    def frame(self, frame: Frame) -> None: ...
    def end(self, result: InputResult) -> None: ...
    def notify(self, text: str) -> None: ...
