"""A run that is stopped after its first step and goes on, held against an unbroken one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vidparse.errors import Interrupted
from vidparse.training.trainer import Trainer


def check_resumes(make: Callable[[Path], Trainer], folder: Path) -> None:
    """Assert that both end with the same state, bit for bit.

    Args:
        make: a trainer of two epochs of one step, whose run is in the folder given.
    """
    make(folder / "whole").fit()
    broken, stop = make(folder / "broken"), threading.Event()
    with pytest.raises(Interrupted):
        broken.fit(lambda progress: stop.set(), stop=stop)

    resumed = make(folder / "broken")
    resumed.resume(folder / "broken" / "last.safetensors")
    assert resumed.step == 1
    resumed.fit()
    whole, again = (load_file(folder / one / "last.safetensors") for one in ("whole", "broken"))
    assert whole.keys() == again.keys()
    assert [name for name in whole if not torch.equal(whole[name], again[name])] == []
