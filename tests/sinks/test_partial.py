"""An output is there complete or not at all; nothing of the user's is overwritten by accident."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from vidparse.errors import ClosedPipe, Interrupted, OutputError
from vidparse.frame import Frame, VideoInfo
from vidparse.image import ColourTags, Rgb
from vidparse.labels import load_labels
from vidparse.maps import Matte, Prediction, SegmentMap, segments_of_ids
from vidparse.requests.matte import MatteOptions
from vidparse.sinks import SINKS, SinkOptions, make_sinks
from vidparse.sinks.records import Jsonl
from vidparse.sinks.stream import ByteStream

LABELS = load_labels("camvid")
SIZE_HW = (64, 96)
INFO = VideoInfo(
    name="clip.mp4",
    size_hw=SIZE_HW,
    time_base=Fraction(1, 25),
    rate=Fraction(25),
    frames=None,
    duration_s=None,
    sample_aspect_ratio=Fraction(1),
    colour=ColourTags(),
)
ALL = list(SINKS)


def feed(sinks, count: int = 3, *, objects: bool = False) -> None:
    """Random classes, or of `objects` other ids in every frame."""
    random = np.random.default_rng(0)
    for sink in sinks:
        sink.open(INFO, LABELS)
    for i in range(count):
        picture = Rgb(random.integers(0, 256, (*SIZE_HW, 3), dtype=np.uint8))
        ids = random.integers(0, 11, SIZE_HW, dtype=np.uint8)
        for sink in sinks:
            found = SegmentMap(ids)
            if objects:
                class_of = {11 * i + kind + 1: kind for kind in range(11)}
                wide = ids.astype(np.uint16) + np.uint16(11 * i + 1)
                found = SegmentMap(wide, segments_of_ids(wide, class_of, things=LABELS.things))
            matte = Matte("", ids * np.uint8(23), ids * np.uint8(23))
            sink.write(Frame(i, i, picture), Prediction(i, found, LABELS, (matte,)))


def sinks_for(source: Path, out: str | None = None, *, names=ALL, **options):
    return make_sinks(names, source=str(source), out=out, options=SinkOptions(**options))


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"the input")
    return path


def test_kept_outputs_appear_only_at_the_end(clip):
    sinks = sinks_for(clip)
    outputs = [Path(output) for sink in sinks for output in sink.outputs]
    feed(sinks)
    assert len(outputs) > len(SINKS)
    assert not any(path.exists() for path in outputs)
    for sink in sinks:
        sink.close(keep=True)
    assert all(path.exists() for path in outputs)
    tops = {path.relative_to(clip.parent).parts[0] for path in outputs}
    assert listing(clip.parent) == sorted({*tops, "clip.mp4"})
    assert clip.read_bytes() == b"the input"


@pytest.mark.parametrize("frames", [0, 3])
def test_dropped_outputs_leave_nothing(clip, frames):
    sinks = sinks_for(clip)
    feed(sinks, frames)
    for sink in sinks:
        sink.close(keep=False)
    assert listing(clip.parent) == ["clip.mp4"]


def test_closing_what_was_never_opened_is_harmless(clip):
    for keep in (True, False):
        for sink in sinks_for(clip):
            sink.close(keep=keep)
    assert listing(clip.parent) == ["clip.mp4"]


@pytest.mark.parametrize("matte", [None, ("each",)])
@pytest.mark.parametrize("name", ALL)
def test_without_a_place_for_what_waits_the_error_is_the_one_of_the_disk(
    clip, monkeypatch, name, matte
):
    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if name == "background" and matte:
        return  # of one matte alone
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    (sink,) = sinks_for(clip, names=[name], mattes=MatteOptions(matte))
    try:
        with sink:
            feed([sink], objects=True)
    except OutputError as error:
        assert "disk full" in str(error)
        assert listing(clip.parent) == [clip.name]


@pytest.mark.parametrize("name", ALL)
def test_existing_outputs_are_kept_without_overwrite(clip, name):
    for sink in (first := sinks_for(clip, names=[name])):
        feed([sink])
        sink.close(keep=True)
    with pytest.raises(OutputError, match="exists; use --overwrite or -o"):
        sinks_for(clip, names=[name])
    (again,) = sinks_for(clip, names=[name], overwrite=True)
    feed([again], 2)
    again.close(keep=True)
    written = {Path(path).relative_to(clip.parent).parts[0] for path in first[0].outputs}
    assert listing(clip.parent) == sorted([*written, "clip.mp4"])


def test_overwrite_keeps_the_old_output_when_the_new_one_fails(clip):
    old = clip.with_name("clip.csv")
    old.write_text("old")
    (sink,) = sinks_for(clip, names=["csv"], overwrite=True)
    feed([sink])
    sink.close(keep=False)
    assert old.read_text() == "old"


def test_overwritten_masks_leave_no_old_frames(clip):
    for count in (5, 2):
        (sink,) = sinks_for(clip, names=["masks"], overwrite=True)
        feed([sink], count)
        sink.close(keep=True)
    assert listing(clip.with_name("clip.masks")) == ["000000.png", "000001.png"]
    assert listing(clip.parent) == ["clip.masks", "clip.mp4"]


@pytest.mark.parametrize("foreign", ["notes.txt", "holiday.png", "0001.png", "sub/"])
def test_a_folder_with_anything_else_in_it_is_never_replaced(clip, foreign):
    folder = clip.with_name("clip.masks")
    folder.mkdir()
    (folder / "000000.png").write_bytes(b"")
    if foreign.endswith("/"):
        (folder / foreign).mkdir()
    else:
        (folder / foreign).write_bytes(b"mine")
    with pytest.raises(OutputError, match="no mask of ours"):
        sinks_for(clip, names=["masks"], overwrite=True)


def test_stale_partial_files_are_replaced_silently(clip):
    (clip.parent / "clip.masks.vidparse-part").mkdir()
    (clip.parent / "clip.masks.vidparse-part" / "000000.png").write_bytes(b"old")
    (clip.parent / "clip.vidparse-part.jsonl").write_text("old\n" * 1000)
    sinks = sinks_for(clip, names=["masks", "jsonl"])
    feed(sinks)
    for sink in sinks:
        sink.close(keep=True)
    assert listing(clip.parent) == ["clip.jsonl", "clip.masks", "clip.mp4"]
    assert "old" not in clip.with_name("clip.jsonl").read_text()


def test_an_interrupt_in_the_middle_of_a_write_loses_nothing_before_it(clip, monkeypatch):
    (sink,) = sinks_for(clip, names=["masks"])
    feed([sink], 2)

    def interrupted(*args: object) -> bytes:
        raise Interrupted("stopped; outputs were kept")

    monkeypatch.setattr("vidparse.sinks.masks.palette_png", interrupted)
    prediction = Prediction(2, SegmentMap(np.zeros(SIZE_HW, np.uint8)), LABELS)
    with pytest.raises(Interrupted):
        sink.write(Frame(2, 2, Rgb(np.zeros((*SIZE_HW, 3), np.uint8))), prediction)
    sink.close(keep=True)
    assert listing(clip.with_name("clip.masks")) == ["000000.png", "000001.png"]


class TestTheInputIsSafe:
    def test_same_name(self, clip):
        with pytest.raises(OutputError, match="is the input itself"):
            sinks_for(clip, str(clip), names=["overlay"], overwrite=True)

    def test_links(self, clip):
        soft, hard = clip.with_name("soft.mp4"), clip.with_name("hard.mp4")
        soft.symlink_to(clip)
        hard.hardlink_to(clip)
        for link in (soft, hard):
            with pytest.raises(OutputError, match="is the input itself"):
                sinks_for(clip, str(link), names=["overlay"], overwrite=True)

    def test_partial_name(self, tmp_path):
        source = tmp_path / "a.vidparse-part.mp4"
        source.write_bytes(b"x")
        with pytest.raises(OutputError, match="is the input itself"):
            sinks_for(source, str(tmp_path / "a.mp4"), names=["overlay"])

    def test_folder_that_would_be_replaced_holds_the_input(self, tmp_path):
        folder = tmp_path / "x" / "clip.masks"
        folder.mkdir(parents=True)
        source = folder / "000000.png"
        source.write_bytes(b"x")
        # default name of that input's masks is another; ask for the holding folder by its parent
        clip = folder.parent / "clip.mp4"
        clip.symlink_to(source)
        with pytest.raises(OutputError, match="holds the input"):
            sinks_for(clip, names=["masks"], overwrite=True)


def test_places_that_can_not_be_written(clip):
    with pytest.raises(OutputError, match="cannot be written"):
        sinks_for(clip, str(clip / "sub" / "x.csv"), names=["csv"])
    with pytest.raises(OutputError, match="is a directory"):
        clip.with_name("clip.csv").mkdir()
        sinks_for(clip, names=["csv"], overwrite=True)
    if os.geteuid() != 0:
        locked = clip.with_name("locked")
        locked.mkdir(mode=0o500)
        with pytest.raises(OutputError, match="not writable"):
            sinks_for(clip, str(locked), names=["csv"])


def test_a_folder_that_vanishes_is_one_line(clip):
    (sink,) = sinks_for(clip, str(clip.parent / "out") + "/", names=["csv"])
    (clip.parent / "out").rmdir()
    with pytest.raises(OutputError, match="cannot be written"):
        sink.open(INFO, LABELS)
    sink.close(keep=False)


@contextmanager
def small_files() -> Iterator[None]:
    """No file may grow past 64 bytes: writes fail like on a full disk, in this process only.

    Held no longer than needed: what pytest prints may go to a file, too.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("name", ALL)
