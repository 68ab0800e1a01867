"""From the hub into its cache on this machine.

File by file with huggingface_hub, not a whole snapshot at once: it would note the commit of a
branch before its files are here, so that an older model of that branch is lost where a download
ends early, and fetch the weights before anything is known to run them. Sums are compared by hand:
huggingface_hub compares sizes alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vidparse.errors import ModelError
from vidparse.files import whole_file
from vidparse.hub.address import HubAddress
from vidparse.hub.cached import cache_root, repo_folder
from vidparse.hub.failure import as_model_errors, check_installed, endpoint
from vidparse.hub.files import CONFIG, PREPROCESSOR, choose, is_transformers
from vidparse.models.checkpoint import file_sha256

TIMEOUT_S = 10  # for the hub to begin an answer
if TYPE_CHECKING:
    from huggingface_hub import HfApi

_SHA256 = re.compile(r"[0-9a-f]{64}")
_PROCESSOR_PARTS = (  # of transformers checkpoints for video, or whose network reads a task
    "video_preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
)


def hub_api() -> HfApi:
    """The hub's client, at $HF_ENDPOINT."""
    from huggingface_hub import HfApi

    return HfApi(endpoint=endpoint(), library_name="vidparse")


def fetch(address: HubAddress, wanted: Sequence[str] = ()) -> Path:
    """Bring the model of a repository into the cache; files that are there stay.

    A connection that breaks is taken up again where it broke. All files are of one commit; the
    weights come last, so a folder that holds them holds everything.

    Args:
        wanted: files to bring; those of the model when empty.

    Returns:
        The folder of the revision's files.

    Raises:
        ModelError: no such repository, revision or file; no network (UnreachableError); disk full;
            a file that is not what the hub's sum says; or a checkpoint of transformers, which is
            not installed.
    """
    api = hub_api()
    with as_model_errors(address):
        info = api.model_info(address.repo, revision=address.revision, timeout=TIMEOUT_S)
    names = [file.rfilename for file in info.siblings or ()]

    folder = None
    for name in wanted or _wanted(names, address):
        if name not in names:
            raise ModelError(f"{address}: no file '{name}' in {address.repo}; update vidparse")
        with as_model_errors(address):
            path = Path(
                api.hf_hub_download(
                    address.repo, name, revision=info.sha, cache_dir=str(cache_root())
                )
            )
        check_published(path, "", str(address))
        folder = path.parents[name.count("/")]
        if name == CONFIG and is_transformers(folder):
            check_installed(str(address))  # before the weights, which are large

    if folder is None:
        raise ModelError(f"{address}: names no file; check the catalogue")
    _remember(address, info.sha or address.revision)
    return folder


def _wanted(names: Sequence[str], address: HubAddress) -> list[str]:
    """The files to bring, the weights last."""
    chosen = choose(names, address.file, str(address))
    if address.file:
        return [address.file]
    wanted = [name for name in (CONFIG, PREPROCESSOR, *_PROCESSOR_PARTS) if name in names]
    return [*wanted, *(n for n in (*chosen.shards, chosen.onnx, chosen.weights) if n)]


def _remember(address: HubAddress, commit: str) -> None:
    """Note which commit a branch or tag stands for, as huggingface_hub does."""
    if address.revision == commit:
        return
    reference = repo_folder(address.repo) / "refs" / address.revision
    with as_model_errors(address):
        reference.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(reference) as part:
            part.write_text(commit, encoding="utf-8")


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

    # Delete the wrong file, so that the next call fetches it again.
    found = file_sha256(path)
    if found != expected:
        blob.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise ModelError(
            f"{name}: {path.name} is not the published file (sha256 {found[:12]}..., not "
            f"{expected[:12]}...) and was deleted; fetch it again"
        )
