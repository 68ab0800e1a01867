"""The distance of an exported model from torch, over consecutive frames with their state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vidparse.errors import ModelError
from vidparse.models.description import StateTensor

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from torch import Tensor

    from vidparse.models.network import VideoNetwork


PARITY_FRAMES = 20
PARITY_HW = (231, 333)  # multiples of no stride
PARITY_MEAN, PARITY_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LOGITS = "logits"  # the output of a semantic network
CLASSES = "classes"  # of one whose pixels point to centres
MASK_OUTPUTS = ("masks", "scores", "class_ids", "keys")  # of a panoptic one; keys may be missing
_LEAST_PROBABILITY = 0.5  # of a pixel in a mask, times the mask's score
FEATURES = "features"  # an output that only kernel maps have
_LEVELS = range(3, 8)
_LEAST_LOGIT = -1.4  # a probability of 0.2, below which no object is shown
_LEAST_SHARE = 0.01  # of a clip, for a class of stuff


@dataclass(frozen=True, slots=True)
class Parity:
    """Differences of an exported model from torch on the same input, at feature resolution."""

    frames: int
    max_abs_difference: (
        float  # of logits (of kernel or centre maps, of all maps); NaN where the two
    )
    # find another number of masks
    argmax_agreement: float  # share of positions with the same winning class


def check_parity(
    network: VideoNetwork, path: Path, clips: Sequence[np.ndarray] | None = None
) -> Parity:
    """Run torch and ONNX Runtime over the same frames, each with its own state.

    Args:
        clips: float32 (1, 3, H, W), consecutive frames of one size (any size where the network
            remembers nothing); rendered ones when None.

    Raises:
        ModelError: one of the two answers with NaN or infinite values.
    """
    import torch

    frames = rendered_clips(PARITY_FRAMES, PARITY_HW) if clips is None else clips
    inputs = windows_of(frames, network.window, any_window=network.any_window)
    state = network.first_state(as_clip(torch.from_numpy(inputs[0]), network))
    worst, same, total = 0.0, 0, 0

    # Give each its own state, so that differences add up as they do in use.
    replayed = replay(cpu_session(path), inputs, network.state_tensors)
    for clip, (_, got) in zip(inputs, replayed, strict=True):
        with torch.inference_mode():
            answer, state = network(as_clip(torch.from_numpy(clip), network), state)
        expected = {name: part.detach().numpy() for name, part in answer.outputs().items()}
        check_finite(expected, "torch")

        worst = max(worst, _difference(expected, got))
        mine, theirs = winners(expected), winners(got)
        same += int((mine == theirs).sum())
        total += mine.size
    return Parity(len(inputs) * network.window, worst, same / total)


def as_clip(given: Tensor, network: VideoNetwork) -> Tensor:
    """(B, T, 3, H, W) from the input of an export, see `to_onnx`."""
    if network.any_window:
        return given.unsqueeze(0)
    return given.unsqueeze(1) if network.window == 1 else given


def windows_of(
    frames: Sequence[np.ndarray], window: int, *, any_window: bool = False
) -> list[np.ndarray]:
    """Consecutive frames (1, 3, H, W) as the inputs of an export, see `to_onnx`.

    Window 1: as they are. Else (1, T, 3, H, W), of whole windows; where the frames are fewer than
    one, the last is repeated. any_window: (T, 3, H, W).
    """
    if window == 1:
        return list(frames)

    # Repeat the last frame: the graph takes whole windows only.
    padded = [*frames, *[frames[-1]] * max(0, window - len(frames))]
    whole = len(padded) - len(padded) % window
    clips = [np.stack(padded[i : i + window], axis=1) for i in range(0, whole, window)]
    return [clip[0] for clip in clips] if any_window else clips


def winners(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """The class that each position of an answer goes to; -1 where no mask does.

    Returns:
        int64 (T, h, w); of kernel maps (T, positions), see `kernel_winners`.
    """
    if LOGITS in outputs:
        return outputs[LOGITS].argmax(axis=-3).reshape(-1, *outputs[LOGITS].shape[-2:])
    if FEATURES in outputs:
        return kernel_winners(outputs)
    if CLASSES in outputs:
        return outputs[CLASSES].argmax(axis=1)
    masks, scores, class_ids = (outputs[name] for name in MASK_OUTPUTS[:3])
    if not len(masks):
        return np.full(masks.shape[1:], -1)

    # Use float64: exp overflows float32 at logits below -88.
    sure = scores[:, None, None, None] / (1 + np.exp(-masks.astype(np.float64)))  # (N, T, h, w)
    best = sure.argmax(axis=0)
    return np.where(sure.max(axis=0) >= _LEAST_PROBABILITY, class_ids[best], -1)


def check_finite(outputs: Mapping[str, np.ndarray], who: str) -> None:
    """Raises: ModelError: an answer holds NaN or infinite values, so that it means nothing."""
    for name, values in outputs.items():
        if not np.isfinite(values).all():
            raise ModelError(
                f"{who}: the network answers with NaN or infinite {name}; its weights are damaged, "
                "or their training diverged: use an earlier checkpoint, or fetch them again"
            )


def cpu_session(model: Path | bytes) -> InferenceSession:
    """An ONNX Runtime session on the CPU, from a file or a serialised model."""
    import onnxruntime as ort

    options = ort.SessionOptions()

    # Show fatal messages alone: what fails raises too.
    options.log_severity_level = 4
    source = model if isinstance(model, bytes) else str(model)
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def replay(
    session: InferenceSession, inputs: Sequence[np.ndarray], tensors: Sequence[StateTensor]
) -> Iterator[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]:
    """The inputs at each clip of a video (clip and state), and the answer, both by name.

    Raises:
        ModelError: the answer holds NaN or infinite values.
    """
    names = [tensor.name for tensor in tensors]
    size_hw = (inputs[0].shape[-2], inputs[0].shape[-1])
    state = [np.zeros(tensor.full_shape(size_hw), np.float32) for tensor in tensors]
    after = [f"{name}_next" for name in names]
    answers = [output.name for output in session.get_outputs() if output.name not in after]
    for clip in inputs:
        feeds = {"clip": clip, **dict(zip(names, state, strict=True))}
        found = session.run([*answers, *after], feeds)
        state = found[len(answers) :]
        outputs = dict(zip(answers, found, strict=False))
        check_finite(outputs, "ONNX Runtime")
        yield feeds, outputs


def rendered_clips(
    frames: int = PARITY_FRAMES, size_hw: tuple[int, int] = PARITY_HW
) -> list[np.ndarray]:
    """Consecutive frames of a rendered street as network input, float32 (1, 3, H, W)."""
    from vidparse.scenes import Scene, parse_scene

    height, width = size_hw
    scene = Scene(parse_scene(f"sample://street?size={width}x{height}&frames={frames}"))
    mean, std = np.array([PARITY_MEAN, PARITY_STD], np.float32)
    pictures = ((scene.picture(i) / np.float32(255) - mean) / std for i in range(frames))
    return [np.ascontiguousarray(picture.transpose(2, 0, 1)[None]) for picture in pictures]


def parity_record(parity: Parity) -> dict[str, object]:
    """Plain values for --json."""
    return asdict(parity)


def _difference(expected: Mapping[str, np.ndarray], got: Mapping[str, np.ndarray]) -> float:
    """Largest difference of logits, or of all kernel maps; NaN where their shapes differ."""
    names = [LOGITS if LOGITS in expected else MASK_OUTPUTS[0]]
    if FEATURES in expected or CLASSES in expected:
        names = list(expected)

    # Compare no values of different shapes: masks may be of another number.
    if any(expected[name].shape != got[name].shape for name in names):
        return float("nan")
    return max(float(np.abs(expected[name] - got[name]).max(initial=0.0)) for name in names)


def kernel_winners(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """The class at each position: of stuff by the masks, and of things by their centres.

    Stuff, at each cell of the features: the class (0 is any thing) whose kernel has the greatest
    product with the features. Where kernels are not pooled, decoding takes a class's kernel from
    the cells that it wins; here all cells of the finest level count by its softmax, so that
    rounding at one cell, which may make a class appear, changes little. Classes of a small share
    are left out.

    Things, at each cell of each level: the class of the greatest centre, -1 where it is hardly one.

    Returns:
        int64 (T, positions).
    """
    features = outputs[FEATURES].astype(np.float64)  # (T, D, h, w)
    if "pooled" in outputs:
        pooled = outputs["pooled"].astype(np.float64)  # (T, 1 + Ks, C + 2)
        totals = pooled[..., -2, None]

        # Weigh frames by the region's part in them, as decoding does.
        kernels = (totals * pooled[..., :-2]).sum(axis=0) / totals.sum(axis=0)
        classes = np.arange(len(kernels))
    else:
        regions = outputs["regions3"].astype(np.float64)  # (T, 1 + Ks, h, w)

        # Take the softmax, not the winners: rounding at one cell then changes little.
        odds = np.exp(regions - regions.max(axis=1, keepdims=True))
        shares = odds / odds.sum(axis=1, keepdims=True)
        share = shares.mean(axis=(0, 2, 3))

        # Leave rare classes out, but never all: rounding makes them come and go.
        classes = np.flatnonzero(share >= min(_LEAST_SHARE, share.max()))
        cells = shares[0, 0].size * len(shares)
        kernels = np.einsum("tkhw,tchw->kc", shares[:, classes], outputs["kernels3"]) / cells
    embedded = kernels @ outputs["stuff_weight"].T + outputs["stuff_bias"]  # (classes, D)
    masks = np.einsum("kd,tdhw->tkhw", embedded, features)
    found = [classes[masks.argmax(axis=1)]]

    for level in _LEVELS:
        centres = outputs[f"centres{level}"]
        found.append(np.where(centres.max(axis=1) > _LEAST_LOGIT, centres.argmax(axis=1), -1))
    return np.concatenate([one.reshape(len(one), -1) for one in found], axis=1)
