"""Frames and predictions in Python: how much of each frame is road?

python examples/python_api.py [clip.mp4]
"""

from __future__ import annotations

import sys
from contextlib import closing

import vidparse


def main(name: str) -> None:
    model = vidparse.load_model()
    with closing(vidparse.open_video(name)) as video, model.session() as session:
        for frame, prediction in session.run(video):
            seconds = float(frame.pts * video.info.time_base)
            sys.stdout.write(f"{seconds:8.3f} s  road {prediction.share('Road'):6.1%}\n")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "sample://street?frames=10&size=640x360")
