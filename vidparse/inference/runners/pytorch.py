"""Networks in PyTorch."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

import numpy as np

from vidparse.errors import DeviceError, UsageError
from vidparse.hub import ModelFiles
from vidparse.inference.answer import Answer, ClassIds, read_outputs
from vidparse.inference.devices import Device, cpu_count
from vidparse.inference.network_state import NetworkState
from vidparse.inference.runners.runner import Runner, engine_text, weights_form
from vidparse.models.checkpoint import load_network, read_description
from vidparse.models.description import SEMANTIC, Description
from vidparse.requests.model import PRECISIONS, ModelChoice

if TYPE_CHECKING:
    import torch

    from vidparse.models import network
    from vidparse.models.network import State, VideoNetwork

_CLASSES_AT_ONCE = 16
_MICRO_BATCH = 4  # frames that a GPU takes at once


class TorchRunner(Runner):
    """PyTorch, with autocast for the half precisions.

    Args:
        network: one that is in memory already, in eval mode; None: the description's file is read.

    Raises:
        ModelError: the weights do not fit. DeviceError: the device or precision is not there.
    """

    backend = "torch"
    channels_last = True  # the layout that vidparse's own networks are quickest in

    def __init__(
        self,
        description: Description,
        *,
        device: Device,
        precision: str,
        threads: int = 0,
        network: VideoNetwork | None = None,
    ) -> None:
        import torch

        self.description = description
        self._device = torch_device(device)
        self.device = str(device)
        self.precision = torch_precision(precision, device)
        threads = threads or cpu_count()
        self.engine = engine_text("PyTorch", device, self.precision, threads)
        if device.kind == "cpu":
            torch.set_num_threads(threads)
        if network is None:
            network = load_network(description)
        self._network = self._placed(network)
        self._autocast = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.precision)
        self.window, self.remembers = network.window, bool(network.state_tensors)
        self.any_window = network.any_window
        self.argmax_on_device = device.kind == "cuda"  # on the CPU there is a faster way
        if self.argmax_on_device and network.is_per_frame and network.task == SEMANTIC:
            self.batch = _MICRO_BATCH
        self._locked: torch.Tensor | None = None
        self._state: State | None = None

    @classmethod
    def load(cls, files: ModelFiles, choice: ModelChoice, device: Device) -> Self:
        return cls(
            read_description(weights_form(files, choice)),
            device=device,
            precision=choice.precision,
            threads=choice.threads,
        )

    def answer(self, clip: np.ndarray, size_hw: tuple[int, int] | None = None) -> Answer:
        from vidparse.models import network

        with self.guarded(clip.shape[-2:]):
            answer = self._run(clip[0])
            if not (size_hw and self.argmax_on_device and isinstance(answer, network.Scores)):
                arrays = {name: _as_numpy(one) for name, one in answer.outputs().items()}
                return read_outputs(arrays, (clip.shape[-2], clip.shape[-1]))

            # Choose classes on the GPU: ids are a fraction of the scores that would be copied.
            logits = answer.logits.flatten(0, 1)  # (T, K, h, w)
            if not bool(logits.isfinite().all()):  # class ids could not show it
                raise self.not_finite()
            return ClassIds(upsampled_argmax(logits, size_hw).cpu().numpy())

    @property
    def module(self) -> VideoNetwork:
        """The network on its device, in eval mode."""
        return self._network

    @property
    def place(self) -> torch.device:
        """Its device, as torch has it."""
        return self._device

    def _run(self, frames: np.ndarray) -> network.Answer:
        """The answer on the device to frames (T, 3, H, W); the state moves on unless it holds."""
        tensor = self._to_device(frames)
        # To a network that goes frame by frame several frames are a batch, not a clip.
        clips = tensor[:, None] if self.window == 1 else tensor[None]
        if self._state is None:
            self._state = self._network.first_state(clips)
        with self._autocasting():
            answer: network.Answer
            answer, after = self._network(clips, self._state)
        if not self.holds:
            self._state = after
        return answer

    def published_supports(self, frame: int, frames: int) -> tuple[int, ...]:
        """See :meth:`VideoNetwork.published_supports`."""
        return self._network.published_supports(frame, frames)

    def run_published(self, clip: np.ndarray) -> np.ndarray:
        """Scores (K, h, w) by the published test code, for networks with a published form.

        clip: float32 (1, N + 1, 3, H, W), supports and then the target. Not to be mixed with
        `answer` within a video.
        """
        with self.guarded(clip.shape[-2:]):
            frames = self._to_device(clip[0])[None]
            with self._autocasting():
                outputs, self._state = self._network.forward_published(frames, self._state or ())
            return outputs.logits[0].float().contiguous().cpu().numpy()

    def _autocasting(self) -> torch.autocast:
        import torch

        return torch.autocast(self._device.type, self._autocast, enabled=self._autocast is not None)

    def _to_device(self, clip: np.ndarray) -> torch.Tensor:
        """A copy on the device, in the layout; to a GPU by way of page-locked memory."""
        import torch

        tensor = torch.from_numpy(clip)
        if self._device.type == "cuda":
            if self._locked is None or self._locked.shape != tensor.shape:
                self._locked = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            tensor = self._locked.copy_(tensor)
        tensor = tensor.to(self._device, non_blocking=True)
        return tensor.contiguous(memory_format=self._layout)

    def _placed(self, network: VideoNetwork) -> VideoNetwork:
        """On the device, in the layout."""
        network.to(self._device, memory_format=self._layout)  # type: ignore[call-overload]
        return network

    @property
    def _layout(self) -> torch.memory_format:
        import torch

        return torch.channels_last if self.channels_last else torch.contiguous_format

    @contextmanager
    def guarded(self, input_hw: tuple[int, int]) -> Iterator[None]:
        """Inference mode, in which running out of memory is an error of one line.

        input_hw: size of the network's input, for the message.
        """
        import torch

        with torch.inference_mode():
            try:
                yield
            except RuntimeError as error:  # on the CPU there is no class of its own for this
                if isinstance(error, torch.OutOfMemoryError) or "allocate" in str(error):
                    raise self.out_of_memory(input_hw) from error
                raise

    def reset(self) -> None:
        self._state = None

    @property
    def state(self) -> NetworkState:
        return state_of(self._state or ())

    @state.setter
    def state(self, state: NetworkState) -> None:
        self._state = tensors_of(state, self._device) or None


def state_of(tensors: State) -> NetworkState:
    """The tensors on the host, in memory of their own and in their layout."""
    import torch

    kinds = tuple("bfloat16" if one.dtype == torch.bfloat16 else "" for one in tensors)
    shown = (
        one.float() if kind else one for one, kind in zip(tensors, kinds, strict=True)
    )  # numpy has no bfloat16, and float32 holds it exactly
    arrays = tuple(one.detach().cpu().numpy().copy(order="K") for one in shown)
    return NetworkState(arrays, kinds)


def tensors_of(state: NetworkState, device: torch.device) -> State:
    """The tensors that :func:`state_of` was given, on a device."""
    import torch

    pairs = zip(state.arrays, state.kinds, strict=True)
    return tuple(
        torch.from_numpy(array).to(device, torch.bfloat16 if kind else None)
        for array, kind in pairs
    )


def _as_numpy(tensor: torch.Tensor) -> np.ndarray:
    """A contiguous array off the device; float32 where it is a float."""
    wanted = tensor.float() if tensor.is_floating_point() else tensor
    array: np.ndarray = wanted.detach().contiguous().cpu().numpy()
    return array


def upsampled_argmax(logits: torch.Tensor, size_hw: tuple[int, int]) -> torch.Tensor:
    """Class ids (N, h, w) of logits (N, K, h', w') brought to `size_hw` bilinearly.

    A few classes at a time, so that K pictures of full size are never held.
    """
    import torch
    import torch.nn.functional as F

    best: torch.Tensor | None = None
    winner: torch.Tensor | None = None
    for first in range(0, logits.shape[1], _CLASSES_AT_ONCE):
        part = logits[:, first : first + _CLASSES_AT_ONCE].float()
        full = F.interpolate(part, size_hw, mode="bilinear", align_corners=False)
        value, index = full.max(dim=1)  # (N, h, w)
        if best is None or winner is None:
            best, winner = value, index
        else:
            above = value > best  # a tie stays with the lower id
            winner = torch.where(above, index + first, winner)
            best = torch.where(above, value, best)
    assert winner is not None  # a network has classes
    return winner.to(torch.uint8 if logits.shape[1] <= 255 else torch.uint16)


def torch_device(device: Device) -> torch.device:
    import torch

    if device.kind == "cuda":
        # Silence torch's warning of a missing driver, since the error below has it.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            usable = torch.cuda.is_available()
        if not usable or device.index >= torch.cuda.device_count():
            raise DeviceError(
                f"device {device}: this PyTorch ({torch.__version__}) cannot use it; "
                "install a CUDA build or use --device cpu"
            )
        return torch.device("cuda", device.index)
    return torch.device("cpu")


def torch_precision(wanted: str, device: Device) -> str:
    if wanted not in PRECISIONS:
        raise UsageError(f"precision '{wanted}': unknown; use {', '.join(PRECISIONS)}")
    if wanted == "fp16" and device.kind == "cpu":
        raise DeviceError("precision fp16: needs a GPU; use fp32 or bf16 on the CPU")
    if wanted == "int8":
        raise DeviceError("precision int8: PyTorch does not compute in it; use --backend onnx")
    if wanted == "auto":
        return "fp16" if device.kind == "cuda" else "fp32"
    return wanted
