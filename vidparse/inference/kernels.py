"""Clip-PanoFCN's kernels: where the maps of a clip show something, and which are of one object.

Miao et al., "Large-scale Video Panoptic Segmentation in the Wild", CVPR 2022, as its code has it;
the maps are those of PanopticFCN (Li et al., CVPR 2021). C channels of a kernel, D of a feature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from vidparse.inference.upsample import upsample_argmax

SIMILARITY = 0.9  # cosine, from which on two kernels of one class are of one object
LEAST_SCORE = 0.05  # of a candidate or a region, which must be above it
MOST_CANDIDATES = 50  # of a level in a frame
SMOOTHING = (3, 3, 3, 5, 5)  # cells, side of the mean's window, by level

Embedding = tuple[np.ndarray, np.ndarray]  # weight (D, C), bias (D,)


@dataclass(frozen=True, slots=True)
class Kernels:
    """M kernels: vectors float32 (M, C or D), scores float32 (M,), class_ids int64 (M,)."""

    vectors: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray

    def embedded(self, embedding: Embedding) -> Kernels:
        """The same over features: weight @ kernel + bias."""
        weight, bias = (np.asarray(one, np.float32) for one in embedding)
        return Kernels(self.vectors @ weight.T + bias, self.scores, self.class_ids)

    def rows(self, rows: np.ndarray) -> Kernels:
        """Those of these indices, in their order."""
        return Kernels(self.vectors[rows], self.scores[rows], self.class_ids[rows])


def fuse_kernels(
    kernels: np.ndarray,
    scores: np.ndarray,
    class_ids: np.ndarray,
    *,
    similarity: float = SIMILARITY,
) -> tuple[np.ndarray, np.ndarray]:
    """Find kernels that are of one object, and the mean kernel of each object.

    A row joins the first row before it of its class whose cosine with it is `similarity` or more. A
    row that joins none is kept. One that joins a row which itself was not kept is in no object.

    Args:
        kernels: (N, D), in falling order of score; equal scores: the earlier counts as better.
        scores: (N,). class_ids: int (N,).

    Returns:
        kept int64 (M,), rising, and fused float32 (M, D): the mean of each kept row and of those
        that joined it, as they were given. A kernel of zeros resembles nothing.
    """
    vectors = np.asarray(kernels, np.float64)
    classes = np.asarray(class_ids)
    count = len(vectors)
    first = np.arange(count)
    for class_id in np.unique(classes):
        (rows,) = np.nonzero(classes == class_id)

        # Look above the diagonal only: a row may join a better one, never a worse one.
        alike = np.triu(_cosines(vectors[rows]) >= similarity, k=1)  # (n, n), row above column
        joins = alike.any(axis=0)
        first[rows[joins]] = rows[alike.argmax(axis=0)[joins]]

    kept = np.flatnonzero(first == np.arange(count))
    place = np.full(count, -1)
    place[kept] = np.arange(len(kept))

    # Leave out rows that joined a row which joined another, as the published code does.
    member = place[first] >= 0
    sums = np.zeros((len(kept), *vectors.shape[1:]))
    np.add.at(sums, place[first[member]], vectors[member])
    sizes = np.bincount(place[first[member]], minlength=len(kept))
    return kept.astype(np.int64), (sums / sizes[:, None]).astype(np.float32)


def _cosines(vectors: np.ndarray) -> np.ndarray:
    """float64 (N, N); NaN for a vector of zeros."""
    largest = np.abs(vectors).max(axis=1, initial=0.0, keepdims=True)
    scaled = vectors / np.where(largest > 0, largest, 1)  # squares neither vanish nor overflow
    products = scaled @ scaled.T
    squares = np.diagonal(products)
    with np.errstate(invalid="ignore"):
        return products / np.sqrt(squares[:, None] * squares)


def thing_kernels(
    centres: Sequence[np.ndarray],
    kernels: Sequence[np.ndarray],
    embedding: Embedding,
    *,
    similarity: float = SIMILARITY,
) -> Kernels:
    """One kernel (M, D) for each object of a clip, in falling order of the best candidate's score.

    Args:
        centres: logits (T, Kt, h, w) of each level. kernels: (T, C, h, w) of each level.
    """
    found = [
        level_candidates(one, maps, SMOOTHING[min(level, len(SMOOTHING) - 1)])
        for level, (one, maps) in enumerate(zip(centres, kernels, strict=True))
    ]
    together = Kernels(
        np.concatenate([one.vectors for one in found]),
        np.concatenate([one.scores for one in found]),
        np.concatenate([one.class_ids for one in found]),
    )

    # Fuse what finds the same object; the best candidate of each comes first.
    falling = np.argsort(-together.scores, kind="stable")
    embedded = together.rows(falling).embedded(embedding)
    kept, fused = fuse_kernels(
        embedded.vectors, embedded.scores, embedded.class_ids, similarity=similarity
    )
    return Kernels(fused, embedded.scores[kept], embedded.class_ids[kept])


def level_candidates(centres: np.ndarray, kernels: np.ndarray, window: int) -> Kernels:
    """Cells of one level that may be the centre of a thing, with their kernels (N, C).

    Of every frame the best min(50, h * w) cells, over all classes, that are the greatest within a
    cell of them and above LEAST_SCORE; frame by frame, in falling order of score.

    Args:
        centres: logits (T, Kt, h, w). kernels: (T, C, h, w).
        window: side of the window of the mean, cells; cells outside of the map count as 0.
    """
    frames, classes, height, width = centres.shape
    planes = np.asarray(centres, np.float32).reshape(frames * classes, height, width)
    plane, rows, columns, scores = _peaks(planes, window)
    frame, class_ids = plane // max(classes, 1), plane % max(classes, 1)

    # Of each frame the best ones; where scores are equal the first.
    falling = np.lexsort((-scores, frame))
    rank = np.arange(len(falling)) - np.searchsorted(frame, frame)  # frames rise in both orders
    best = falling[rank < min(MOST_CANDIDATES, height * width)]
    vectors = kernels[frame[best], :, rows[best], columns[best]].astype(np.float32)
    return Kernels(vectors, scores[best], class_ids[best])


def _peaks(
    logits: np.ndarray, window: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The peaks of planes (N, h, w), plane by plane and row by row.

    Returns:
        of each peak its plane, row and column, int64, and its score, float32.
    """
    # Leave out planes without one: no mean is above the greatest of its values.
    least = np.log(LEAST_SCORE / (1 - LEAST_SCORE)) - 1e-3
    busy = np.flatnonzero(logits.max(axis=(1, 2)) >= least)

    # Lay the others out one below the other, as one plane, with zeros between.
    height, width = logits.shape[1:]
    sheet = np.zeros((len(busy), height + window // 2, width), np.float32)
    sheet[:, :height] = sigmoid(logits[busy])
    score = sheet.reshape(-1, width)
    if not len(score):
        nothing = np.zeros(0, np.int64)
        return nothing, nothing, nothing, np.zeros(0, np.float32)

    # Average each score with the mean around it, as the published code does before peaks.
    score += _windowed_mean(score, window)
    score /= 2

    # Clear the gaps again: the mean bled into them, and they would hide peaks at the edge.
    sheet[:, height:] = 0

    highest = cv2.dilate(score, np.ones((3, 3), np.uint8))
    rows, columns = np.nonzero((score == highest) & (score > LEAST_SCORE))
    place, row = np.divmod(rows, sheet.shape[1])
    return busy[place], row, columns, score[rows, columns]


def _windowed_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Mean of (h, w) over window x window cells, with zeros around; mirrored values give the same.

    So cells that are equal by symmetry stay equal, and both are the greatest around them.
    """
    reach = window // 2
    for _ in range(2):  # down, then across
        padded = np.zeros((len(values) + 2 * reach, values.shape[1]), np.float32)
        padded[reach:-reach] = values
        total = values.copy()
        for k in range(reach):
            total += padded[k : k + len(values)] + padded[2 * reach - k :][: len(values)]
        values = cv2.transpose(total)
    return values / np.float32(window**2)


def stuff_kernels(
    regions: Sequence[np.ndarray], kernels: Sequence[np.ndarray], embedding: Embedding
) -> Kernels:
    """One kernel (M, D) for each class of a clip, 0 (any thing) among them, by class.

    Each is the mean over the levels where the class has a score above LEAST_SCORE.

    Args:
        regions: logits (T, Ks + 1, h, w) of each level. kernels: (T, C, h, w) of each level.
    """
    found = [
        level_regions(one, maps).embedded(embedding)
        for one, maps in zip(regions, kernels, strict=True)
    ]
    vectors = np.concatenate([one.vectors for one in found])
    scores = np.concatenate([one.scores for one in found])
    class_ids = np.concatenate([one.class_ids for one in found])

    # Average per class by one product: a level without the class has no row of it.
    classes = np.unique(class_ids)
    share = (class_ids == classes[:, None]).astype(np.float32)  # (M, all)
    share /= share.sum(axis=1, keepdims=True)
    return Kernels(share @ vectors, share @ scores, classes)


def pooled_kernels(pooled: np.ndarray, embedding: Embedding) -> Kernels:
    """One kernel (M, D) for each region of a clip, 0 (any thing) among them, by class.

    Each is the mean over all cells of all frames by the region's probability there, and its score
    the mean of this probability by itself.

    Args:
        pooled: (T, M, C + 2): mean kernel, sum of the probabilities, sum of their squares, of each
            region in each frame.
    """
    pooled = np.asarray(pooled, np.float32)
    totals = pooled[..., -2]  # (T, M)

    # Weigh frames by the sum of their probabilities: the result is a mean over all cells.
    total = totals.sum(axis=0)
    means = np.einsum("tm,tmc->mc", totals, pooled[..., :-2]) / total[:, None]
    found = Kernels(means, pooled[..., -1].sum(axis=0) / total, np.arange(pooled.shape[1]))
    return found.embedded(embedding)


def level_regions(regions: np.ndarray, kernels: np.ndarray) -> Kernels:
    """The classes that win cells of one level in a clip, with their kernels (M, C), by class.

    The score is the mean over the cells that the class wins, in all frames. The kernel is the sum
    of the kernels at these cells over the number of all T * h * w cells.

    Args:
        regions: logits (T, Ks + 1, h, w). kernels: (T, C, h, w).
    """
    frames, channels, height, width = regions.shape
    sums = np.zeros((channels, kernels.shape[1]), np.float64)
    totals, counts = np.zeros(channels), np.zeros(channels, np.int64)
    for logits, maps in zip(regions, kernels, strict=True):
        scores = sigmoid(np.asarray(logits, np.float32)).reshape(channels, -1)
        winner = upsample_argmax(scores[:, None], (1, height * width), dtype=np.uint16)[0]
        totals += np.bincount(winner, weights=scores.max(axis=0), minlength=channels)
        won = np.bincount(winner, minlength=channels)
        counts += won

        # Multiply for the classes that won a cell only: most of them win none.
        present = np.flatnonzero(won)
        inside = (winner == present[:, None]).astype(np.float32)  # (P, h * w)
        flat = np.asarray(maps, np.float32).reshape(len(maps), -1)
        sums[present] += inside @ flat.T

    means = totals / np.maximum(counts, 1)
    kept = np.flatnonzero(means > LEAST_SCORE)

    # Divide by all cells, as the published code does, and not by those that the class won.
    vectors = sums[kept] / (frames * height * width)
    return Kernels(vectors.astype(np.float32), means[kept].astype(np.float32), kept)


def sigmoid(logits: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Probabilities of float32 logits, in `out` where it is given."""
    values: np.ndarray = np.negative(logits, out=out)
    with np.errstate(over="ignore"):  # exp(large) = inf: a probability of 0
        np.exp(values, out=values)
    values += 1
    np.divide(1, values, out=values)
    return values