def test_a_full_disk_is_one_line_and_leaves_nothing(clip, name, keep):
    (sink,) = sinks_for(clip, names=[name], palette="distinct")
    message = ""
    with small_files():
        try:
            feed([sink], 60, objects=name.startswith("tracks"))  # a row for each id, not frame
        except OutputError as error:
            message = str(error)
        try:
            sink.close(keep=keep)
        except OutputError as error:
            message = message or str(error)
    if keep:
        assert message and "\n" not in message
    assert listing(clip.parent) == ["clip.mp4"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_device_is_a_disk_full_error():
    with Path("/dev/full").open("wb") as device:
        sink = Jsonl(device, SinkOptions())
        with pytest.raises(OutputError, match="stdout: disk full"):
            sink.open(INFO, LABELS)
        device.raw.close()  # drop what cannot be flushed


def test_a_reader_that_went_away_is_a_closed_pipe():
    read_end, write_end = os.pipe()
    os.close(read_end)
    pipe = os.fdopen(write_end, "wb", buffering=0)
    with pytest.raises(ClosedPipe, match="reader"):
        ByteStream(pipe).write(b"x", flush=True)
    pipe.close()


def test_a_killed_run_leaves_what_can_be_read(tmp_path):
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"")
    script = f"""
        import os, signal, sys
        sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[2])]!r}
        from pathlib import Path
        from test_partial import feed, sinks_for
        feed(sinks_for(Path({str(clip)!r}), names=["overlay", "jsonl", "csv", "masks"]), 60)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert listing(tmp_path) == [
        "clip.masks.vidparse-part",
        "clip.mp4",
        "clip.overlay.vidparse-part.mp4",
        "clip.vidparse-part.csv",
        "clip.vidparse-part.jsonl",
    ]
    assert len((tmp_path / "clip.vidparse-part.jsonl").read_text().splitlines()) == 61
    assert len((tmp_path / "clip.vidparse-part.csv").read_text().splitlines()) == 61
    assert len(listing(tmp_path / "clip.masks.vidparse-part")) == 60
    with av.open(str(tmp_path / "clip.overlay.vidparse-part.mp4")) as container:
        playable = sum(1 for _ in container.decode(video=0))
    assert playable >= 25  # all but the last fragment of about a second
