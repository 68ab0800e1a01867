"""Int8 ONNX models (QDQ), calibrated on frames and measured on others before they are kept."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vidparse.errors import ModelError, UsageError
from vidparse.export.onnx import describe_model, save_model, to_onnx
from vidparse.export.parity import (
    Parity,
    check_parity,
    rendered_clips,
    windows_of,
)
from vidparse.export.quantizer import Quantizer
from vidparse.export.weights import check_target, export_metadata
from vidparse.files import whole_file
from vidparse.labels import Labels, load_labels
from vidparse.models.checkpoint import load_network
from vidparse.models.description import Description, Preprocess

LEAST_AGREEMENT = 0.98
CALIBRATION_FRAMES = 40  # half of them to calibrate on, half to measure on
FRAMES_IN_A_ROW = 10  # of them, for networks that remember: their states then are those of use
_LEAST_DRAWN = 0.25  # share of a network's classes that a rendered street must show

if TYPE_CHECKING:
    from onnx import ModelProto

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FloatLayer:
    """A layer that stays float, and the share of positions that it alone in int8 would change."""

    name: str
    harm: float


@dataclass(frozen=True, slots=True)
class Quantized:
    """The result of an export to int8."""

    parity: Parity  # with torch in float32, on frames that calibration did not see
    calibration_frames: int
    rendered: bool  # the frames were rendered, for want of real ones
    weight_bits: int  # 8, or 7 where 8 overflow in this CPU's 16-bit sums (no VNNI)
    layers: int  # convolutions and products with weights
    float_layers: tuple[FloatLayer, ...]
    int8_share: float  # of the multiplications of convolutions
    speed: float  # times float32's, on this machine
    temporal_operations: int  # that blend what is remembered; they stay float


def export_int8(
    description: Description,
    path: Path,
    *,
    clips: Sequence[np.ndarray] | None = None,
    least_agreement: float = LEAST_AGREEMENT,
    overwrite: bool = False,
    on_step: Callable[[int, int], None] = lambda done, total: None,
    on_note: Callable[[str], None] = lambda text: None,
) -> Quantized:
    """Write an ONNX model that computes in int8.

    Layers stay float, the most harmful first, until the winning class at feature resolution is that
    of torch in float32 at `least_agreement` of the positions.

    Args:
        clips: network inputs float32 (1, 3, H, W) in the order of a video: the first half
            calibrates, the second half measures. They are of one size where the network remembers
            or takes several at once. None: frames of a rendered street.
        on_step: steps done, and of how many as far as that is known; a step takes seconds.
        on_note: gets what a user should know while it goes on.

    Raises:
        UsageError: fewer than two clips, or clips of several sizes that belong together; or none
            are given, and a street shows too little of what the network knows.
        ModelError: an exporter failed, or int8 does not do.
        OutputError: the file exists and is not to be replaced, or cannot be written.
    """
    check_target(path, source=description.path, overwrite=overwrite)
    rendered = clips is None
    if clips is None:
        check_rendered(description.labels)
        clips = rendered_clips(CALIBRATION_FRAMES, _rendered_size(description.preprocess))
    if len(clips) < 2:
        raise UsageError(f"int8 calibration: {len(clips)} frame is too few; give a longer clip")

    # Judge on frames that calibration has not seen, or it would praise itself.
    known, unseen = clips[: len(clips) // 2], clips[len(clips) // 2 :]
    network = load_network(description)
    if not network.is_per_frame:
        _check_sizes(clips, description.arch)
    tensors, window = network.state_tensors, network.window

    exact = to_onnx(network)
    with (
        tempfile.TemporaryDirectory(prefix="vidparse-int8-") as folder,
        _refusals(path, description.arch, rendered=rendered),
    ):
        work = Quantizer(
            exact,
            tensors,
            windows_of(known, window, any_window=network.any_window),
            windows_of(unseen, window, any_window=network.any_window),
            Path(folder),
        )
        model, weight_bits, kept = _search(work, least_agreement, _Watched(on_step, on_note))
        speed = work.speed(model)

    # Measure the very file, and write it again with what was measured.
    with whole_file(path) as part:
        save_model(model, part)
        parity = check_parity(network, part, unseen)
        facts = {
            "weight_bits": weight_bits,
            "argmax_agreement": parity.argmax_agreement,
            "float_layers": [layer.name for layer in kept],
        }
        describe_model(
            model,
            export_metadata(
                description, state=tensors, source_sha256=description.sha256, int8=facts
            ),
        )
        save_model(model, part)

    titles = {layer.name for layer in kept}
    left = {node.name for node in work.candidates if work.title(node) in titles}
    return Quantized(
        parity,
        len(known),
        rendered,
        weight_bits,
        len(work.layers),
        kept,
        work.int8_share(left),
        speed,
        len(work.temporal),
    )


def _check_sizes(clips: Sequence[np.ndarray], arch: str) -> None:
    """Raises: UsageError: frames that belong to one video have several sizes."""
    sizes = sorted({(clip.shape[-1], clip.shape[-2]) for clip in clips})
    if len(sizes) > 1:
        found = " and ".join(f"{width}x{height}" for width, height in sizes[:2])
        raise UsageError(
            f"int8 calibration: the network's input is {found}, but {arch} takes the pictures as "
            "one video; give images of one size"
        )


@contextlib.contextmanager
def _refusals(path: Path, arch: str, *, rendered: bool) -> Iterator[None]:
    """Raises: ModelError: int8 does not do, or ONNX Runtime cannot make it; with the way out."""
    try:
        yield
    except MemoryError:
        raise
    except ModelError as error:
        way_out = "add --calibrate with a clip of yours" if rendered else "try a longer clip"
        raise ModelError(f"{path}: {error}; {way_out}, or export without --int8") from error
    except Exception as error:  # ONNX Runtime's exceptions share no base but this one
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"{path}: ONNX Runtime cannot bring {arch} to int8 ({reason}); export without --int8"
        ) from error


def _rendered_size(preprocess: Preprocess) -> tuple[int, int]:
    side = preprocess.short_side or 360
    return preprocess.size_hw or (side, side * 16 // 9 // 2 * 2)


def check_rendered(labels: Labels) -> None:
    """Raises: UsageError: a rendered street shows too few of these classes to calibrate on."""
    from vidparse.scenes import LABELS

    drawn = {name.casefold() for name in load_labels(LABELS).classes}
    shown = sum(name.casefold() in drawn for name in labels.classes)
    if shown < _LEAST_DRAWN * len(labels):
        raise UsageError(
            f"int8: by default it is calibrated on a rendered street, which shows {shown} of the "
            f"{len(labels)} classes of {labels.name}; add --calibrate with a clip of what the "
            "model is for"
        )


class _Watched:
    """Counts the steps of a search for whoever watches."""

    def __init__(
        self,
        on_step: Callable[[int, int], None] = lambda done, total: None,
        on_note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._on_step, self.note = on_step, on_note
        self._done, self.total = 0, 4

    def step(self) -> None:
        self._done += 1
        self._on_step(self._done, max(self._done, self.total))


def _search(
    work: Quantizer, least_agreement: float, watched: _Watched | None = None
) -> tuple[ModelProto, int, tuple[FloatLayer, ...]]:
    """The model with the fewest float layers (in steps of two) that agrees well enough.

    Returns:
        The model, the bits of its weights, and the layers that stay float.

    Raises:
        ModelError: none does; without what to do next.
    """
    watched = watched or _Watched()
    tried = {}

    # Try 7 bits too: without VNNI, 8 may overflow the CPU's 16-bit sums. Try nearest steps, because
    # the correction of biases takes borders of small maps for more than the nought they hold.
    for bits, corrects in ((8, True), (7, True), (8, False), (7, False)):
        tried[bits, corrects] = work.agreement(work.build(bits, corrects=corrects))
        how = "corrected" if corrects else "nearest steps"
        log.info("int8, %d-bit weights, %s: agreement %.4f", bits, how, tried[bits, corrects])
        watched.step()
    bits, corrects = best = max(tried, key=lambda way: tried[way])
    if tried[best] >= least_agreement:
        return work.build(bits, corrects=corrects), bits, ()

    # Measure what each layer does by itself, because the worst few decide.
    watched.total += len(work.candidates) + len(work.candidates).bit_length()
    speed = work.speed(work.build(bits, corrects=corrects))
    watched.note(
        f"int8: whole, the class is float32's at {tried[best]:.1%} of positions (wanted: "
        f"{least_agreement:.1%}), {speed:.1f} times as fast as float32 here; measuring "
        f"{len(work.candidates)} layers one by one, to keep the most harmful ones float"
    )
    harms = []
    for node in work.candidates:
        harms.append(FloatLayer(work.title(node), work.harm(node, bits, corrects=corrects)))
        watched.step()

    order = sorted(range(len(harms)), key=lambda i: -harms[i].harm)
    count = 1
    while count < len(order):
        worst = order[:count]
        model = work.build(bits, corrects=corrects, leave={work.candidates[i].name for i in worst})
        agreement = work.agreement(model)
        log.info("int8, %d operations float: agreement %.4f", count, agreement)
        watched.step()
        if agreement >= least_agreement:
            return model, bits, tuple(harms[i] for i in worst)

        # Double the number: each try takes seconds, and few layers do the harm.
        count *= 2
    raise ModelError(
        f"in int8 the winning class is float32's at only {max(tried.values()):.1%} of positions "
        f"(wanted: {least_agreement:.1%}), whichever layer stays float"
    )


def quantized_record(quantized: Quantized) -> dict[str, object]:
    """Plain values for --json, parity first."""
    record = asdict(quantized)
    return {**record.pop("parity"), "precision": "int8", **record}
