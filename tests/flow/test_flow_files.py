"""Flow on disk: .flo files and the cache of them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from vidparse.errors import InputError, OutputError, VidparseError
from vidparse.flow import DisFlow, FlowCache, read_flo, write_flo


def random_flow(height: int = 5, width: int = 7) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((2, height, width)).astype(np.float32) * 30


def random_pair(size_hw: tuple[int, int] = (64, 72)) -> np.ndarray:
    """Two RGB pictures, uint8 (2, H, W, 3)."""
    return np.random.default_rng(2).integers(0, 256, (2, *size_hw, 3), np.uint8)


def one_line(failure: pytest.ExceptionInfo[VidparseError], *words: object) -> None:
    text = str(failure.value)
    assert "\n" not in text and ": " in text and "; " in text
    for word in words:
        assert str(word) in text


def test_a_flo_file_has_the_layout_of_middlebury(tmp_path) -> None:
    path = tmp_path / "pair.flo"
    write_flo(path, np.array([[[1, 2]], [[3, 4]]], np.float32))
    assert path.read_bytes() == struct.pack("<f2i4f", 202021.25, 2, 1, 1, 3, 2, 4)


def test_flow_comes_back_bit_for_bit(tmp_path) -> None:
    flow = random_flow()
    flow[0, 0, :4] = np.nan, np.inf, -0.0, 1e-42
    write_flo(tmp_path / "pair.flo", flow)
    again = read_flo(tmp_path / "pair.flo")
    assert again.dtype == np.float32 and again.tobytes() == flow.tobytes()
    assert [path.name for path in tmp_path.iterdir()] == ["pair.flo"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "PIEH"),
        (b"PIEH\2\0\0", "PIEH"),
        (struct.pack("<4s2i4f", b"PIEX", 2, 1, 1, 3, 2, 4), "PIEH"),
        (struct.pack("<4s2i3f", b"PIEH", 2, 1, 1, 3, 2), "12 bytes"),
        (struct.pack("<4s2i5f", b"PIEH", 2, 1, 1, 3, 2, 4, 5), "20 bytes"),
        (struct.pack("<4s2i", b"PIEH", 0, 1), "0x1"),
        (struct.pack("<4s2i", b"PIEH", -1, -1), "-1x-1"),
        (struct.pack("<4s2i", b"PIEH", 2**31 - 1, 2**31 - 1), "2147483647"),
        (struct.pack("<4s2i", b"PIEH", 99_999, 99_999), "0 bytes"),
    ],
)
def test_a_damaged_flo_file_is_named(tmp_path, data, message) -> None:
    path = tmp_path / "bad.flo"
    path.write_bytes(data)
    with pytest.raises(InputError) as failure:
        read_flo(path)
    one_line(failure, path, message)


def test_a_missing_flo_file_is_named(tmp_path) -> None:
    for path in (tmp_path / "none.flo", tmp_path):
        with pytest.raises(InputError) as failure:
            read_flo(path)
        one_line(failure, path)


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch) -> None:
    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OutputError) as failure:
        write_flo(tmp_path / "pair.flo", random_flow())
    one_line(failure, tmp_path / "pair.flo", "disk full")
    assert list(tmp_path.iterdir()) == []


class Counted:
    """DIS that counts its calls."""

    name, key = "counted", "counted-1"

    def __init__(self) -> None:
        self.calls = 0

    def between(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        self.calls += 1
        return DisFlow().between(a, b)


def test_a_second_run_reads_the_very_same_flow(tmp_path) -> None:
    a, b = random_pair()
    for video in ("seq 1", "straße:*?..", "-"):
        estimator = Counted()
        first = FlowCache(estimator, tmp_path).between(a, b, video=video, stem="000.jpg")
        second = FlowCache(estimator, tmp_path).between(a, b, video=video, stem="000.jpg")
        assert estimator.calls == 1
        assert first.tobytes() == second.tobytes() == DisFlow().between(a, b).tobytes()
        assert (tmp_path / "counted-1" / video / "000.jpg.flo").is_file()


def test_without_a_folder_nothing_is_kept() -> None:
    estimator = Counted()
    a, b = random_pair()
    for _ in range(2):
        FlowCache(estimator, None).between(a, b, video="v", stem="0")
    assert estimator.calls == 2


def test_kept_flow_of_another_size_is_refused(tmp_path) -> None:
    cache = FlowCache(Counted(), tmp_path)
    cache.between(*random_pair(), video="v", stem="0")
    with pytest.raises(InputError) as failure:
        cache.between(*random_pair((80, 72)), video="v", stem="0")
    one_line(failure, tmp_path / "counted-1" / "v" / "0.flo", "72x64", "72x80", "folder")


def test_a_damaged_file_in_the_cache_is_named(tmp_path) -> None:
    cache = FlowCache(Counted(), tmp_path)
    pair = random_pair()
    cache.between(*pair, video="v", stem="0")
    path = tmp_path / "counted-1" / "v" / "0.flo"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError) as failure:
        cache.between(*pair, video="v", stem="0")
    one_line(failure, path, "delete it")


def test_a_cache_that_cannot_be_written_fails_before_the_work(tmp_path) -> None:
    estimator = Counted()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError) as failure:
        FlowCache(estimator, tmp_path / "file").between(*random_pair(), video="v", stem="0")
    one_line(failure, tmp_path / "file")
    with pytest.raises(InputError, match="is no name of a file"):
        FlowCache(estimator, tmp_path).between(*random_pair(), video="v" * 300, stem="0")
    assert estimator.calls == 0


@pytest.mark.parametrize("name", ["", ".", "..", "a/../../b", "/etc", "a\0b"])
def test_names_can_not_leave_the_folder(tmp_path, name) -> None:
    cache = FlowCache(Counted(), tmp_path)
    for video, stem in ((name, "0"), ("v", name)):
        with pytest.raises(InputError, match=r"leads out of the folder|no name of a file"):
            cache.between(*random_pair(), video=video, stem=stem)


def test_videos_in_subfolders_have_subfolders_in_the_cache(tmp_path) -> None:
    estimator = Counted()
    cache, pair = FlowCache(estimator, tmp_path), random_pair()
    first = cache.between(*pair, video="day/drive", stem="0")
    assert np.array_equal(cache.between(*pair, video="day/drive", stem="0"), first)
    assert estimator.calls == 1
    assert [path.parent.name for path in tmp_path.rglob("0.flo")] == ["drive"]
