"""The overlay is the blend an RGB painter would make, drawn on planes; void keeps the picture."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from vidparse.errors import OutputError, UsageError
from vidparse.frame import Frame, VideoInfo
from vidparse.image import BT601_525, BT709, ColourTags, Rgb, Yuv420, rgb_to_yuv_matrix
from vidparse.labels import Labels, load_labels
from vidparse.labels.colours import class_colours, drawn_colours
from vidparse.labels.vision import least_differences
from vidparse.maps import Prediction, Segment, SegmentMap
from vidparse.sinks import SinkOptions
from vidparse.sinks.legend import Legend, render_legend
from vidparse.sinks.overlay import Overlay, Painter, region_edges
from vidparse.video import open_video

CAMVID = load_labels("camvid")
COLOURS = drawn_colours(CAMVID, None)


def predicted(
    index: int, ids: np.ndarray, segments: tuple[Segment, ...] | None = None
) -> Prediction:
    return Prediction(index, SegmentMap(ids, segments), CAMVID)


def video_info(size_hw: tuple[int, int], **changes: object) -> VideoInfo:
    fields = {
        "name": "clip.mp4",
        "size_hw": size_hw,
        "time_base": Fraction(1, 12800),
        "rate": Fraction(25),
        "frames": None,
        "duration_s": None,
        "sample_aspect_ratio": Fraction(1),
        "colour": ColourTags(),
    }
    return VideoInfo(**{**fields, **changes})


def scene(size_hw: tuple[int, int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A smooth colourful picture, and class ids in blobs with some void."""
    height, width = size_hw
    random = np.random.default_rng(seed)
    coarse = random.integers(30, 225, (6, 8, 3), dtype=np.uint8)
    picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    blobs = random.integers(0, 12, (5, 7), dtype=np.uint8)
    ids = cv2.resize(blobs, (width, height), interpolation=cv2.INTER_NEAREST)
    ids[ids == 11] = CAMVID.void
    return picture, ids


def ideal_blend(base: np.ndarray, ids: np.ndarray, opacity: float) -> np.ndarray:
    table = np.zeros((256, 3))
    table[: len(COLOURS)] = COLOURS
    alpha = np.where(ids == CAMVID.void, 0.0, opacity)[..., None]
    return base * (1 - alpha) + table[ids] * alpha


def psnr_db(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2)))


