"""Pages of `vidparse view` as their program reads them: contents, columns and maps."""

from __future__ import annotations

import base64
import json
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np


class ViewPage:
    """A written page. contents: its JSON; blocks: bytes by name."""

    def __init__(self, path: Path) -> None:
        self.html = path.read_text("utf-8")
        blocks = re.findall(
            r'<script type="application/octet-stream" id="([\w-]+)">([^<]*)</script>', self.html
        )
        self.blocks = {name: base64.b64decode(data, validate=True) for name, data in blocks}
        found = re.search(
            r'<script id="contents" type="application/json">(.*?)</script>', self.html
        )
        assert found is not None
        self.contents: dict[str, Any] = json.loads(found[1])

    def column(self, name: str) -> list[int]:
        return np.frombuffer(zlib.decompress(self.blocks[name]), "<i4").tolist()

    def video(self) -> bytes:
        count = sum(name.startswith("video-") for name in self.blocks)
        return b"".join(self.blocks[f"video-{i}"] for i in range(count))

    def maps(self, side: int = 0) -> list[np.ndarray]:
        """Codes (h, w) of every frame, pixel by pixel."""
        width, height = self.contents["size"]
        found = []
        for number in range(-(-self.contents["frames"] // self.contents["chunk"])):
            data = zlib.decompress(self.blocks[f"ids-{side}-{number}"])
            frames = int.from_bytes(data[:4], "little")
            counts = np.frombuffer(data[4 : 4 + 4 * frames], "<u4").tolist()
            planes = np.frombuffer(data[4 + 4 * frames :], np.uint8).reshape(4, -1).astype(int)
            codes, lengths = planes[0] + 256 * planes[1], planes[2] + 256 * planes[3]
            end = 0
            for count in counts:
                first, end = end, end + count
                pixels = np.repeat(codes[first:end], lengths[first:end])
                found.append(pixels.reshape(height, width))
        return found

    def regions(self, side: int = 0) -> list[np.ndarray]:
        """(class name, object id) of each pixel as strings such as "car 7", "" for nothing."""
        names = [one["name"] for one in self.contents["classes"]]
        codes = self.contents["sides"][side]["codes"]
        words = ["", *(f"{names[one]} {number}".removesuffix(" 0") for one, number, _ in codes)]
        return [np.array(words, object)[codes] for codes in self.maps(side)]
