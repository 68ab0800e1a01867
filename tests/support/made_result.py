"""Made clips with made results, as `segment` would leave them, and what is in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from vidparse.labels import Labels
from vidparse.maps import Prediction, SegmentMap, segments_of_ids
from vidparse.sinks import RunHeader, SinkOptions, make_sinks
from vidparse.video import open_video

TOY = Labels(
    "toy", ("road", "car", "dog"), ((90, 90, 90), (0, 0, 200), (200, 80, 0)), frozenset({1, 2})
)
Answer = Callable[[int, tuple[int, int]], SegmentMap]


def classes(index: int, size_hw: tuple[int, int]) -> SegmentMap:
    """Road below void; a dog from frame 5 on that grows, and is away in frames 8 and 9."""
    ids = np.full(size_hw, 255, np.uint8)
    ids[size_hw[0] // 2 :] = 0
    if index >= 5 and index not in (8, 9):
        ids[10:20, 8 : 12 + index] = 2
    return SegmentMap(ids)


def objects(index: int, size_hw: tuple[int, int]) -> SegmentMap:
    """Road, car 7 in all frames that moves, and dog 9 in frames 3 to 5."""
    ids = np.full(size_hw, 3, np.uint16)
    ids[4:12, index : index + 10] = 7
    if 3 <= index <= 5:
        ids[20:26, 30:40] = 9
    known = {3: 0, 7: 1} | ({9: 2} if 3 <= index <= 5 else {})
    return SegmentMap(ids, segments_of_ids(ids, known, things={1, 2}))


def make_result(
    clip: Path,
    out: Path,
    saved: Sequence[str] = ("masks", "jsonl"),
    answer: Answer = classes,
    *,
    labels: Labels = TOY,
    model: str = "toy",
    stride: int = 1,
    **options: object,
) -> Path:
    """Write outputs of a clip into a folder; the jsonl file."""
    header = RunHeader(model=model, argv=("vidparse", "segment", str(clip)))
    given = SinkOptions(header=header, **options)  # type: ignore[arg-type]
    with open_video(clip, stride=stride) as video:
        sinks = make_sinks(saved, source=clip, out=f"{out}/", options=given)
        for sink in sinks:
            sink.open(video.info, labels)
        for frame in video:
            found = Prediction(frame.index, answer(frame.index, video.info.size_hw), labels)
            for sink in sinks:
                sink.write(frame, found)
        for sink in sinks:
            sink.close(keep=True)
    return out / f"{clip.stem}.jsonl"
