"""The hub over the network: models fetched into its cache, models published, failures in a line.

Fetched file by file with huggingface_hub, not a whole snapshot at once: it would note the commit of
a branch before its files are here, so that an older model of that branch is lost where a download
ends early, and fetch the weights before anything is known to run them. Sums are compared by hand:
huggingface_hub compares sizes alone.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any

from vidparse.errors import ModelError
from vidparse.files import whole_file
from vidparse.hub.address import HubAddress
from vidparse.hub.cached import cache_root, is_offline, repo_folder
from vidparse.hub.files import CONFIG, PREPROCESSOR, WEIGHTS, choose, is_transformers
from vidparse.models.checkpoint import file_sha256, read_description, read_onnx_description
from vidparse.models.description import Description, teacher_of

if TYPE_CHECKING:
    from huggingface_hub import HfApi

TIMEOUT_S = 10  # for the hub to begin an answer
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
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LOCKED = (errno.EACCES, errno.EPERM, errno.EROFS)
_MEANINGS = {  # of errors of huggingface_hub, by class; a class stands before those it is made from
    "GatedRepoError": "access must be granted first; request it at {hub}/{repo} and set HF_TOKEN",
    "RepositoryNotFoundError": (
        "no such repository, or a private one; check the name, or set HF_TOKEN"
    ),
    "RevisionNotFoundError": "{repo} has no revision '{revision}'; check its branches and tags",
    "EntryNotFoundError": "no such file in {repo}; check its name",
    "HFValidationError": "not a name of a repository; write hf:owner/repo",
}


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
            a file that differs from the hub's sum; or a checkpoint of transformers, which is
            not installed.
    """
    api = hub_api()

    # Request the commit first: a branch may move while its files are fetched.
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

    # Note the branch only now: noted earlier, a broken download would hide the older model.
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


@dataclass(frozen=True, slots=True)
class Pushed:
    """The files that went to the hub."""

    address: HubAddress
    commit: str
    files: tuple[str, ...]  # names in the repository


def push(weights: Path, address: HubAddress, *, private: bool = False) -> Pushed:
    """Publish a checkpoint; X.onnx and the card X.md go with X.safetensors where they are.

    In the repository they are called model.safetensors (or as in the address), model.onnx and
    README.md. The repository is made when it is missing; all files come in one commit.

    Raises:
        ModelError: not our checkpoint, no token, or the hub refuses.
    """
    if weights.suffix != ".safetensors":
        raise ModelError(f"{weights}: not a .safetensors file; see `vidparse export`")
    description = read_description(weights)
    _check_private(description)
    named = address.file or WEIGHTS
    if not named.endswith(".safetensors"):
        raise ModelError(f"{address}: end the name of the file in .safetensors")

    files = {named: weights}
    onnx, card = weights.with_suffix(".onnx"), weights.with_suffix(".md")
    if onnx.is_file():
        _check_twin(onnx, description)
        files[f"{named.removesuffix('.safetensors')}.onnx"] = onnx
    if card.is_file():
        files["README.md"] = card
    if is_offline():
        raise ModelError(f"{address}: HF_HUB_OFFLINE is set; unset it to push")
    return _send(files, address, private=private)


def _send(files: dict[str, Path], address: HubAddress, *, private: bool) -> Pushed:
    api = hub_api()
    from huggingface_hub import CommitOperationAdd, get_token

    if not get_token():
        raise ModelError(f"{address}: pushing needs a token; set HF_TOKEN or run `hf auth login`")
    operations = [CommitOperationAdd(name, str(path)) for name, path in files.items()]
    with as_model_errors(address):
        api.create_repo(address.repo, private=private or None, exist_ok=True)
        done = api.create_commit(
            address.repo,
            operations,
            commit_message=f"Upload {', '.join(files)} with vidparse",
            revision=address.revision,
        )
    return Pushed(address, done.oid, tuple(files))


