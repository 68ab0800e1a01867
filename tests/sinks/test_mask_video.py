"""Masks come out of a lossless video as they went in, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from vidparse.errors import InputError, TruncatedError
from vidparse.frame import Frame, VideoInfo
from vidparse.image import ColourTags, Rgb
from vidparse.labels import Labels
from vidparse.maps import Prediction, SegmentMap
from vidparse.sinks import SinkOptions
from vidparse.sinks.masks import ClassMasks, MaskVideo
from vidparse.video import read_mask_video


def labels_of(count: int) -> Labels:
    names = tuple(f"class {i}" for i in range(count))
    return Labels(f"of{count}", names, ((9, 9, 9),) * count, frozenset())


def write(sink: Any, labels: Labels, maps: list[np.ndarray]) -> None:
    info = VideoInfo(
        name="clip.mp4",
        size_hw=maps[0].shape,
        time_base=Fraction(1, 25),
        rate=Fraction(25),
        frames=None,
        duration_s=None,
        sample_aspect_ratio=Fraction(1),
        colour=ColourTags(),
    )
    sink.open(info, labels)
    picture = Rgb(np.zeros((*maps[0].shape, 3), np.uint8))
    for i, ids in enumerate(maps):
        sink.write(Frame(i, i, picture), Prediction(i, SegmentMap(ids), labels))
    sink.close(keep=True)


def blocks(
    count: int, *, frames: int = 12, size_hw: tuple[int, int] = (96, 128)
) -> list[np.ndarray]:
    """Random class maps of 8 x 8 blocks, with some void."""
    random = np.random.default_rng(count)
    labels = labels_of(count)
    height, width = size_hw
    maps = []
    for _ in range(frames):
        small = random.integers(0, count, (-(-height // 8), -(-width // 8))).astype(labels.dtype)
        small[0, 0] = labels.void
        maps.append(small.repeat(8, 0).repeat(8, 1)[:height, :width])
    return maps


def encode(
    path: Path, planes: list[np.ndarray], codec: str, pixel_format: str, **wishes: Any
) -> Path:
    """The planes through an encoder, as `from_ndarray` takes them."""
    with av.open(str(path), "w", format=wishes.get("container")) as output:
        stream = output.add_stream(codec, rate=25, options=wishes.get("options"))
        context: Any = stream.codec_context
        first = av.VideoFrame.from_ndarray(planes[0], format=pixel_format)
        context.width, context.height = first.width, first.height
        context.pix_fmt = pixel_format
        context.color_range = wishes.get("range", 0)
        if "turn" in wishes:
            stream.set_display_rotation(wishes["turn"])
        for i, plane in enumerate(planes):
            frame = av.VideoFrame.from_ndarray(plane, format=pixel_format)
            frame.pts = i
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def taken(path: Path) -> tuple[list[np.ndarray], InputError | None]:
    """Masks, and the error that ended them."""
    masks = []
    try:
        for ids in read_mask_video(path):
            masks.append(ids)  # noqa: PERF402
    except InputError as error:
        return masks, error
    return masks, None


def assert_equal(masks: list[np.ndarray], maps: list[np.ndarray]) -> None:
    assert len(masks) == len(maps)
    for ids, expected in zip(masks, maps, strict=True):
        assert ids.dtype == expected.dtype
        np.testing.assert_array_equal(ids, expected)


@pytest.mark.parametrize("ending", [".mkv", ".nut"])
@pytest.mark.parametrize("count", [124, 300])
@pytest.mark.parametrize("size_hw", [(96, 128), (33, 47)])
def test_our_own_come_back_exactly(tmp_path, ending, count, size_hw):
    maps = blocks(count, size_hw=size_hw)
    path = tmp_path / f"m{ending}"
    write(MaskVideo(path, SinkOptions()), labels_of(count), maps)
    assert_equal(list(read_mask_video(path)), maps)


def test_y4m_of_the_masks_output_comes_back_exactly(tmp_path):
    maps = blocks(124, frames=3)
    path = tmp_path / "m.y4m"
    with path.open("wb") as file:
        write(ClassMasks(file, SinkOptions()), labels_of(124), maps)
    assert_equal(list(read_mask_video(path)), maps)


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format", "dtype"),
    [
        ("m.mov", "png", "gray", np.uint8),
        ("m.mov", "png", "gray16be", np.uint16),
        ("m.avi", "ffvhuff", "gray", np.uint8),
        ("m.nut", "rawvideo", "gray", np.uint8),
        ("m.mkv", "ffv1", "gray16le", np.uint16),
    ],
)
def test_what_other_tools_write_comes_back_exactly(tmp_path, name, codec, pixel_format, dtype):
    maps = [ids.astype(dtype) for ids in blocks(250 if dtype == np.uint8 else 5000, frames=3)]
    path = encode(tmp_path / name, maps, codec, pixel_format)
    assert_equal(list(read_mask_video(path)), maps)


def test_masks_stand_upright_like_the_pictures_of_such_a_video(tmp_path):
    (ids,) = blocks(9, frames=1)
    path = encode(tmp_path / "m.mov", [ids], "png", "gray", turn=90)
    assert_equal(list(read_mask_video(path)), [np.rot90(ids)])


def grey_yuv(ids: np.ndarray) -> np.ndarray:
    """yuv420p as `from_ndarray` takes it: luma, then chroma of no colour."""
    return np.concatenate([ids, np.full((ids.shape[0] // 2, ids.shape[1]), 128, np.uint8)])


def test_luma_of_full_range_is_read_and_limited_range_is_not(tmp_path):
    maps = blocks(200, frames=2)
    planes = [grey_yuv(ids) for ids in maps]
    full = encode(tmp_path / "full.mkv", planes, "ffv1", "yuv420p", range=2)
    assert_equal(list(read_mask_video(full)), maps)
    for spread in (0, 1):
        path = encode(tmp_path / f"limited{spread}.mkv", planes, "ffv1", "yuv420p", range=spread)
        with pytest.raises(InputError, match=rf"limited{spread}\.mkv.*full range.*16\.\.235"):
            next(read_mask_video(path))


def test_colour_is_refused(tmp_path):
    plane = grey_yuv(blocks(9, frames=1)[0])
    plane[-1, -1] = 129
    path = encode(tmp_path / "tint.mkv", [plane], "ffv1", "yuv420p", range=2)
    with pytest.raises(InputError, match=r"tint\.mkv: frame 0 has colour"):
        next(read_mask_video(path))
    rgb = np.zeros((96, 128, 3), np.uint8)
    path = encode(tmp_path / "rgb.mov", [rgb], "png", "rgb24")
    with pytest.raises(InputError, match=r"rgb\.mov: frame 0 holds colours \(rgb24\)"):
        next(read_mask_video(path))


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format", "why"),
    [
        ("m.mp4", "libx264", "yuv420p", r"H\.264 is lossy: ids between classes would be made up"),
        ("m.avi", "mjpeg", "yuvj420p", "Motion JPEG is lossy"),
        ("m.mkv", "jpeg2000", "gray", "jpeg2000 can be lossy"),
    ],
)
def test_lossy_codecs_are_refused(tmp_path, name, codec, pixel_format, why):
    ids = blocks(9, frames=1)[0]
    plane = ids if pixel_format == "gray" else grey_yuv(ids)
    path = encode(tmp_path / name, [plane], codec, pixel_format)
    with pytest.raises(InputError, match=rf"{name}: {why}.*--save mask-video"):
        next(read_mask_video(path))


def test_what_is_no_video_is_refused(tmp_path):
    for name, content in (("missing.mkv", None), ("empty.mkv", b""), ("noise.mkv", b"x" * 999)):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            next(read_mask_video(tmp_path / name))


@pytest.fixture(params=[".mkv", ".nut"])
def stored(request: Any, tmp_path: Path) -> tuple[Path, list[np.ndarray]]:
    maps = blocks(124)
    path = tmp_path / f"m{request.param}"
    write(MaskVideo(path, SinkOptions()), labels_of(124), maps)
    return path, maps


def packet_ends(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        return [p.pos + p.size for p in container.demux(video=0) if p.size and p.pos is not None]


@pytest.mark.parametrize("cut", [lambda ends: ends[7] - 40, lambda ends: ends[7]])
def test_a_cut_file_gives_its_good_masks_and_an_error(
    stored: tuple[Path, list[np.ndarray]], cut: Callable[[list[int]], int]
) -> None:
    path, maps = stored
    path.write_bytes(path.read_bytes()[: cut(packet_ends(path))])
    masks, error = taken(path)
    assert isinstance(error, TruncatedError)
    assert str(path) in str(error) and f"after {len(masks)} masks" in str(error)
    assert 6 <= len(masks) <= 8
    assert_equal(masks, maps[: len(masks)])


def test_damage_never_becomes_a_wrong_mask(stored):
    """FFmpeg itself would fill a damaged part in from the mask before."""
    path, maps = stored
    whole = path.read_bytes()
    ends = packet_ends(path)
    random = np.random.default_rng(3)
    for place in random.integers(ends[0], ends[-2], 25).tolist():
        damaged = bytearray(whole)
        damaged[place] ^= 0x55
        path.write_bytes(damaged)
        masks, error = taken(path)
        assert_equal(masks, maps[: len(masks)])
        assert error is not None or len(masks) == len(maps)  # a header's padding may be hit
        assert error is None or str(path) in str(error)


def test_the_file_is_closed_with_the_iterator(stored):
    path, maps = stored
    open_files = Path("/proc/self/fd")
    if not open_files.is_dir():
        pytest.skip("no /proc here")

    def is_open() -> bool:
        return any(link.resolve() == path for link in open_files.iterdir())

    masks = read_mask_video(path)
    np.testing.assert_array_equal(next(masks), maps[0])
    assert is_open()
    masks.close()
    assert not is_open()
