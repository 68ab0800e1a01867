"""Checkpoints of other people's code in, checkpoints of ours out.

One conversion reads the tensors, renames them, loads them strictly into our network, and writes it.
Nothing but tensors is ever unpickled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vidparse.convert import edgenets, panopticfcn, semseg, starts, vspw
from vidparse.convert.renaming import Renamed
from vidparse.convert.starts import by_our_names
from vidparse.errors import ModelError, OutputError, UsageError
from vidparse.labels import Labels, load_labels
from vidparse.models.backbones import BACKBONES
from vidparse.models.checkpoint import (
    check_finite_weights,
    file_sha256,
    save_checkpoint,
    unreadable,
)
from vidparse.models.description import Preprocess, metadata_of
from vidparse.models.network import VideoNetwork
from vidparse.models.zoo import build, config_of, facts_of, settings_for

Place = Callable[[dict[str, Tensor]], dict[str, Tensor]]
# What published training code calls the entry that holds the weights.
WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module")
# What wrappers of torch put before every name: DataParallel, torch.compile.
PREFIXES = ("module.", "_orig_mod.")


@dataclass(frozen=True, slots=True)
class CodeBase:
    """One published code base."""

    summary: str
    archs: tuple[str, ...]  # ours that its checkpoints become
    convert: Callable[[Mapping[str, Tensor], str, Labels], Renamed] | None  # None: a start
    place: Place = dict  # names of one of several files as they are in the whole network


SOURCES: dict[str, CodeBase] = {
    "edgenets": CodeBase("sacmehta/EdgeNets: ESPNetV2", edgenets.ARCHS, edgenets.convert),
    "semseg": CodeBase("hszhao/semseg: PSPNet", semseg.ARCHS, semseg.convert),
    "vspw": CodeBase(
        "VSPW_baseline: PSPNet, OCRNet, TCB", vspw.ARCHS, vspw.convert, place=vspw.place
    ),
    "panopticfcn": CodeBase(
        "PanopticFCN and Clip-PanoFCN in detectron2", panopticfcn.ARCHS, panopticfcn.convert
    ),
    "torchvision": CodeBase("torchvision: ImageNet starts", starts.ARCHS, None),
    "timm": CodeBase("timm: ImageNet starts", starts.ARCHS, None),
    "deep-stem": CodeBase("ImageNet starts with the deep stem", starts.ARCHS, None),
    "efficientnet-lite": CodeBase(
        "efficientnet_lite_pytorch: ImageNet starts", starts.EFFICIENTNETS, None
    ),
}


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
        settings: fields of the network's config that the tensors do not tell.

    Raises:
        UsageError, ModelError, OutputError: see each one's message.
    """
    chosen = _chosen(source, arch)
    if out.suffix != ".safetensors":
        raise UsageError(f"-o {out}: end the name in .safetensors")
    if (labels is None) != (chosen.convert is None):
        need = "needs the classes; add --labels" if labels is None else "has no use for --labels"
        raise UsageError(f"--from {source}: {need}")

    tensors = _read(files, chosen)
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
    if arch not in chosen.archs:
        raise UsageError(f"--arch '{arch}': not of {source}; use {', '.join(chosen.archs)}")
    return chosen


def _read(files: Sequence[Path], source: CodeBase) -> dict[str, Tensor]:
    """The tensors of all files together."""
    tensors: dict[str, Tensor] = {}
    for path in files:
        placed = source.place(read_tensors(path))
        twice = sorted(placed.keys() & tensors.keys())
        if twice:
            raise ModelError(f"{path}: has '{twice[0]}' as a file before it; give each part once")
        tensors |= placed
    return tensors


def _load(renamed: Renamed, arch: str, config: dict[str, object], labels: Labels) -> VideoNetwork:
    """Our network with the tensors, every one of them."""
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
    fresh = {name: torch.zeros_like(own[name]) for name in counters - tensors.keys()}
    return {name: tensor.to(own[name].dtype) for name, tensor in {**tensors, **fresh}.items()}


def _write_start(tensors: Mapping[str, Tensor], out: Path, arch: str) -> Conversion:
    """The tensors of a backbone, for `vidparse train --init`."""
    renamed = starts.convert(tensors, arch)
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
    from safetensors import SafetensorError

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(out, tensors, metadata)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"{out}: cannot be written ({error}); choose another place") from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Named tensors of a .safetensors file, or of a .pth read with weights_only=True.

    `{"state_dict": {...}}` and the like are opened, and prefixes that training wrappers put before
    all names taken off.

    Raises:
        ModelError: missing, damaged, holding more than tensors, or holding none.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise ModelError(f"{path}: no such file; check the path")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, ValueError, EOFError) as error:
        raise unreadable(path, str(error).partition("\n")[0]) from error
    except Exception as error:  # pickle's refusals have many types
        if not _is_archive(path):
            raise unreadable(path, str(error).partition("\n")[0]) from error
        raise ModelError(f"{path}: holds more than tensors; convert it to safetensors") from error
    tensors = _tensors_of(content)
    if not tensors:
        held = ", ".join(map(str, list(content)[:6])) if isinstance(content, Mapping) else ""
        raise ModelError(
            f"{path}: holds no named tensors{f' but {held}' if held else ''}; give a state_dict"
        )
    return _without_prefixes(tensors)


def _is_archive(path: Path) -> bool:
    """True for what torch writes: a zip archive, or a bare pickle of before."""
    with path.open("rb") as file:
        return file.read(2) in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def _tensors_of(content: object) -> dict[str, Tensor]:
    """The tensors of a state dict, wherever it lies; {} when there is none."""
    if not isinstance(content, Mapping):
        return {}
    for wrapper in WRAPPERS:
        if isinstance(content.get(wrapper), Mapping):
            inner = _tensors_of(content[wrapper])
            if inner:
                return inner
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def _without_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in PREFIXES * 2:  # either may be outside the other
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


__all__ = ["SOURCES", "CodeBase", "Conversion", "by_our_names", "convert", "read_tensors"]
