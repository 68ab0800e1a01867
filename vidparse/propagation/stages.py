"""The stages of a propagation, which the pipeline of `segment` runs in place of a network's.

Memory is bounded by the shelf: frames between two keys wait there, with the motion between them, in
13 bytes per pixel and frame and the picture's own; see `vidparse.propagation.shelf`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from vidparse.flow import FlowEstimator
from vidparse.frame import Frame
from vidparse.image import Image, Rgb, Yuv420
from vidparse.inference.clips import closed
from vidparse.inference.cuts import CutDetector
from vidparse.inference.looks import Look
from vidparse.inference.session import Session
from vidparse.maps import VOID, Segment, SegmentMap, count_codes, recode, segments_of_ids
from vidparse.propagation.keys import Keys
from vidparse.propagation.prediction import (
    AFTER,
    BEFORE,
    BOTH,
    KEY,
    NONE,
    Comparison,
    Propagated,
)
from vidparse.propagation.shelf import Shelf, Slip
from vidparse.propagation.traces import Step, Trace, steps_between
from vidparse.propagation.votes import Clues, View, clue_weights, vote, without_specks

_LEAST_SEEN = 0.5  # mean over the picture, below which a suspected cut is one; 0.1 or less at most


@dataclass(frozen=True, slots=True)
class Looked:
    """A frame and its picture, RGB uint8 (H, W, 3).

    classes: of a network, uint8 (H, W); None without one.
    """

    frame: Frame
    rgb: np.ndarray
    begins_shot: bool
    classes: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """A key frame that frames are being traced to. classes: as of `Looked`."""

    number: int
    map: SegmentMap
    classes: np.ndarray | None = None


@dataclass(slots=True)
class Waiting:
    """A frame between two keys.

    frame: its picture is a stub, while it lies on the shelf. classes: as of `Looked`.
    trace: of the frame to the key before it. ahead: its step to the frame after it.
    """

    frame: Frame
    picture: Slip
    trace: Slip | None
    classes: Slip | None
    ahead: Slip | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """A frame with its labels in full size."""

    frame: Frame
    prediction: Propagated


class Propagation:
    """Key masks carried to the frames between them.

    Args:
        keys: of the video.
        flow: estimates the motion.
        cut: threshold of the `CutDetector`; None: the video is one shot.
        shelf: holds the frames that wait between keys.
        name: of the video, for messages.
        network: gives classes of its own to every frame, which decide where no key does; None: no
            network.
    """

    repeated = 0
    key_frames = None
    looks: Sequence[Look] = ()

    def __init__(
        self,
        keys: Keys,
        flow: FlowEstimator,
        *,
        cut: float | None,
        shelf: Shelf,
        name: str,
        network: Session | None = None,
    ) -> None:
        self.labels = keys.labels
        self._keys, self._flow, self._shelf, self._name = keys, flow, shelf, name
        self._cut, self._network = cut, network
        self._last_key = max(keys.files)
        self._void = VOID if keys.is_panoptic else keys.labels.void

    def prepared(self, frames: Iterable[Frame]) -> Iterator[Looked]:
        """First stage: frames as RGB, with the cuts between shots and a network's classes."""
        cuts = CutDetector(self._cut) if self._cut is not None else None
        with closed(self._classed(frames)) as source:
            for frame, classes in source:
                rgb = frame.image.rgb()
                begins = False
                if cuts is not None:
                    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
                    begins = cuts.is_cut(grey / np.float32(255))
                yield Looked(frame, rgb, begins, classes)

    def _classed(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, np.ndarray | None]]:
        """Frames with the network's classes, if there is one."""
        if self._network is None:
            with closed(frames) as source:
                for frame in source:
                    yield frame, None
            return
        with closed(self._network.run(frames)) as answered:
            for frame, found in answered:
                yield frame, found.map.classes().astype(np.uint8)

    def answered(self, prepared: Iterable[Looked], *, live: bool = True) -> Iterator[Answered]:
        """Second stage: labels of every frame, once the key after it is known."""
        before: Key | None = None
        trace: Trace | None = None
        waiting: list[Waiting] = []
        last: np.ndarray | None = None
        index = -1

        with closed(prepared) as source:
            for now in source:
                index = number_of(now.frame)
                steps = self._steps(last, now)
                if steps is None:
                    yield from self._settled(before, waiting, None)
                    before, trace, waiting = None, None, []
                elif waiting and index <= self._last_key:
                    waiting[-1].ahead = self._put_step(steps[0])
                last = now.rgb

                # Settle what waits between two keys; a key frame itself is as it was drawn.
                if index in self._keys.files:
                    found = self._keys.map_of(index, now.rgb.shape[:2])
                    after = Key(index, found, now.classes)
                    yield from self._settled(before, waiting, after)
                    yield Answered(now.frame, self._of_key(now.frame, after.map))
                    before, trace, waiting = after, Trace.at_key(now.rgb.shape[:2]), []
                    continue
                if trace is not None and steps is not None:
                    trace = trace.after(steps[1])
                if index < self._last_key:
                    waiting.append(self._wait(now, trace))
                else:
                    found_in = self._voted(now.frame, [(before, trace)], now.classes)
                    yield Answered(now.frame, found_in)

        yield from self._settled(before, waiting, None)
        self._keys.check_numbers(index + 1, self._name)

    def _steps(self, last: np.ndarray | None, now: Looked) -> tuple[Step, Step] | None:
        """The steps from the picture before to this one and back; None where a shot begins."""
        if last is None or last.shape != now.rgb.shape:
            return None
        steps = steps_between(self._flow, last, now.rgb)

        # Let the motion decide, where pictures differ as at a cut: what moves fast is still seen.
        if now.begins_shot and max(float(step.seen.mean()) for step in steps) < _LEAST_SEEN:
            return None
        return steps

    def finished(self, answered: Iterable[Answered]) -> Iterator[tuple[Frame, Propagated]]:
        """Third stage: frames with their predictions."""
        with closed(answered) as source:
            for one in source:
                yield one.frame, one.prediction

    def _settled(
        self, before: Key | None, waiting: Sequence[Waiting], after: Key | None
    ) -> Iterator[Answered]:
        """Labels of the frames between two keys, or between a key and the border of a shot."""
        # Trace them to the key after, from the last one back.
        backward: list[Slip] = []
        if after is not None and waiting:
            trace = Trace.at_key(after.map.size_hw)
            for one in reversed(waiting):
                assert one.ahead is not None
                trace = trace.after(self._take_step(one.ahead))
                backward.append(self._put_trace(trace))
            backward.reverse()

        for place, one in enumerate(waiting):
            frame = self._restored(one)
            traces: list[tuple[Key | None, Trace | None]] = []
            if one.trace is not None:
                traces.append((before, self._take_trace(one.trace)))
            if backward:
                traces.append((after, self._take_trace(backward[place])))
            classes = None if one.classes is None else self._shelf.take(one.classes)[0]
            yield Answered(frame, self._voted(frame, traces, classes))
        self._shelf.clear()

    def _voted(
        self,
        frame: Frame,
        traces: Sequence[tuple[Key | None, Trace | None]],
        classes: np.ndarray | None,
    ) -> Propagated:
        """The labels that the keys before and after a frame give it."""
        found = [(key, trace) for key, trace in traces if key is not None and trace is not None]
        if not found:
            size_hw = frame.image.size_hw
            nothing = np.full(size_hw, self._void, np.uint32)
            return self._prediction(frame, nothing, np.zeros(size_hw, np.uint8), (), NONE)

        # Number the segments of both keys: an id in both of them is one object.
        keys = [key for key, _ in found]
        codes = np.unique(np.concatenate([count_codes(key.map.ids)[0] for key in keys]))
        numbers = np.arange(len(codes), dtype=np.uint16)
        views = []
        number = number_of(frame)
        gaps = [abs(number - key.number) for key in keys]
        for (key, trace), gap in zip(found, gaps, strict=True):
            share = 1 - gap / sum(gaps) if len(found) > 1 else 1.0
            views.append(View(recode(key.map.ids, codes, numbers), trace, share))

        of_keys = [key.classes for key in keys if key.classes is not None]
        clues = None
        if classes is not None and len(of_keys) == len(keys):
            weights = clue_weights([view.labels for view in views], of_keys, len(codes))
            clues = Clues(classes, weights)
        verdict = without_specks(vote(views, len(codes), clues=clues))
        comparison = None
        if len(views) > 1:
            nearest = [view.nearest() for view in views]
            votes = [view.weight for view in views]
            seen = [view.trace.seen for view in views]
            void = None
            if not self._keys.is_panoptic and self._void in codes:
                void = int(np.searchsorted(codes, self._void))
            comparison = Comparison.of(nearest, votes, seen, len(codes), void=void)
        origin = BOTH if len(keys) > 1 else BEFORE if keys[0].number < number else AFTER
        nearer = sorted(keys, key=lambda key: -abs(number - key.number))
        segments = {one.id: one for key in nearer for one in key.map.segments or ()}
        worst = None if comparison is None else self._class_of(codes[comparison.worst], segments)
        return replace(
            self._prediction(
                frame,
                codes.astype(np.uint32)[verdict.labels],
                np.rint(verdict.confidence * 255).astype(np.uint8),
                segments.values(),
                origin,
            ),
            disagreement=None if comparison is None else comparison.disagreement,
            worst=worst,
        )

    def _class_of(self, code: int, segments: dict[int, Segment]) -> int | None:
        if not self._keys.is_panoptic:
            return None if code == self._void else int(code)
        return segments[int(code)].class_id if int(code) in segments else None

    def _prediction(
        self,
        frame: Frame,
        ids: np.ndarray,
        confidence: np.ndarray,
        segments: Iterable[Segment],
        origin: str,
    ) -> Propagated:
        """A prediction of ids uint32 (H, W): of classes, or of objects with their segments."""
        if not self._keys.is_panoptic:
            found = SegmentMap(ids.astype(self.labels.dtype))
        else:
            present = set(count_codes(ids)[0].tolist())
            class_of = {one.id: one.class_id for one in segments if one.id in present}
            crowds = {one.id for one in segments if one.is_crowd}
            listed = segments_of_ids(ids, class_of, things=self.labels.things)
            listed = tuple(replace(one, is_crowd=one.id in crowds) for one in listed)
            found = SegmentMap(ids, listed)
        return Propagated(frame.index, found, self.labels, confidence=confidence, origin=origin)

    def _of_key(self, frame: Frame, found: SegmentMap) -> Propagated:
        """The prediction of a key frame: what was drawn."""
        sure = np.full(found.size_hw, 255, np.uint8)
        return self._prediction(frame, found.ids.astype(np.uint32), sure, found.segments or (), KEY)

    def _wait(self, now: Looked, trace: Trace | None) -> Waiting:
        """Put a frame on the shelf, but for what is small."""
        frame = now.frame
        planes = frame.image.planes
        corners = [one[:1, :1].copy() for one in planes]  # a view would hold the whole plane
        stub = replace(frame, image=_with_planes(frame.image, corners))
        kept = None if trace is None else self._put_trace(trace)
        classes = None if now.classes is None else self._shelf.put(now.classes)
        return Waiting(stub, self._shelf.put(*planes), kept, classes)

    def _restored(self, one: Waiting) -> Frame:
        planes = self._shelf.take(one.picture)
        return replace(one.frame, image=_with_planes(one.frame.image, planes))

    def _put_trace(self, trace: Trace) -> Slip:
        return self._shelf.put(trace.offset.astype(np.float16), _bytes_of(trace.seen))

    def _take_trace(self, slip: Slip) -> Trace:
        offset, seen = self._shelf.take(slip)
        return Trace(offset.astype(np.float32), _shares_of(seen))

    def _put_step(self, step: Step) -> Slip:
        return self._shelf.put(step.flow.astype(np.float16), _bytes_of(step.seen))

    def _take_step(self, slip: Slip) -> Step:
        flow, seen = self._shelf.take(slip)
        return Step(flow.astype(np.float32), _shares_of(seen))


def number_of(frame: Frame) -> int:
    """The number that names a frame's key: its place among the pictures, damaged ones included."""
    return frame.index if frame.name is None else frame.pts


def _bytes_of(shares: np.ndarray) -> np.ndarray:
    return np.rint(shares * np.float32(255)).astype(np.uint8)


def _shares_of(stored: np.ndarray) -> np.ndarray:
    return stored * np.float32(1 / 255)


def _with_planes(image: Image, planes: Sequence[np.ndarray]) -> Image:
    """A picture of the same kind with other samples."""
    if isinstance(image, Yuv420):
        y, u, v = planes
        return replace(image, y=y, u=u, v=v)
    assert isinstance(image, Rgb)  # the CPU decodes
    return Rgb(planes[0])
