"""Failures of the hub, one line each."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from vidparse.errors import ModelError
from vidparse.hub.address import HubAddress
from vidparse.hub.cached import cache_root

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LOCKED = (errno.EACCES, errno.EPERM, errno.EROFS)
_MEANINGS = {  # of errors of huggingface_hub, by class; a class stands before those it is made from
    "GatedRepoError": "access must be granted first; ask at {hub}/{repo} and set HF_TOKEN",
    "RepositoryNotFoundError": (
        "no such repository, or a private one; check the name, or set HF_TOKEN"
    ),
    "RevisionNotFoundError": "{repo} has no revision '{revision}'; check its branches and tags",
    "EntryNotFoundError": "no such file in {repo}; check its name",
    "HFValidationError": "not a name of a repository; write hf:owner/repo",
}


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
