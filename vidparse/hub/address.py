"""Addresses of models on the hub: `hf:owner/repo[@revision][/file]`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vidparse.errors import ModelError

SCHEME = "hf:"
DEFAULT_REVISION = "main"
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")


@dataclass(frozen=True, slots=True)
class HubAddress:
    """A repository, a revision of it, and maybe one file."""

    repo: str  # owner/repo
    revision: str = DEFAULT_REVISION  # branch, tag, commit or refs/pr/N
    file: str = ""  # "": whatever model the repository holds

    def __str__(self) -> str:
        revision = "" if self.revision == DEFAULT_REVISION else f"@{self.revision}"
        return f"{SCHEME}{self.repo}{revision}{'/' if self.file else ''}{self.file}"


def parse_address(text: str) -> HubAddress:
    """Read `hf:owner/repo[@revision][/file]`.

    Raises:
        ModelError: it is not written like that.
    """
    owner, *rest = text.removeprefix(SCHEME).split("/")
    repo, at, revision = (rest[0] if rest else "").partition("@")
    rest = rest[1:]
    if revision == "refs" and len(rest) >= 2:  # refs/pr/7: the only revisions with slashes
        revision, rest = "/".join(("refs", *rest[:2])), rest[2:]
    parts = [owner, repo, *rest, *(revision.split("/") if at else ())]
    if not text.startswith(SCHEME) or not all(_PART.fullmatch(part) for part in parts):
        raise ModelError(f"{text}: not an address; write hf:owner/repo, or hf:owner/repo@revision")
    return HubAddress(f"{owner}/{repo}", revision or DEFAULT_REVISION, "/".join(rest))
