"""Every lossless output gives back exactly the ids that went in, at any size and width of id."""

from __future__ import annotations

import io
import shutil
import subprocess
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from vidparse.errors import OutputError
from vidparse.frame import Frame, VideoInfo
from vidparse.image import ColourTags, Rgb
from vidparse.labels import Labels, load_labels
from vidparse.maps import Prediction, Segment, SegmentMap
from vidparse.sinks import SinkOptions
from vidparse.sinks.masks import ClassMasks, GrayMasks, MaskVideo
from vidparse.sinks.pictures import gray16_png, palette_png

CAMVID = load_labels("camvid")


def labels_of(count: int) -> Labels:
    colours = tuple((i * 7 % 256, i * 13 % 256, i // 256 * 40) for i in range(count))
    return Labels(f"of{count}", tuple(f"class {i}" for i in range(count)), colours, frozenset())


def video_info(size_hw: tuple[int, int]) -> VideoInfo:
    return VideoInfo(
        name="clip.mp4",
        size_hw=size_hw,
        time_base=Fraction(1, 30000),
        rate=Fraction(30000, 1001),
        frames=None,
        duration_s=None,
        sample_aspect_ratio=Fraction(1),
        colour=ColourTags(),
    )


def run(sink, labels: Labels, maps: list[np.ndarray], names: list[str] | None = None) -> None:
    sink.open(video_info(maps[0].shape), labels)
    picture = Rgb(np.zeros((*maps[0].shape, 3), np.uint8))
    for i, ids in enumerate(maps):
        frame = Frame(i, i * 1001, picture, name=names[i] if names else None)
        sink.write(frame, Prediction(i, SegmentMap(ids), labels))
    sink.close(keep=True)


def decode(source, name: str | None = None) -> list[np.ndarray]:
    """Planes as FFmpeg's decoders give them: indices of a palette, samples of gray."""
    with av.open(source, format=name) as container:
        frames = list(container.decode(video=0))
    planes = [frame.to_ndarray() for frame in frames]
    return [plane[0] if isinstance(plane, tuple) else plane for plane in planes]


sizes = st.tuples(st.integers(1, 19), st.integers(1, 23))


@settings(max_examples=60, deadline=None)
@given(arrays.arrays(np.uint8, sizes))
def test_palette_png_keeps_every_id(ids):
    palette = np.arange(768, dtype=np.uint8).reshape(256, 3)
    (decoded,) = decode(io.BytesIO(palette_png(ids, palette)), "png_pipe")
    np.testing.assert_array_equal(decoded, ids)


@settings(max_examples=60, deadline=None)
@given(arrays.arrays(np.uint16, sizes))
def test_gray16_png_keeps_every_id(ids):
    decoded = cv2.imdecode(np.frombuffer(gray16_png(ids), np.uint8), cv2.IMREAD_UNCHANGED)
    assert decoded.dtype == np.uint16
    np.testing.assert_array_equal(decoded.reshape(ids.shape), ids)


def test_other_programs_see_the_same_ids_and_colours():
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    random = np.random.default_rng(1)
    ids = random.integers(0, 256, (37, 53), dtype=np.uint8)
    palette = random.integers(0, 256, (256, 3), dtype=np.uint8)
    data = palette_png(ids, palette)
    opened = image.open(io.BytesIO(data))
    assert opened.mode == "P"
    np.testing.assert_array_equal(np.asarray(opened), ids)
    np.testing.assert_array_equal(np.asarray(opened.convert("RGB")), palette[ids])
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(bgr[..., ::-1], palette[ids])
    wide = random.integers(0, 65536, (37, 53), dtype=np.uint16)
    np.testing.assert_array_equal(np.asarray(image.open(io.BytesIO(gray16_png(wide)))), wide)


def test_png_refuses_ids_that_would_wrap():
    with pytest.raises(TypeError, match="uint8"):
        palette_png(np.zeros((2, 2), np.uint16), np.zeros((256, 3), np.uint8))
    with pytest.raises(TypeError, match="uint16"):
        gray16_png(np.zeros((2, 2), np.int32))


def id_maps(count: int, void: int) -> st.SearchStrategy[np.ndarray]:
    values = st.one_of(st.integers(0, count - 1), st.just(void))
    types = st.sampled_from(
        [np.uint8, np.uint16, np.int32] if void == 255 else [np.uint16, np.int32]
    )
    return types.flatmap(lambda dtype: arrays.arrays(dtype, sizes, elements=values))


@settings(max_examples=25, deadline=None)
@given(st.data(), st.sampled_from([11, 255, 256, 300, 5000]), st.booleans())
def test_raw_pipe_and_mask_video_keep_every_id(data, count, as_video):
    labels = labels_of(count)
    ids = data.draw(id_maps(count, labels.void))
    stdout = io.BytesIO()
    if as_video:
        run(MaskVideo(stdout, SinkOptions()), labels, [ids, ids[::-1].copy()])
        first, second = decode(io.BytesIO(stdout.getvalue()), "matroska")
    else:
        run(ClassMasks(stdout, SinkOptions(pipe_format="raw")), labels, [ids, ids[::-1].copy()])
        dtype = "u1" if count <= 255 else "<u2"
        first, second = np.frombuffer(stdout.getvalue(), dtype).reshape(2, *ids.shape)
    np.testing.assert_array_equal(first, ids)
    np.testing.assert_array_equal(second, ids[::-1])


@settings(max_examples=25, deadline=None)
@given(id_maps(255, 255))
def test_y4m_pipe_keeps_every_id(ids):
    stdout = io.BytesIO()
    run(ClassMasks(stdout, SinkOptions()), labels_of(255), [ids])
    (decoded,) = decode(io.BytesIO(stdout.getvalue()), "yuv4mpegpipe")
    np.testing.assert_array_equal(decoded, ids)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg program here")
@pytest.mark.parametrize("kind", ["y4m", "matroska", "png"])
def test_ffmpeg_reads_the_same_ids(tmp_path, kind):
    ids = np.random.default_rng(5).choice([0, 1, 10, 127, 254, 255], (35, 47)).astype(np.uint8)
    labels = labels_of(255)
    if kind == "png":
        run(ClassMasks(tmp_path / "m", SinkOptions()), labels, [ids])
        given_input, data = ["-i", str(tmp_path / "m" / "000000.png")], b""
        pixel_format = "pal8"
    else:
        stdout = io.BytesIO()
        run((ClassMasks if kind == "y4m" else MaskVideo)(stdout, SinkOptions()), labels, [ids])
        given_input, data = ["-i", "-"], stdout.getvalue()
        pixel_format = "gray"
    command = ["ffmpeg", "-v", "error", *given_input, "-f", "rawvideo", "-pix_fmt", pixel_format]
    done = subprocess.run([*command, "-"], input=data, capture_output=True, check=True)
    pixels = np.frombuffer(done.stdout, np.uint8)[: ids.size]  # a palette may follow
    np.testing.assert_array_equal(pixels.reshape(ids.shape), ids)


def test_folder_has_one_palette_png_a_frame(tmp_path):
    random = np.random.default_rng(0)
    maps = [random.choice([0, 3, 8, 10, 255], (9, 14)).astype(np.uint8) for _ in range(3)]
    run(ClassMasks(tmp_path / "clip.masks", SinkOptions()), CAMVID, maps)
    files = sorted((tmp_path / "clip.masks").iterdir())
    assert [file.name for file in files] == ["000000.png", "000001.png", "000002.png"]
    for file, ids in zip(files, maps, strict=True):
        (decoded,) = decode(str(file))
        np.testing.assert_array_equal(decoded, ids)
        colours = cv2.imread(str(file))[..., ::-1]
        np.testing.assert_array_equal(colours, CAMVID.palette()[ids])


def test_folder_of_a_large_label_set_is_16_bit(tmp_path):
    labels = labels_of(300)
    ids = np.array([[0, 255, 256], [299, 44, 65535]], np.uint16)
    run(ClassMasks(tmp_path / "m", SinkOptions()), labels, [ids])
    stored = cv2.imread(str(tmp_path / "m" / "000000.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(stored, ids)


def test_pictures_of_a_folder_lend_their_names(tmp_path):
    ids = np.zeros((2, 2), np.uint8)
    run(ClassMasks(tmp_path / "m", SinkOptions()), CAMVID, [ids, ids], names=["b_007", "a"])
    assert sorted(file.name for file in (tmp_path / "m").iterdir()) == ["a.png", "b_007.png"]
    with pytest.raises(OutputError, match="two pictures are called 'a'"):
        run(ClassMasks(tmp_path / "n", SinkOptions()), CAMVID, [ids, ids], names=["a", "a"])


def test_mask_video_keeps_times(tmp_path):
    target = tmp_path / "clip.masks.mkv"
    maps = [np.full((6, 10), i % 11, np.uint8) for i in range(5)]
    run(MaskVideo(target, SinkOptions()), CAMVID, maps)
    with av.open(str(target)) as container:
        assert container.streams.video[0].codec_context.name == "ffv1"
        times = [frame.time for frame in container.decode(video=0)]
    assert times == pytest.approx([i * 1001 / 30000 for i in range(5)], abs=0.0006)
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


@pytest.mark.parametrize("ending", [".mkv", ".nut"])
@pytest.mark.parametrize("count", [11, 300])
def test_mask_video_is_exact_in_every_container(tmp_path, ending, count):
    labels = labels_of(count)
    random = np.random.default_rng(count)
    maps = [random.integers(0, count, (33, 47)).astype(labels.dtype) for _ in range(3)]
    maps[1][:5] = labels.void
    target = tmp_path / f"m{ending}"
    run(MaskVideo(target, SinkOptions()), labels, maps)
    for decoded, ids in zip(decode(str(target)), maps, strict=True):
        np.testing.assert_array_equal(decoded, ids)


def test_y4m_refuses_more_classes_than_a_byte_holds():
    sink = ClassMasks(io.BytesIO(), SinkOptions())
    with pytest.raises(OutputError, match="--pipe raw"):
        sink.open(video_info((4, 4)), labels_of(256))
    sink.close(keep=False)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
@pytest.mark.parametrize("wrong", [11, 256, 258, 300])
def test_ids_outside_the_label_set_are_refused_not_wrapped(tmp_path, dtype, wrong):
    ids = np.zeros((4, 4), dtype)
    ids[2, 3] = wrong
    sink = ClassMasks(tmp_path / "m", SinkOptions())
    with pytest.raises(OutputError, match=f"id {wrong}"):
        run(sink, CAMVID, [ids])
    sink.close(keep=True)


def test_panoptic_ids_become_class_ids():
    ids = np.array([[0, 70001], [70002, 80000]], np.int32)
    segments = (
        Segment(70001, 8, True, 0.5, 1, (1, 0, 1, 1)),
        Segment(70002, 3, False, 0.5, 1, (0, 1, 1, 1)),
    )
    shown = SegmentMap(ids, segments).class_map(CAMVID)
    assert shown.dtype == np.uint8
    assert shown.tolist() == [[255, 8], [3, 255]]
    assert SegmentMap(ids, ()).class_map(CAMVID).tolist() == [[255, 255], [255, 255]]


@pytest.mark.parametrize(("classes", "dtype"), [(11, np.uint8), (255, np.uint8), (300, np.uint16)])
def test_gray_masks_are_ids_for_every_reader(tmp_path, classes, dtype) -> None:
    """OpenCV, which turns the palettes of the usual masks into colours, reads ids from these."""
    labels = labels_of(classes)
    ids = (np.arange(48 * 64).reshape(48, 64) % classes).astype(dtype)
    ids[0] = labels.void
    frame = Frame(7, 7, Rgb(np.zeros((48, 64, 3), np.uint8)))
    for sink in (
        GrayMasks(tmp_path / "gray", SinkOptions()),
        ClassMasks(tmp_path / "m", SinkOptions()),
    ):
        sink.open(video_info((48, 64)), labels)
        sink.write(frame, Prediction(7, SegmentMap(ids), labels))
        sink.close(keep=True)
    read = cv2.imread(str(tmp_path / "gray/000007.png"), cv2.IMREAD_UNCHANGED)
    assert (read.dtype, read.shape) == (dtype, (48, 64))
    np.testing.assert_array_equal(read, ids)
    usual = cv2.imread(str(tmp_path / "m/000007.png"), cv2.IMREAD_UNCHANGED)
    assert usual.ndim == (3 if dtype == np.uint8 else 2)  # what README warns of
