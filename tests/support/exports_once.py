"""Exports to ONNX that tests share: torch takes half a minute for a network, the same each time.

Their check against torch takes half as long again with the pictures that users' exports are held
against, which test_export.py has; all others are content with smaller ones.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vidparse import export
from vidparse.export import onnx as exporter
from vidparse.export import parity, quantize

SMALL_HW = (71, 103)  # multiples of no stride, as the size that they stand for


def share_exports(folder: Path) -> None:
    """Let `to_onnx` look into a folder of all test processes first, and checks be small."""
    shared = _shared(exporter.to_onnx, folder)
    for module in (export, exporter, quantize):
        module.to_onnx = shared
    parity.PARITY_HW = SMALL_HW


def _shared(to_onnx: Callable[[Any], Any], folder: Path) -> Callable[[Any], Any]:
    def once(network: Any) -> Any:
        import onnx

        if network.config is None:  # parts of networks, which tests make
            return to_onnx(network)
        path = folder / f"{_identity(network)}.onnx"
        if path.is_file():
            return onnx.load(path)
        model = to_onnx(network)

        # Write under a name of one's own: another process may export the same network now.
        folder.mkdir(exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        onnx.save(model, part)
        part.replace(path)
        return model

    return once


def _identity(network: Any) -> str:
    """A name for what a network is built of and has learnt."""
    from vidparse.models.zoo import facts_of

    found = hashlib.sha256(f"{type(network)} {facts_of(network)} {network}".encode())
    for name, tensor in network.state_dict().items():
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().numpy().tobytes())
    return found.hexdigest()
