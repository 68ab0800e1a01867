"""`ids` and `id-video`: every id comes back as it was, however wide it is."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image as Pillow

from support.object_outputs import TOY, crowd, info_of, objects, scenes, write
from vidparse.data.pictures import read_indices
from vidparse.errors import InputError, OutputError, UsageError
from vidparse.frame import Frame
from vidparse.image import Rgb
from vidparse.maps import Prediction, SegmentMap, read_panoptic_png
from vidparse.sinks import SinkOptions, is_output, make_sinks
from vidparse.sinks.masks import Ids, IdVideo
from vidparse.video import read_id_video, read_mask_video

NARROW = [crowd(300, first) for first in (1, 40, 65_236)]
LATE = [crowd(300, first) for first in (1, 65_000, 65_500, 7, 9_000_000)]  # wide from the third on


@pytest.mark.parametrize("maps", [NARROW, LATE], ids=["16 bits", "24 bits"])
@pytest.mark.parametrize("ending", [".mkv", ".nut"])
def test_video_keeps_ids_and_times(tmp_path: Path, maps: list[SegmentMap], ending: str) -> None:
    path = tmp_path / f"x{ending}"
    assert write("id-video", path, maps) == []
    read = list(read_id_video(path))
    assert [(ids == found.ids).all() for ids, found in zip(read, maps, strict=True)]
    assert {ids.dtype for ids in read} == {np.dtype(np.uint16 if maps is NARROW else np.uint32)}
    for ids, found in zip(read, maps, strict=True):
        assert (ids == found.ids).all()
    with av.open(str(path)) as container:
        (video,) = container.streams.video
        times = [float(frame.pts * frame.time_base) for frame in container.decode(video)]
    assert times == pytest.approx([2 * i / 25 for i in range(len(maps))], abs=0.0006)
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_pictures_keep_ids(tmp_path: Path) -> None:
    write("ids", tmp_path / "x", LATE)
    for i, found in enumerate(LATE):
        path = tmp_path / "x" / f"{i:06d}.png"
        wide = found.ids.max() > 65535
        with Pillow.open(path) as picture:
            assert picture.mode == ("RGB" if wide else "I;16")
        ids = read_panoptic_png(path) if wide else read_indices(path)
        assert (ids == found.ids).all()


def test_rendered_scenes_come_back(tmp_path: Path) -> None:
    dataset, videos = scenes()
    for name, maps in videos.items():
        write("id-video", tmp_path / f"{name}.ids.mkv", maps, dataset.labels)
        read = list(read_id_video(tmp_path / f"{name}.ids.mkv"))
        assert all((ids == found.ids).all() for ids, found in zip(read, maps, strict=True))


def test_a_pipe_has_24_bits_from_the_start(tmp_path: Path) -> None:
    for pipe_format in (None, "matroska", "nut"):
        out = io.BytesIO()
        sink = IdVideo(out, SinkOptions(pipe_format=pipe_format))
        sink.open(info_of(LATE[0].size_hw), TOY)
        for i, found in enumerate(LATE):
            picture = Rgb(np.zeros((*found.size_hw, 3), np.uint8))
            sink.write(Frame(i, i, picture), Prediction(i, found, TOY))
        sink.close(keep=True)
        (tmp_path / "x").write_bytes(out.getvalue())
        read = list(read_id_video(tmp_path / "x"))
        assert all((ids == found.ids).all() for ids, found in zip(read, LATE, strict=True))


def test_class_masks_are_no_colours(tmp_path: Path) -> None:
    """What eval takes for classes stays as strict as it was."""
    write("id-video", tmp_path / "x.mkv", LATE)
    with pytest.raises(InputError, match="holds colours"):
        list(read_mask_video(tmp_path / "x.mkv"))


@pytest.mark.parametrize("name", ["ids", "id-video"])
def test_semantic_and_unlisted_and_too_wide(tmp_path: Path, name: str) -> None:
    def read(place: Path) -> np.ndarray:
        return (
            next(read_id_video(place)) if name == "id-video" else read_indices(place / "000000.png")
        )

    ids = np.array([[0, 1, 255, 2]] * 4, np.uint8)
    place = tmp_path / ("a.mkv" if name == "id-video" else "a")
    (note,) = write(name, place, [SegmentMap(ids)])
    assert f"{name}: objects are not known" in note
    assert read(place)[0].tolist() == [1, 2, 0, 3]
    unlisted = objects(np.array([[5, 6, 0, 6]] * 4, np.uint16), {6: 1})
    place = place.with_stem("b") if place.suffix else tmp_path / "b"
    write(name, place, [unlisted])
    assert read(place)[0].tolist() == [0, 6, 0, 6]
    with pytest.raises(OutputError, match="id 16777217 does not fit 24 bits"):
        write(name, place.with_name(f"c{place.suffix}"), [crowd(2, 1 << 24)])


def test_interrupted_before_and_after_the_first_wide_id(tmp_path: Path) -> None:
    for count in (1, 4):
        path = tmp_path / f"{count}.mkv"
        write("id-video", path, LATE[:count], complete=False)
        assert len(list(read_id_video(path))) == count


def test_numbered_and_single_pictures(tmp_path: Path) -> None:
    write("ids", tmp_path / "x_%03d.png", LATE)
    assert read_panoptic_png(tmp_path / "x_004.png").max() == LATE[4].ids.max()
    write("ids", tmp_path / "one.png", NARROW[:1])
    assert (read_indices(tmp_path / "one.png") == NARROW[0].ids).all()


def test_names(tmp_path: Path) -> None:
    sinks = make_sinks(
        ["ids", "id-video"], source=str(tmp_path / "a.mp4"), out=None, options=SinkOptions()
    )
    names = [Path(name).name for sink in sinks for name in sink.outputs]
    assert names == ["a.ids", "a.ids.mkv"]
    assert all(is_output(Path(name)) for name in names)
    with pytest.raises(UsageError, match="ids is a folder of pictures"):
        Ids(io.BytesIO(), SinkOptions())
