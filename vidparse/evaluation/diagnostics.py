"""Contents of a report beside the scores: a number per frame, the worst stretch, flicker.

Pictures are small ones: frames, class maps, wrong pixels and heat maps as JPEG or PNG.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from vidparse.evaluation.metrics.measure import Sample
from vidparse.evaluation.metrics.semantic import ConfusionMatrix
from vidparse.labels import Labels
from vidparse.sinks.pictures import palette_png

_SHOWN = 3  # frames of a clip
HOTTEST = 0.3  # share of frame pairs at which the heat map ends
_HEAT_FAINT = 0.06  # below this share the backdrop shines through
_JPEG_QUALITY = 80
_BACKDROP = 0.55  # brightness of the grey picture behind wrong pixels and heat
_VOID_SHADE = 0.35  # brightness of pixels without a label
_WRONG = (255, 72, 40)  # RGB
# Fields of a ClipFrame by the names that files of interrupted evaluations have for them.
_PICTURES = {"picture": "picture", "truth": "truth", "said": "prediction", "wrong": "wrong"}


@dataclass(frozen=True, slots=True)
class ClipFrame:
    """One frame of a clip as small encoded pictures."""

    stem: str
    picture: bytes | None  # JPEG; None when there was no image
    truth: bytes  # PNG in class colours
    prediction: bytes  # PNG in class colours
    wrong: bytes  # JPEG, wrong pixels marked


@dataclass(frozen=True, slots=True)
class Clip:
    """A stretch of a video worth looking at."""

    video: str
    first: int  # frame index
    last: int
    first_stem: str
    last_stem: str
    accuracy: float  # of its labelled pixels
    frames: tuple[ClipFrame, ...]  # up to three


@dataclass(frozen=True, slots=True)
class VideoDiagnostics:
    """One video: small pictures, and per frame a few numbers (NaN where undefined)."""

    video: str
    stems: tuple[str, ...]
    accuracy: np.ndarray  # float32 (T,), share of labelled pixels that are right
    miou: np.ndarray  # float32 (T,), over the classes in the frame's ground truth
    flicker: np.ndarray  # float32 (T,), see Diagnostics
    flicker_map: bytes | None  # JPEG; None without two consecutive frames
    worst: Clip | None  # None when nothing is labelled

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Plain arrays that an .npz holds without pickling."""
        arrays = {
            "video": np.array(self.video),
            "stems": np.array(self.stems, np.str_),
            "accuracy": self.accuracy,
            "miou": self.miou,
            "flicker": self.flicker,
            "flicker_map": _as_array(self.flicker_map),
        }
        if self.worst is not None:
            arrays["worst/span"] = np.array([self.worst.first, self.worst.last])
            arrays["worst/ends"] = np.array([self.worst.first_stem, self.worst.last_stem])
            arrays["worst/accuracy"] = np.array(self.worst.accuracy)
            arrays["worst/stems"] = np.array([frame.stem for frame in self.worst.frames])
            for i, frame in enumerate(self.worst.frames):
                for name, field in _PICTURES.items():
                    arrays[f"worst/{i}/{name}"] = _as_array(getattr(frame, field))
        return arrays

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> VideoDiagnostics:
        """The inverse of :meth:`to_arrays`.

        Raises:
            KeyError: an array is missing.
        """
        video = str(arrays["video"])

        worst = None
        if "worst/span" in arrays:
            first, last = arrays["worst/span"].tolist()
            first_stem, last_stem = arrays["worst/ends"].tolist()
            worst = Clip(
                video=video,
                first=first,
                last=last,
                first_stem=first_stem,
                last_stem=last_stem,
                accuracy=float(arrays["worst/accuracy"]),
                frames=tuple(
                    ClipFrame(
                        stem,
                        picture=_as_bytes(arrays[f"worst/{i}/picture"]),
                        truth=arrays[f"worst/{i}/truth"].tobytes(),
                        prediction=arrays[f"worst/{i}/said"].tobytes(),
                        wrong=arrays[f"worst/{i}/wrong"].tobytes(),
                    )
                    for i, stem in enumerate(arrays["worst/stems"].tolist())
                ),
            )

        return cls(
            video=video,
            stems=tuple(arrays["stems"].tolist()),
            accuracy=arrays["accuracy"],
            miou=arrays["miou"],
            flicker=arrays["flicker"],
            flicker_map=_as_bytes(arrays["flicker_map"]),
            worst=worst,
        )


