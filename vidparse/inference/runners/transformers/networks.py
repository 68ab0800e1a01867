"""Networks of transformers under the contract of vidparse's own, frame by frame."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from vidparse.inference.runners.transformers.checkpoint import Architecture
from vidparse.models.description import INSTANCE, SEMANTIC, StateTensor
from vidparse.models.network import Answer, Masks, QueryMasks, Scores, State, VideoNetwork

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Crop = tuple[slice, slice]  # rows, columns


class PretrainedNetwork(VideoNetwork):
    """A network of transformers."""

    def __init__(self, pretrained: PreTrainedModel) -> None:
        super().__init__(pretrained.config)
        self.network = pretrained

    def takes(self, size_hw: tuple[int, int]) -> bool:
        """True for sizes of pictures that it can be given."""
        return True


class ScoreNetwork(PretrainedNetwork):
    """One that answers with scores of classes (SegFormer, UperNet)."""

    def forward(self, clip: Tensor, state: State = ()) -> tuple[Answer, State]:
        logits = self.network(pixel_values=clip.flatten(0, 1)).logits
        return Scores(logits.unflatten(0, clip.shape[:2])), ()


class QueryNetwork(PretrainedNetwork):
    """One of queries, a mask and a class for each (MaskFormer, Mask2Former, OneFormer).

    Args:
        task: semantic: scores of classes; instance or panoptic: the masks of the queries that found
            something, of one frame at a time.
        inputs: that go in beside the pictures.
    """

    def __init__(
        self,
        pretrained: PreTrainedModel,
        architecture: Architecture,
        task: str,
        inputs: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__(pretrained)
        self.task = task
        self._architecture = architecture
        self._names = tuple(inputs or ())
        for name, value in (inputs or {}).items():
            self.register_buffer(name, value, persistent=False)

    def forward(self, clip: Tensor, state: State = ()) -> tuple[Answer, State]:
        pictures = clip.flatten(0, 1)  # (B * T, 3, H, W)
        if self.task == SEMANTIC:
            scores, state = self.semantic(pictures, state)
            batch, length = clip.shape[:2]
            return Scores(scores.view(batch, length, *scores.shape[1:])), state
        classes, masks, state = self.query(pictures, state)
        return found_masks(classes[0], masks[0], self._architecture, self.task), state

    def semantic(self, pictures: Tensor, state: State) -> tuple[Tensor, State]:
        """Scores (N, K, h, w) of pictures (N, 3, H, W), and the state."""
        classes, masks, state = self.query(pictures, state)
        return class_scores(classes, masks), state

    def query(self, pictures: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        """The answers of the queries, float32, and the state.

        Returns:
            logits of the classes (N, Q, K + 1), "no object" last; logits of the masks
            (N, Q, h, w), at the size that transformers reads them at.
        """
        others = {name: self.get_buffer(name) for name in self._names}
        outputs = self.network(pixel_values=pictures, **others)
        masks = outputs.masks_queries_logits.float()
        if self._architecture.mask_hw is not None:
            masks = _resized(masks, self._architecture.mask_hw)
        return outputs.class_queries_logits.float(), masks, state


class SquareNetwork(QueryNetwork):
    """One that takes squares of one size (EoMT, Kerssies et al., CVPR 2025, section 4).

    Where `splits`, pictures whose short side fills the square are cut along the long one, and what
    is in several cuts is averaged, for scores of classes; else pictures lie in the square's upper
    left, and the rest is `fill`.

    Args:
        fill: (3,), the network's input for black.
    """

    def __init__(
        self,
        pretrained: PreTrainedModel,
        architecture: Architecture,
        task: str,
        *,
        fill: Tensor,
        splits: bool = False,
    ) -> None:
        super().__init__(pretrained, architecture, task)
        self.side = int(pretrained.config.image_size)
        self._splits = splits
        self.register_buffer("fill", fill[:, None, None], persistent=False)

    def takes(self, size_hw: tuple[int, int]) -> bool:
        return (min if self._splits else max)(size_hw) <= self.side

    def semantic(self, pictures: Tensor, state: State) -> tuple[Tensor, State]:
        if not self._splits:
            return super().semantic(pictures, state)
        size_hw = (pictures.shape[-2], pictures.shape[-1])
        cuts = crops_of(size_hw, self.side)
        scores = []
        for rows, columns in cuts:
            classes, masks, state = self.query(pictures[..., rows, columns], state)
            scores.append(class_scores(classes, masks))
        return joined(scores, cuts, size_hw), state

    def query(self, pictures: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        height, width = pictures.shape[-2:]
        squares = on_square(pictures, self.side, self.get_buffer("fill"))
        outputs = self.network(pixel_values=squares)

        # Enlarge to the square before its filling is cut off, as the library reads masks.
        masks = _resized(outputs.masks_queries_logits.float(), (self.side, self.side))
        return outputs.class_queries_logits.float(), masks[..., :height, :width], state


class FollowingNetwork(QueryNetwork):
    """One whose queries follow objects from frame to frame (VidEoMT, Norouzi et al., CVPR 2026).

    The queries that a frame begins with are the learned ones plus a linear map of those that the
    frame before ended with. That map of them is the state, zero before the first frame.
    """

    def __init__(self, pretrained: PreTrainedModel, architecture: Architecture, task: str) -> None:
        super().__init__(pretrained, architecture, task)
        self.side = int(pretrained.config.image_size)
        shape = (int(pretrained.config.num_queries), int(pretrained.config.hidden_size))
        self.state_tensors = (StateTensor("queries", shape),)

    def takes(self, size_hw: tuple[int, int]) -> bool:
        return size_hw == (self.side, self.side)

    def semantic(self, pictures: Tensor, state: State) -> tuple[Tensor, State]:
        """The pictures are frames of one video, in a row."""
        scores = []
        for picture in torch.split(pictures, 1):
            classes, masks, state = self.query(picture, state)
            scores.append(class_scores(classes, masks))
        return torch.cat(scores), state

    def query(self, pictures: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        network = self.network
        (carried,) = state  # (1, Q, C)
        queries = network.query.weight + carried

        # Let the pixels alone through the first layers, together with the queries through the last.
        tokens = network.embeddings(pictures)
        joins = len(network.layers) - network.config.num_blocks
        for i, layer in enumerate(network.layers):
            if i == joins:
                tokens = torch.cat((queries.to(tokens.dtype), tokens), dim=1)
            tokens = layer(tokens)

        masks, classes = network.predict(network.layernorm(tokens))
        after = network.query_updater(tokens[:, : queries.shape[1]])
        return classes.float(), masks.float(), (after.float(),)


def _resized(masks: Tensor, size_hw: tuple[int, int]) -> Tensor:
    return interpolate(masks, size_hw, mode="bilinear", align_corners=False)


def class_scores(classes: Tensor, masks: Tensor) -> Tensor:
    """Semantic inference of MaskFormer (Cheng et al., NeurIPS 2021, section 3.4).

    Args:
        classes: logits (N, Q, K + 1), "no object" last. masks: logits (N, Q, h, w).

    Returns:
        (N, K, h, w) sums over queries of class times mask probability.
    """
    probability = classes.softmax(-1)[..., :-1]  # (N, Q, K)
    return torch.einsum("nqc,nqhw->nchw", probability, masks.sigmoid())


def found_masks(
    classes: Tensor, masks: Tensor, architecture: Architecture, task: str
) -> Masks | QueryMasks:
    """The queries that found something in one picture, in their order.

    Args:
        classes: logits (Q, K + 1), "no object" last. masks: logits (Q, h, w).
    """
    probability = classes.softmax(-1)
    if task == INSTANCE:  # the best class counts, however sure "no object" is
        scores, class_ids = probability[:, :-1].max(-1)  # (Q,)
        found = scores >= architecture.least_instance
    else:
        scores, class_ids = probability.max(-1)
        found = (class_ids != classes.shape[-1] - 1) & (scores > architecture.least_score)
    answer = (masks[found][:, None], scores[found], class_ids[found])
    if not architecture.square:
        return Masks(*answer)
    queries = found.nonzero()[:, 0] if architecture.follows else None
    return QueryMasks(*answer, queries, architecture.least_instance if task == INSTANCE else None)


def on_square(pictures: Tensor, side: int, fill: Tensor) -> Tensor:
    """Pictures (N, 3, h, w) in the upper left of squares (N, 3, side, side) of `fill` (3, 1, 1)."""
    height, width = pictures.shape[-2:]
    if (height, width) == (side, side):
        return pictures
    squares = fill.to(pictures.dtype).expand(len(pictures), -1, side, side).clone()
    squares[..., :height, :width] = pictures
    return squares


def crops_of(size_hw: tuple[int, int], side: int) -> list[Crop]:
    """The fewest windows of `side` along the longer side of a picture, evenly spread."""
    longer = max(size_hw)
    count = math.ceil(longer / side)
    step = side - (count * side - longer) / (count - 1) if count > 1 else 0.0
    spans = [slice(start, start + side) for start in (int(i * step) for i in range(count))]
    whole = slice(None)
    along_height = size_hw[0] > size_hw[1]
    return [(span, whole) if along_height else (whole, span) for span in spans]


def joined(parts: Sequence[Tensor], crops: Sequence[Crop], size_hw: tuple[int, int]) -> Tensor:
    """The mean (N, K, H, W) of parts (N, K, h, w), each at its place in the picture."""
    total = parts[0].new_zeros((*parts[0].shape[:2], *size_hw))
    times = parts[0].new_zeros(size_hw)
    for part, (rows, columns) in zip(parts, crops, strict=True):
        total[..., rows, columns] += part
        times[rows, columns] += 1
    return total / torch.clamp(times, min=1)
