"""Flow kept on disk between runs: one .flo file a pair of frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vidparse.errors import InputError, OutputError
from vidparse.filenames import name_below
from vidparse.flow.estimator import FlowEstimator
from vidparse.flow.flo import read_flo, write_flo


class FlowCache:
    """An estimator that looks first whether the flow of a pair is there already.

    A pair's file is FOLDER/METHOD/VIDEO/STEM.flo, METHOD being the estimator's key and STEM that of
    the pair's first frame. Files are told by these names alone: a folder serves one data set, with
    the same next frame to every frame. float32 is kept exactly, so nothing changes in the results.

    Args:
        folder: made when the first flow is written; None keeps nothing.
    """

    def __init__(self, estimator: FlowEstimator, folder: Path | None) -> None:
        self.estimator, self.folder = estimator, folder

    @property
    def name(self) -> str:
        return self.estimator.name

    @property
    def key(self) -> str:
        return self.estimator.key

    def between(self, a: np.ndarray, b: np.ndarray, *, video: str, stem: str) -> np.ndarray:
        """Flow float32 (2, H, W) from a to b, both RGB uint8 (H, W, 3), read or computed and kept.

        Args:
            video, stem: names of the video and of frame a, each a single part of a path.

        Raises:
            InputError: the file kept is damaged or of another size.
            OutputError: the folder cannot be written.
        """
        if self.folder is None:
            return self.estimator.between(a, b)
        path = self._path(self.folder, video, stem)
        if _is_there(path):
            return _read(path, a.shape[:2])
        flow = self.estimator.between(a, b)
        write_flo(path, flow)
        return flow

    def _path(self, folder: Path, video: str, stem: str) -> Path:
        for name in (video, stem):
            name_below(name, folder)
        return folder / self.estimator.key / video / f"{stem}.flo"


def _is_there(path: Path) -> bool:
    """Whether it is; if not, its folder is made, before the work that may take seconds."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.exists()
    except OSError as error:
        raise OutputError(
            f"{path}: {error.strerror}; name a folder that can be written to keep flow in"
        ) from error


def _read(path: Path, size_hw: tuple[int, ...]) -> np.ndarray:
    flow = read_flo(path)
    if flow.shape[1:] != size_hw:
        had, wanted = flow.shape[1:], size_hw
        raise InputError(
            f"{path}: flow of {had[1]}x{had[0]} for pictures of {wanted[1]}x{wanted[0]}; "
            "keep the flow of each data set in a folder of its own"
        )
    return flow
