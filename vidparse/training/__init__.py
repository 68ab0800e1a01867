"""Training: a recipe and a data set in, checkpoints and a log out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from vidparse.data import open_dataset
from vidparse.errors import ModelError
from vidparse.hub import resolve
from vidparse.training.recipe import Recipe, available_recipes, load_recipe, recipe_record
from vidparse.training.trainer import Progress, Trainer

if TYPE_CHECKING:
    from torch import Tensor


def fit(
    recipe: Recipe,
    *,
    dataset: str,
    data: Path | None,
    out: Path,
    init: Path | None = None,
    resume: Path | None = None,
    device: str = "auto",
    on_step: Callable[[Progress], None] = lambda _: None,
    stop: threading.Event | None = None,
) -> float:
    """Train on the `train` split, validating on `val`.

    Args:
        init: weights to start from (see `init_tensors`); names that fit the network or its
            backbone are taken.
        stop: set it to end after the step under way, with a checkpoint to resume from.
        resume: last.safetensors of a run to continue; gives the weights of an unbroken run.

    Returns:
        Best validation mIoU; its weights are out/best.safetensors.
    """
    import torch

    from vidparse.inference.devices import choose_device, cpu_count

    place = choose_device(device)
    torch.set_num_threads(cpu_count())
    trainer = Trainer(
        recipe,
        open_dataset(dataset, data, "train"),
        open_dataset(dataset, data, "val"),
        out,
        device=torch.device(str(place)),
        init=init_tensors(str(init)) if init else None,
    )
    if resume:
        trainer.resume(resume)
    trainer.fit(on_step, stop=stop)
    return trainer.best_miou or 0.0


def init_tensors(init: str) -> dict[str, Tensor]:
    """Named tensors to start from.

    Args:
        init: a .safetensors or .pth file, a known model's name or hf:owner/repo.

    Raises:
        ModelError: missing, damaged, or holding no tensors, or more than them.
    """
    from vidparse.convert import by_our_names, read_tensors

    path = Path(init)
    if not path.is_file() and path.suffix not in (".safetensors", ".pth", ".pt", ".bin"):
        files = resolve(init)
        if files.weights is None:
            raise ModelError(f"{init}: has no .safetensors weights of vidparse to start from")
        path = files.weights
    return by_our_names(read_tensors(path))


__all__ = [
    "Progress",
    "Recipe",
    "available_recipes",
    "fit",
    "load_recipe",
    "recipe_record",
]
