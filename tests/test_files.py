"""A file or folder is there whole or not at all, whoever else writes, whatever lies in its way."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from vidparse.errors import Interrupted, OutputError
from vidparse.filenames import same_file
from vidparse.files import WholeFile, WholeFolder, kind_of, whole_file


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def whole_folder(final: Path, **options: bool) -> Iterator[Path]:
    """As `whole_file`, by the steps that outputs take."""
    folder, done = WholeFolder(final, **options), False
    try:
        folder.create()
        with folder.writing():
            yield folder.path
        done = True
    finally:
        folder.close(keep=done)


@pytest.fixture(params=["file", "folder"])
def whole(request, tmp_path):
    """`whole(name, **options)` of one kind, with functions that fill and read it."""
    is_file = request.param == "file"

    class Kind:
        make = staticmethod(whole_file if is_file else whole_folder)
        raw = WholeFile if is_file else WholeFolder
        part = "x.vidparse-part.csv" if is_file else "x.csv.vidparse-part"

        @staticmethod
        def fill(path: Path, text: str) -> None:
            (path if is_file else path / "a").write_text(text)

        @staticmethod
        def read(path: Path) -> str:
            return (path if is_file else path / "a").read_text()

    return Kind


class TestWhole:
    def test_it_appears_at_the_end(self, whole, tmp_path):
        final = tmp_path / "x.csv"
        with whole.make(final) as part:
            whole.fill(part, "new")
            assert listing(tmp_path) == [whole.part]
        assert whole.read(final) == "new"
        assert listing(tmp_path) == ["x.csv"]

    @pytest.mark.parametrize("error", [ValueError, OSError, Interrupted, KeyboardInterrupt])
    def test_an_error_leaves_what_was_there(self, whole, tmp_path, error):
        final = tmp_path / "x.csv"
        with whole.make(final) as part:
            whole.fill(part, "old")
        with pytest.raises(OutputError if error is OSError else error), whole.make(final) as part:
            whole.fill(part, "new")
            raise error("no")
        assert whole.read(final) == "old"
        assert listing(tmp_path) == ["x.csv"]

    def test_what_a_killed_program_left_goes(self, whole, tmp_path):
        script = f"""
            import os, signal
            from pathlib import Path
            from vidparse.files import {whole.raw.__name__}
            part = {whole.raw.__name__}(Path({str(tmp_path / "x.csv")!r}))
            part.create()
            os.kill(os.getpid(), signal.SIGKILL)
        """
        done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
        assert done.returncode == -signal.SIGKILL
        assert listing(tmp_path) == [whole.part]
        with whole.make(tmp_path / "x.csv", replace=False) as part:
            assert part.name == whole.part
            whole.fill(part, "new")
        assert listing(tmp_path) == ["x.csv"]

    def test_what_others_call_a_part_stays(self, whole, tmp_path):
        theirs = tmp_path / whole.part.replace("vidparse-", "")
        if whole.raw is WholeFolder:
            theirs.mkdir()
        whole.fill(theirs, "precious")
        with whole.make(tmp_path / "x.csv") as part:
            whole.fill(part, "new")
        assert whole.read(theirs) == "precious"
        assert listing(tmp_path) == sorted(["x.csv", theirs.name])

    def test_two_writers_never_share_a_temporary_name(self, whole, tmp_path):
        final = tmp_path / "x.csv"
        with whole.make(final) as one, whole.make(final) as other:
            assert one != other
            whole.fill(one, "one")
            whole.fill(other, "other")
        assert whole.read(final) == "one", "the last to end"
        assert listing(tmp_path) == ["x.csv"]

    def test_the_second_writer_is_refused_where_nothing_may_be_replaced(self, whole, tmp_path):
        final = tmp_path / "x.csv"
        with whole.make(final, replace=False) as one:
            whole.fill(one, "one")
            with (
                pytest.raises(OutputError, match="another program is writing it"),
                whole.make(final, replace=False),
            ):
                pass
        assert whole.read(final) == "one"

    def test_what_appeared_meanwhile_is_left_as_it_is(self, whole, tmp_path):
        final = tmp_path / "x.csv"
        with (
            pytest.raises(OutputError, match="was written by another program meanwhile"),
            whole.make(final, replace=False) as part,
        ):
            whole.fill(part, "mine")
            with whole.make(final) as other:
                whole.fill(other, "theirs")
        assert whole.read(final) == "theirs"
        assert listing(tmp_path) == ["x.csv"]

    def test_systems_without_links_and_locks(self, whole, tmp_path, monkeypatch):
        def none(*arguments):
            raise OSError(95, "not supported")

        monkeypatch.setattr("vidparse.files.fcntl.flock", none)
        monkeypatch.setattr("os.link", none)
        final = tmp_path / "x.csv"
        with (
            pytest.raises(OutputError, match="was written by another program meanwhile"),
            whole.make(final, replace=False) as one,
        ):
            with whole.make(final, replace=False) as other:
                assert one != other
                whole.fill(other, "other")
            whole.fill(one, "one")
        assert whole.read(final) == "other"

    @pytest.mark.parametrize("planted", ["link", "dangling link", "pipe", "socket", "other kind"])
    def test_what_lies_at_the_temporary_name_is_not_written_through(self, whole, tmp_path, planted):
        folder, victim = tmp_path / "out", tmp_path / "victim"
        folder.mkdir()
        name = folder / whole.part
        if planted.endswith("link"):
            if planted == "link":
                victim.write_text("precious") if whole.raw is WholeFile else victim.mkdir()
            name.symlink_to(victim)
        elif planted == "pipe":
            os.mkfifo(name)
        elif planted == "socket":
            os.chdir(folder)  # the path of a socket is short
            socket.socket(socket.AF_UNIX).bind(name.name)
        else:
            name.mkdir() if whole.raw is WholeFile else name.write_text("")
        with whole.make(folder / "x.csv") as part:
            whole.fill(part, "new")
        assert whole.read(folder / "x.csv") == "new"
        assert listing(folder) == sorted(["x.csv", whole.part])
        if planted == "link":
            untouched = (
                victim.read_text() == "precious" if victim.is_file() else not listing(victim)
            )
            assert untouched
        assert planted != "dangling link" or not victim.exists()

    @pytest.mark.parametrize("stem", ["x" * 251, "界" * 83, "e\u0301" * 83])
    def test_names_as_long_as_they_can_be(self, whole, tmp_path, stem):
        final = tmp_path / f"{stem}.csv"
        with whole.make(final) as one, whole.make(final) as other:
            whole.fill(other, "other")
            whole.fill(one, "one")
        assert listing(tmp_path) == [final.name]

    def test_a_part_of_a_result_stays_beside_an_older_one(self, whole, tmp_path):
        final = tmp_path / "x.csv"
        for text, complete in (("old", True), ("new", False)):
            part = whole.raw(final)
            part.create()
            whole.fill(part.path, text)
            left = part.close(keep=True, complete=complete)
        assert left is not None
        assert (whole.read(final), whole.read(left)) == ("old", "new")
        assert listing(tmp_path) == sorted(["x.csv", whole.part])

    def test_a_part_of_a_result_where_nothing_was(self, whole, tmp_path):
        part = whole.raw(tmp_path / "x.csv")
        part.create()
        assert part.close(keep=True, complete=False) is None
        assert listing(tmp_path) == ["x.csv"]


class TestWhatIsThere:
    @pytest.mark.parametrize("kind", ["pipe", "socket", "device", "other kind"])
    def test_only_a_file_takes_the_place_of_a_file(self, whole, tmp_path, kind, monkeypatch):
        monkeypatch.chdir(tmp_path)
        final = Path("x.csv")
        if kind == "pipe":
            os.mkfifo(final)
        elif kind == "socket":
            socket.socket(socket.AF_UNIX).bind(str(final))
        elif kind == "device":
            try:
                os.mknod(final, 0o20666, os.makedev(1, 3))
            except OSError:
                pytest.skip("only root makes devices")
        else:
            final.mkdir() if whole.raw is WholeFile else final.write_text("")
        before = kind_of(final)
        with pytest.raises(OutputError, match=f"is {before}, not"), whole.make(final) as part:
            whole.fill(part, "new")
        assert kind_of(final) == before
        assert listing(tmp_path) == ["x.csv"]

    def test_a_link_stays_and_what_it_points_to_is_replaced(self, whole, tmp_path):
        (tmp_path / "there").mkdir()
        (tmp_path / "there" / "here").mkdir()
        target, link = tmp_path / "there" / "real.csv", tmp_path / "x.csv"
        link.symlink_to(target)
        for text in ("first", "second"):
            with whole.make(link) as part:
                whole.fill(part, text)
                assert part.parent == target.parent
            assert link.is_symlink()
            assert whole.read(target) == whole.read(link) == text
        assert listing(tmp_path) == ["there", "x.csv"]
        assert listing(tmp_path / "there") == ["here", "real.csv"]

    def test_a_link_to_itself_is_one_line(self, whole, tmp_path):
        (tmp_path / "x.csv").symlink_to("x.csv")
        with pytest.raises(OutputError), whole.make(tmp_path / "x.csv") as part:
            whole.fill(part, "new")
        assert listing(tmp_path) == ["x.csv"]


def test_same_file(tmp_path):
    one = tmp_path / "one"
    one.write_text("")
    soft, hard, other = tmp_path / "soft", tmp_path / "hard", tmp_path / "other"
    soft.symlink_to(one)
    hard.hardlink_to(one)
    other.write_text("")
    assert same_file(one, soft)
    assert same_file(one, hard)
    assert same_file(one, tmp_path / "x" / ".." / "one")
    assert not same_file(one, other)
    assert same_file(tmp_path / "none", tmp_path / "none")
