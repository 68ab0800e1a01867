"""`vidparse data convert`: what a format holds comes back from it, and others read it alike."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from support.made_coco import make_coco
from support.made_folder import make_folder
from support.made_labels import LABELS, made_dataset, truth_of
from vidparse.data import Dataset, open_dataset, recognise
from vidparse.data import convert as converting
from vidparse.data.convert import convert_dataset
from vidparse.data.dataset import ALL, Format
from vidparse.data.writers import WRITERS
from vidparse.errors import InputError, OutputError, UsageError
from vidparse.labels import labels_to_json
from vidparse.maps import SegmentMap
from vidparse.maps.polygons import overlap

EXACT = ("cvat", "cvat-images", "label-studio")  # ids, holes and void, to the pixel

LISTED = ("vspw", "vipseg")  # have train, val and test alone


def extra(name: str) -> Any:
    """A library that is no part of the project, such as datumaro."""
    return pytest.importorskip(name, reason=f"{name}, an independent reader, is not installed")


@pytest.fixture
def convert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """`convert("cvat", panoptic=True)`: the folder of the made data set in a format."""

    def run(to: str, **wishes: Any) -> Path:
        dataset = made_dataset(tmp_path / f"from-{to}", **wishes)
        layout = Format(
            open=lambda root, split, on_missing=None: dataset,
            sign="",
            matches=lambda root: True,
            splits=lambda root: (ALL,),
        )
        with monkeypatch.context() as patch:
            patch.setattr(converting, "format_of", lambda name: layout)
            convert_dataset(tmp_path / f"from-{to}", tmp_path / to, to=to, dataset="made")
        return tmp_path / to

    return run


def opened(root: Path, to: str, split: str = ALL) -> Dataset:
    name = WRITERS[to].read_as or to
    assert recognise(root) == name
    return open_dataset(name, root, "train" if to in LISTED and split == ALL else split)


def pairs(root: Path, to: str, **wishes: Any) -> Iterator[tuple[SegmentMap, SegmentMap, Dataset]]:
    """Every map before and after, by video and place."""
    before = made_dataset(root.parent / f"again-{to}", **wishes)
    after = opened(root, to)
    assert [video.name for video in after.videos] == [video.name for video in before.videos]
    assert after.labels.classes == before.labels.classes
    for one, other in zip(before.videos, after.videos, strict=True):
        assert [frame.stem for frame in other.frames] == [frame.stem for frame in one.frames]
        for frame, again in zip(one.frames, other.frames, strict=True):
            assert (after.load_image(again) == before.load_image(frame)).all()
            yield before.load_truth(frame), after.load_truth(again), after


@pytest.mark.parametrize("to", EXACT)
def test_objects_come_back_to_the_pixel(convert: Callable[..., Path], to: str) -> None:
    """Their ids, the holes in them, their parts, and what is void."""
    for before, after, dataset in pairs(convert(to), to):
        assert dataset.is_panoptic and dataset.labels.things == LABELS.things
        assert (before.classes() == after.classes()).all()
        for thing in (one for one in before.segments or () if one.is_thing):
            assert ((before.ids == thing.id) == (after.ids == thing.id)).all()
        stuff = [one for one in after.segments or () if not one.is_thing]
        assert [one.class_id for one in stuff] == [0]


def same_segments(before: SegmentMap, after: SegmentMap) -> bool:
    def rows(found: SegmentMap) -> list[tuple[object, ...]]:
        return [(s.id, s.class_id, s.is_thing, s.is_crowd, s.area) for s in found.segments or ()]

    return rows(before) == rows(after) and bool((before.ids == after.ids).all())


def test_vipseg_keeps_videos_and_segments(convert: Callable[..., Path]) -> None:
    for before, after, dataset in pairs(convert("vipseg"), "vipseg"):
        assert dataset.labels == LABELS
        assert same_segments(before, after)


def test_coco_panoptic_keeps_segments_of_photographs(convert: Callable[..., Path]) -> None:
    after = opened(convert("coco-panoptic"), "coco-panoptic")
    assert after.labels.classes == LABELS.classes and after.labels.things == LABELS.things
    assert after.labels.colours == LABELS.colours
    names = [f"v{v}_p{i:02d}" for v in range(2) for i in range(3)]
    assert [video.name for video in after.videos] == names
    for video in after.videos:
        (frame,) = video.frames
        assert same_segments(
            truth_of(int(video.name[1]), int(video.name[-1])), after.load_truth(frame)
        )


def dotted(root: Path, names: tuple[str, ...]) -> Path:
    """A folder of videos whose masks differ; class 1 of them is marked as a thing."""
    labels = replace(LABELS, name="made")
    (root / "masks").mkdir(parents=True)
    (root / "labels.json").write_text(json.dumps(labels_to_json(labels)))
    for v, name in enumerate(names):
        for t in range(2):
            mask = np.zeros((24, 32), np.uint8)
            mask[2 + 4 * v : 5 + 4 * v, 3 + t : 9 + t] = 1
            for kind, values in (("masks", mask), ("images", np.dstack([mask * 99] * 3))):
                path = root / kind / name / f"f{t}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), values)
    return root


@pytest.mark.parametrize("to", sorted(WRITERS))
def test_names_of_videos_with_dots_stay_apart(tmp_path: Path, to: str) -> None:
    """Masks of cam.1 must not become those of cam.2."""
    source = dotted(tmp_path / "in", ("cam.1", "cam.2", "2024.01.05"))
    convert_dataset(source, tmp_path / "out", to=to)
    before, after = open_dataset("folder", source, ALL), opened(tmp_path / "out", to)
    wanted = {
        (video.name, frame.stem): before.load_truth(frame).classes()
        for video in before.videos
        for frame in video.frames
    }
    if any(len(video.frames) > 1 for video in after.videos):
        assert sorted(one.name for one in after.videos) == sorted(one.name for one in before.videos)
    found = [after.load_truth(frame).classes() for video in after.videos for frame in video.frames]
    assert len(found) == len(wanted)
    left = [(one == 1) for one in wanted.values()]
    for one in found:
        thing = one == after.labels.classes.index(LABELS.classes[1])
        left.pop(next(i for i, other in enumerate(left) if (other == thing).all()))


def test_videos_of_one_name_in_a_json_stay_apart(tmp_path: Path) -> None:
    """YouTube-VIS knows a video by its id; its folder may lie in folders of different names."""
    videos, rows = [], []
    for number, folder in enumerate(("a/cam", "b/cam")):
        names = [f"{folder}/{t}.png" for t in range(2)]
        videos.append({"id": number, "width": 32, "height": 24, "file_names": names})
        x = 2 + 20 * number
        ring = [[x, 2, x + 6, 2, x + 6, 8, x, 8]]
        rows.append(
            {"id": 7 + number, "video_id": number, "category_id": 1, "segmentations": [ring, ring]}
        )
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / name), np.zeros((24, 32, 3), np.uint8))
    record = {"videos": videos, "annotations": rows, "categories": [{"id": 1, "name": "car"}]}
    (tmp_path / "set.json").write_text(json.dumps(record))

    dataset = open_dataset("ytvis", tmp_path, ALL)
    assert [video.name for video in dataset.videos] == ["cam", "cam_2"]
    lefts = [
        np.flatnonzero((dataset.load_truth(frame).classes() == 0).any(axis=0)).min()
        for video in dataset.videos
        for frame in video.frames
    ]
    assert lefts == [2, 2, 22, 22]


@pytest.mark.parametrize(("to", "other"), [("cvat", "cvat-images"), ("ytvis", "coco")])
def test_a_video_of_two_sizes_is_refused_where_a_format_has_one(
    tmp_path: Path, to: str, other: str
) -> None:
    """CVAT would have a mask outside of its picture, and no reader takes that."""
    source = dotted(tmp_path / "in", ("v",))
    for kind in ("images", "masks"):
        path = source / kind / "v" / "f1.png"
        cv2.imwrite(str(path), cv2.copyMakeBorder(cv2.imread(str(path), -1), 6, 0, 8, 0, 0))
    with pytest.raises(OutputError, match=f"a frame of 40x30 in a video of 32x24; .*{other}"):
        convert_dataset(source, tmp_path / "out", to=to)
    assert not (tmp_path / "out").exists()
    convert_dataset(source, tmp_path / "out", to=other)


def test_a_picture_that_is_listed_twice_is_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((24, 32, 3), np.uint8))
    rows = [{"id": i, "file_name": "a.png", "width": 32, "height": 24} for i in range(2)]
    record = {"images": rows, "annotations": [], "categories": [{"id": 1, "name": "car"}]}
    (tmp_path / "set.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"set.json: a.png is listed before"):
        open_dataset("coco", tmp_path, ALL)


@pytest.mark.parametrize("to", sorted(WRITERS))
def test_things_without_objects_and_crowds_are_noted_where_they_are_lost(
    tmp_path: Path, to: str
) -> None:
    notes = convert_dataset(dotted(tmp_path / "in", ("v",)), tmp_path / "out", to=to).notes
    lost = [note for note in notes if "marks things by objects" in note]
    assert bool(lost) == (to in ("cvat", "cvat-images", "label-studio", "labelme", "yolo-seg"))
    merged = [note for note in notes if "all pixels of a class are one" in note]
    assert bool(merged) == (
        to in ("coco", "coco-panoptic", "label-studio-video", "vipseg", "ytvis")
    )

    make_coco(tmp_path / "crowd")
    notes = convert_dataset(tmp_path / "crowd", tmp_path / "o", to=to, split="val").notes
    keeps = ("coco", "coco-panoptic", "vipseg", "folder", "vspw", "yolo-seg")
    assert any("holds no crowds" in note for note in notes) == (to not in keeps)


@pytest.mark.parametrize("to", ["coco-panoptic", "vipseg"])
def test_crowds_stay_crowds(tmp_path: Path, to: str) -> None:
    make_coco(tmp_path / "in")
    convert_dataset(tmp_path / "in", tmp_path / "out", to=to)
    before = open_dataset("coco-panoptic", tmp_path / "in", "val")
    after = open_dataset(to, tmp_path / "out", "val")
    records = [frame for video in before.videos for frame in video.frames]
    found = {frame.stem: frame for video in after.videos for frame in video.frames}
    assert found.keys() == {frame.stem for frame in records} and len(records) == 2
    assert any(s.is_crowd for one in records for s in before.load_truth(one).segments or ())
    for frame in records:
        again = found[frame.stem]
        assert same_segments(before.load_truth(frame), after.load_truth(again))


@pytest.mark.parametrize("to", ["vspw", "vipseg", "coco-panoptic"])
def test_splits_share_a_folder_and_videos_of_one_name_stay_apart(tmp_path: Path, to: str) -> None:
    """And back to a plain folder, every class to the pixel."""
    datasets = {name: made_dataset(tmp_path / name, panoptic=False) for name in ("train", "val")}
    layout = Format(
        open=lambda root, split, on_missing=None: replace(datasets[split], split=split),
        sign="",
        matches=lambda root: True,
        splits=lambda root: tuple(datasets),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(converting, "format_of", lambda name: layout)
        convert_dataset(tmp_path / "train", tmp_path / "set", to=to, dataset="made")
    assert recognise(tmp_path / "set") == to
    convert_dataset(tmp_path / "set", tmp_path / "back", to="folder")
    for split, dataset in datasets.items():
        after = open_dataset("folder", tmp_path / "back" / split, ALL)
        assert after.labels.classes == LABELS.classes
        before = [(frame, dataset) for video in dataset.videos for frame in video.frames]
        again = [frame for video in after.videos for frame in video.frames]
        for (frame, made), other in zip(before, again, strict=True):
            assert (made.load_mask(frame) == after.load_mask(other)).all()
            assert (made.load_image(frame) == after.load_image(other)).all()


@pytest.mark.parametrize("to", ["folder", "vspw", "coco-panoptic"])
def test_a_split_without_labels_is_left_out(
    convert: Callable[..., Path], tmp_path: Path, to: str
) -> None:
    root = convert("vspw", panoptic=False)
    shutil.copytree(root / "data" / "v0" / "origin", root / "data" / "hidden" / "origin")
    (root / "test.txt").write_text("hidden\n")
    done = convert_dataset(root, tmp_path / "out", to=to)
    assert (done.splits, done.videos, done.frames) == (("train", "test"), 2, 6)
    names = [path.name for path in (tmp_path / "out").rglob("*")]
    assert "hidden" not in names and "test" not in names and "test.txt" not in names


@pytest.mark.parametrize("to", ["labelme", "yolo-seg"])
def test_polygons_are_near_their_masks(convert: Callable[..., Path], to: str) -> None:
    """At least 0.98 of every object and class; LabelMe keeps ids, YOLO one line per object."""
    for before, after, dataset in pairs(convert(to), to):
        assert dataset.labels.things == LABELS.things
        things = [one for one in before.segments or () if one.is_thing]
        assert len([one for one in after.segments or () if one.is_thing]) == len(things)
        for thing in things:
            wanted = before.ids == thing.id
            found = [one for one in after.segments or () if one.class_id == thing.class_id]
            (same,) = found
            assert overlap(after.ids == same.id, wanted) >= 0.98
            assert to != "labelme" or same.id == thing.id
        assert overlap(before.classes() == 0, after.classes() == 0) >= 0.98


@pytest.mark.parametrize("to", ["coco", "ytvis"])
def test_things_come_back_to_the_pixel(convert: Callable[..., Path], to: str) -> None:
    """Their ids, holes and parts; what is no thing is void."""
    root = convert(to)
    before, after = made_dataset(root.parent / "again"), opened(root, to)
    names = [after.labels.classes[i] for i in sorted(after.labels.things)]
    assert names == list(LABELS.classes[1:])
    for one, other in zip(before.videos, after.videos, strict=True):
        for frame, again in zip(one.frames, other.frames, strict=True):
            assert (after.load_image(again) == before.load_image(frame)).all()
            wanted, found = before.load_truth(frame), after.load_truth(again)
            things = [segment for segment in wanted.segments or () if segment.is_thing]
            assert {segment.id for segment in found.segments or ()} == {t.id for t in things}
            for thing in things:
                assert ((wanted.ids == thing.id) == (found.ids == thing.id)).all()


@pytest.mark.parametrize("to", [*EXACT, "folder", "vspw"])
def test_classes_come_back_to_the_pixel(convert: Callable[..., Path], to: str) -> None:
    for before, after, dataset in pairs(convert(to, panoptic=False), to, panoptic=False):
        assert not dataset.is_panoptic
        assert (before.classes() == after.classes()).all()


def test_photographs_are_one_record(convert: Callable[..., Path]) -> None:
    """Each a video of one frame, and all of one name."""
    root = convert("cvat-images", frames=1)
    assert sorted(path.name for path in root.iterdir()) == [
        "all.cvat-images.xml",
        "classes.json",
        "images",
    ]
    (video,) = opened(root, "cvat-images").videos
    assert [frame.stem for frame in video.frames] == ["v0", "v1"]  # both are called p00


def test_datumaro_reads_the_same_masks_from_cvat(convert: Callable[..., Path]) -> None:
    datumaro = extra("datumaro")
    kinds = extra("datumaro.components.annotation").AnnotationType
    root = convert("cvat-images", videos=1)
    found = datumaro.Dataset.import_from(str(root / "v0.cvat-images.xml"), "cvat")
    names = [label.name for label in found.categories()[kinds.label].items]
    assert names == list(LABELS.classes)

    dataset = opened(root, "cvat-images")
    items = sorted(found, key=lambda item: item.id)
    for item, frame in zip(items, dataset.videos[0].frames, strict=True):
        truth = dataset.load_truth(frame)
        masks = {(one.label, one.group): one.image for one in item.annotations}
        wanted = {
            (one.class_id, one.id if one.is_thing else 0): truth.ids == one.id
            for one in truth.segments or ()
        }
        assert masks.keys() == wanted.keys()
        assert all((masks[key] == wanted[key]).all() for key in wanted)


def test_label_studio_decodes_the_same_brushes(convert: Callable[..., Path]) -> None:
    brush = extra("label_studio_sdk.converter.brush")
    root = convert("label-studio", videos=1)
    dataset = opened(root, "label-studio")
    tasks = json.loads((root / "tasks.json").read_text())
    assert tasks[0]["data"]["image"] == "/data/local-files/?d=label-studio/images/p00.png"
    for task, frame in zip(tasks, dataset.videos[0].frames, strict=True):
        truth = dataset.load_truth(frame)
        for region in task["annotations"][0]["result"]:
            rgba = brush.decode_rle(region["value"]["rle"])
            mask = rgba.reshape(region["original_height"], region["original_width"], 4)[..., 3]
            class_id = LABELS.classes.index(region["value"]["brushlabels"][0])
            note = region.get("meta", {"text": [""]})["text"][0]
            number = int(note.removeprefix("id ")) if note else None
            same = truth.classes() == class_id if number is None else truth.ids == number
            assert set(np.unique(mask)) <= {0, 255}
            assert ((mask > 0) == same).all()
            assert brush.encode_rle(rgba) == region["value"]["rle"]


def test_datumaro_reads_the_same_objects_from_coco(convert: Callable[..., Path]) -> None:
    datumaro = extra("datumaro")
    root = convert("coco", videos=1)

    # Lay the files out as COCO does, which is where datumaro looks for them.
    (root / "annotations").mkdir()
    (root / "v0.coco.json").rename(root / "annotations" / "instances_all.json")
    (root / "images").rename(root / "pictures")
    (root / "images").mkdir()
    (root / "pictures").rename(root / "images" / "all")
    found = datumaro.Dataset.import_from(str(root), "coco_instances")
    before = made_dataset(root.parent / "again", videos=1)
    items = sorted(found, key=lambda item: item.id)
    for item, frame in zip(items, before.videos[0].frames, strict=True):
        truth = before.load_truth(frame)
        things = [one for one in truth.segments or () if one.is_thing]
        drawn = (one for one in item.annotations if hasattr(one, "image"))  # not boxes
        masks = [np.asarray(one.image).astype(bool) for one in drawn]
        assert len(masks) == len(things)
        for thing in things:  # datumaro orders them by their size
            assert any((mask == (truth.ids == thing.id)).all() for mask in masks)


def test_other_formats_come_by_way_of_datumaro(tmp_path: Path) -> None:
    """The guide's way for VOC: datumaro writes it as COCO, which is read."""
    datumaro = extra("datumaro")
    media = pytest.importorskip("datumaro.components.media")
    drawn = pytest.importorskip("datumaro.components.annotation")
    mask = np.zeros((20, 30), bool)
    mask[5:15, 5:20] = True
    picture = media.Image.from_numpy(np.full((20, 30, 3), 90, np.uint8))
    mask_of_cat = drawn.Mask(mask, label=1, id=1, group=1)
    item = datumaro.DatasetItem(id="a", subset="train", media=picture, annotations=[mask_of_cat])
    made = datumaro.Dataset.from_iterable([item], categories=["background", "cat"])
    made.export(str(tmp_path / "voc"), "voc", save_media=True)
    voc = datumaro.Dataset.import_from(str(tmp_path / "voc"), "voc")
    voc.export(str(tmp_path / "coco"), "coco_instances", save_media=True)

    dataset = open_dataset(recognise(tmp_path / "coco"), tmp_path / "coco", "train")
    truth = dataset.load_truth(dataset.videos[0].frames[0])
    assert dataset.labels.classes[:2] == ("background", "cat")
    assert ((truth.classes() == 1) == mask).all()


