"""Labels that `segment` wrote of a video, without pictures: read beside the video, or alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from support.clips import make_clip, picture
from support.object_outputs import objects, write
from vidparse.data import open_dataset
from vidparse.data.convert import convert_dataset
from vidparse.data.dataset import ALL
from vidparse.errors import InputError, UsageError
from vidparse.maps import SegmentMap

KINDS = pytest.mark.parametrize("kind", ["coco", "ytvis"])


def maps() -> list[SegmentMap]:
    """A car (id 3) that moves by 4 pixels per frame, and a dog (id 5) that comes in the third."""
    found = []
    for i in range(4):
        ids = np.zeros((48, 64), np.uint32)
        ids[8:20, 4 * i : 4 * i + 9] = 3
        if i >= 2:
            ids[30:40, 20:50] = 5
        found.append(objects(ids, {3: 1, 5: 2} if i >= 2 else {3: 1}))
    return found


def record(folder: Path, kind: str) -> Path:
    folder.mkdir()
    path = folder / f"clip.{kind}.json"
    write(kind, path, maps())
    return path


def assert_objects(folder: Path) -> None:
    """What comes back has the ids and classes that went in; the rest is void."""
    dataset = open_dataset("cvat", folder, ALL)
    (video,) = dataset.videos
    assert len(video.frames) == 4
    names = dataset.labels.classes
    for frame, before in zip(video.frames, maps(), strict=True):
        after = dataset.load_truth(frame)
        kinds = {one.id: names[one.class_id] for one in after.segments or ()}
        assert kinds == {one.id: ("", "car", "dog")[one.class_id] for one in before.segments or ()}
        assert (after.ids == before.ids).all()


@KINDS
def test_labels_come_back_without_any_picture(tmp_path: Path, kind: str) -> None:
    path = record(tmp_path / "out", kind)
    convert_dataset(path, tmp_path / "back", to="cvat", pictures=False)
    assert_objects(tmp_path / "back")
    assert not (tmp_path / "back" / "images").exists()


@KINDS
@pytest.mark.parametrize("beside", [True, False])
def test_frames_come_from_the_video(tmp_path: Path, kind: str, beside: bool) -> None:
    """It lies beside the json under the name that the json has, or is named."""
    path = record(tmp_path / "out", kind)
    clip = make_clip(
        tmp_path / ("out/clip.mp4" if beside else "other.mp4"), frames=4, options={"crf": "1"}
    )
    convert_dataset(path, tmp_path / "back", to="cvat", video=None if beside else clip)
    assert_objects(tmp_path / "back")
    dataset = open_dataset("cvat", tmp_path / "back", ALL)
    for i, frame in enumerate(dataset.videos[0].frames):
        shown = dataset.load_image(frame).astype(int)
        assert np.abs(shown[24:, 8:] - picture(i)[24:, 8:]).mean() < 8
        assert abs(shown[:6, :6].mean() - (40 + 5 * i)) < 2  # a step of 5 per frame


@KINDS
def test_a_missing_video_is_named_with_the_way_out(tmp_path: Path, kind: str) -> None:
    path = record(tmp_path / "out", kind)
    with pytest.raises(InputError, match=r"no picture of frame 000000 and no video.*--video"):
        convert_dataset(path, tmp_path / "back", to="cvat")
    assert not (tmp_path / "back").exists()
    with pytest.raises(InputError, match="no such file; name the video"):
        convert_dataset(path, tmp_path / "back", to="cvat", video=tmp_path / "none.mp4")


def test_a_video_of_labels_that_have_pictures_is_refused(tmp_path: Path) -> None:
    path = record(tmp_path / "out", "coco")
    clip = make_clip(tmp_path / "out" / "clip.mp4", frames=4)
    convert_dataset(path, tmp_path / "back", to="cvat")
    with pytest.raises(UsageError, match="every frame has its picture already"):
        convert_dataset(tmp_path / "back", tmp_path / "again", to="coco", video=clip)
