"""A session that is left at the end of a clip, and another that goes on from there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest

from vidparse.frame import Frame
from vidparse.inference import load_model
from vidparse.inference.memory import Answering, Finishing
from vidparse.maps import Prediction
from vidparse.maps.matte import Matte
from vidparse.maps.segment_map import Segment

if TYPE_CHECKING:
    from vidparse.inference.gpu.session import GpuSession

Kept = Callable[[Answering, Finishing], tuple[Answering, Finishing]]
Facts = tuple[int, bytes, str, tuple[Segment, ...] | None, list[tuple[str, bytes, bytes]]]


def facts_of(prediction: Prediction) -> Facts:
    """All that outputs can see of a prediction, to be compared."""

    def plain(one: Matte) -> tuple[str, bytes, bytes]:
        return one.name, one.alpha.tobytes(), one.inside.tobytes()

    ids = prediction.ids
    mattes = [plain(one) for one in prediction.mattes]
    return prediction.index, ids.tobytes(), ids.dtype.str, prediction.segments, mattes


def sessions_on_a_device(model: str, size_hw: tuple[int, int]) -> Callable[..., GpuSession]:
    """Makes sessions of the GPU path; on a CPU where no GPU is, with interpreted kernels."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("triton", reason="Triton is not installed: it comes with '.[dev]' on Linux")
    from vidparse.inference.gpu import kernels
    from vidparse.inference.gpu.session import GpuSession

    if not torch.cuda.is_available():
        kernels.BLOCK = 1 << 14  # as in test_gpu_path
    device = "cuda" if torch.cuda.is_available() else "cpu"
    runner = load_model(model, backend="torch", device=device, precision="fp32")
    return partial(GpuSession, runner, size=size_hw)


def check_goes_on(
    make: Callable[[], object],
    frames: Sequence[Frame],
    *,
    live: bool = True,
    kept: Kept = lambda answering, finishing: (answering, finishing),
) -> int:
    """Assert that a new session goes on after every clip as the first one did.

    Args:
        make: a new session, with a network of its own.
        kept: what is done with the memory in between.

    Returns:
        the number of places.
    """
    session, whole = make(), []
    left: list[tuple[int, tuple[Answering, Finishing]]] = []
    for facts, memory in _run(session, frames, live=live):
        whole.append(facts)
        if memory is not None:
            left.append((len(whole), kept(*memory)))
    assert len(whole) == len(frames)
    assert len({facts[1] for facts in whole}) > 1, "all frames are alike"

    for number, memory in left:
        rest = [facts for facts, _ in _run(make(), frames, number, memory, live=live)]
        assert [a == b for a, b in zip(whole[number:], rest, strict=True)] == [True] * len(rest)
    return len(left)


def _run(session, frames, number=0, memory=(None, None), *, live):
    """Facts of each frame, and at the end of a clip the memory."""
    after = frames[number - 1] if number else None
    prepared = session.prepared(iter(frames[number:]), after=after)
    answered = session.answered(
        prepared, live=live, number=number, memory=memory[0], is_due=lambda: True
    )
    now: list = []

    def watched() -> Iterator[object]:
        for one in answered:
            now[:] = [one]
            yield one

    for frame, prediction in session.finished(watched(), memory=memory[1]):
        facts = facts_of(prediction)
        is_last = frame is now[0].frames[-1]
        # Copy nothing here: a record that is written to later on would be found out.
        yield facts, (now[0].memory, session.finishing) if is_last else None


def drive(
    count: int, size_hw: tuple[int, int] = (96, 160), cuts: Sequence[int] = ()
) -> list[Frame]:
    """A soft texture that drifts, with a square that moves in it, and other ones from `cuts` on."""
    import cv2

    height, width = size_hw
    pictures = []
    for i in range(count):
        rng = np.random.default_rng(sum(i >= cut for cut in cuts))
        noise = rng.integers(0, 256, (height // 12, width // 12, 3), np.uint8)
        ground = cv2.resize(noise, (width + 60, height), interpolation=cv2.INTER_CUBIC)
        picture = np.ascontiguousarray(ground[:, 2 * i % 60 :][:, :width])
        picture[20:50, 10 + 3 * i % 90 :][:, :30] = 250 - picture[20:50, 10 + 3 * i % 90 :][:, :30]
        pictures.append(picture)
    return [Frame.from_rgb(one, index=i) for i, one in enumerate(pictures)]
