"""Batches of training clips, drawn so that step N of a run is always the same batch."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from vidparse.data import FrameRecord
from vidparse.errors import InputError, VidparseError
from vidparse.inference.devices import cpu_count
from vidparse.training.clips import ClipPlan, TrainingClip, load_clip
from vidparse.training.training_sets import TrainingSets


@dataclass(frozen=True, slots=True)
class Batch:
    """Clips of one step.

    frames: uint8 (B, T, h, w, 3). labels: uint8 (B, T, h, w).
    inside: bool (B, T, h, w), where a view shows its picture and not the border.
    flow: float32 (B, 2, h, w) or None. strong: as frames, or None. names: of the targets.
    objects: uint16 (B, T, h, w), 0 or the number of a thing within its clip, or None.
    clean: as frames, before noise and degradation, or None. worse: bool (B, T), degraded frames.
    flow_valid: bool (B, h, w), False where the flow is known to lead nowhere, or None.
    """

    frames: Tensor
    labels: Tensor
    inside: Tensor
    flow: Tensor | None
    strong: Tensor | None
    names: tuple[str, ...]
    objects: Tensor | None = None
    clean: Tensor | None = None
    worse: Tensor | None = None
    flow_valid: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        return self._each(lambda tensor: tensor.to(device, non_blocking=True), self.names)

    def pin_memory(self) -> Batch:
        """In page-locked memory; the loader calls it where there is a GPU."""
        return self._each(lambda tensor: tensor.pin_memory(), self.names)

    def only(self, i: int) -> Batch:
        """Clip `i` alone."""
        return self._each(lambda tensor: tensor[i : i + 1], self.names[i : i + 1])

    def _each(self, act: Callable[[Tensor], Tensor], names: tuple[str, ...]) -> Batch:
        """The batch with something done to every tensor that it has."""
        return Batch(
            act(self.frames),
            act(self.labels),
            act(self.inside),
            None if self.flow is None else act(self.flow),
            None if self.strong is None else act(self.strong),
            names,
            None if self.objects is None else act(self.objects),
            None if self.clean is None else act(self.clean),
            None if self.worse is None else act(self.worse),
            None if self.flow_valid is None else act(self.flow_valid),
        )


@dataclass(frozen=True, slots=True)
class Key:
    """One clip of a run."""

    epoch: int
    place: int  # in the epoch
    source: int
    frame: int
    labelled: bool


@dataclass(frozen=True, slots=True)
class Pool:
    """Frames that clips are drawn around, and their part of all clips."""

    source: int
    frames: tuple[FrameRecord, ...]
    labelled: bool
    share: float


class Schedule:
    """The clips that each step of a run takes.

    Args:
        unlabelled_share: part of the clips whose target has no labels; 0 for none.
        steps_per_epoch: 0: one pass over the labelled frames of the first data set.

    Raises:
        InputError: fewer frames than a batch, or no unlabelled frames where they are needed.
    """

    def __init__(
        self,
        sets: TrainingSets,
        *,
        batch_size: int,
        steps_per_epoch: int = 0,
        unlabelled_share: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.seed, self.batch_size = seed, batch_size
        self.pools = _pools(sets, unlabelled_share)
        count = len(sets.first.labelled)
        if not steps_per_epoch and count < batch_size:
            dataset = sets.first.dataset
            raise InputError(
                f"{dataset.name} {dataset.split}: {count} labelled frames are fewer than a batch "
                f"of {batch_size}; set steps_per_epoch (pictures then come again within a batch)"
                + (" or lower batch_size" if count > 1 else "")
            )
        self.steps_per_epoch = steps_per_epoch or count // batch_size
        self._drawn: tuple[int, list[Key]] = (-1, [])  # of the epoch that was drawn last

    def keys(self, step: int) -> list[Key]:
        """The clips of a step."""
        epoch, within = divmod(step, self.steps_per_epoch)

        # Draw an epoch once, since all of its steps are cut from one order.
        if self._drawn[0] != epoch:
            self._drawn = (epoch, self._epoch(epoch))
        first = within * self.batch_size
        return self._drawn[1][first : first + self.batch_size]

    def _epoch(self, epoch: int) -> list[Key]:
        # Seed by the epoch, so that a resumed run draws the same.
        rng = np.random.default_rng([self.seed, epoch])
        total = self.steps_per_epoch * self.batch_size
        drawn: list[tuple[int, int]] = []  # pool, frame
        for i, count in enumerate(_whole_counts([pool.share for pool in self.pools], total)):
            frames = len(self.pools[i].frames)

            # Take whole passes, so that no frame comes twice before all came once.
            passes = [rng.permutation(frames) for _ in range(-(-count // frames))]
            drawn += [(i, int(frame)) for frame in np.concatenate(passes)[:count]] if count else []

        # Mix several pools; a single one is in random order already.
        order = rng.permutation(len(drawn)) if len(self.pools) > 1 else np.arange(len(drawn))
        return [
            Key(epoch, place, self.pools[pool].source, frame, self.pools[pool].labelled)
            for place, (pool, frame) in enumerate(drawn[i] for i in order)
        ]


def _pools(sets: TrainingSets, unlabelled_share: float) -> list[Pool]:
    parts = list(enumerate(sets.parts))
    with_labels = [(i, part.labelled, part.weight) for i, part in parts if part.labelled]
    pools = _shared_out(with_labels, 1 - unlabelled_share, labelled=True)
    if unlabelled_share:
        without = [(i, part.unlabelled, part.weight) for i, part in parts if part.unlabelled]
        if not without:
            raise InputError(
                "training data: no frame is without labels, and the mean teacher needs some; "
                "add a data set with --also, lower label_fraction, or set labels_per_video"
            )
        pools += _shared_out(without, unlabelled_share, labelled=False)
    return pools


def _shared_out(
    parts: Sequence[tuple[int, tuple[FrameRecord, ...], float | None]],
    share: float,
    *,
    labelled: bool,
) -> list[Pool]:
    """A weight is relative to the first data set's 1; without one frames count alike."""
    base = len(parts[0][1])
    weights = [len(frames) / base if weight is None else weight for _, frames, weight in parts]
    return [
        Pool(i, frames, labelled, share * weight / sum(weights))
        for (i, frames, _), weight in zip(parts, weights, strict=True)
    ]


