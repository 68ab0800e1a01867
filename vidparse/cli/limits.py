"""Limits of the shell under which native libraries would crash instead of complain."""

from __future__ import annotations

import sys

from vidparse.errors import DeviceError

# command -> bytes that its libraries map before any picture is there
_LEAST_ADDRESSES = {
    **dict.fromkeys(("segment", "bench", "eval"), 1_200_000_000),
    **dict.fromkeys(("train", "autolabel", "export", "convert"), 2_000_000_000),  # with PyTorch
}


def check_memory_limit(command: str | None) -> None:
    """Refuse to load libraries that do not fit in what the process may address.

    Raises:
        DeviceError: `ulimit -v` is too low for `command`.
    """
    least = _LEAST_ADDRESSES.get(command or "")
    if least is None or {"-h", "--help"} & set(sys.argv):
        return
    try:
        import resource
    except ImportError:  # not on Windows
        return

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < least:
        raise DeviceError(
            f"memory: this shell lets a process address {limit / 1e9:.1f} GB, and the libraries of "
            f"{command} take {least / 1e9:.1f} GB; raise the limit (ulimit -v)"
        )
