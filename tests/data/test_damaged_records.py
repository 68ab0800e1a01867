"""Records that are cut, empty, or hold odd values: one line that names what is wrong, or labels."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from support.made_labels import made_dataset
from vidparse.data import convert as converting
from vidparse.data import format_of, open_dataset
from vidparse.data.convert import convert_dataset
from vidparse.data.dataset import ALL, Format
from vidparse.data.recognition import recognise
from vidparse.data.writers import WRITERS
from vidparse.errors import VidparseError

ROUNDS = 10
NONE = (b"", b"[1, 2", b'{"images": [', b"[1, 2]", b"{}", b"<a>", b"\xff\xfe\x00", b"[" * 99999)
ODD = [None, -1, 0, 1.5, 2**40, 1e300, "", "\u00e9", "../../x", [], {}, [[]], True]
RECORDS = (".json", ".xml", ".yaml", ".txt", ".png", ".mp4")


@pytest.fixture(params=sorted(WRITERS))
def record_set(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """A format that is read, and a small data set in it."""
    to = request.param
    made = made_dataset(tmp_path / "in", videos=1)
    layout = Format(
        open=lambda root, split, on_missing=None: made,
        sign="",
        matches=lambda root: True,
        splits=lambda root: (ALL,),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(converting, "format_of", lambda name: layout)
        convert_dataset(tmp_path / "in", tmp_path / "out", to=to, dataset="made")
    return WRITERS[to].read_as or to, tmp_path / "out"


def read_all(name: str, root: Path) -> int:
    """Frames with labels."""
    count = 0
    for split in format_of(name).splits(root):
        dataset = open_dataset(name, root, split)
        for video in dataset.videos:
            for frame in (one for one in video.frames if one.labelled):
                dataset.load_truth(frame)
                count += 1
    return count


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_texts_with_a_byte_order_mark_are_known(
    record_set: tuple[str, Path], encoding: str
) -> None:
    """As programs for Windows save them."""
    name, root = record_set
    before = recognise(root), read_all(name, root)
    for path in root.rglob("*"):
        if path.suffix in (".json", ".xml"):
            text = path.read_text(encoding="utf-8")
            path.write_text(text, encoding="utf-8-sig" if path.suffix == ".xml" else encoding)
    assert (recognise(root), read_all(name, root)) == before


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Ways to every value of a JSON."""
    yield above
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*above, key))
    elif isinstance(value, list):
        for i in range(min(len(value), 4)):
            yield from places(value[i], (*above, i))


def damaged(data: bytes, ending: str, rng: random.Random) -> bytes:
    if ending == ".json" and rng.random() < 0.7:
        value = json.loads(data)
        *way, last = rng.choice([place for place in places(value) if place])
        holder = value
        for key in way:
            holder = holder[key]
        if rng.random() < 0.3:
            del holder[last]
        else:
            holder[last] = rng.choice(ODD)
        return json.dumps(value).encode()
    if rng.random() < 0.5:
        return data[: rng.choice((0, 1, len(data) // 2, len(data) - 1))]
    changed = bytearray(data)
    for _ in range(3):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def test_damage_is_a_one_line_error_or_is_read(record_set: tuple[str, Path]) -> None:
    name, root = record_set
    assert read_all(name, root) == 3
    rng = random.Random(name)
    files = [path for path in sorted(root.rglob("*")) if path.suffix in RECORDS]
    for _ in range(ROUNDS):
        path = rng.choice(files)
        data = path.read_bytes()
        path.write_bytes(damaged(data, path.suffix, rng))
        try:
            read_all(name, root)
        except VidparseError as error:
            assert "\n" not in str(error) and "; " in str(error), str(error)
        path.write_bytes(data)
    assert read_all(name, root) == 3
    for path in files:
        path.write_bytes(b"")
    with pytest.raises(VidparseError, match="; "):
        format_of(name).open(root, ALL if name not in ("vspw", "vipseg") else "train")
        read_all(name, root)


def test_a_record_that_is_none_is_a_one_line_error_by_folder_and_by_file(
    record_set: tuple[str, Path], tmp_path: Path
) -> None:
    name, root = record_set
    records = [path for path in root.rglob("*") if path.suffix in (".json", ".xml")]
    for content, place in product(NONE, (root, records[0])):
        for path in records:
            path.write_bytes(content)
        for dataset in (None, name):
            with pytest.raises(VidparseError) as caught:
                convert_dataset(place, tmp_path / "new", to="folder", dataset=dataset)
            message = str(caught.value).replace(str(tmp_path), "")
            assert (len(message) < 300, "\n" in message, "; " in message) == (True, False, True), (
                message
            )
