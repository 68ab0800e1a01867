"""The architectures of transformers that vidparse runs, and how each one's answer is read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from vidparse.errors import ModelError
from vidparse.textfiles import JsonTable

_SQUARE = {"height": 512, "width": 512}
_BOUNDED = {"shortest_edge": 800, "longest_edge": 1333}


@dataclass(frozen=True, slots=True)
class Architecture:
    """One class of transformers.

    size, divisor: what its processor does where a checkpoint says nothing.
    masks: it answers with scored masks rather than with scores of classes.
    mask_hw: size that transformers brings the masks to before it reads them; None: as they are.
    least_score, least_instance: of a query, above which its mask counts: its class's, and for
        instances its class's times its mask's.
    """

    name: str
    size: dict[str, int]
    divisor: int = 1
    masks: bool = False
    mask_hw: tuple[int, int] | None = None
    least_score: float = 0.5
    least_instance: float = 0.5
    reads_task: bool = False  # the task is an input of the network
    exports: bool = False  # it has an ONNX form
    square: bool = False  # it takes squares of config.image_size, and reads masks at full size
    follows: bool = False  # its queries follow objects from frame to frame


_takes_squares = partial(Architecture, size={}, masks=True, least_score=0.8, square=True)
_ALL = (
    Architecture("SegformerForSemanticSegmentation", _SQUARE, exports=True),
    Architecture("UperNetForSemanticSegmentation", _SQUARE),
    Architecture("MaskFormerForInstanceSegmentation", _BOUNDED, 32, masks=True),
    Architecture(
        "Mask2FormerForUniversalSegmentation", _BOUNDED, 32, masks=True, mask_hw=(384, 384)
    ),
    Architecture("OneFormerForUniversalSegmentation", _BOUNDED, masks=True, reads_task=True),
    _takes_squares("EomtForUniversalSegmentation", least_instance=0.8),
    _takes_squares("EomtDinov3ForUniversalSegmentation", least_instance=0.8),
    _takes_squares("VideomtForUniversalSegmentation", follows=True),
)
ARCHITECTURES = {architecture.name: architecture for architecture in _ALL}


def architecture_of(config: JsonTable, name: str) -> Architecture:
    """The one that config.json names.

    Raises:
        ModelError: none, or one that is not supported. Code that a checkpoint brings is never run.
    """
    named = config.get("architectures")
    listed = [str(one) for one in named] if isinstance(named, list) else []
    for one in listed:
        if one in ARCHITECTURES:
            return ARCHITECTURES[one]
    what = f"architecture {listed[0]} is not supported" if listed else "names no architecture"
    raise ModelError(f"{name}: {what}; choose a checkpoint of {', '.join(ARCHITECTURES)}")