@dataclass(frozen=True, slots=True)
class _Shot:
    """One frame, kept small while it may belong to the worst clip."""

    index: int
    stem: str
    right: int  # pixels
    labelled: int  # pixels
    image: np.ndarray | None  # RGB uint8 (h, w, 3)
    truth: np.ndarray | None  # ids (h, w)
    prediction: np.ndarray  # ids (h, w)


class Diagnostics:
    """Follows one entry frame by frame, as a measure does.

    Flicker of a frame is the share of pixels whose ground truth is that of the frame before (and
    not void) but whose prediction is not; where either frame has no ground truth, of all pixels.
    It is undefined unless the frame before is the one with the index before, at the same size.

    Memory is a few small pictures and three numbers per frame, whatever the size of the video.

    Args:
        labels: the classes; ids that are none of them are void.
        clip_length: frames of the clip that is kept as the worst.
        thumbnail_side: longer side of the pictures, in pixels.
    """

    def __init__(self, labels: Labels, *, clip_length: int = 8, thumbnail_side: int = 320) -> None:
        if clip_length < 1 or thumbnail_side < 1:
            raise ValueError(f"clip_length {clip_length}, thumbnail_side {thumbnail_side}: below 1")
        self._labels, self._palette = labels, labels.palette()
        self._clip_length, self._side = clip_length, thumbnail_side
        self._begin()

    def _begin(self) -> None:
        self._video = ""
        self._stems: list[str] = []
        self._curves: list[tuple[float, float, float]] = []  # accuracy, mIoU, flicker
        self._before: tuple[int, np.ndarray | None, np.ndarray] | None = (
            None  # index, truth, prediction
        )
        self._backdrop: np.ndarray | None = None
        self._changes: np.ndarray | None = None  # float32 (h, w), frame pairs with a change
        self._pairs = 0
        self._window: deque[_Shot] = deque(maxlen=self._clip_length)
        self._worst: tuple[float, tuple[_Shot, ...]] | None = None

    def update(self, sample: Sample, image: np.ndarray | None) -> None:
        """Add the next frame of the video.

        Args:
            image: RGB uint8 (H, W, 3) of the frame, for the pictures.

        Raises:
            ValueError: prediction, truth and image differ in size.
        """
        predicted, true = sample.predicted_classes, sample.true_classes
        for other in (true, image):
            if other is not None and other.shape[:2] != predicted.shape:
                raise ValueError(f"prediction is {predicted.shape}, not {other.shape[:2]}")

        prediction = self._classes_or_void(predicted)
        truth = None if true is None else self._classes_or_void(true)
        size_hw = small_size(prediction.shape, self._side)
        picture = None if image is None else small_picture(image, size_hw)
        matrix = ConfusionMatrix(len(self._labels), ignore=self._labels.void)
        if truth is not None:
            matrix.update(truth, prediction)
        scores = matrix.compute()
        flicker = self._flicker(sample.index, truth, prediction, size_hw)
        self._video = sample.video
        self._stems.append(sample.stem)
        self._curves.append((scores.pixel_accuracy, scores.miou, flicker))
        if self._backdrop is None:
            self._backdrop = picture
        shot = _Shot(
            index=sample.index,
            stem=sample.stem,
            right=int(np.trace(matrix.counts)),
            labelled=int(matrix.counts.sum() + matrix.missed.sum()),
            image=picture,
            truth=None if truth is None else small_ids(truth, size_hw),
            prediction=small_ids(prediction, size_hw),
        )
        self._window.append(shot)
        if len(self._window) == self._clip_length:
            self._judge_window()

    def end_video(self) -> VideoDiagnostics:
        """The diagnostics of the video that ended; the next sample starts another."""
        # Judge a video that is shorter than a clip as the one clip that it is.
        if len(self._window) < self._clip_length:
            self._judge_window()

        curves = np.array(self._curves, np.float32).reshape(-1, 3)  # (T, 3)
        heat = None
        if self._changes is not None:
            share = self._changes / self._pairs
            fits = self._backdrop is not None and self._backdrop.shape[:2] == share.shape
            heat = heat_jpeg(self._backdrop if fits else None, share)

        ended = VideoDiagnostics(
            video=self._video,
            stems=tuple(self._stems),
            accuracy=curves[:, 0].copy(),
            miou=curves[:, 1].copy(),
            flicker=curves[:, 2].copy(),
            flicker_map=heat,
            worst=self._clip(),
        )
        self._begin()
        return ended

    def _classes_or_void(self, ids: np.ndarray) -> np.ndarray:
        """Ids (H, W) in the narrowest type, void wherever there is no class."""
        known = ids < len(self._labels)
        if ids.dtype.kind == "i":
            known &= ids >= 0
        return np.where(known, ids, self._labels.void).astype(self._labels.dtype)

    def _flicker(
        self, index: int, truth: np.ndarray | None, predicted: np.ndarray, size_hw: tuple[int, int]
    ) -> float:
        before, self._before = self._before, (index, truth, predicted)

        # Compare with the very next frame only: a gap would count as flicker.
        if before is None or before[0] != index - 1 or before[2].shape != predicted.shape:
            return float("nan")
        changed = predicted != before[2]  # (H, W)
        pixels = predicted.size
        if truth is not None and before[1] is not None:
            # Count only where the truth stands still: there a change is the network's own.
            still = (truth == before[1]) & (truth != self._labels.void)
            changed &= still
            pixels = int(np.count_nonzero(still))
        if self._changes is None or self._changes.shape == size_hw:
            # Averaged down: a single pixel that changed leaves its trace in the small map.
            small = small_picture(changed.astype(np.float32), size_hw)  # (h, w)
            self._changes = small if self._changes is None else self._changes + small
            self._pairs += 1
        return np.count_nonzero(changed) / pixels if pixels else float("nan")

    def _judge_window(self) -> None:
        """Remember the current window if it is worse than any before."""
        labelled = sum(shot.labelled for shot in self._window)
        if not labelled:
            return
        accuracy = sum(shot.right for shot in self._window) / labelled

        # Keep the pictures of the worst clip alone, so that memory does not grow with the video.
        if self._worst is None or accuracy < self._worst[0]:
            first, last = self._window[0], self._window[-1]
            shown = [shot for shot in self._window if shot.labelled]
            self._worst = accuracy, (first, last, *_spread(shown, _SHOWN))

    def _clip(self) -> Clip | None:
        if self._worst is None:
            return None
        accuracy, (first, last, *shown) = self._worst
        return Clip(
            video=self._video,
            first=first.index,
            last=last.index,
            first_stem=first.stem,
            last_stem=last.stem,
            accuracy=accuracy,
            frames=tuple(self._clip_frame(shot) for shot in shown),
        )

    def _clip_frame(self, shot: _Shot) -> ClipFrame:
        assert shot.truth is not None  # only labelled frames are shown
        known = shot.truth != self._labels.void
        return ClipFrame(
            stem=shot.stem,
            picture=None if shot.image is None else jpeg(shot.image),
            truth=class_png(shot.truth, self._palette),
            prediction=class_png(shot.prediction, self._palette),
            wrong=wrong_jpeg(shot.image, known & (shot.truth != shot.prediction), known),
        )