def _check_private(description: Description) -> None:
    """Files of older versions hold the folder that a teacher lay in on its user's machine."""
    teacher = teacher_of(description.training)
    if PureWindowsPath(teacher).root:
        raise ModelError(
            f"{description.path}: holds the path of its teacher, {teacher}; write it again with "
            "`vidparse export`, which leaves the folders out"
        )


def _check_twin(onnx: Path, description: Description) -> None:
    """The ONNX file beside the weights may be of another network, or of an older one."""
    other = read_onnx_description(onnx)
    _check_private(other)

    # Compare descriptions, too: an ONNX file need not hold the sum of its weights.
    same = ("arch", "config", "labels", "preprocess")
    source = other.training.get("source_sha256", description.sha256)
    if source != description.sha256 or any(
        getattr(other, name) != getattr(description, name) for name in same
    ):
        raise ModelError(
            f"{onnx}: was not exported from {description.path.name}; export it again, or move it"
        )


class UnreachableError(ModelError):
    """The hub does not answer."""


def endpoint() -> str:
    """Address of the hub: $HF_ENDPOINT, or the public one."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


@contextmanager
def as_model_errors(address: HubAddress) -> Iterator[None]:
    """Turn what huggingface_hub raises into a ModelError of one line."""
    from huggingface_hub import errors

    # The HTTP library's own failures; which library that is depends on huggingface_hub's age.
    transport: Any = errors.HfHubHTTPError.__mro__[1]
    try:
        yield
    except (errors.EntryNotFoundError, errors.HFValidationError, OSError, transport) as error:
        raise _meaning(error, address) from error


def _meaning(error: Exception, address: HubAddress) -> ModelError:
    """The error of huggingface_hub, of the network or of the disk in one line."""
    from huggingface_hub import errors

    # Check for this one first: it is an EntryNotFoundError, too, but means no network.
    if isinstance(error, errors.LocalEntryNotFoundError):
        return _unreachable(address)
    for name, words in _MEANINGS.items():
        if isinstance(error, getattr(errors, name)):
            reason = words.format(hub=endpoint(), repo=address.repo, revision=address.revision)
            return ModelError(f"{address}: {reason}")

    # What the server refuses without a reason that huggingface_hub knows.
    if isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code if error.response is not None else 0
        if status in (401, 403):
            return ModelError(f"{address}: {endpoint()} refuses access ({status}); check HF_TOKEN")
        if status >= 500:
            return UnreachableError(
                f"{address}: {endpoint()} is out of order ({status}); try later"
            )
        return ModelError(f"{address}: {endpoint()} answered {status}; check the address")

    code = error.errno if isinstance(error, OSError) else None
    if code in _FULL:
        return ModelError(
            f"{cache_root()}: the disk is full, {address} does not fit; make room, or set HF_HOME "
            "to another disk"
        )
    if code in _LOCKED:
        return ModelError(
            f"{cache_root()}: cannot be written ({os.strerror(code or 0)}); set HF_HOME to a "
            "folder of yours"
        )
    if "Consistency check" in str(error):
        return ModelError(f"{address}: the download ended early; fetch it again")
    return _unreachable(address)


def check_installed(name: str) -> None:
    """Raises: ModelError: what checkpoints of transformers need is not installed."""
    if not _is_installed():
        raise ModelError(
            f"{name}: needs transformers, which is not installed; "
            "pip install 'vidparse[transformers]'"
        )


def _is_installed() -> bool:
    """True where checkpoints of transformers can be run."""
    return find_spec("transformers") is not None


def _unreachable(address: HubAddress) -> UnreachableError:
    extra = ""
    if not _is_installed():
        extra = " (for a checkpoint of transformers, pip install 'vidparse[transformers]' as well)"
    return UnreachableError(
        f"{address}: {endpoint()} cannot be reached; check the network, or HF_ENDPOINT{extra}"
    )
