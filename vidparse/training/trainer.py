"""The training loop: views in, checkpoints and a log out."""

from __future__ import annotations

import contextlib
import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidparse.data import IGNORE, Dataset, labelled_frames
from vidparse.data.augment import Augmentation
from vidparse.errors import Interrupted, UsageError, VidparseError
from vidparse.evaluation.metrics.confusion import ConfusionMatrix, SemanticScores
from vidparse.models.checkpoint import Preprocess, metadata_of, save_checkpoint
from vidparse.models.zoo import build, config_of
from vidparse.training.losses import class_weights_from_counts, cross_entropy, lovasz_softmax
from vidparse.training.recipe import Recipe, recipe_record, with_config
from vidparse.training.resume import read_resume, write_resume
from vidparse.training.views import batches, steps_per_epoch


@dataclass(frozen=True, slots=True)
class Progress:
    """One step done, for whoever watches."""

    step: int  # steps done so far
    steps: int
    epoch: int
    loss: float
    lr_head: float
    miou: float | None  # of the last validation
    best_miou: float | None
    eta_s: float  # at the mean speed of this session


class Trainer:
    """One run: network, optimiser, average of weights, and where they are kept."""

    def __init__(
        self,
        recipe: Recipe,
        train: Dataset,
        validation: Dataset,
        out: Path,
        *,
        device: torch.device,
        init: dict[str, Tensor] | None = None,
    ) -> None:
        self.recipe = with_config(recipe, classes=len(train.labels))
        self.train_set, self.validation, self.out, self.device = train, validation, out, device
        torch.manual_seed(recipe.seed)
        self.network = build(recipe.arch, dict(self.recipe.config))
        if init:
            load_matching(self.network, init)
        whole: Any = self.network  # torch's stubs miss memory_format
        whole.to(device, memory_format=torch.channels_last)
        self.average = Average(self.network, recipe.ema_decay)
        self.optimizer, self.base_rates = make_optimizer(self.network, recipe)
        self.per_epoch = steps_per_epoch(train, recipe.batch_size)
        self.steps = recipe.epochs * self.per_epoch
        self.step = 0
        self.miou: float | None = None
        self.best_miou: float | None = None
        self.class_weights = self._class_weights()
        self.preprocess = Preprocess(recipe.short_side)

    def resume(self, path: Path) -> None:
        """Continue a run exactly where `path` (last.safetensors) left it."""
        facts = read_resume(path, self.network, self.average.tensors, self.optimizer)
        if facts["recipe"] != json.loads(json.dumps(recipe_record(self.recipe))):
            raise UsageError(f"{path}: made by another recipe; resume with the same settings")
        self.step, self.miou, self.best_miou = facts["step"], facts["miou"], facts["best_miou"]

    def fit(
        self,
        on_step: Callable[[Progress], None] = lambda _: None,
        *,
        stop: threading.Event | None = None,
    ) -> SemanticScores | None:
        """Train to the end; best.safetensors and last.safetensors are kept up to date in `out`.

        Raises:
            Interrupted: Ctrl-C, or `stop` was set; last.safetensors holds the step reached.
            VidparseError: the loss became NaN or infinite.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        scores = None
        self.started_at, self.started_step = time.perf_counter(), self.step
        stream = batches(
            self.train_set,
            Augmentation(self.recipe.crop_hw, self.recipe.scale_range),
            batch_size=self.recipe.batch_size,
            epochs=self.recipe.epochs,
            seed=self.recipe.seed,
            workers=self.recipe.workers,
            first_step=self.step,
        )
        try:
            for rgb, mask in stream:
                loss = self._train_step(rgb, mask)
                self.step += 1
                epoch, within = divmod(self.step, self.per_epoch)
                if within == 0:
                    if epoch % self.recipe.validate_every == 0 or self.step == self.steps:
                        scores = self._validate(epoch)
                    self._save_last()
                on_step(self._progress(loss))
                if stop is not None and stop.is_set():
                    raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            self._save_last()
            raise Interrupted(
                f"training: stopped at step {self.step} of {self.steps}; "
                f"go on with --resume {self.out / 'last.safetensors'}"
            ) from error
        return scores

    def _train_step(self, rgb: Tensor, mask: Tensor) -> float:
        self.network.train()
        # Dropout must not depend on where a run was interrupted.
        torch.manual_seed(self.recipe.seed * 1_000_003 + self.step)
        for group, base in zip(self.optimizer.param_groups, self.base_rates, strict=True):
            group["lr"] = base * rate_factor(self.step, self.steps, self.recipe)
        clip = normalise(rgb.to(self.device), self.preprocess)
        target = mask.to(self.device).long()
        with autocast(self.device, self.recipe.precision):
            outputs, _ = self.network(clip)
        loss = cross_entropy(
            outputs.logits, target, ignore=IGNORE, class_weights=self.class_weights
        )
        if self.recipe.lovasz_weight:
            loss = loss + self.recipe.lovasz_weight * lovasz_softmax(
                outputs.logits, target, ignore=IGNORE
            )
        if outputs.auxiliary is not None and self.recipe.auxiliary_weight:
            heads = len(outputs.auxiliary) // len(target)
            auxiliary = cross_entropy(
                outputs.auxiliary,
                target.repeat(heads, 1, 1),
                ignore=IGNORE,
                class_weights=self.class_weights,
            )
            loss = loss + self.recipe.auxiliary_weight * auxiliary
        value = loss.item()
        if not math.isfinite(value):
            raise VidparseError(
                f"training: the loss became {value} at step {self.step}; "
                "lower the learning rates or use precision fp32"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip_gradient)
        self.optimizer.step()
        self.average.update(self.network, self.step)
        return value

    def _validate(self, epoch: int) -> SemanticScores:
        """Score the averaged weights at native size; keep them when they are the best so far."""
        with self.average.applied_to(self.network):
            scores = validate(self.network, self.validation, self.preprocess, self.device)
            self.miou = scores.miou
            if self.best_miou is None or scores.miou > self.best_miou:
                self.best_miou = scores.miou
                save_checkpoint(
                    self.out / "best.safetensors", self.network.state_dict(), self._metadata(epoch)
                )
        return scores

    def _metadata(self, epoch: int) -> dict[str, str]:
        return metadata_of(
            arch=self.recipe.arch,
            config=config_of(self.network),
            labels=self.train_set.labels,
            preprocess=self.preprocess,
            training={
                "recipe": recipe_record(self.recipe),
                "data": self.train_set.name,
                "images": len(labelled_frames(self.train_set)),
                "epoch": epoch,
                "validation_miou": self.miou,
            },
        )

    def _save_last(self) -> None:
        facts = {
            "step": self.step,
            "miou": self.miou,
            "best_miou": self.best_miou,
            "recipe": recipe_record(self.recipe),
        }
        path = self.out / "last.safetensors"
        write_resume(path, self.network, self.average.tensors, self.optimizer, facts)

    def _progress(self, loss: float) -> Progress:
        progress = Progress(
            self.step,
            self.steps,
            (self.step - 1) // self.per_epoch,
            loss,
            self.optimizer.param_groups[-1]["lr"],
            self.miou,
            self.best_miou,
            (time.perf_counter() - self.started_at)
            / (self.step - self.started_step)
            * (self.steps - self.step),
        )
        if self.step % 10 == 0 or self.step == self.steps or self.step % self.per_epoch == 0:
            line = {
                "time": round(time.time(), 1),
                "step": progress.step,
                "epoch": progress.epoch,
                "loss": round(loss, 5),
                "lr_head": progress.lr_head,
                "validation_miou": self.miou,
            }
            with (self.out / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")
        return progress

    def _class_weights(self) -> Tensor | None:
        if not self.recipe.class_weight_offset:
            return None
        counts = np.zeros(256, np.int64)
        for frame in labelled_frames(self.train_set):
            counts += np.bincount(self.train_set.load_mask(frame).ravel(), minlength=256)
        pixels = torch.from_numpy(counts[: len(self.train_set.labels)])
        weights = class_weights_from_counts(pixels, offset=self.recipe.class_weight_offset)
        return weights.to(self.device)


class Average:
    """Exponential moving average of parameters and norm statistics; warms up with the steps."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.tensors = {k: v.detach().clone() for k, v in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        decay = min(self.decay, (step + 1) / (step + 11))
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                self.tensors[name].lerp_(tensor, 1 - decay)
            else:
                self.tensors[name].copy_(tensor)

    @contextlib.contextmanager
    def applied_to(self, network: nn.Module) -> Iterator[None]:
        """The network holds the average inside the block, its own weights again after it."""
        own = {k: v.detach().clone() for k, v in network.state_dict().items()}
        network.load_state_dict(self.tensors)
        try:
            yield
        finally:
            network.load_state_dict(own)


