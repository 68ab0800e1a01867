"""Network inputs taken evenly from a video, to calibrate or to compare networks on."""

from __future__ import annotations

from contextlib import closing
from itertools import islice

import numpy as np

from vidparse.errors import InputError
from vidparse.inference.preprocess import input_size, to_clip
from vidparse.models.description import Preprocess
from vidparse.video import open_video

_MOST_READ = 6000  # frames


def sample_clips(source: str, facts: Preprocess, count: int) -> list[np.ndarray]:
    """Up to `count` network inputs, float32 (1, 3, h, w), spread evenly over a video.

    The video is read once and its length need not be known: whenever twice as many are held as are
    wanted, every other one is dropped, and from then on half as many frames are taken.

    Args:
        source: what `open_video` takes; the first 6000 frames count.

    Raises:
        InputError: it cannot be read, or holds fewer than two frames.
    """
    clips: list[np.ndarray] = []
    step = 1
    with closing(open_video(source, copy_streams=False)) as video:
        size_hw = input_size(
            video.info.size_hw, facts, sample_aspect_ratio=video.info.sample_aspect_ratio
        )

        # Thin out as the video goes on: its length is not known before its end.
        for index, frame in enumerate(islice(video, _MOST_READ)):
            if index % step:
                continue
            clips.append(to_clip(frame.image, size_hw, facts))
            if len(clips) == 2 * count:
                clips, step = clips[::2], 2 * step

    if len(clips) < 2:
        raise InputError(f"{source}: {len(clips)} frame is too few; give a longer clip")
    if len(clips) <= count:
        return clips
    return [clips[i] for i in np.linspace(0, len(clips) - 1, count).round().astype(int)]
