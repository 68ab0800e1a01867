"""Files of annotation tools as people and other programs make them, good and bad."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from support.clips import make_clip
from vidparse.data import Dataset, format_of, open_dataset
from vidparse.data.convert import convert_dataset
from vidparse.data.dataset import ALL, labelled_frames
from vidparse.errors import InputError, OutputError, UsageError
from vidparse.maps.brushes import from_packed_brush, from_row_counts, packed_brush, row_counts
from vidparse.maps.polygons import filled, overlap, polygons_of, rings_of

WIDTH, HEIGHT = 8, 6


def picture(path: Path, size_hw: tuple[int, int] = (HEIGHT, WIDTH)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((*size_hw, 3), np.uint8))
    return path


def cvat(root: Path, inner: str, name: str = "task.xml") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    path = root / name
    path.write_text(f"<annotations><version>1.1</version>{inner}</annotations>")
    return path


def image_of(*shapes: str, name: str = "1.png") -> str:
    inner = "".join(shapes)
    return f'<image id="0" name="{name}" width="{WIDTH}" height="{HEIGHT}">{inner}</image>'


BOX = '<box label="a" xtl="0" ytl="0" xbr="2" ybr="2"/>'


def classes_of(dataset: Dataset) -> np.ndarray:
    (frame,) = labelled_frames(dataset)
    return dataset.load_mask(frame)


def test_polygons_follow_the_edges_of_pixels() -> None:
    """A square of one pixel has its four corners, a hole its own ring."""
    mask = np.zeros((3, 4), bool)
    mask[1, 2] = True
    ((ring,),) = rings_of(mask)
    assert sorted(map(tuple, ring.tolist())) == [(2, 1), (2, 2), (3, 1), (3, 2)]
    mask[:] = True
    mask[1, 1:3] = False
    ((outer, hole),) = rings_of(mask)
    assert sorted(map(tuple, outer.tolist())) == [(0, 0), (0, 3), (4, 0), (4, 3)]
    assert sorted(map(tuple, hole.tolist())) == [(1, 1), (1, 2), (3, 1), (3, 2)]


@pytest.mark.parametrize("seed", range(20))
def test_noise_survives_every_form(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(1, 30, 2))
    mask = rng.random((height, width)) < rng.random()
    assert (filled(polygons_of(mask, least_iou=1), mask.shape) == mask).all()
    assert overlap(filled(polygons_of(mask), mask.shape), mask) >= 0.98
    assert (from_row_counts(row_counts(mask), (height, width)) == mask).all()
    assert (from_packed_brush(packed_brush(mask), (height, width)) == mask).all()


def test_long_runs_of_a_brush_are_cut() -> None:
    mask = np.zeros((300, 400), bool)
    mask[100:] = True
    assert (from_packed_brush(packed_brush(mask), mask.shape) == mask).all()


def test_a_brush_that_a_person_painted() -> None:
    """Runs of values that differ: red, green, blue and alpha of each pixel."""
    pixels = bytes([9, 8, 7, 255, 9, 8, 7, 20])
    bits = f"{8:032b}" + "00111" + "0010" + "0011" + "0111" + "1111"
    bits += "0" + "00" + f"{7:03b}" + "".join(f"{one:08b}" for one in pixels)
    bits += "0" * (-len(bits) % 8)
    data = list(int(bits, 2).to_bytes(len(bits) // 8, "big"))
    assert from_packed_brush(data, (1, 2)).tolist() == [[True, False]]


@pytest.mark.parametrize(
    ("data", "size_hw", "why"),
    [
        ([1, 2], (1, 2), "ends too early"),
        ([0, 0, 0, 8, 0, 300], (1, 2), "bytes, 0 to 255"),
        (packed_brush(np.ones((2, 3), bool)), (2, 2), "24 values"),
        (packed_brush(np.eye(20, dtype=bool))[:-4], (20, 20), "ends too early"),
        ([255] * 40, (2, 2), "values"),
    ],
)
def test_bytes_that_are_no_brush(data: list[int], size_hw: tuple[int, int], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        from_packed_brush(data, size_hw)


def test_shapes_of_cvat(tmp_path: Path) -> None:
    """The higher layer on top, boxes and polygons by the centres of pixels."""
    picture(tmp_path / "images" / "1.png")
    cvat(
        tmp_path,
        image_of(
            '<box label="a" xtl="1" ytl="1" xbr="5" ybr="4" z_order="1"/>',
            '<polygon label="b" points="0,0;8,0;8,2;0,2" z_order="0"/>',
            '<ellipse label="a" cx="7" cy="5" rx="0.9" ry="0.9"/>',
            '<polyline label="b" points="0,5;8,5"/>',
            '<points label="b" points="0,5"/>',
            '<points label="b" points="1,5"/>',
        ),
    )
    dataset = open_dataset("cvat", tmp_path, ALL)
    left = "left out, as they cover no pixels or are not read"
    assert dataset.notes == (f"cvat: {left}: 2 points, 1 polyline",)
    wanted = np.full((HEIGHT, WIDTH), 255)
    wanted[:2] = 1
    wanted[1:4, 1:5] = 0
    wanted[4:6, 6:8] = 0
    assert (classes_of(dataset) == wanted).all()
    truth = dataset.load_truth(labelled_frames(dataset)[0])
    assert [one.class_id for one in truth.segments or ()].count(0) == 2  # two objects


def test_a_picture_is_found_by_the_text_of_its_name(tmp_path: Path) -> None:
    """CVAT's file has no bytes that are no UTF-8: they are written as `_fe`."""
    picture(tmp_path / "1.png").rename(tmp_path / "a\udcfe.png")
    cvat(tmp_path, image_of(BOX, name="a_fe.png"))
    (frame,) = labelled_frames(open_dataset("cvat", tmp_path, ALL))
    assert frame.image == tmp_path / "a\udcfe.png"


