"""Ids back out of a lossless video of them: the samples as they were stored, unscaled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer

from vidparse.errors import InputError, TruncatedError, counted
from vidparse.image import FULL_RANGE
from vidparse.limits import check_size
from vidparse.video.decode import SliceCheck
from vidparse.video.demux import Demuxer, open_container
from vidparse.video.picture import is_rgb, plane_of, turn_of

Samples = Callable[[av.VideoFrame, str], np.ndarray]  # of a frame, with its name for messages

_RGB_IDS = "bgr0"  # FFmpeg's name for the RGB that FFV1 keeps
_NO_COLOUR = 128  # chroma of grey pixels
_WRITE_AGAIN = "write masks with --save mask-video"
_CODEC_NAMES = {"h264": "H.264", "hevc": "H.265", "mpeg4": "MPEG-4", "mjpeg": "Motion JPEG"}


def read_mask_video(path: str | Path) -> Iterator[np.ndarray]:
    """Class ids of every frame: uint8 (H, W), or uint16 from gray of more than 8 bits.

    Reads what the `mask-video` output writes, and what other tools store as gray (or as full-range
    8-bit YUV without colour) in a codec that is always lossless. A few frames at a time are held;
    the file is opened at the first frame and closed with the iterator.

    Raises:
        InputError: no such video, a lossy codec, colour, or damage: what is missing in the middle
            would give later masks to the wrong frames.
        TruncatedError: the file ends early; its good frames were delivered.
    """
    return _read(str(path), _samples)


def read_id_video(path: str | Path) -> Iterator[np.ndarray]:
    """Ids of objects in every frame: as `read_mask_video`, and uint32 (H, W) from RGB.

    Reads what the `id-video` output writes; the id of a colour is R + 256 G + 65536 B.

    Raises:
        InputError, TruncatedError: as `read_mask_video`.
    """
    return _read(str(path), _wide_samples)


def _read(name: str, samples: Samples) -> Iterator[np.ndarray]:
    container = open_container(name, name)
    try:
        yield from _masks(container, name, samples)
    finally:
        container.close()


def _masks(container: InputContainer, name: str, samples: Samples) -> Iterator[np.ndarray]:
    stream = _mask_stream(container, name)
    demuxer = Demuxer(container, [stream], name)
    count = 0
    for frame in _frames(demuxer, stream.codec_context, name):
        if count == 0:
            size_hw, turn = (frame.height, frame.width), turn_of(frame)
            check_size(name, size_hw)
        elif (frame.height, frame.width) != size_hw:
            raise InputError(f"{name}: frame {count} changes the size; give masks of one size")

        # Copy what is a view of the decoder's memory: the caller may write into masks.
        ids = turn.apply(samples(frame, f"{name}: frame {count}"))
        yield ids.copy() if ids.base is not None else ids
        count += 1
    if demuxer.cut_short():
        raise _cut(name, count)
    if count == 0:
        raise InputError(f"{name}: holds no frame; {_WRITE_AGAIN}")


def _mask_stream(container: InputContainer, name: str) -> av.VideoStream:
    """The video stream, when its codec and pixel format keep ids."""
    if not container.streams.video:
        raise InputError(f"{name}: holds no video; {_WRITE_AGAIN}")
    stream = container.streams.video[0]
    decoder = stream.codec_context
    if decoder is None:
        raise InputError(f"{name}: no decoder for its video; {_WRITE_AGAIN}")

    # Refuse codecs that can be either: a file does not show how its encoder was set.
    codec = decoder.codec
    if codec.lossy or not codec.lossless:
        called = _CODEC_NAMES.get(codec.canonical_name, codec.canonical_name)
        verb = "can be" if codec.lossless and codec.canonical_name not in _CODEC_NAMES else "is"
        raise InputError(
            f"{name}: {called} {verb} lossy: ids between classes would be made up; {_WRITE_AGAIN}"
        )

    if decoder.width and decoder.height:  # before FFmpeg allocates any picture
        check_size(name, (decoder.height, decoder.width))
    decoder.thread_type = "AUTO"
    decoder.options = {"err_detect": "crccheck+explode"}  # a checksum that is wrong is an error
    return stream


def _frames(demuxer: Demuxer, decoder: av.VideoCodecContext, name: str) -> Iterator[av.VideoFrame]:
    """Decoded frames, none of them made up for damaged ones and none left out in the middle."""
    count = 0
    packets = iter(demuxer)
    is_whole = SliceCheck() if decoder.name == "ffv1" else None
    good = True

    # Stop at the first fault: a mask that is made up looks like any other.
    while good and (packet := next(packets, None)) is not None:
        good = not demuxer.damaged and (is_whole is None or is_whole(bytes(packet)))
        try:
            decoded = decoder.decode(packet) if good else []
        except av.error.FFmpegError:
            good, decoded = False, []
        for frame in decoded:
            yield frame
            count += 1

    try:
        for frame in decoder.decode(None):
            yield frame
            count += 1
    except av.error.FFmpegError:
        good = False

    if not good and next(packets, None) is None and not demuxer.damaged:
        raise _cut(name, count)  # the last packet is the bad one
    if not good or demuxer.damaged:
        raise InputError(
            f"{name}: damaged after {counted(count, 'mask')}; get another copy, or write it again"
        )


def _cut(name: str, count: int) -> TruncatedError:
    return TruncatedError(
        f"{name}: the file ends early, after {counted(count, 'mask')}; get a complete copy, or "
        "write it again"
    )


def _wide_samples(frame: av.VideoFrame, name: str) -> np.ndarray:
    """Ids of a frame, whose colours are ids where it has any."""
    if frame.format.name != _RGB_IDS:
        return _samples(frame, name)

    # Read B, G, R, 0 as one big-endian number: it is the id times 256.
    bgr0 = np.ascontiguousarray(plane_of(frame, 0, 4))  # (H, W, 4)
    return (bgr0.view(">u4")[..., 0] >> 8).astype(np.uint32)


def _samples(frame: av.VideoFrame, name: str) -> np.ndarray:
    """The one plane that holds the ids: uint8 or uint16 (H, W), maybe a view of the frame."""
    kind = frame.format.name

    if kind.startswith("gray") and "f" not in kind[4:]:
        if frame.format.components[0].bits <= 8:
            return plane_of(frame, 0)
        bytes_hw = plane_of(frame, 0, 2).reshape(frame.height, -1)  # (H, 2W)
        samples = np.ascontiguousarray(bytes_hw).view(">u2" if kind.endswith("be") else "<u2")
        return samples.astype(np.uint16)

    # Refuse whatever may have changed an id: colours, other depths, a squeezed range.
    if is_rgb(kind) or not kind.startswith("yuv"):
        raise InputError(f"{name} holds colours ({kind}), not class ids; {_WRITE_AGAIN}")
    if any(component.bits != 8 for component in frame.format.components) or "a" in kind:
        raise InputError(f"{name} is {kind}, which is not read as class ids; {_WRITE_AGAIN}")
    if any((plane_of(frame, index) != _NO_COLOUR).any() for index in (1, 2)):
        raise InputError(f"{name} has colour ({kind}), so it is no mask; {_WRITE_AGAIN}")
    if not kind.startswith("yuvj") and frame.color_range != FULL_RANGE:
        raise InputError(
            f"{name} ({kind}) is not marked as full range, so ids may have been squeezed to "
            f"16..235; store gray, or {_WRITE_AGAIN}"
        )

    return plane_of(frame, 0)