def test_things_of_classes_alone_are_not_lost(convert: Callable[..., Path]) -> None:
    """Each class that is a thing is one object of COCO, as no ids tell more."""
    root = convert("coco", panoptic=False)
    before, after = made_dataset(root.parent / "again", panoptic=False), opened(root, "coco")
    for one, other in zip(before.videos, after.videos, strict=True):
        for frame, again in zip(one.frames, other.frames, strict=True):
            mask = before.load_mask(frame)
            wanted = np.where(mask == 0, 255, mask)
            assert (after.load_mask(again) == wanted).all()


def test_a_data_set_without_things_is_refused_for_things_alone(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "in")
    with pytest.raises(UsageError, match="--to coco: holds things alone, and no class of 'made'"):
        convert_dataset(root, tmp_path / "out", to="coco")
    assert not (tmp_path / "out").exists()


def test_one_file_of_a_tool_is_known_by_its_contents(cli, clip, tmp_path):
    out = tmp_path  # beside the video, which the records need
    save = "cvat,cvat-images,coco,ytvis"
    words = ("segment", clip("a.mp4", frames=3), "--save", save, "-o", f"{out}/")
    assert cli(*words).code == 0
    for name, expected in (("cvat.xml", "cvat"), ("cvat-images.xml", "cvat")):
        done = cli("data", "convert", out / f"a.{name}", tmp_path / f"{name}-o", "--json")
        assert done.code == 0, done.err
        assert json.loads(done.out)["from_format"] == expected
    for name in ("coco.json", "ytvis.json"):  # of classes that are no things: empty, but known
        done = cli("data", "convert", out / f"a.{name}", tmp_path / f"{name}-o")
        assert "looks like" not in done.err

    (tmp_path / "task.zip").write_bytes(b"PK")
    packed = cli("data", "convert", tmp_path / "task.zip", tmp_path / "n")
    assert (packed.code, "is packed; unpack it" in packed.err) == (3, True)

    other = cli("data", "convert", tmp_path / "a.mp4", tmp_path / "n")
    assert (other.code, "no data set found" in other.err, "--from" in other.err) == (3, True, True)


