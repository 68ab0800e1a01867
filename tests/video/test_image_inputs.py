"""Folders and patterns: which inputs they are, in which order, and what a bad image does."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from support.clips import picture
from vidparse.errors import InputError, TruncatedError
from vidparse.image import Rgb, Yuv420
from vidparse.video import expand_inputs, open_video


def save(path, index=0, size_hw=(48, 64)):
    path.parent.mkdir(exist_ok=True, parents=True)
    cv2.imwrite(str(path), picture(index, size_hw)[..., ::-1])
    return path


def test_a_folder_is_a_video_in_natural_order(tmp_path):
    for number in (10, 9, 1, 100):
        save(tmp_path / "shots" / f"img{number}.png", number)
    (tmp_path / "shots" / "notes.txt").write_text("not an image")
    source = open_video(tmp_path / "shots")
    frames = list(source)
    assert [f.name for f in frames] == ["img1", "img9", "img10", "img100"]
    assert [f.pts for f in frames] == [0, 1, 2, 3]
    assert source.info.name == "shots"
    assert source.info.rate == 25
    assert source.info.frames == 4
    assert all(isinstance(f.image, Rgb) for f in frames)
    assert np.array_equal(frames[2].image.rgb(), picture(10))


def test_a_pattern_a_range_and_a_rate(tmp_path):
    for number in range(20):
        save(tmp_path / f"a{number}.png", number)
        save(tmp_path / f"b{number}.png", number)
    source = open_video(
        str(tmp_path / "a*.png"), image_rate=Fraction(10), start_s=0.5, end_s=1.5, stride=4
    )
    frames = list(source)
    assert [(f.index, f.pts, f.name) for f in frames] == [
        (5, 5, "a5"),
        (9, 9, "a9"),
        (13, 13, "a13"),
    ]
    assert source.info.time_base == Fraction(1, 10)


def test_names_with_signs_that_ffmpeg_or_glob_read(tmp_path):
    names = ["50%03d.png", "a:b.png", "[1].png"]
    for index, name in enumerate(names):
        save(tmp_path / name, index)
    for index, name in enumerate(names):
        (frame,) = open_video(tmp_path / name)
        assert np.array_equal(frame.image.rgb(), picture(index))
    assert len(list(open_video(tmp_path))) == 3


def test_a_jpeg_keeps_its_own_planes(tmp_path):
    (frame,) = open_video(save(tmp_path / "a.jpg"))
    assert isinstance(frame.image, Yuv420)
    assert frame.image.full_range
    shown = cv2.imread(str(tmp_path / "a.jpg"))[..., ::-1].astype(int)
    assert np.abs(frame.image.rgb().astype(int) - shown).mean() < 2.5


def test_exif_orientation_is_applied(tmp_path):
    data = save(tmp_path / "a.jpg", size_hw=(40, 64)).read_bytes()
    # A minimal EXIF block: big-endian TIFF, one entry, Orientation (0x0112) = 6: turn clockwise.
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    block = b"Exif\0\0" + tiff
    exif = b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block
    (tmp_path / "turned.jpg").write_bytes(data[:2] + exif + data[2:])
    (frame,) = open_video(tmp_path / "turned.jpg")
    shown = cv2.imread(str(tmp_path / "turned.jpg"))[..., ::-1].astype(int)
    assert frame.image.size_hw == shown.shape[:2] == (64, 40)
    assert np.abs(frame.image.rgb().astype(int) - shown).mean() < 2.5


def test_unreadable_images_are_skipped_and_counted(tmp_path):
    for number in range(5):
        save(tmp_path / f"{number}.png", number)
    (tmp_path / "2.png").write_bytes((tmp_path / "2.png").read_bytes()[:200])
    (tmp_path / "4.png").write_bytes(b"")
    source = open_video(tmp_path)
    frames = list(source)
    assert [(f.index, f.pts, f.name) for f in frames] == [(0, 0, "0"), (1, 1, "1"), (2, 3, "3")]
    assert source.skipped == 2


@pytest.mark.parametrize("progressive", [0, 1])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.9, 0.97])
def test_a_cut_jpeg_is_unreadable(tmp_path, progressive, share):
    noise = np.random.default_rng(1).normal(0, 8, (96, 128, 3))
    shown = np.clip(picture(0, (96, 128)) + noise, 0, 255).astype(np.uint8)
    for name in "01":
        wishes = [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive]
        cv2.imwrite(str(tmp_path / f"{name}.jpg"), shown, wishes)
    data = (tmp_path / "1.jpg").read_bytes()
    (tmp_path / "1.jpg").write_bytes(data[: int(len(data) * share)])
    source = open_video(tmp_path)
    assert len(list(source)) == 1
    assert source.skipped == 1
    assert source.notes == ["1.jpg is no image that can be read; skipped"]


@pytest.mark.parametrize("progressive", [0, 1])
def test_bytes_behind_a_jpeg_and_before_it_ends_do_no_harm(tmp_path, progressive):
    wishes = [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive, cv2.IMWRITE_JPEG_RST_INTERVAL, 2]
    cv2.imwrite(str(tmp_path / "0.jpg"), picture(0), wishes)
    data = (tmp_path / "0.jpg").read_bytes()
    comment = b"\xff\xfe\0\x08\xff\xd9\xff\xc2xx"[:10]
    (tmp_path / "1.jpg").write_bytes(data[:2] + comment + data[2:] + bytes(500))
    (tmp_path / "2.jpg").write_bytes(data[:-2] + b"\xff\xff\xff\xd9" + data)
    source = open_video(tmp_path)
    assert len(list(source)) == 3
    assert source.skipped == 0


def test_a_drawing_in_svg_is_skipped_too(tmp_path):
    save(tmp_path / "0.png")
    (tmp_path / "1.png").write_text(
        '<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>'
    )
    (tmp_path / "2.png").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9"/>')
    source = open_video(tmp_path)
    assert len(list(source)) == 1
    assert source.skipped == 2


def test_images_of_another_size_are_refused_by_name(tmp_path):
    save(tmp_path / "0.png")
    save(tmp_path / "1.png", size_hw=(48, 66))
    source = iter(open_video(tmp_path))
    next(source)
    with pytest.raises(InputError, match=r"1\.png: is 66x48 but the sequence began with 64x48"):
        next(source)


def expanded(*inputs: str) -> list[str]:
    return [one.name for one in expand_inputs(inputs)]


def test_what_patterns_and_folders_stand_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("clips/b2.mp4", "clips/b10.MP4", "clips/readme.txt", "mixed/a.mp4", "mixed/0.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    for number in range(3):
        save(tmp_path / f"shots/{number}.png")
        save(tmp_path / f"more/{number}.png")
    assert expanded("clips") == ["clips/b2.mp4", "clips/b10.MP4"]
    assert expanded("clips/*") == ["clips/b2.mp4", "clips/b10.MP4"]
    assert expanded("clips/b*") == ["clips/b2.mp4", "clips/b10.MP4"]
    assert expanded("shots") == ["shots"]
    assert expanded("shots/*.png") == ["shots/*.png"]
    assert expanded("*/[0-9].png") == [
        "mixed/[0-9].png",
        "more/[0-9].png",
        "shots/[0-9].png",
    ]
    assert expanded("mixed") == ["mixed", "mixed/a.mp4"]
    assert expanded("-", "sample://street", "clips/b2.mp4", "clips/b2.mp4", "gone.mp4") == [
        "-", "sample://street", "clips/b2.mp4", "gone.mp4",
    ]  # fmt: skip
    for wrong in ("none*.mp4", "clips/*.txt"):
        with pytest.raises(InputError):
            expand_inputs([wrong])
    (tmp_path / "nothing").mkdir()
    with pytest.raises(InputError, match="neither images nor videos"):
        expand_inputs(["nothing"])


@pytest.mark.parametrize("lost", ["the folder", "one picture"])
def test_pictures_that_go_away_while_they_are_read(tmp_path, lost):
    for number in range(12):
        save(tmp_path / "shots" / f"{number}.png", number)
    source = open_video(tmp_path / "shots")
    frames = []
    with pytest.raises(TruncatedError, match=r"shots: (6|1) of 12 images went away"):
        for frame in source:
            frames.append(frame)
            if len(frames) == 6:
                if lost == "the folder":
                    shutil.rmtree(tmp_path / "shots")
                else:
                    (tmp_path / "shots" / "9.png").unlink()
    assert len(frames) == (6 if lost == "the folder" else 11)
    assert source.skipped == 12 - len(frames)


@pytest.mark.parametrize("source", ["one.jpg", "shots", "shots/*.jpg", "sample://street", "-"])
def test_a_track_of_what_has_one(cli, tmp_path, monkeypatch, source):
    """Pictures, samples and raw pipes have one track, and another is refused as of a video."""
    monkeypatch.chdir(tmp_path)
    Path("shots").mkdir()
    for name in ("one.jpg", "shots/1.jpg", "shots/2.jpg"):
        cv2.imwrite(name, np.full((48, 64, 3), 90, np.uint8))
    raw = ("--pipe", "raw", "--size", "64x48", "--rate", "25") if source == "-" else ()
    words = ("segment", source, *raw, "--end", "0.05", "--save", "csv", "-o", "o/")
    ended = cli(*words, "--track", 2, stdin=bytes(64 * 48 * 3))
    assert (ended.code, len(ended.lines)) == (3, 1), ended.err
    assert "--track 2: it has 1 video track" in ended.err
    assert cli(*words, "--track", 1, stdin=bytes(64 * 48 * 3)).code == 0
