"""Files that the driver found, as small as they get: each is one line for the user now."""

from __future__ import annotations

import base64
import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image as Pillow

from support.clips import make_clip, picture
from support.made_result import make_result
from vidparse import load_model
from vidparse.data import open_dataset
from vidparse.data.dataset import ALL
from vidparse.data.pictures import read_indices, read_rgb
from vidparse.errors import InputError, ModelError, UsageError
from vidparse.training.recipe_file import load_recipe
from vidparse.video import open_video
from vidparse.view.result import find_video, open_results

# An animated PNG, its second picture damaged.
APNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAADAAAAAgCAIAAADbtmxLAAAACGFjVEwAAAADAAAAAM7tusAAAAAaZmNUTAAAAAAAAA"
    "AwAAAAIAAAAAAAAAAAAAAAAQAAuFDesQAAAG9JREFUeJzt1DEOgCAQRNGRgHoDr0DN/Q/CcWwtFicxUSz+r0iW4mWL"
    "XWqtikq9FWmVihQ+7qeP/+dQI0nbcPJqY9D+oeISIBcg1/9A/WjhnUhzPMqzNjEKkAuQC5ALkAuQC5ALkAuQC5ALkA"
    "uQ6wT0uAUIYkrS9gAAABplWElmAAAAAQAAAAsAAAAKAAAAAAAAAAAAAAABAAD+ZD20AAAASGZkQVQAAAACeJxj1NXV"
    "ZcAG/l7WZWVgYGNgYMEqzcDAwMAOpXGq2KN4DsJgwmkGDAwWFSyXhXRZGRhYGRjuvDyHXQUDBwEzAMRZCBSaXXQQAA"
    "AAGmZjVEwAAAADAAAADgAAAAwAAAAAAAAAAAAAAAEAAKI+K34AAABWZmRBVAAAAAR4nGM0MjJiwAZ+nNNgZWBgY2Bg"
    "ZWCAMFiwqmNgYGBgRxfArZSDFkr3CJ5DE2HCaSoGoI1SlnO8GqxIgcfKwHDmJboroUoxfYrTVJooBQCiiggxBSIGtQ"
    "AAAABJRU5ErkJggg=="
)


def test_threads_of_a_damaged_animation_end(tmp_path: Path) -> None:
    """FFmpeg's waited for each other when the decoder was put away; a process shows it."""
    (tmp_path / "a.png").write_bytes(APNG)
    words = [sys.executable, "-m", "vidparse", "info", str(tmp_path / "a.png")]
    done = subprocess.run(words, capture_output=True, timeout=60)
    assert done.returncode in (0, 3), "whichever of its pictures count as good"


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


HEAD = (b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 0, 0, 0, 0))
ROWS = (b"IDAT", zlib.compress(bytes(20)))


@pytest.mark.parametrize(
    "data",
    [
        png(HEAD, ROWS, (b"iCCP", b"name without an end"), (b"IEND", b"")),
        png(HEAD, ROWS, (b"tRNS", b""), (b"IEND", b"")),
        png(HEAD) + struct.pack(">I", 2**31 - 1) + b"IDAT" + ROWS[1],
        png(HEAD, ROWS, (b"IDAT", b"\0"))[:-6],
    ],
    ids=["broken profile", "empty transparency", "an endless chunk", "a cut chunk"],
)
def test_masks_that_are_damaged(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(data)
    for read in (read_indices, read_rgb):
        try:
            assert read(path).shape[:2] == (4, 4)
        except InputError as error:
            assert str(error).startswith(f"{path}: ")


def test_a_picture_beyond_the_limits_of_opencv(tmp_path: Path) -> None:
    data = io.BytesIO()
    Pillow.fromarray(picture(0, (8, 8))).save(data, "BMP")
    changed = bytearray(data.getvalue())
    changed[18:26] = struct.pack("<ii", 8, 2**30)
    (tmp_path / "a.bmp").write_bytes(changed)
    with pytest.raises(InputError, match=r"a\.bmp: "):
        read_rgb(tmp_path / "a.bmp")


@pytest.mark.parametrize("length", [16, 20, 21])
def test_a_webp_that_ends_in_its_head(tmp_path: Path, length: int) -> None:
    (tmp_path / "a.webp").write_bytes((b"RIFF\0\0\0\0WEBPVP8X" + bytes(8))[:length])
    with pytest.raises(InputError):
        open_video(tmp_path / "a.webp")


def cvat(root: Path, inner: str) -> Path:
    label = "<label><name>a</name><color>#ffffff</color></label>"
    head = f"<meta><task><labels>{label}</labels></task></meta>"
    (root / "task.xml").write_text(
        f"<annotations><version>1.1</version>{head}{inner}</annotations>"
    )
    return root


def test_names_that_no_file_can_have(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="recipe 'xxx"):
        load_recipe("x" * 5000 + ".toml")
    (tmp_path / "long.toml").write_text(f'base = "{"b" * 5000}"')
    with pytest.raises(UsageError, match="recipe 'bbb"):
        load_recipe(str(tmp_path / "long.toml"))
    size = "<original_size><width>8</width><height>6</height></original_size><size>1</size>"
    film = cvat(tmp_path, f"<meta><task><source>{'y' * 5000}.mp4</source>{size}</task></meta>")
    assert len(open_dataset("cvat", film, ALL).videos[0].frames) == 1
    image = f'<image id="0" name="{"z" * 5000}.png" width="8" height="6"/>'
    with pytest.raises(InputError, match="is no name of a file") as caught:
        open_dataset("cvat", cvat(tmp_path, image), ALL)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("size", [20_000, 9_999_999])
def test_a_small_file_of_very_many_frames(tmp_path: Path, size: int) -> None:
    """Each frame listed the folder once more, and nothing bounded their number."""
    original = "<original_size><width>8</width><height>6</height></original_size>"
    root = cvat(tmp_path, f"<meta><task><size>{size}</size>{original}</task></meta>")
    if size < 100_000:
        assert len(open_dataset("cvat", root, ALL).videos[0].frames) == size
    else:
        with pytest.raises(InputError, match="a task of 9999999 frames"):
            open_dataset("cvat", root, ALL)


def test_records_of_a_video_whose_name_no_file_can_have(tmp_path: Path) -> None:
    made = make_result(make_clip(tmp_path / "clip.mp4", frames=2), tmp_path / "out")
    made.write_text(made.read_text().replace('"name":"clip.mp4"', f'"name":"{"n" * 5000}"'))
    (result,) = open_results([made])
    with pytest.raises(InputError, match="is not found"):
        find_video(result, None)


def test_texts_of_onnx_that_are_none(tmp_path: Path, colour_model: Path) -> None:
    model = onnx.load(colour_model)
    model.metadata_props[0].key = "vidparsf"
    data = model.SerializeToString()
    (tmp_path / "a.onnx").write_bytes(data.replace(b"vidparsf", b"vidpars\xff"))
    with pytest.raises(ModelError, match="UTF-8"):
        load_model(tmp_path / "a.onnx", backend="onnx", device="cpu")


def test_tables_of_an_mp4_that_ask_for_no_end_of_memory(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", frames=5)
    data = bytearray(path.read_bytes())
    at = data.index(b"stsz") + 12
    data[at : at + 4] = np.uint32(2**29 - 8).tobytes()[::-1]
    path.write_bytes(data)
    with pytest.raises(InputError):
        open_video(path)
