"""The answer of a network to a clip of T frames, in numpy: scores, masks, or class ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from vidparse.errors import counted
from vidparse.inference.clip_segments import PanopticAnswer
from vidparse.inference.mixture import Mixture
from vidparse.labels import Labels
from vidparse.models.description import SEMANTIC, Description

_PANOPTIC_OUTPUTS = ("query_masks", "features", "earlier_offsets", "masks")


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of a semantic network.

    values: float32 (T, K, h, w) at feature resolution; the greatest wins.
    """

    values: NDArray[np.float32]

    def first(self, frames: int) -> Self:
        """The answer to the first frames of the clip."""
        return replace(self, values=self.values[:frames])

    def taken(self, places: NDArray[np.intp]) -> Self:
        """The answers to the frames at these places (T',), each as often as it is named."""
        return replace(self, values=self.values[places])

    def misfit(self, labels: Labels) -> str:
        """The part of the answer that these labels cannot name; "" where they fit."""
        classes = self.values.shape[1]
        return f"scores {counted(classes, 'class')}" if classes != len(labels) else ""

    @property
    def is_finite(self) -> bool:
        """False where it holds NaN or infinite values, which mean nothing."""
        return bool(np.isfinite(self.values).all())


@dataclass(frozen=True, slots=True)
class ClassIds:
    """Class ids at full size, from a device that brings scores there itself.

    ids: unsigned integers (T, H, W).
    """

    ids: np.ndarray

    def first(self, frames: int) -> Self:
        """The answer to the first frames of the clip."""
        return replace(self, ids=self.ids[:frames])

    def taken(self, places: NDArray[np.intp]) -> Self:
        """The answers to the frames at these places (T',), each as often as it is named."""
        return replace(self, ids=self.ids[places])


Answer = Scores | PanopticAnswer | ClassIds | Mixture


def signature_problem(
    description: Description, inputs: Sequence[tuple[str, ...]], outputs: Sequence[tuple[str, ...]]
) -> str | None:
    """The reason why a graph is no network of the description, in words.

    Args:
        inputs, outputs: all names of each; one that passes a tensor on may have several.
    """
    states = [tensor.name for tensor in description.state]
    wanted = {"clip", *states}
    found = {next((name for name in names if name in wanted), names[0]) for names in inputs}
    if found != wanted:
        return f"has the inputs {_listed(found)} in place of {_listed(wanted)}"
    answers = {name for names in outputs for name in names}
    if missing := {f"{name}_next" for name in states} - answers:
        return f"lacks the outputs {_listed(missing)}, which its memory goes on from"

    # Look for one output of each kind of answer, by which it is known.
    known_by = ("logits",) if description.task == SEMANTIC else _PANOPTIC_OUTPUTS
    if not set(known_by) & answers:
        return f"has the outputs {_listed(answers)} and none of {_listed(known_by)}"
    return None


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def read_outputs(
    outputs: Mapping[str, np.ndarray], input_hw: tuple[int, int]
) -> Scores | PanopticAnswer:
    """The answer in the named outputs of a network, be it torch or an exported graph.

    Args:
        outputs: "logits" (T, K, h, w) or (1, T, K, h, w); or "masks" (N, T, h, w) of logits,
            "scores" (N,), "class_ids" (N,) and, where a network has them, "keys" (N, D); or the
            same with "query_masks", where a network has them "queries" (N,), and for instances
            "least_instance"; or those of
            :class:`~vidparse.inference.kernel_maps.KernelMaps`: "features", "thing_weight",
            "centres3" and so on; or those of
            :class:`~vidparse.inference.centre_maps.CentreMaps`: "classes", "centres", "offsets" and
            so on.
        input_hw: height and width of the clip that the network was given.
    """
    if "logits" in outputs:
        # Drop the batch axis of clips; graphs that go frame by frame have none.
        logits = outputs["logits"]
        return Scores(logits if logits.ndim == 4 else logits[0])

    # Panoptic networks alone need what follows.
    from vidparse.inference.centre_maps import CentreMaps
    from vidparse.inference.kernel_maps import KernelMaps
    from vidparse.inference.masks import Masks, QueryMasks

    if "query_masks" in outputs:
        least = outputs.get("least_instance")
        return QueryMasks(
            outputs["query_masks"],
            outputs["scores"],
            outputs["class_ids"],
            outputs.get("queries"),
            None if least is None else float(least),
        )

    if "features" in outputs:
        return KernelMaps.of_outputs(outputs, input_hw)
    if "earlier_offsets" in outputs:
        return CentreMaps.of_outputs(outputs, input_hw)
    with np.errstate(over="ignore"):  # exp(large) = inf: a probability of 0
        inside = 1 / (1 + np.exp(-outputs["masks"]))
    return Masks(inside, outputs["scores"], outputs["class_ids"], outputs.get("keys"))