@pytest.mark.parametrize("full_range", [False, True])
def test_a_painted_frame_looks_like_an_rgb_blend(full_range):
    picture, ids = scene((720, 1280))
    image = Rgb(picture).yuv420(BT709, full_range)
    painted = Painter(CAMVID, COLOURS).paint(image, predicted(0, ids))
    assert psnr_db(painted.rgb(), ideal_blend(image.rgb(), ids, 0.5)) > 40


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", [BT601_525, BT709, 9])
@pytest.mark.parametrize("size_hw", [(90, 120), (45, 61), (44, 61), (1, 1)])
def test_planes_are_those_of_the_rgb_blend(size_hw, matrix, full_range):
    picture, ids = scene(size_hw)
    image = Rgb(picture).yuv420(matrix, full_range)
    painted = Painter(CAMVID, COLOURS, opacity=0.6).paint(image, predicted(0, ids))
    # blended in exact arithmetic: RGB -> YUV is affine, so mixing in either space is the same
    table = np.zeros((256, 3), np.uint8)
    table[: len(COLOURS)] = COLOURS
    colour = Rgb(table[None]).yuv420(matrix, full_range).y[0][ids]
    alpha = np.where(ids == CAMVID.void, 0.0, 0.6)
    assert np.abs(painted.y - (image.y * (1 - alpha) + colour * alpha)).max() <= 1
    even = np.zeros((size_hw[0] + 1, size_hw[1] + 1), np.uint8)
    even[: size_hw[0], : size_hw[1]] = ids
    height, width = painted.u.shape
    assert (height, width) == ((size_hw[0] + 1) // 2, (size_hw[1] + 1) // 2)
    chroma = rgb_to_yuv_matrix(matrix, full_range)
    flat = np.ascontiguousarray(even[: 2 * height : 2, : 2 * width : 2])
    alpha = np.where(flat == CAMVID.void, 0.0, 0.6)
    for row, before, after in ((1, image.u, painted.u), (2, image.v, painted.v)):
        colour = table[flat] @ chroma[row, :3] + chroma[row, 3]
        assert np.abs(after - (before * (1 - alpha) + colour * alpha)).max() <= 1


def test_void_pixels_and_the_input_picture_stay_untouched():
    picture, ids = scene((64, 96))
    image = Rgb(picture).yuv420(BT709, False)
    before = [plane.copy() for plane in (image.y, image.u, image.v)]
    painted = Painter(CAMVID, COLOURS, contours=True).paint(image, predicted(0, ids))
    void = ids == CAMVID.void
    assert void.any()
    np.testing.assert_array_equal(painted.y[void], image.y[void])
    assert np.abs(painted.y[~void].astype(int) - image.y[~void]).mean() > 5
    for plane, copy in zip((image.y, image.u, image.v), before, strict=True):
        np.testing.assert_array_equal(plane, copy)


def test_opacity_nought_is_the_picture_and_one_is_the_flat_colour():
    picture, _ = scene((48, 64))
    ids = np.full((48, 64), 3, np.uint8)
    image = Rgb(picture).yuv420(BT709, True)
    clear = Painter(CAMVID, COLOURS, opacity=0.0).paint(image, predicted(0, ids))
    np.testing.assert_array_equal(clear.y, image.y)
    np.testing.assert_array_equal(clear.v, image.v)
    solid = Painter(CAMVID, COLOURS, opacity=1.0).paint(image, predicted(0, ids)).rgb()
    assert np.abs(solid.astype(int) - COLOURS[3]).max() <= 3


def test_limited_range_keeps_black_and_white_inside_16_to_235():
    labels = Labels("bw", ("black", "white"), ((0, 0, 0), (255, 255, 255)), frozenset())
    ids = np.repeat(np.array([[0, 1]], np.uint8), 4, axis=1).repeat(8, axis=0)
    for full_range, expected in ((False, (16, 235)), (True, (0, 255))):
        image = Rgb(np.full((8, 8, 3), 90, np.uint8)).yuv420(BT709, full_range)
        painter = Painter(labels, class_colours(labels, None), opacity=1.0)
        painted = painter.paint(image, predicted(0, ids))
        assert (int(painted.y[0, 0]), int(painted.y[0, -1])) == expected
        assert set(np.unique(painted.u)) == {128}


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.int64])
def test_wide_integer_types_draw_the_same(dtype):
    picture, ids = scene((40, 56))
    image = Rgb(picture).yuv420(BT709, False)
    narrow = Painter(CAMVID, COLOURS).paint(image, predicted(0, ids))
    wide = Painter(CAMVID, COLOURS).paint(image, predicted(0, ids.astype(dtype)))
    np.testing.assert_array_equal(narrow.y, wide.y)
    np.testing.assert_array_equal(narrow.u, wide.u)


