"""Picture files that hold several pictures are videos when they are named alone."""

from __future__ import annotations

import io
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from support.clips import picture
from vidparse.errors import InputError, TruncatedError
from vidparse.limits import allow_pixels
from vidparse.video import Input, RawPipe, Source, open_video

LASTS_MS = [100, 100, 300, 100, 100, 500]
TIMES_S = [0, 0.1, 0.2, 0.5, 0.6, 0.7]


@pytest.fixture
def animation(tmp_path):
    """`animation("a.webp")`: six pictures, shown for LASTS_MS; sizes (height, width) by number."""

    def make(name, sizes=None, **wishes):
        sizes = sizes or [(48, 64)] * 6
        pictures = [Image.fromarray(picture(i, size_hw)) for i, size_hw in enumerate(sizes)]
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        if not name.endswith("tif"):
            wishes["duration"] = LASTS_MS
        if name.endswith("webp"):
            wishes["lossless"] = True
        pictures[0].save(path, save_all=True, append_images=pictures[1:], **wishes)
        return path

    return make


@pytest.mark.parametrize("name", ["a.webp", "a.png", "a.gif"])
def test_animations_have_their_pictures_and_times(animation, name):
    with open_video(animation(name)) as source:
        frames = list(source)
    assert [frame.time_s for frame in frames] == TIMES_S
    assert source.notes == []
    shown = [frame.duration * source.info.time_base * 1000 for frame in frames]
    assert shown == LASTS_MS
    for number, frame in enumerate(frames if name != "a.gif" else ()):
        assert np.array_equal(frame.image.rgb(), picture(number))


@pytest.mark.parametrize("name", ["a.webp", "a.png"])
def test_a_range_of_an_animation(animation, name):
    path = animation(name)
    frames = list(open_video(path, start_s=0.15, end_s=0.65))
    assert [(frame.index, frame.time_s) for frame in frames] == [(2, 0.2), (3, 0.5), (4, 0.6)]
    assert frames[-1].duration * frames[-1].time_base == Fraction(5, 100)
    assert [frame.time_s for frame in open_video(path, stride=4)] == [0, 0.6]
    with pytest.raises(InputError, match="no frame between 5 s"):
        list(open_video(path, start_s=5))


