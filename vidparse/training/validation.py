"""Scores of a network in training, by the very session and metrics of `vidparse eval`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from vidparse.data import Dataset, labelled_frames
from vidparse.errors import InputError, UsageError
from vidparse.evaluation.entries import ModelEntry
from vidparse.evaluation.evaluate import EvaluationOptions, check_data, evaluate
from vidparse.evaluation.metrics import make_measures
from vidparse.flow import open_flow
from vidparse.inference.devices import Device
from vidparse.inference.runners import TorchRunner
from vidparse.labels import Labels
from vidparse.models.description import PANOPTIC, Description, Preprocess
from vidparse.models.network import VideoNetwork
from vidparse.models.zoo import facts_of


@dataclass(frozen=True, slots=True)
class ValidationScores:
    """Of one validation, fractions; NaN where undefined.

    values: by name of the score ("miou", "vc8", "stq_clean" ...), that of the first metric first.
    classes: IoU of each.
    """

    values: Mapping[str, float]
    classes: Mapping[str, float]


def validate(
    network: VideoNetwork,
    dataset: Dataset,
    preprocess: Preprocess,
    *,
    arch: str,
    metrics: Sequence[str] = ("miou",),
) -> ValidationScores:
    """Every video of a split through the network, frame by frame, memory and all.

    Args:
        network: in eval mode, on its device.
    """
    place = next(network.parameters()).device
    device = Device(place.type, place.index or 0)
    description = Description(
        path=Path("the network in training"),
        sha256="",
        arch=arch,
        labels=dataset.labels,
        preprocess=preprocess,
        training={},
        **facts_of(network),
    )

    # Keep the threads of the training: a runner sets those that it is given.
    threads = torch.get_num_threads()
    runner = TorchRunner(
        description, device=device, precision="fp32", threads=threads, network=network
    )
    options = EvaluationOptions(
        metrics=tuple(metrics), windows=dataset.windows, flow=open_flow("dis"), resume=False
    )
    entry = ModelEntry("network", runner)
    result = evaluate(dataset, [entry], options).entries[0]

    iou = result.per_class.get("miou")
    named = {} if iou is None else dict(zip(dataset.labels.classes, iou.tolist(), strict=True))
    return ValidationScores(result.scores, named)


def check_validation(dataset: Dataset, labels: Labels) -> None:
    """Before the first step: this split can be scored.

    Raises:
        UsageError: other classes than the run's. InputError: the split has no masks.
    """
    if dataset.labels.classes != labels.classes:
        raise UsageError(
            f"validation on {dataset.name} {dataset.split}: its classes ({dataset.labels.name}) "
            f"are not the run's ({labels.name}): {dataset.labels.difference(labels)}; choose "
            "another with --val"
        )
    if not labelled_frames(dataset):
        raise InputError(
            f"{dataset.name} {dataset.split}: has no masks to validate on; choose another with "
            "--val, or --val none"
        )


def check_measured(dataset: Dataset, metrics: Sequence[str]) -> None:
    """Raises: UsageError: a metric that cannot be computed from this data."""
    for name, measure in make_measures(metrics, dataset.labels, windows=dataset.windows).items():
        check_data(name, measure, dataset, dataset.videos)


def check_metrics(metrics: Sequence[str], labels: Labels, task: str) -> None:
    """Raises: UsageError: an unknown metric, or one of objects without a network of them."""
    for name, measure in make_measures(metrics, labels).items():
        if measure.needs_panoptic and task != PANOPTIC:
            raise UsageError(
                f"metric '{name}': distinguishes objects, semantic networks do not; "
                "use miou, vc8, tc"
            )
