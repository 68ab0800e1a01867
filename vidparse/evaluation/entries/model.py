"""A model as an entry: the session of `segment`, answer by answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vidparse.data import Dataset, FrameRecord, Video
from vidparse.errors import UsageError
from vidparse.evaluation.entries.entry import Said, Wanted
from vidparse.frame import Frame, Prediction
from vidparse.image import Rgb
from vidparse.inference import Runner, Session
from vidparse.panoptic import PanopticMap


class ModelEntry:
    """Predictions of a network, brought back to the size of the frames as `segment` does.

    Args:
        name: for table heads.
        runner: the network on its device.
        size, stabilize: as for :class:`Session`.
    """

    needs_images = True
    notes: tuple[str, ...] = ()

    def __init__(
        self,
        name: str,
        runner: Runner,
        *,
        size: int | tuple[int, int] | None = None,
        stabilize: bool = False,
    ) -> None:
        self.name = name
        self._runner, self._size = runner, size
        self._session = Session(runner, size=size, stabilize=stabilize)
        facts = runner.description
        self.is_panoptic = facts.task == "panoptic"
        self.detail = (
            f"model {name}, sha256 {facts.sha256[:12]}, {runner.backend} {runner.precision} "
            f"on {runner.device}{', stabilized' if stabilize else ''}"
        )

    def check(self, dataset: Dataset, videos: Sequence[Wanted]) -> None:
        labels = self._runner.description.labels
        if labels.classes != dataset.labels.classes:
            raise UsageError(
                f"model {self.name}: its labels '{labels.name}' are not those of {dataset.name} "
                f"({labels.difference(dataset.labels)}); choose a model trained for it"
            )

    def fingerprint(self, video: Video) -> str:
        facts = self._runner.description
        return f"{facts.sha256} {self._runner.backend} {self._runner.precision} {self._size}"

    def begin(self, video: Video) -> None:
        self._session.reset()

    def feed(self, frame: FrameRecord, image: np.ndarray | None) -> list[Said]:
        assert image is not None  # needs_images
        asked = Frame(frame.index, frame.index, Rgb(image), name=frame.stem)
        return [_said(prediction) for prediction in self._session.step(asked)]

    def finish(self) -> list[Said]:
        return [_said(prediction) for prediction in self._session.flush()]

    def hint_for_offset(self, offset: int) -> str:
        return "Convert the model again with the classes in the order of the data set's."


def _said(prediction: Prediction) -> Said:
    if prediction.segments is None:
        return Said(prediction.index, prediction.ids, prediction=prediction)
    rows = np.array(
        [(segment.id, segment.class_id, 0) for segment in prediction.segments], np.int64
    ).reshape(-1, 3)
    objects = PanopticMap(prediction.ids.astype(np.int64), rows)
    return Said(prediction.index, objects.classes(), objects, prediction)
