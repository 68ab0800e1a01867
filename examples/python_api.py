"""Frames and predictions in Python: how much of each frame is road?

python examples/python_api.py [clip.mp4]
"""

from __future__ import annotations

import sys

import vidparse


def main(name: str) -> None:
    session = vidparse.Session(vidparse.load_model())
    road = session.labels.classes.index("Road")
    video = vidparse.open_video(name)
    try:
        for frame in video:
            for prediction in session.step(frame):  # ids: uint8 (H, W), 255 = nothing said
                share = (prediction.ids == road).mean()
                seconds = float(frame.pts * video.info.time_base)
                sys.stdout.write(f"{seconds:8.3f} s  road {share:6.1%}\n")
    finally:
        video.close()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "sample://street?frames=10&size=640x360")
