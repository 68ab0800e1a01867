"""How far an exported model is from torch, over consecutive frames with their state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vidparse.models.description import StateTensor

if TYPE_CHECKING:
    from vidparse.models.network import VideoNetwork

PARITY_FRAMES = 20
PARITY_MEAN, PARITY_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class Parity:
    """How far the exported model is from torch on the same input, at feature resolution."""

    frames: int
    max_abs_difference: float  # of logits
    argmax_agreement: float  # share of positions with the same winning class


def check_parity(
    network: VideoNetwork, path: Path, clips: Sequence[np.ndarray] | None = None
) -> Parity:
    """Run torch and ONNX Runtime over the same frames, each with its own state.

    Args:
        clips: float32 (1, 3, H, W), consecutive frames of one size (any size where the network
            remembers nothing); rendered ones when None.
    """
    import torch

    clips = rendered_clips() if clips is None else clips
    state = network.first_state(torch.from_numpy(clips[0]))
    worst, same, total = 0.0, 0, 0
    replayed = replay(cpu_session(path), clips, network.state_tensors)
    for clip, (_, got) in zip(clips, replayed, strict=True):
        with torch.inference_mode():
            answer, state = network(torch.from_numpy(clip)[:, None], state)
        expected = answer.logits[:, 0].numpy()
        worst = max(worst, float(np.abs(expected - got).max()))
        same += int((expected.argmax(1) == got.argmax(1)).sum())
        total += expected[:, 0].size
    return Parity(len(clips), worst, same / total)


def cpu_session(model: Path | bytes) -> Any:
    """An ONNX Runtime session on the CPU, from a file or a serialised model."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    source = model if isinstance(model, bytes) else str(model)
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def replay(
    session: Any, clips: Sequence[np.ndarray], tensors: Sequence[StateTensor]
) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
    """What goes in at each frame of a video (clip and state), and the logits (1, K, h, w)."""
    names = [tensor.name for tensor in tensors]
    size_hw = (clips[0].shape[2], clips[0].shape[3])
    state = [np.zeros(tensor.full_shape(size_hw), np.float32) for tensor in tensors]
    outputs = ["logits", *(f"{name}_next" for name in names)]
    for clip in clips:
        feeds = {"clip": clip, **dict(zip(names, state, strict=True))}
        logits, *state = session.run(outputs, feeds)
        yield feeds, logits


def rendered_clips(
    frames: int = PARITY_FRAMES, size_hw: tuple[int, int] = (231, 333)
) -> list[np.ndarray]:
    """Consecutive frames of a rendered street as network input, float32 (1, 3, H, W)."""
    from vidparse.scenes import Scene, parse_scene

    height, width = size_hw
    scene = Scene(parse_scene(f"sample://street?size={width}x{height}&frames={frames}"))
    mean, std = np.array([PARITY_MEAN, PARITY_STD], np.float32)
    pictures = ((scene.picture(i) / np.float32(255) - mean) / std for i in range(frames))
    return [np.ascontiguousarray(picture.transpose(2, 0, 1)[None]) for picture in pictures]


def parity_record(parity: Parity) -> dict[str, Any]:
    """Plain values for --json."""
    return asdict(parity)