def test_a_track_is_an_object_and_ends_outside(tmp_path: Path) -> None:
    for number in range(3):
        picture(tmp_path / "images" / f"frame_{number:06d}.PNG")
    meta = (
        "<meta><task><size>3</size><original_size><width>8</width><height>6</height>"
        "</original_size></task></meta>"
    )
    box = 'xtl="0" ytl="0" xbr="2" ybr="2" keyframe="1"'
    cvat(
        tmp_path,
        f'{meta}<track id="4" label="a"><box frame="0" outside="0" {box}/>'
        f'<box frame="1" outside="0" {box}/><box frame="2" outside="1" {box}/></track>',
    )
    dataset = open_dataset("cvat", tmp_path, ALL)
    frames = dataset.videos[0].frames
    assert [frame.labelled for frame in frames] == [True, True, False]
    ids = [dataset.load_truth(frame).segments[0].id for frame in frames[:2]]  # type: ignore[index]
    assert ids[0] == ids[1]


def test_single_masks_of_a_video_are_objects_of_their_own(tmp_path: Path) -> None:
    """CVAT has each mask of a frame as a track of one frame: none goes on in the next."""
    meta = f"<original_size><width>{WIDTH}</width><height>{HEIGHT}</height></original_size>"
    masks = "".join(
        f'<track id="{i}" label="a"><mask frame="{frame}" keyframe="1" outside="0" rle="0, 4" '
        f'left="{left}" top="0" width="2" height="2"/></track>'
        for i, (frame, left) in enumerate(((0, 0), (0, 3), (1, 3), (2, 0)))
    )
    cvat(tmp_path, f"<meta>{meta}</meta>{masks}")
    dataset = open_dataset("cvat", tmp_path, ALL)
    truths = [dataset.load_truth(frame) for frame in dataset.videos[0].frames]
    ids = [one.id for truth in truths for one in truth.segments or ()]
    assert len(ids) == len(set(ids)) == 4


def test_a_task_takes_some_frames_of_its_video(tmp_path: Path) -> None:
    """As CVAT has a start frame and a step: shapes have the numbers of frames of the video."""
    meta = (
        "<meta><task><size>3</size><start_frame>10</start_frame><stop_frame>20</stop_frame>"
        "<frame_filter>step=5</frame_filter></task>"
        f"<original_size><width>{WIDTH}</width><height>{HEIGHT}</height></original_size></meta>"
    )
    box = 'xtl="0" ytl="0" xbr="2" ybr="2" keyframe="1" outside="0"'
    cvat(tmp_path, f'{meta}<track id="0" label="a"><box frame="15" {box}/></track>')
    (video,) = open_dataset("cvat", tmp_path, ALL).videos
    assert [(one.stem, one.labelled) for one in video.frames] == [
        *(("000010", False), ("000015", True), ("000020", False)),
    ]