def make_optimizer(network: nn.Module, recipe: Recipe) -> tuple[torch.optim.Optimizer, list[float]]:
    """Groups: backbone and heads, each with and without weight decay (none on biases, norms)."""
    groups: list[dict[str, Any]] = []
    for in_backbone, rate in ((True, recipe.lr_backbone), (False, recipe.lr_head)):
        for decays in (True, False):
            chosen = [
                parameter
                for name, parameter in network.named_parameters()
                if name.startswith("backbone.") == in_backbone and (parameter.ndim > 1) == decays
            ]
            groups.append(
                {
                    "params": chosen,
                    "lr": rate,
                    "weight_decay": recipe.weight_decay if decays else 0.0,
                }
            )
    if recipe.optimizer == "adamw":
        optimizer: torch.optim.Optimizer = torch.optim.AdamW(groups)
    elif recipe.optimizer == "sgd":
        optimizer = torch.optim.SGD(groups, momentum=0.9)
    else:
        raise UsageError(f"optimizer '{recipe.optimizer}': unknown; use adamw or sgd")
    return optimizer, [group["lr"] for group in groups]


def rate_factor(step: int, steps: int, recipe: Recipe) -> float:
    """Linear warm-up, then (1 - step / steps) ** power."""
    warm = min(1.0, (step + 1) / max(1, recipe.warmup_steps))
    return warm * (1 - step / steps) ** recipe.poly_power


