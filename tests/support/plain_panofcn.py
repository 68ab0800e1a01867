"""Clip-PanoFCN's answer to a clip, decoded step by step in torch: slow, without any shortcut.

Every map at full size, every step as its description has it, none of vidparse's own code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

WINDOWS = (3, 3, 3, 5, 5)


def plain_decode(
    centres: Sequence[np.ndarray],
    regions: Sequence[np.ndarray],
    kernels: Sequence[np.ndarray],
    features: np.ndarray,
    *,
    thing_embedding: tuple[np.ndarray, np.ndarray],
    stuff_embedding: tuple[np.ndarray, np.ndarray],
    size_hw: tuple[int, int],
    input_hw: tuple[int, int],
    rule: str,
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """ids int32 (T, H, W), and one record per segment."""
    levels = [
        tuple(torch.from_numpy(one).float() for one in level)
        for level in zip(centres, regions, kernels, strict=True)
    ]
    maps = torch.from_numpy(features).float()
    things = _things(levels, _embedding(thing_embedding))
    stuff = _stuff(levels, _embedding(stuff_embedding))

    scored = []
    for score, kind, kernel in things:
        mask = torch.einsum("d,tdhw->thw", kernel, maps).sigmoid()
        on = mask > 0.4
        score *= float(mask[on].double().mean()) if on.any() else 0.0
        if score >= 0.05:
            scored.append((score, kind, kernel, mask))
    scored = sorted(scored, key=lambda row: -row[0])[:100]

    ids = np.zeros((len(features), *size_hw), np.int32)
    segments = []
    for score, kind, kernel, mask in scored:
        if score < 0.2:
            continue
        inside = _full(mask, input_hw, size_hw).numpy() > 0.4
        own = inside.sum((1, 2))
        taken = (inside & (ids > 0)).sum((1, 2))
        good = [t for t in range(len(ids)) if own[t] and taken[t] / own[t] <= 0.5]
        if not good:
            continue
        number = len(segments) + 1
        for t in range(len(ids)) if rule == "official" else good:
            ids[t][inside[t] if rule == "official" else inside[t] & (ids[t] == 0)] = number
        segments.append(
            {"id": number, "class_id": kind, "is_thing": True, "score": score, "kernel": kernel}
        )

    if stuff:
        full = [
            _full(torch.einsum("d,tdhw->thw", one, maps).sigmoid(), input_hw, size_hw)
            for _, _, one in stuff
        ]
        winner = torch.stack(full).argmax(0).numpy()
        free = ids == 0
        for i, (score, kind, _) in enumerate(stuff):
            own = free & (winner == i)
            if kind and own.sum() >= 4096:
                number = len(segments) + 1
                ids[own] = number
                segments.append({"id": number, "class_id": kind, "is_thing": False, "score": score})

    for one in segments if rule == "filled" else ():
        if one["is_thing"]:
            mask = torch.einsum("d,tdhw->thw", one["kernel"], maps).sigmoid()
            one["full"] = _full(mask, input_hw, size_hw).numpy()
    gaps, best = ids == 0, np.full(ids.shape, 0.1, np.float32)
    for one in segments:
        if "full" in one:
            better = gaps & (one["full"] > best)
            ids[better], best[better] = one["id"], one["full"][better]
    return ids, segments


def _embedding(pair: tuple[np.ndarray, np.ndarray]) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(pair[0]).float(), torch.from_numpy(pair[1]).float()


def _full(mask: Tensor, input_hw: tuple[int, int], size_hw: tuple[int, int]) -> Tensor:
    big = F.interpolate(mask[None], scale_factor=4, mode="bilinear", align_corners=False)
    cut = big[..., : input_hw[0], : input_hw[1]]
    return F.interpolate(cut, size_hw, mode="bilinear", align_corners=False)[0]


def _things(
    levels: Sequence[tuple[Tensor, ...]], embedding: tuple[Tensor, Tensor]
) -> list[tuple[float, int, Tensor]]:
    rows = []
    for (centres, _, kernels), window in zip(levels, WINDOWS, strict=False):
        if not centres.shape[1]:
            continue
        score = centres.sigmoid()
        score = (score + F.avg_pool2d(score, window, 1, window // 2)) / 2
        score = score * (score == F.max_pool2d(score, 3, 1, 1))
        height, width = score.shape[-2:]
        for t, frame in enumerate(score):
            best, place = frame.flatten().topk(min(50, height * width))
            for value, at in zip(best.tolist(), place.tolist(), strict=True):
                kind, cell = divmod(at, height * width)
                if value > 0.05:
                    kernel = kernels[t].flatten(1)[:, cell]
                    rows.append((value, kind, embedding[0] @ kernel + embedding[1]))
    rows.sort(key=lambda row: -row[0])

    first = list(range(len(rows)))
    for j, (_, kind, kernel) in enumerate(rows):
        for i in range(j):
            if rows[i][1] == kind and F.cosine_similarity(rows[i][2], kernel, dim=0) >= 0.9:
                first[j] = i
                break
    kept = [j for j in range(len(rows)) if first[j] == j]
    return [
        (
            rows[i][0],
            rows[i][1],
            torch.stack([rows[j][2] for j in range(len(rows)) if first[j] == i]).mean(0),
        )
        for i in kept
    ]


def _stuff(
    levels: Sequence[tuple[Tensor, ...]], embedding: tuple[Tensor, Tensor]
) -> list[tuple[float, int, Tensor]]:
    found: dict[int, list[tuple[float, Tensor]]] = {}
    for _, regions, kernels in levels:
        score = regions.sigmoid()
        winner = score.argmax(1)  # (T, h, w)
        for kind in winner.unique().tolist():
            on = winner == kind
            mean = float(score[:, kind][on].mean())
            if mean > 0.05:
                kernel = (kernels * on[:, None]).sum((0, 2, 3)) / on.numel()
                found.setdefault(kind, []).append((mean, embedding[0] @ kernel + embedding[1]))
    return [
        (
            sum(score for score, _ in rows) / len(rows),
            kind,
            torch.stack([kernel for _, kernel in rows]).mean(0),
        )
        for kind, rows in sorted(found.items())
    ]
