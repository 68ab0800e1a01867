"""One made clip of a street, and the training of a small network until it knows it by heart."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from vidparse.data import Dataset, FrameRecord, Video
from vidparse.labels import Labels
from vidparse.maps import SegmentMap, segments_of_ids
from vidparse.models.description import Preprocess
from vidparse.models.zoo import build, settings_for
from vidparse.training.clips import load_clip
from vidparse.training.objectives import OBJECTIVES, Setting
from vidparse.training.recipe_file import recipe_from
from vidparse.training.stream import collate
from vidparse.training.training_sets import TrainingSet, TrainingSets
from vidparse.training.validation import validate

SKY, CAR, ROAD, PERSON = range(4)
LABELS = Labels(
    "street",
    ("sky", "car", "road", "person"),
    ((90, 140, 220), (200, 40, 40), (90, 90, 95), (60, 160, 60)),
    frozenset({CAR, PERSON}),
)
SIZE_HW = (64, 96)
# id, class, x and y of the first frame, width, height, pixels to the right per frame
OBJECTS = [
    (11, CAR, 6, 34, 22, 16, 4),
    (12, CAR, 58, 38, 26, 18, -3),
    (13, PERSON, 40, 8, 9, 30, 1),
]
FRAMES = 3


def truth_of(frame: FrameRecord) -> SegmentMap:
    ids = np.full(SIZE_HW, 1, np.uint16)
    ids[28:] = 2
    for number, _, x, y, width, height, speed in OBJECTS:
        left = x + speed * frame.index
        ids[y : y + height, left : left + width] = number
    kinds = {1: SKY, 2: ROAD} | {number: kind for number, kind, *_ in OBJECTS}
    return SegmentMap(ids, segments_of_ids(ids, kinds, things=LABELS.things))


def image_of(frame: FrameRecord) -> np.ndarray:
    return np.array(LABELS.colours, np.uint8)[truth_of(frame).classes()]


def made() -> Dataset:
    frames = tuple(FrameRecord("a", f"{i}", i) for i in range(FRAMES))
    return Dataset(
        "made",
        "train",
        LABELS,
        (Video("a", frames, 0.2),),
        read_segments=truth_of,
        read_image=image_of,
        windows=(1, 2, 3),
    )


def scores_by_heart(
    arch: str, config: dict[str, Any], *, steps: int, rate: float = 2e-3, **objective: Any
) -> dict[str, float]:
    """Scores of a network on the clip that it was trained on, one step per look at it.

    Args:
        objective: its name as `objective`, and its fields.
    """
    dataset = made()
    table = np.full(256, 255, np.uint8)
    table[: len(LABELS)] = range(len(LABELS))
    source = TrainingSet(dataset, table, dataset.videos[0].frames, ())
    unions = np.zeros((0, len(LABELS)), bool)
    sources = TrainingSets(LABELS, (source,), unions)
    recipe = recipe_from(
        {
            "arch": arch,
            "precision": "fp32",
            "short_side": SIZE_HW[0],
            "crop_hw": list(SIZE_HW),
            "scale_range": [1, 1],
            "flip": False,
            "colour": 0,
            "blur": 0,
            "reverse": 0,
            **objective,
        },
        "test",
    )

    torch.manual_seed(0)
    network = build(arch, {**config, **settings_for(arch, LABELS)})
    preprocess = Preprocess(SIZE_HW[0], divisor=network.alignment)
    setting = Setting(recipe, LABELS, network, network, preprocess, None, torch.from_numpy(unions))
    kind = OBJECTIVES[recipe.objective.kind]
    plan = kind.clips(recipe, network)
    rng = np.random.default_rng(0)
    batch = collate([load_clip(sources.first, source.labelled[-1], plan, rng, labelled=True)])
    _train(kind(setting), batch, steps, rate)

    network.eval()
    metrics = ("vpq", "stq-clean")
    return validate(network, dataset, preprocess, arch=arch, metrics=metrics).values


def _train(objective: torch.nn.Module, batch: Any, steps: int, rate: float) -> None:
    optimizer = torch.optim.AdamW(objective.parameters(), lr=rate)
    objective.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 10) * (1 - step / steps) ** 0.9
        optimizer.zero_grad()
        terms = objective(batch)
        sum(terms.values()).backward()
        torch.nn.utils.clip_grad_norm_(objective.parameters(), 5.0)
        optimizer.step()