def test_a_split_that_is_none_is_refused(cli, convert, tmp_path):
    done = cli("data", "convert", convert("folder"), tmp_path / "o", "--split", "blub")
    assert (done.code, "split 'blub': unknown; use train" in done.err) == (3, True), done.err


def test_a_damaged_labelme_file_beside_a_picture_is_refused(cli, clip, tmp_path):
    words = ("segment", clip("a.mp4", frames=3), "--save", "labelme", "-o", f"{tmp_path}/o/")
    assert cli(*words).code == 0
    broken = next(path for path in sorted((tmp_path / "o").rglob("0*.json")))
    broken.write_text("{")
    done = cli("data", "convert", tmp_path / "o" / "a.labelme", tmp_path / "n")
    assert (done.code, "no JSON of LabelMe" in done.err) == (3, True), done.err


@pytest.mark.parametrize("to", ["cvat", "label-studio", "labelme", "coco", "folder", "vspw"])
def test_pictures_of_another_size_than_their_labels_are_refused(
    cli, convert, tmp_path, to: str
) -> None:
    """Copied into the new set they would be taken for the pictures of these labels."""
    source = convert(to, videos=1)
    shelves = ("images", "images/v0", "v0/origin")
    (picture,) = (p for p in source.rglob("p01.png") if p.parent.as_posix().endswith(shelves))
    cv2.imwrite(str(picture), np.zeros((20, 30, 3), np.uint8))
    done = cli("data", "convert", source, tmp_path / "n", "--to", "cvat")
    assert (done.code, len(done.lines)) == (3, 1), done.err
    assert "frame p01 is 64x40, its image 30x20; correct one of them" in done.lines[0]
    assert not (tmp_path / "n").exists()


