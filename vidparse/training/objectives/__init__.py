"""Objectives: a step minimises one. A new objective is one class and one line in OBJECTIVES."""

from __future__ import annotations

from vidparse.training.objectives.contrastive import Contrastive
from vidparse.training.objectives.deeplab import DeepLab
from vidparse.training.objectives.distilled import Distilled
from vidparse.training.objectives.mean_teacher import MeanTeacher
from vidparse.training.objectives.objective import Objective, Setting, Teacher
from vidparse.training.objectives.panoptic import Panoptic
from vidparse.training.objectives.supervised import Supervised

OBJECTIVES: dict[str, type[Objective]] = {
    "supervised": Supervised,
    "etc": Distilled,
    "stcl": Contrastive,
    "mean-teacher": MeanTeacher,
    "panoptic": Panoptic,
    "deeplab": DeepLab,
}

__all__ = ["OBJECTIVES", "Objective", "Setting", "Teacher"]
