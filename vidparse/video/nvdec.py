"""Decoding on a CUDA device (NVDEC), so that pictures are where the network is."""

from __future__ import annotations

from typing import Final

import av
from av.codec.hwaccel import HWAccel

from vidparse.video.picture import PLANAR_420, Orientation, turn_of

# Every NVDEC since Turing decodes these; those that decode more are not put to the test.
_CODECS: Final = ("h264", "hevc", "vp9", "av1", "vp8", "mpeg2video", "mpeg4", "vc1")
DECODERS: Final = 4  # of one GPU that work on one file; small GPUs have fewer, which take turns


def free_memory(index: int) -> int:
    """Bytes of a CUDA device that nobody uses."""
    import torch

    return int(torch.cuda.mem_get_info(index)[0])


def device_decoder(index: int) -> HWAccel:
    """The decoder of a CUDA device, for `open_container`; torch is imported.

    FFmpeg works in the context that torch has there: so pictures need not cross from one to the
    other. Its own would be refused, since torch has set the flags of the context.
    """
    import torch

    torch.cuda.synchronize(index)  # makes its context this thread's
    return HWAccel(
        "cuda",
        device=str(index),
        allow_software_fallback=False,
        is_hw_owned=True,
        options={"primary_ctx": "0", "current_ctx": "1"},
    )


def why_on_the_cpu(codec: str, first: av.VideoFrame) -> str:
    """The reason why a CUDA device cannot decode a video for us; "" if it can.

    Args:
        codec: FFmpeg's name.
        first: the first picture, as the CPU decoded it.
    """
    if codec not in _CODECS:
        return f"{codec} is decoded on the CPU only"
    if first.format.name not in PLANAR_420:
        return f"{first.format.name} is decoded on the CPU only"
    if first.width % 2 or first.height % 2:
        return "pictures of odd size are decoded on the CPU only"
    if first.interlaced_frame:
        return "interlaced video is decoded on the CPU only"
    if turn_of(first) != Orientation():
        return "turned pictures are decoded on the CPU only"
    return ""
