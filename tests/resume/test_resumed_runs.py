"""Runs that end early and are called again make what an unbroken run makes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vidparse.resume import journal
from vidparse.resume.journal import Journal
from vidparse.sinks import SINKS, is_output
from vidparse.video import expand_inputs

WISHES = ("--redact", "fill", "--matte", "Car", "--background", "#00FF00")
ALL = ",".join(SINKS)


@pytest.fixture(autouse=True)
def every_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a memory after each clip, not each five seconds."""
    for name in ("FIRST_S", "EVERY_S", "_LEAST_SHARE"):
        monkeypatch.setattr(journal, name, 0)


@pytest.fixture
def full_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    """Let the disk be full when the journal gets its n-th frame in a call."""
    real = Journal._write

    def set_at(number: int | None) -> None:
        written = 0

        def write(self: Journal, data: bytes) -> None:
            nonlocal written
            written += 1
            if written == number:
                with self._writing():
                    raise OSError(28, "No space left on device")
            real(self, data)

        monkeypatch.setattr(Journal, "_write", write)

    return set_at


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def check(cli, full_at, tmp_path: Path):
    """Hold calls that fail and go on against one that does neither.

    Args:
        words: of the call, without -o.
        breaks: number of the frame, counted in each call, at which that call fails.
    """

    def checked(*words: object, breaks: tuple[int, ...] = (4, 3), code: int = 0) -> None:
        out = tmp_path / "out"
        call = ("segment", *words, "-o", f"{out}/", "--resume")
        full_at(None)
        first = cli(*call)
        assert first.code == code, first.err
        whole = files_in(out)
        assert whole and all(name.endswith("/job.json") for name in whole if "resume" in name)
        shutil.rmtree(out)

        for number in breaks:
            full_at(number)
            broken = cli(*call)
            assert broken.code == 6 and "disk full" in broken.err, broken.err
            assert "the same call goes on after" in broken.err
            assert {Path(name).parts[0] for name in files_in(out)} == {
                one.name for one in out.glob(".*resume")
            }
        full_at(None)
        again = cli(*call)
        assert again.code == code, again.err
        assert "went on after" in again.err
        found = files_in(out)
        assert found.keys() == whole.keys()
        others = [name for name in whole if not name.endswith("/job.json")]  # it has times
        assert [name for name in others if found[name] != whole[name]] == []

    return checked


def test_every_output(check, clip) -> None:
    """All in one call; with sound, and mattes for those that need them."""
    source = clip("clip.mp4", frames=8, size_hw=(64, 96), audio=True)
    check(source, "--save", ALL, *WISHES)


@pytest.mark.parametrize(
    "words",
    [
        ("--stabilize",),
        ("--keyframes", "3"),
        ("--keyframes", "auto"),
        ("--start", "0.08", "--end", "0.36", "--stride", "2"),
        ("--save", "matte-png,csv", "--matte", "Car"),
        ("--serial",),
    ],
    ids=" ".join,
)
def test_options(check, clip, words) -> None:
    save = () if "--save" in words else ("--save", "masks,csv")
    check(clip("clip.mp4", frames=10), *save, *words, breaks=(2,))


@pytest.mark.parametrize("model", ["street-panoptic", "street-tcb"])
def test_models_with_a_memory(check, clip, model) -> None:
    source = clip("clip.mp4", frames=9, size_hw=(64, 96))
    check(source, "-m", model, "--size", "64", "--save", "jsonl,ids,panoptic")


def test_folders_of_pictures(check, clip, ffmpeg, tmp_path) -> None:
    (tmp_path / "shots").mkdir()
    ffmpeg("-i", clip("clip.mp4", frames=6), tmp_path / "shots" / "%02d.png")
    check(tmp_path / "shots", "--save", "masks,csv")


def test_videos_that_end_early(check, clip) -> None:
    source = clip("clip.mkv", frames=12, size_hw=(64, 96))
    source.write_bytes(source.read_bytes()[: -source.stat().st_size // 3])
    check(source, "--save", "csv,overlay", breaks=(4,), code=3)


def test_workers_and_one_process_make_the_same(check, clip) -> None:
    check(clip("clip.mp4", frames=30), "--save", "csv,masks", "--workers", "2", breaks=(13,))


def test_a_batch_goes_on_with_its_ledger(cli, clip, full_at, tmp_path) -> None:
    sources = [clip(f"{name}.mp4", frames=6) for name in "ab"]
    ledger = ("--ledger", tmp_path / "b.db", "--retry-failed")
    call = ("segment", *sources, "-o", f"{tmp_path}/o/", "--save", "csv", "--resume", *ledger)
    full_at(6 + 4)
    assert cli(*call).code == 1
    full_at(None)
    again = cli(*call)
    assert again.code == 0
    assert "b.mp4: note: went on after 3 frames" in again.err and "a.mp4: note" not in again.err
    assert len((tmp_path / "o" / "b.csv").read_text().splitlines()) == 1 + 6


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("-", "-o", "x.csv"), "stdin cannot be read again"),
        (("http://127.0.0.1:9/x.mp4", "-o", "x.csv"), "cannot be read again"),
        (("CLIP", "-o", "-"), "-o - is a stream"),
        (("CLIP", "--skip-existing"), "--resume and --skip-existing"),
    ],
)
def test_what_cannot_go_on_is_refused(cli, clip, words, reason) -> None:
    source = clip("clip.mp4", frames=2)
    found = cli("segment", *(source if word == "CLIP" else word for word in words), "--resume")
    assert found.code == 2 and reason in found.err and len(found.lines) == 1


