"""Text from outside that cannot steer a terminal: names, metadata, messages."""

from __future__ import annotations

import re

# Controls (C0, DEL, C1), what breaks lines, what turns the direction of writing, what has no
# width, and bytes that are no text. Joiners and direction marks stay: languages need them.
_STEERING = re.compile(
    "\r\n|[\0-\x1f\x7f-\x9f\u200b\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb]"
)
_LINES = re.compile(r"[^\n\t]+")


def unsteered(text: str) -> str:
    """`text` as one line in which nothing steers a terminal; each such character becomes `?`."""
    return _STEERING.sub("?", text)


def plain_lines(data: bytes) -> bytes:
    """Lines of text in UTF-8, for a terminal: as `unsteered`, line ends and tabs kept."""
    text = data.decode("utf-8", "surrogateescape").replace("\r\n", "\n")
    return _LINES.sub(lambda found: unsteered(found[0]), text).encode("utf-8")
