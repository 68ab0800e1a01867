"""The two ends of a network on a CUDA device: samples of a video in, class ids at its size out.

Each is one Triton kernel, which reads every sample where the decoder left it and keeps no picture
in between. Importing this needs Triton, which comes with PyTorch's CUDA builds for Linux.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import triton
import triton.language as tl
from numpy.typing import NDArray

from vidparse.image import yuv_to_rgb_matrix
from vidparse.models.description import Preprocess

LINEAR_UNIT = 2048  # OpenCV's weights of two neighbours add up to it
BLOCK = 256  # pixels of one program


@dataclass(frozen=True, slots=True)
class Taps:
    """The samples that each place of a resized axis is a weighted sum of: T of them.

    index: int32 (n, T). weight: float32 (n, T); each row adds up to 1, or LINEAR_UNIT.
    """

    index: NDArray[np.int32]
    weight: NDArray[np.float32]

    @classmethod
    def of_axis(cls, length: int, wanted: int, *, linear: bool) -> Taps:
        """OpenCV's resize along one axis.

        Args:
            length, wanted: samples before and after.
            linear: between two neighbours, in whole parts of 2048 (INTER_LINEAR); else the average
                of what each place covers (INTER_AREA).
        """
        scale = length / wanted
        places = np.arange(wanted, dtype=np.float64)[:, None]
        if linear:
            centre = (places + 0.5) * scale - 0.5
            first = np.floor(centre)
            share = np.rint((centre - first) * LINEAR_UNIT)
            index = np.concatenate([first, first + 1], axis=1)
            weight = np.concatenate([LINEAR_UNIT - share, share], axis=1)
        else:
            # Weigh each sample by its part that lies under the place.
            begin, end = places * scale, (places + 1) * scale
            first = np.floor(begin)
            index = first + np.arange(int(np.ceil(scale)) + 1)
            covered = np.minimum(index + 1, end) - np.maximum(index, begin)
            weight = np.clip(covered, 0, 1) / scale

        # Stay on the axis: samples beyond its ends are those at the ends.
        index = np.clip(index, 0, length - 1)
        return cls(index.astype(np.int32), weight.astype(np.float32))


@triton.jit
def _resized(
    plane, line_step, column_step, rows, row_weights, columns, column_weights,
    row, column, inside, T_ROWS: tl.constexpr, T_COLUMNS: tl.constexpr, LINEAR: tl.constexpr,
):  # fmt: skip
    """Samples of a resized plane, rounded to 8 bits as the CPU's resize does."""
    total = tl.zeros(row.shape, tl.float32)
    whole = tl.zeros(row.shape, tl.int32)
    for i in range(T_ROWS):
        line = tl.load(rows + row * T_ROWS + i, inside, 0) * line_step
        across = tl.zeros(row.shape, tl.float32)
        for j in range(T_COLUMNS):
            at = tl.load(columns + column * T_COLUMNS + j, inside, 0) * column_step
            share = tl.load(column_weights + column * T_COLUMNS + j, inside, 0.0)
            across += share * tl.load(plane + line + at, inside, 0).to(tl.float32)
        weight = tl.load(row_weights + row * T_ROWS + i, inside, 0.0)

        # Cut digits off where OpenCV does: its linear weights are whole parts of 2048.
        if LINEAR:
            whole += (weight.to(tl.int32) * (across.to(tl.int32) >> 4)) >> 16
        else:
            total += weight * across
    if LINEAR:
        return ((whole + 2) >> 2).to(tl.float32)
    return tl.floor(total + 0.5)


