"""Labels for frames that have none, or coarse ones, from the mean answer of several models."""

from vidparse.inference.runners.ensemble import Ensemble
from vidparse.requests.autolabel import SCALES, AutolabelRequest, Variants
from vidparse.training.autolabel.request import AutolabelResult, autolabel_record, make_labels

__all__ = [
    "SCALES",
    "AutolabelRequest",
    "AutolabelResult",
    "Ensemble",
    "Variants",
    "autolabel_record",
    "make_labels",
]
