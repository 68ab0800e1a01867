"""Checksums: a file is the one that was published, or refused."""

from __future__ import annotations

import re
from pathlib import Path

from vidparse.errors import ModelError
from vidparse.models.checkpoint import file_sha256

_SHA256 = re.compile(r"[0-9a-f]{64}")


def check_published(path: Path, published: str, name: str) -> None:
    """Compare a downloaded file with its published sum; one that differs leaves the cache.

    Args:
        published: sha256; "" checks against the hub's own sum, where the cache keeps that (the
            hub names large files by it).

    Raises:
        ModelError: they differ.
    """
    blob = path.resolve()
    expected = published or (blob.name if _SHA256.fullmatch(blob.name) else "")
    if not expected:
        return
    found = file_sha256(path)
    if found != expected:
        blob.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise ModelError(
            f"{name}: {path.name} is not the published file (sha256 {found[:12]}..., not "
            f"{expected[:12]}...) and was deleted; fetch it again"
        )
