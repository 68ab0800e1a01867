"""`propagate`: the videos of a request through flow and votes into outputs."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import cv2

from vidparse import __version__
from vidparse.addresses import masked
from vidparse.data import open_dataset, usual_format
from vidparse.data.tool_folders import FramesBeside
from vidparse.errors import InputError, UsageError, counted
from vidparse.filenames import one_or_several
from vidparse.flow import FlowEstimator, open_estimator
from vidparse.frame import Frame
from vidparse.inference import Runner, RunReport, Session, load_chosen, run
from vidparse.propagation import OUTPUTS
from vidparse.propagation.keys import Keys, keys_of_folder, keys_of_video
from vidparse.propagation.outputs import Doubt, Doubts
from vidparse.propagation.prediction import NONE, Propagated
from vidparse.propagation.reverse import ReverseScore, ReverseTest
from vidparse.propagation.shelf import Shelf
from vidparse.propagation.stages import Answered, Propagation
from vidparse.requests.from_python import checked
from vidparse.requests.outputs import RunHeader
from vidparse.requests.propagate import PropagateRequest
from vidparse.sinks import Protected, Sink
from vidparse.sinks.names import names_a_file, source_stem
from vidparse.sinks.targets import choose_outputs, plan_sinks, with_implied
from vidparse.video import Input, Source, expand_inputs, open_video

OnBegin = Callable[[str, int | None], None]  # name of a video, and its frames if they are known
DEFAULT_SAVE = ("overlay", "masks", "confidence", "report")


@dataclass(frozen=True, slots=True)
class VideoResult:
    """The result for one video.

    origins: frames by where their masks come from, see `Propagated`.
    worst: frames in which the masks from the two keys differ, worst first.
    reverse: None without --reverse-test.
    """

    name: str
    outputs: tuple[str, ...]
    notes: tuple[str, ...]
    keys: int
    report: RunReport
    origins: dict[str, int]
    worst: tuple[Doubt, ...]
    reverse: ReverseScore | None = None


@dataclass(frozen=True, slots=True)
class Propagations:
    """The result of a whole call. flow: the method of the motion."""

    flow: str
    videos: tuple[VideoResult, ...]


@dataclass(frozen=True, slots=True)
class _Job:
    """A video and its keys. video: the name of its outputs; None: that of the input."""

    source: Input
    keys: Keys
    video: str | None = None


def propagate(
    request: PropagateRequest,
    *,
    on_begin: OnBegin = lambda name, frames: None,
    on_frame: Callable[[Frame], None] = lambda _: None,
    stop: threading.Event | None = None,
) -> Propagations:
    """Carry the masks of key frames to all frames of their videos, into outputs.

    Args:
        on_begin, on_frame: get the progress.
        stop: when set, the run ends after the frame under way; outputs hold the frames so far.

    Raises:
        UsageError, InputError, DeviceError, ModelError, OutputError, TruncatedError, Interrupted:
            see each one's message; the outputs of videos before are in their places.
    """
    # Find and check all that is cheap before the first frame is read.
    request, stop = checked(request), stop or threading.Event()
    flow = open_estimator(request.flow, request.flow_weights, request.flow_device)
    jobs = list(_jobs(request))
    request = _with_outputs(request, jobs)
    runner = None if request.model is None else load_chosen(request.choice.of(request.model))

    cv2.setNumThreads(1)  # as in `segment`: the stages are the parallelism
    taken: dict[str, str] = {}
    protected = Protected([job.source for job in jobs])
    results = []
    for job in jobs:
        make_sinks = partial(
            plan_sinks,
            OUTPUTS,
            tuple(request.save or ()),
            source=job.source,
            out=request.out,
            options=request.sinks,
            taken=taken,
            protected=protected,
            video=job.video,
        )
        turn = _Turn(request, job, flow, runner, make_sinks)
        results.append(turn.result(on_begin, on_frame, stop))
        taken.update((path, job.source.name) for sink in turn.sinks for path in sink.outputs)
    return Propagations(flow.name, tuple(results))


def _jobs(request: PropagateRequest) -> Iterator[_Job]:
    """Videos with their keys. Raises: UsageError, InputError: see each one's message."""
    of_dataset = request.dataset is not None or request.data is not None
    if of_dataset == (request.source is not None):
        raise UsageError(
            "inputs: name either a video and its keys, as in clip.mp4 keys/, or a data set with "
            "--data"
        )
    if of_dataset:
        yield from _of_dataset(request)
        return

    assert request.source is not None
    if request.keys is None:
        raise UsageError(
            f"{request.source}: name the folder of its key masks, too, as in "
            "vidparse propagate clip.mp4 keys/"
        )
    if request.ids and request.label_set is not None:
        raise UsageError("--ids --label-set: ids of objects name no classes; drop one of the two")
    found = expand_inputs([request.source])
    if len(found) > 1:
        raise UsageError(
            f"{request.source}: holds {len(found)} inputs; name one, since keys are of one video"
        )
    (one,) = found
    if one.name == "-" and request.reverse_test:
        raise UsageError("--reverse-test: reads the video twice, and stdin can be read once")
    images = one.sequence()
    stems = None if images is None else [path.stem for path in images]
    keys = keys_of_folder(
        Path(request.keys),
        labels=request.label_set,
        ids=request.ids,
        stems=stems,
        video=source_stem(one),
    )
    if stems is not None:
        keys.check_numbers(len(stems), one.name)
    yield _Job(one, keys)