def _spread(shots: Sequence[_Shot], count: int) -> list[_Shot]:
    """At most `count` of them, evenly: the first, the last and some between."""
    if len(shots) <= count:
        return list(shots)
    return [shots[round(i * (len(shots) - 1) / (count - 1))] for i in range(count)]


def _as_array(data: bytes | None) -> np.ndarray:
    return np.frombuffer(data or b"", np.uint8)


def _as_bytes(array: np.ndarray) -> bytes | None:
    return array.tobytes() or None


def small_size(size_hw: tuple[int, int], side: int) -> tuple[int, int]:
    """(height, width) whose longer side is at most `side`."""
    scale = min(1.0, side / max(size_hw))
    return max(1, round(size_hw[0] * scale)), max(1, round(size_hw[1] * scale))


def small_picture(image: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """RGB uint8 (H, W, 3) averaged down."""
    return cv2.resize(image, size_hw[::-1], interpolation=cv2.INTER_AREA)


def small_ids(ids: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Class ids (H, W) at the nearest pixels."""
    return cv2.resize(ids, size_hw[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


def jpeg(image: np.ndarray, *, sharp_colours: bool = False) -> bytes:
    """RGB uint8 (H, W, 3) as JPEG; with colours at full resolution, or half as is usual."""
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    if sharp_colours:
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    return data.tobytes()


def class_png(ids: np.ndarray, palette: np.ndarray) -> bytes:
    """Class ids (H, W) in colours RGB uint8 (256, 3); ids above 255 repeat them."""
    return palette_png((ids & 255).astype(np.uint8), palette)


def wrong_jpeg(image: np.ndarray | None, wrong: np.ndarray, known: np.ndarray) -> bytes:
    """Wrong pixels over the grey picture.

    Args:
        image: RGB uint8 (H, W, 3), or None.
        wrong: bool (H, W). known: bool (H, W), False where nothing is labelled.
    """
    # Lay marks over grey, so that no colour of the picture passes for one.
    canvas = _backdrop(image, wrong.shape)
    canvas[~known] *= _VOID_SHADE
    canvas[wrong] = _WRONG
    return jpeg(canvas.astype(np.uint8), sharp_colours=True)


def heat_jpeg(image: np.ndarray | None, share: np.ndarray) -> bytes:
    """The frequency of an event at each pixel, over the grey picture.

    Args:
        image: RGB uint8 (H, W, 3), or None.
        share: (H, W) 0..1.
    """
    return jpeg(_heated(_backdrop(image, share.shape), share), sharp_colours=True)


def heat_colours(count: int) -> list[tuple[int, int, int]]:
    """RGB at `count` equal steps from never to HOTTEST, for a key."""
    share = np.linspace(0, HOTTEST, count)[None]  # (1, count)
    red, green, blue = _heated(_backdrop(None, share.shape), share)[0].T.tolist()
    return list(zip(red, green, blue, strict=True))


def _heated(backdrop: np.ndarray, share: np.ndarray) -> np.ndarray:
    """RGB uint8 (H, W, 3): rare changes let the backdrop, float (H, W, 3), shine through."""
    steps = np.rint(np.clip(share / HOTTEST, 0, 1) * 255).astype(np.uint8)
    heat = cv2.cvtColor(cv2.applyColorMap(steps, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    opacity = np.clip(share / _HEAT_FAINT, 0, 1)[..., None]  # (H, W, 1)
    return (backdrop * (1 - opacity) + heat * opacity).astype(np.uint8)


def _backdrop(image: np.ndarray | None, size_hw: tuple[int, ...]) -> np.ndarray:
    """float32 (H, W, 3), grey."""
    if image is None:
        return np.full((*size_hw, 3), 255 * _BACKDROP / 2, np.float32)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return np.repeat(grey[..., None] * _BACKDROP, 3, axis=2)
