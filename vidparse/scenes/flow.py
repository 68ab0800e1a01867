"""Exact optical flow from geometry: each surface is flat, so it moves by a homography."""

from __future__ import annotations

import numpy as np

from vidparse.scenes.view import View

_ROWS_AT_ONCE = 48  # keeps the temporaries in the processor's cache


def flow_between(now: View, after: View, ranks: np.ndarray, step: int = 1) -> np.ndarray:
    """Where surface points are in the next view; displacements in pixels, float32 (2, h, w).

    ranks: of `now`, uint16 (H, W). step: 1, or 2 for every second row and column only.
    """
    height, width = ranks.shape
    ranks = ranks[::step, ::step]
    table = _rank_motions(now, after)  # (9, R)
    x = (np.arange(0, width, step, dtype=np.float32) - np.float32((width - 1) / 2))[None]
    y = (np.arange(0, height, step, dtype=np.float32) - np.float32((height - 1) / 2))[:, None]
    flow = np.empty((2, *ranks.shape), np.float32)
    for top in range(0, len(ranks), _ROWS_AT_ONCE):
        rows = slice(top, top + _ROWS_AT_ONCE)
        part = ranks[rows].astype(np.intp)
        m = [np.take(column, part) for column in table]  # nine of (rows, w)
        scale = 1 / (m[6] * x + m[7] * y[rows] + m[8])
        flow[0, rows] = (m[0] * x + m[1] * y[rows] + m[2]) * scale - x
        flow[1, rows] = (m[3] * x + m[4] * y[rows] + m[5]) * scale - y[rows]
    return flow


def flow_is_valid(
    now: View, after: View, ranks: np.ndarray, ranks_after: np.ndarray, flow: np.ndarray
) -> np.ndarray:
    """False where the surface point is hidden or out of the picture in the next view; (H, W)."""
    height, width = ranks.shape
    rank_of = dict(zip(after.quads.surface.tolist(), after.rank.tolist(), strict=True))
    later = np.full(int(now.rank.max(initial=0)) + 1, -1, np.int32)  # this rank -> rank then
    later[now.rank] = [rank_of.get(surface, -1) for surface in now.quads.surface.tolist()]
    later[0] = -1
    x = np.rint(flow[0] + np.arange(width, dtype=np.float32)[None]).astype(np.int32)
    y = np.rint(flow[1] + np.arange(height, dtype=np.float32)[:, None]).astype(np.int32)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    np.clip(x, 0, width - 1, out=x)
    np.clip(y, 0, height - 1, out=y)
    # What is painted later hides; what is painted earlier only shows beside a rounded edge.
    return inside & (ranks_after[y, x] <= np.take(later, ranks))


def _rank_motions(now: View, after: View) -> np.ndarray:
    """Homographies between the two pictures by rank, row-major, float32 (9, R).

    Pixels are counted from the picture's middle, which float32 likes better.
    """
    first = np.full(int(now.rank.max(initial=0)) + 1, -1)
    solid = np.flatnonzero(now.rank)
    first[now.rank[solid][::-1]] = solid[::-1]  # a surface's first piece speaks for all of it
    rows = first[1:]
    quads = now.quads.take(rows)
    origin, across, down = quads.origin.copy(), quads.across.copy(), quads.down.copy()
    everything = after.everything
    movers = np.flatnonzero(everything.moving)
    place = dict(zip(everything.surface[movers].tolist(), movers.tolist(), strict=True))
    for i in np.flatnonzero(quads.moving):
        j = place.get(int(quads.surface[i]))
        if j is not None:
            origin[i], across[i], down[i] = (
                everything.origin[j], everything.across[j], everything.down[j],
            )  # fmt: skip
    then = after.camera.homographies(origin, across, down)
    height, width = now.camera.size_hw
    centre = np.eye(3)
    centre[:2, 2] = (width - 1) / 2, (height - 1) / 2
    motion = np.einsum("nij,njk,kl->nil", then, _adjugate(now.homographies[rows]), centre)
    motion[:, 0] -= centre[0, 2] * motion[:, 2]
    motion[:, 1] -= centre[1, 2] * motion[:, 2]
    reach = np.array([width / 2, height / 2, 1.0])
    motion /= (np.abs(motion[:, 2]) * reach).sum(1)[:, None, None]
    table = np.concatenate([np.eye(3)[None], motion])  # rank 0, nothing, stays
    return table.reshape(-1, 9).T.astype(np.float32)


def _adjugate(matrices: np.ndarray) -> np.ndarray:
    """The inverses (N, 3, 3) up to a factor each, which a homography does not care about."""
    a, b, c = (matrices[:, i] for i in range(3))
    return np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)], axis=2)
