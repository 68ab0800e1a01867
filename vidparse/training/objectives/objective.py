"""The contract of an objective: a batch in, named loss terms out."""

from __future__ import annotations

import abc
import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from vidparse.errors import UsageError
from vidparse.labels import Labels
from vidparse.models.backbones import Backbone
from vidparse.models.description import Preprocess
from vidparse.models.network import Outputs, VideoNetwork
from vidparse.training.clips import ClipPlan, plan_of
from vidparse.training.neighbours import Companions, Run
from vidparse.training.recipe import ObjectiveOptions, Recipe
from vidparse.training.stream import Batch

_SLOW_IN_BF16 = ("DEFAULT", "AVX2")  # a step takes some 8 times as long as in fp32


@dataclass(frozen=True, slots=True)
class Teacher:
    """A frozen network to learn from, and how it sees pictures. sha256: of its weights file."""

    network: VideoNetwork
    preprocess: Preprocess
    sha256: str = ""

    def pictures(self, rgb: Tensor, short_side: int) -> Tensor:
        """A view as the teacher is used to see it.

        Args:
            rgb: uint8 (..., H, W, 3), a crop of pictures whose shorter side is `short_side`.

        Returns:
            float32 (N, 3, H', W'), normalised, things as large as in pictures of the teacher's
            own size.
        """
        own = self.preprocess
        frames = normalise(rgb, own).flatten(0, -4)  # (N, 3, H, W)

        # Scale the crop as its picture would be, so that things are as large as the teacher knows.
        scale = own.short_side / short_side if own.short_side and short_side else 1.0
        size = [-(-round(side * scale) // own.divisor) * own.divisor for side in frames.shape[2:]]
        if size == list(frames.shape[2:]):
            return frames
        return F.interpolate(
            frames, size, mode="bilinear", align_corners=False, antialias=scale < 1
        )


@dataclass(frozen=True, slots=True)
class Setting:
    """The parts of an objective.

    average: the running average of the network, the mean teacher. teacher: of distillation.
    labels: of the run. class_counts: pixels of each class in the labels, (K,); it reads
        them all. unions: bool (G, K), see `TrainingSets`.
    """

    recipe: Recipe
    labels: Labels
    network: VideoNetwork
    average: VideoNetwork
    preprocess: Preprocess
    class_counts: Callable[[], np.ndarray]
    unions: Tensor
    teacher: Teacher | None = None


class Objective(nn.Module):
    """A network and what else is trained beside it.

    `forward` gives loss terms by name, each with its weight; the step minimises their sum. It is
    what DistributedDataParallel wraps, so every parameter must be used through it.

    Attributes:
        Options: the table [objective] of its recipes, with their fields and bounds.
        takes_teacher: it can learn from a frozen network, which the recipe or --teacher names.
        progress: part of the run's steps that were done before this one, from 0 to 1.
    """

    Options: ClassVar[type[ObjectiveOptions]] = ObjectiveOptions
    takes_teacher: ClassVar[bool] = False

    @classmethod
    def clips(cls, recipe: Recipe, network: VideoNetwork) -> ClipPlan:
        """The clips that this objective learns from: unless overridden, those of the network.

        Raises:
            UsageError: it is not for such a network.
        """
        check_scores(recipe, network)
        companions = Companions(type(network), network.config, recipe.data.reverse)
        return plan_of(recipe, companions)

    @classmethod
    def training_pass(cls, network: VideoNetwork, clips: Tensor) -> Any:
        """The network on training clips (B, T, 3, H, W), as a step has it."""
        return network.forward_clip(clips)

    @classmethod
    def unlabelled_share(cls, recipe: Recipe) -> float:
        """The part of each batch whose targets have no labels."""
        return 0.0

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.network = setting.network
        self.recipe = setting.recipe
        self.options = setting.recipe.objective
        self.precision = setting.recipe.optimiser.precision
        self.preprocess = setting.preprocess
        # in tuples: neither parameters nor part of the state
        self._frozen = (setting.average, setting.teacher)
        self.progress = 1.0

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        raise NotImplementedError

    def normalised(self, rgb: Tensor) -> Tensor:
        """Pictures as the network sees them: uint8 (..., H, W, 3) -> float32 (..., 3, H, W)."""
        return normalise(rgb, self.preprocess)

    def autocast(self, device: torch.device) -> contextlib.AbstractContextManager[object]:
        """The precision of the recipe for passes on a device."""
        return autocast(device, self.precision)

    def after_step(self) -> None:
        """Called once the optimiser has moved the weights."""

    def train(self, mode: bool = True) -> Objective:
        """As usual; batch norms keep their statistics with norm = "frozen", or untrained."""
        super().train(mode)
        table = self.recipe.optimiser

        # Freeze after the call above, which sets every module to training.
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and (
                table.norm == "frozen" or (table.trainable and _is_untrained(module))
            ):
                module.eval()
        return self


def _is_untrained(module: nn.Module) -> bool:
    parameters = list(module.parameters())
    return bool(parameters) and not any(one.requires_grad for one in parameters)


def ramp(progress: float, share: float) -> float:
    """The part of its full weight that a term has: exp(-5 (1 - t)^2), then 1.

    Laine and Aila (Temporal Ensembling, ICLR 2017, section 2), as Tarvainen and Valpola (NeurIPS
    2017) take it for the mean teacher; t rises from 0 to 1 over the first `share` of a run.
    """
    t = min(1.0, progress / share) if share else 1.0
    return math.exp(-5 * (1 - t) ** 2)


def object_clips(recipe: Recipe, length: int, most_gap: int) -> ClipPlan:
    """Clips of `length` frames with the numbers of objects, each 1 to `most_gap` after the last."""
    return replace(plan_of(recipe, Run(length, most_gap, recipe.data.reverse)), with_objects=True)


def check_scores(recipe: Recipe, network: VideoNetwork) -> None:
    """Raises: UsageError: the network gives no scores of classes to learn by."""
    if not network.has_training_pass:
        raise UsageError(
            f"objective {recipe.objective.kind}: learns from scores of classes, "
            f"{recipe.network.arch} answers "
            "with masks and has no forward_clip; use an objective made for it"
        )


def check_per_frame(recipe: Recipe, network: VideoNetwork) -> None:
    """Raises: UsageError: the network has a memory or no scores; the objective is for others."""
    check_scores(recipe, network)
    if not network.is_per_frame:
        raise UsageError(
            f"objective {recipe.objective.kind}: is for per-frame networks, "
            f"{recipe.network.arch} has a memory; use objective supervised"
        )


def normalise(rgb: Tensor, preprocess: Preprocess) -> Tensor:
    """uint8 (..., H, W, 3) -> float32 (..., 3, H, W): (x / 255 - mean) / std."""
    mean = torch.tensor(preprocess.mean, device=rgb.device)
    std = torch.tensor(preprocess.std, device=rgb.device)
    return ((rgb.float() / 255.0 - mean) / std).movedim(-1, -3)


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[object]:
    """bf16 or fp16 forward passes; nothing for fp32, nor for bf16 on a CPU that emulates it."""
    kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)

    # Leave bf16 where a CPU emulates it: a step would take some 8 times as long.
    if device.type == "cpu" and torch.backends.cpu.get_cpu_capability() in _SLOW_IN_BF16:
        kind = None
    return torch.autocast(device.type, kind) if kind else contextlib.nullcontext()


def channels_last(clips: Tensor) -> Tensor:
    """Clips (B, T, 3, H, W) whose pictures lie in memory as convolutions are quickest with."""
    pictures = clips.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    return pictures.unflatten(0, clips.shape[:2])


def run_frames(network: VideoNetwork, frames: Tensor) -> Outputs:
    """A network without a memory on pictures (N, 3, H, W), each a clip of its own."""
    # Lay channels last, with which convolutions are quickest.
    pictures = frames.contiguous(memory_format=torch.channels_last)
    return network.forward_clip(pictures[:, None])


def run_clips(network: VideoNetwork, clips: Tensor) -> Outputs:
    """A network on training clips (B, T, 3, H, W), the target last."""
    if clips.shape[1] == 1:
        return run_frames(network, clips[:, 0])
    return network.forward_clip(clips)


def encoder_of(network: VideoNetwork, recipe: Recipe) -> Backbone:
    """The backbone, by its name in the network.

    Raises:
        UsageError: the network has none, or one that gives no pyramid of maps.
    """
    named = network.get_submodule(network.backbone_name) if network.backbone_name else None
    if not hasattr(named, "channels"):
        raise UsageError(
            f"objective {recipe.objective.kind}: {recipe.network.arch} has no encoder apart; "
            "set contrast_features=head"
        )
    return cast(Backbone, named)


class _Tap(abc.ABC):
    """Remembers the features of a pass that is made while it is open."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self.features: Tensor | None = None

    def __enter__(self) -> Self:
        self._handle = self._hooked(self._module)
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.remove()

    @abc.abstractmethod
    def _hooked(self, module: nn.Module) -> RemovableHandle: ...

    def take(self) -> Tensor:
        """(N, C, h, w) of the pass that was made."""
        assert self.features is not None  # a pass was made inside the block
        return self.features


class FeatureTap(_Tap):
    """Remembers what goes into a module while it is open."""

    def _hooked(self, module: nn.Module) -> RemovableHandle:
        return module.register_forward_pre_hook(self._keep)

    def _keep(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.features = inputs[0]


class EncoderTap(_Tap):
    """Remembers the deepest map of a backbone while it is open."""

    def _hooked(self, module: nn.Module) -> RemovableHandle:
        return module.register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, inputs: object, pyramid: Sequence[Tensor]) -> None:
        self.features = pyramid[3]
