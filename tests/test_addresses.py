"""Users, passwords and tokens of addresses, which nobody gets to see."""

from __future__ import annotations

import pytest

from vidparse.addresses import masked
from vidparse.cli.terminal import plain
from vidparse.video import Input


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("rtsp://joe:secret@cam/x", "rtsp://***@cam/x"),
        ("rtsp://joe@cam/x", "rtsp://***@cam/x"),
        ("rtsp://joe:sec@ret@cam:554/x", "rtsp://***@cam:554/x"),
        ("rtsp://joe:se/cr?et@cam/x", "rtsp://***@cam/x"),
        ("http://cam/x?user=joe&password=1&n=2", "http://cam/x?user=***&password=***&n=2"),
        ("http://cam/x?access_token=1#a", "http://cam/x?access_token=***#a"),
        ("see rtsp://a:b@c/d and http://e:f@g", "see rtsp://***@c/d and http://***@g"),
        ("http://cam:8080/a@b.m3u8", "http://cam:8080/a@b.m3u8"),
        ("joe:secret@cam", "joe:secret@cam"),
        ("camera://0", "camera://0"),
    ],
)
def test_what_lets_somebody_in_is_hidden(given, shown):
    assert masked(given) == shown
    assert plain(f"lost {given}") == f"lost {shown}"


def test_an_input_is_called_by_its_masked_address():
    one = Input.named("rtsp://joe:secret@cam/live")
    assert one.name == "rtsp://***@cam/live"
    assert one.address == "rtsp://joe:secret@cam/live"
    assert "secret" not in repr(one)
