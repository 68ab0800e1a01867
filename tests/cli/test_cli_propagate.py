"""`vidparse propagate`: its outputs, its tables, and key masks that are wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from vidparse.labels import Labels, labels_to_json
from vidparse.maps import read_panoptic_png
from vidparse.video import read_mask_video

SIZE_HW = (48, 64)


def mask(index: int) -> np.ndarray:
    """The square of `support.clips.picture`, uint8 (H, W)."""
    found = np.zeros(SIZE_HW, np.uint8)
    x, y = index * 3 % 56, index * 2 % 40
    found[y : y + 8, x : x + 8] = 1
    return found


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """Masks of classes for the frames 0 and 4."""
    folder = tmp_path / "keys"
    folder.mkdir()
    for number in (0, 4):
        Pillow.fromarray(mask(number)).save(folder / f"{number:06d}.png")
    return folder


def test_ids_of_0_and_255_are_one_object(cli, clip, keys, tmp_path: Path) -> None:
    """As DAVIS and many tools write a mask."""
    for path in keys.iterdir():
        Pillow.fromarray(np.array(Pillow.open(path)) * 255).save(path)
    out = tmp_path / "out"
    done = cli(
        "propagate", clip("x.mp4", frames=5), keys, "--ids", "-o", f"{out}/", "--save", "ids"
    )
    assert done.code == 0
    assert "so 255 is one object" in done.err
    ids = cv2.imread(str(out / "x.ids" / "000004.png"), -1)
    assert np.array_equal(ids > 0, mask(4) > 0)


@pytest.mark.parametrize(
    "words", [("--matte", "each"), ("--background", "blur"), ("--matte-edges", "scores")]
)
def test_what_needs_mattes_is_refused(cli, clip, keys, tmp_path: Path, words) -> None:
    done = cli("propagate", clip("x.mp4", frames=2), keys, "-o", f"{tmp_path}/out/", *words)
    assert done.code == 2
    assert "needs the scores of a network" in done.err or "no output takes a matte" in done.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("wishes", [{"frames": 2}, {"frames": 5, "size_hw": (20, 20)}])
def test_keys_of_another_video_leave_no_folder(cli, clip, keys, tmp_path: Path, wishes) -> None:
    done = cli("propagate", clip("x.mp4", **wishes), keys, "-o", f"{tmp_path}/out/")
    assert (done.code, len(done.lines)) == (3, 1), done.err
    assert not (tmp_path / "out").exists()


def test_any_option_of_redaction_redacts(cli, clip, keys, tmp_path: Path) -> None:
    """Nobody shall take a picture for redacted that is not."""
    out = tmp_path / "out"
    words = ("--redact-classes", "class 1", "-o", f"{out}/")
    done = cli("propagate", clip("x.mp4", frames=5), keys, *words)
    assert done.code == 0, done.err
    assert (out / "x.redacted.mp4").is_file()
    assert not (out / "x.overlay.mp4").exists()


def test_outputs_are_named_and_timed_as_those_of_segment(cli, clip, keys, tmp_path: Path) -> None:
    source, out = clip("x.mp4", frames=7), tmp_path / "out"
    ended = cli("propagate", source, keys, "-o", f"{out}/")
    assert ended.code == 0, ended.err
    names = {"x.overlay.mp4", "x.masks", "x.confidence", "x.propagation.json"}
    assert {path.name for path in out.iterdir()} == names
    assert len(list((out / "x.masks").glob("*.png"))) == 7
    for number in (0, 4):  # key frames keep their masks
        stored = np.asarray(Pillow.open(out / "x.masks" / f"{number:06d}.png"))
        assert (stored == mask(number)).all()
        sure = np.asarray(Pillow.open(out / "x.confidence" / f"{number:06d}.png"))
        assert (sure == 255).all()

    report = json.loads((out / "x.propagation.json").read_text())
    assert report["schema"] == "vidparse-propagation/1"
    origins = ["key", "both", "both", "both", "key", "before", "before"]
    assert [row["origin"] for row in report["frames"]] == origins
    worst = [row["disagreement"] for row in report["worst"]]
    assert len(worst) == 3 and worst == sorted(worst, reverse=True)
    assert "2 keys, 3 frames from keys on both sides, 2 frames from the key before" in ended.err
    assert "frames in doubt, worst first" in ended.err


def test_the_summary_is_json_when_wanted(cli, clip, keys, tmp_path: Path) -> None:
    words = ("--save", "mask-video,confidence-video", "--json", "--reverse-test")
    ended = cli("propagate", clip("x.mp4", frames=5), keys, "-o", f"{tmp_path}/out/", *words)
    (video,) = json.loads(ended.out)["videos"]
    assert (video["frames"], video["keys"]) == (5, 2)
    assert video["origins"] == {"key": 2, "both": 3}
    assert video["reverse_test"]["keys"] == 2 and 0 < video["reverse_test"]["miou"] <= 1
    masks = list(read_mask_video(tmp_path / "out" / "x.masks.mkv"))
    assert len(masks) == 5 and (masks[4] == mask(4)).all()


def test_ids_go_in_and_come_out(cli, clip, tmp_path: Path) -> None:
    """16-bit masks hold ids; outputs are panoptic, and go in again as keys."""
    source, folder = clip("x.mp4", frames=5), tmp_path / "keys"
    folder.mkdir()
    for number in (0, 4):
        Pillow.fromarray(mask(number).astype(np.uint16) * 700).save(folder / f"{number}.png")
    ended = cli("propagate", source, folder, "-o", f"{tmp_path}/a/", "--quiet")
    assert ended.code == 0, ended.err
    made = tmp_path / "a" / "x.panoptic"
    assert (read_panoptic_png(made / "000004.png") == mask(4) * np.uint32(700)).all()

    ended = cli(
        "propagate", source, made, "-o", f"{tmp_path}/b/", "--save", "ids,report", "--quiet"
    )
    assert ended.code == 0, ended.err
    for number in range(5):
        first = read_panoptic_png(made / f"{number:06d}.png")
        again = np.asarray(Pillow.open(tmp_path / "b" / "x.ids" / f"{number:06d}.png"))
        assert (again == first).all()


def test_masks_of_both_depths_are_ids_and_a_note_names_them(cli, clip, tmp_path: Path) -> None:
    source, folder = clip("x.mp4", frames=5), tmp_path / "keys"
    folder.mkdir()
    Pillow.fromarray(mask(0)).save(folder / "0.png")
    Pillow.fromarray(mask(4).astype(np.uint16) * 300).save(folder / "4.png")
    ended = cli("propagate", source, folder, "-o", f"{tmp_path}/out/", "--save", "ids")
    assert ended.code == 0, ended.err
    assert "4.png has 16 bits and others have 8, so all hold ids of objects" in ended.err


def test_a_data_set_with_few_masks_is_filled(cli, tmp_path: Path) -> None:
    from support.clips import picture

    labels = Labels("mine", ("wall", "square"), ((0, 0, 0), (200, 0, 0)), frozenset())
    root = tmp_path / "data"
    for video in ("a", "b"):
        (root / "images" / video).mkdir(parents=True)
        (root / "masks" / video).mkdir(parents=True)
        for i in range(4):
            path = str(root / "images" / video / f"{i:04d}.png")
            cv2.imwrite(path, picture(i)[..., ::-1])
        Pillow.fromarray(mask(1)).save(root / "masks" / video / "0001.png")
    (root / "labels.json").write_text(json.dumps(labels_to_json(labels)))
    ended = cli("propagate", "--data", root, "-o", f"{tmp_path}/out", "--save", "masks", "--json")
    assert ended.code == 0, ended.err
    for video in ("a", "b"):
        names = sorted(path.name for path in (tmp_path / "out" / f"{video}.masks").iterdir())
        assert names == [f"{i:04d}.png" for i in range(4)]
    origins = {"after": 1, "key": 1, "before": 2}
    assert [one["origins"] for one in json.loads(ended.out)["videos"]] == [origins] * 2


def no_keys(keys: Path) -> None:
    for path in keys.iterdir():
        path.unlink()


def two_of_one_number(keys: Path) -> None:
    (keys / "4.png").write_bytes((keys / "000004.png").read_bytes())


def beyond_the_video(keys: Path) -> None:
    (keys / "000004.png").rename(keys / "000009.png")


def without_a_number(keys: Path) -> None:
    (keys / "000004.png").rename(keys / "last.png")


def of_another_size(keys: Path) -> None:
    Pillow.fromarray(mask(4)[:40]).save(keys / "000004.png")


def damaged(keys: Path) -> None:
    (keys / "000004.png").write_bytes(b"no picture")


def in_colours(keys: Path) -> None:
    Pillow.fromarray(np.zeros((*SIZE_HW, 3), np.uint8)).save(keys / "000004.png")


def as_jpeg(keys: Path) -> None:
    no_keys(keys)
    Pillow.fromarray(mask(0)).save(keys / "000000.jpg")


def with_a_stray_value(keys: Path) -> None:
    Pillow.fromarray(mask(4) * 77).save(keys / "000004.png")


def as_they_are(keys: Path) -> None:
    """Nothing is wrong with the masks."""


@pytest.mark.parametrize(
    ("harm", "words", "code", "message"),
    [
        (no_keys, (), 3, "holds no key masks; put PNGs there"),
        (two_of_one_number, (), 3, "/4.png: is of frame 4, as 000004.png is; keep one of them"),
        (beyond_the_video, (), 3, "000009.png: x.mp4 has no frame 9, its last is 4"),
        (without_a_number, (), 3, "last.png: no number of a frame in its name"),
        (of_another_size, (), 3, "000004.png: is 64x40, its frame 64x48"),
        (damaged, (), 3, "000004.png: damaged mask"),
        (in_colours, (), 3, "000004.png: a mask of mode RGB, not of class indices"),
        (as_jpeg, (), 3, "masks are PNGs, and 000000.jpg is none"),
        (with_a_stray_value, ("--label-set", "camvid"), 3, "holds value 77; labels 'camvid' have"),
        (as_they_are, ("--label-set", "nobody"), 2, "label set 'nobody': unknown; try "),
        (as_they_are, ("--label-set", "no.json"), 3, "no.json: No such file or directory"),
        (as_they_are, ("--flow", "raft"), 2, "flow 'raft': needs weights"),
        (as_they_are, ("--save", "masked"), 2, "--save masked: no such output; did you mean"),
        (as_they_are, ("--save", "matte"), 2, "--save matte: needs the scores of a network"),
        (as_they_are, ("--skip-existing",), 2, "--skip-existing: is for segment"),
        (as_they_are, ("--data", "x"), 2, "name either a video and its keys"),
    ],
)
def test_an_error_is_one_line(
    cli, clip, keys, tmp_path, harm: Callable[[Path], None], words, code: int, message: str
) -> None:
    source = clip("x.mp4", frames=5)
    harm(keys)
    ended = cli("propagate", source, keys, "-o", f"{tmp_path}/out/", *words)
    assert (ended.code, len(ended.lines)) == (code, 1), ended.err
    assert message in ended.lines[0]
    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").is_dir() else True


@pytest.mark.parametrize(
    ("words", "note", "object_id"),
    [
        ((), "all values are 0 and 255, so 255 is one class, and not void", 1),
        (
            ("--label-set", "davis"),
            "in label set 'davis' are 'background' and void; where 255",
            255,
        ),
    ],
)
def test_a_note_names_what_255_is_taken_for(
    cli, clip, keys, tmp_path, words: tuple[str, ...], note: str, object_id: int
) -> None:
    for path in keys.iterdir():
        stored = np.asarray(Pillow.open(path))
        Pillow.fromarray(np.where(stored, np.uint8(255), stored)).save(path)
    out = tmp_path / "out"
    ended = cli("propagate", clip("x.mp4", frames=5), keys, "--save", "masks", "-o", out, *words)
    assert ended.code == 0 and note in ended.err, ended.err
    found = np.asarray(Pillow.open(out / "000004.png"))
    assert (found == np.where(mask(4), object_id, 0)).all()


def test_a_video_without_keys_is_refused(cli, clip, tmp_path: Path) -> None:
    ended = cli("propagate", clip("x.mp4", frames=2))
    assert (ended.code, len(ended.lines)) == (2, 1)
    assert "name the folder of its key masks" in ended.lines[0]
    ended = cli("propagate", clip("x.mp4", frames=2), tmp_path / "nowhere")
    assert (ended.code, len(ended.lines)) == (3, 1)
    assert "nowhere: no such folder of key masks" in ended.lines[0]


def test_it_is_a_function_of_the_package(clip, keys, tmp_path: Path) -> None:
    import vidparse

    request = vidparse.PropagateRequest(
        str(clip("x.mp4", frames=5)), keys, out=f"{tmp_path}/out/", save=("masks", "report")
    )
    (video,) = vidparse.propagate(request).videos
    assert video.report.frames == 5 and len(video.outputs) == 2


def test_a_model_gives_clues(cli, clip, keys, colour_model: Path, tmp_path: Path) -> None:
    source = clip("x.mp4", frames=5)
    words = ("--save", "masks", "-m", colour_model, "--device", "cpu", "--reverse-test", "--json")
    found = cli("propagate", source, keys, "-o", f"{tmp_path}/out/", *words)
    assert found.code == 0, found.err
    (video,) = json.loads(found.out)["videos"]
    assert video["origins"] == {"key": 2, "both": 3} and video["reverse_test"]["keys"] == 2
    found = cli("propagate", source, keys, "-o", f"{tmp_path}/b/", "-m", "missing.onnx")
    assert (found.code, len(found.lines)) == (4, 1)


def test_key_frames_that_were_drawn_in_cvat_on_the_video(cli, clip, tmp_path: Path) -> None:
    """An XML beside its video is all that is needed; its frames go by their numbers."""
    clip("x.mp4", frames=5)
    tracks = "".join(
        f'<track id="{i}" label="square"><box frame="{i}" keyframe="1" outside="0" xtl="{3 * i}" '
        f'ytl="{2 * i}" xbr="{3 * i + 8}" ybr="{2 * i + 8}"/></track>'
        for i in (1, 4)
    )
    size = "<original_size><width>64</width><height>48</height></original_size>"
    xml = f"<annotations><meta><task>{size}</task></meta>{tracks}</annotations>"
    (tmp_path / "x.xml").write_text(xml)
    done = cli(
        *("propagate", "--data", tmp_path, "--save", "ids,report"),
        *("-o", tmp_path / "out", "--json"),
    )
    assert done.code == 0, done.err
    (video,) = json.loads(done.out)["videos"]
    assert video["origins"] == {"after": 1, "key": 2, "both": 2}
    for i in (1, 4):
        ids = cv2.imread(str(tmp_path / "out" / "x.ids" / f"{i:06d}.png"), -1)
        assert np.array_equal(ids > 0, mask(i) > 0)
