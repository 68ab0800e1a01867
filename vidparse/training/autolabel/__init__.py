"""Labels for frames that have none, or coarse ones, from the mean answer of several models."""

from vidparse.inference.runners.ensemble import SCALES, Ensemble, Variants
from vidparse.training.autolabel.request import (
    AutolabelRequest,
    AutolabelResult,
    autolabel_record,
    make_labels,
)

__all__ = [
    "SCALES",
    "AutolabelRequest",
    "AutolabelResult",
    "Ensemble",
    "Variants",
    "autolabel_record",
    "make_labels",
]
