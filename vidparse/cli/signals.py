"""Ctrl-C, SIGTERM and a closed terminal: finish what is being written, or leave at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from vidparse.errors import Interrupted

_SAME_PRESS_S = 2.0  # signals this close together are one wish: a double press, or a whole group's

# An interrupt during the imports: what they run may swallow the exception, and the wish remains.
_early = threading.Event()


@contextmanager
def stop_on_signals(is_writing: Callable[[], bool] = lambda: True) -> Iterator[threading.Event]:
    """An event that the first signal sets, for the program to finish its outputs and end.

    With nothing to finish (`is_writing` says so) the first signal raises KeyboardInterrupt; so does
    a later one, when finishing takes too long. One after that ends the process on the spot.

    Raises:
        Interrupted: a KeyboardInterrupt left the block, or an error that it turned into on its
            way: an import that is interrupted may end in any.
    """
    stop = threading.Event()
    pressed_s: list[float] = []
    why = ""  # once the handler has raised

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal why
        now_s = time.monotonic()
        if pressed_s and now_s - pressed_s[-1] < _SAME_PRESS_S:
            return
        pressed_s.append(now_s)
        stop.set()

        if len(pressed_s) > 2:
            os._exit(Interrupted.exit_code)
        if len(pressed_s) == 2 or not is_writing():
            first = len(pressed_s) == 1
            why = "interrupted before anything was written" if first else "interrupted"
            raise KeyboardInterrupt

    with _handling(handle):
        if _early.is_set():
            raise KeyboardInterrupt
        try:
            yield stop
        except (Exception, KeyboardInterrupt) as error:
            if not why or isinstance(error, Interrupted):
                raise
            raise Interrupted(why) from error


@contextmanager
def interrupts() -> Iterator[threading.Event]:
    """Every signal raises KeyboardInterrupt and sets the event: for when nothing is written yet."""
    _early.clear()

    def handle(number: int, frame: FrameType | None) -> None:
        _early.set()
        raise KeyboardInterrupt

    with _handling(handle):
        yield _early


def ignore_signals() -> None:
    """The result is decided; let nothing disturb the interpreter on its way out."""
    for number in _numbers():
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def _handling(handle: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = {number: signal.signal(number, handle) for number in _numbers()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _numbers() -> list[int]:
    """The signals to handle: not those that the caller has set to be ignored (nohup, `&`)."""
    if threading.current_thread() is not threading.main_thread():
        return []
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    return [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
