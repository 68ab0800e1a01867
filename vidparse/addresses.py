"""Addresses of the network as people may see them: without users, passwords and tokens."""

from __future__ import annotations

import re

HIDDEN = "***"
# The user and password before the host: up to the last @ before the path begins; behind a colon
# that no port follows, up to the last @ at all, for passwords that hold a / or a ?.
_USER = re.compile(r"(?<=://)(?:[^/?#:\s'\"]*:(?!\d*(?:[/?#]|$))[^\s'\"]*|[^/?#\s'\"]*)@")
# Values of a query that let somebody in.
_SECRET = re.compile(
    r"(?<=[?&])((?:[\w.-]*(?:pass|pwd|token|secret|sig|auth|key|credential)[\w.-]*"
    r"|user|usr|username|login)=)[^&#\s'\"]+",
    re.IGNORECASE,
)
_HAS_ADDRESS = "://"


def masked(text: str) -> str:
    """`text` with `***` in place of what lets somebody in at the addresses in it."""
    if _HAS_ADDRESS not in text:
        return text
    return _SECRET.sub(rf"\1{HIDDEN}", _USER.sub(f"{HIDDEN}@", text))
