"""Drawing on YUV 4:2:0 planes: class colours, contours, legend; no RGB picture is ever made."""

from __future__ import annotations

import cv2
import numpy as np

from vidparse.image import Yuv420, rgb_to_yuv_matrix
from vidparse.labels import Labels
from vidparse.maps import Prediction
from vidparse.sinks.legend import Legend
from vidparse.sinks.slots import VOID_SLOT, SlotMaker

_LINES_PER_CONTOUR_PIXEL = 720  # contours are one pixel wide a side up to here, then two, ...


class Painter:
    """Draws predictions over pictures of one video.

    Args:
        labels: what the ids mean.
        colours: RGB uint8 (C, 3) by class id.
        opacity: of the colours, 0..1.
        contours: outline every region in its own colour, brightened.
        legend: names of the classes in view, or None.
    """

    def __init__(
        self,
        labels: Labels,
        colours: np.ndarray,
        *,
        opacity: float = 0.5,
        contours: bool = False,
        legend: Legend | None = None,
    ) -> None:
        self._slots_of = SlotMaker(labels, colours)
        self._opacity = opacity
        self._contours = contours
        self._legend = legend

    def paint(self, image: Yuv420, prediction: Prediction) -> Yuv420:
        """A new picture; `image` is left as it is. Void pixels keep the video's own colour.

        Raises:
            OutputError: a semantic id is neither a class nor void.
        """
        slots = self._slots_of(prediction)
        tables = yuv_tables(slots.colours, image.matrix, image.full_range)
        small = np.ascontiguousarray(slots.map[::2, ::2])  # chroma sits on even columns (H.273)
        has_void = int(slots.map.max()) == VOID_SLOT
        painted = Yuv420(
            self._blend(image.y, slots.map, tables[0], has_void),
            self._blend(image.u, small, tables[1], has_void),
            self._blend(image.v, small, tables[2], has_void),
            image.matrix,
            image.full_range,
        )
        if self._contours:
            bright = yuv_tables(vivid(slots.colours), image.matrix, image.full_range)
            draw_contours(painted, slots.map, small, bright)
        if self._legend is not None:
            self._legend.draw(painted, small, slots.class_ids)
        return painted

    def _blend(
        self, plane: np.ndarray, ids: np.ndarray, table: np.ndarray, has_void: bool
    ) -> np.ndarray:
        colour = cv2.LUT(ids, table)
        mixed = cv2.addWeighted(plane, 1.0 - self._opacity, colour, self._opacity, 0.0, dst=colour)
        if has_void:
            cv2.copyTo(plane, (ids == VOID_SLOT).view(np.uint8), mixed)
        return mixed


def yuv_tables(colours: np.ndarray, matrix: int, full_range: bool) -> np.ndarray:
    """RGB uint8 (256, 3) to one look-up table a plane, uint8 (3, 256)."""
    affine = rgb_to_yuv_matrix(matrix, full_range)  # (3, 4)
    yuv = affine[:, :3] @ colours.T.astype(np.float64) + affine[:, 3:]  # (3, 256)
    return np.clip(np.rint(yuv), 0, 255).astype(np.uint8)


def vivid(colours: np.ndarray) -> np.ndarray:
    """RGB uint8 (N, 3) at full brightness, same hue: a thin line shows on any picture."""
    peak = colours.max(axis=1, keepdims=True).astype(np.float64)  # (N, 1)
    return np.rint(colours * (255.0 / np.maximum(peak, 1.0))).astype(np.uint8)


def draw_contours(
    image: Yuv420, ids: np.ndarray, small_ids: np.ndarray, tables: np.ndarray
) -> None:
    """Outline regions in place, each side of a border in its own colour.

    Args:
        image: planes to draw on.
        ids: uint8 (H, W) slots.
        small_ids: uint8 (ceil(H/2), ceil(W/2)), every other slot.
        tables: uint8 (3, 256), plane values by slot.
    """
    edges = region_edges(ids, 1 + (image.size_hw[0] - 1) // _LINES_PER_CONTOUR_PIXEL)
    cv2.copyTo(cv2.LUT(ids, tables[0]), edges, image.y)
    height, width = edges.shape
    if height % 2 or width % 2:
        edges = cv2.copyMakeBorder(edges, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    chroma_edges = cv2.resize(edges, small_ids.shape[::-1], interpolation=cv2.INTER_AREA)
    for plane, table in ((image.u, tables[1]), (image.v, tables[2])):
        cv2.copyTo(cv2.LUT(small_ids, table), chroma_edges, plane)


def region_edges(ids: np.ndarray, width: int) -> np.ndarray:
    """255 at pixels of a region that are within `width` of another one, else 0; void never."""
    edges = np.zeros_like(ids)
    if min(ids.shape) < 2:  # OpenCV takes no empty arrays
        return edges
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
    if int(ids.max()) == VOID_SLOT:
        np.multiply(edges, ids != VOID_SLOT, out=edges)
    return edges
