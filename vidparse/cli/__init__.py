"""The command line: parse, one library call, print; heavy imports wait for the command that runs.

Exit codes: 0 ok; 1 some inputs failed, or an internal error; 2 usage; 3 input; 4 model; 5 device;
6 output; 130 interrupted.
"""

from __future__ import annotations

import _signal as signal  # the C part: the enums of `signal` take longer to load than all else here
import os

TYPE_CHECKING = False  # read as true by type checkers, as in vidparse/__init__.py
if TYPE_CHECKING:
    from types import FrameType


def main() -> None:
    """Run the command line, heeding signals before the first import that takes time."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # A signal that the caller has set to be ignored (nohup, `&`) stays ignored.
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _leave)

    from vidparse.cli.entry import main as enter

    enter()


def _leave(number: int, frame: FrameType | None) -> None:
    """Nothing has begun and nothing is written: end as every interrupted run does."""
    os.write(2, b"vidparse: interrupted\n")
    os._exit(130)


__all__ = ["main"]
