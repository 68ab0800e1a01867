"""A file in pieces from key frame to key frame is the file, frame by frame."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from vidparse.errors import TruncatedError
from vidparse.video import Source
from vidparse.video.container import ContainerSource
from vidparse.video.pieces import PieceSource, in_pieces, piece_starts
from vidparse.video.source import Selection, Stamps

MEMORY = 1 << 34


def opened(path, **selection) -> ContainerSource:
    return ContainerSource(str(path), str(path), Selection(**selection), copy_streams=False)


def in_several(path, decoders: int = 3, **selection) -> Source:
    return in_pieces(
        opened(path, **selection),
        lambda: opened(path, **selection),
        decoders=decoders,
        memory=MEMORY,
    )


def facts(source: Source) -> list[tuple[object, ...]]:
    """Everything about each frame, its pixels as a sum."""
    with source:
        return [
            (one.index, one.pts, one.duration, int(one.image.rgb().sum(dtype=np.int64)))
            for one in source
        ]


@pytest.mark.parametrize("decoders", [2, 3, 7])
@pytest.mark.parametrize(
    "wishes",
    [
        {},
        {"options": {"bf": "3", "g": "20", "x264-params": "open-gop=1:keyint=20"}},
        {"name": "x.mkv", "rate": Fraction(30000, 1001)},
    ],
    ids=["mp4", "open-gop", "mkv"],
)
def test_pieces_are_the_whole(clip, wishes, decoders) -> None:
    options = {"options": {"g": "12"}, **wishes}
    path = clip(options.pop("name", "x.mp4"), frames=200, **options)
    source = in_several(path, decoders)
    assert isinstance(source, PieceSource)
    assert facts(source) == facts(opened(path))


def test_a_range_ends_where_it_should(clip) -> None:
    path = clip("x.mp4", frames=200, options={"g": "12"})
    source = in_several(path, end_s=Fraction(5))
    assert isinstance(source, PieceSource)
    assert facts(source) == facts(opened(path, end_s=Fraction(5)))


def test_a_reader_that_leaves_stops_the_decoders(clip) -> None:
    source = in_several(clip("x.mp4", frames=200, options={"g": "12"}))
    with source:
        assert next(iter(source)).index == 0


def test_a_file_that_is_cut_off_says_so_behind_its_last_frame(clip, tmp_path) -> None:
    whole = clip("x.mkv", frames=200, options={"g": "12"})
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: -whole.stat().st_size // 5])
    messages = []
    for source in (in_several(cut), opened(cut)):
        frames = []
        with source, pytest.raises(TruncatedError) as caught:
            frames.extend(frame.pts for frame in source)
        messages.append((str(caught.value), frames))
    assert messages[0] == messages[1]


@pytest.mark.parametrize(
    "selection", [{"start_s": Fraction(1)}, {"stride": 2}], ids=["start", "stride"]
)
def test_parts_of_a_file_stay_with_one_decoder(clip, selection) -> None:
    path = clip("x.mp4", frames=200, options={"g": "12"})
    assert isinstance(in_several(path, **selection), ContainerSource)


def test_little_memory_and_few_key_frames_stay_with_one_decoder(clip) -> None:
    many = clip("x.mp4", frames=200, options={"g": "12"})
    few = clip("y.mp4", frames=90, options={"g": "250"})
    assert isinstance(in_several(few), ContainerSource)
    small = in_pieces(opened(many), lambda: opened(many), decoders=2, memory=1 << 16)
    assert isinstance(small, ContainerSource)


def test_pieces_begin_at_key_frames_and_are_long_enough() -> None:
    keys = tuple(place % 10 == 0 for place in range(200))
    assert piece_starts(Stamps(tuple(range(200)), keys, 0)) == (0, 50, 100, 150)
