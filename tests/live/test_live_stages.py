"""What a network that is too slow for its source gets to see, and how late the outputs are."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from vidparse.arrival import Arrival
from vidparse.errors import InputError
from vidparse.frame import Frame
from vidparse.inference.clips import Prepared
from vidparse.live.stages import LiveStages
from vidparse.live.tally import Tally


class Fake:
    """A live source of frames that are so old, and a session that passes them on."""

    labels = None
    info = SimpleNamespace(name="cam")
    repeated, key_frames, looks = 0, None, ()

    def __init__(self, ages_s: list[float], *, gap: int = -1) -> None:
        self.tally, self.wanted = Tally(clock=lambda: 100.0), 0
        picture = np.zeros((4, 4, 3), np.uint8)
        self.items = []
        for index, age_s in enumerate(ages_s):
            gap_s = 1.5 if index == gap else 0.0
            arrival = Arrival(100.0 - age_s, 0.0, gap_s)
            frame = replace(Frame.from_rgb(picture, index=index), arrival=arrival)
            packets = (f"sound {index}",)
            frame = replace(frame, packets=packets)
            shot = index == gap
            self.items.append(Prepared(frame, np.zeros((1, 3, 4, 4)), shot, repeats=True))

    def on_demand(self) -> None: ...

    def request_frame(self) -> None:
        self.wanted += 1

    def end_requests(self) -> None: ...

    def answered(self, prepared: Iterable[Prepared], *, live: bool) -> Iterator[Prepared]:
        yield from prepared


def passed(fake: Fake, most_s: float | None) -> list[Prepared]:
    return list(LiveStages(fake, fake, max_latency_s=most_s).answered(fake.items, live=True))


def test_frames_that_are_too_old_at_the_network_are_dropped_and_counted():
    fake = Fake([0.1, 0.3, 0.2, 0.9, 0.0])
    assert [one.frame.index for one in passed(fake, 0.25)] == [0, 2, 4]
    assert fake.tally.too_late == 2
    assert fake.wanted == 6  # once for each, and once for the end
    assert [one.frame.index for one in passed(Fake([9.0, 9.0]), None)] == [0, 1]


def test_a_source_of_which_all_frames_are_too_old_is_an_error_of_its_own():
    fake = Fake([9.0, 9.0])
    with pytest.raises(InputError, match=r"cam: every frame was older than --max-latency 0.25 s"):
        passed(fake, 0.25)
    assert passed(Fake([]), 0.25) == []


def test_what_a_dropped_frame_brought_along_goes_to_the_next():
    """Its sound, the gap before it, the shot that it begins; and nothing repeats the unseen."""
    found = passed(Fake([0, 9, 9, 0, 0], gap=1), 1.0)
    assert [one.frame.index for one in found] == [0, 3, 4]
    _, after, last = found
    assert after.frame.packets == ("sound 1", "sound 2", "sound 3")
    assert (after.begins_shot, after.frame.follows_gap, after.repeats) == (True, True, False)
    assert (last.begins_shot, last.frame.follows_gap, last.repeats) == (False, False, True)


def test_the_spread_of_latencies_follows_from_counts():
    tally = Tally(clock=lambda: 100.0)
    frame = Frame.from_rgb(np.zeros((4, 4, 3), np.uint8))
    for number in range(1, 101):
        tally.wrote(replace(frame, arrival=Arrival(100.0 - number / 100, 0.0)))
    report = tally.report()
    assert report.written == 100
    assert report.median_s == pytest.approx(0.5, rel=0.02)
    assert report.p95_s == pytest.approx(0.95, rel=0.02)
    assert report.most_s == pytest.approx(1.0)


def test_the_newest_frame_is_taken_when_the_network_is_ready(colour_model, monkeypatch, tmp_path):
    """A network that waits until the source has sent all: it sees the first frame and the last."""
    from support.rtsp_server import RtspServer
    from vidparse import segment
    from vidparse.inference import Session
    from vidparse.requests.live import LiveOptions
    from vidparse.requests.segment import SegmentOptions

    ended, seen = threading.Event(), []
    answer = Session._network_answer

    def slow(self, clip):
        seen.extend(one.frame.index for one in clip)
        assert ended.wait(60)
        return answer(self, clip)

    monkeypatch.setattr(Session, "_network_answer", slow)
    # Show no picture twice: the network would be spared the second.
    server = RtspServer(rate=100, most=60, frames=60)
    server.at_end = lambda connection: (connection.close(), ended.set())
    server.start()
    options = SegmentOptions(
        model=colour_model,
        threads=1,
        out=tmp_path / "a.jsonl",
        live=LiveOptions(policy="latest", reconnect_s=0.0, timeout_s=20.0),
    )
    try:
        (result,) = segment(server.url, options).inputs
    finally:
        server.stop()
    live = result.live
    assert live is not None
    assert live.written == len(seen) < 30
    assert live.written + live.passed_over + live.too_late == 60
    assert seen[-1] == 59
