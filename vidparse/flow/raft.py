"""RAFT as an estimator: published weights in, pictures padded and brought to the network."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from vidparse.errors import DeviceError, ModelError
from vidparse.flow.raft_network import STRIDE, Raft
from vidparse.flow.source import check_pair

PADDINGS = {"zeros": "constant", "replicate": "replicate"}  # ours -> torch's
# The coarsest correlation has a value for every 64 px; below two of them the published sampler
# divides by zero.
_SMALLEST_SIDE = 128
_FETCH = "give raft-things.pth, one of the public models of RAFT's authors"


class RaftFlow:
    """RAFT with given weights, in float32.

    Memory grows with the square of the picture: the correlation of all pairs takes 0.22 GB at
    480x853, 1.1 GB at 720x1280 and 5.6 GB at 1080x1920.

    Args:
        weights: .pth of the full model, as its authors publish it.
        iterations: of the recurrent unit; 20 in the published TC code of VSPW.
        device: as torch names it.
        padding: what surrounds a picture whose sides are no multiples of 8 (or under 128 px): black
            ("zeros", as in that TC code), or its edge ("replicate", as in RAFT's own code).

    Raises:
        ModelError: the weights are missing, damaged or another network's.
        DeviceError: there is no such device.
    """

    def __init__(
        self, weights: Path, *, iterations: int = 20, device: str = "cpu", padding: str = "zeros"
    ) -> None:
        if iterations < 1:
            raise ValueError(f"iterations {iterations}: at least 1")
        if padding not in PADDINGS:
            raise ValueError(f"padding '{padding}': use {' or '.join(PADDINGS)}")
        self.iterations, self.padding = iterations, padding
        self._device = _usable(device)
        network, digest = load_raft(weights)
        self._network = network.to(self._device)
        self.name = f"RAFT {weights.stem}"
        stem = re.sub(r"[^A-Za-z0-9.-]", "-", weights.stem)
        self.key = f"{stem}-{digest[:12]}-{iterations}-{padding}"

    def between(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Flow float32 (2, H, W) from a to b, both RGB uint8 (H, W, 3).

        Raises:
            DeviceError: out of memory.
        """
        check_pair(a, b)
        try:
            return self._between(a, b)
        except RuntimeError as error:  # torch's memory errors are of this class, or below it
            if "out of memory" in str(error) or "allocate memory" in str(error):
                raise DeviceError(
                    f"device {self._device}: RAFT is out of memory at "
                    f"{a.shape[1]}x{a.shape[0]}; use smaller pictures or --flow dis"
                ) from error
            raise

    def _between(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        height, width = a.shape[:2]
        left, right = _margins(width)
        above, below = _margins(height)
        with torch.inference_mode():
            pair = torch.from_numpy(np.stack([a, b])).to(self._device)  # (2, H, W, 3)
            pair = pair.permute(0, 3, 1, 2).float()  # (2, 3, H, W)
            pair = F.pad(pair, (left, right, above, below), mode=PADDINGS[self.padding])
            flow = self._network(pair / 127.5 - 1, iterations=self.iterations)
            flow = flow[:, above : above + height, left : left + width]
            return flow.contiguous().cpu().numpy()


def _margins(side: int) -> tuple[int, int]:
    """Pixels to add before and after, the odd one after."""
    wanted = max(_SMALLEST_SIDE, -(-side // STRIDE) * STRIDE)
    before = (wanted - side) // 2
    return before, wanted - side - before


def _usable(device: str) -> torch.device:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise DeviceError(
            f"device {device}: this PyTorch ({torch.__version__}) cannot use it; use --device cpu"
        ) from error


def load_raft(weights: Path) -> tuple[Raft, str]:
    """The network for inference, and the sha256 of its file.

    Raises:
        ModelError: missing, damaged or another network's weights.
    """
    try:
        data = weights.read_bytes()
    except OSError as error:
        raise ModelError(f"{weights}: {error.strerror}; {_FETCH}") from error

    try:
        tensors = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file raises ten kinds, which share no base but this one
        raise ModelError(f"{weights}: damaged, or no weights at all; {_FETCH}") from error

    network = Raft()
    try:
        network.load_state_dict({str(k).removeprefix("module."): v for k, v in tensors.items()})
    except (RuntimeError, AttributeError, TypeError) as error:
        raise ModelError(
            f"{weights}: weights of another network than RAFT's full model; {_FETCH}"
        ) from error
    return network.eval().requires_grad_(False), hashlib.sha256(data).hexdigest()