def test_another_job_and_another_input_are_refused(cli, clip, full_at, tmp_path) -> None:
    source = clip("clip.mp4", frames=6)
    call = ("segment", source, "-o", f"{tmp_path}/o/", "--save", "csv", "--resume")
    full_at(4)
    assert cli(*call).code == 6
    full_at(None)
    other = cli(*call, "--stride", "2")
    assert other.code == 2 and "(stride: was not set, is 2)" in other.err and len(other.lines) == 1

    times = source.stat()
    data = bytearray(source.read_bytes())
    data[-1] ^= 1
    source.write_bytes(data)
    os.utime(source, ns=(times.st_atime_ns, times.st_mtime_ns))
    changed = cli(*call)
    assert changed.code == 2 and "the input has changed since" in changed.err

    # A record that is damaged is named, with the way out.
    (record,) = (tmp_path / "o").glob(".*/job.json")
    whole = record.read_bytes()
    record.write_bytes(b"")
    empty = cli(*call)
    assert empty.code == 6 and f"remove {record.parent}, and begin anew" in empty.err
    record.write_bytes(whole)

    data[-1] ^= 1
    source.write_bytes(data)
    os.utime(source, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert cli(*call).code == 0


def test_settings_are_named_as_users_write_them(cli, clip, full_at, tmp_path) -> None:
    call = ("segment", clip("clip.mp4", frames=6), "-o", f"{tmp_path}/o/", "--resume")
    full_at(4)
    assert cli(*call, "--save", "csv").code == 6
    full_at(None)
    other = cli(*call, "--save", "csv", "--classes", "Car,Road", "--contours")
    assert "(contours: was not set, is on)" in other.err or (
        "(classes: was not set, is Car,Road)" in other.err
    )


def test_several_inputs_need_a_ledger(cli, clip, tmp_path) -> None:
    paths = [clip(f"{name}.mp4", frames=2) for name in "ab"]
    call = ("segment", *paths, "-o", f"{tmp_path}/o/", "--save", "csv", "--resume")
    found = cli(*call)
    assert found.code == 2 and "add --ledger batch.db" in found.err
    assert cli(*call, "--ledger", tmp_path / "b.db").code == 0


def test_a_job_that_is_complete_is_left_as_it_is(cli, clip, tmp_path) -> None:
    source, out = clip("clip.mp4", frames=3), tmp_path / "o"
    call = ("segment", source, "-o", f"{out}/", "--save", "masks,csv", "--resume")
    assert cli(*call).code == 0
    whole = files_in(out)
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*")}

    # Again, alone and with jobs: nothing is touched, and the files are named.
    again = cli(*call)
    assert again.code == 0 and again.lines == [f"{source}: note: already complete"]
    assert cli(*call, "--jobs", "1").lines == [f"{source}: note: already complete"]
    record = json.loads(cli(*call, "--json").out)["inputs"][0]
    assert record["outputs"] == [str(out / "clip.masks"), str(out / "clip.csv")]
    assert record["exit_code"] == 0 and record["settled_before"]
    assert files_in(out) == whole
    assert times == {path: path.stat().st_mtime_ns for path in out.rglob("*")}

    # What is gone is made again, to the same bytes.
    (out / "clip.csv").unlink()
    assert cli(*call).code == 0
    found = files_in(out)
    assert {name: data for name, data in found.items() if "resume" not in name} == {
        name: data for name, data in whole.items() if "resume" not in name
    }
    assert cli(*call).lines == [f"{source}: note: already complete"]


def test_outputs_of_another_job_and_changed_ones_are_still_refused(cli, clip, tmp_path) -> None:
    source, out = clip("clip.mp4", frames=3), tmp_path / "o"
    call = ("segment", source, "-o", f"{out}/", "--save", "csv", "--resume")
    assert cli(*call).code == 0

    other = cli(*call, "--stride", "2")
    assert other.code == 6 and "exists; use --overwrite" in other.err
    assert "is of an earlier job (stride: was not set, is 2)" in other.err
    times = source.stat()
    os.utime(source, (times.st_atime, times.st_mtime + 9))
    assert "is of an earlier job (the input has changed since" in cli(*call).err
    os.utime(source, ns=(times.st_atime_ns, times.st_mtime_ns))
    (out / "clip.csv").write_text("mine")
    changed = cli(*call)
    assert changed.code == 6 and "exists; use --overwrite" in changed.err
    assert (out / "clip.csv").read_text() == "mine"

    # Replaced on request, they are of that job.
    assert cli(*call, "--stride", "2", "--overwrite").code == 0
    assert cli(*call, "--stride", "2").lines == [f"{source}: note: already complete"]
    assert cli(*call).code == 6


def test_a_call_without_resume_outdates_the_journal(cli, clip, full_at, tmp_path) -> None:
    source, out = clip("clip.mp4", frames=6), tmp_path / "o"
    call = ("segment", source, "-o", f"{out}/", "--save", "csv")
    full_at(4)
    assert cli(*call, "--resume").code == 6
    full_at(None)
    assert [path.name for path in out.iterdir()] == [".clip.csv.vidparse-resume"]
    anew = cli(*call)
    assert anew.code == 0 and f"note: removed {out / '.clip.csv.vidparse-resume'}: " in anew.err
    assert [path.name for path in out.iterdir()] == ["clip.csv"]

    # It may lie beside an output that is not the first one any more.
    full_at(4)
    assert cli(*call, "--resume", "--overwrite").code == 6
    full_at(None)
    assert cli(*call[:-1], "jsonl,csv", "--overwrite").code == 0
    assert sorted(path.name for path in out.iterdir()) == ["clip.csv", "clip.jsonl"]
    (out / "clip.jsonl").unlink()

    # A record of what was complete goes without a word.
    assert cli(*call, "--resume", "--overwrite").code == 0
    assert len([*out.iterdir()]) == 2
    silent = cli(*call, "--overwrite")
    assert silent.code == 0 and "note" not in silent.err
    assert [path.name for path in out.iterdir()] == ["clip.csv"]


def test_older_outputs_stay_where_no_journal_knows_them(cli, clip, tmp_path) -> None:
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "clip.csv").write_text("mine")
    found = cli(
        "segment", clip("clip.mp4", frames=2), "-o", f"{tmp_path}/o/", "--save", "csv", "--resume"
    )
    assert found.code == 6 and [path.name for path in (tmp_path / "o").iterdir()] == ["clip.csv"]


