"""Float16 weights for distribution, and the description that every export carries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vidparse.errors import ModelError, OutputError
from vidparse.filenames import same_file
from vidparse.files import check_folder, check_place
from vidparse.models.checkpoint import load_network, save_checkpoint
from vidparse.models.description import Description, StateTensor, metadata_of

LARGEST_HALF = 65504  # the largest finite value of float16


def check_target(path: Path, *, source: Path, overwrite: bool) -> None:
    """Refuse, before the work, a file that an export cannot be written to.

    Args:
        source: the weights that are exported.

    Raises:
        OutputError: it holds the weights, exists, is no file, or lies where nothing can be written.
    """
    check_place(path)
    check_folder(path, path.parent, make=False)
    if path.exists() and same_file(path, source):
        raise OutputError(f"{path}: holds the weights to export; choose another name")
    if not overwrite and (path.exists() or path.is_symlink()):
        raise OutputError(f"{path}: exists already; choose another name or add --overwrite")


def export_weights(description: Description, path: Path, *, overwrite: bool = False) -> None:
    """Rewrite a checkpoint for distribution: inference tensors only, in float16.

    Raises:
        ModelError: the weights do not fit the network, or float16.
        OutputError: the file exists and is not to be replaced, or cannot be written.
    """
    import torch

    check_target(path, source=description.path, overwrite=overwrite)
    network = load_network(description)

    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in network.state_dict().items():
        halves = tensor.is_floating_point()
        if halves and tensor.numel() and tensor.abs().max() > LARGEST_HALF:
            raise ModelError(
                f"{path}: tensor '{name}' does not fit float16 (values above {LARGEST_HALF}); "
                "export it as .onnx"
            )
        tensors[name] = tensor.to(torch.float16) if halves else tensor
    save_checkpoint(path, tensors, export_metadata(description))


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
        any_window=description.any_window,
        training={**description.training, **more},
        state=state,
    )