def test_class_ids_above_255_get_their_own_colour():
    colours = tuple((i % 256, i // 256 * 100, 60) for i in range(400))
    labels = Labels("many", tuple(f"c{i}" for i in range(400)), colours, frozenset())
    ids = np.full((16, 16), 44, np.uint16)
    ids[:, 8:] = 300  # 300 - 256 = 44: a byte would make them one
    ids[8:, 8:] = labels.void
    image = Rgb(np.full((16, 16, 3), 120, np.uint8)).yuv420(BT709, True)
    painter = Painter(labels, class_colours(labels, None), opacity=1.0)
    painted = painter.paint(image, Prediction(0, SegmentMap(ids), labels)).rgb().astype(int)
    assert np.abs(painted[2, 2] - colours[44]).max() <= 3
    assert np.abs(painted[2, 13] - colours[300]).max() <= 3
    assert np.abs(painted[13, 13] - 120).max() <= 2


def test_an_id_outside_the_label_set_is_refused():
    image = Rgb(np.zeros((8, 8, 3), np.uint8)).yuv420(BT709, True)
    ids = np.full((8, 8), 11, np.uint8)
    with pytest.raises(OutputError, match="id 11: neither one of the 11 classes"):
        Painter(CAMVID, COLOURS).paint(image, predicted(0, ids))


def test_things_of_one_class_differ_in_colour_and_keep_it_from_frame_to_frame():
    ids = np.zeros((16, 32), np.int32)
    ids[:, 8:16], ids[:, 16:24], ids[:, 24:] = 70001, 70002, 9
    segments = (
        Segment(70001, 8, True, 0.9, 128, (8, 0, 8, 16)),
        Segment(70002, 8, True, 0.9, 128, (16, 0, 8, 16)),
        Segment(9, 3, False, None, 128, (24, 0, 8, 16)),
    )
    image = Rgb(np.full((16, 32, 3), 100, np.uint8)).yuv420(BT709, True)
    painter = Painter(CAMVID, COLOURS, opacity=1.0)
    painted = painter.paint(image, predicted(0, ids, segments)).rgb().astype(int)
    assert np.abs(painted[8, 4] - 100).max() <= 2  # in no segment: untouched
    assert np.abs(painted[8, 12] - painted[8, 20]).max() > 10
    assert np.abs(painted[8, 28] - COLOURS[3]).max() <= 3
    again = painter.paint(image, predicted(1, ids, segments[::-1])).rgb()
    np.testing.assert_array_equal(again, painted)


def test_edges_lie_on_both_sides_of_a_border_and_never_in_void():
    ids = np.zeros((7, 8), np.uint8)
    ids[:, 4:] = 2
    ids[5:] = 255
    expected = np.zeros((7, 8), np.uint8)
    expected[:5, 3:5] = 255
    expected[4] = 255
    np.testing.assert_array_equal(region_edges(ids, 1), expected)
    wide = region_edges(ids, 2)
    assert (wide[:3, 2:6] == 255).all() and (wide[:3, :2] == 0).all() and (wide[5:] == 0).all()


def test_contours_change_only_pixels_near_borders():
    picture, ids = scene((60, 80))
    image = Rgb(picture).yuv420(BT709, False)
    plain = Painter(CAMVID, COLOURS).paint(image, predicted(0, ids))
    lined = Painter(CAMVID, COLOURS, contours=True).paint(image, predicted(0, ids))
    edges = region_edges(ids, 1) > 0
    np.testing.assert_array_equal(lined.y[~edges], plain.y[~edges])
    assert (lined.y[edges] != plain.y[edges]).mean() > 0.8


class TestLegend:
    def test_lists_what_is_in_view_and_forgets_it_only_after_a_while(self, monkeypatch):
        drawn = []

        def spy(entries, *args, **kwargs):
            drawn.append([name for name, _ in entries])
            return render_legend(entries, *args, **kwargs)

        monkeypatch.setattr("vidparse.sinks.legend.render_legend", spy)
        legend = Legend(CAMVID.classes, COLOURS)
        classes = np.full(256, -1)
        classes[:11] = np.arange(11)
        image = Rgb(np.full((240, 320, 3), 128, np.uint8)).yuv420(BT709, True)
        road = np.full((120, 160), 3, np.uint8)
        both = road.copy()
        both[40:80, 40:80] = 8
        for slots in [road, both, *[road] * 70]:
            legend.draw(image, slots, classes)
        # one rendering a change, though Car was gone after one frame
        assert drawn == [["Road"], ["Road", "Car"], ["Road"]]

    def test_only_requested_classes_are_listed(self, monkeypatch):
        drawn = []

        def spy(entries, *args, **kwargs):
            drawn.append([name for name, _ in entries])
            return render_legend(entries, *args, **kwargs)

        monkeypatch.setattr("vidparse.sinks.legend.render_legend", spy)
        legend = Legend(CAMVID.classes, COLOURS, only=(8,))
        classes = np.arange(256)
        image = Rgb(np.full((240, 320, 3), 128, np.uint8)).yuv420(BT709, True)
        slots = np.full((120, 160), 3, np.uint8)
        slots[:60] = 8
        legend.draw(image, slots, classes)
        assert drawn == [["Car"]]

    @pytest.mark.parametrize("size_hw", [(1080, 1920), (240, 320), (121, 97), (24, 32), (2, 2)])
    def test_fits_every_picture_and_shows_the_swatch_colour(self, size_hw):
        picture = np.full((*size_hw, 3), 128, np.uint8)
        image = Rgb(picture).yuv420(BT709, True)
        colours = np.tile(np.array([[250, 30, 20]], np.uint8), (11, 1))
        legend = Legend(CAMVID.classes, colours)
        slots = np.tile(np.arange(11, dtype=np.uint8), (image.u.shape[0] + 4, 12))
        legend.draw(image, slots, np.arange(256))
        shown = image.rgb().astype(int)
        assert shown.shape == picture.shape
        if size_hw[0] >= 120:
            distance = np.abs(shown - [250, 30, 20]).max(axis=2)
            assert (distance < 25).sum() > 20
        if size_hw[0] >= 240:
            bottom_right = shown[size_hw[0] // 2 :, size_hw[1] // 2 + 8 :]
            assert np.abs(bottom_right - 128).max() <= 1

    def test_names_beyond_the_room_are_counted(self):
        entries = [(f"class {i}", np.array([255, 0, 0])) for i in range(100)]
        rgb, alpha = render_legend(entries, 12, max_height=200, max_width=400)
        assert rgb.shape[0] <= 200 and rgb.shape[1] <= 400
        assert rgb.shape[:2] == alpha.shape and rgb.shape[0] % 2 == 0 and rgb.shape[1] % 2 == 0

    def test_pillows_font_stands_in_where_opencv_has_none(self, monkeypatch):
        monkeypatch.delattr(cv2, "FontFace", raising=False)
        entries = [("Pedestrian", np.array([255, 0, 0]))]
        rgb, alpha = render_legend(entries, 20, max_height=200, max_width=400)
        white = (rgb.min(axis=2) > 150) & (alpha > 150)
        assert white.sum() > 100  # letters were drawn


class TestPalette:
    def test_names_of_another_label_set_follow_the_class_not_the_id(self):
        labels = Labels("two", ("car", "sky"), ((1, 2, 3), (4, 5, 6)), frozenset())
        colours = class_colours(labels, "camvid")
        assert colours.tolist() == [[64, 0, 128], [128, 128, 128]]

    def test_distinct_colours_are_far_apart(self):
        labels = Labels("many", tuple(map(str, range(20))), ((9, 9, 9),) * 20, frozenset())
        assert min(least_differences(class_colours(labels, "distinct"))) > 9  # CIEDE2000

    def test_files(self, tmp_path):
        rows = tmp_path / "rows.txt"
        rows.write_text("# r g b\n" + "\n".join(f"{i} {i}, 9" for i in range(11)))
        assert class_colours(CAMVID, str(rows))[4].tolist() == [4, 4, 9]
        listed = tmp_path / "list.json"
        listed.write_text(json.dumps([[i, 0, 0] for i in range(12)]))
        assert class_colours(CAMVID, str(listed)).shape == (11, 3)
        named = tmp_path / "named.json"
        named.write_text(json.dumps({"Car": [1, 2, 3]}))
        assert class_colours(CAMVID, str(named))[8].tolist() == [1, 2, 3]
        assert class_colours(CAMVID, str(named))[0].tolist() == [128, 128, 128]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("1 2 3\n", "1 colour for 11 classes"),
            ("red green blue\n", "not a list of colours"),
            ("300 0 0\n" * 11, "values must be 0 to 255"),
        ],
    )
    def test_wrong_files_say_what_is_wrong(self, tmp_path, content, message):
        path = tmp_path / "p.txt"
        path.write_text(content)
        with pytest.raises(UsageError, match=message):
            class_colours(CAMVID, str(path))

    def test_unknown_palette_lists_the_known(self):
        with pytest.raises(
            UsageError, match="try published, apart, distinct, 300vw, ade20k, camvid"
        ):
            class_colours(CAMVID, "rainbow")
        with pytest.raises(UsageError, match="No such file"):
            class_colours(CAMVID, "missing.json")


def frames_of(count: int, size_hw: tuple[int, int]) -> list[tuple[Frame, Prediction]]:
    pairs = []
    pts = 0
    for i in range(count):
        picture, ids = scene(size_hw, seed=i)
        pairs.append((Frame(i, pts, Rgb(picture)), predicted(i, ids)))
        pts += 512 + 37 * (i % 3)  # variable frame rate
    return pairs


def run_overlay(target, options, pairs, info) -> Overlay:
    sink = Overlay(target, options)
    sink.open(info, CAMVID)
    for frame, prediction in pairs:
        sink.write(frame, prediction)
    sink.close(keep=True)
    return sink


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".mov"])
def test_file_holds_every_frame_at_its_own_time(tmp_path, ending):
    target = tmp_path / f"out{ending}"
    pairs = frames_of(9, (72, 96))
    info = video_info((72, 96), rate=None)
    run_overlay(target, SinkOptions(crf=10), pairs, info)
    assert [path.name for path in tmp_path.iterdir()] == [target.name]
    with av.open(str(target)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        decoded = list(container.decode(stream))
        base = stream.time_base
    slack = Fraction(1, 2000) if ending == ".mkv" else 0  # matroska counts in milliseconds
    for picture, (frame, prediction) in zip(decoded, pairs, strict=True):
        assert abs(picture.pts * base - frame.pts * info.time_base) <= slack
        planes = Rgb(frame.image.rgb()).yuv420(BT601_525, False)
        shown = Painter(CAMVID, COLOURS).paint(planes, prediction)
        luma = picture.to_ndarray()[:72]
        assert psnr_db(luma, shown.y) > 38


def test_y4m_on_stdout_is_the_painted_planes(tmp_path):
    pairs = frames_of(3, (35, 47))  # odd: chroma is rounded up
    info = video_info((35, 47), rate=Fraction(30000, 1001), sample_aspect_ratio=Fraction(4, 3))
    stdout = io.BytesIO()
    run_overlay(stdout, SinkOptions(), pairs, info)
    data = stdout.getvalue()
    header, rest = data.split(b"\n", 1)
    expected = b"YUV4MPEG2 W47 H35 F30000:1001 Ip A4:3 C420jpeg"
    assert header == expected
    frame_size = len(b"FRAME\n") + 35 * 47 + 2 * 18 * 24
    assert len(rest) == 3 * frame_size
    file = tmp_path / "pipe.y4m"
    file.write_bytes(data)
    with av.open(str(file)) as container:
        decoded = [frame.to_ndarray(format="gray8") for frame in container.decode(video=0)]
        assert container.streams.video[0].average_rate == Fraction(30000, 1001)
    assert len(decoded) == 3
    planes = pairs[1][0].image.yuv420(BT601_525, False)
    painted = Painter(CAMVID, COLOURS).paint(planes, pairs[1][1])
    second = rest[frame_size + 6 : frame_size + 6 + 35 * 47]
    assert second == painted.y.tobytes()


def test_y4m_of_a_variable_rate_notes_that_times_are_lost():
    info = video_info((16, 16), rate=None, frames=100, duration_s=5.0)
    sink = run_overlay(io.BytesIO(), SinkOptions(), frames_of(1, (16, 16)), info)
    assert any("no timestamps" in note and "20 frames" in note for note in sink.notes)


def test_raw_on_stdout_is_bare_rgb():
    pairs = frames_of(2, (24, 32))
    stdout = io.BytesIO()
    run_overlay(stdout, SinkOptions(pipe_format="raw"), pairs, video_info((24, 32)))
    shown = np.frombuffer(stdout.getvalue(), np.uint8).reshape(2, 24, 32, 3)
    planes = pairs[1][0].image.yuv420(BT601_525, False)
    painted = Painter(CAMVID, COLOURS).paint(planes, pairs[1][1])
    np.testing.assert_array_equal(shown[1], painted.rgb())


@pytest.mark.parametrize("pipe_format", ["matroska", "nut"])
def test_containers_on_stdout_keep_the_times(pipe_format):
    pairs = frames_of(5, (48, 64))
    stdout = io.BytesIO()
    info = video_info((48, 64))
    run_overlay(stdout, SinkOptions(pipe_format=pipe_format), pairs, info)
    stdout.seek(0)
    with av.open(stdout) as container:
        assert pipe_format in container.format.name
        times = [frame.time for frame in container.decode(video=0)]
    expected = [float(frame.pts * info.time_base) for frame, _ in pairs]
    assert times == pytest.approx(expected, abs=0.0006)


@pytest.mark.parametrize("size_hw", [(35, 47), (36, 47), (35, 48)])
def test_odd_sizes_reach_the_file(tmp_path, size_hw):
    pairs = frames_of(2, size_hw)
    run_overlay(tmp_path / "odd.mp4", SinkOptions(crf=5), pairs, video_info(size_hw))
    with av.open(str(tmp_path / "odd.mp4")) as container:
        luma = next(container.decode(video=0)).to_ndarray(format="gray8")
    planes = pairs[0][0].image.yuv420(BT601_525, False)
    shown = Painter(CAMVID, COLOURS).paint(planes, pairs[0][1])
    full = np.rint((shown.y.astype(float) - 16) * 255 / 219)  # gray8 is full range
    assert psnr_db(luma[: size_hw[0], : size_hw[1]], full) > 32


def clip_with_sound(path) -> None:
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("aac", rate=8000)
        for i in range(10):
            picture = np.full((48, 64, 3), 20 * i, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            samples = np.sin(np.arange(320) * 0.3 + i).astype(np.float32)[None]
            block = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            block.sample_rate, block.pts = 8000, 320 * i
            container.mux(sound.encode(block))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))


