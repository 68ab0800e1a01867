"""The files and functions of vidparse that each frame of `segment` passes through.

    python tests/benchmarks/frame_path.py clip.mp4 [--save overlay,masks,jsonl] [--frames 12]

Runs the command line's own call serially under a profile hook that is on between the third frame
and the last, and lists the functions that were entered at least once per frame.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import vidparse
from vidparse.batch import Silent
from vidparse.frame import Frame
from vidparse.run import SegmentOptions, segment

ROOT = str(Path(vidparse.__file__).parent)
WARM_UP = 3  # frames: what is opened at the first one is not counted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip")
    parser.add_argument("--save", default="overlay,masks,jsonl")
    parser.add_argument("--frames", type=int, default=12, help="that the clip has at least")
    arguments = parser.parse_args()

    calls: Counter[tuple[str, str]] = Counter()

    def count(frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(ROOT):
            calls[code.co_filename[len(ROOT) + 1 :], code.co_qualname] += 1

    class Watcher(Silent):
        seen = 0

        def frame(self, frame: Frame) -> None:
            self.seen += 1
            if self.seen == WARM_UP:
                sys.setprofile(count)
            elif self.seen == arguments.frames:
                sys.setprofile(None)

    with tempfile.TemporaryDirectory() as folder:
        options = SegmentOptions(
            save=tuple(arguments.save.split(",")), out=f"{folder}/", overlap=False
        )
        segment([arguments.clip], options, watcher=Watcher())

    frames = arguments.frames - WARM_UP
    functions = sorted(name for name, number in calls.items() if number >= frames)
    files = sorted({file for file, _ in functions})
    for file in files:
        print(f"{file}: {', '.join(name for where, name in functions if where == file)}")
    print(f"{frames} frames, {len(files)} files, {len(functions)} functions per frame")


if __name__ == "__main__":
    main()