@pytest.mark.parametrize("wishes", [{}, {"compression": "tiff_lzw"}, {"big_tiff": False}])
def test_the_pages_of_a_tiff_are_a_sequence(animation, wishes):
    source = open_video(animation("a.tif", **wishes), image_rate=Fraction(10))
    frames = list(source)
    assert [frame.time_s for frame in frames] == [0, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert [frame.name for frame in frames] == [f"a_{page:04d}" for page in range(1, 7)]
    assert (source.notes, source.skipped) == ([], 0)
    for number, frame in enumerate(frames):
        assert np.array_equal(frame.image.rgb(), picture(number))


def test_a_tiff_with_a_small_copy_of_its_picture_is_one_picture(animation):
    source = open_video(animation("a.tif", sizes=[(48, 64), (12, 16)]))
    (frame,) = source
    assert np.array_equal(frame.image.rgb(), picture(0))
    assert source.notes == ["a.tif holds several pictures, the first one is taken"]


def test_among_other_pictures_the_first_one_is_taken(animation, tmp_path):
    for name in ("in/a.webp", "in/b.png", "in/c.tif"):
        animation(name)
    Image.fromarray(picture(3)).save(tmp_path / "in" / "d.webp", lossless=True)
    source = open_video(tmp_path / "in")
    frames = list(source)
    assert [frame.name for frame in frames] == ["a", "b", "c", "d"]
    assert source.notes == [
        f"{name} holds several pictures, the first one is taken"
        for name in ("a.webp", "b.png", "c.tif")
    ]
    for frame, number in zip(frames, (0, 0, 0, 3), strict=True):
        assert np.array_equal(frame.image.rgb(), picture(number))


def test_an_animated_avif_is_a_video(animation):
    source = open_video(animation("a.avif", quality=90))
    assert len(list(source)) == 6
    assert source.notes == []


def test_a_cut_or_enormous_webp_is_named(animation):
    path = animation("a.webp")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 7 // 10])
    with pytest.raises(InputError) as caught:
        list(open_video(path))
    assert isinstance(caught.value, TruncatedError) or "damaged" in str(caught.value)
    path.write_bytes(data)
    allow_pixels(48 * 64 - 1)
    with pytest.raises(InputError, match="64x48 pixels are more than"):
        open_video(path)


@pytest.mark.parametrize("name", ["a.tif", "a.webp", "a.png"])
def test_damaged_animations_end_in_a_line(animation, name):
    path = animation(name)
    whole = path.read_bytes()
    random = np.random.default_rng(5)
    for _ in range(60):
        data = bytearray(whole)
        for place in random.integers(0, len(data), 4).tolist():
            data[place] = int(random.integers(256))
        path.write_bytes(data[: int(random.integers(len(data) // 3, len(data)))])
        try:
            with open_video(path) as source:
                assert len(list(source)) <= 6
        except InputError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("kind", ["video", "images", "webp", "scene", "raw", "pipe"])
def test_every_source_keeps_the_one_protocol(kind, animation, clip, tmp_path):
    """Only the base class defines what a `with` block does."""
    video = clip("a.mkv", frames=3)
    targets = {"webp": animation("a.webp"), "images": animation("in/a.png").parent, "video": video}
    targets["scene"] = "sample://street?frames=3&size=64x64"
    wishes = {"pipe": {"stdin": io.BytesIO(video.read_bytes())}}
    wishes["raw"] = {
        "stdin": io.BytesIO(bytes(3 * 8 * 6 * 3)),
        "pipe": RawPipe((6, 8), Fraction(25)),
    }
    with open_video(targets.get(kind, "-"), **wishes.get(kind, {})) as source:
        assert isinstance(source, Source)
        assert not {"__enter__", "__exit__"} & set(vars(type(source)))
        assert [frame.index for frame in source][:1] == [0]
        assert (source.skipped, source.trailing_packets()) == (0, [])
    source.close()
    assert isinstance(source.notes, list)


@pytest.mark.parametrize("name", ["a.webp", "a.png", "a.avif", "a.gif", "a.tif"])
def test_animations_have_outputs_of_videos(animation, cli, colour_model, tmp_path, name):
    ended = cli("segment", animation(name), "--save", "overlay,matte,masks", "--matte", "Road",
                "-m", colour_model, "-o", f"{tmp_path}/out/")  # fmt: skip
    assert ended.code == 0, ended.err
    names = sorted(one.name for one in (tmp_path / "out").iterdir())
    assert names == ["a.masks", "a.matte.mp4", "a.overlay.mp4"]
    assert len(list(open_video(tmp_path / "out" / "a.overlay.mp4"))) == 6
    assert len(list((tmp_path / "out" / "a.masks").iterdir())) == 6


def test_a_still_picture_has_outputs_of_pictures(animation, cli, colour_model, tmp_path):
    path = animation("a.tif", sizes=[(48, 64), (12, 16)])
    ended = cli("segment", path, "--save", "overlay,masks", "-m", colour_model,
                "-o", f"{tmp_path}/out/")  # fmt: skip
    assert ended.code == 0, ended.err
    names = sorted(one.name for one in (tmp_path / "out").iterdir())
    assert names == ["a.masks", "a.overlay.png"]


def test_an_animation_that_becomes_a_picture_is_one(animation):
    path = animation("a.png")
    assert not Input.named(str(path)).is_picture
    Image.fromarray(picture(0)).save(path)
    assert Input.named(str(path)).is_picture
    path.unlink()
    assert not Input.named(str(path)).is_picture
