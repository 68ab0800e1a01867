"""The network itself, in torch or in ONNX Runtime: normalised clip in, low-resolution scores out.

A runner owns what the network remembers of one video; nothing above it knows which framework runs.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from vidparse.errors import DeviceError, ModelError, UsageError
from vidparse.inference.devices import Device, cpu_count
from vidparse.models.checkpoint import Description, describe, file_sha256

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)
PRECISIONS = ("auto", "fp32", "bf16", "fp16")


class Runner(Protocol):
    """One network on one device for one video at a time."""

    description: Description
    backend: str  # "torch" or "onnx"
    device: str  # where it really runs, read back from the framework
    precision: str  # what it really computes in
    remembers: bool  # whether the network's answer depends on the frames before

    def run(self, clip: np.ndarray) -> np.ndarray:
        """float32 (1, 3, H, W) -> float32 scores (K, h, w)."""
        ...

    def reset(self) -> None:
        """Forget the video so far."""
        ...


class OnnxRunner:
    """ONNX Runtime on CPU or CUDA.

    Raises:
        ModelError: the file is damaged or not made by vidparse.
        DeviceError: the device or precision asked for is not what the session got.
    """

    backend = "onnx"

    def __init__(self, path: Path, *, device: Device, precision: str, threads: int = 0) -> None:
        import onnxruntime as ort

        if precision not in ("auto", "fp32"):
            raise DeviceError(
                f"precision {precision}: the onnx backend computes in fp32; use --backend torch"
            )
        self.precision = "fp32"
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or cpu_count()
        # Spinning threads would steal the cores from decoding, drawing and encoding.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4
        providers: list[Any] = ["CPUExecutionProvider"]
        if device.kind == "cuda":
            _preload_cuda_libraries()
            providers.insert(0, ("CUDAExecutionProvider", {"device_id": device.index}))
        try:
            self._session = ort.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # ONNX Runtime's exceptions share no base but this one
            reason = str(error).strip().splitlines()[-1][:200]
            raise ModelError(f"{path}: not a usable ONNX model ({reason}); fetch it again") from (
                error
            )
        got = self._session.get_providers()[0]
        if device.kind == "cuda" and got != "CUDAExecutionProvider":
            raise DeviceError(
                f"device {device}: ONNX Runtime could not use CUDA here (it chose {got}); "
                "use --backend torch or --device cpu"
            )
        self.device = str(device)
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.description = describe(path, metadata, file_sha256(path))
        self.remembers = bool(self.description.state)
        self._place = (device.kind, device.index)
        self._state: list[Any] = []  # OrtValues; they stay on the device from frame to frame
        self._ort = ort

    def run(self, clip: np.ndarray) -> np.ndarray:
        try:
            return self._run(clip)
        except Exception as error:  # ONNX Runtime's exceptions share no base but this one
            if "alloc" in str(error).lower() or "out of memory" in str(error).lower():
                raise _out_of_memory(self.device, clip) from error
            raise

    def _run(self, clip: np.ndarray) -> np.ndarray:
        if not self.remembers:
            (scores,) = self._session.run(["logits"], {"clip": clip})
            return scores[0]
        tensors = self.description.state
        if not self._state:
            self._state = [
                self._ort.OrtValue.ortvalue_from_numpy(
                    np.zeros(tensor.full_shape(clip.shape[2:]), np.float32), *self._place
                )
                for tensor in tensors
            ]
        binding = self._session.io_binding()
        binding.bind_cpu_input("clip", clip)
        binding.bind_output("logits")
        for tensor, value in zip(tensors, self._state, strict=True):
            binding.bind_ortvalue_input(tensor.name, value)
            binding.bind_output(f"{tensor.name}_next", *self._place)
        self._session.run_with_iobinding(binding)
        scores, *self._state = binding.get_outputs()
        return scores.numpy()[0]

    def reset(self) -> None:
        self._state = []


class TorchRunner:
    """PyTorch in channels-last layout, with autocast for the half precisions.

    Raises:
        ModelError: the weights do not fit. DeviceError: the device or precision is not there.
    """

    backend = "torch"

    def __init__(
        self, description: Description, *, device: Device, precision: str, threads: int = 0
    ) -> None:
        import torch

        from vidparse.models.checkpoint import load_network

        self.description = description
        self._torch = torch
        self._device = _torch_device(device)
        self.device = str(device)
        self.precision = _torch_precision(precision, device)
        if device.kind == "cpu":
            torch.set_num_threads(threads or cpu_count())
        network: Any = load_network(description)  # torch's stubs miss memory_format
        self._network = network.to(self._device, memory_format=torch.channels_last)
        self._autocast = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.precision)
        self.remembers = bool(network.state_tensors)
        self._state: tuple[torch.Tensor, ...] | None = None

    def run(self, clip: np.ndarray) -> np.ndarray:
        torch = self._torch
        with torch.inference_mode():
            try:
                tensor = torch.from_numpy(clip).to(self._device, non_blocking=True)
                tensor = tensor.contiguous(memory_format=torch.channels_last)
                if self._state is None:
                    size_hw = (clip.shape[2], clip.shape[3])
                    self._state = self._network.init_state(size_hw, self._device, tensor.dtype)
                with torch.autocast(
                    self._device.type, self._autocast, enabled=self._autocast is not None
                ):
                    outputs, self._state = self._network(tensor, self._state)
                return outputs.logits[0].float().contiguous().cpu().numpy()
            except RuntimeError as error:  # on the CPU there is no class of its own for this
                if isinstance(error, torch.OutOfMemoryError) or "allocate" in str(error):
                    raise _out_of_memory(self.device, clip) from error
                raise

    def reset(self) -> None:
        self._state = None


def _out_of_memory(device: str, clip: np.ndarray) -> DeviceError:
    height, width = clip.shape[2:]
    return DeviceError(
        f"device {device}: out of memory at {width}x{height}; lower --size"
        + (" or use --device cpu" if device != "cpu" else "")
    )


def _torch_device(device: Device) -> torch.device:
    import torch

    if device.kind == "cuda":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            usable = torch.cuda.is_available()
        if not usable or device.index >= torch.cuda.device_count():
            raise DeviceError(
                f"device {device}: this PyTorch ({torch.__version__}) can not use it; "
                "install a CUDA build or use --device cpu"
            )
        return torch.device("cuda", device.index)
    return torch.device("cpu")


def _torch_precision(wanted: str, device: Device) -> str:
    if wanted not in PRECISIONS:
        raise UsageError(f"precision '{wanted}': unknown; use {', '.join(PRECISIONS)}")
    if wanted == "fp16" and device.kind == "cpu":
        raise DeviceError("precision fp16: needs a GPU; use fp32 or bf16 on the CPU")
    if wanted == "auto":
        return "fp16" if device.kind == "cuda" else "fp32"
    return wanted


def _preload_cuda_libraries() -> None:
    """Let ONNX Runtime find the CUDA libraries that PyTorch's wheels bring."""
    import onnxruntime as ort

    try:
        import torch  # noqa: F401  (loads the libraries)

        ort.preload_dlls()
    except (ImportError, AttributeError, OSError) as error:
        log.info("CUDA libraries were not preloaded: %s", error)
