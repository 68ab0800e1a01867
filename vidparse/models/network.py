"""The one contract of every network: a function of (clip, state), and all that training needs.

A new network is one file that derives from :class:`FrameNetwork` (it goes frame by frame) or from
:class:`VideoNetwork` (it takes several frames per call, or answers with masks), and one line in
`zoo.MODELS`. Whatever runs, trains, exports or measures networks reads these members and no others.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from vidparse.labels import Labels
from vidparse.models.description import SEMANTIC, StateTensor

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

State = tuple[Tensor, ...]


class Scores(NamedTuple):
    """The answer of a semantic network: scores of classes at feature resolution.

    logits: (B, T, K, h, w); the caller brings them to full size.
    """

    logits: Tensor

    def outputs(self) -> dict[str, Tensor]:
        """The tensors by name, as an exported network gives them; (B, K, h, w) where T is 1."""
        return {"logits": self.logits.squeeze(1)}


class Masks(NamedTuple):
    """The answer of a panoptic network: one mask per object or stuff region of one clip.

    N is free and may be 0.

    logits: (N, T, h, w); the sigmoid is the probability of each pixel.
    scores: (N,) from 0 to 1. class_ids: int64 (N,).
    keys: (N, D), by which masks of one object are known again in the next clip; None: they are
        known by their overlap.
    """

    logits: Tensor
    scores: Tensor
    class_ids: Tensor
    keys: Tensor | None = None

    def outputs(self) -> dict[str, Tensor]:
        """The tensors by name, as an exported network gives them; keys are left out if None."""
        named = {"masks": self.logits, "scores": self.scores, "class_ids": self.class_ids}
        return named if self.keys is None else {**named, "keys": self.keys}


class QueryMasks(NamedTuple):
    """Masks of one clip that are merged at the size of the frames, by the rules of EoMT.

    logits, scores, class_ids: as of :class:`Masks`.
    queries: int64 (N,), the numbers of the queries where each follows an object from clip to clip;
        None where none does.
    least_instance: None for panoptic masks; for instances, the score times mean probability from
        which on they count.
    """

    logits: Tensor
    scores: Tensor
    class_ids: Tensor
    queries: Tensor | None = None
    least_instance: float | None = None

    def outputs(self) -> dict[str, Tensor]:
        """The tensors by name; what is None is left out."""
        named = {"query_masks": self.logits, "scores": self.scores, "class_ids": self.class_ids}
        if self.queries is not None:
            named["queries"] = self.queries
        if self.least_instance is not None:
            # Make it a tensor: an exported graph gives nothing else.
            named["least_instance"] = self.scores.new_tensor(self.least_instance)
        return named


class KernelMaps(NamedTuple):
    """The answer of a network whose kernels find the masks: maps of N = B * T frames.

    The first three have one map for each of the levels P3 .. P7 (strides 8 .. 128 of the frames,
    padded below and on the right to multiples of 32).

    centres: (N, Kt, h, w), logits of the centres of things.
    regions: (N, Ks + 1, h, w), logits of any thing and of each class of stuff.
    kernels: (N, C, h, w). features: (N, D, H/4, W/4).
    thing_embedding, stuff_embedding: weight (D, C) and bias (D,) by which a kernel becomes one
        over the features.
    pooled: (N, Ks + 1, C + 2) of each region: its kernel, made of the mean of all cells by the
        region's probability there, the sum of these probabilities, and the sum of their squares.
        None where the cells that a region wins give its kernel, as published.
    """

    centres: tuple[Tensor, ...]
    regions: tuple[Tensor, ...]
    kernels: tuple[Tensor, ...]
    features: Tensor
    thing_embedding: tuple[Tensor, Tensor]
    stuff_embedding: tuple[Tensor, Tensor]
    pooled: Tensor | None = None

    def outputs(self) -> dict[str, Tensor]:
        """The tensors by name, as an exported network gives them."""
        named: dict[str, Tensor] = {}
        for name, maps in (
            ("centres", self.centres),
            ("regions", self.regions if self.pooled is None else ()),
            ("kernels", self.kernels),
        ):
            named |= {f"{name}{level}": one for level, one in enumerate(maps, start=3)}

        # Give it in place of the regions, of which it is made.
        if self.pooled is not None:
            named["pooled"] = self.pooled
        named["features"] = self.features
        named["thing_weight"], named["thing_bias"] = self.thing_embedding
        named["stuff_weight"], named["stuff_bias"] = self.stuff_embedding
        return named


class CentreMaps(NamedTuple):
    """The answer of a network whose pixels point to the centre of their object.

    Maps of N = B * T frames at stride 4, the first position of which is that of the picture's first
    4 x 4 pixels. An offset (rows, columns) leads from a position to a centre, in pixels of the
    network's input.

    classes: (N, K, h, w), logits of all classes. centres: (N, 1, h, w), near 1 at centres of
        things and 0 elsewhere. offsets: (N, 2, h, w), to the centre of the thing in this frame.
    earlier_centres, earlier_offsets: the centres of the frame before, and the offsets from
        positions of this frame to them.
    follows: (N,), 1 where there is a frame before, else 0.
    """

    classes: Tensor
    centres: Tensor
    offsets: Tensor
    earlier_centres: Tensor
    earlier_offsets: Tensor
    follows: Tensor

    def outputs(self) -> dict[str, Tensor]:
        """The tensors by name, as an exported network gives them."""
        return self._asdict()


Answer = Scores | Masks | QueryMasks | KernelMaps | CentreMaps


class Outputs(NamedTuple):
    """One pass over pictures or clips, in training or in use.

    logits: (B, K, h, w) scores of the picture, or of the clip's target.
    auxiliary: scores of an auxiliary classifier, in training mode only: (B * T, K, h', w') of all
        frames; of A classifiers, one after another: (A * B * T, K, h', w').
    features: (B, C, h, w) that the network's own loss looks at; None where it has none.
    """

    logits: Tensor
    auxiliary: Tensor | None = None
    features: Tensor | None = None


class VideoNetwork(nn.Module):
    """Normalised RGB in, an answer out, and the memory in and out.

    A network is built from its config alone: a frozen dataclass of plain values, made of the
    settings of a recipe or checkpoint and of :meth:`settings_for` the classes.

    Attributes:
        config: that it was built from.
        task: "semantic" answers with :class:`Scores`, "panoptic" with another kind.
        answer_type: the kind that objectives for one kind alone look for.
        window: frames per call; the last call of a shot may bring fewer.
        any_window: its frames are independent, so that any number per call will do.
        alignment: input sides that are multiples of it are covered evenly by the answer.
        state_tensors: the memory, () for none; its shapes are the same from call to call.
        memory_interval_s: of a memory that goes by the time of the video: seconds from frame to
            frame that it is meant for. None where it must see every frame, or there is none.
        backbone_name: the submodule that starts from ImageNet weights and trains at the backbone's
            rate; "" for none.
        training_only: submodules that nothing but training needs, None where they are left out.
        flow_weights: file of published weights of optical flow that :meth:`load_flow` takes before
            training; "" for none.
        has_published_form: its published test code gives it other frames, see `forward_published`.
    """

    task: str = SEMANTIC
    answer_type: ClassVar[type[Answer]] = Scores
    window: int = 1
    any_window: bool = False
    alignment: int = 1
    state_tensors: tuple[StateTensor, ...] = ()
    memory_interval_s: float | None = None
    backbone_name: ClassVar[str] = ""
    training_only: ClassVar[tuple[str, ...]] = ()
    flow_weights: str = ""
    has_published_form: ClassVar[bool] = False

    def __init__(self, config: DataclassInstance) -> None:
        super().__init__()
        self.config = config

    @classmethod
    def settings_for(cls, labels: Labels) -> dict[str, int]:
        """Fields of the config that follow from the classes."""
        return {"classes": len(labels)}

    # in use

    def forward(self, clip: Tensor, state: State) -> tuple[Answer, State]:
        """The next frames of a video.

        Args:
            clip: (B, T, 3, H, W) with T = `window`, or less at the end of a shot; B = 1 for masks.
            state: that of the call before, at first :meth:`first_state`.

        Returns:
            The answer for all frames, and the state in the shapes it came in.
        """
        raise NotImplementedError

    def first_state(self, clip: Tensor) -> State:
        """State (B, ...) before the first frame of videos, for clips like (B, T, 3, H, W)."""
        size_hw = (clip.shape[-2], clip.shape[-1])
        zeros = zero_state(self.state_tensors, size_hw, clip.device, clip.dtype)

        # Expand instead of copying: states are replaced, never written to.
        return tuple(one.expand(len(clip), *one.shape[1:]) for one in zeros)

    @property
    def is_per_frame(self) -> bool:
        """True where the answer for a frame depends on that frame alone."""
        return self.window == 1 and not self.state_tensors

    # in training

    @classmethod
    def companions(cls, config: Any, rng: np.random.Generator) -> tuple[int, ...]:
        """The frames of a training clip, relative to the target, in the order of `forward_clip`.

        Always as many, the target (0) last; the ones before it are negative. It is a class method
        because the processes that load clips hold no network.
        """
        return (0,)

    @property
    def has_training_pass(self) -> bool:
        """True where :meth:`forward_clip` gives scores to train by."""
        # Look at the method itself: a call would need a clip.
        own = type(self).forward_clip is not VideoNetwork.forward_clip
        return own or self.task == SEMANTIC

    def forward_clip(self, frames: Tensor) -> Outputs:
        """For training: the frames of :meth:`companions`, (B, T, 3, H, W) -> those of the target.

        Unless overridden, the clip is the beginning of a video, without auxiliary scores.

        Raises:
            NotImplementedError: it answers with masks and has no pass of its own for training.
        """
        answer, _ = self(frames, self.first_state(frames))
        if not isinstance(answer, Scores):
            raise NotImplementedError(f"{type(self).__name__}: forward_clip is to be written")
        return Outputs(answer.logits[:, -1])

    def own_terms(self, outputs: Outputs, labels: Tensor, *, ignore: int) -> dict[str, Tensor]:
        """Loss terms by name that this network has beside those of the objective.

        Args:
            outputs: of :meth:`forward_clip`.
            labels: int64 (B, H, W) of the targets, ids 0..K-1 and `ignore`.
        """
        return {}

    def tapped(self) -> nn.Conv2d:
        """The convolution whose input counts as the features, for losses between features.

        Unless overridden, the last one that the network made, but for what only training needs.
        """
        return [
            module
            for name, module in self.named_modules()
            if isinstance(module, nn.Conv2d) and name.split(".")[0] not in self.training_only
        ][-1]

    def groups(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Parameters of the backbone, and the rest."""
        if not self.backbone_name:
            return [], list(self.parameters())
        backbone = list(self.get_submodule(self.backbone_name).parameters())

        # Compare by identity: == of tensors compares their values.
        known = {id(parameter) for parameter in backbone}
        return backbone, [one for one in self.parameters() if id(one) not in known]

    def leave_out_training(self) -> None:
        """Drop the submodules that nothing but training needs."""
        for name in self.training_only:
            setattr(self, name, None)

    def load_flow(self, path: Path) -> None:
        """Take over published weights of optical flow, once, before training.

        Raises:
            ValueError: the network follows no flow. ModelError: damaged, or of another network.
        """
        raise ValueError("this network follows no flow")

    # as published, where that differs

    def published_supports(self, frame: int, frames: int) -> tuple[int, ...]:
        """Frames that the published test code gives beside frame `frame` of `frames` frames."""
        raise NotImplementedError

    def forward_published(self, frames: Tensor, state: State = ()) -> tuple[Outputs, State]:
        """The published test code: (B, N + 1, 3, H, W), supports and then the target.

        state: () before the first frame of a video, then that of the call before.
        """
        raise NotImplementedError


