"""Float16 weights for distribution, and the description that every export carries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vidparse.export.target import check_target, whole_file
from vidparse.models.checkpoint import load_network, save_checkpoint
from vidparse.models.description import Description, StateTensor, metadata_of


def export_weights(description: Description, path: Path, *, overwrite: bool = False) -> None:
    """Rewrite a checkpoint for distribution: inference tensors only, in float16.

    Raises:
        ModelError: the weights do not fit.
        OutputError: the file exists and is not to be replaced, or can not be written.
    """
    import torch

    check_target(path, source=description.path, overwrite=overwrite)
    network = load_network(description)
    tensors = {
        name: tensor.to(torch.float16) if tensor.is_floating_point() else tensor
        for name, tensor in network.state_dict().items()
    }
    with whole_file(path) as part:
        save_checkpoint(part, tensors, export_metadata(description))


def export_metadata(
    description: Description, *, state: Sequence[StateTensor] = (), **more: Any
) -> dict[str, str]:
    """The string table of an export: its source's, with `more` added to the training record."""
    return metadata_of(
        arch=description.arch,
        config=description.config,
        labels=description.labels,
        preprocess=description.preprocess,
        task=description.task,
        window=description.window,
        alignment=description.alignment,
        training={**description.training, **more},
        state=state,
    )
