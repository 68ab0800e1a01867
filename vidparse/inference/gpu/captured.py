"""A network with both its ends as one CUDA graph: a launch in place of hundreds."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from vidparse.inference.gpu.kernels import argmax_at
from vidparse.inference.network_state import NetworkState
from vidparse.inference.runners.pytorch import state_of, tensors_of
from vidparse.models.network import Scores, VideoNetwork

_WARM_UPS = 3  # runs before a capture, in which libraries choose their kernels


class CapturedNetwork:
    """Class ids of frames of one size; the memory of a network stays on the device.

    On a CPU it runs without a graph, for tests.

    Attributes:
        input: (N, 3, h, w), normalised RGB, to be filled before :meth:`run`.
        ids: unsigned (N, H, W), the classes with the greatest scores after it.
        is_finite: bool (), False where a score was NaN or infinite.

    Args:
        network: see :func:`in_precision`.
        batch: N; 1 for networks with a memory.
        input_hw, size_hw: of the network's input and of the frames.
    """

    def __init__(
        self,
        network: VideoNetwork,
        *,
        batch: int,
        input_hw: tuple[int, int],
        size_hw: tuple[int, int],
        classes: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self._network, self._dtype = network, dtype
        self.input = torch.zeros(batch, 3, *input_hw, device=device, dtype=dtype).contiguous(
            memory_format=torch.channels_last
        )
        kind = torch.uint8 if classes <= 255 else torch.uint16
        self.ids = torch.zeros(batch, *size_hw, device=device, dtype=kind)
        self.is_finite = torch.ones((), device=device, dtype=torch.bool)

        # Keep the memory in float32: half precision cannot count frames beyond 2048.
        like = torch.zeros(batch, 1, 3, *input_hw, device=device)
        self._state = tuple(one.clone() for one in network.first_state(like))
        self._first_state = tuple(one.clone() for one in self._state)
        self.run: Callable[[], None] = self._step
        if device.type == "cuda":
            self._capture()

    def reset(self) -> None:
        """Forget the video so far."""
        for mine, first in zip(self._state, self._first_state, strict=True):
            mine.copy_(first)

    @property
    def state(self) -> NetworkState:
        """All that it remembers, a copy to be kept and set again."""
        return state_of(self._state)

    @state.setter
    def state(self, state: NetworkState) -> None:
        for mine, kept in zip(self._state, tensors_of(state, self.input.device), strict=True):
            mine.copy_(kept)

    def run_held(self) -> None:
        """As `run`, with the memory as it was."""
        before = [mine.clone() for mine in self._state]
        self.run()

        # Put it back after the graph, which moves it on in place.
        for mine, kept in zip(self._state, before, strict=True):
            mine.copy_(kept)

    def _step(self) -> None:
        half = self._dtype != torch.float32
        place = self.input.device.type
        with torch.inference_mode(), torch.autocast(
            place, self._dtype, enabled=half, cache_enabled=False
        ):  # fmt: skip
            answer, state = self._network(self.input[:, None], self._state)
            assert isinstance(answer, Scores)
            logits = answer.logits.flatten(0, 1)  # (N, K, h, w)
            argmax_at(logits, self.ids)
            self.is_finite.copy_(logits.isfinite().all())
            for mine, new in zip(self._state, state, strict=True):
                mine.copy_(new)

    def _capture(self) -> None:
        stream = torch.cuda.Stream(self.input.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(self.input.device))
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                self._step()
        stream.synchronize()

        # Forbid this thread alone what a graph cannot hold: others decode meanwhile.
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            self._step()
        self.reset()
        torch.cuda.synchronize(self.input.device)  # before other streams touch its memory
        self.run = graph.replay


def in_precision(network: VideoNetwork, dtype: torch.dtype) -> VideoNetwork:
    """A copy in eval mode with weights of that type and norms folded into convolutions."""
    mine = copy.deepcopy(network).eval()
    for block in mine.modules():
        if isinstance(block, nn.Sequential):
            _fold_norms(block)
    return mine.to(dtype)


def _fold_norms(block: nn.Sequential) -> None:
    """Let each convolution do the batch norm that follows it, in float32."""
    names = list(block._modules)
    for name, after in pairwise(names):
        convolution, norm = block._modules[name], block._modules[after]
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            block._modules[name] = fuse_conv_bn_eval(convolution, norm)
            block._modules[after] = nn.Identity()
