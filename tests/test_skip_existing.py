"""A batch that is run again makes what is missing and leaves what is there."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from vidparse.cli.screen import Screen


def content(folder: Path) -> dict[str, tuple[int, bytes]]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.read_bytes()) for p in files}


@pytest.mark.parametrize("save", ["csv", "overlay,masks", "vspw", "vipseg", "jsonl,mask-video"])
def test_a_finished_batch(cli, clip, tmp_path, save):
    clips = [clip(f"{name}.mp4", frames=2) for name in "ab"]
    words = ("segment", *clips, "--save", save, "-o", f"{tmp_path}/o/", "--skip-existing")
    assert cli(*words).code == 0
    before = content(tmp_path / "o")
    said = cli(*words)
    assert said.code == 0
    assert said.err.count("note: skipped: its outputs are there") == 2
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
    said = cli("segment", *clips, "--save", "csv,jsonl", "-o", f"{out}/", "--skip-existing")
    assert said.code == 0, said.err
    after = content(out)
    assert {name: after[name] for name in before} == before
    assert sorted(after) == [f"{c}.{kind}" for c in "abc" for kind in ("csv", "jsonl")]


def test_two_inputs_of_one_name_are_still_told_apart(cli, clip, tmp_path):
    for folder in "ab":
        (tmp_path / folder).mkdir()
        clip("x.mp4", frames=2).rename(tmp_path / folder / "x.mp4")
    clips = [tmp_path / folder / "x.mp4" for folder in "ab"]
    words = ("segment", *clips, "--save", "csv", "-o", f"{tmp_path}/o/", "--skip-existing")
    for _ in range(2):  # the second time all outputs of the first input are skipped
        said = cli(*words)
        assert said.code == 1
        assert "would overwrite" in said.err


def test_numbered_pictures_and_files(cli, clip, tmp_path):
    path = clip("x.mp4", frames=2)
    for out in ("m_%03d.png", "x.csv", "o.mp4"):
        words = ("segment", path, "-o", tmp_path / out, "--skip-existing")
        assert cli(*words).code == 0
        said = cli(*words)
        assert (said.code, "skipped" in said.err) == (0, True)


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
        said = cli(*words)
    assert said.code == 130
    assert "interrupted, so nothing of it is kept" in said.err
    assert content(tmp_path / "o") == {}
    assert cli(*words).code == 0
    assert len(list((tmp_path / "o" / "x.masks").iterdir())) == 60


def test_not_together_with_overwrite(cli, clip):
    said = cli("segment", clip("x.mp4", frames=2), "--skip-existing", "--overwrite")
    assert (said.code, len(said.lines)) == (2, 1)
