"""A name that exists is a name, never a pattern; and no output takes the place of an input."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pytest

from vidparse.errors import OutputError
from vidparse.sinks import SINKS, SinkOptions, make_sinks
from vidparse.video import Input, expand_inputs, open_video

ODD = [
    "x [1]",
    "what is it?",
    "5 * 5",
    "drive [aB3xYz-9_k]",
    "take %d",
    "img_%04d",
    "[a-z]*",
    "a]b[",
]


def pictures(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        data = cv2.imencode(".png", np.full((48, 64, 3), 40 * i, np.uint8))[1].tobytes()
        (folder / name).write_bytes(data)
    return folder


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("stem", ODD)
class TestSignsOfPatterns:
    def test_outputs_lie_beside_the_input_under_its_name(self, cli, clip, tmp_path, stem):
        folder = tmp_path / "clips"
        folder.mkdir()
        path = clip("x.mp4", frames=2).rename(folder / f"{stem}.mp4")
        assert cli("segment", path, "--save", "csv").code == 0
        assert listing(folder) == sorted([f"{stem}.csv", f"{stem}.mp4"])
        assert listing(tmp_path) == ["clips"]

    def test_the_input_is_never_replaced(self, cli, clip, tmp_path, stem):
        path = clip("x.mp4", frames=2).rename(tmp_path / f"{stem}.mp4")
        before = path.read_bytes()
        ended = cli("segment", path, "-o", path, "--overwrite")
        assert (ended.code, len(ended.lines)) == (6, 1)
        assert "is the input itself" in ended.err
        assert path.read_bytes() == before

    def test_folders_of_pictures(self, cli, tmp_path, stem):
        folder = pictures(tmp_path / stem, "f1.png", "f2.png")
        ended = cli("segment", folder, "--save", "masks", "-o", f"{tmp_path}/o/")
        assert ended.code == 0, ended.err
        assert listing(tmp_path / "o") == [f"{stem}.masks"]
        assert listing(tmp_path / "o" / f"{stem}.masks") == ["f1.png", "f2.png"]

    def test_open_video(self, clip, tmp_path, stem):
        path = clip("x.mp4", frames=2).rename(tmp_path / f"{stem}.mp4")
        assert len(list(open_video(path))) == 2
        assert [one.path for one in expand_inputs([str(path)])] == [path]


def test_two_such_files_of_one_folder_do_not_collide(cli, clip, tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    clip("x.mp4", frames=2).rename(folder / "a [1].mp4")
    clip("x.mp4", frames=2).rename(folder / "b [1].mp4")
    ended = cli("segment", folder, "--save", "csv", "-o", f"{tmp_path}/o/")
    assert ended.code == 0, ended.err
    assert listing(tmp_path / "o") == ["a [1].csv", "b [1].csv"]


def test_a_pattern_over_folders_with_brackets(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("cam[1]", "cam[2]", "cam 3"):
        pictures(Path(folder), "001.png", "002.png")
    ended = cli("segment", "cam*/*.png", "--save", "masks", "-o", "p/")
    assert ended.code == 0, ended.err
    assert listing(Path("p")) == ["cam 3.masks", "cam[1].masks", "cam[2].masks"]
    assert listing(Path("p/cam[1].masks")) == ["001.png", "002.png"]


def test_the_pictures_of_a_pattern_are_those_that_were_matched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("a", "a/b"):
        pictures(Path(folder), "1.png", "2.png")
    inputs = expand_inputs(["**/*.png"])
    assert [one.images for one in inputs] == [
        (Path("a/1.png"), Path("a/2.png")),
        (Path("a/b/1.png"), Path("a/b/2.png")),
    ]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("tcp://127.0.0.1:5124", "127.0.0.1_5124.csv"),
        ("udp://239.0.0.1:1234?ttl=3", "239.0.0.1_1234.csv"),
        ("rtsp://[::1]:554/live", "live.csv"),
        (unicodedata.normalize("NFD", "München.mp4"), unicodedata.normalize("NFD", "München.csv")),
        ("वीडियो.mp4", "वीडियो.csv"),
        ("วิดีโอ.mp4", "วิดีโอ.csv"),
        ("Anna's (final), v2.mp4", "Anna's (final), v2.csv"),
        ("two\nlines\x1b.mp4", "two_lines_.csv"),
        ("\udcff.mp4", "_.csv"),
    ],
)
def test_output_names_keep_letters(tmp_path, monkeypatch, source, expected):
    monkeypatch.chdir(tmp_path)
    (sink,) = make_sinks(["csv"], source=source, out=None, options=SinkOptions())
    assert sink.outputs == (expected,)


class TestInputsOfTheSameCall:
    """Every input is safe, not only the one that an output is made of."""

    @pytest.mark.parametrize("link", ["name", "soft", "hard", "through a folder"])
    def test_an_output_that_is_another_input(self, cli, clip, tmp_path, link):
        one, other = clip("a.mp4", frames=2), clip("b.mp4", frames=2)
        out = tmp_path / "a.overlay.mp4"
        if link == "soft":
            out.symlink_to(other)
        elif link == "hard":
            out.hardlink_to(other)
        elif link == "through a folder":
            (tmp_path / "again").symlink_to(tmp_path, target_is_directory=True)
            other.rename(out)
            other = tmp_path / "again" / out.name
        else:
            other = other.rename(out)
        before = other.read_bytes()
        ended = cli("segment", one, other, "--save", "overlay", "--overwrite")
        assert ended.code == 1, "the second input is good"
        assert "a.overlay.mp4: is the input itself" in ended.err
        assert other.read_bytes() == before

    def test_a_picture_of_a_sequence(self, tmp_path):
        picture = tmp_path / "shots" / "1.csv"
        picture.parent.mkdir()
        picture.write_bytes(b"x")
        shots = Input("shots/*", picture.parent, "shots/*", (picture,))
        with pytest.raises(OutputError, match="is a picture of the input"):
            make_sinks(
                ["csv"],
                source=shots,
                out=str(picture),
                options=SinkOptions(overwrite=True),
            )

    def test_a_folder_of_masks_that_would_replace_pictures(self, cli, clip, tmp_path):
        clip("x.mp4", frames=2)
        shots = pictures(tmp_path / "x.masks", "000000.png", "000001.png")
        before = [path.read_bytes() for path in sorted(shots.iterdir())]
        for source in (shots, f"{shots}/*.png"):
            ended = cli("segment", tmp_path / "x.mp4", source, "--save", "masks", "--overwrite")
            assert ended.code == 1
            assert "x.masks: is the input itself" in ended.err
            assert [path.read_bytes() for path in sorted(shots.iterdir())] == before


def test_numbers_in_a_name_are_a_sequence(cli, tmp_path):
    shots = pictures(tmp_path / "shots", "a_0009.png", "a_0010.png", "b_0001.png", "a_x.png")
    ended = cli("segment", shots / "a_%04d.png", "--save", "masks")
    assert ended.code == 0, ended.err
    assert listing(tmp_path / "shots.masks") == ["a_0009.png", "a_0010.png"]
    ended = cli("segment", shots / "c_%04d.png", "--save", "masks")
    assert (ended.code, len(ended.lines)) == (3, 1)
    assert "holds no images" in ended.err


def test_a_path_written_as_an_address(cli, clip, tmp_path):
    path = clip("x [1].mp4", frames=2)
    assert cli("segment", f"file://{path}", "--save", "csv").code == 0
    assert listing(tmp_path) == ["x [1].csv", "x [1].mp4"]
    ended = cli("segment", f"file://{path}", "-o", path, "--overwrite")
    assert ended.code == 6
    assert "is the input itself" in ended.err


class TestFolders:
    """Nothing is passed over without a word."""

    def test_a_thumbnail_beside_videos(self, cli, clip, tmp_path):
        camera = pictures(tmp_path / "camera", "thumb.png")
        for name in ("a", "b"):
            clip("x.mp4", frames=2).rename(camera / f"{name}.mp4")
        ended = cli("segment", camera, "-o", f"{tmp_path}/o/", "--save", "csv")
        assert ended.code == 0, ended.err
        assert listing(tmp_path / "o") == ["a.csv", "b.csv", "camera.csv"]
        assert "camera: 1 picture and 2 videos; the pictures are one sequence" in ended.err

    @pytest.mark.parametrize("ending", ["jfif", "jpe", "avif", "webp", "PNG", "Jpg", "bmp", "tiff"])
    def test_pictures_of_several_endings(self, cli, tmp_path, ending):
        frames = pictures(tmp_path / "frames", "1.png", "3.png")
        kind = {"jfif": "jpg", "jpe": "jpg"}.get(ending, ending.lower())
        picture = np.full((48, 64, 3), 90, np.uint8)
        if kind == "avif":
            avif = pytest.importorskip("PIL.features").check("avif")
            if not avif:
                pytest.skip("this Pillow writes no AVIF")
            from PIL import Image

            Image.fromarray(picture).save(frames / "2.avif")
        else:
            (frames / f"2.{ending}").write_bytes(cv2.imencode(f".{kind}", picture)[1].tobytes())
        ended = cli("segment", frames, "-o", f"{tmp_path}/o/", "--save", "masks")
        assert ended.code == 0, ended.err
        assert listing(tmp_path / "o/frames.masks") == ["1.png", "2.png", "3.png"]

    def test_what_is_neither_is_named(self, cli, tmp_path):
        shots = pictures(tmp_path / "shots", "1.png", "2.png")
        for name in ("more", "x.masks"):
            (shots / name).mkdir()
        for name in ("a.xyz", "b.txt", "c.svg", "d.pdf", ".hidden"):
            (shots / name).write_bytes(b"x")
        for name in ("d.csv", "._1.png", "y.overlay.mp4", "y.masks.nut", "y.overlay.png"):
            (shots / name).write_bytes(b"x")
        ended = cli("segment", shots, "-o", f"{tmp_path}/o/", "--save", "masks")
        assert ended.code == 0, ended.err
        assert "shots: passed over 1 folder (more)" in ended.err
        assert "shots: passed over 4 other files (a.xyz, b.txt, c.svg and 1 more)" in ended.err
        assert len([line for line in ended.lines if "passed over" in line]) == 2
        assert "._1" not in ended.err

    def test_notes_on_a_folder_are_of_none_of_its_videos(self, cli, clip, tmp_path):
        clips = tmp_path / "clips"
        (clips / "more").mkdir(parents=True)
        for name in ("a", "b"):
            clip("x.mp4", frames=2).rename(clips / f"{name}.mp4")
        words = ("segment", clips, "-o", f"{tmp_path}/o/", "--save", "csv")
        notes = [line for line in cli(*words).lines if "passed over" in line]
        assert notes == [f"note: {clips}: passed over 1 folder (more)"]
        record = json.loads(cli(*words, "--overwrite", "--json").out)
        assert record["notes"] == [f"{clips}: passed over 1 folder (more)"]
        assert [one["notes"] for one in record["inputs"]] == [[], []]

    def test_files_that_macos_keeps_beside_others(self, cli, clip, tmp_path):
        clips = tmp_path / "clips"
        clips.mkdir()
        clip("x.mp4", frames=2).rename(clips / "a.mp4")
        (clips / "._a.mp4").write_bytes(b"\0\x05\x16\x07")
        for source in (clips, f"{clips}/*", f"{clips}/*a.mp4", f"{clips}/.*"):
            ended = cli("segment", source, "-o", f"{tmp_path}/o/", "--save", "csv", "--overwrite")
            if source == f"{clips}/.*":
                assert ended.code == 3
                continue
            assert ended.code == 0, ended.err
            assert listing(tmp_path / "o") == ["a.csv"]

    def test_a_pattern_that_matches_several_kinds(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        pictures(Path("all"), "1.png", "2.png")
        pictures(Path("all/shots"), "1.png")
        Path("all/empty").mkdir()
        Path("all/a.mp4").write_bytes(b"")
        Path("all/notes.txt").write_bytes(b"")
        inputs = expand_inputs(["all/*"])
        assert [one.name for one in inputs] == ["all/*", "all/shots", "all/a.mp4"]
        assert inputs[0].notes == (
            "all/*: 2 pictures and 1 video; the pictures are one sequence, and each video is an "
            "input of its own",
            "all/*: passed over 1 folder (empty)",
            "all/*: passed over 1 other file (notes.txt)",
        )
        deep = expand_inputs(["all/**"])
        found = [path for one in deep for path in one.images or ()]
        assert sorted(found) == sorted(set(found)), "no picture twice"
        assert len(found) == 3


class TestLongNames:
    @pytest.mark.parametrize("stem", ["x" * 251, "x" * 240, "界" * 83, "e\u0301" * 83])
    @pytest.mark.parametrize("save", ["overlay,masks,mask-video,jsonl,csv", "vspw", "vipseg"])
    def test_as_long_as_names_can_be(self, cli, clip, tmp_path, stem, save):
        path = clip("x.mp4", frames=2).rename(tmp_path / f"{stem}.mp4")
        ended = cli("segment", path, "--save", save, "-o", f"{tmp_path}/o/")
        assert ended.code == 0, ended.err
        names = listing(tmp_path / "o")
        assert len(names) == save.count(",") + 1 + (save == "vipseg")
        assert not any(".vidparse-part" in name for name in names)

    @pytest.mark.parametrize("letter", ["x", "界", "e\u0301"])
    @pytest.mark.parametrize("room", [4, 11, 13])
    def test_all_outputs_of_an_input_have_one_stem(self, cli, clip, tmp_path, letter, room):
        """Made in one call or in several; and those of another input have another one."""
        length = (255 - room - 1) // len(letter.encode())
        stems = [letter * length + end for end in "ab"]
        for stem in stems:
            clip("x.mp4", frames=2).rename(tmp_path / f"{stem}.mp4")
        source, out = tmp_path / "?*.mp4", tmp_path / "o"
        suffixes = [".overlay.mp4", ".masks", ".masks-gray", ".masks.mkv", ".jsonl", ".csv"]
        saves = ["overlay,masks,jsonl,csv", "masks-gray", "mask-video", "vspw", "vipseg"]
        for save in saves:
            ended = cli("segment", source, "--save", save, "-o", f"{out}/", "--json")
            assert ended.code == 0, ended.err
        made = {suffix: set() for suffix in suffixes}
        for name in listing(out):
            suffix = next((one for one in suffixes if name.endswith(one)), None)
            if suffix is not None:
                made[suffix].add(name.removesuffix(suffix))
        (shared,) = {frozenset(found) for found in made.values()}
        assert len(shared) == 2
        endings = [one for kind in SINKS.values() for one in (kind.suffix, kind.picture_suffix)]
        longest = max(endings, key=len)
        if max(len(f"{stem}{longest}".encode()) for stem in stems) <= 255:
            assert shared == set(stems)

    def test_all_outputs_of_a_picture_have_one_stem(self, cli, tmp_path):
        pictures(tmp_path / "p", "x" * 250 + ".png")
        source = tmp_path / "p" / ("x" * 250 + ".png")
        ended = cli("segment", source, "--save", "overlay,masks,csv", "-o", f"{tmp_path}/o/")
        assert ended.code == 0, ended.err
        overlay, masks, table = (
            next(name for name in listing(tmp_path / "o") if name.endswith(suffix))
            for suffix in (".overlay.png", ".masks", ".csv")
        )
        stem = table.removesuffix(".csv")
        assert (overlay, masks) == (f"{stem}.overlay.png", f"{stem}.masks")

    def test_two_that_differ_at_the_end_only(self, cli, clip, tmp_path):
        stems = ["x" * 248 + end for end in ("one", "two")]
        paths = [clip("x.mp4", frames=2).rename(tmp_path / f"{stem}.mp4") for stem in stems]
        ended = cli("segment", *paths, "--save", "overlay", "-o", f"{tmp_path}/o/")
        assert ended.code == 0, ended.err
        assert len(listing(tmp_path / "o")) == 2
        assert all(name.endswith(".overlay.mp4") for name in listing(tmp_path / "o"))

    @pytest.mark.parametrize("out", ["y" * 300, "y" * 300 + ".csv", "y" * 300 + "/"])
    def test_a_name_that_can_not_be(self, cli, clip, tmp_path, monkeypatch, out):
        monkeypatch.chdir(tmp_path)
        ended = cli("segment", clip("x.mp4", frames=2), "--save", "csv", "-o", out)
        assert (ended.code, len(ended.lines)) == (6, 1), ended.err
        assert "internal error" not in ended.err
        assert listing(tmp_path) == ["x.mp4"]
