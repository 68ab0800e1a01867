"""Sessions go on from what they remembered, to the same predictions."""

from __future__ import annotations

import pytest

from support.going_on import check_goes_on, drive, sessions_on_a_device
from vidparse.frame import Frame
from vidparse.inference import load_model
from vidparse.inference.runners import has_openvino
from vidparse.requests.matte import MatteOptions

FRAMES = drive(6, cuts=(4,))
# The second picture thrice, and the last twice.
STILL = [Frame(i, i, FRAMES[j].image) for i, j in enumerate((0, 1, 1, 1, 2, 3, 3))]


@pytest.mark.parametrize(
    "backend",
    [
        "torch",
        "onnx",
        pytest.param(
            "openvino",
            marks=pytest.mark.skipif(not has_openvino(), reason="openvino is not installed"),
        ),
    ],
)
def test_a_network_that_remembers(backend: str) -> None:
    runner = load_model("street-tcb", backend=backend, device="cpu")
    assert runner.remembers
    frames = FRAMES[2:5] if backend == "torch" else FRAMES  # the cut is before the last
    assert check_goes_on(lambda: runner.session(size=64), frames) == len(frames)


def test_torch_keeps_the_layout_and_the_format_of_a_state() -> None:
    import torch

    from vidparse.inference.runners.pytorch import state_of, tensors_of

    lasts = torch.randn(1, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    tensors = (lasts, torch.randn(2, 3).bfloat16(), torch.randn(2, 3).half())
    kept = state_of(tensors)
    lasts.zero_()
    found = tensors_of(kept, torch.device("cpu"))
    assert [one.dtype for one in found] == [one.dtype for one in tensors]
    assert [one.stride() for one in found] == [one.stride() for one in tensors]
    assert found[0].any()
    assert torch.equal(found[1], tensors[1]) and torch.equal(found[2], tensors[2])


@pytest.mark.parametrize(
    "options",
    [
        {"stabilize": True},
        {"keyframes": 3},
        {"keyframes": "auto"},
        {"matte": MatteOptions(matte=("Road", "Sky"))},
        {"matte": MatteOptions(matte="Road", edges="scores", smooth=False)},
        {},
    ],
    ids=str,
)
@pytest.mark.parametrize("frames", [FRAMES, STILL], ids=["moving", "still"])
def test_a_semantic_network(options: dict, frames: list[Frame]) -> None:
    runner = load_model(device="cpu")
    assert check_goes_on(lambda: runner.session(size=64, **options), frames) == len(frames)


@pytest.mark.parametrize("linker", [None, "none", "overlap", "tracks"])
def test_a_panoptic_network(linker: str | None) -> None:
    runner = load_model("street-panoptic", device="cpu")
    assert check_goes_on(lambda: runner.session(size=64, linker=linker), FRAMES) > 2


def test_a_session_on_a_device() -> None:
    session = sessions_on_a_device("street-tcb", (48, 72))
    frames = drive(3, (48, 72))
    assert check_goes_on(session, frames) == len(frames)
