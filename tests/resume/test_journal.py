"""Journals: what counts, what is cut off, and whose they are."""

from __future__ import annotations

import errno
import gc
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from vidparse.errors import InputError, Interrupted, OutputError, UsageError
from vidparse.frame import Frame
from vidparse.inference.memory import Answering, Finishing
from vidparse.labels import load_labels
from vidparse.maps import Prediction, SegmentMap
from vidparse.resume import Journal

LABELS = load_labels("camvid")
JOB = {"input": "clip.mp4", "model": "street-student", "stride": "2"}


def frame_of(index: int) -> Frame:
    return Frame.from_rgb(np.zeros((4, 6, 3), np.uint8), index=index)


def ids_of(index: int) -> np.ndarray:
    return np.full((4, 6), index, np.uint8)


def test_a_full_disk_leaves_no_empty_folder(tmp_path, monkeypatch):
    journal = Journal(tmp_path / ".clip.csv.vidparse-resume", JOB)

    def full(self, *arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        with pytest.raises(OutputError, match="disk full"):
            journal.__enter__()
    assert list(tmp_path.iterdir()) == []

    # Nobody has it any more, so the next call may begin.
    write(journal.folder, range(2), kept=(1,))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A journal in which memories were taken after frames 2 and 4, and 5 frames lie."""
    folder = tmp_path / ".clip.csv.vidparse-resume"
    write(folder, range(5), kept=(1, 3))
    return folder


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no list of open files here")
def test_what_is_removed_at_the_end_is_closed_before(folder: Path, monkeypatch) -> None:
    """Windows removes no file that is open."""
    unlink, removed = Path.unlink, []

    def noted(self: Path, missing_ok: bool = False) -> None:
        opened = [one.readlink() for one in Path("/proc/self/fd").iterdir() if one.is_symlink()]
        removed.append((self.name, self in opened))
        unlink(self, missing_ok=missing_ok)

    with Journal(folder, JOB) as journal:
        monkeypatch.setattr(Path, "unlink", noted)
        journal.completed([])
    assert removed == [("frames", False), ("memory-0", False), ("memory-1", False)]


def test_an_interrupt_names_the_frames_that_need_not_be_segmented_again(folder: Path) -> None:
    """They may be more than this call has written so far."""
    with Journal(folder, JOB) as journal:
        error = journal.with_way_on(Interrupted("clip.mp4: interrupted after 2 frames; none kept"))
        raise_past(journal)
    assert str(error) == (
        "clip.mp4: interrupted after 2 frames; the same call goes on after 4 frames"
    )


def write(folder: Path, indexes: range, *, kept: tuple[int, ...] = (), done: bool = False) -> None:
    journal = Journal(folder, JOB)
    with journal:
        for i in indexes:
            journal.add(frame_of(i), Prediction(i, SegmentMap(ids_of(i)), LABELS))
            if i in kept:
                journal.keep(Answering(shape=(1, 3, 4, 6 + i)), Finishing())
        if not done:
            raise_past(journal)


def raise_past(journal: Journal) -> None:
    """Leave the journal as a killed process would, but for its lock."""
    assert journal._file is not None
    journal._file.flush()
    journal.close()


def read(folder: Path) -> list[int]:
    """The frames that count, each by its ids."""
    journal = Journal(folder, JOB)
    entries = journal.entries() if journal.frames else iter(())
    found = [journal.replayed(frame_of(i), entries, LABELS).ids for i in range(journal.frames)]
    if journal.memory is not None:
        assert journal.memory.answering.shape[-1] == 6 + len(found) - 1
    journal.close()
    assert all(ids.min() == ids.max() for ids in found)
    return [int(ids[0, 0]) for ids in found]


def test_frames_count_up_to_the_last_memory(folder: Path) -> None:
    assert read(folder) == [0, 1, 2, 3]


def test_it_goes_on_behind_them(folder: Path) -> None:
    write(folder, range(4, 7), kept=(6,))
    assert read(folder) == [0, 1, 2, 3, 4, 5, 6]


def test_it_is_gone_once_all_is_done(folder: Path) -> None:
    write(folder, range(4, 5), done=True)
    assert not folder.exists()


def test_any_torn_end_is_cut_off(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "frames").read_bytes()
    seen = set()
    for length in range(0, len(whole), 7):
        torn = tmp_path / "torn"
        shutil.copytree(folder, torn)
        (torn / "frames").write_bytes(whole[:length])
        found = read(torn)
        assert found in ([], [0, 1], [0, 1, 2, 3])
        seen.add(len(found))
        shutil.rmtree(torn)
    assert seen == {0, 2, 4}


@pytest.mark.parametrize(("name", "found"), [("memory-1", [0, 1]), ("memory-0", [0, 1, 2, 3])])
@pytest.mark.parametrize("how", ["torn", "changed", "gone", "empty"])
def test_the_memory_before_a_torn_one_counts(folder: Path, name, found, how) -> None:
    path = folder / name
    data = path.read_bytes()
    changed = data[:20] + bytes([data[20] ^ 1]) + data[21:]
    path.write_bytes({"torn": data[:-1], "changed": changed}.get(how, b""))
    if how == "gone":
        path.unlink()
    assert read(folder) == found
    write(folder, range(len(found), 6), kept=(5,))
    assert read(folder) == [0, 1, 2, 3, 4, 5]


def test_a_changed_byte_in_a_frame_ends_what_counts(folder: Path) -> None:
    path = folder / "frames"
    data = bytearray(path.read_bytes())
    data[-10 - len(data) // 5] ^= 1  # in the fourth of five
    path.write_bytes(data)
    assert read(folder) == [0, 1]


def test_another_job_is_refused_by_name(folder: Path) -> None:
    for job, words in (
        ({**JOB, "model": "street-tcb"}, "model: was street-student, is street-tcb"),
        ({**JOB, "crf": "5"}, "crf: was not set, is 5"),
        ({"input": "clip.mp4", "model": "street-student"}, "stride: was 2, is not set"),
    ):
        with pytest.raises(UsageError, match=words):
            Journal(folder, job)
    assert read(folder) == [0, 1, 2, 3]


def test_two_at_once_are_refused(folder: Path) -> None:
    first = Journal(folder, JOB)
    with pytest.raises(OutputError, match="another program is at work in it"):
        Journal(folder, JOB)
    first.close()
    Journal(folder, JOB).close()


def test_two_that_begin_at_once_are_refused(tmp_path: Path) -> None:
    one, two = (Journal(tmp_path / "j", JOB) for _ in range(2))
    with one, pytest.raises(OutputError, match="another program is at work in it"), two:
        pass


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": "other"}', '{"schema": 1, "job": 2}'])
def test_a_job_that_cannot_be_read_is_refused(folder: Path, text: str) -> None:
    (folder / "job.json").write_text(text)
    with pytest.raises(OutputError, match=r"job\.json"):
        Journal(folder, JOB)


def test_frames_of_another_video_are_refused(folder: Path) -> None:
    journal = Journal(folder, JOB)
    with pytest.raises(InputError, match="frame 1 of the input is not the one"):
        journal.replayed(frame_of(1), journal.entries(), LABELS)
    journal.close()


def test_nothing_is_left_where_nothing_counts(tmp_path: Path) -> None:
    write(tmp_path / "j", range(3))
    assert not (tmp_path / "j").exists()


def held() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def test_memory_does_not_grow_with_the_frames(tmp_path: Path) -> None:
    folder, sizes = tmp_path / "j", []
    journal = Journal(folder, JOB)
    tracemalloc.start()
    with journal:
        for i in range(450):
            journal.add(frame_of(i), Prediction(i, SegmentMap(ids_of(i % 9)), LABELS))
            if i % 150 == 149:
                journal.keep(Answering(), Finishing())
                sizes.append(held())
        journal.close()
    again = Journal(folder, JOB)
    for i, entry in enumerate(again.entries()):
        assert entry.index == i
        if i % 150 == 149:
            sizes.append(held())
    tracemalloc.stop()
    again.close()
    assert len(sizes) == 6
    assert sizes[2] < sizes[0] + 10_000 and sizes[5] < sizes[3] + 10_000, sizes
