"""The overlay: the input with the classes drawn over it, its sound and its timing.

A `SlotMaker` turns predictions into small numbers with a colour each, which a `Painter` looks up
pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from vidparse.errors import OutputError
from vidparse.frame import Frame, Packet, VideoInfo
from vidparse.image import (
    FULL_RANGE,
    Image,
    Nv12,
    Rgb,
    Yuv420,
    effective_matrix,
    rgb_to_yuv_matrix,
)
from vidparse.labels import Labels
from vidparse.labels.colours import drawn_colours, instance_colour, uncoloured
from vidparse.maps import Prediction, check_ids, recode
from vidparse.requests.outputs import SinkOptions
from vidparse.sinks.legend import Legend
from vidparse.sinks.pictures import Pictures, pictures_at
from vidparse.sinks.sink import Sink, Target
from vidparse.sinks.stream import EncodedVideo, Encoding
from vidparse.sinks.tags import Tags

VOID_SLOT = 255  # of maps of bytes
_LONGEST_TABLE = 1 << 16  # ids up to here are looked up pixel by pixel, greater ones by runs
_LINES_PER_CONTOUR_PIXEL = 720  # contours are one pixel wide a side up to here, then two, ...
_FILE_CONTAINERS = {".mp4": "mp4", ".mkv": "matroska", ".mov": "mov"}
_AS_PICTURE = Encoding("", "", "rgb24")
_JPEG_QUALITY = 95
_PIPES = {
    "y4m": Encoding("y4m", "rawvideo", "yuv420p"),
    "raw": Encoding("rawvideo", "rawvideo", "rgb24"),
    "matroska": Encoding("matroska", "libx264", "yuv420p"),
    "nut": Encoding("nut", "rawvideo", "yuv420p"),
}


class Overlay(Sink):
    """H.264 in mp4, mkv or mov; on a stream y4m, raw rgb24, H.264 in matroska, or raw in nut.

    Of a picture a picture, and numbered pictures where the name has a place for a number.
    """

    suffix: ClassVar[str] = ".overlay.mp4"
    endings: ClassVar[tuple[str, ...]] = tuple(_FILE_CONTAINERS)
    picture_suffix: ClassVar[str] = ".overlay.png"
    picture_endings: ClassVar[tuple[str, ...]] = (".png", ".jpg", ".jpeg")
    copies_streams: ClassVar[bool] = True

    def __init__(self, where: Target | Path | BinaryIO, options: SinkOptions) -> None:
        """Raises: OutputError: a pipe that is called as what a pipe cannot hold."""
        super().__init__(where, options)
        path = self.target.path
        self._pictures: Pictures | None = None
        if path is not None and self.target.ending in self.picture_endings:
            self._pictures = pictures_at(
                path, digits=6, replace=self.target.replace, endings=self.picture_endings
            )
        self._encoding = self._chosen_encoding() if self._pictures is None else _AS_PICTURE

    def begin(self, info: VideoInfo, labels: Labels) -> None:
        self._video = EncodedVideo(self.target)
        self.prepare(info, labels)
        self._matrix = effective_matrix(info.colour, info.size_hw[0])
        self._full_range = info.colour.range == FULL_RANGE
        if self._pictures is not None:
            self._pictures.create()
            return
        copies = self.options.audio
        self._video.open(info, self._encoding, options=self._encoder_options(), copy_streams=copies)

    def prepare(self, info: VideoInfo, labels: Labels) -> None:
        """Get ready to draw, before anything is written. Raises: as `begin`."""
        options = self.options
        colours = drawn_colours(labels, options.palette)
        aspect = float(info.sample_aspect_ratio)

        legend = None
        if options.legend:
            legend = Legend(labels.classes, colours, options.classes, pixel_aspect=aspect)
        self._painter = Painter(
            labels,
            colours,
            opacity=options.opacity,
            contours=options.contours,
            legend=legend,
            tags=Tags(labels.classes, pixel_aspect=aspect) if options.labels else None,
        )
        self._warned = False

    def _chosen_encoding(self) -> Encoding:
        ending = self.target.ending
        if self.target.path is not None:
            return Encoding(_FILE_CONTAINERS[ending], "libx264", "yuv420p")
        if self.options.pipe_format is not None:
            return _PIPES[self.options.pipe_format]
        if ending in (".mp4", ".mov"):
            raise OutputError(
                f"{self.target.name}: a pipe cannot hold {ending[1:]}; end its name in .mkv, "
                "or choose a form with --pipe"
            )
        return _PIPES[{".mkv": "matroska", ".nut": "nut"}.get(ending, "y4m")]

    def _encoder_options(self) -> dict[str, str]:
        if self._encoding.codec != "libx264":
            return {}
        given = {"preset": self.options.preset, "crf": self.options.crf}
        return {key: str(value) for key, value in given.items() if value is not None}

    def add(self, frame: Frame, prediction: Prediction) -> None:
        if self.options.labels and prediction.segments is None and not self._warned:
            self._warned = True
            self.notes.append(
                "--labels: the model is semantic, so there are no objects to write on; "
                "--legend names the classes"
            )

        image = frame.image
        stays = isinstance(image, Nv12) and image.colours == (self._matrix, self._full_range)
        if not stays:
            image = self.as_planes(image)
        assert not isinstance(image, Rgb)
        self.put(frame, self._painter.paint(image, prediction))

    def as_planes(self, image: Image) -> Yuv420:
        """The picture as the output takes it."""
        if isinstance(image, Yuv420):
            return image

        # Convert by the tags that the output carries, or players show other colours.
        return image.yuv420(self._matrix, self._full_range)

    def put(self, frame: Frame, painted: Yuv420) -> None:
        """Write the picture that takes the place of a frame's own. Raises: as `add`."""
        if self._pictures is not None:
            self._pictures.write(frame, _encoded(painted.rgb(), self.target.ending))
            return
        packets = frame.packets if self.options.audio else ()
        shown = painted.rgb() if self._encoding.pixel_format == "rgb24" else painted
        self._video.write(shown, frame.pts, packets, frame.duration)

    def end(self, *, keep: bool, complete: bool, packets: Sequence[Packet]) -> Path | None:
        if self._pictures is not None:
            return self._pictures.close(keep=keep, complete=complete)
        copied = packets if self.options.audio else ()
        try:
            return self._video.close(keep=keep, complete=complete, packets=copied)
        finally:
            self.notes += self._video.notes


