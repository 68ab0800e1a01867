"""Checkpoints of other people's code in, checkpoints of ours out.

One conversion reads the tensors, renames them, loads them strictly into our network, and writes it.
Nothing but tensors is ever unpickled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from vidparse.convert.codebases import SOURCES, CodeBase, by_our_names, converted_networks, start_of
from vidparse.convert.tensors import Renamed, read_tensors
from vidparse.errors import ModelError, OutputError, UsageError
from vidparse.labels import Labels, load_labels
from vidparse.models.checkpoint import check_finite_weights, file_sha256, save_checkpoint
from vidparse.models.description import Preprocess, metadata_of

if TYPE_CHECKING:
    from torch import Tensor

    from vidparse.models.network import VideoNetwork


@dataclass(frozen=True, slots=True)
class Conversion:
    """The result of a conversion: the file written, and how names were mapped."""

    path: Path
    sha256: str
    arch: str
    config: Mapping[str, object]  # {} for a start
    labels: str  # "" for a start
    tensors: int
    rules: dict[str, int]  # "theirs -> ours" -> how many tensors went that way
    dropped: tuple[str, ...]  # theirs that have no use here


def convert(
    files: Sequence[Path],
    out: Path,
    *,
    source: str,
    arch: str,
    labels: str | None = None,
    short_side: int | None = None,
    settings: Mapping[str, object] | None = None,
) -> Conversion:
    """Write a foreign checkpoint as ours, or ImageNet weights as a start for `vidparse train`.

    Args:
        files: one, or an encoder and a decoder.
        out: a .safetensors file.
        source: a key of SOURCES. arch: ours, one of the source's.
        labels: name of the label set, in the checkpoint's order; not for starts.
        short_side: pixels, of the network's input; the published size when None.
        settings: fields of the network's config that the tensors do not show.

    Raises:
        UsageError, ModelError, OutputError: see each one's message.
    """
    from vidparse.models.zoo import config_of, facts_of

    chosen = _chosen(source, arch)
    if out.suffix != ".safetensors":
        raise UsageError(f"-o {out}: end the name in .safetensors")
    if (labels is None) != (chosen.convert is None):
        need = "needs the classes; add --labels" if labels is None else "has no use for --labels"
        raise UsageError(f"--from {source}: {need}")

    tensors = _read(files, chosen)

    # Look for NaN now: a network that answers NaN would be written as sound.
    check_finite_weights(tensors, files[0])

    # Name the file in every refusal: the parts below know tensors, not paths.
    try:
        if chosen.convert is None or labels is None:
            return _write_start(tensors, out, arch)
        classes = load_labels(labels)
        renamed = chosen.convert(tensors, arch, classes)
        config = renamed.config | dict(settings or {})
        network = _load(renamed, arch, config, classes)
    except ModelError as error:
        raise ModelError(f"{files[0]}: {error}") from error

    # Keep the source's deviation: PanopticFCN sees pictures from 0 to 255.
    preprocess = Preprocess(short_side or renamed.short_side, std=renamed.std)
    record = {"converted_from": source, "sources": {f.name: file_sha256(f) for f in files}}
    metadata = metadata_of(
        arch=arch,
        **facts_of(network),
        labels=classes,
        preprocess=preprocess,
        training=record,
    )
    _save(out, network.state_dict(), metadata)

    return Conversion(
        out,
        file_sha256(out),
        arch,
        config_of(network),
        classes.name,
        len(renamed.tensors),
        renamed.rules,
        renamed.dropped,
    )


def _chosen(source: str, arch: str) -> CodeBase:
    if source not in SOURCES:
        raise UsageError(f"--from '{source}': unknown; use {', '.join(SOURCES)}")
    chosen = SOURCES[source]
    if arch not in chosen.names():
        raise UsageError(f"--arch '{arch}': not of {source}; use {', '.join(chosen.names())}")
    return chosen


def _read(files: Sequence[Path], source: CodeBase) -> dict[str, Tensor]:
    """The tensors of all files together."""
    tensors: dict[str, Tensor] = {}
    for path in files:
        placed = source.place(read_tensors(path))

        # Refuse a part that comes twice: one of the two would silently win.
        twice = sorted(placed.keys() & tensors.keys())
        if twice:
            raise ModelError(f"{path}: has '{twice[0]}' as a file before it; give each part once")
        tensors |= placed
    return tensors


def _load(renamed: Renamed, arch: str, config: dict[str, object], labels: Labels) -> VideoNetwork:
    """Our network with the tensors, every one of them."""
    from vidparse.models.zoo import build, settings_for

    # Compare counts first, since a wrong label set would show as a wrong shape.
    for name, count in settings_for(arch, labels).items():
        if config[name] != count:
            raise ModelError(
                f"scores {config[name]} {name}, label set '{labels.name}' has {count}; "
                "check --labels"
            )
    network = build(arch, config)
    network.load_state_dict(_fitted(renamed.tensors, network.state_dict()))
    return network


def _fitted(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors in the types of our network, which must have the same names and shapes.

    The step counters of batch norms, which old files have not and nothing reads, may be missing.
    """
    # Let counters of batch norms be missing: old files have none, and nothing reads them.
    counters = {name for name in own if name.endswith(".num_batches_tracked")}
    missing = sorted(own.keys() - tensors.keys() - counters)
    unknown = sorted(tensors.keys() - own.keys())
    if missing or unknown:
        name, why = (missing[0], "is missing") if missing else (unknown[0], "has no place")
        raise ModelError(f"tensor '{name}' {why} in this network; check --from, --arch and --set")
    for name, tensor in tensors.items():
        if tensor.shape != own[name].shape:
            raise ModelError(
                f"tensor '{name}' is {tuple(tensor.shape)}, not {tuple(own[name].shape)}; "
                "check --arch and --set"
            )

    # Begin missing counters at 0, so that the strict load finds every name.
    fresh = {name: own[name].new_zeros(own[name].shape) for name in counters - tensors.keys()}
    return {name: tensor.to(own[name].dtype) for name, tensor in {**tensors, **fresh}.items()}


def _write_start(tensors: Mapping[str, Tensor], out: Path, arch: str) -> Conversion:
    """The tensors of a backbone, for `vidparse train --init`."""
    from vidparse.models.backbones import BACKBONES

    renamed = start_of(tensors, arch)
    fitted = _fitted(renamed.tensors, BACKBONES[arch]().state_dict())
    _save(out, fitted, {"format": "pt"})
    return Conversion(
        out,
        file_sha256(out),
        arch,
        {},
        "",
        len(renamed.tensors),
        renamed.rules,
        renamed.dropped,
    )


def _save(out: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(out, tensors, metadata)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"{out}: cannot be written ({error}); choose another place") from error


__all__ = [
    "SOURCES",
    "CodeBase",
    "Conversion",
    "by_our_names",
    "convert",
    "converted_networks",
    "read_tensors",
]