def test_a_journal_beside_inputs_is_none(clip, tmp_path) -> None:
    clip("clip.mp4", frames=1)
    (tmp_path / ".clip.overlay.mp4.vidparse-resume").mkdir()
    (one,) = expand_inputs([str(tmp_path)], is_output=is_output)
    assert one.name.endswith("clip.mp4") and not one.notes


def test_the_part_of_another_program_is_an_input(clip, tmp_path) -> None:
    clip("film.part.mp4", frames=1)
    clip("film.vidparse-part.mp4", frames=1)
    (one,) = expand_inputs([str(tmp_path)], is_output=is_output)
    assert one.name.endswith("film.part.mp4") and not one.notes


KILLED = """
import os, signal, sys
from vidparse.resume import journal
journal.FIRST_S = journal.EVERY_S = journal._LEAST_SHARE = 0
real, left, number = journal.Journal.keep, [int(sys.argv[1])], int(sys.argv[2])
def keep(self, *memory):
    real(self, *memory)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), number)
journal.Journal.keep = keep
sys.argv[1:3] = []
sys.argv[0] = "vidparse"
from vidparse.cli import main
main()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["kill", "term"])
def test_a_killed_process_goes_on(cli, clip, colour_model, tmp_path, number) -> None:
    source = clip("clip.mp4", frames=12)
    out = tmp_path / "o"
    call = ("-m", colour_model, "--threads", "1", source, "-o", f"{out}/", "--save", "csv,masks")
    assert cli("segment", *call, "--resume").code == 0
    whole = files_in(out)
    shutil.rmtree(out)

    words = [str(word) for word in ("segment", *call, "--resume")]
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, "5", str(int(number)), *words],
        capture_output=True,
        text=True,
    )
    if number == signal.SIGKILL:
        assert ended.returncode == -signal.SIGKILL
    else:
        assert ended.returncode == 130, ended.stderr
        assert "; the same call goes on after " in ended.stderr
        assert not [name for name in files_in(out) if "resume" not in name]
    assert (out / ".clip.csv.vidparse-resume" / "memory-0").is_file()

    again = cli("segment", *call, "--resume")
    assert again.code == 0 and "went on after" in again.err
    found = files_in(out)
    assert found.keys() == whole.keys()
    others = [name for name in whole if not name.endswith("/job.json")]  # it has times
    assert [name for name in others if found[name] != whole[name]] == []
