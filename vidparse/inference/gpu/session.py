"""Segmentation where the pictures are: the stages of a session for a CUDA device.

    prepared: samples to network input. answered: batches through a captured network, class ids on
    their way to the host. finished: ids that have arrived.

Each stage works on a stream of its own, so that the copies of one batch overlap with the network of
the next. Only ids, one byte per pixel, leave the device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import chain
from typing import Unpack

import numpy as np
import torch
from torch import Tensor

from vidparse.frame import Frame
from vidparse.image import Nv12, Rgb, Yuv420
from vidparse.inference.answer import ClassIds
from vidparse.inference.clips import Answered, clips_of, closed
from vidparse.inference.cuts import THUMBNAIL_HW, CutDetector
from vidparse.inference.finishing import FramePredictions
from vidparse.inference.gpu.captured import CapturedNetwork, in_precision
from vidparse.inference.gpu.kernels import InputMaker, Taps
from vidparse.inference.keyframes import KeyFrameReport
from vidparse.inference.looks import Look
from vidparse.inference.memory import Answering, Finishing
from vidparse.inference.memory_clock import MemoryClock
from vidparse.inference.preprocess import to_clip
from vidparse.inference.runners.pytorch import TorchRunner
from vidparse.inference.runners.runner import Runner
from vidparse.inference.session import Session, SessionOptions
from vidparse.labels import Labels
from vidparse.requests.option import DEFAULT_CUT

BATCH = 8  # frames that a network without a memory takes at once
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class GpuPrepared:
    """A frame with its network input, float (3, h, w) on the device, once `ready` has happened."""

    frame: Frame
    input: Tensor
    ready: torch.cuda.Event | None
    begins_shot: bool = False

    @property
    def sizes(self) -> tuple[object, ...]:
        """Equal for frames that fit in one clip."""
        return tuple(self.input.shape), self.frame.image.size_hw


@dataclass(frozen=True, slots=True)
class GpuAnswered:
    """Frames of one size whose class ids are on the host, once `arrived` has happened.

    ids: unsigned (T, H, W). is_finite: bool (), False where scores meant nothing.
    """

    frames: tuple[Frame, ...]
    ids: Tensor
    is_finite: Tensor
    arrived: torch.cuda.Event | None
    begins_shot: bool
    memory: Answering | None = None  # as in Answered


class GpuSession:
    """A semantic network on a CUDA device; see :class:`vidparse.inference.Session`.

    The frames' pictures may be on the device (:class:`~vidparse.image.Nv12`) or on the host. On a
    CPU device everything runs in turn, for tests.

    Args: those of the session, within the limits of `gpu_of`.
    """

    repeated = 0  # a comparison would take longer than the network
    key_frames: KeyFrameReport | None = None
    looks: Sequence[Look] = ()  # only class ids leave the device

    def __init__(
        self,
        runner: Runner,
        **options: Unpack[SessionOptions],
    ) -> None:
        assert isinstance(runner, TorchRunner)  # see `gpu_of`
        self._session = Session(runner, **options)
        self.labels: Labels = runner.labels
        self._runner, self._device = runner, runner.place
        self._cut = options.get("cut", DEFAULT_CUT) if runner.remembers else None
        self._dtype = _DTYPES[runner.precision]
        self._network = in_precision(runner.module, self._dtype)
        self._makers: dict[tuple[object, ...], InputMaker] = {}
        self._thumbnails: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    def captured(
        self, input_hw: tuple[int, int], size_hw: tuple[int, int], batch: int
    ) -> CapturedNetwork:
        """The network for batches of frames of one size, ready to run."""
        return CapturedNetwork(
            self._network,
            batch=batch,
            input_hw=input_hw,
            size_hw=size_hw,
            classes=len(self.labels),
            device=self._device,
            dtype=self._dtype,
        )

    def prepared(
        self, frames: Iterable[Frame], *, after: Frame | None = None
    ) -> Iterator[GpuPrepared]:
        """First stage: frames as network inputs, with the cuts between shots."""
        cuts = CutDetector(self._cut) if self._cut is not None else None
        stream = self._stream()
        with closed(frames) as source:
            for frame in source if after is None else chain([after], source):
                # Set the stream for each frame: the consumer may use others in between.
                with self._on(stream), torch.inference_mode():
                    made = self._input(frame)
                    green = None if cuts is None else self._thumbnail(made)
                    ready = self._event(stream)
                begins_shot = green is not None and cuts is not None and cuts.is_cut(green)
                begins_shot = begins_shot or frame.follows_gap
                if frame is not after:
                    yield GpuPrepared(frame, made, ready, begins_shot)

    def answered(
        self,
        prepared: Iterable[GpuPrepared],
        *,
        live: bool,
        number: int = 0,
        memory: Answering | None = None,
        is_due: Callable[[], bool] = lambda: False,
    ) -> Iterator[GpuAnswered]:
        """Second stage: batches of frames through the network, one by one where some wait."""
        batch = 1 if live or self._runner.remembers else BATCH
        stream, copies = self._stream(), self._stream()
        network: CapturedNetwork | None = None
        sizes: tuple[object, ...] = ()
        clock = MemoryClock(self._runner.description.memory_interval_s)

        for clip in clips_of(prepared, batch, aligned=False, number=0):
            input_hw = clip[0].input.shape[1], clip[0].input.shape[2]
            size_hw, time_s = clip[0].frame.image.size_hw, clip[0].frame.known_time_s
            with self._on(stream), self._runner.guarded(input_hw):
                begins = True
                if network is None or clip[0].sizes != sizes:
                    sizes = clip[0].sizes
                    network = self.captured(input_hw, size_hw, batch)
                    goes_on = memory is not None and memory.shape == (*input_hw, *size_hw)
                    if memory is not None and goes_on and not clip[0].begins_shot:
                        network.state, clock.state = memory.network, memory.clock
                        begins = clock.forgets(time_s)
                        if begins:
                            network.reset()
                    memory = None
                elif clip[0].begins_shot or clock.forgets(time_s):
                    network.reset()
                else:
                    begins = False
                for place, one in enumerate(clip):
                    self._wait(stream, one.ready)
                    network.input[place].copy_(one.input)
                    self._keep_for(one.input, stream)
                if clock.moves(time_s, begins=begins):
                    network.run()
                else:
                    network.run_held()

                # Copy at once: the next batch overwrites what the graph has filled.
                ids, is_finite = network.ids[: len(clip)].clone(), network.is_finite.clone()
                computed = self._event(stream)
                kept = None
                if is_due():
                    kept = Answering(network.state, (*input_hw, *size_hw), clock=clock.state)
            with self._on(copies):
                self._wait(copies, computed)
                host = self._to_host(ids), self._to_host(is_finite)
                self._keep_for(ids, copies)
                self._keep_for(is_finite, copies)
                arrived = self._event(copies)
            frames = tuple(one.frame for one in clip)
            yield GpuAnswered(frames, *host, arrived, clip[0].begins_shot, kept)

    def finished(
        self, answered: Iterable[GpuAnswered], *, memory: Finishing | None = None
    ) -> FramePredictions:
        """Third stage: predictions, as their ids arrive."""
        return self._session.finished(self._arrived(answered), memory=memory)

    @property
    def finishing(self) -> Finishing:
        """The memory of the third stage."""
        return self._session.finishing

    def _arrived(self, answered: Iterable[GpuAnswered]) -> Iterator[Answered]:
        with closed(answered) as source:
            for one in source:
                if one.arrived is not None:
                    one.arrived.synchronize()
                if not bool(one.is_finite):  # class ids could not show it
                    raise self._runner.not_finite()
                greens = (None,) * len(one.frames)
                yield Answered(one.frames, ClassIds(one.ids.numpy()), one.begins_shot, greens)

    def _input(self, frame: Frame) -> Tensor:
        """The network's input (3, h, w) for a frame, on the device."""
        image = frame.image
        input_hw = self._session.input_size(image.size_hw)
        if isinstance(image, Rgb):
            clip = to_clip(image, input_hw, self._runner.description.preprocess)
            return self._upload(clip[0]).to(self._dtype)

        made = torch.empty(3, *input_hw, device=self._device, dtype=self._dtype)
        if isinstance(image, Nv12):
            self._maker(image, input_hw)(image.y, image.uv[..., 0], image.uv[..., 1], made)
        else:
            y, u, v = map(self._upload, image.planes)
            self._maker(image, input_hw)(y, u, v, made)
        return made

    def _maker(self, image: Nv12 | Yuv420, input_hw: tuple[int, int]) -> InputMaker:
        key = (image.size_hw, input_hw, image.matrix, image.full_range)
        maker = self._makers.get(key)
        if maker is None:
            self._makers.clear()  # one video is of one size
            maker = self._makers[key] = InputMaker(
                image.size_hw,
                input_hw,
                self._runner.description.preprocess,
                matrix=image.matrix,
                full_range=image.full_range,
                device=self._device,
            )
        return maker

    def _thumbnail(self, made: Tensor) -> np.ndarray:
        """The small picture in green that cuts are seen in, float32 with values 0..1."""
        size_hw = (made.shape[1], made.shape[2])
        if size_hw not in self._thumbnails:
            rows, columns = (
                _averages(length, wanted).to(self._device)
                for length, wanted in zip(size_hw, THUMBNAIL_HW, strict=True)
            )
            self._thumbnails[size_hw] = rows, columns
        rows, columns = self._thumbnails[size_hw]
        small = rows @ made[1].float() @ columns.T

        # Undo the normalisation, which a mean lets through.
        facts = self._runner.description.preprocess
        green: np.ndarray = (small * facts.std[1] + facts.mean[1]).cpu().numpy()
        return green

    @property
    def _is_cuda(self) -> bool:
        return self._device.type == "cuda"

    def _stream(self) -> torch.cuda.Stream | None:
        return torch.cuda.Stream(self._device) if self._is_cuda else None  # type: ignore[no-untyped-call]

    def _on(self, stream: torch.cuda.Stream | None) -> AbstractContextManager[object]:
        """Work that goes to a stream of the device, from whatever thread."""
        return nullcontext() if stream is None else torch.cuda.stream(stream)

    def _event(self, stream: torch.cuda.Stream | None) -> torch.cuda.Event | None:
        """It happens when the stream has done all that it was given so far."""
        if stream is None:
            return None
        # Block instead of spinning: whoever waits for it leaves the CPU to others.
        event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        event.record(stream)
        return event

    @staticmethod
    def _wait(stream: torch.cuda.Stream | None, event: torch.cuda.Event | None) -> None:
        if stream is not None and event is not None:
            stream.wait_event(event)

    @staticmethod
    def _keep_for(tensor: Tensor, stream: torch.cuda.Stream | None) -> None:
        """Leave memory alone until another stream than its own has done with it."""
        if stream is not None:
            tensor.record_stream(stream)

    def _upload(self, array: np.ndarray) -> Tensor:
        """A copy of uint8 or float32 on the device, of lines that a decoder may have padded."""
        kind = torch.uint8 if array.dtype == np.uint8 else torch.float32
        host = torch.empty(array.shape, dtype=kind, pin_memory=self._is_cuda)
        np.copyto(host.numpy(), array)
        return host.to(self._device, non_blocking=True)

    def _to_host(self, tensor: Tensor) -> Tensor:
        """A copy in page-locked memory, there when the stream has come so far."""
        if not self._is_cuda:
            return tensor
        host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        return host.copy_(tensor, non_blocking=True)


def _averages(length: int, wanted: int) -> Tensor:
    """Matrix (wanted, length) that shrinks an axis by averages of what each place covers."""
    taps = Taps.of_axis(length, wanted, linear=False)
    matrix = np.zeros((wanted, length), np.float32)
    np.add.at(matrix, (np.arange(wanted)[:, None], taps.index), taps.weight)
    return torch.from_numpy(matrix)
