"""The settings of live inputs: cameras, streams of the network, files that grow."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated

from vidparse.errors import UsageError
from vidparse.requests.option import Option, seconds

LIVE = "Live inputs"  # panel
EVERY, LATEST = "every", "latest"
POLICIES = (EVERY, LATEST)
OFF, ENDLESS = PATIENCE_WORDS = ("off", "endless")
ENDLESS_S = float("inf")
_SIZE = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)([kMGT])(i?)B", re.IGNORECASE)
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}
_LEAST_PIECE_S, _LEAST_PIECE_BYTES = 0.1, 10**4


@dataclass(frozen=True, slots=True)
class Rotation:
    """The length of pieces of outputs, or their size. One of them is None."""

    seconds: float | None = None
    size: int | None = None  # bytes of all outputs of the piece


def patience(text: str, flag: str) -> float:
    """Seconds to go on trying: a time (:func:`seconds`), `off` (0) or `endless`."""
    if text in PATIENCE_WORDS:
        return 0.0 if text == OFF else ENDLESS_S
    return seconds(text, flag)


def rotation(text: str, flag: str) -> Rotation:
    """`10m` (a time, :func:`seconds`) or `500MB` (kB to TB, or kiB to TiB).

    Raises:
        UsageError: neither, or a piece of less than 0.1 s or 10 kB.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is not None:
        size = int(Fraction(match[1]) * (1024 if match[3] else 1000) ** _POWERS[match[2].lower()])
        if size < _LEAST_PIECE_BYTES:
            raise UsageError(f"{flag} '{text}': pieces are too small; write 500MB, at least 10kB")
        return Rotation(size=size)
    try:
        found_s = seconds(text, flag)
    except UsageError:
        fault = f"{flag} '{text}': neither a time nor a size; write 10m or 500MB"
        raise UsageError(fault) from None
    if found_s < _LEAST_PIECE_S:
        raise UsageError(f"{flag} '{text}': pieces are too short; write 10m, at least 0.1s")
    return Rotation(seconds=found_s)


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """The reading of live inputs, and the cutting of outputs into pieces.

    policy: None: every frame. reconnect_s: None: endless for what is no plain connection; inf:
    endless; 0: never. follow: files are read as they grow.
    """

    policy: Annotated[
        str | None,
        Option(
            "Frames to take: {choice}. every: all, in order (default); latest: always the newest.",
            panel=LIVE,
            choices="policies",
        ),
    ] = None
    max_latency_s: Annotated[
        float | None,
        Option(
            "Drop frames that are older when the network could take them: 0.5, 200ms.",
            flag="--max-latency",
            panel=LIVE,
            parse=seconds,
        ),
    ] = None
    reconnect_s: Annotated[
        float | None,
        Option(
            "How long to try to reach a source that was lost: 60, 10m, {choice}. Default: "
            "endless; off for tcp://.",
            flag="--reconnect",
            panel=LIVE,
            choices="patience",
            parse=patience,
        ),
    ] = None
    timeout_s: Annotated[
        float,
        Option(
            "How long a source may stay silent before it counts as lost.",
            flag="--timeout",
            panel=LIVE,
            parse=seconds,
            text="10",
        ),
    ] = 10.0
    rotate: Annotated[
        Rotation | None,
        Option(
            "Begin new outputs after so long or so much, with the time in their names: 10m, 500MB.",
            panel=LIVE,
            parse=rotation,
        ),
    ] = None
    follow: Annotated[
        bool, Option("Read a file (mkv, ts, y4m, ...) on as it grows.", panel=LIVE)
    ] = False
    follow_idle_s: Annotated[
        float | None,
        Option(
            "With --follow: end once the file has not grown for so long. Default: never.",
            flag="--follow-idle",
            panel=LIVE,
            parse=seconds,
        ),
    ] = None

    def check(self) -> None:
        """Raises: UsageError: a policy that is none, a time of nothing, or no file to follow."""
        if self.policy is not None and self.policy not in POLICIES:
            raise UsageError(f"--policy '{self.policy}': unknown; use {' or '.join(POLICIES)}")
        if self.timeout_s <= 0:
            raise UsageError("--timeout 0: would lose every source at once; give seconds")
        if self.max_latency_s is not None and self.max_latency_s <= 0:
            raise UsageError("--max-latency 0: would drop every frame; give seconds")
        if self.follow_idle_s is not None and not self.follow:
            raise UsageError("--follow-idle: nothing is followed; add --follow")

    @property
    def wants_live(self) -> bool:
        """True where options are set that only live inputs have."""
        return self.policy is not None or self.max_latency_s is not None


def may_be_live(address: str, options: LiveOptions) -> bool:
    """True where an input needs a look by `vidparse.live`, which is loaded for nothing else.

    Args:
        address: of the network or of a camera; "" for files and pipes.
    """
    return bool(address) or options.follow or options.wants_live
