"""Training: a recipe and a data set in, checkpoints and a log out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from vidparse.data import open_dataset
from vidparse.errors import ModelError
from vidparse.training.recipe import Recipe, available_recipes, load_recipe, recipe_record
from vidparse.training.trainer import Progress, Trainer


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
        init: weights to start from; names that fit the network or its backbone are taken.
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
        init=read_tensors(init) if init else None,
    )
    if resume:
        trainer.resume(resume)
    trainer.fit(on_step, stop=stop)
    return trainer.best_miou or 0.0


def read_tensors(path: Path) -> dict:
    """Named tensors of a .safetensors file, or of a .pth read with weights_only=True.

    Raises:
        ModelError: missing, damaged, or holding more than tensors.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise ModelError(f"{path}: no such file; check --init")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, ValueError, EOFError) as error:
        raise ModelError(f"{path}: not readable weights ({error}); fetch them again") from error
    except Exception as error:  # pickle's refusals have many types
        raise ModelError(f"{path}: holds more than tensors; convert it to safetensors") from error
    return {k: v for k, v in tensors.items() if isinstance(v, torch.Tensor)}


__all__ = [
    "Progress",
    "Recipe",
    "available_recipes",
    "fit",
    "load_recipe",
    "recipe_record",
]
