"""A small untrained ViP-DeepLab that finds things, and things that follow others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from vidparse.export import rendered_clips
from vidparse.labels import load_labels
from vidparse.models.checkpoint import save_checkpoint
from vidparse.models.description import Preprocess, metadata_of
from vidparse.models.network import VideoNetwork
from vidparse.models.vip_deeplab import OFFSET_UNIT
from vidparse.models.zoo import build, facts_of

CONFIG = {
    "classes": 11, "backbone": "mobilenetv2", "output_stride": 16,
    "pooling_width": 16, "semantic_width": 16, "instance_width": 16,
}  # fmt: skip


def made(**settings) -> VideoNetwork:
    """An untrained network whose norms know a rendered street, and whose centres are many."""
    torch.manual_seed(4)
    network = build("vip-deeplab", {**CONFIG, **settings})
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
        if name.endswith(".1") and isinstance(module, torch.nn.Conv2d):
            unit = OFFSET_UNIT if name.startswith(("offsets", "earlier")) else 1.0
            torch.nn.init.normal_(module.weight, std=0.5 / unit)
    clips = torch.from_numpy(np.concatenate(rendered_clips(6, (128, 160)))).unflatten(0, (2, 3))
    with torch.no_grad():
        network.train()(clips, network.first_state(clips))
    return network.eval()


def save_made(path: Path) -> Path:
    """Its weights, with the labels of CamVid."""
    network = made()
    metadata = metadata_of(
        arch="vip-deeplab", **facts_of(network), labels=load_labels("camvid"),
        preprocess=Preprocess(96, divisor=16), training={},
    )  # fmt: skip
    save_checkpoint(path, network.state_dict(), metadata)
    return path
