"""Maps like those of Clip-PanoFCN for a clip of discs and stripes that drift."""

from __future__ import annotations

from typing import Any

import numpy as np

WIDTH, FEATURES = 12, 10  # channels of kernels and of features
STRIDES = (8, 16, 32, 64, 128)


def made_maps(
    seed: int = 0,
    *,
    objects: int = 5,
    frames: int = 3,
    things: int = 3,
    stuff: int = 4,
    input_hw: tuple[int, int] = (90, 150),
    noise: float = 0.3,
    radius: tuple[float, float] = (0.09, 0.3),
    width: int = WIDTH,
    features: int = FEATURES,
) -> dict[str, Any]:
    """The arguments of `decode_clip` but for the size and the rule.

    Discs lie one behind the other. A kernel of an object is one random direction, which the
    features have where the object is; stuff likewise. radius: of discs, as parts of the height.
    """
    rng = np.random.default_rng(seed)
    padded = tuple(-(-side // 32) * 32 for side in input_hw)
    height, breadth = padded[0] // 4, padded[1] // 4
    owner = np.zeros((frames, height, breadth), np.int64)  # 0..stuff - 1 are stuff
    stripes = np.linspace(0, max(stuff, 1), height, endpoint=False).astype(np.int64)
    owner += stripes[:, None]
    y, x = np.mgrid[:height, :breadth]
    spots = rng.uniform(0.1, 0.9, (objects, 2)) * (input_hw[0] / 4, input_hw[1] / 4)
    radii = rng.uniform(*radius, objects) * input_hw[0] / 4
    moves = rng.normal(0, 1.2, (objects, 2))
    for n in range(objects):
        for t in range(frames):
            cy, cx = spots[n] + t * moves[n]
            owner[t][np.hypot(y - cy, x - cx) < radii[n]] = max(stuff, 1) + n
    classes = rng.integers(0, max(things, 1), objects)

    # Orthogonal directions, so that a kernel is high on its own pixels and low on others'.
    owners = max(stuff, 1) + objects
    own = rng.normal(size=(owners, features - 1))
    if owners < features:
        own = np.linalg.qr(own.T)[0].T
    own *= 3 / np.linalg.norm(own, axis=1, keepdims=True)
    own = np.concatenate([own, np.ones((owners, 1))], axis=1)  # the last channel is always 1
    maps = own[owner].transpose(0, 3, 1, 2)
    maps = maps + rng.normal(0, noise, (frames, features, height, breadth))
    weight = rng.normal(size=(features, width)) / 3
    inverse = np.linalg.pinv(weight)

    centres, regions, kernels = [], [], []
    for stride in STRIDES:
        h, w = -(-padded[0] // stride), -(-padded[1] // stride)
        rows = np.minimum((np.arange(h) * 2 + 1) * stride // 8, height - 1)
        columns = np.minimum((np.arange(w) * 2 + 1) * stride // 8, breadth - 1)
        coarse = owner[:, rows][:, :, columns]  # (T, h, w)
        wanted = own[coarse] + rng.normal(0, noise / 3, (*coarse.shape, features))
        kernels.append((wanted @ inverse.T).transpose(0, 3, 1, 2))
        centre = rng.normal(-5, 0.7, (frames, things, h, w))
        for n in range(objects):
            for t in range(frames):
                if not things or stride > 32:
                    continue
                cy, cx = (spots[n] + t * moves[n]) * 4 / stride
                near = np.hypot(np.arange(h)[:, None] + 0.5 - cy, np.arange(w) + 0.5 - cx)
                blob = rng.uniform(1.5, 4) - 2 * near
                mine = coarse[t] == max(stuff, 1) + n
                centre[t, classes[n]] = np.where(
                    mine, np.maximum(centre[t, classes[n]], blob), centre[t, classes[n]]
                )
        centres.append(centre)
        region = rng.normal(-3, 0.5, (frames, stuff + 1, h, w))
        channel = np.where(coarse < stuff, coarse + 1, 0) if stuff else np.zeros_like(coarse)
        np.put_along_axis(region, channel[:, None], rng.uniform(0.5, 4), axis=1)
        regions.append(region)

    offset = np.zeros(features)
    offset[-1] = -4  # of a mask that is not there
    float32 = [[one.astype(np.float32) for one in level] for level in (centres, regions, kernels)]
    return {
        "centres": float32[0],
        "regions": float32[1],
        "kernels": float32[2],
        "features": maps.astype(np.float32),
        "thing_embedding": (weight.astype(np.float32), offset.astype(np.float32)),
        "stuff_embedding": ((weight * 8).astype(np.float32), offset.astype(np.float32)),
        "input_hw": input_hw,
    }
