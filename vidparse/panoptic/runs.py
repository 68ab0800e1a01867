"""Maps of few codes, worked on by runs of equal pixels: far fewer than there are pixels."""

from __future__ import annotations

import numpy as np


def recode(codes: np.ndarray, keys: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Replace every code by the value of its key.

    Args:
        codes: integers (H, W). keys: integers (N,), ascending, no two alike. values: any (N,).

    Returns:
        (H, W) in the type of `values`.

    Raises:
        KeyError: a code is no key; the code is its argument.
    """
    flat = codes.ravel()
    starts = _starts(flat)
    found = flat[starts]  # (R,): the code of every run
    at = np.minimum(np.searchsorted(keys, found), max(len(keys) - 1, 0))
    wrong = found != keys[at] if len(keys) else np.ones(len(found), bool)
    if wrong.any():
        raise KeyError(int(found[wrong][0]))
    return np.repeat(values[at], np.diff(starts, append=flat.size)).reshape(codes.shape)


def count_codes(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The codes (N,) that occur, ascending, and the pixels of each, int64 (N,)."""
    flat = codes.ravel()
    starts = _starts(flat)
    found, inverse = np.unique(flat[starts], return_inverse=True)
    lengths = np.diff(starts, append=flat.size)
    return found, np.bincount(inverse, lengths, len(found)).astype(np.int64)


def _starts(flat: np.ndarray) -> np.ndarray:
    """Where runs of equal values begin."""
    new = np.ones(flat.size, bool)
    np.not_equal(flat[1:], flat[:-1], out=new[1:])
    return np.flatnonzero(new)
