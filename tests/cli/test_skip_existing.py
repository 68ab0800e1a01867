"""A batch that is run again makes what is missing and leaves what is there."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from vidparse.cli.segment import Screen


def content(folder: Path) -> dict[str, tuple[int, bytes]]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.read_bytes()) for p in files}


@pytest.mark.parametrize("save", ["csv", "overlay,masks", "vspw", "vipseg", "jsonl,mask-video"])
def test_a_finished_batch(cli, clip, tmp_path, save):
    clips = [clip(f"{name}.mp4", frames=2) for name in "ab"]
    words = ("segment", *clips, "--save", save, "-o", f"{tmp_path}/o/", "--skip-existing")
    assert cli(*words).code == 0
    before = content(tmp_path / "o")
    ended = cli(*words)
    assert ended.code == 0
    assert ended.err.count("note: skipped: its outputs are there") == 2
    assert content(tmp_path / "o") == before
    record = json.loads(cli(*words, "--json").out)
    assert [one["error"] for one in record["inputs"]] == [None, None]
    assert cli(*words[:-1]).code == 1, "without it nothing is replaced and that is an error"


def test_only_what_is_missing_is_made(cli, clip, tmp_path):
    clips = [clip(f"{name}.mp4", frames=2) for name in "abc"]
    out = tmp_path / "o"
    assert cli("segment", clips[0], "--save", "csv,jsonl", "-o", f"{out}/").code == 0
    assert cli("segment", clips[1], "--save", "csv", "-o", f"{out}/").code == 0
    before = content(out)
    ended = cli("segment", *clips, "--save", "csv,jsonl", "-o", f"{out}/", "--skip-existing")
    assert ended.code == 0, ended.err
    after = content(out)
    assert {name: after[name] for name in before} == before
    assert sorted(after) == [f"{c}.{kind}" for c in "abc" for kind in ("csv", "jsonl")]


def test_numbered_pictures_and_files(cli, clip, tmp_path):
    path = clip("x.mp4", frames=2)
    for out in ("m_%03d.png", "x.csv", "o.mp4"):
        words = ("segment", path, "-o", tmp_path / out, "--skip-existing")
        assert cli(*words).code == 0
        ended = cli(*words)
        assert (ended.code, "skipped" in ended.err) == (0, True)


def test_an_interrupt_leaves_no_part_that_would_pass_for_the_whole(
    cli, clip, tmp_path, monkeypatch
):
    show = Screen.frame

    def frame(self, done):
        show(self, done)
        if done.index == 5:
            os.kill(os.getpid(), signal.SIGINT)

    path = clip("x.mp4", frames=60)
    words = ("segment", path, "--save", "csv,masks", "-o", f"{tmp_path}/o/", "--skip-existing")
    with monkeypatch.context() as patch:
        patch.setattr(Screen, "frame", frame)
        ended = cli(*words)
    assert ended.code == 130
    assert "interrupted, so nothing of it is kept" in ended.err
    assert "nothing of them is kept" in ended.lines[-1] and "outputs hold" not in ended.err
    assert content(tmp_path / "o") == {}
    assert cli(*words).code == 0
    assert len(list((tmp_path / "o" / "x.masks").iterdir())) == 60


@pytest.mark.parametrize("save", ["overlay", "masks", "masks-gray", "mask-video", "jsonl", "csv"])
def test_an_empty_file_or_folder_is_no_output(cli, clip, tmp_path, save):
    """Outputs appear whole, so it is of another program, or of a machine that went down."""
    path, out = clip("x.mp4", frames=2), tmp_path / "o"
    words = ("segment", path, "--save", save, "-o", f"{out}/")
    assert cli(*words).code == 0
    (made,) = out.iterdir()
    whole = content(out)
    if made.is_dir():
        for picture in made.iterdir():
            picture.unlink()
    else:
        made.write_bytes(b"")
    ended = cli(*words)
    assert (ended.code, len(ended.lines)) == (6, 1), "without --skip-existing it is not replaced"
    ended = cli(*words, "--skip-existing")
    assert ended.code == 0, ended.err
    assert "skipped" not in ended.err
    after = content(out)
    assert sorted(after) == sorted(whole)
    assert all(data for _, data in after.values())
    assert "skipped" in cli(*words, "--skip-existing").err
    assert content(out) == after


@pytest.mark.parametrize("save", ["vspw", "vipseg"])
def test_an_empty_folder_of_a_submission(cli, clip, tmp_path, save):
    path, out = clip("x.mp4", frames=2), tmp_path / "o"
    words = ("segment", path, "--save", save, "-o", f"{out}/", "--skip-existing")
    folder = out / "x" if save == "vspw" else out / "pan_pred" / "x"
    folder.mkdir(parents=True)
    ended = cli(*words)
    assert ended.code == 0, ended.err
    assert "skipped" not in ended.err
    assert len(list(folder.iterdir())) == 2
    assert "skipped" in cli(*words).err


@pytest.mark.parametrize("left", ["nothing", "another video"])
def test_pictures_that_pred_json_does_not_list_are_not_finished(cli, clip, tmp_path, left):
    """They are named, and never replaced: a run that was killed left them, or somebody else."""
    paths, out = [clip(f"{name}.mp4", frames=2) for name in "xy"], tmp_path / "o"
    words = ("--save", "vipseg", "-o", f"{out}/")
    assert cli("segment", paths[0], *words).code == 0
    (out / "pred.json").unlink()
    if left == "another video":
        assert cli("segment", paths[1], *words).code == 0
    ended = cli("segment", paths[0], *words, "--skip-existing")
    assert (ended.code, len(ended.lines)) == (6, 1)
    assert "pan_pred/x: exists; use --overwrite or -o" in ended.err


def test_empty_numbered_pictures(cli, clip, tmp_path):
    path, out = clip("x.mp4", frames=2), tmp_path / "m_%03d.png"
    for name in ("m_000.png", "m_007.png"):
        (tmp_path / name).touch()
    ended = cli("segment", path, "-o", out, "--skip-existing")
    assert ended.code == 0, ended.err
    assert sorted(entry.name for entry in tmp_path.glob("m_*")) == ["m_000.png", "m_001.png"]
    assert "skipped" in cli("segment", path, "-o", out, "--skip-existing").err


@pytest.mark.parametrize("save", ["csv", "masks", "vspw"])
def test_what_no_output_can_be_is_named(cli, clip, tmp_path, save):
    """A folder where a file goes, or a file where a folder goes: neither skipped nor replaced."""
    path, out = clip("x.mp4", frames=2), tmp_path / "o"
    place = {"csv": out / "x.csv", "masks": out / "x.masks", "vspw": out / "x"}[save]
    place.parent.mkdir()
    if save == "csv":
        place.mkdir()
    else:
        place.write_bytes(b"mine")
    ended = cli("segment", path, "--save", save, "-o", f"{out}/", "--skip-existing")
    assert (ended.code, len(ended.lines)) == (6, 1), ended.err
    assert place.is_dir() if save == "csv" else place.read_bytes() == b"mine"


def test_a_link_to_an_empty_file_stays_a_link(cli, clip, tmp_path):
    path, real = clip("x.mp4", frames=2), tmp_path / "real"
    real.touch()
    (tmp_path / "x.csv").symlink_to(real)
    assert cli("segment", path, "--save", "csv", "--skip-existing").code == 0
    assert (tmp_path / "x.csv").is_symlink()
    assert real.read_bytes().startswith(b"frame")


def test_an_interrupt_over_an_empty_file_leaves_no_part(cli, clip, tmp_path, monkeypatch):
    show = Screen.frame

    def frame(self, done):
        show(self, done)
        if done.index == 5:
            os.kill(os.getpid(), signal.SIGINT)

    path = clip("x.mp4", frames=60)
    (tmp_path / "x.csv").touch()
    monkeypatch.setattr(Screen, "frame", frame)
    assert cli("segment", path, "--save", "csv", "--skip-existing").code == 130
    assert (tmp_path / "x.csv").read_bytes() == b""
    assert not list(tmp_path.glob("*.vidparse-part*"))


def test_not_together_with_overwrite(cli, clip):
    ended = cli("segment", clip("x.mp4", frames=2), "--skip-existing", "--overwrite")
    assert (ended.code, len(ended.lines)) == (2, 1)
