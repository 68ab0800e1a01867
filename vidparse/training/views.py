"""Batches of training views, drawn so that step N of a run is always the same batch."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from vidparse.data import Dataset, labelled_frames
from vidparse.data.augment import Augmentation, training_view
from vidparse.errors import InputError, VidparseError

Key = tuple[int, int]  # epoch, frame


class _Views(TorchDataset):
    """(epoch, frame) -> augmented view. Errors are returned, not raised: workers mangle them."""

    def __init__(self, dataset: Dataset, augmentation: Augmentation, seed: int) -> None:
        self.dataset, self.augmentation, self.seed = dataset, augmentation, seed
        self.frames = labelled_frames(dataset)

    def __getitem__(self, key: Key) -> tuple[np.ndarray, np.ndarray] | str:
        epoch, i = key
        frame = self.frames[i]
        try:
            rgb, mask = self.dataset.load_image(frame), self.dataset.load_mask(frame)
            if rgb.shape[:2] != mask.shape:
                raise InputError(
                    f"{frame}: its mask is {mask.shape[1]}x{mask.shape[0]}, the image "
                    f"{rgb.shape[1]}x{rgb.shape[0]}; make them the same size"
                )
        except VidparseError as error:
            return str(error)
        rng = np.random.default_rng([self.seed, epoch, i])
        return training_view(rgb, mask, self.augmentation, rng)


def _collate(samples: list[tuple[np.ndarray, np.ndarray] | str]) -> tuple[Tensor, Tensor] | str:
    views = []
    for sample in samples:
        if isinstance(sample, str):
            return sample
        views.append(sample)
    rgb = torch.from_numpy(np.stack([view[0] for view in views]))  # (B, H, W, 3) uint8
    mask = torch.from_numpy(np.stack([view[1] for view in views]))  # (B, H, W) uint8
    return rgb, mask


def _start_worker(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process decides when to stop
    cv2.setNumThreads(0)


def steps_per_epoch(dataset: Dataset, batch_size: int) -> int:
    """Whole batches only: a batch of one frame would upset batch norm."""
    count = len(labelled_frames(dataset))
    if count < batch_size:
        raise InputError(
            f"{dataset.name} {dataset.split}: {count} labelled frames are fewer than a batch of "
            f"{batch_size}; lower batch_size"
        )
    return count // batch_size


def batches(
    dataset: Dataset,
    augmentation: Augmentation,
    *,
    batch_size: int,
    epochs: int,
    seed: int,
    workers: int,
    first_step: int = 0,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Every batch of a run from `first_step` on: rgb uint8 (B, H, W, 3), mask uint8 (B, H, W).

    Raises:
        InputError: an image or mask can not be used; the file is named.
    """
    views = _Views(dataset, augmentation, seed)
    per_epoch = steps_per_epoch(dataset, batch_size)

    def plan() -> Iterator[list[Key]]:
        for step in range(first_step, epochs * per_epoch):
            epoch, within = divmod(step, per_epoch)
            order = np.random.default_rng([seed, epoch]).permutation(len(views.frames))
            yield [(epoch, int(i)) for i in order[within * batch_size :][:batch_size]]

    loader = DataLoader(
        views,
        batch_sampler=list(plan()),
        num_workers=workers,
        collate_fn=_collate,
        worker_init_fn=_start_worker,
    )
    for batch in loader:
        if isinstance(batch, str):
            raise InputError(batch)
        yield batch