def _whole_counts(shares: Sequence[float], total: int) -> list[int]:
    """Whole numbers in the proportion of shares that sum to total (largest remainder)."""
    exact = np.array(shares) / sum(shares) * total
    counts = np.floor(exact).astype(int)

    # Break ties by place, so that every process counts alike.
    for i in np.argsort(counts - exact, kind="stable")[: total - counts.sum()]:
        counts[i] += 1
    return counts.tolist()


class _Clips(TorchDataset):
    """Key -> clip. Errors are returned, not raised: workers mangle them."""

    def __init__(self, sets: TrainingSets, schedule: Schedule, plan: ClipPlan) -> None:
        self.sets, self.plan, self.seed = sets, plan, schedule.seed

    def __getitem__(self, key: Key) -> TrainingClip | str:
        source = self.sets.parts[key.source]
        frames = source.labelled if key.labelled else source.unlabelled

        # Seed by the place in the run: it must not matter which worker loads a clip.
        rng = np.random.default_rng([self.seed, key.epoch, key.place])
        try:
            return load_clip(source, frames[key.frame], self.plan, rng, labelled=key.labelled)
        except VidparseError as error:
            return str(error)


def collate(loaded: Sequence[TrainingClip | str]) -> Batch | str:
    """Clips of one step, or the error of one of them."""
    clips: list[TrainingClip] = []
    for clip in loaded:
        if isinstance(clip, str):
            return clip
        clips.append(clip)

    def stacked(pieces: Sequence[np.ndarray | None]) -> Tensor | None:
        known = [piece for piece in pieces if piece is not None]
        return torch.from_numpy(np.stack(known)) if known else None

    return Batch(
        torch.from_numpy(np.stack([clip.frames for clip in clips])),
        torch.from_numpy(np.stack([clip.labels for clip in clips])),
        torch.from_numpy(np.stack([clip.inside for clip in clips])),
        stacked([clip.flow for clip in clips]),
        stacked([clip.strong for clip in clips]),
        tuple(clip.name for clip in clips),
        stacked([clip.objects for clip in clips]),
        stacked([clip.clean for clip in clips]),
        stacked([clip.worse for clip in clips]),
        stacked([clip.flow_valid for clip in clips]),
    )


def _start_worker(_: int) -> None:
    # Ignore signals: the main process decides when to stop.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)

    # Keep OpenCV to one thread: the workers themselves share the cores.
    cv2.setNumThreads(0)


def batches(
    sets: TrainingSets,
    schedule: Schedule,
    plan: ClipPlan,
    *,
    steps: int,
    first_step: int = 0,
    parts: int = 1,
    process: tuple[int, int] = (0, 1),
    workers: int = 1,
) -> Generator[Batch]:
    """Every batch of a run from `first_step` on, in `parts` equal parts each.

    Its worker processes end when it is closed.

    Args:
        process: (rank, count): each process gets its own part of every part.

    Raises:
        InputError: an image or mask cannot be used; the file is named.
    """
    rank, count = process
    each = schedule.batch_size // parts // count

    def wanted() -> Iterator[list[Key]]:
        for step in range(first_step, steps):
            keys = schedule.keys(step)
            for part in range(parts):
                first = (part * count + rank) * each
                yield keys[first : first + each]

    loader = DataLoader(
        _Clips(sets, schedule, plan),
        batch_sampler=_Listed(wanted),
        # Take no more than there are CPUs, where torch would warn of it; batches are the same.
        num_workers=min(workers, cpu_count()),
        collate_fn=collate,
        worker_init_fn=_start_worker,
        pin_memory=torch.cuda.is_available(),
        # Give the loader a generator: it must not draw from the dropout's.
        generator=torch.Generator(),
    )
    for batch in loader:
        if isinstance(batch, str):
            raise InputError(batch)
        yield batch


class _Listed:
    """A batch sampler of the keys that a generator gives."""

    def __init__(self, wanted: object) -> None:
        self._wanted = wanted

    def __iter__(self) -> Iterator[list[Key]]:
        return self._wanted()  # type: ignore[operator]