def normalise(rgb: Tensor, preprocess: Preprocess) -> Tensor:
    """uint8 (B, H, W, 3) -> float32 (B, 3, H, W), channels last, (x / 255 - mean) / std."""
    mean = torch.tensor(preprocess.mean, device=rgb.device)
    std = torch.tensor(preprocess.std, device=rgb.device)
    return ((rgb.float() / 255.0 - mean) / std).permute(0, 3, 1, 2)


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[Any]:
    """bf16 or fp16 forward passes; nothing for fp32."""
    kinds = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": None}
    if precision not in kinds:
        raise UsageError(f"precision '{precision}': unknown; use {', '.join(kinds)}")
    kind = kinds[precision]
    return torch.autocast(device.type, kind) if kind else contextlib.nullcontext()


def load_matching(network: nn.Module, weights: dict[str, Tensor]) -> int:
    """Start from weights whose names fit the network or its backbone; returns how many did.

    Raises:
        UsageError: none fits.
    """
    own = network.state_dict()
    fits = {}
    for name, tensor in weights.items():
        for candidate in (name, f"backbone.{name}"):
            if candidate in own and own[candidate].shape == tensor.shape:
                fits[candidate] = tensor
    if not fits:
        raise UsageError("--init: no tensor of that file fits this network; check the recipe")
    network.load_state_dict({**own, **fits})
    return len(fits)


@torch.no_grad()
def validate(
    network: nn.Module, dataset: Dataset, preprocess: Preprocess, device: torch.device
) -> SemanticScores:
    """Scores over the labelled frames, each at its own size."""
    network.eval()
    matrix = ConfusionMatrix(len(dataset.labels), ignore=IGNORE)
    for frame in labelled_frames(dataset):
        rgb, mask = dataset.load_image(frame), dataset.load_mask(frame)
        clip = normalise(torch.from_numpy(rgb)[None].to(device), preprocess)
        outputs, _ = network(clip.contiguous(memory_format=torch.channels_last))
        full = F.interpolate(
            outputs.logits.float(), size=mask.shape, mode="bilinear", align_corners=False
        )
        matrix.update(mask, full.argmax(dim=1)[0].to(torch.uint8).cpu().numpy())
    return matrix.compute()
