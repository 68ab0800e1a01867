"""The program: `vidparse`, and `python -m vidparse`."""

from __future__ import annotations

import os
import signal
from types import FrameType


def main() -> None:
    """Run the command line, heeding signals before the first import that takes time."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # What whoever started us said to ignore (nohup, `&`) stays ignored.
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _leave)

    from vidparse.cli import main as command_line

    command_line()


def _leave(number: int, frame: FrameType | None) -> None:
    """Nothing has begun and nothing is written: end as every interrupted run does."""
    os.write(2, b"vidparse: interrupted\n")
    os._exit(130)


if __name__ == "__main__":
    main()
