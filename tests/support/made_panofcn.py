"""Small checkpoints of Clip-PanoFCN under the names of the published code."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from vidparse.models.network import VideoNetwork
from vidparse.models.zoo import build

# Our names -> those of the published code, written from that code and not from our table.
THEIRS = [
    (r"^backbone\.conv1\.", "backbone.bottom_up.stem.conv1."),
    (r"^backbone\.bn1\.", "backbone.bottom_up.stem.conv1.norm."),
    (
        r"^backbone\.layer(\d)\.(\d)\.downsample\.0\.",
        lambda m: f"backbone.bottom_up.res{int(m[1]) + 1}.{m[2]}.shortcut.",
    ),
    (
        r"^backbone\.layer(\d)\.(\d)\.downsample\.1\.",
        lambda m: f"backbone.bottom_up.res{int(m[1]) + 1}.{m[2]}.shortcut.norm.",
    ),
    (
        r"^backbone\.layer(\d)\.(\d)\.conv(\d)\.",
        lambda m: f"backbone.bottom_up.res{int(m[1]) + 1}.{m[2]}.conv{m[3]}.",
    ),
    (
        r"^backbone\.layer(\d)\.(\d)\.bn(\d)\.",
        lambda m: f"backbone.bottom_up.res{int(m[1]) + 1}.{m[2]}.conv{m[3]}.norm.",
    ),
    (r"^fpn\.(lateral|output)\.(\d)\.", lambda m: f"backbone.fpn_{m[1]}{int(m[2]) + 2}."),
    (r"^fpn\.p(\d)\.", r"backbone.top_block.p\1."),
    (
        r"^semantic\.branches\.(\d)\.(\d)\.0\.",
        lambda m: f"semantic_fpn.p{int(m[1]) + 2}.{2 * int(m[2])}.",
    ),
    (
        r"^semantic\.branches\.(\d)\.(\d)\.1\.",
        lambda m: f"semantic_fpn.p{int(m[1]) + 2}.{2 * int(m[2])}.norm.",
    ),
    (
        r"^positions\.tower\.convs\.(\d)\.offsets\.",
        lambda m: (
            f"position_head.position_head.position_head_head_{int(m[1]) + 1}.offset_mask_conv."
        ),
    ),
    (
        r"^positions\.tower\.convs\.(\d)\.",
        lambda m: f"position_head.position_head.position_head_head_{int(m[1]) + 1}.dcnv2.",
    ),
    (
        r"^positions\.tower\.norms\.(\d)\.0\.",
        lambda m: f"position_head.position_head.position_head_head_{int(m[1]) + 1}.dcnv2.norm.",
    ),
    (r"^positions\.centres\.", "position_head.out_inst."),
    (r"^positions\.regions\.", "position_head.out_sem."),
    (
        r"^kernels\.tower\.convs\.(\d)\.",
        lambda m: f"kernel_head.kernel_head.kernel_head_head_{int(m[1]) + 1}.",
    ),
    (
        r"^kernels\.tower\.norms\.(\d)\.0\.",
        lambda m: f"kernel_head.kernel_head.kernel_head_head_{int(m[1]) + 1}.norm.",
    ),
    (r"^kernels\.last\.", "kernel_head.out_conv."),
    (
        r"^encoder\.convs\.(\d)\.",
        lambda m: f"feature_encoder.encode_head.encode_head_head_{int(m[1]) + 1}.",
    ),
    (r"^(thing|stuff)_embedding\.", r"\1_generator.embed_extractor."),
]
SMALL = {"width": 8, "kernel_width": 12, "feature_width": 4}


def published_name(name: str) -> str:
    for pattern, replacement in THEIRS:
        if re.match(pattern, name):
            return re.sub(pattern, replacement, name)
    raise AssertionError(name)


def made(**settings) -> VideoNetwork:
    torch.manual_seed(0)
    classes = {"things": 3, "stuff": 8, "backbone": "resnet50-msra"}
    network = build("clip-panofcn", {**classes, **SMALL, **settings}).eval()
    for name, tensor in network.state_dict().items():
        if name.endswith(("bias", "running_mean")):
            tensor.normal_(std=0.1)
    return network


def published_file(network: VideoNetwork, path: Path) -> dict[str, torch.Tensor]:
    """A checkpoint of detectron2, whose frozen norms count no steps."""
    tensors = {
        published_name(name): tensor[..., None, None] if "embedding.weight" in name else tensor
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    torch.save({"model": tensors, "iteration": 1}, path)
    return tensors
