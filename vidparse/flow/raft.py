"""RAFT (Teed & Deng, ECCV 2020), full size: the network, and an estimator on published weights.

Parameter names of the network are the authors'.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidparse.errors import DeviceError, ModelError
from vidparse.flow import check_pair

HIDDEN, CONTEXT = 128, 128  # channels of the recurrent state and of its fixed input
LEVELS, RADIUS = 4, 4  # of the correlation pyramid and of the window looked up in each level
STRIDE = 8  # pixels a cell of the features stands for
_FEATURES = 256
_WINDOW = 2 * RADIUS + 1

Norm = Callable[[int], nn.Module]
PADDINGS = {"zeros": "constant", "replicate": "replicate"}  # ours -> torch's
# The coarsest correlation has a value for every 64 px; below two of them the published sampler
# divides by zero.
_SMALLEST_SIDE = 128
_FETCH = "give raft-things.pth, one of the public models of RAFT's authors"


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, each with its norm."""

    def __init__(self, channels_in: int, channels_out: int, *, norm: Norm, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1)
        self.norm1 = norm(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1)
        self.norm2 = norm(channels_out)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1:
            # Name the norm twice: the authors' files hold it under both names.
            self.norm3 = norm(channels_out)
            shortcut = nn.Conv2d(channels_in, channels_out, 1, stride)
            self.downsample = nn.Sequential(shortcut, self.norm3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C', h / stride, w / stride)."""
        out = F.relu(self.norm1(self.conv1(x)))
        out = F.relu(self.norm2(self.conv2(out)))
        return F.relu(out + self.downsample(x))


class BasicEncoder(nn.Module):
    """Features at 1/8 of the size."""

    def __init__(self, channels: int, *, norm: Norm) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3)
        self.norm1 = norm(64)
        self.layer1 = _stage(64, 64, norm=norm, stride=1)
        self.layer2 = _stage(64, 96, norm=norm, stride=2)
        self.layer3 = _stage(96, 128, norm=norm, stride=2)
        self.conv2 = nn.Conv2d(128, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, channels, H/8, W/8)."""
        x = F.relu(self.norm1(self.conv1(x)))  # (B, 64, H/2, W/2)
        x = self.layer3(self.layer2(self.layer1(x)))  # (B, 128, H/8, W/8)
        return self.conv2(x)  # (B, channels, H/8, W/8)


def _stage(channels_in: int, channels_out: int, *, norm: Norm, stride: int) -> nn.Sequential:
    return nn.Sequential(
        ResidualBlock(channels_in, channels_out, norm=norm, stride=stride),
        ResidualBlock(channels_out, channels_out, norm=norm, stride=1),
    )


class CorrelationPyramid:
    """Similarity of every cell of one picture to every cell of another, at four scales (sec. 3.2).

    Averaging the correlation over blocks of cells equals correlating with averaged features.
    Memory is 4/3 * 4 * (h * w)^2 bytes for features of h x w cells.

    Args:
        now, then: features (1, C, h, w) of the two pictures; h and w at least 8.
    """

    def __init__(self, now: Tensor, then: Tensor) -> None:
        cells = now.flatten(2)[0].T / math.sqrt(now.shape[1])  # (h * w, C)
        self.levels: list[Tensor] = []
        for level in range(LEVELS):
            # Average the features, not the correlation: it is the same, and costs far less.
            if level:
                then = F.avg_pool2d(then, 2)
            similar = cells @ then.flatten(2)[0]  # (h * w, hl * wl)
            self.levels.append(similar.unflatten(1, then.shape[2:])[:, None])
        steps = torch.arange(-RADIUS, RADIUS + 1, dtype=now.dtype, device=now.device)
        # The published weights know the window column by column: x varies slowest.
        right, below = torch.meshgrid(steps, steps, indexing="ij")
        self._window = torch.stack([right, below], dim=2)  # (9, 9, 2)

    def look_up(self, position: Tensor) -> Tensor:
        """Similarity around where each cell is thought to be; bilinear, 0 outside.

        Args:
            position: (1, 2, h, w), x and y in cells.

        Returns:
            (1, levels * 81, h, w).
        """
        centre = position[0].flatten(1).T[:, None, None]  # (h * w, 1, 1, 2)
        found = []
        for level, similar in enumerate(self.levels):
            size = torch.tensor([similar.shape[3], similar.shape[2]]).to(centre)
            at = centre / 2**level + self._window  # (h * w, 9, 9, 2)

            # Count from the outer edges, which are -1 and 1 to grid_sample.
            at = (2 * at + 1) / size - 1
            found.append(F.grid_sample(similar, at, align_corners=False).flatten(1))
        return torch.cat(found, dim=1).T.unflatten(1, position.shape[2:])[None]


class MotionEncoder(nn.Module):
    """Correlation and flow so far, as 128 channels of which the last two are the flow."""

    def __init__(self) -> None:
        super().__init__()
        self.convc1 = nn.Conv2d(LEVELS * _WINDOW**2, 256, 1)
        self.convc2 = nn.Conv2d(256, 192, 3, padding=1)
        self.convf1 = nn.Conv2d(2, 128, 7, padding=3)
        self.convf2 = nn.Conv2d(128, 64, 3, padding=1)
        self.conv = nn.Conv2d(192 + 64, 128 - 2, 3, padding=1)

    def forward(self, flow: Tensor, correlation: Tensor) -> Tensor:
        similar = F.relu(self.convc2(F.relu(self.convc1(correlation))))
        moved = F.relu(self.convf2(F.relu(self.convf1(flow))))
        out = F.relu(self.conv(torch.cat([similar, moved], dim=1)))
        return torch.cat([out, flow], dim=1)  # (1, 128, h, w)


class SeparableGru(nn.Module):
    """Gated recurrent unit of a 1x5, then a 5x1 convolution (section 3.3, eq. 2-5)."""

    def __init__(self, channels_in: int) -> None:
        super().__init__()
        wide = HIDDEN + channels_in
        self.convz1, self.convr1, self.convq1 = (
            nn.Conv2d(wide, HIDDEN, (1, 5), padding=(0, 2)) for _ in range(3)
        )
        self.convz2, self.convr2, self.convq2 = (
            nn.Conv2d(wide, HIDDEN, (5, 1), padding=(2, 0)) for _ in range(3)
        )

    def forward(self, state: Tensor, x: Tensor) -> Tensor:
        """state: (B, HIDDEN, h, w), x: (B, C, h, w) -> the next state."""
        for update, reset, candidate in (
            (self.convz1, self.convr1, self.convq1),
            (self.convz2, self.convr2, self.convq2),
        ):
            both = torch.cat([state, x], dim=1)
            z, r = torch.sigmoid(update(both)), torch.sigmoid(reset(both))
            q = torch.tanh(candidate(torch.cat([r * state, x], dim=1)))
            state = (1 - z) * state + z * q
        return state


class FlowHead(nn.Module):
    """The step that the state wants the flow to take, in cells."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(HIDDEN, 256, 3, padding=1)
        self.conv2 = nn.Conv2d(256, 2, 3, padding=1)

    def forward(self, state: Tensor) -> Tensor:
        """(B, HIDDEN, h, w) -> (B, 2, h, w)."""
        return self.conv2(F.relu(self.conv1(state)))