def _of_dataset(request: PropagateRequest) -> Iterator[_Job]:
    if request.keys is not None or request.label_set is not None or request.ids:
        raise UsageError("--label-set, --ids: are for a folder of keys; a data set has its own")
    if request.out is None:
        raise UsageError("-o: a data set is left as it is; name a folder for the masks")
    name = request.dataset or usual_format(request.data)
    dataset = open_dataset(name, request.data, request.split)

    labelled = [video for video in dataset.videos if any(one.labelled for one in video.frames)]
    if not labelled:
        raise InputError(f"{dataset.name} {dataset.split}: no frame has a mask; draw some first")
    for video in labelled:
        images = tuple(one.image for one in video.frames if one.image is not None)

        # Take the video itself, where an annotation tool has it in place of pictures.
        reader = dataset.read_image
        if not images and isinstance(reader, FramesBeside) and (film := reader.film(video.name)):
            (source,) = expand_inputs([str(film)])
            yield _Job(source, keys_of_video(dataset, video, reader.number), video.name)
            continue
        if len(images) < len(video.frames):
            raise UsageError(
                f"{dataset.name}: frames of {video.name} lie neither as pictures nor in a video "
                "beside the labels; put them there"
            )
        source = Input(video.name, images[0].parent, images=images)
        yield _Job(source, keys_of_video(dataset, video), video.name)


def _with_outputs(request: PropagateRequest, jobs: list[_Job]) -> PropagateRequest:
    """The request with its outputs chosen. Raises: UsageError: as of `choose_outputs`."""
    save = None if request.save is None else one_or_several(request.save)
    out = None if request.out is None else os.fspath(request.out)
    save = with_implied(OUTPUTS, save, request.sinks)
    if save is None and (out is None or not names_a_file(out)):
        panoptic = any(job.keys.is_panoptic for job in jobs)
        save = tuple("panoptic" if panoptic and one == "masks" else one for one in DEFAULT_SAVE)
    save, out = choose_outputs(OUTPUTS, save, out, inputs=[job.source for job in jobs])
    if any(job.video is not None for job in jobs):
        out = f"{out}/"

    # Refuse what takes scores of a network, of which there are none here.
    soft = [name for name in save if OUTPUTS[name].needs_mattes]
    if soft:
        raise UsageError(
            f"--save {soft[0]}: needs the scores of a network; save masks here, and mattes with "
            "segment"
        )
    if request.sinks.skip_existing:
        raise UsageError("--skip-existing: is for segment; use --overwrite, or another -o")
    header = RunHeader(argv=tuple(map(masked, request.argv)), version=__version__)
    return replace(request, save=save, out=out, sinks=replace(request.sinks, header=header))


