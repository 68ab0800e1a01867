"""Clips made at test time, whose pictures show their own number."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np


def picture(index: int, size_hw: tuple[int, int] = (48, 64)) -> np.ndarray:
    """RGB uint8 (H, W, 3): a ramp, a square that moves, and a patch whose grey shows the index."""
    height, width = size_hw
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([columns * 255 // width, rows * 255 // height, rows * 0 + 90], -1)
    image = image.astype(np.uint8)
    x, y = (index * 3) % max(1, width - 8), (index * 2) % max(1, height - 8)
    image[y : y + 8, x : x + 8] = (230, 40, 40)
    image[:8, :8] = 40 + index * 5 % 180
    return image


def _add_audio(container: Any, seconds: float, codec: str) -> Any:
    stream = container.add_stream(codec, rate=48000, options={"strict": "-2"})
    stream.codec_context.layout = "stereo" if codec == "vorbis" else "mono"

    def frames():
        for start in range(0, int(seconds * 48000), 1024):
            tone = np.sin(np.arange(start, start + 1024) * 0.05).astype(np.float32)[None]
            frame = av.AudioFrame.from_ndarray(tone * 0.3, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 48000, start
            frame.time_base = Fraction(1, 48000)
            yield frame

    return stream, frames


def make_clip(
    path: Path,
    *,
    frames: int = 25,
    size_hw: tuple[int, int] = (48, 64),
    rate: Fraction | int = 25,
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    container: str | None = None,
    options: dict[str, str] | None = None,
    movflags: str | None = None,
    colour: tuple[int, int, int, int] | None = None,
    aspect: Fraction | None = None,
    audio: bool | str = False,
    audio_s: float | None = None,
    turn: int = 0,
    metadata: dict[str, str] | None = None,
) -> Path:
    """Write a small clip of `picture`s.

    Args:
        pts: one a frame, in `time_base`; even steps at `rate` unless given.
        audio: a tone, in AAC or the codec that is named; as long as the video or `audio_s`.
        colour: H.273 matrix, primaries, transfer, and range (1 limited, 2 full).
        turn: degrees counter-clockwise for the display matrix.
    """
    rate = Fraction(rate)
    if time_base is None:
        time_base = 1 / rate if pts is None else Fraction(1, 90000)
    stamps = list(pts) if pts is not None else [int(i / rate / time_base) for i in range(frames)]
    flags = {} if movflags is None else {"movflags": movflags}
    with av.open(str(path), "w", format=container, container_options=flags) as output:
        output.metadata.update(metadata or {})
        preset = {"preset": "ultrafast", "qp": "0"} if codec == "libx264" else {}
        stream = output.add_stream(codec, rate=rate, options={**preset, **(options or {})})
        context: Any = stream.codec_context
        context.height, context.width = size_hw
        context.pix_fmt = pixel_format
        context.time_base = stream.time_base = time_base
        context.thread_count = 3  # the same bytes on every machine
        if aspect is not None:
            context.sample_aspect_ratio = aspect
        if colour is not None:
            context.colorspace, context.color_primaries = colour[0], colour[1]
            context.color_trc, context.color_range = colour[2], colour[3]
        if turn:
            stream.set_display_rotation(turn)
        sound, sounds = None, None
        if audio:
            wanted = audio if isinstance(audio, str) else "aac"
            lasts_s = float(stamps[-1] * time_base) if audio_s is None else audio_s
            sound, sounds = _add_audio(output, lasts_s, wanted)
        for index, stamp in enumerate(stamps):
            frame = av.VideoFrame.from_ndarray(picture(index, size_hw), format="rgb24")
            spread = None if colour is None else colour[3]
            frame = frame.reformat(format=pixel_format, dst_color_range=spread)
            frame.pts, frame.time_base = stamp, time_base
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if sounds is not None:
            for frame in sounds():
                output.mux(sound.encode(frame))
            output.mux(sound.encode(None))
    return path