@pytest.mark.parametrize("place", ["images/new", "val", "images", "new/deep"])
def test_no_set_is_written_into_what_it_is_read_from(cli, convert, tmp_path, place: str) -> None:
    source = convert("cvat")
    shutil.rmtree(source / "images" / "v0")
    before = sorted(source.rglob("*"))
    done = cli("data", "convert", source, source / place)
    assert (done.code, len(done.lines)) == (6, 1), done.err
    assert "lies inside the data set" in done.err or "exists; choose" in done.err
    assert sorted(source.rglob("*")) == before


def test_a_new_folder_beside_the_record_is_none_of_the_set(cli, convert) -> None:
    source = convert("label-studio")
    assert cli("data", "convert", source, source / "fixed").code == 0
    assert recognise(source) == "label-studio"


@pytest.mark.parametrize(
    ("to", "file", "name", "frames"),
    [
        ("cvat-images", "v0.cvat-images.xml", "cvat", 3),
        ("coco", "v0.coco.json", "coco", 3),
        ("ytvis", "v0.ytvis.json", "ytvis", 3),
        ("label-studio", "tasks.json", "label-studio", 3),
        ("label-studio-video", "tasks.json", "label-studio", 3),
        ("labelme", "images/v0/p01.json", "labelme", 1),
        ("yolo-seg", "data.yaml", "yolo-seg", 3),
    ],
)
def test_a_record_is_read_by_itself(
    cli, convert, tmp_path, to: str, file: str, name: str, frames: int
) -> None:
    """By its contents, and by the name that it is written by."""
    source = convert(to, videos=1) / file
    for words in ((), ("--from", to)):
        done = cli("data", "convert", source, tmp_path / f"n{len(words)}", *words, "--json")
        assert done.code == 0, done.err
        found = json.loads(done.out)
        assert (found["from_format"], found["frames"]) == (name, frames)


def test_a_file_of_a_folder_is_refused_with_the_folder(cli, convert, tmp_path) -> None:
    source = convert("vspw", videos=1)
    done = cli("data", "convert", source / "train.txt", tmp_path / "n")
    assert (done.code, len(done.lines)) == (3, 1), done.err
    assert "it is none of a json of COCO instances, " in done.err
    done = cli("data", "convert", source / "train.txt", tmp_path / "n", "--from", "vspw")
    assert f"train.txt: vspw is a data set in a folder; give {source}" in done.err
    done = cli("data", "convert", source, tmp_path / "n", "--from", "vspw-set", "--to", "vspw-set")
    assert done.code == 0, done.err


def test_a_format_is_read_by_the_name_that_it_is_written_by(cli, convert, tmp_path):
    source = convert("cvat-images")
    done = cli("data", "convert", source, tmp_path / "n", "--from", "cvat-images")
    assert done.code == 0, done.err