@triton.jit
def _prepare(
    y, u, v, out, rows, row_weights, columns, column_weights,
    small_rows, small_row_weights, small_columns, small_column_weights, numbers,
    y_line, chroma_line, chroma_step, out_channel, out_row, out_column, height, width,
    T_ROWS: tl.constexpr, T_COLUMNS: tl.constexpr, LINEAR: tl.constexpr,
    T_SMALL_ROWS: tl.constexpr, T_SMALL_COLUMNS: tl.constexpr, SMALL_LINEAR: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Pixels of the network's input, a block of them per program."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = place < height * width
    row = place // width
    column = place % width

    luma = _resized(
        y, y_line, 1, rows, row_weights, columns, column_weights,
        row, column, inside, T_ROWS, T_COLUMNS, LINEAR,
    )  # fmt: skip
    blue = _resized(
        u, chroma_line, chroma_step,
        small_rows, small_row_weights, small_columns, small_column_weights,
        row, column, inside, T_SMALL_ROWS, T_SMALL_COLUMNS, SMALL_LINEAR,
    )  # fmt: skip
    red = _resized(
        v, chroma_line, chroma_step,
        small_rows, small_row_weights, small_columns, small_column_weights,
        row, column, inside, T_SMALL_ROWS, T_SMALL_COLUMNS, SMALL_LINEAR,
    )  # fmt: skip

    # Rows of `numbers`: the matrix and its offset, then the factor and offset that normalise.
    for channel in tl.static_range(3):
        at = numbers + channel * 6
        value = tl.load(at) * luma + tl.load(at + 1) * blue + tl.load(at + 2) * red
        value = tl.floor(value + tl.load(at + 3) + 0.5)
        value = tl.minimum(tl.maximum(value, 0.0), 255.0)
        value = value * tl.load(at + 4) + tl.load(at + 5)
        target = out + channel * out_channel + row * out_row + column * out_column
        tl.store(target, value.to(out.dtype.element_ty), inside)


@triton.jit
def _argmax(
    scores, out, height, width, out_height, out_width, scale_y, scale_x,
    batch_step, class_step, row_step, column_step, out_batch,
    CLASSES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The class with the greatest score at each pixel, scores being bilinear between places."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = place < out_height * out_width
    scores += tl.program_id(1).to(tl.int64) * batch_step
    out += tl.program_id(1).to(tl.int64) * out_batch

    # Half a pixel aside, as torch's align_corners=False; before the first place it stays there.
    y = tl.maximum((place // out_width + 0.5) * scale_y - 0.5, 0.0)
    x = tl.maximum((place % out_width + 0.5) * scale_x - 0.5, 0.0)
    top = tl.minimum(y.to(tl.int32), height - 1)
    left = tl.minimum(x.to(tl.int32), width - 1)
    down = (tl.minimum(top + 1, height - 1) - top) * row_step
    right = (tl.minimum(left + 1, width - 1) - left) * column_step
    share_y = y - top
    share_x = x - left
    corner = scores + top * row_step + left * column_step

    best = tl.full((BLOCK,), float("-inf"), tl.float32)
    winner = tl.zeros((BLOCK,), tl.int32)
    for number in range(CLASSES):
        at = corner + number * class_step
        upper = tl.load(at, inside, 0.0).to(tl.float32) * (1 - share_x)
        upper += tl.load(at + right, inside, 0.0).to(tl.float32) * share_x
        lower = tl.load(at + down, inside, 0.0).to(tl.float32) * (1 - share_x)
        lower += tl.load(at + down + right, inside, 0.0).to(tl.float32) * share_x
        value = upper * (1 - share_y) + lower * share_y

        # Leave a tie to the lower id.
        winner = tl.where(value > best, number, winner)
        best = tl.maximum(value, best)
    tl.store(out + place, winner.to(out.dtype.element_ty), inside)


class InputMaker:
    """Makes network input of one size from 4:2:0 planes of one size, as `to_clip` does.

    Values are those of the CPU, but for samples that lie between two levels: these may be one level
    of 255 apart.

    Args:
        size_hw: of the pictures.
        input_hw: of the network's input.
        matrix, full_range: of the samples; see :class:`~vidparse.image.Yuv420`.
    """

    def __init__(
        self,
        size_hw: tuple[int, int],
        input_hw: tuple[int, int],
        facts: Preprocess,
        *,
        matrix: int,
        full_range: bool,
        device: torch.device,
    ) -> None:
        self._input_hw = input_hw
        small_hw = (-(-size_hw[0] // 2), -(-size_hw[1] // 2))
        self._tables: list[torch.Tensor] = []
        self._taps: list[int] = []

        # Choose by both axes, as `vidparse.image` does for each plane.
        self._linear: list[bool] = []
        for plane_hw in (size_hw, small_hw):
            linear = input_hw[0] > plane_hw[0] or input_hw[1] > plane_hw[1]
            self._linear.append(linear)
            for length, wanted in zip(plane_hw, input_hw, strict=True):
                taps = Taps.of_axis(length, wanted, linear=linear)
                self._tables += [torch.from_numpy(taps.index), torch.from_numpy(taps.weight)]
                self._taps.append(taps.index.shape[1])
        numbers = _numbers(matrix, full_range, facts.mean, facts.std)
        self._tables = [table.to(device) for table in (*self._tables, torch.from_numpy(numbers))]

    def __call__(
        self, y: torch.Tensor, u: torch.Tensor, v: torch.Tensor, out: torch.Tensor
    ) -> None:
        """Fill `out`, (3, h, w) in any layout and float type, from planes uint8 (H, W) and two of
        half the size, which may be the channels of one (H/2, W/2, 2)."""
        height, width = self._input_hw
        rows, columns, small_rows, small_columns = self._taps
        _prepare[(triton.cdiv(height * width, BLOCK),)](
            y, u, v, out, *self._tables,
            y.stride(0), u.stride(0), u.stride(1), *out.stride(), height, width,
            T_ROWS=rows, T_COLUMNS=columns, LINEAR=self._linear[0],
            T_SMALL_ROWS=small_rows, T_SMALL_COLUMNS=small_columns, SMALL_LINEAR=self._linear[1],
            BLOCK=BLOCK,
        )  # fmt: skip


@lru_cache(maxsize=8)
def _numbers(
    matrix: int, full_range: bool, mean: Sequence[float], std: Sequence[float]
) -> NDArray[np.float32]:
    """float32 (3, 6) by channel: YUV to RGB (3 factors, offset), then factor and offset."""
    spread = np.array(std, np.float64)
    normalise = np.stack([1 / (255 * spread), -np.array(mean, np.float64) / spread], axis=1)
    return np.hstack([yuv_to_rgb_matrix(matrix, full_range), normalise]).astype(np.float32)


def argmax_at(logits: torch.Tensor, out: torch.Tensor) -> None:
    """Fill `out`, unsigned (N, H, W), with class ids of logits (N, K, h, w) brought to its size."""
    count, classes, height, width = logits.shape
    full_hw = out.shape[1], out.shape[2]
    _argmax[(triton.cdiv(full_hw[0] * full_hw[1], BLOCK), count)](
        logits, out, height, width, *full_hw, height / full_hw[0], width / full_hw[1],
        *logits.stride(), out.stride(0), CLASSES=classes, BLOCK=BLOCK,
    )  # fmt: skip
