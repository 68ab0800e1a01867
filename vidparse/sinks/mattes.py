"""Mattes as outputs: gray video, gray PNGs and trimaps, of one matte or a file for each.

With `--matte each` files come as classes and objects do. A file that begins late is filled up with
empty frames, so that all of them fit the video frame by frame. A matte that was named by itself is
empty as long, so that both have the same pictures.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, ClassVar, Protocol, cast

import numpy as np

from vidparse.errors import OutputError, UsageError
from vidparse.filenames import one_or_several
from vidparse.frame import Frame, Packet, VideoInfo
from vidparse.image import FULL_RANGE, Rgb, Yuv420, YuvAlpha
from vidparse.labels import Labels
from vidparse.maps import Matte, Prediction
from vidparse.requests.matte import EACH
from vidparse.requests.outputs import SinkOptions
from vidparse.sinks.masks import ffv1_options
from vidparse.sinks.pictures import Pictures, check_target, gray_png, pictures_at
from vidparse.sinks.sink import Sink, Target, in_no_frame
from vidparse.sinks.stream import EncodedVideo, Encoding, Rows, dumped, encoded
from vidparse.textfiles import parse_json

MOST_FILES = 32  # of one output with `each`: every one has an encoder of its own
_CLEAR = 128  # alpha from which on an object counts as in view
_NOT_IN_NAMES = re.compile(r"[^\w+.-]+")
_NO_PICTURE = Rgb(np.zeros((1, 1, 3), np.uint8))


class MatteFile(Protocol):
    """The file, or folder of pictures, of one matte."""

    notes: list[str]

    def open(self, info: VideoInfo) -> None:
        """Raises: OutputError: it cannot be written."""

    def write(self, frame: Frame, matte: Matte | None) -> None:
        """Add a frame; None where alpha is 0 everywhere. Raises: as `Sink.add`."""

    def close(self, *, keep: bool, complete: bool, packets: Sequence[Packet]) -> Path | None:
        """As `Sink.end`."""


class Mattes(Sink):
    """An output of mattes: one file, or one for each class and object."""

    copies_streams: ClassVar[bool] = False
    needs_mattes: ClassVar[bool] = True
    by_ending: ClassVar[bool] = False

    def __init__(self, where: Target | Path | BinaryIO, options: SinkOptions) -> None:
        """Raises: UsageError, OutputError: a place where a file for each cannot be."""
        super().__init__(where, options)
        words = options.mattes.matte
        self._each = words is not None and EACH in one_or_several(words)
        if self._each:
            self._check_each()
            self.outputs = ()
        self._files: dict[str, MatteFile] = {}
        self._left_out: set[str] = set()
        self._has_seen = False

    @abstractmethod
    def matte_file(self, target: Target) -> MatteFile:
        """The file of one matte at its place."""

    def begin(self, info: VideoInfo, labels: Labels) -> None:
        self._info = info
        self._past = Rows(self.target.name) if self._each else None
        if not self._each:
            self._files[""] = self.matte_file(self.target)
            self._files[""].open(info)

    def add(self, frame: Frame, prediction: Prediction) -> None:
        found = {one.name: one for one in prediction.mattes if one.alpha.any()}
        if self._past is None:
            # Leave out what is faint before the first clear frame, as files of `each` do.
            matte = next(iter(found.values()), None)
            self._has_seen = self._has_seen or (matte is not None and _is_clear(matte))
            self._files[""].write(frame, matte if self._has_seen else None)
            return

        for name, matte in found.items():
            if name not in self._files and _is_clear(matte):
                self._begin_late(name)
        for name, file in self._files.items():
            file.write(_silent(frame), found.get(name))
        self._past.add(encoded(dumped([frame.index, frame.pts, frame.duration, frame.name]) + "\n"))

    def end(self, *, keep: bool, complete: bool, packets: Sequence[Packet]) -> Path | None:
        if self._past is not None:
            self._past.close()

        # Put every file away, whatever becomes of the others.
        files, self._files = self._files, {}
        left = None
        failure: Exception | None = None
        for file in files.values():
            try:
                place = file.close(
                    keep=keep and failure is None, complete=complete, packets=packets
                )
                left = left or place
            except Exception as error:
                failure = failure or error
            self.notes += [note for note in file.notes if note not in self.notes]

        if keep and not self._has_seen and not self._each:
            wanted = self.options.mattes.matte
            self.notes.append(in_no_frame(self.target.name, wanted, "the matte is empty"))
        if self._left_out:
            self.notes.append(
                f"{self.target.name}: {len(self._left_out)} more classes or objects have no file: "
                f"{MOST_FILES} are the most; choose some with --matte"
            )
        if failure is not None:
            raise failure
        return left if not self._each else None

    def _check_each(self) -> None:
        """Refuse places that cannot hold several files, and files that are there."""
        path = self.target.path
        if path is None:
            raise UsageError(f"-o {self.target.name}: a stream carries one matte; name its class")
        if self.options.skip_existing:
            raise UsageError(
                "--matte each: nobody knows its files before, so none can be skipped; "
                "drop --skip-existing, or name the classes"
            )
        before, after = self._parts(path)
        name = re.compile(rf"{re.escape(before)}\.[^/]+{re.escape(after)}")
        if not self.target.replace and path.parent.is_dir():
            for one in path.parent.iterdir():
                if name.fullmatch(one.name):
                    raise OutputError(f"{one}: exists; use --overwrite or -o")

    def _parts(self, path: Path) -> tuple[str, str]:
        """The parts of a file name before and after that of a class or object."""
        for suffix in (self.suffix, self.picture_suffix):
            if suffix and path.name.endswith(suffix):
                return path.name.removesuffix(suffix), suffix
        return (path.name, "") if self.is_folder else (path.stem, path.suffix)

    def _begin_late(self, name: str) -> None:
        """Begin the file of a class or object that came into view, with the frames before it."""
        if len(self._files) >= MOST_FILES:
            self._left_out.add(name)
            return
        assert self.target.path is not None and self._past is not None
        before, after = self._parts(self.target.path)
        safe = _NOT_IN_NAMES.sub("-", name)
        final = self.target.path.with_name(f"{before}.{safe}{after}")
        replace = self.target.replace
        check_target(final, overwrite=replace, is_folder=self.is_folder, of_pictures=True)

        file = self._files[name] = self.matte_file(Target.of(final, replace=replace))
        self.outputs = (*self.outputs, str(final))
        file.open(self._info)
        for frame in _frames(self._past, self._info):
            file.write(frame, None)


def _is_clear(matte: Matte) -> bool:
    """The object counts as in view."""
    return int(matte.alpha.max(initial=0)) >= _CLEAR


def _frames(rows: Rows, info: VideoInfo) -> Iterator[Frame]:
    """The frames that were noted, without their pictures."""
    rest = b""
    for block in rows.blocks():
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            row = cast("tuple[int, int, int | None, str | None]", parse_json(line))
            index, pts, duration, name = row
            yield Frame(index, pts, _NO_PICTURE, name, duration=duration, time_base=info.time_base)


def _silent(frame: Frame) -> Frame:
    """The frame without the packets of its sound: files that begin late could not hold all."""
    return replace(frame, packets=()) if frame.packets else frame


_GRAY_FILES = {
    ".mp4": Encoding("mp4", "libx264", "yuv420p"),
    ".mov": Encoding("mov", "libx264", "yuv420p"),
    ".mkv": Encoding("matroska", "ffv1", "gray"),
}
_GRAY_PIPES = {
    "y4m": Encoding("y4m", "rawvideo", "gray"),
    "raw": Encoding("rawvideo", "rawvideo", "gray"),
    "matroska": Encoding("matroska", "ffv1", "gray"),
    "nut": Encoding("nut", "ffv1", "gray"),
}
_GRAY_CRF = "12"  # edges of mattes are what they are for


class MatteVideo(Mattes):
    """Alpha as a gray video: white inside; H.264 in mp4 or mov, lossless FFV1 in mkv.

    One picture, or numbered ones, become PNGs.
    """

    suffix: ClassVar[str] = ".matte.mp4"
    picture_suffix: ClassVar[str] = ".matte.png"
    picture_endings: ClassVar[tuple[str, ...]] = (".png",)
    endings: ClassVar[tuple[str, ...]] = tuple(_GRAY_FILES)
    copies_streams: ClassVar[bool] = True

    def matte_file(self, target: Target) -> MatteFile:
        if target.path is not None and target.ending in self.picture_endings:
            return PictureFiles(target, self._picture, "matte")
        return _GrayVideo(target, self.options, sound=not self._each)

    def _picture(self, frame: Frame, matte: Matte | None) -> bytes:
        alpha: np.ndarray = np.zeros(self._info.size_hw, np.uint8)
        return gray_png(alpha if matte is None else matte.alpha)


class EncodedMatte:
    """A video of one matte, with the sound of its frames or without."""

    def __init__(self, target: Target, *, sound: bool) -> None:
        self.notes: list[str] = []
        self._video, self._sound = EncodedVideo(target), sound

    def put(self, picture: Yuv420 | YuvAlpha | np.ndarray, frame: Frame) -> None:
        """Add the picture of a frame, at its time. Raises: as `Sink.add`."""
        packets = frame.packets if self._sound else ()
        self._video.write(picture, frame.pts, packets, frame.duration)

    def close(self, *, keep: bool, complete: bool, packets: Sequence[Packet]) -> Path | None:
        try:
            copied = packets if self._sound else ()
            return self._video.close(keep=keep, complete=complete, packets=copied)
        finally:
            self.notes += self._video.notes


class _GrayVideo(EncodedMatte):
    """One gray video."""

    def __init__(self, target: Target, options: SinkOptions, *, sound: bool) -> None:
        super().__init__(target, sound=sound and options.audio)
        self._options = options
        if target.path is None:
            self._encoding = _GRAY_PIPES[options.pipe_format or "y4m"]
        else:
            self._encoding = _GRAY_FILES[target.ending]

    def open(self, info: VideoInfo) -> None:
        self._size_hw = info.size_hw
        self._full_range = info.colour.range == FULL_RANGE
        settings = {}
        if self._encoding.codec == "libx264":
            crf, preset = self._options.crf, self._options.preset
            settings = {"crf": _GRAY_CRF if crf is None else str(crf)}
            if preset is not None:
                settings["preset"] = preset
        elif self._encoding.codec == "ffv1":
            settings = ffv1_options(info.size_hw)
        has_sound = self._sound and self._encoding.container not in ("y4m", "rawvideo")
        self._video.open(info, self._encoding, options=settings, copy_streams=has_sound)

    def write(self, frame: Frame, matte: Matte | None) -> None:
        alpha = np.zeros(self._size_hw, np.uint8) if matte is None else matte.alpha
        image: Yuv420 | np.ndarray = alpha
        if self._encoding.pixel_format == "yuv420p":
            image = gray_yuv(alpha, full_range=self._full_range)
        self.put(image, frame)


def gray_yuv(alpha: np.ndarray, *, full_range: bool) -> Yuv420:
    """A gray picture of alpha uint8 (H, W): 16 to 235 unless the range is full."""
    levels = np.arange(256) if full_range else np.rint(16 + np.arange(256) * (219 / 255))
    luma = levels.astype(np.uint8)[alpha]
    chroma = np.full([-(-side // 2) for side in alpha.shape], 128, np.uint8)
    return Yuv420(luma, chroma, chroma, 1, full_range)


class MattePictures(Mattes):
    """Alpha as 8-bit gray PNGs, one per frame."""

    suffix: ClassVar[str] = ".matte"
    is_folder: ClassVar[bool] = True
    picture_endings: ClassVar[tuple[str, ...]] = (".png",)
    output: ClassVar[str] = "matte-png"  # its name, for messages

    def __init__(self, where: Target | Path | BinaryIO, options: SinkOptions) -> None:
        """Raises: UsageError: as `Mattes`, or `where` is a stream. OutputError: as `Mattes`."""
        super().__init__(where, options)
        self.target.folder(self.output)

    def matte_file(self, target: Target) -> MatteFile:
        return PictureFiles(target, self.picture, self.output)

    def picture(self, frame: Frame, matte: Matte | None) -> bytes:
        """A PNG file for a frame; None: nothing of the matte is in it."""
        if matte is None:
            return gray_png(np.zeros(self._info.size_hw, np.uint8))
        return gray_png(self.levels(matte))

    def levels(self, matte: Matte) -> np.ndarray:
        """The gray of each pixel, uint8 (H, W)."""
        return matte.alpha


class Trimaps(MattePictures):
    """0 outside, 255 inside, and 128 where the edge is unsure: gray PNGs for matting tools."""

    suffix: ClassVar[str] = ".trimap"
    output: ClassVar[str] = "trimap"

    def levels(self, matte: Matte) -> np.ndarray:
        from vidparse.matting.trimap import trimap_of

        return trimap_of(matte)


class PictureOf(Protocol):
    """Makes the picture file of a frame."""

    def __call__(self, frame: Frame, matte: Matte | None) -> bytes: ...


class PictureFiles:
    """A folder of pictures, or one picture, of one matte.

    Args:
        picture: makes each picture file.
        output: its name, for messages.

    Raises:
        UsageError: the target is a stream.
    """

    def __init__(self, target: Target, picture: PictureOf, output: str) -> None:
        self.notes: list[str] = []
        self._picture = picture
        self._pictures: Pictures = pictures_at(
            target.folder(output), digits=6, replace=target.replace
        )

    def open(self, info: VideoInfo) -> None:
        self._pictures.create()

    def write(self, frame: Frame, matte: Matte | None) -> None:
        self._pictures.write(frame, self._picture(frame, matte))

    def close(self, *, keep: bool, complete: bool, packets: Sequence[Packet]) -> Path | None:
        return self._pictures.close(keep=keep, complete=complete)
