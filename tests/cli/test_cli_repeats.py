"""Frames that repeat, on the command line: the outputs are the same, the summary counts them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import av
import pytest
from PIL import Image

from support.clips import picture
from vidparse.sinks import SINKS

SHOWN = [0] * 7 + [9] * 6 + [18] + [27] * 11 + [36, 45] + [54] * 13  # the picture of each frame
NEW = 7


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    """A folder of images, as a slide show has them."""
    folder = tmp_path / "slides"
    folder.mkdir()
    for index, number in enumerate(SHOWN):
        Image.fromarray(picture(number, (96, 128))).save(folder / f"{index:03d}.png")
    return folder


def contents(folder: Path) -> dict[str, object]:
    """All files below a folder, which is removed."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    found = {str(path.relative_to(folder)): content(path) for path in files}
    shutil.rmtree(folder)
    return found


def content(path: Path) -> object:
    """Bytes; of Matroska, which numbers its files at random, the packets."""
    if path.suffix not in (".mkv", ".webm"):
        return path.read_bytes()
    with av.open(str(path)) as video:
        return [(packet.pts, bytes(packet)) for packet in video.demux()]


@pytest.mark.parametrize("extra", [(), ("--stabilize",)])
def test_every_output_is_the_same(
    cli, slides: Path, tmp_path: Path, without_repeats, extra
) -> None:
    out = tmp_path / "out"
    command = ("segment", slides, "-o", f"{out}/", "--rate", "25", *extra, "--save")
    lines, found = [], []
    for _ in range(2):
        lines.append(cli(*command, ",".join(SINKS)))
        assert lines[-1].code == 0, lines[-1].err
        found.append(contents(out))
        without_repeats()
    assert f": {len(SHOWN)} frames, {len(SHOWN) - NEW} repeated in " in lines[0].lines[-1]
    assert "repeated" not in lines[1].err
    assert found[0].keys() == found[1].keys() and len(found[0]) > len(SINKS)
    assert [name for name in found[0] if found[0][name] != found[1][name]] == []


def test_workers_spare_theirs_too(cli, slides: Path, tmp_path: Path) -> None:
    found, summaries = [], []
    for extra in ((), ("--workers", "2")):
        ended = cli(
            *("segment", slides, "-o", f"{tmp_path}/out/", "--save", "masks,csv", "--json"),
            *("--rate", "25", *extra),
        )
        assert ended.code == 0
        summaries.append(json.loads(ended.out)["inputs"][0])
        found.append(contents(tmp_path / "out"))
    assert found[0] == found[1]
    alone, shared = (one["repeated"] for one in summaries)
    assert alone == len(SHOWN) - NEW
    assert alone - 8 <= shared <= alone  # each part of the video begins with a frame that is run


def test_moving_pictures_do_not_repeat(cli, clip, tmp_path: Path) -> None:
    ended = cli("segment", clip("x.mp4", frames=5), "--save", "csv", "--json")
    assert json.loads(ended.out)["inputs"][0]["repeated"] == 0