def test_frames_come_from_the_video_beside(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=6, size_hw=(48, 64))
    meta = (
        "<meta><task><size>6</size><original_size><width>64</width><height>48</height>"
        "</original_size><source>clip.mp4</source></task></meta>"
    )
    tracks = "".join(
        f'<track id="{i}" label="a"><mask frame="{i}" keyframe="1" outside="0" rle="0, 4" '
        'left="1" top="2" width="2" height="2"/></track>'
        for i in (1, 4)
    )
    cvat(tmp_path, meta + tracks)
    picture(tmp_path / "poster.png", (48, 64))  # which is no frame
    dataset = open_dataset("cvat", tmp_path, ALL)
    from vidparse.video import open_video

    with open_video(clip) as video:
        pictures = [frame.image.rgb() for frame in video]
    for number in (4, 1, 5, 0):
        frame = dataset.videos[0].frames[number]
        assert (dataset.load_image(frame) == pictures[number]).all()
    found = convert_dataset(tmp_path, tmp_path / "out", to="folder")
    assert (found.frames, len([*(tmp_path / "out" / "images").rglob("*.*")])) == (2, 2)


@pytest.mark.parametrize(
    ("inner", "why"),
    [
        (
            image_of('<mask label="a" rle="0, 5" left="0" top="0" width="2" height="2"/>'),
            "5 pixels",
        ),
        (
            image_of('<mask label="a" rle="0, 4" left="7" top="0" width="2" height="2"/>'),
            "not inside",
        ),
        (image_of('<mask label="a" rle="0, x" left="0" top="0" width="2" height="2"/>'), "invalid"),
        (image_of('<mask label="a" rle="4" left="0" top="0" width="2"/>'), "lacks 'height'"),
        (image_of('<polygon label="a" points="0,0;1,1"/>'), "points that are none"),
        (image_of('<polygon label="a" points="0,0;1,nan;2,2"/>'), "points that are none"),
        (image_of(BOX.replace("/>", ' rotation="nan"/>')), "rotation 'nan' is no number"),
        (image_of('<box label="a" xtl="0"/>'), "lacks 'ytl'"),
        (image_of('<box xtl="0"/>'), "lacks 'label'"),
        (image_of(BOX, name="../1.png"), "leads out of the folder"),
        (image_of() + image_of(), "two images have the id 0"),
        ('<image id="0" name="1.png" width="90000" height="9"/>', "16384"),
        ('<image id="0" name="1.png" width="-1" height="9"/>', "no whole number"),
        ("<meta></task></meta>", "not readable XML"),
        ("<a>" * 100, "nested too deeply"),
        (image_of(), "names no class"),
    ],
)
def test_bad_xml_is_named(tmp_path: Path, inner: str, why: str) -> None:
    picture(tmp_path / "images" / "1.png")
    path = cvat(tmp_path, inner)
    with pytest.raises(InputError, match=why) as caught:
        dataset = open_dataset("cvat", tmp_path, ALL)
        for frame in labelled_frames(dataset):
            dataset.load_truth(frame)
    assert str(path) in str(caught.value) and "; " in str(caught.value)


@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE a [<!ENTITY b "x">]>',
        '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE annotations SYSTEM "http://127.0.0.1/a.dtd">',
    ],
)
def test_a_document_type_is_refused(tmp_path: Path, doctype: str) -> None:
    path = tmp_path / "task.xml"
    path.write_text(f"{doctype}<annotations><version>1</version></annotations>")
    with pytest.raises(InputError, match="line 1: has a document type"):
        open_dataset("cvat", tmp_path, ALL)


