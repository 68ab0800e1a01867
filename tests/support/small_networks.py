"""Weights of small untrained networks that remember, whose scores differ from place to place."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vidparse.export import rendered_clips
from vidparse.labels import load_labels
from vidparse.models.checkpoint import save_checkpoint
from vidparse.models.description import Preprocess, metadata_of


def save_tcb_ocr(path: Path) -> Path:
    """TCB st-ocr, with a ring of region features and a memory as state."""
    import torch

    from vidparse.models.zoo import build, config_of

    torch.manual_seed(2)
    config = {"classes": 11, "backbone": "resnet18", "output_stride": 16, "width": 16}
    network = build("tcb-ocr", {**config, "key_width": 8, "auxiliary": False})
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    clips = torch.from_numpy(np.concatenate(rendered_clips(8, (96, 128)))).unflatten(0, (2, 4))
    with torch.no_grad():
        network.train().forward_clip(clips)
    metadata = metadata_of(
        arch="tcb-ocr", config=config_of(network), labels=load_labels("camvid"),
        preprocess=Preprocess(64), training={},
    )  # fmt: skip
    save_checkpoint(path, network.state_dict(), metadata)
    return path
