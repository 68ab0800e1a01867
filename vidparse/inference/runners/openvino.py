"""Networks in OpenVINO, on the CPU: float32, bfloat16 where the CPU has it, or int8 files."""

from __future__ import annotations

import sys
from collections import OrderedDict
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Self

import numpy as np

from vidparse.errors import DeviceError, ModelError, UsageError
from vidparse.hub import ModelFiles
from vidparse.inference.answer import Scores, read_outputs, signature_problem
from vidparse.inference.clip_segments import PanopticAnswer
from vidparse.inference.devices import Device, cpu_count
from vidparse.inference.network_state import NetworkState
from vidparse.inference.runners.runner import Runner, engine_text, onnx_form, stored_precision
from vidparse.models.checkpoint import read_onnx_description
from vidparse.models.description import SEMANTIC
from vidparse.requests.model import ModelChoice

if TYPE_CHECKING:
    from collections.abc import Sequence

    import openvino

_SIZES_KEPT = 3  # compiled forms, one an input size; each holds the weights


class OpenVinoRunner(Runner):
    """OpenVINO reading the ONNX files of `vidparse export`.

    The network is compiled anew for each input size and number of frames. State and scores are
    arrays that OpenVINO writes to and reads from in place; nothing is copied between frames.

    Raises:
        UsageError: OpenVINO is not installed. ModelError: the file is damaged or not made by
        vidparse. DeviceError: a precision that is not there.
    """

    backend = "openvino"
    device = "cpu"

    def __init__(self, path: Path, *, precision: str, threads: int = 0) -> None:
        self._openvino = import_openvino()
        self.description = read_onnx_description(path)
        self._core = self._openvino.Core()
        self.precision = self._precision(path, precision)
        threads = threads or cpu_count()
        self.engine = engine_text("OpenVINO", Device("cpu"), self.precision, threads)
        self.window, self.remembers = self.description.window, bool(self.description.state)
        self.any_window = self.description.any_window
        # A clip of several frames is exported with its length.
        self.fixed_window = self.window > 1 and not self.any_window

        # Leave threads free to move: decoding, drawing and encoding run beside the network.
        self._settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_PRECISION_HINT": "bf16" if self.precision == "bf16" else "f32",
        }
        self._path = path
        self._requests: OrderedDict[tuple[int, ...], openvino.InferRequest] = OrderedDict()
        self._state: list[np.ndarray] = []

        # Read the file now: damage is known before the first frame, which takes what is read.
        self._unused: openvino.Model | None = self._read()

    @classmethod
    def load(cls, files: ModelFiles, choice: ModelChoice, device: Device) -> Self:
        import_openvino()  # fails before an export that may take a minute
        return cls(onnx_form(files), precision=choice.precision, threads=choice.threads)

    def answer(
        self, clip: np.ndarray, size_hw: tuple[int, int] | None = None
    ) -> Scores | PanopticAnswer:
        try:
            outputs = self._outputs(clip[0] if self.window == 1 or self.any_window else clip)
        except RuntimeError as error:  # OpenVINO has no class of its own for this
            if "alloc" in str(error).lower() or "out of memory" in str(error).lower():
                raise self.out_of_memory(clip.shape[-2:]) from error
            raise
        return read_outputs(outputs, (clip.shape[-2], clip.shape[-1]))

    def reset(self) -> None:
        self._state = []

    @property
    def state(self) -> NetworkState:
        # Copy nothing: the arrays of a state are written once, and the next has others.
        return NetworkState(tuple(self._state), ("",) * len(self._state))

    @state.setter
    def state(self, state: NetworkState) -> None:
        self._state = list(state.arrays)

    def _outputs(self, clip: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs that hold the answer; the state moves on unless it holds."""
        size_hw = (clip.shape[-2], clip.shape[-1])
        request = self._request(clip.shape)
        request.set_tensor("clip", self._shared(clip))
        tensors = self.description.state
        shapes = [tensor.full_shape(size_hw) for tensor in tensors]
        state = self._state or [np.zeros(shape, np.float32) for shape in shapes]

        # Write the next state elsewhere: the network still reads the last one meanwhile.
        after = [np.empty(shape, np.float32) for shape in shapes]
        for tensor, before, new in zip(tensors, state, after, strict=True):
            request.set_tensor(tensor.name, self._shared(before))
            request.set_tensor(f"{tensor.name}_next", self._shared(new))

        # Scores have a known shape and are written in place; how many masks there are is not known.
        if self.description.task == SEMANTIC:
            scores = np.empty(tuple(request.get_tensor("logits").shape), np.float32)
            request.set_tensor("logits", self._shared(scores))
            request.infer()
            outputs = {"logits": scores}
        else:
            request.infer()
            names = {name for output in request.model_outputs for name in output.names}
            names -= {f"{tensor.name}_next" for tensor in tensors}
            outputs = {name: np.array(request.get_tensor(name).data) for name in names}
        if not self.holds:
            self._state = after
        return outputs

    def _shared(self, array: np.ndarray) -> openvino.Tensor:
        """A tensor that is this very memory."""
        return self._openvino.Tensor(array, shared_memory=True)

    def _request(self, shape: tuple[int, ...]) -> openvino.InferRequest:
        """A compiled request for clips of one shape (..., 3, H, W); those used last are kept."""
        if shape not in self._requests:
            # Read the file again for another shape: `reshape` changes the model in place.
            model, self._unused = self._unused or self._read(), None
            shapes = {"clip": list(shape)}
            for tensor in self.description.state:
                shapes[tensor.name] = list(tensor.full_shape((shape[-2], shape[-1])))
            model.reshape(shapes)
            compiled = self._core.compile_model(model, "CPU", self._settings)
            self._requests[shape] = compiled.create_infer_request()
        self._requests.move_to_end(shape)
        while len(self._requests) > _SIZES_KEPT:
            self._requests.popitem(last=False)
        return self._requests[shape]

    def _read(self) -> openvino.Model:
        try:
            model = self._core.read_model(str(self._path))
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1][:200]
            raise ModelError(
                f"{self._path}: not a usable ONNX model ({reason}); fetch it again"
            ) from error

        # Refuse graphs of other programs before the first frame.
        inputs, outputs = (_names(ends) for ends in (model.inputs, model.outputs))
        if problem := signature_problem(self.description, inputs, outputs):
            raise ModelError(f"{self._path}: {problem}; export it with these names")
        return model

    def _precision(self, path: Path, wanted: str) -> str:
        stored = stored_precision(self.description)
        if wanted in ("auto", stored):
            return stored
        if wanted == "bf16" and stored == "fp32":
            if has_bf16():
                return "bf16"
            raise DeviceError("precision bf16: this CPU does not have it; use fp32")
        if stored == "int8":
            raise DeviceError(f"precision {wanted}: {path} computes in int8; use --precision auto")
        if wanted == "int8":
            raise DeviceError(f"precision int8: {path} computes in fp32; use --precision auto")
        raise DeviceError(
            f"precision {wanted}: OpenVINO computes in fp32, bf16 or int8; use one of these"
        )


def _names(ends: Sequence[openvino.Output]) -> list[tuple[str, ...]]:
    """All names of each input or output: an end that passes a tensor on has those of both."""
    return [tuple(one.get_names()) for one in ends]


def has_openvino() -> bool:
    """True if OpenVINO is installed, found without importing it."""
    return find_spec("openvino") is not None


def import_openvino() -> ModuleType:
    """The package, without its reports to its makers: files in the home folder, and the network.

    Raises:
        UsageError: it is not installed.
    """
    reports = "openvino_telemetry"
    is_ours = reports not in sys.modules
    if is_ours:
        sys.modules[reports] = None  # type: ignore[assignment]  # the package does without it

    try:
        import openvino
    except ImportError as error:
        raise UsageError(
            "backend openvino: not installed here; pip install 'vidparse[openvino]'"
        ) from error
    finally:
        if is_ours:
            del sys.modules[reports]

    package: ModuleType = openvino
    return package


def has_bf16() -> bool:
    """True if this CPU computes in bfloat16, as OpenVINO (which must be installed) sees it."""
    return "BF16" in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
