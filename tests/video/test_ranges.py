"""Ranges of one video, each decoded by seeking: together they are the serial decode."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vidparse.video import open_video
from vidparse.video.source import Stamps, packet_stamps

RAGGED = [0, 3000, 9000, 10000, 19000, 22000, 30000, 31000, 40000, 47000, 50000, 60000]
FORMS: dict[str, dict[str, Any]] = {
    "b-frames.mp4": {"options": {"g": "12", "bf": "3"}},
    "open-gop.mp4": {"options": {"g": "9", "bf": "3", "x264-params": "open-gop=1:b-adapt=0"}},
    "open-gop.ts": {"options": {"g": "9", "bf": "3", "x264-params": "open-gop=1:b-adapt=0"}},
    "hevc.mkv": {"codec": "libx265", "options": {"x265-params": "keyint=9:bframes=3:open-gop=1"}},
    "mpeg2.mkv": {"codec": "mpeg2video", "options": {"g": "9", "bf": "2"}},
    "mpeg4.mkv": {"codec": "mpeg4", "options": {"g": "9", "bf": "2"}},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"g": "9", "auto-alt-ref": "1"}},
    "refresh.mp4": {"options": {"g": "12", "x264-params": "intra-refresh=1"}},
    "intra.avi": {"codec": "mjpeg", "pixel_format": "yuvj420p"},
    "one-key.mkv": {"options": {"g": "250", "bf": "2"}},
}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    from support.clips import make_clip

    folder = tmp_path_factory.mktemp("ranges")
    made = {
        name: make_clip(folder / name, frames=40, size_hw=(64, 96), **how)
        for name, how in FORMS.items()
    }
    ragged = [cycle * 66000 + stamp for cycle in range(4) for stamp in RAGGED]
    options = {"g": "10", "bf": "2"}
    made["vfr.mkv"] = make_clip(folder / "vfr.mkv", frames=48, pts=ragged, options=options)
    whole = made["open-gop.ts"].read_bytes()
    made["late-key.ts"] = folder / "late-key.ts"
    made["late-key.ts"].write_bytes(whole[: 188 * 3] + whole[188 * 30 :])
    return made


def frames_of(path: Path, start: int, end: int | None, stamps: Stamps, base: Fraction) -> Any:
    edges = [None if edge is None else (edge - stamps.first) * base for edge in (start, end)]
    with open_video(path, start_s=edges[0], end_s=edges[1], numbered=False) as source:
        return [(frame.pts, frame.image.rgb()) for frame in source]


@pytest.mark.parametrize("name", [*FORMS, "vfr.mkv", "late-key.ts"])
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(borders=st.sets(st.integers(1, 39), max_size=4))
def test_ranges_joined_are_the_serial_decode(
    name: str, borders: set[int], videos: dict[str, Path]
) -> None:
    path = videos[name]
    with open_video(path) as source:
        stamps, base = source.stamps(), source.info.time_base
        serial = [(frame.pts, frame.image.rgb()) for frame in source]
    assert stamps is not None
    assert list(stamps.pts) == [pts for pts, _ in serial]
    edges = [stamps.pts[at] for at in (0, *sorted(borders)) if at < len(stamps.pts)]
    joined = [
        frame
        for start, end in zip(edges, [*edges[1:], None], strict=True)
        for frame in frames_of(path, start, end, stamps, base)
    ]
    assert [pts for pts, _ in joined] == [pts for pts, _ in serial]
    for (pts, mine), (_, whole) in zip(joined, serial, strict=True):
        assert np.array_equal(mine, whole), pts


def test_a_range_and_its_stride_have_stamps_of_their_own(videos: dict[str, Path]) -> None:
    with open_video(videos["b-frames.mp4"], start_s=0.4, end_s=1.2, stride=3) as source:
        stamps = source.stamps()
        found = [frame.pts for frame in source]
    assert stamps is not None
    assert list(stamps.pts[::3]) == found
    assert stamps.first == 0 and len(stamps.pts) == 20


def test_what_was_read_before_a_range_of_hevc_is_no_damage(videos: dict[str, Path]) -> None:
    """Its decoder reports no lost pictures, so what it owes shows them."""
    with open_video(videos["hevc.mkv"], start_s=1.0) as source:
        assert len(list(source)) == 15 and source.skipped == 0


def test_packets_behind_a_range_are_not_read_for_its_stamps() -> None:
    def packets() -> Iterator[Any]:
        for number in range(20):
            assert number < 15, "read on behind the end"
            yield SimpleNamespace(size=1, pts=number, dts=number - 2, is_keyframe=True)

    stamps = packet_stamps(packets(), 0, None, 12)
    assert stamps is not None and stamps.pts == tuple(range(12))


def test_frames_without_times_have_no_stamps(clip: Any) -> None:
    with open_video(clip("old.avi", options={"bf": "2"})) as source:
        assert source.stamps() is None


def test_scenes_and_folders_count_their_frames(tmp_path: Path) -> None:
    import cv2

    with open_video("sample://street?frames=9&size=64x64", start_s=0.1, stride=2) as source:
        stamps = source.stamps()
        assert stamps is not None and all(stamps.keys)
        assert list(stamps.pts[::2]) == [frame.pts for frame in source]
    for index in range(5):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((8, 8, 3), index, np.uint8))
    with open_video(tmp_path, end_s=0.1) as source:
        stamps = source.stamps()
        assert stamps is not None
        assert list(stamps.pts) == [frame.pts for frame in source] == [0, 1, 2]
