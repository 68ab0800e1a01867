"""A toy of every kind of thing that can be added: each a class (or record) and a line in a table.

tests/test_extending.py puts them into the tables and runs the commands on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from vidparse.data.dataset import Dataset, Format, FrameRecord, OnMissing, Video, refuse
from vidparse.evaluation.metrics.measure import Counts, DataFacts, Measure, Sample
from vidparse.frame import Frame, VideoInfo
from vidparse.hub import ModelFiles
from vidparse.inference import ClipSegments, Linker, ModelChoice, Runner, Scores
from vidparse.inference.devices import Device
from vidparse.inference.runners.runner import onnx_form
from vidparse.labels import Labels, load_labels
from vidparse.maps import Prediction, SegmentMap, segments_of_ids
from vidparse.models.checkpoint import read_onnx_description
from vidparse.models.description import PANOPTIC, StateTensor
from vidparse.models.network import Masks, Outputs, State, VideoNetwork
from vidparse.sinks import Sink
from vidparse.training.objectives import Objective
from vidparse.training.objectives.objective import run_clips
from vidparse.training.stream import Batch

LABELS = load_labels("camvid")


@dataclass(frozen=True, slots=True)
class ToyConfig:
    kinds: int  # neither "classes" nor any other name that something else looks for
    cell: int = 8  # pixels


class ToyNetwork(VideoNetwork):
    """Three frames per call, a memory, masks: one mask per class, from colours and the past."""

    task = PANOPTIC
    window = 3
    state_tensors = (StateTensor("brightness", (1,)), StateTensor("calls", (1,)))

    def __init__(self, config: ToyConfig) -> None:
        super().__init__(config)
        self.alignment = config.cell
        self.cells = nn.Conv2d(3, config.kinds, config.cell, stride=config.cell)

    @classmethod
    def settings_for(cls, labels: Labels) -> dict[str, Any]:
        return {"kinds": len(labels)}

    @classmethod
    def companions(cls, config: Any, rng: np.random.Generator) -> tuple[int, ...]:
        return (-2, -1, 0)

    def forward(self, clip: Tensor, state: State) -> tuple[Masks, State]:
        """clip: (1, T, 3, H, W) -> masks (K, T, h, w) of all K classes."""
        brightness, calls = state
        logits = self.cells(clip[0]) + 0.1 * brightness  # (T, K, h, w)
        masks = logits.transpose(0, 1)
        scores = masks.sigmoid().mean(dim=(1, 2, 3))
        kinds = torch.arange(len(masks), device=clip.device)
        now = clip.mean(dim=(1, 2, 3, 4), keepdim=False)[:, None]
        return Masks(masks, scores, kinds, self.cells.weight.flatten(1)), (now, calls + 1)

    def forward_clip(self, frames: Tensor) -> Outputs:
        return Outputs(self.cells(frames[:, -1]) + 0.1 * frames[:, :-1].mean())


class ToySink(Sink):
    """One line per frame: its number, and how many segments and pixels it has."""

    suffix: ClassVar[str] = ".toy"
    endings: ClassVar[tuple[str, ...]] = (".toy",)

    def begin(self, info: VideoInfo, labels: Labels) -> None:
        self._lines: list[str] = [f"{info.name} {len(labels)}"]

    def add(self, frame: Frame, prediction: Prediction) -> None:
        segments = prediction.segments or ()
        self._lines.append(f"{frame.index} {len(segments)} {prediction.ids.size}")

    def end(self, *, keep: bool, complete: bool, packets: Sequence[Any]) -> Path | None:
        if keep:
            Path(self.target.name).write_text("\n".join(self._lines), encoding="utf-8")
        return None


def open_toy(root: Path, split: str, *, on_missing: OnMissing = refuse) -> Dataset:
    """Videos `root/images/SPLIT/NAME/`, and the class of every pixel below `root/masks`."""
    videos = tuple(
        Video(
            name,
            tuple(
                FrameRecord(name, path.stem, i, path, root / "masks" / split / name / path.name)
                for i, path in enumerate(sorted((root / "images" / split / name).iterdir()))
            ),
        )
        for name in sorted(path.name for path in (root / "images" / split).iterdir())
    )
    return Dataset("toy", split, LABELS, videos, read_segments=read_toy, metrics=("toy",))


def read_toy(frame: FrameRecord) -> SegmentMap:
    """One segment per class: id = class + 1."""
    assert frame.mask is not None
    ids = np.asarray(Image.open(frame.mask)).astype(np.uint16) + 1
    class_of = {int(number): int(number) - 1 for number in np.unique(ids)}
    return SegmentMap(ids, segments_of_ids(ids, class_of, things=LABELS.things))


FORMAT = Format(
    open=open_toy,
    sign="toy.txt",
    matches=lambda root: (root / "toy.txt").is_file(),
    splits=lambda root: ("train", "val"),
    masks=("masks/{split}/{video}/*.png",),
)


class ToyMetric(Measure):
    """Share of pixels whose class is right."""

    glossary = MappingProxyType({"toy": ("Toy", "share of pixels whose class is right")})

    def __init__(self, data: DataFacts) -> None:
        super().__init__(data)
        self._right = self._all = 0

    def update(self, sample: Sample) -> None:
        truth = sample.true_classes
        if truth is not None:
            self._right += int((truth == sample.predicted_classes).sum())
            self._all += truth.size

    def end_video(self) -> Counts:
        counts = {"right": np.array(self._right), "all": np.array(self._all)}
        self._right = self._all = 0
        return counts

    def scores(self, counts: Counts) -> dict[str, np.ndarray]:
        return {"toy": counts["right"] / counts["all"]}


class ToyLinker(Linker):
    """Tens: the segments of every clip have ids of their own, ten apart."""

    def __init__(self) -> None:
        self.state = 0

    @classmethod
    def fits(cls, clip: ClipSegments) -> bool:
        return True

    def link(self, clip: ClipSegments, frames: Sequence[Frame]) -> list[SegmentMap]:
        first, linked = self.state, []
        for found in clip.maps:
            segments = tuple(replace(one, id=(first + one.id) * 10) for one in found.segments or ())
            self.state = max([self.state, *(one.id // 10 for one in segments)])
            ids = np.where(found.ids > 0, (found.ids.astype(np.uint16) + first) * 10, 0)
            linked.append(SegmentMap(ids.astype(np.uint16), segments))
        return linked

    def cut(self) -> None:
        return None


class ToyRunner(Runner):
    """Finds class 3 everywhere, whatever the network."""

    backend, device, precision, engine = "toy", "cpu", "fp32", "Toy"

    @classmethod
    def load(cls, files: ModelFiles, choice: ModelChoice, device: Device) -> Self:
        runner = cls()
        runner.description = read_onnx_description(onnx_form(files))
        return runner

    def answer(self, clip: np.ndarray, size_hw: tuple[int, int] | None = None) -> Scores:
        values = np.zeros((clip.shape[1], len(self.labels), 2, 2), np.float32)
        values[:, 3] = 1
        return Scores(values)


class ToyObjective(Objective):
    """Brings the scores of every place to zero."""

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        clip = self.normalised(batch.frames)  # (B, T, 3, H, W)
        return {"toy": run_clips(self.network, clip).logits.square().mean()}


# As rows of the table in CONTRIBUTING.md are called, and what a line of their table holds.
TOYS: dict[str, object] = {
    "network": (ToyConfig, ToyNetwork),
    "output": ToySink,
    "data set": "support.toys",
    "metric": ToyMetric,
    "objective": ToyObjective,
    "linker": ToyLinker,
    "runner": ToyRunner,
}