def _encoded(rgb: np.ndarray, ending: str) -> bytes:
    """A picture file of RGB uint8 (H, W, 3)."""
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if ending != ".png" else []
    done, data = cv2.imencode(ending, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise OutputError(
            f"a picture of {rgb.shape[1]}x{rgb.shape[0]}: is too large for {ending}; "
            "save the overlay as a video or as .png"
        )
    return data.tobytes()


class Painter:
    """Draws predictions over pictures of one video.

    Args:
        labels: the classes of the ids.
        colours: RGB uint8 (C, 3) by class id.
        opacity: of the colours, 0..1.
        contours: outline every region in its own colour, brightened.
        legend: names of the classes in view, or None.
        tags: class and id on every thing, or None.
    """

    def __init__(
        self,
        labels: Labels,
        colours: np.ndarray,
        *,
        opacity: float = 0.5,
        contours: bool = False,
        legend: Legend | None = None,
        tags: Tags | None = None,
    ) -> None:
        self._slots_of = SlotMaker(labels, colours)
        self._opacity = opacity
        self._contours = contours
        self._legend = legend
        self._tags = tags

    def paint(self, image: Yuv420 | Nv12, prediction: Prediction) -> Yuv420:
        """A new picture; `image` is left as it is. Void pixels keep the video's own colour.

        Colours are mixed where the picture is: on the device, it comes to the host as painted.

        Raises:
            OutputError: a semantic id is neither a class nor void.
        """
        slots = self._slots_of(prediction)
        tables = yuv_tables(slots.colours, image.matrix, image.full_range)

        small = np.ascontiguousarray(slots.map[::2, ::2])  # chroma sits on even columns (H.273)

        if isinstance(image, Nv12):
            painted = image.mixed(slots.map, tables, self._opacity, slots.void)
        else:
            # Look for void once: most pictures have none, which spares a copy per plane.
            void = slots.void if int(slots.map.max()) == slots.void else None
            painted = Yuv420(
                self._blend(image.y, slots.map, tables[0], void),
                self._blend(image.u, small, tables[1], void),
                self._blend(image.v, small, tables[2], void),
                image.matrix,
                image.full_range,
            )

        if self._contours:
            bright = yuv_tables(vivid(slots.colours), image.matrix, image.full_range)
            draw_contours(painted, slots.map, small, bright, slots.void)
        if self._tags is not None:
            self._tags.draw(painted, prediction)
        if self._legend is not None:
            self._legend.draw(painted, small, slots.class_ids)
        return painted

    def _blend(
        self, plane: np.ndarray, ids: np.ndarray, table: np.ndarray, void: int | None
    ) -> np.ndarray:
        colour = looked_up(ids, table)

        # Mix into the plane that was looked up: a new one would cost memory and time.
        mixed = cv2.addWeighted(plane, 1.0 - self._opacity, colour, self._opacity, 0.0, dst=colour)
        if void is not None:
            cv2.copyTo(plane, (ids == void).view(np.uint8), mixed)
        return mixed


def yuv_tables(colours: np.ndarray, matrix: int, full_range: bool) -> np.ndarray:
    """RGB uint8 (S, 3) to one look-up table per plane, uint8 (3, S)."""
    affine = rgb_to_yuv_matrix(matrix, full_range)  # (3, 4)
    yuv: NDArray[np.float64] = (
        affine[:, :3] @ colours.T.astype(np.float64) + affine[:, 3:]
    )  # (3, S)
    return np.clip(np.rint(yuv), 0, 255).astype(np.uint8)


def vivid(colours: np.ndarray) -> np.ndarray:
    """RGB uint8 (N, 3) at full brightness, same hue: a thin line shows on any picture."""
    peak = colours.max(axis=1, keepdims=True).astype(np.float64)  # (N, 1)
    bright: NDArray[np.float64] = colours * (255.0 / np.maximum(peak, 1.0))
    return np.rint(bright).astype(np.uint8)


def draw_contours(
    image: Yuv420, ids: np.ndarray, small_ids: np.ndarray, tables: np.ndarray, void: int
) -> None:
    """Outline regions in place, each side of a border in its own colour.

    Args:
        image: planes to draw on.
        ids: slots (H, W).
        small_ids: every other slot (ceil(H/2), ceil(W/2)).
        tables: uint8 (3, S), plane values by slot.
        void: the slot of nothing.
    """
    edges = region_edges(ids, 1 + (image.size_hw[0] - 1) // _LINES_PER_CONTOUR_PIXEL, void)
    cv2.copyTo(looked_up(ids, tables[0]), edges, image.y)
    height, width = edges.shape
    if height % 2 or width % 2:
        edges = cv2.copyMakeBorder(edges, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)

    # Take chroma where any of its four pixels is an edge: their mean is above zero then.
    chroma_edges = cv2.resize(edges, small_ids.shape[::-1], interpolation=cv2.INTER_AREA)
    for plane, table in ((image.u, tables[1]), (image.v, tables[2])):
        cv2.copyTo(looked_up(small_ids, table), chroma_edges, plane)


def region_edges(ids: np.ndarray, width: int, void: int = VOID_SLOT) -> np.ndarray:
    """255 at pixels of a region that are within `width` of another one, else 0; void never."""
    edges: np.ndarray = np.zeros(ids.shape, np.uint8)
    if min(ids.shape) < 2:  # OpenCV takes no empty arrays
        return edges

    # Mark both pixels of each two neighbours that differ.
    across = cv2.compare(ids[:, 1:], ids[:, :-1], cv2.CMP_NE)
    down = cv2.compare(ids[1:], ids[:-1], cv2.CMP_NE)
    for part, differs in (
        (edges[:, 1:], across),
        (edges[:, :-1], across),
        (edges[1:], down),
        (edges[:-1], down),
    ):
        cv2.bitwise_or(part, differs, dst=part)

    if width > 1:
        cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
        edges = cv2.dilate(edges, cross, iterations=width - 1)
    if int(ids.max()) == void:
        np.multiply(edges, ids != void, out=edges)
    return edges


@dataclass(frozen=True, slots=True)
class Slots:
    """One small number per pixel: the slot of its region, `void` where nothing is drawn.

    map: uint8 (H, W), or int32 where more than 255 regions are in view. colours: RGB uint8 (S, 3)
    by slot. class_ids: int64 (S,) by slot, -1 for slots not in use.
    """

    map: np.ndarray
    colours: np.ndarray
    class_ids: np.ndarray
    void: int = VOID_SLOT


def looked_up(ids: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Values uint8 (H, W) of a table (S,) by slot."""
    return cv2.LUT(ids, table) if ids.dtype == np.uint8 else table.take(ids)


class SlotMaker:
    """Turns predictions into slots; the tables of byte-wide semantic maps are made once.

    A thing keeps the colour that it has first, also when it is taken for another class later: one
    number is held per id.
    """

    def __init__(self, labels: Labels, colours: np.ndarray) -> None:
        self._labels = labels
        self._class_colours = colours
        self._uncoloured = uncoloured(labels)
        self._shown = self._hiding(np.arange(256, dtype=np.uint8), VOID_SLOT)
        self._byte_table = self._table(np.arange(min(len(labels), VOID_SLOT)))
        self._first_class: dict[int, int] = {}  # of each thing, by id

    def __call__(self, prediction: Prediction) -> Slots:
        """Raises OutputError when a semantic id is neither a class nor void."""
        ids = prediction.ids
        if prediction.segments is not None:
            return self._panoptic(prediction)
        check_ids(ids, self._labels)
        if self._labels.void == VOID_SLOT:
            slots = ids.astype(np.uint8, copy=False)
            if self._uncoloured:
                return Slots(cv2.LUT(slots, self._shown), *self._byte_table)
            return Slots(slots, *self._byte_table)

        # Wide label sets: the classes in this frame, in order, get slots 0, 1, 2, ...
        counts = np.bincount(ids.ravel(), minlength=self._labels.void + 1)
        present = np.flatnonzero(counts[: len(self._labels)])
        void, dtype = _width(len(present))
        table = np.full(self._labels.void + 1, void, dtype)
        table[present] = np.arange(len(present))
        return Slots(self._hiding(table, void).take(ids), *self._table(present), void)

    def _hiding(self, table: np.ndarray, void: int) -> np.ndarray:
        """Slots by class id, with classes that are not coloured as void."""
        table[sorted(self._uncoloured)] = void
        return table

    def _panoptic(self, prediction: Prediction) -> Slots:
        segments = [
            segment
            for segment in prediction.segments or ()
            if segment.class_id not in self._uncoloured
        ]
        void, dtype = _width(len(segments))
        slots = np.arange(len(segments), dtype=dtype)
        colours = np.zeros((void + 1, 3), np.uint8)
        class_ids = np.full(void + 1, -1, np.int64)
        for slot, segment in enumerate(segments):
            class_ids[slot] = segment.class_id
            if segment.is_thing:
                # Keep the first class's colour: a thing whose class changes would flicker.
                kind = self._first_class.setdefault(segment.id, segment.class_id)
                colour = tuple(self._class_colours[kind].tolist())
                colours[slot] = instance_colour(colour, segment.id)
            else:
                colours[slot] = self._class_colours[segment.class_id]

        numbers = np.array([segment.id for segment in segments], np.int64)

        # Search where ids are large: a table up to them may outgrow the picture.
        if numbers.max(initial=0) >= _LONGEST_TABLE:
            order = np.argsort(numbers)
            found = recode(prediction.ids, numbers[order], slots[order], otherwise=void)
            return Slots(found, colours, class_ids, void)

        # Let ids that no segment has fall on the last entry, which is void.
        table = np.full(int(numbers.max(initial=0)) + 2, void, dtype)
        table[numbers] = slots
        return Slots(table.take(prediction.ids, mode="clip"), colours, class_ids, void)

    def _table(self, class_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        void, _ = _width(len(class_ids))
        colours = np.zeros((void + 1, 3), np.uint8)
        classes = np.full(void + 1, -1, np.int64)
        colours[: len(class_ids)] = self._class_colours[class_ids]
        classes[: len(class_ids)] = class_ids
        return colours, classes


def _width(count: int) -> tuple[int, type[np.generic]]:
    """The slot of nothing and the type of maps of so many slots."""
    return (VOID_SLOT, np.uint8) if count <= VOID_SLOT else (count, np.int32)