class UpdateBlock(nn.Module):
    """One iteration, and the weights that bring its flow to full size."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = MotionEncoder()
        self.gru = SeparableGru(CONTEXT + 128)
        self.flow_head = FlowHead()
        self.mask = nn.Sequential(
            nn.Conv2d(HIDDEN, 256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 9 * STRIDE**2, 1),
        )

    def forward(
        self, state: Tensor, context: Tensor, correlation: Tensor, flow: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The next state (1, 128, h, w) and the change of the flow (1, 2, h, w)."""
        motion = self.encoder(flow, correlation)
        state = self.gru(state, torch.cat([context, motion], dim=1))
        return state, self.flow_head(state)


class Raft(nn.Module):
    """Flow by repeated look-ups in all-pairs correlation; for inference, a pair at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.fnet = BasicEncoder(_FEATURES, norm=nn.InstanceNorm2d)
        self.cnet = BasicEncoder(HIDDEN + CONTEXT, norm=nn.BatchNorm2d)
        self.update_block = UpdateBlock()

    def forward(self, pair: Tensor, *, iterations: int) -> Tensor:
        """Flow (2, H, W) in pixels.

        Args:
            pair: (2, 3, H, W) RGB from -1 to 1; sides are multiples of 8, and at least 64.
        """
        features = self.fnet(pair)  # (2, 256, h, w)
        pyramid = CorrelationPyramid(features[:1], features[1:])
        state, context = self.cnet(pair[:1]).split([HIDDEN, CONTEXT], dim=1)

        # Split one encoder's output: half begins the state, half is seen in every iteration.
        state, context = torch.tanh(state), F.relu(context)  # (1, 128, h, w) both
        here = _cells(state)
        flow = torch.zeros_like(here)
        for _ in range(iterations):
            correlation = pyramid.look_up(here + flow)
            state, change = self.update_block(state, context, correlation, flow)
            flow = flow + change
        # The mask's gradients were scaled by 1/4 in training, and so is its value.
        return upsample_convex(flow, 0.25 * self.update_block.mask(state))[0]


def _cells(like: Tensor) -> Tensor:
    """x and y of every cell, (1, 2, h, w)."""
    rows = torch.arange(like.shape[2], dtype=like.dtype, device=like.device)
    columns = torch.arange(like.shape[3], dtype=like.dtype, device=like.device)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([x, y])[None]


def upsample_convex(flow: Tensor, mask: Tensor) -> Tensor:
    """Flow in pixels, each a convex combination of its 3x3 nearest cells (section 3.3).

    Args:
        flow: (1, 2, h, w) in cells. mask: (1, 9 * 64, h, w), before the softmax.

    Returns:
        (1, 2, 8h, 8w).
    """
    height, width = flow.shape[2:]
    weights = mask.view(9, STRIDE, STRIDE, height, width).softmax(dim=0)

    # Multiply by the stride: the flow is in cells until here, and in pixels from here on.
    around = F.unfold(STRIDE * flow, 3, padding=1).view(2, 9, height, width)
    fine = torch.einsum("kyxhw,ckhw->chywx", weights, around)  # (2, h, 8, w, 8)
    return fine.reshape(1, 2, STRIDE * height, STRIDE * width)


class RaftFlow:
    """RAFT with given weights, in float32.

    Memory grows with the square of the picture: the correlation of all pairs takes 0.22 GB at
    480x853, 1.1 GB at 720x1280 and 5.6 GB at 1080x1920.

    Args:
        weights: .pth of the full model, as its authors publish it.
        iterations: of the recurrent unit; 20 in the published TC code of VSPW.
        device: as torch names it.
        padding: the border of a picture whose sides are no multiples of 8 (or under 128 px): black
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

        # Name all that decides the flow: the key is a folder that keeps it.
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
            # Go by words: on CPUs torch raises a plain RuntimeError.
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
            # Move bytes to the device and make floats there: a quarter of the transfer.
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
        # Silence torch's warning about drivers: the error below is the same in one line.
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
        # Load tensors alone: a pickle could run code.
        tensors = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file raises ten kinds, which share no base but this one
        raise ModelError(f"{weights}: damaged, or no weights at all; {_FETCH}") from error

    network = Raft()
    try:
        # Take off the prefix that DataParallel leaves in the authors' files.
        network.load_state_dict({str(k).removeprefix("module."): v for k, v in tensors.items()})
    except (RuntimeError, AttributeError, TypeError) as error:
        raise ModelError(
            f"{weights}: weights of another network than RAFT's full model; {_FETCH}"
        ) from error
    return network.eval().requires_grad_(False), hashlib.sha256(data).hexdigest()