class FrameNetwork(VideoNetwork):
    """A network that answers frame by frame, with or without a memory: it writes :meth:`step`."""

    def step(self, picture: Tensor, state: State = ()) -> tuple[Outputs, State]:
        """The next frame: (B, 3, H, W) -> its scores (B, K, h, w), and the state after it."""
        raise NotImplementedError

    def forward(self, clip: Tensor, state: State = ()) -> tuple[Scores, State]:
        """Each frame of (B, T, 3, H, W) in turn -> scores (B, T, K, h, w)."""
        # Take the usual case without the copy that stacking makes.
        if clip.shape[1] == 1:
            outputs, state = self.step(clip.squeeze(1), state)
            return Scores(outputs.logits.unsqueeze(1)), state
        logits = []
        for picture in clip.unbind(1):
            outputs, state = self.step(picture, state)
            logits.append(outputs.logits)
        return Scores(torch.stack(logits, dim=1)), state

    def forward_clip(self, frames: Tensor) -> Outputs:
        """Unless overridden, the clip (B, T, 3, H, W) is the beginning of a video."""
        state = self.first_state(frames)
        *before, target = frames.unbind(1)
        for picture in before:
            _, state = self.step(picture, state)
        return self.step(target, state)[0]


def zero_state(
    tensors: Sequence[StateTensor],
    size_hw: tuple[int, int],
    device: torch.device,
    dtype: torch.dtype,
) -> State:
    """The state before the first frame of one video."""
    return tuple(
        torch.zeros(tensor.full_shape(size_hw), device=device, dtype=dtype) for tensor in tensors
    )


def state_bytes(tensors: Sequence[StateTensor], size_hw: tuple[int, int]) -> int:
    """Size of a state in float32; the same for every frame of a video."""
    return sum(4 * prod(tensor.full_shape(size_hw)) for tensor in tensors)
