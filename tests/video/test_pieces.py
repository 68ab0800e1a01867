"""A file in pieces from key frame to key frame is the file, frame by frame."""

from __future__ import annotations

import time
from fractions import Fraction

import av
import numpy as np
import pytest

from vidparse.errors import TruncatedError
from vidparse.video import Source
from vidparse.video.container import ContainerSource
from vidparse.video.picture import Converter
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


@pytest.fixture
def one_thread(monkeypatch) -> None:
    """Errors come with the packet that they are of, as from the decoder of a device."""
    monkeypatch.setattr("vidparse.video.decode.decoder_threads", lambda: 1)


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


def test_hevc_loses_nothing_at_the_ends_of_pieces(clip) -> None:
    """What a decoder has in hand as it leaves for its next piece is no damage."""
    options = {"x265-params": "keyint=12:min-keyint=12:log-level=none"}
    path = clip("x.mp4", frames=200, codec="libx265", options=options)
    source = in_several(path, 2)
    assert isinstance(source, PieceSource)
    assert facts(source) == facts(opened(path)) and source.skipped == 0


VP9 = {"codec": "libvpx-vp9", "options": {"g": "12", "deadline": "realtime", "cpu-used": "8"}}


@pytest.mark.parametrize(
    "lost", [range(96, 144), range(150, 200), range(70, 73)], ids=["piece", "end", "three"]
)
def test_lost_frames_are_counted_once_and_the_others_come(clip, one_thread, lost) -> None:
    path = clip("x.mp4", frames=200, **VP9)
    with av.open(str(path)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for number in lost:
        data[places[number] : places[number] + 4] = bytes(4)
    path.write_bytes(data)

    source, whole = in_several(path), opened(path)
    assert isinstance(source, PieceSource)
    found = facts(source)
    assert found == facts(whole)
    assert source.skipped == whole.skipped and source.notes == whole.notes
    assert len(found) < 200


def test_pictures_that_decoders_filled_in_are_one_note(clip) -> None:
    path = clip("x.mkv", frames=200, options={"g": "12", "qp": "20"})
    with av.open(str(path)) as container:
        packets = [(one.pos, one.size) for one in container.demux(video=0) if one.size]
    data = bytearray(path.read_bytes())
    for place, size in (packets[number] for number in (70, 100, 130, 170)):
        middle = place + size // 2
        data[middle : middle + 6] = b"\x55\xaa\x00\xff\x13\x77"
    path.write_bytes(data)

    source, whole = in_several(path), opened(path)
    facts(source), facts(whole)
    assert source.notes == whole.notes
    assert int(whole.notes[0].split()[2].rstrip(",")) > 1


def test_decoders_hold_no_more_than_a_piece_each(clip, monkeypatch) -> None:
    made = []
    image = Converter.image
    monkeypatch.setattr(Converter, "image", lambda self, one: made.append(1) or image(self, one))
    source = in_several(clip("x.mp4", frames=600, options={"g": "12"}), 2)
    with source:
        next(iter(source))
        time.sleep(0.5)
        assert len(made) <= 2 * (48 + 2)


def test_stamps_are_those_of_the_file_after_pieces_were_read(clip) -> None:
    source = in_several(clip("x.mp4", frames=200, options={"g": "12"}))
    stamps = source.stamps()
    facts(source)
    assert source.stamps() == stamps and stamps is not None and len(stamps.pts) == 200


def test_a_range_ends_where_it_should(clip) -> None:
    path = clip("x.mp4", frames=200, options={"g": "12"})
    source = in_several(path, end_s=Fraction(5))
    assert isinstance(source, PieceSource)
    assert facts(source) == facts(opened(path, end_s=Fraction(5)))


def test_a_reader_that_leaves_stops_the_decoders(clip) -> None:
    source = in_several(clip("x.mp4", frames=200, options={"g": "12"}))
    with source:
        assert next(iter(source)).index == 0


def test_a_file_that_is_cut_off_fails_behind_its_last_frame(clip, tmp_path) -> None:
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
