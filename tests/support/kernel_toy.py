"""A network of kernel maps that knows objects by their colour, and pictures for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from vidparse.labels import Labels, load_labels
from vidparse.models.checkpoint import save_checkpoint
from vidparse.models.description import PANOPTIC, Preprocess, metadata_of
from vidparse.models.network import KernelMaps, State, VideoNetwork
from vidparse.models.zoo import build, facts_of, settings_for

LABELS = load_labels("camvid")
RED, GREEN, GREY = (230, 20, 20), (20, 230, 20), (120, 120, 120)
SIZE_HW = (96, 160)
SIDE = 24  # pixels of a square


@dataclass(frozen=True, slots=True)
class KernelToyConfig:
    things: int
    stuff: int


class KernelToy(VideoNetwork):
    """Red things are of the first class, green ones of the second, and all else is stuff."""

    task = PANOPTIC
    window = 3
    any_window = True
    alignment = 32

    def __init__(self, config: KernelToyConfig) -> None:
        super().__init__(config)
        self.unused = torch.nn.Parameter(torch.zeros(1))

    @classmethod
    def settings_for(cls, labels: Labels) -> dict[str, Any]:
        return {"things": len(labels.things), "stuff": len(labels) - len(labels.things)}

    def forward(self, clip: Tensor, state: State = ()) -> tuple[KernelMaps, State]:
        frames = clip.flatten(0, 1)
        height, width = frames.shape[-2:]
        frames = F.pad(frames, (0, -width % 32, 0, -height % 32))
        ones = torch.ones_like(frames[:, :1])
        features = F.avg_pool2d(torch.cat([frames, ones], 1), 4)  # (N, 4, H/4, W/4)

        centres, regions, kernels = [], [], []
        for stride in (8, 16, 32, 64, 128):
            mean = F.adaptive_avg_pool2d(
                frames, (-(-frames.shape[2] // stride), -(-frames.shape[3] // stride))
            )
            red, green, blue = mean.unbind(1)
            high = torch.stack([red - green - blue, green - red - blue], 1)  # (N, 2, h, w)
            centre = torch.full((len(frames), self.config.things, *mean.shape[2:]), -9.0)
            if stride == 8:
                centre[:, :2] = torch.where(high > 0.5, 4 * high, -9.0)
                centre[:, 1] -= 2  # red things are the better ones
            region = torch.full((len(frames), self.config.stuff + 1, *mean.shape[2:]), -6.0)
            colourful = (high > 0.3).any(1)
            region[:, 0], region[:, 1] = torch.where(colourful, 3.0, -6.0), 1.0
            kernel = torch.zeros(len(frames), 4, *mean.shape[2:])
            kernel[:, 3] = 5
            for channel, where in enumerate(high.unbind(1)):
                own = torch.full((4,), -30.0)
                own[channel], own[3] = 30, -10
                kernel = torch.where(where[:, None] > 0.3, own[:, None, None], kernel)
            centres.append(centre)
            regions.append(region)
            kernels.append(kernel)
        same = (torch.eye(4), torch.zeros(4))
        return KernelMaps(tuple(centres), tuple(regions), tuple(kernels), features, same, same), ()


def save_toy(path: Path) -> Path:
    """Weights of the toy, which must be in MODELS as "kernel-toy"."""
    network = build("kernel-toy", settings_for("kernel-toy", LABELS))
    metadata = metadata_of(
        arch="kernel-toy",
        labels=LABELS,
        preprocess=Preprocess(0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
        training={},
        **facts_of(network),
    )
    save_checkpoint(path, network.state_dict(), metadata)
    return path


Square = tuple[tuple[int, int, int], int, int]  # colour, x, y


def picture(
    squares: Sequence[Square] = (),
    *,
    ground: tuple[int, int, int] = GREY,
    size_hw: tuple[int, int] = SIZE_HW,
) -> np.ndarray:
    """uint8 (H, W, 3): squares on a plain ground, later ones in front."""
    pixels = np.empty((*size_hw, 3), np.uint8)
    pixels[:] = ground
    for colour, x, y in squares:
        pixels[y : y + SIDE, x : x + SIDE] = colour
    return pixels


def write_pictures(folder: Path, pictures: Sequence[np.ndarray]) -> Path:
    folder.mkdir(parents=True)
    for i, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(folder / f"{i:03d}.png")
    return folder
