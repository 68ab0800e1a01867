"""Sessions of ONNX Runtime: how it reads a file and takes the CPUs, also ahead of its use.

A session takes a tenth of a second to open, in native code. A start that knows its file early
opens it in a thread, and loads what else it needs meanwhile.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from vidparse.inference.devices import Device, cpu_count

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

log = logging.getLogger(__name__)

_Key = tuple[str, Device, int]


class _Opening(threading.Thread):
    """A session that is being opened."""

    def __init__(self, path: Path, device: Device, threads: int) -> None:
        # Name it as stages are named, and make it a daemon: a process may end before it.
        super().__init__(name="vidparse-open", daemon=True)
        self._wanted = path, device, threads
        self.session: InferenceSession | None = None

    def run(self) -> None:
        try:
            self.session = _opened(*self._wanted)
        except Exception as error:  # whoever takes it opens it again, and reports why
            log.debug("%s: not opened ahead", self._wanted[0], exc_info=error)


_begun: dict[_Key, _Opening] = {}


def begin_session(path: Path, device: Device, threads: int = 0) -> None:
    """Open a session in a thread, for the next `open_session` of the same."""
    import onnxruntime  # noqa: F401  (here, so that no thread holds a lock on imports)

    wanted = path, device, threads or cpu_count()
    _begun[_key(*wanted)] = opening = _Opening(*wanted)
    opening.start()


def open_session(path: Path, device: Device, threads: int) -> InferenceSession:
    """A session on the device, or on the CPU where ONNX Runtime cannot use it.

    Raises: errors of ONNX Runtime, which share no base but Exception.
    """
    opening = _begun.pop(_key(path, device, threads), None)
    if opening is not None:
        opening.join()
        if opening.session is not None:
            return opening.session
    return _opened(path, device, threads)


def _key(path: Path, device: Device, threads: int) -> _Key:
    return str(path), device, threads


def _opened(path: Path, device: Device, threads: int) -> InferenceSession:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    # Spinning threads would steal the cores from decoding, drawing and encoding.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")

    # Silence its log: errors are raised, and users see them in one line.
    options.log_severity_level = 4
    providers: list[str | tuple[str, dict[str, int]]] = ["CPUExecutionProvider"]
    if device.kind == "cuda":
        _preload_cuda_libraries()
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": device.index}))
    return ort.InferenceSession(str(path), options, providers=providers)


def _preload_cuda_libraries() -> None:
    """Let ONNX Runtime find the CUDA libraries that PyTorch's wheels bring."""
    import onnxruntime as ort

    try:
        import torch  # noqa: F401  (loads the libraries)

        ort.preload_dlls()
    except (ImportError, AttributeError, OSError) as error:
        log.info("CUDA libraries were not preloaded: %s", error)
