"""The path of a frame on a CUDA device: from the decoder's samples to class ids, without the host.

`session.GpuSession` has the stages of `vidparse.inference.Session` for what most people run there:
semantic networks of PyTorch that take frame by frame. All else goes through the session for all.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from vidparse.inference.preprocess import AREA
from vidparse.inference.runners.pytorch import TorchRunner
from vidparse.models.description import SEMANTIC

if TYPE_CHECKING:
    from vidparse.inference.runners.runner import Runner
    from vidparse.inference.session import SessionOptions


def gpu_of(runner: Runner, options: SessionOptions) -> int | None:
    """Number of the CUDA device on which a `GpuSession` can do all; None where none can.

    Args:
        options: of the session that is wanted.
    """
    # Leave out transformers' networks, which see pictures through filters of their own.
    if type(runner) is not TorchRunner or not runner.device.startswith("cuda"):
        return None
    facts = runner.description
    if facts.task != SEMANTIC or facts.preprocess.resample != AREA or runner.window != 1:
        return None

    # Look after scores on the host: these rules want them there.
    if any(
        options.get(name)
        for name in ("stabilize", "keyframes", "min_confidence", "refine", "matte")
    ):
        return None
    if options.get("window") or options.get("linker") or options.get("merging"):
        return None  # the session has the words for what does not fit
    return runner.place.index or 0 if find_spec("triton") is not None else None
