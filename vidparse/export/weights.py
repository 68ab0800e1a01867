"""Exports of weights: float16 for distribution, and means of several runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vidparse.errors import ModelError, OutputError
from vidparse.filenames import same_file
from vidparse.files import check_folder, check_place
from vidparse.models.checkpoint import load_network, save_checkpoint
from vidparse.models.description import Description, StateTensor, metadata_of
from vidparse.models.zoo import config_of
from vidparse.textfiles import Json

if TYPE_CHECKING:
    from torch import Tensor

    from vidparse.models.network import VideoNetwork

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


def export_weights(
    description: Description,
    path: Path,
    *,
    others: Sequence[Description] = (),
    overwrite: bool = False,
) -> None:
    """Rewrite a checkpoint for distribution: inference tensors only, in float16.

    Args:
        others: checkpoints of the same network whose weights are averaged with it, each with the
            same share. The mean of a start and its fine-tuning keeps the accuracy of the one and
            most of the robustness of the other (Wortsman et al., CVPR 2022, section 3: alpha 0.5).

    Raises:
        ModelError: the weights do not fit the network, each other, or float16.
        OutputError: the file exists and is not to be replaced, or cannot be written.
    """
    import torch

    for one in (description, *others):
        check_target(path, source=one.path, overwrite=overwrite)
    tensors = _mean_weights(description, others)

    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            continue

        # Refuse what half would make infinite, which no reader could mend.
        if tensor.numel() and tensor.abs().max() > LARGEST_HALF:
            raise ModelError(
                f"{path}: tensor '{name}' does not fit float16 (values above {LARGEST_HALF}); "
                "export it as .onnx"
            )
        tensors[name] = tensor.to(torch.float16)

    save_checkpoint(path, tensors, export_metadata(_mean_description(description, others)))


def _mean_description(description: Description, others: Sequence[Description]) -> Description:
    """The first one's, with the files of the mean, and without what was measured on it alone."""
    if not others:
        return description
    training = {key: value for key, value in description.training.items() if key != "validation"}
    sums: list[Json] = [one.sha256 for one in (description, *others)]
    return replace(description, training={**training, "averaged_sha256": sums}, profile=None)


def _mean_weights(description: Description, others: Sequence[Description]) -> dict[str, Tensor]:
    """The tensors of a network, float ones averaged with those of other runs of it.

    Raises:
        ModelError: another is no run of the same network on the same classes and input.
    """
    network = load_network(description)
    total = dict(network.state_dict())
    for other in others:
        mate = load_network(other)
        if _facts(other, mate) != _facts(description, network):
            raise ModelError(
                f"{other.path}: weights of another network, other classes or another input than "
                f"{description.path}; average runs that began from the same weights"
            )
        for name, tensor in mate.state_dict().items():
            if tensor.is_floating_point():
                total[name] = total[name] + tensor

    count = 1 + len(others)
    return {
        name: tensor / count if tensor.is_floating_point() else tensor
        for name, tensor in total.items()
    }


def _facts(description: Description, network: VideoNetwork) -> tuple[object, ...]:
    """The facts in which the runs of a network are alike, whatever version recorded them."""
    return (
        description.arch,
        config_of(network),
        description.labels,
        description.preprocess,
        description.task,
        description.window,
        description.alignment,
        description.any_window,
        description.memory_interval_s,
    )


def export_metadata(
    description: Description, *, state: Sequence[StateTensor] = (), **more: object
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
        memory_interval_s=description.memory_interval_s,
        profile=description.profile,
        training={**description.training, **more},
        state=state,
    )