def region(**more: object) -> dict[str, object]:
    points = [[0, 0], [50, 0], [50, 100], [0, 100]]
    value = {"points": points, "polygonlabels": ["a"]}
    sizes = {"original_width": WIDTH, "original_height": HEIGHT}
    return {"type": "polygonlabels", "value": value, **sizes, **more}


def task_of(*regions: object, **more: object) -> dict[str, object]:
    image = {"data": {"image": "http://127.0.0.1:8080/data/upload/1/1.png"}}
    return {**image, "annotations": [{"result": list(regions)}], **more}


def studio(root: Path, tasks: object) -> Dataset:
    picture(root / "images" / "1.png")
    (root / "export.json").write_text(json.dumps(tasks))
    return open_dataset("label-studio", root, ALL)


def test_the_last_annotation_that_was_not_cancelled_counts(tmp_path: Path) -> None:
    rectangle = {"x": 50, "y": 0, "width": 50, "height": 50, "rectanglelabels": ["b"]}
    fixed = [region(), region(type="rectanglelabels", value=rectangle)]
    annotations = [{"result": []}, {"result": fixed}, {"result": [], "was_cancelled": True}]
    predictions = [{"result": [region()]}]
    task = task_of(annotations=annotations, predictions=predictions)
    mask = classes_of(studio(tmp_path, [task]))
    assert (mask[:, :4] == 0).all() and (mask[:3, 4:] == 1).all() and (mask[3:, 4:] == 255).all()


def test_ellipses_are_read_and_points_are_counted(tmp_path: Path) -> None:
    """Of 8 x 6 pixels: 3 wide and 1 high to each side of the middle, or turned by 90 degrees."""
    ellipse = {"x": 50, "y": 50, "radiusX": 37.5, "radiusY": 100 / 6, "ellipselabels": ["a"]}
    point = region(type="keypointlabels", value={"x": 1, "y": 1, "keypointlabels": ["b"]})
    flat = studio(tmp_path, [task_of(region(type="ellipselabels", value=ellipse), point)])
    mask = classes_of(flat)
    assert (mask[2:4, 1:7] == 0).all() and (mask == 0).sum() == 12
    assert flat.notes == (
        "label-studio: left out, as they cover no pixels or are not read: 1 keypointlabels",
    )

    turned = classes_of(
        studio(tmp_path, [task_of(region(value=ellipse | {"rotation": 90}, type="ellipselabels"))])
    )
    assert (turned[:, 3:5] == 0).all() and (turned == 0).sum() == 12


def test_predictions_count_where_nobody_annotated(tmp_path: Path) -> None:
    task = task_of(annotations=[], predictions=[{"result": [region()]}])
    assert (classes_of(studio(tmp_path, [task]))[:, :4] == 0).all()


@pytest.mark.parametrize(
    ("tasks", "why"),
    [
        ([task_of(region(value={"polygonlabels": ["a"]}))], "lacks 'points'"),
        ([task_of(region(value={"points": [[0, 0]], "polygonlabels": ["a"]}))], "1 points are no"),
        ([task_of(region(original_width=10**6))], "16384"),
        ([task_of(region(original_width="8"))], "original_width is to be a whole number"),
        ([task_of(region(), data={"image": "/data/upload/1/2.png"})], "no picture 2.png"),
        ([task_of(region(), data={"image": "/x/?d=/images/../../../1.png"})], "leads out"),
        ([task_of(region(), data={})], "lacks 'image'"),
        ([task_of(region(type="brushlabels", value={"rle": [1], "brushlabels": ["a"]}))], "early"),
        ([{"data": 5, "annotations": []}], "no class"),
    ],
)
def test_bad_tasks_are_named(tmp_path: Path, tasks: object, why: str) -> None:
    with pytest.raises(InputError, match=why) as caught:
        classes_of(studio(tmp_path, tasks))
    assert "export.json" in str(caught.value) and "; " in str(caught.value)