def sound_of(path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


@pytest.mark.parametrize("audio", [True, False])
def test_sound_is_copied_unless_not_wanted(tmp_path, audio):
    clip, target = tmp_path / "clip.mp4", tmp_path / "out.mp4"
    clip_with_sound(clip)
    source = open_video(str(clip))
    sink = Overlay(target, SinkOptions(audio=audio))
    sink.open(source.info, CAMVID)
    for frame in source:
        sink.write(frame, predicted(frame.index, np.full((48, 64), 3, np.uint8)))
    sink.close(keep=True, packets=source.trailing_packets())
    source.close()
    with av.open(str(target)) as container:
        assert len(container.streams.audio) == audio
    if audio:
        assert sound_of(target) == sound_of(clip) != []


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg program here")
def test_ffmpeg_reads_the_y4m_pipe():
    pairs = frames_of(3, (36, 48))
    stdout = io.BytesIO()
    info = video_info((36, 48), sample_aspect_ratio=Fraction(4, 3), colour=ColourTags(range=2))
    run_overlay(stdout, SinkOptions(), pairs, info)
    command = ["ffmpeg", "-v", "error", "-f", "yuv4mpegpipe", "-i", "-"]
    raw = ["-f", "rawvideo", "-pix_fmt", "yuvj420p", "-"]
    done = subprocess.run(
        [*command, *raw], input=stdout.getvalue(), capture_output=True, check=True
    )
    expected = b""
    for frame, prediction in pairs:
        planes = frame.image.yuv420(BT601_525, True)
        shown = Painter(CAMVID, COLOURS).paint(planes, prediction)
        expected += shown.y.tobytes() + shown.u.tobytes() + shown.v.tobytes()
    assert done.stdout == expected


def test_yuv_frames_keep_their_own_matrix():
    picture, ids = scene((32, 48))
    image = Rgb(picture).yuv420(BT709, True)
    stdout = io.BytesIO()
    info = video_info((32, 48), colour=ColourTags(range=2))
    run_overlay(
        stdout,
        SinkOptions(opacity=0.0),
        [(Frame(0, 0, image), predicted(0, ids))],
        info,
    )
    assert b"XCOLORRANGE=FULL" in stdout.getvalue()
    assert stdout.getvalue().endswith(image.y.tobytes() + image.u.tobytes() + image.v.tobytes())
    assert isinstance(image, Yuv420)
