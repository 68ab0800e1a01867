"""The state of a network, off its device: what runners give to be kept, and take to go on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class NetworkState:
    """The state of a network, as arrays on the host; none where it remembers nothing.

    arrays: in the order of the network's own state, in the layout they had.
    kinds: of arrays whose number format numpy lacks, "bfloat16"; these are float32. "" for others.
    """

    arrays: tuple[np.ndarray, ...] = ()
    kinds: tuple[str, ...] = ()
