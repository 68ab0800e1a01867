"""Things by their centres: peaks of a map, the pixels that point to them, and who follows whom.

Panoptic-DeepLab (Cheng et al., CVPR 2020, section 3.2) and ViP-DeepLab (Qiao et al., CVPR 2021,
section 3.3), with the numbers that deeplab2 has for VIPSeg.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from vidparse.inference.overlap import mask_ious

LEAST_CENTRE = 0.1  # from which on a peak is a centre
MOST_CENTRES = 200  # of a frame; the greatest are kept
NEIGHBOURHOOD = 3  # positions a side in which a peak is the greatest: at stride 4, 13 pixels
_AT_ONCE = 1 << 22  # products of pixels and centres


def find_centres(heat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The peaks of a map, the greatest first; the place in this order is the number of a centre.

    Args:
        heat: float32 (h, w), near 1 at centres.

    Returns:
        places float32 (C, 2), row and column of a position, and scores float32 (C,) up to 1.
    """
    around = np.ones((NEIGHBOURHOOD, NEIGHBOURHOOD), np.uint8)
    peaks = (heat >= LEAST_CENTRE) & (heat == cv2.dilate(heat, around))
    places = np.argwhere(peaks)
    scores = heat[peaks]
    order = np.argsort(-scores, kind="stable")[:MOST_CENTRES]
    return places[order].astype(np.float32), np.minimum(scores[order], np.float32(1))


def group_pixels(
    there: np.ndarray, offsets: np.ndarray, places: np.ndarray, input_hw: tuple[int, int]
) -> np.ndarray:
    """Each pixel of things with the centre that is nearest to where it points.

    Args:
        there: bool (H, W), the pixels of things.
        offsets: float32 (2, h, w), rows and columns in pixels of the input; brought to (H, W)
            bilinearly.
        places: float32 (C, 2), as of :func:`find_centres`; C may be 0.
        input_hw: height and width of the input, which the maps cover.

    Returns:
        uint16 (H, W): number of the centre + 1; 0 where there is no thing, or no centre at all.
    """
    groups = np.zeros(there.shape, np.uint16)
    rows, columns = np.nonzero(there)
    if not len(rows) or not len(places):
        return groups
    height, width = there.shape
    full = cv2.resize(
        np.ascontiguousarray(offsets.transpose(1, 2, 0)), (width, height)
    )  # (H, W, 2)

    # Measure in pixels of the input, from its middle, where float32 is finest.
    scale = np.array(input_hw, np.float32) / there.shape
    cell = np.array(input_hw, np.float32) / offsets.shape[1:]
    middle = np.array(input_hw, np.float32) / 2
    centres = (places + 0.5) * cell - middle  # (C, 2)
    bar = (centres**2).sum(axis=1) / 2
    found = np.empty(len(rows), np.uint16)
    step = max(1, _AT_ONCE // len(centres))
    for first in range(0, len(rows), step):
        part = slice(first, first + step)
        pixels = np.stack([rows[part], columns[part]], axis=1).astype(np.float32)
        aims = (pixels + 0.5) * scale - middle + full[rows[part], columns[part]]
        # The nearest centre c of a place p has the greatest p c - c c / 2.
        found[part] = (aims.astype(np.float32) @ centres.T - bar).argmax(axis=1)
    groups[rows, columns] = found + 1
    return groups


def majority(groups: np.ndarray, kinds: np.ndarray, count: int) -> dict[int, int]:
    """The class that most pixels of each group have, by group; of equal ones the lowest.

    Args:
        groups: unsigned integers (H, W), 0 for none. kinds: class ids (H, W), all below `count`.
    """
    inside = groups > 0
    pairs = groups[inside].astype(np.int64) * count + kinds[inside]
    rows = int(groups.max(initial=0)) + 1
    table = np.bincount(pairs, minlength=rows * count).reshape(rows, count)
    return {int(group): int(table[group].argmax()) for group in np.flatnonzero(table.any(axis=1))}


def stitched(
    ids: np.ndarray,
    things: Mapping[int, int],
    earlier: np.ndarray,
    earlier_things: Mapping[int, int],
) -> dict[int, int]:
    """The thing of the frame before that each thing of a frame is, in one and the same frame.

    Pairs of one class are taken in the order of their IoU, each thing once; a pair that shares no
    pixel is none.

    Args:
        ids: unsigned integers (H, W), the things as this frame finds them; class of each by id.
        earlier: (H, W), the same pixels as they point to things of the frame before; class of each.
    """
    if not things or not earlier_things:
        return {}
    rows, columns = list(things), list(earlier_things)
    iou = mask_ious(ids, rows, earlier, columns)  # (N, M)
    same = np.array(list(things.values()))[:, None] == np.array(list(earlier_things.values()))
    iou[~same] = 0
    matched: dict[int, int] = {}
    for place in np.argsort(-iou, axis=None, kind="stable").tolist():
        row, column = divmod(place, len(columns))
        if iou[row, column] <= 0:
            break
        if rows[row] not in matched and columns[column] not in matched.values():
            matched[rows[row]] = columns[column]
    return matched
