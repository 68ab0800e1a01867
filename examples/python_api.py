"""Frames and predictions in Python: how much of each frame is road?

python examples/python_api.py [clip.mp4]
"""

from __future__ import annotations

import sys

import vidparse


def main(name: str) -> None:
    model = vidparse.load_model()
    with vidparse.open_video(name) as video, model.session(video.info) as session:
        for frame, prediction in session.run(video):
            print(f"{frame.time_s:8.3f} s  road {prediction.share('Road'):6.1%}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "sample://street?frames=10&size=640x360")