@dataclass(slots=True)
class _Turn:
    """One of the videos, from opening to the last rename."""

    request: PropagateRequest
    job: _Job
    flow: FlowEstimator
    runner: Runner | None
    make_sinks: Callable[[], list[Sink]]
    sinks: list[Sink] = field(default_factory=list, init=False)
    doubts: Doubts = field(default_factory=Doubts)

    def result(
        self, on_begin: OnBegin, on_frame: Callable[[Frame], None], stop: threading.Event
    ) -> VideoResult:
        """Raises: as of `propagate`."""
        keys, name = self.job.keys, self.job.source.name
        with ExitStack() as closing:
            shelf, halves = Shelf(name), Shelf(name)
            closing.callback(shelf.close)
            closing.callback(halves.close)
            test = ReverseTest(keys, halves) if self.request.reverse_test else None
            source = self._open(copy_streams=True)
            closing.callback(source.close)
            self._check_numbers(source)
            keys.map_of(min(keys.files), source.info.size_hw)  # raises if it is of another video

            # Plan outputs now that video and keys fit: that makes the folder of -o.
            self.sinks = self.make_sinks()
            on_begin(source.info.name, source.info.frames)
            cut = self.request.cut
            network = None if self.runner is None else Session(self.runner, cut=cut)
            if network is not None:
                closing.callback(network.close)
            stages = _Watched(keys, self.flow, cut=cut, shelf=shelf, name=name, network=network)
            stages.watch(self.doubts, test)
            report = run(source, stages, self.sinks, on_frame=on_frame, stop=stop)

            score = None
            if test is not None:
                on_begin(f"{source.info.name}, keys from propagated frames", None)
                again = closing.enter_context(self._open(copy_streams=False))
                score = test.score(again, self.flow, cut=cut, name=name, network=network)
        notes = [*self.job.source.notes, *source.notes, *keys.notes, *self._notes(score)]
        notes += (note for sink in self.sinks for note in sink.notes)
        return VideoResult(
            name,
            tuple(path for sink in self.sinks for path in sink.outputs),
            tuple(notes),
            len(keys.files),
            report,
            self.doubts.origins,
            tuple(self.doubts.worst_first()),
            score,
        )

    def _open(self, *, copy_streams: bool) -> Source:
        return open_video(
            self.job.source, image_rate=self.request.image_rate, copy_streams=copy_streams
        )

    def _check_numbers(self, source: Source) -> None:
        """Refuse a key beyond the video now, not after its last frame, where the end is known."""
        last, frames = max(self.job.keys.files), source.info.frames
        if frames is not None and last >= frames:
            stamps = source.stamps()
            if stamps is not None:
                self.job.keys.check_numbers(len(stamps.pts), source.info.name)

    def _notes(self, score: ReverseScore | None) -> Iterator[str]:
        lost = self.doubts.origins.get(NONE, 0)
        if lost:
            yield (
                f"{counted(lost, 'frame')} in shots without a key: void; draw a key in each shot, "
                "or use --cut off where there is no cut"
            )
        if self.request.reverse_test and score is None:
            yield "--reverse-test: no two keys with frames between them in one shot, so no score"


class _Watched(Propagation):
    """A propagation that shows its predictions to those who keep count."""

    def watch(self, doubts: Doubts, test: ReverseTest | None) -> None:
        self._doubts, self._test = doubts, test

    def finished(self, answered: Iterable[Answered]) -> Iterator[tuple[Frame, Propagated]]:
        for frame, prediction in super().finished(answered):
            self._doubts.see(frame, prediction)
            if self._test is not None:
                self._test.see(frame, prediction)
            yield frame, prediction
