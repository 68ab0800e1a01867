"""The class that kernel maps give to each position: a measure of exports, in numpy alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

FEATURES = "features"  # an output that only kernel maps have
_LEVELS = range(3, 8)
_LEAST_LOGIT = -1.4  # a probability of 0.2, below which no object is shown
_LEAST_SHARE = 0.01  # of a clip, for a class of stuff


def kernel_winners(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """The class at each position: of stuff by the masks, and of things by their centres.

    Stuff, at each cell of the features: the class (0 is any thing) whose kernel has the greatest
    product with the features. Where kernels are not pooled, decoding takes a class's kernel from
    the cells that it wins; here all cells of the finest level count by its softmax, so that
    rounding at one cell, which may make a class appear, changes little. Classes of a small share
    are left out.

    Things, at each cell of each level: the class of the greatest centre, -1 where it is hardly one.

    Returns:
        int64 (T, positions).
    """
    features = outputs[FEATURES].astype(np.float64)  # (T, D, h, w)
    if "pooled" in outputs:
        pooled = outputs["pooled"].astype(np.float64)  # (T, 1 + Ks, C + 2)
        totals = pooled[..., -2, None]
        kernels = (totals * pooled[..., :-2]).sum(axis=0) / totals.sum(axis=0)
        classes = np.arange(len(kernels))
    else:
        regions = outputs["regions3"].astype(np.float64)  # (T, 1 + Ks, h, w)
        odds = np.exp(regions - regions.max(axis=1, keepdims=True))
        shares = odds / odds.sum(axis=1, keepdims=True)
        share = shares.mean(axis=(0, 2, 3))
        classes = np.flatnonzero(share >= min(_LEAST_SHARE, share.max()))
        cells = shares[0, 0].size * len(shares)
        kernels = np.einsum("tkhw,tchw->kc", shares[:, classes], outputs["kernels3"]) / cells
    embedded = kernels @ outputs["stuff_weight"].T + outputs["stuff_bias"]  # (classes, D)
    masks = np.einsum("kd,tdhw->tkhw", embedded, features)
    found = [classes[masks.argmax(axis=1)]]

    for level in _LEVELS:
        centres = outputs[f"centres{level}"]
        found.append(np.where(centres.max(axis=1) > _LEAST_LOGIT, centres.argmax(axis=1), -1))
    return np.concatenate([one.reshape(len(one), -1) for one in found], axis=1)