def test_conversion_never_writes_over_anything(tmp_path: Path) -> None:
    picture(tmp_path / "in" / "images" / "1.png")
    cvat(tmp_path / "in", image_of(BOX))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    for out in (tmp_path / "out", tmp_path / "in"):
        with pytest.raises(OutputError):
            convert_dataset(tmp_path / "in", out, to="folder")
    with pytest.raises(UsageError, match="--to toy: no data set is written so"):
        convert_dataset(tmp_path / "in", tmp_path / "new", to="toy")
    with pytest.raises(InputError, match="no such file or folder"):
        convert_dataset(tmp_path / "gone", tmp_path / "new", to="folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def test_a_bad_frame_leaves_nothing(tmp_path: Path) -> None:
    picture(tmp_path / "in" / "images" / "1.png")
    cvat(
        tmp_path / "in", image_of('<mask label="a" rle="9" left="0" top="0" width="2" height="2"/>')
    )
    with pytest.raises(InputError, match=r"task\.xml: 1\.png: region 1"):
        convert_dataset(tmp_path / "in", tmp_path / "out", to="cvat")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def coco(**more: object) -> dict[str, object]:
    image = {"id": 1, "file_name": "1.png", "width": WIDTH, "height": HEIGHT}
    ring = [[0, 0, 4, 0, 4, 3, 0, 3]]
    row = {"id": 1, "image_id": 1, "category_id": 3, "segmentation": ring}
    table: dict[str, object] = {"images": [image], "annotations": [row]}
    return {**table, "categories": [{"id": 3, "name": "a"}], **more}


def ytvis(**more: object) -> dict[str, object]:
    sides = {"width": WIDTH, "height": HEIGHT}
    video = {"id": 1, "file_names": ["1.png"], **sides}
    row = {"id": 1, "video_id": 1, "category_id": 3, "segmentations": [None]}
    table: dict[str, object] = {"videos": [video], "annotations": [row]}
    return {**table, "categories": [{"id": 3, "name": "a"}], **more}


BOXED = {"id": 1, "image_id": 1, "category_id": 3, "segmentation": [], "bbox": [1, 0, 2, 3]}


def test_objects_of_coco_without_a_mask_fill_their_box(tmp_path: Path) -> None:
    """So are rectangles that CVAT exports."""
    picture(tmp_path / "valid" / "1.png")
    (tmp_path / "valid" / "_annotations.coco.json").write_text(
        json.dumps(coco(annotations=[BOXED]))
    )
    assert format_of("coco").splits(tmp_path) == ("valid",)
    dataset = open_dataset("coco", tmp_path, "valid")
    (frame,) = dataset.videos[0].frames
    box = dataset.load_truth(frame).classes() == 0
    assert box[:3, 1:3].all() and box.sum() == 6


@pytest.mark.parametrize(
    ("name", "table", "why"),
    [
        ("coco", coco(annotations=[{"image_id": 1, "category_id": 3}]), "lacks 'segmentation'"),
        ("coco", coco(annotations=[BOXED | {"bbox": [1, 2, 3]}]), "a bbox of 3 numbers"),
        ("coco", coco(categories=[{"id": 4, "name": "a"}]), "category_id 3 is none of"),
        ("coco", coco(categories=[]), "categories: names no class"),
        ("coco", coco(categories=[{"id": 3}]), "categories: one lacks 'name'"),
        ("coco", coco(images=[{"id": 1, "file_name": "1.png"}]), "an entry lacks 'height'"),
        ("coco", coco(images=5), "images is to be a list"),
        ("ytvis", ytvis(videos=[{"id": 1}]), "an entry lacks 'file_names'"),
        (
            "ytvis",
            ytvis(annotations=[{"id": 1, "video_id": 1, "category_id": 3, "segmentations": []}]),
            "a list is too short",
        ),
        ("ytvis", ytvis(categories=None), "categories is to be a list"),
    ],
)
def test_bad_jsons_of_coco_and_ytvis_are_named(
    tmp_path: Path, name: str, table: object, why: str
) -> None:
    picture(tmp_path / "images" / "1.png")
    path = tmp_path / "all.json"
    path.write_text(json.dumps(table))
    with pytest.raises(InputError, match=why) as caught:
        open_dataset(name, tmp_path, ALL)
    assert str(path) in str(caught.value) and "; " in str(caught.value)
    path.write_text(json.dumps(coco() if name == "coco" else ytvis()))
    assert open_dataset(name, tmp_path, ALL).labels.classes == ("a",)

    # Classes of one's own that the json knows nothing of.
    classes = {"name": "b", "classes": [{"name": "b", "thing": True, "colour": [1, 2, 3]}]}
    (tmp_path / "classes.json").write_text(json.dumps(classes))
    with pytest.raises(InputError, match=r"'a' is no class of classes\.json"):
        open_dataset(name, tmp_path, ALL)


@pytest.mark.parametrize("name", ["labelme", "label-studio"])
def test_splits_have_the_classes_of_all(tmp_path: Path, name: str) -> None:
    """Files list no classes: one that occurs in no picture of val is a class of it, too."""
    drawn = {"train": ["a", "b", "c"], "val": ["c", "b"]}
    for split, labels in drawn.items():
        folder = tmp_path / split
        if name == "labelme":
            corners = {"points": [[0, 0], [2, 2]], "shape_type": "rectangle"}
            save_labelme(folder, *({"label": one, **corners} for one in labels))
            continue
        picture(folder / "images" / "1.png")
        sides = {"x": 0, "y": 0, "width": 20, "height": 20, "rotation": 0}
        sizes = {"original_width": WIDTH, "original_height": HEIGHT, "type": "rectanglelabels"}
        result = [{"value": {**sides, "rectanglelabels": [one]}, **sizes} for one in labels]
        task = {"data": {"image": "/x/1.png"}, "annotations": [{"result": result}]}
        (folder / "tasks.json").write_text(json.dumps([task]))
    for split, labels in drawn.items():
        dataset = open_dataset(name, tmp_path, split)
        assert dataset.labels.classes == ("a", "b", "c")
        assert classes_of(dataset)[0, 0] == "abc".index(labels[-1])


def test_each_json_of_coco_has_category_numbers_of_its_own(tmp_path: Path) -> None:
    """As exports of two tasks have them: classes go by name."""
    square = {"bbox": [0, 0, 2, 2], "image_id": 1, "id": 1}
    for stem, names in (("1", ["a", "b"]), ("2", ["b", "c", "a"])):
        picture(tmp_path / "images" / f"{stem}.png")
        table = {
            "images": [{"id": 1, "file_name": f"{stem}.png", "height": HEIGHT, "width": WIDTH}],
            "annotations": [square | {"category_id": 7}],
            "categories": [{"id": 7 + i, "name": name} for i, name in enumerate(names)],
        }
        (tmp_path / f"{stem}.json").write_text(json.dumps(table))
    dataset = open_dataset("coco", tmp_path, ALL)
    assert dataset.labels.classes == ("a", "b", "c")
    found = [dataset.load_mask(frame)[0, 0] for frame in labelled_frames(dataset)]
    assert found == [0, 1]


def test_lines_of_labelme_are_counted(tmp_path: Path) -> None:
    picture(tmp_path / "1.png")
    square = {"label": "a", "points": [[0, 0], [4, 2]], "shape_type": "rectangle"}
    line = {"label": "b", "points": [[0, 0], [4, 2]], "shape_type": "line"}
    sizes = {"imageHeight": HEIGHT, "imageWidth": WIDTH, "imagePath": "1.png"}
    record = {"version": "5.4.1", "shapes": [square, line, line], **sizes}
    (tmp_path / "1.json").write_text(json.dumps(record))
    dataset = open_dataset("labelme", tmp_path, ALL)
    assert (classes_of(dataset)[:2, :4] == 0).all()
    assert dataset.notes == ("labelme: left out, as they cover no pixels or are not read: 2 line",)


def test_shapes_of_one_label_and_group_of_labelme_are_one_object(tmp_path: Path) -> None:
    """Group 0 is one, too, and a number that two labels share is an object of each."""

    def square(label: str, left: int, group: int | None) -> dict[str, object]:
        corners = [[left, 0], [left + 1, 1]]
        kind = {"shape_type": "rectangle", "group_id": group}
        return {"label": label, "points": corners, **kind}

    save_labelme(
        tmp_path,
        *(square("a", 0, 1), square("b", 1, 1), square("b", 2, 1), square("a", 3, 0)),
        *(square("a", 4, 0), square("b", 5, None), square("b", 6, None)),
    )
    dataset = open_dataset("labelme", tmp_path, ALL)
    truth = dataset.load_truth(dataset.videos[0].frames[0])
    assert truth.ids[0, 0] == 1
    assert [(one.class_id, one.area) for one in truth.segments or ()] == [
        *((0, 1), (1, 2), (0, 2), (1, 1), (1, 1)),
    ]


def test_a_group_of_cvat_has_one_object_of_each_label(tmp_path: Path) -> None:
    """The same ones through the frames of a video."""
    boxes = "".join(
        f'<track id="{i}" label="{label}" group_id="2"><box frame="{frame}" keyframe="1" '
        f'outside="0" xtl="{i}" ytl="0" xbr="{i + 1}" ybr="1"/></track>'
        for i, (label, frame) in enumerate((label, frame) for frame in (0, 1) for label in "abb")
    )
    meta = f"<original_size><width>{WIDTH}</width><height>{HEIGHT}</height></original_size>"
    (tmp_path / "v.xml").write_text(f"<annotations><meta>{meta}</meta>{boxes}</annotations>")
    dataset = open_dataset("cvat", tmp_path, ALL)
    found = [dataset.load_truth(frame).segments or () for frame in dataset.videos[0].frames]
    rows = [[(one.id, one.class_id, one.area) for one in segments] for segments in found]
    assert rows[0] == rows[1] == [(2, 0, 1), (rows[0][1][0], 1, 2)]


def ai_mask(values: np.ndarray, *, left: int = 3, top: int = 2) -> dict[str, object]:
    """A shape as LabelMe's AI-Mask saves it: a PNG, and the first and last pixel of its box."""
    data = io.BytesIO()
    Pillow.fromarray(values).save(data, "PNG")
    height, width = values.shape[:2]
    corners = [[left, top], [left + width - 1, top + height - 1]]
    mask = base64.b64encode(data.getvalue()).decode()
    return {"label": "a", "points": corners, "shape_type": "mask", "mask": mask, "group_id": 4}


def save_labelme(folder: Path, *shapes: object) -> None:
    picture(folder / "1.png")
    sizes = {"imageHeight": HEIGHT, "imageWidth": WIDTH, "imagePath": "1.png"}
    record = {"version": "5.6.0", "shapes": list(shapes), **sizes}
    (folder / "1.json").write_text(json.dumps(record))


@pytest.mark.parametrize("white", [1, 255])
def test_masks_of_labelme_are_read_to_the_pixel(tmp_path: Path, white: int) -> None:
    bits = np.array([[1, 0, 1], [0, 1, 1]], np.uint8) * white
    save_labelme(tmp_path, ai_mask(bits))
    dataset = open_dataset("labelme", tmp_path, ALL)
    expected = np.full((HEIGHT, WIDTH), 255, np.uint8)
    expected[2:4, 3:6][bits > 0] = 0
    np.testing.assert_array_equal(classes_of(dataset), expected)
    (segment,) = dataset.load_truth(dataset.videos[0].frames[0]).segments or ()
    assert (segment.id, segment.area, segment.box) == (4, 4, (3, 2, 3, 2))


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"mask": "no base64!"}, "no base64"),
        ({"mask": "bm8gcGljdHVyZQ=="}, "its mask is no picture"),
        ({"mask": 3}, "mask"),
        ({"points": [[3, 2], [6, 3]]}, "its mask is 3x2, its box 4x2"),
        ({"points": [[WIDTH - 2, 2], [WIDTH, 3]]}, "its mask is not inside the picture"),
        ({"points": [[3, 2]]}, "1 points are no box"),
        (ai_mask(np.ones((2, 3, 3), np.uint8)), "mode RGB"),
    ],
)
def test_damaged_masks_of_labelme_are_named(
    tmp_path: Path, wrong: dict[str, object], why: str
) -> None:
    save_labelme(tmp_path, ai_mask(np.ones((2, 3), np.uint8)) | wrong)
    with pytest.raises(InputError, match=why) as caught:
        classes_of(open_dataset("labelme", tmp_path, ALL))
    assert "1.json" in str(caught.value)
