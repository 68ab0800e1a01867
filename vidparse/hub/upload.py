"""From this machine to the hub: a checkpoint, its ONNX form and its card."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from vidparse.errors import ModelError
from vidparse.hub.address import HubAddress
from vidparse.hub.cached import is_offline
from vidparse.hub.download import hub_api
from vidparse.hub.failure import as_model_errors
from vidparse.hub.files import WEIGHTS
from vidparse.models.checkpoint import read_description, read_onnx_description
from vidparse.models.description import Description, teacher_of


@dataclass(frozen=True, slots=True)
class Pushed:
    """The files that went to the hub."""

    address: HubAddress
    commit: str
    files: tuple[str, ...]  # names in the repository


def push(weights: Path, address: HubAddress, *, private: bool = False) -> Pushed:
    """Publish a checkpoint; X.onnx and the card X.md go with X.safetensors where they are.

    In the repository they are called model.safetensors (or as the address says), model.onnx and
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
    same = ("arch", "config", "labels", "preprocess")
    source = other.training.get("source_sha256", description.sha256)
    if source != description.sha256 or any(
        getattr(other, name) != getattr(description, name) for name in same
    ):
        raise ModelError(
            f"{onnx}: was not exported from {description.path.name}; export it again, or move it"
        )
