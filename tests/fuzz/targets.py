"""The readers that are fuzzed: good files of each, how they are changed, and how they are read.

A reader may refuse a file by an error of vidparse.errors. Anything else it raises is a find.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from fuzz import mutations
from fuzz.mutations import Mutation
from PIL import Image as Pillow

from support.clips import make_clip, picture
from support.colour_model import save_colour_model
from support.made_coco import make_coco
from support.made_result import classes, make_result, objects
from vidparse.data import open_dataset
from vidparse.data.dataset import ALL
from vidparse.data.folder import read_labels
from vidparse.data.pictures import is_coloured, mask_size, read_indices, read_rgb
from vidparse.errors import VidparseError
from vidparse.flow import read_flo, write_flo
from vidparse.labels import labels_to_json, load_labels
from vidparse.maps.ids import read_panoptic_png
from vidparse.maps.panoptic_json import read_panoptic_json
from vidparse.maps.panoptic_record import read_record
from vidparse.models.checkpoint import read_description, read_onnx_description
from vidparse.models.onnx_file import onnx_metadata
from vidparse.video import RawPipe, open_video, read_id_video, read_mask_video, report_media

FRAMES = 12  # that are read of a video
_SMALL = (32, 48)


@dataclass(frozen=True, slots=True)
class Target:
    """A reader under test.

    corpus: makes the good files in a folder. read: reads one; it stands at the place of the good
    one, among its neighbours.
    """

    corpus: Callable[[Path], list[Path]]
    read: Callable[[Path], object]
    mutation: Mutation = mutations.of_bytes


def _frames(source: str | Path, **wishes: object) -> None:
    """The first frames of a video, to their pixels, and all facts about it."""
    with open_video(source, **wishes) as video:  # type: ignore[arg-type]
        video.stamps()
        for frame in islice(video, FRAMES):
            frame.image.rgb(_SMALL)
        video.trailing_packets()
        assert video.notes is not None


def _video(path: Path) -> None:
    report_media(path)
    _frames(path)


def _ranged(path: Path) -> None:
    _frames(path, start_s=0.2, end_s=0.4)


def _piped(path: Path) -> None:
    _frames("-", stdin=io.BytesIO(path.read_bytes()))


def _container(name: str, **wishes: object) -> Target:
    sound = {".avi": "mp2", ".ts": "mp2", ".webm": "vorbis"}.get(name, "aac")

    def corpus(folder: Path) -> list[Path]:
        common = {"frames": 10, "size_hw": _SMALL, **wishes}
        return [
            make_clip(folder / f"a{name}", **common),  # type: ignore[arg-type]
            make_clip(folder / f"b{name}", audio=sound, **common),  # type: ignore[arg-type]
        ]

    def read(path: Path) -> None:
        # Take turns by the file's own bytes, so that a kept file is read in the same way.
        ways = (_video, _video, _ranged, _piped)
        ways[sum(path.read_bytes()[-64:]) % len(ways)](path)

    return Target(corpus, read)


def _raw(path: Path) -> None:
    data = path.read_bytes()
    formats = ("rgb24", "gray", "yuv420p", "bgra", "yuv422p10le", "nv12", "pal8", "rgb48be", "x")
    pick = (*data[:8], *bytes(8))
    layout = RawPipe(
        (max(1, pick[0]), max(1, pick[1])), Fraction(max(1, pick[2])), formats[pick[3] % 9]
    )
    _frames("-", stdin=io.BytesIO(data), pipe=layout)


def _make_raw(folder: Path) -> list[Path]:
    (folder / "a.raw").write_bytes(bytes((8, 6, 25, 0)) + bytes(range(256)) * 8)
    return [folder / "a.raw"]


def _make_pngs(folder: Path) -> list[Path]:
    ids = np.arange(24 * 32).reshape(24, 32)
    Pillow.fromarray((ids % 11).astype(np.uint8)).save(folder / "gray.png")
    palette = Pillow.fromarray((ids % 11).astype(np.uint8), "P")
    palette.putpalette([i % 256 for i in range(768)])
    palette.save(folder / "palette.png")
    Pillow.fromarray((ids % 300).astype(np.uint16)).save(folder / "deep.png")
    Pillow.fromarray((ids % 2).astype(bool)).save(folder / "bits.png")
    return sorted(folder.glob("*.png"))


def _read_mask(path: Path) -> None:
    is_coloured(path)
    mask_size(path, of_indices=True)
    read_indices(path)


def _make_pictures(folder: Path) -> list[Path]:
    pixels = picture(3, _SMALL)[..., ::-1]
    names = ("a.png", "b.jpg", "c.webp", "d.tif", "e.bmp")
    for name in names:
        cv2.imwrite(str(folder / name), pixels)
    shots = [Pillow.fromarray(picture(i, _SMALL)) for i in range(3)]
    for name in ("f.gif", "g.webp", "h.png", "i.tif"):
        shots[0].save(folder / name, save_all=True, append_images=shots[1:])
    turned = Pillow.Exif()
    turned[274] = 6
    shots[0].save(folder / "j.jpg", exif=turned)
    return sorted(folder.iterdir())


def _read_picture(path: Path) -> None:
    if path.suffix not in (".gif",):
        _refusable(lambda: read_rgb(path))
    _frames(path)


def _refusable(read: Callable[[], object]) -> None:
    """Read; a refusal is no reason not to read on in another way."""
    with suppress(VidparseError):
        read()


def _make_mask_videos(folder: Path) -> list[Path]:
    for suffix, answer in ((".masks.mkv", classes), (".ids.mkv", objects)):
        source = make_clip(folder / "clip.mp4", frames=6, size_hw=_SMALL)
        saved = "mask-video" if answer is classes else "id-video"
        make_result(source, folder, (saved,), answer)
        source.unlink()
        (folder / f"clip{suffix}").rename(folder / f"clip.{saved}.mkv")
    return sorted(folder.glob("*.mkv"))


def _read_mask_video(path: Path) -> None:
    reader = read_id_video if "id-video" in path.name else read_mask_video
    for ids in islice(reader(path), FRAMES):
        ids.max()


def _make_panoptic(folder: Path) -> list[Path]:
    make_coco(folder / "coco")
    return [folder / "coco" / "annotations" / "panoptic_val2017.json"]


def _read_panoptic(path: Path) -> None:
    _refusable(lambda: read_panoptic_json(path))
    with suppress(ValueError):  # as its docstring names
        _refusable(lambda: read_record(path))
    _load("coco-panoptic", path.parents[1], "val")


def _make_panoptic_png(folder: Path) -> list[Path]:
    make_coco(folder / "coco")
    return sorted((folder / "coco" / "annotations").rglob("*.png"))


def _load(name: str, root: Path, split: str = ALL) -> None:
    """Every mask of a data set, with its objects where it has some."""
    dataset = open_dataset(name, root, split)
    for video in dataset.videos[:4]:
        for frame in video.frames[:6]:
            if frame.labelled:
                _refusable(lambda frame=frame: dataset.load_truth(frame))  # type: ignore[misc]


def _saved(kind: str, wanted: str) -> Callable[[Path], list[Path]]:
    """A corpus of what the outputs of vidparse are, for the files that match."""

    def make(folder: Path) -> list[Path]:
        source = make_clip(folder / "clip.mp4", frames=3, size_hw=_SMALL)
        make_result(source, folder / "out", (kind,), objects)
        return sorted((folder / "out").rglob(wanted))

    return make


def _make_labels(folder: Path) -> list[Path]:
    path = folder / "labels.json"
    path.write_text(json.dumps(labels_to_json(load_labels("camvid"))))
    return [path]


def _make_recipes(folder: Path) -> list[Path]:
    import vidparse.training

    found = (Path(vidparse.training.__file__).parent / "recipes").glob("*.toml")
    return [Path(shutil.copy(path, folder)) for path in sorted(found)]


def _read_recipe(path: Path) -> None:
    from vidparse.training.recipe_file import load_recipe

    load_recipe(str(path))


def _make_weights(folder: Path) -> list[Path]:
    import torch

    from vidparse.models.checkpoint import save_checkpoint
    from vidparse.models.description import Preprocess, metadata_of
    from vidparse.models.zoo import build, config_of

    torch.manual_seed(0)
    config = {"classes": 11, "backbone": "mobilenetv2", "output_stride": 16, "width": 8}
    network = build("perframe", config | {"auxiliary": False})
    described = metadata_of(
        arch="perframe",
        config=config_of(network),
        labels=load_labels("camvid"),
        preprocess=Preprocess(short_side=96),
        training={},
    )

    # Leave out most tensors: reading them is not under test, and takes the time.
    few = dict(islice(network.state_dict().items(), 3))
    save_checkpoint(folder / "a.safetensors", few, described)
    return [folder / "a.safetensors"]


def _read_weights(path: Path) -> None:
    from vidparse.convert.tensors import read_tensors

    _refusable(lambda: read_tensors(path))
    read_description(path)


def _make_onnx(folder: Path) -> list[Path]:
    return [save_colour_model(folder / "a.onnx", "camvid")]


def _read_onnx(path: Path) -> None:
    with suppress(ValueError):  # as its docstring names
        onnx_metadata(path)
    read_onnx_description(path)


def _run_onnx(path: Path) -> None:
    from vidparse import load_model

    load_model(path, backend="onnx", device="cpu", threads=1)


def _make_records(folder: Path) -> list[Path]:
    source = make_clip(folder / "clip.mp4", frames=4, size_hw=_SMALL)
    return [make_result(source, folder / "out", ("ids", "jsonl"), objects, rle=True)]


def _read_records(path: Path) -> None:
    from vidparse.view.records import read_frames, read_header
    from vidparse.view.result import find_video, open_results

    header = read_header(path)
    for _ in read_frames(path, header.labels):
        pass
    (result,) = open_results([path])
    _refusable(lambda: find_video(result, None))


def _make_flows(folder: Path) -> list[Path]:
    write_flo(folder / "a.flo", np.zeros((2, 6, 8), np.float32))
    return [folder / "a.flo"]


def _in_set(name: str) -> Callable[[Path], None]:
    def read(path: Path) -> None:
        root = path.parent
        while root.name != "out" and root.parent != root:
            root = root.parent
        _load(name, root if name == "cvat" else next(iter(sorted(root.iterdir()))))

    return read


TARGETS: dict[str, Target] = {
    "mp4": _container(".mp4", options={"g": "5"}),
    "mkv": _container(".mkv", codec="mpeg4"),
    "ts": _container(".ts", codec="mpeg2video"),
    "avi": _container(".avi", codec="mpeg4"),
    "webm": _container(".webm", codec="libvpx"),
    "y4m": replace(
        _container(".y4m"),
        corpus=lambda folder: [
            make_clip(folder / "a.y4m", frames=4, size_hw=(8, 10), codec="wrapped_avframe",
                      container="yuv4mpegpipe")
        ],
    ),
    "raw": Target(_make_raw, _raw),
    "pictures": Target(_make_pictures, _read_picture, mutations.of_png),
    "masks": Target(_make_pngs, _read_mask, mutations.of_png),
    "mask-video": Target(_make_mask_videos, _read_mask_video),
    "panoptic-json": Target(_make_panoptic, _read_panoptic, mutations.of_json),
    "panoptic-png": Target(_make_panoptic_png, read_panoptic_png, mutations.of_png),
    "labels": Target(_make_labels, read_labels, mutations.of_json),
    "recipes": Target(_make_recipes, _read_recipe, mutations.of_text),
    "safetensors": Target(_make_weights, _read_weights, mutations.of_safetensors),
    "onnx": Target(_make_onnx, _read_onnx),
    "onnx-run": Target(_make_onnx, _run_onnx),
    "cvat": Target(_saved("cvat", "*.xml"), _in_set("cvat"), mutations.of_text),
    "labelme": Target(_saved("labelme", "*.json"), _in_set("labelme"), mutations.of_json),
    "label-studio": Target(
        _saved("label-studio", "tasks.json"), _in_set("label-studio"), mutations.of_json
    ),
    "yolo": Target(_saved("yolo-seg", "*.[ty][xa]*"), _in_set("yolo-seg"), mutations.of_text),
    "jsonl": Target(_make_records, _read_records, mutations.of_json_lines),
    "flow": Target(_make_flows, read_flo),
}  # fmt: skip


def _make_word(folder: Path) -> list[Path]:
    (folder / "word").write_bytes(b"good")
    return [folder / "word"]


def _planted(fault: Callable[[], object]) -> Target:
    """A reader with a fault, for files that were changed."""

    def read(path: Path) -> None:
        if path.read_bytes() != b"good":
            fault()

    return Target(_make_word, read)


# Faults that the driver has to see; they are not among its targets unless they are named.
PLANTED = {
    "planted-error": _planted(lambda: {}["x"]),
    "planted-death": _planted(lambda: os.kill(os.getpid(), signal.SIGSEGV)),
    "planted-exit": _planted(lambda: os._exit(3)),
    "planted-hang": _planted(lambda: time.sleep(60)),
    "planted-memory": _planted(lambda: bytearray(1200 << 20)),
}
