"""Runners of networks: normalised clip in, low-resolution answer out.

A runner reads one form of a model, published weights or ONNX, and owns what the network remembers
of one video; nothing above it knows which framework runs.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Self, Unpack

import numpy as np

from vidparse.errors import DeviceError, ModelError, OutputError, UsageError, counted
from vidparse.filenames import user_cache
from vidparse.frame import VideoInfo
from vidparse.hub import ModelFiles
from vidparse.inference.answer import Answer, Scores
from vidparse.inference.clip_segments import PanopticAnswer
from vidparse.inference.devices import Device
from vidparse.inference.network_state import NetworkState
from vidparse.labels import Labels
from vidparse.models.checkpoint import file_sha256, read_description
from vidparse.models.description import Description
from vidparse.requests.model import ModelChoice

if TYPE_CHECKING:
    from vidparse.inference.session import Session, SessionOptions

LONGEST_WINDOW = 8  # frames, where a person chooses


class Runner(ABC):
    """One network on one device for one video at a time.

    Attributes:
        description: the network, as its file describes it.
        backend: "torch", "onnx", "openvino", "transformers" or "ensemble".
        device: where it really runs, read back from the framework.
        precision: the number format that it really computes in.
        engine: all three for people: "ONNX Runtime, fp32, 2 threads".
        chosen: why, where `auto` chose the backend; else "".
        remembers: True where an answer depends on the clips before.
        holds: set to True, it answers with its memory as it is, which does not move on.
        window: frames of a clip. The last clip of a shot may bring fewer, unless `fixed_window`.
        fixed_window: True where every clip must have `window` frames.
        any_window: True where clips of any length will do, and `window` is only the usual one.
        batch: frames that are best put into one call where nobody waits for them; above 1 only
            for networks of window 1 that remember nothing.
        parts: the runners whose answers are averaged, where it is of several.
        takes_pixels: True where clips are the frames' own pixels, RGB uint8 (1, T, 3, H, W).
    """

    description: Description
    backend: str
    device: str
    precision: str
    engine: str
    chosen: str = ""
    remembers: bool = False
    holds: bool = False
    window: int = 1
    fixed_window: bool = False
    any_window: bool = False
    batch: int = 1
    takes_pixels: bool = False
    parts: tuple[Runner, ...] = ()

    @classmethod
    def load(cls, files: ModelFiles, choice: ModelChoice, device: Device) -> Self:
        """The network of these files; a runner of RUNNERS has it.

        Args:
            device: the one that the choice's `device` stands for here.

        Raises:
            ModelError: the files are damaged, or not of the form that it reads.
            UsageError: its framework is not installed, or the task is not the network's.
            DeviceError: the device or precision is not there.
        """
        raise NotImplementedError(f"{cls.__name__} is not made from files")

    @abstractmethod
    def answer(self, clip: np.ndarray, size_hw: tuple[int, int] | None = None) -> Answer:
        """Run the network on one clip and keep what it remembers, unless it holds.

        Args:
            clip: float32 (1, T, 3, H, W), C-contiguous, T at most the window, or the batch. See
                also `takes_pixels`.
            size_hw: size of the frames, where class ids will do: a runner whose device is the
                quicker one at it may then answer with them. None: scores or masks are needed.

        Returns:
            the answer to the T frames.

        Raises:
            DeviceError: out of memory.
        """

    def checked(self, answer: Answer) -> Answer:
        """The same answer, if it means something.

        Raises:
            ModelError: it holds NaN or infinite values, or classes without a label.
        """
        if isinstance(answer, Scores | PanopticAnswer):
            misfit = answer.misfit(self.labels)
            if misfit:
                raise self._other_labels(misfit)
            if not answer.is_finite:
                raise self.not_finite()
        return answer

    def not_finite(self) -> ModelError:
        """The error for an answer of NaN or infinite values."""
        halves = self.precision in ("bf16", "fp16")
        how = f"in {self.precision}, " if halves else ""
        way_out = "use --precision fp32, or " if halves else ""
        return ModelError(
            f"{self.description.path}: {how}the network answers with NaN or infinite values, which "
            f"are no prediction; {way_out}use an earlier checkpoint, or fetch it again"
        )

    def out_of_memory(self, input_hw: tuple[int, int]) -> DeviceError:
        """The error for frames whose network input of that size does not fit on the device."""
        height, width = input_hw
        return DeviceError(
            f"device {self.device}: out of memory at {width}x{height}; lower --size"
            + (" or use --device cpu" if self.device != "cpu" else "")
        )

    def _other_labels(self, found: str) -> ModelError:
        return ModelError(
            f"{self.description.path}: {found}, its description has "
            f"{counted(len(self.labels), 'label')}; fetch it again, or export it anew"
        )

    def reset(self) -> None:
        """Forget the video so far."""
        return None

    def view(self, size: int | tuple[int, int] | None, sample_aspect_ratio: Fraction) -> None:
        """Take over how a session sees pictures, where the runner makes its own inputs of pixels.

        Args: as for :class:`Session`.
        """
        return None

    @property
    def state(self) -> NetworkState:
        """All that the network remembers of the video, a copy to be kept and set again."""
        if self.remembers:
            raise NotImplementedError(f"{type(self).__name__}: `state` is to be written")
        return NetworkState()

    @state.setter
    def state(self, state: NetworkState) -> None:
        if self.remembers:
            raise NotImplementedError(f"{type(self).__name__}: `state` is to be written")

    def clip_length(self, wanted: int | None) -> int:
        """Frames of a clip, where a person may want another number than the usual.

        Raises:
            UsageError: this network takes clips of no other length, or this is none.
        """
        if wanted is None or wanted == self.window:
            return self.window
        if not self.any_window:
            raise UsageError(
                f"window {wanted}: this network takes {counted(self.window, 'frame')} at a time; "
                "leave --window out"
            )
        if not 1 <= wanted <= LONGEST_WINDOW:
            raise UsageError(f"window {wanted}: must lie in 1..{LONGEST_WINDOW} frames")
        return wanted

    @property
    def labels(self) -> Labels:
        """The classes that the network predicts."""
        return self.description.labels

    def session(self, info: VideoInfo | None = None, **options: Unpack[SessionOptions]) -> Session:
        """A session with this network.

        Args:
            info: of the video, so that wide or narrow pixels are seen as people see them.
            options: as for :class:`Session`.
        """
        from vidparse.inference.session import Session

        if info is not None:
            options.setdefault("sample_aspect_ratio", info.sample_aspect_ratio)
        return Session(self, **options)


def engine_text(framework: str, device: Device, precision: str, threads: int) -> str:
    """A backend for people: "ONNX Runtime, int8, 2 threads" or "PyTorch, CUDA, fp16"."""
    if device.kind == "cuda":
        which = f" {device.index}" if device.index else ""
        return f"{framework}, CUDA{which}, {precision}"
    return f"{framework}, {precision}, {counted(threads, 'thread')}"


def engine_and_reason(runner: Runner) -> str:
    """A backend for people, and why it was chosen where `auto` did: in one short line."""
    return runner.engine + (f" (auto: {runner.chosen})" if runner.chosen else "")


def stored_precision(description: Description) -> str:
    """The format that an ONNX file computes in: "int8" after `export --int8`, else "fp32"."""
    return "int8" if "int8" in description.training else "fp32"


def weights_form(files: ModelFiles, choice: ModelChoice) -> Path:
    """The .safetensors file, as it was published.

    Raises:
        ModelError: there is none, or it is another.
    """
    if files.weights is None:
        in_half = choice.precision in ("bf16", "fp16")
        why = f"precision {choice.precision} needs" if in_half else "torch needs"
        raise ModelError(
            f"{choice.name}: {why} the .safetensors weights; "
            "give these, or use --backend onnx in fp32"
        )
    _check_sum(files.weights, files.entry.sha256 if files.entry else None)
    return files.weights


def onnx_form(files: ModelFiles) -> Path:
    """The ONNX file: as it was published, or exported once and kept in the cache.

    Raises:
        ModelError: it is another, or the network cannot be exported.
        OutputError: the cache cannot be written.
    """
    if files.onnx is None:
        return _exported(files)
    _check_sum(files.onnx, files.entry.onnx_sha256 if files.entry else None)
    return files.onnx


def _check_sum(path: Path, published: str | None) -> None:
    """Before a bundled file is opened: it is what was published."""
    if not published:
        return
    try:
        found = file_sha256(path)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}; reinstall vidparse") from error
    if found != published:
        raise ModelError(
            f"{path}: is not the published file (sha256 {found[:12]}..., not "
            f"{published[:12]}...); reinstall vidparse, or fetch it with `vidparse models pull`"
        )


def _exported(files: ModelFiles) -> Path:
    """The ONNX form of weights that come without one, exported once and kept in the cache."""
    folder = cache_folder() / "onnx"
    try:
        if files.transformers is not None:
            from vidparse.inference.runners.transformers.runner import exported_checkpoint

            return exported_checkpoint(files.transformers, folder, name=files.name)
        from vidparse.export import export_onnx

        assert files.weights is not None  # a model has at least one form

        # Name the file by its weights, so that changed ones never meet an old graph.
        description = read_description(files.weights)
        path = folder / f"{description.sha256}.onnx"
        if not path.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            export_onnx(description, path, half_storage=False, overwrite=True)
        return path
    except OSError as error:
        raise OutputError(
            f"{folder}: the ONNX form of the model cannot be kept there ({error.strerror}); "
            "set VIDPARSE_CACHE to a folder or use --backend torch"
        ) from error


def cache_folder() -> Path:
    """The folder of derived files: $VIDPARSE_CACHE, else the user's cache folder."""
    if os.environ.get("VIDPARSE_CACHE"):
        return Path(os.environ["VIDPARSE_CACHE"])
    return user_cache() / "vidparse"
