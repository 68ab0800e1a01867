"""Networks in ONNX Runtime, on the CPU or on CUDA."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np

from vidparse.errors import DeviceError, ModelError
from vidparse.hub import ModelFiles
from vidparse.inference.answer import Scores, read_outputs, signature_problem
from vidparse.inference.clip_segments import PanopticAnswer
from vidparse.inference.devices import Device, cpu_count
from vidparse.inference.network_state import NetworkState
from vidparse.inference.runners.ort_session import open_session
from vidparse.inference.runners.runner import Runner, engine_text, onnx_form, stored_precision
from vidparse.models.checkpoint import file_sha256, unreadable
from vidparse.models.description import describe
from vidparse.requests.model import ModelChoice


class OnnxRunner(Runner):
    """ONNX Runtime on CPU or CUDA.

    Raises:
        ModelError: the file is damaged or not made by vidparse.
        DeviceError: the session got another device or precision than the wanted one.
    """

    backend = "onnx"

    def __init__(self, path: Path, *, device: Device, precision: str, threads: int = 0) -> None:
        import onnxruntime as ort

        if precision not in ("auto", "fp32", "int8"):
            raise DeviceError(
                f"precision {precision}: the onnx backend computes in fp32 or int8; "
                "use --backend torch"
            )
        threads = threads or cpu_count()
        try:
            self._session = open_session(path, device, threads)
        except Exception as error:  # ONNX Runtime's exceptions share no base but this one
            reason = str(error).strip().splitlines()[-1]
            raise unreadable(path, reason, what="a usable ONNX model") from error

        # Read back where it runs: without CUDA it falls back to the CPU, and raises nothing.
        got = self._session.get_providers()[0]
        if device.kind == "cuda" and got != "CUDAExecutionProvider":
            raise DeviceError(
                f"device {device}: ONNX Runtime could not use CUDA here (it chose {got}); "
                "use --backend torch or --device cpu"
            )
        self.device = str(device)
        try:
            metadata = self._session.get_modelmeta().custom_metadata_map
        except UnicodeDecodeError as error:
            raise unreadable(
                path, "a text in it is no UTF-8", what="a usable ONNX model"
            ) from error
        self.description = describe(path, metadata, file_sha256(path))
        self.precision = stored_precision(self.description)
        if precision not in ("auto", self.precision):
            raise DeviceError(
                f"precision {precision}: {path} computes in {self.precision}; use --precision auto"
            )
        self.engine = engine_text("ONNX Runtime", device, self.precision, threads)
        self.window, self.remembers = self.description.window, bool(self.description.state)
        self.any_window = self.description.any_window
        # A clip of several frames is exported with its length.
        self.fixed_window = self.window > 1 and not self.any_window

        # Refuse graphs of other programs before the first frame.
        inputs = [one.name for one in self._session.get_inputs()]
        outputs = [output.name for output in self._session.get_outputs()]
        ends = ([(name,) for name in names] for names in (inputs, outputs))
        if problem := signature_problem(self.description, *ends):
            raise ModelError(f"{path}: {problem}; export it with these names")

        states = {f"{tensor.name}_next" for tensor in self.description.state}
        self._answers = [name for name in outputs if name not in states]
        self._place = (device.kind, device.index)
        self._state: list[ort.OrtValue] = []  # they stay on the device from frame to frame
        self._ort = ort

    @classmethod
    def load(cls, files: ModelFiles, choice: ModelChoice, device: Device) -> Self:
        return cls(
            onnx_form(files),
            device=device,
            precision=choice.precision,
            threads=choice.threads,
        )

    def answer(
        self, clip: np.ndarray, size_hw: tuple[int, int] | None = None
    ) -> Scores | PanopticAnswer:
        feed = clip[0] if self.window == 1 or self.any_window else clip
        try:
            outputs = self._with_state(feed) if self.remembers else self._plain(feed)
        except Exception as error:  # ONNX Runtime's exceptions share no base but this one
            if "alloc" in str(error).lower() or "out of memory" in str(error).lower():
                raise self.out_of_memory(clip.shape[-2:]) from error
            raise
        named = dict(zip(self._answers, outputs, strict=True))
        return read_outputs(named, (clip.shape[-2], clip.shape[-1]))

    def _plain(self, clip: np.ndarray) -> list[np.ndarray]:
        """The outputs that hold the answer."""
        outputs: list[np.ndarray] = self._session.run(self._answers, {"clip": clip})
        return outputs

    def _with_state(self, clip: np.ndarray) -> list[np.ndarray]:
        """As `_plain`; the state moves on unless it holds."""
        tensors = self.description.state
        if not self._state:
            self._state = [
                self._ort.OrtValue.ortvalue_from_numpy(
                    np.zeros(tensor.full_shape(clip.shape[-2:]), np.float32), *self._place
                )
                for tensor in tensors
            ]

        # Bind the answer to the CPU; the state stays where the network runs.
        binding = self._session.io_binding()
        binding.bind_cpu_input("clip", clip)
        for name in self._answers:
            binding.bind_output(name)
        for tensor, value in zip(tensors, self._state, strict=True):
            binding.bind_ortvalue_input(tensor.name, value)
            binding.bind_output(f"{tensor.name}_next", *self._place)
        self._session.run_with_iobinding(binding)
        outputs = binding.get_outputs()
        if not self.holds:
            self._state = outputs[len(self._answers) :]
        return [output.numpy() for output in outputs[: len(self._answers)]]

    def reset(self) -> None:
        self._state = []

    @property
    def state(self) -> NetworkState:
        arrays = tuple(one.numpy().copy() for one in self._state)
        return NetworkState(arrays, ("",) * len(arrays))

    @state.setter
    def state(self, state: NetworkState) -> None:
        made = self._ort.OrtValue.ortvalue_from_numpy
        self._state = [made(array, *self._place) for array in state.arrays]
