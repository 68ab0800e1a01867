"""Tensors of foreign files: read without unpickling anything else, and given our names."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from vidparse.errors import ModelError
from vidparse.models.checkpoint import unreadable
from vidparse.models.description import Preprocess

if TYPE_CHECKING:
    from torch import Tensor

# blocks of layer3, bottlenecks or not -> layers
DEPTHS = {(2, False): 18, (6, True): 50, (23, True): 101}
LAYERS = ("layer1", "layer2", "layer3", "layer4")
DEEP_STEM = ("conv1", "bn1", "conv2", "bn2", "conv3", "bn3")
# What published training code calls the entry that holds the weights.
WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module")
# What wrappers of torch put before every name: DataParallel, torch.compile.
PREFIXES = ("module.", "_orig_mod.")


@dataclass(frozen=True, slots=True)
class Renamed:
    """A foreign checkpoint under our names."""

    tensors: dict[str, Tensor]
    rules: dict[str, int]  # "theirs -> ours" -> how many tensors went that way
    dropped: tuple[str, ...] = ()  # theirs that have no use here
    config: dict[str, object] = field(default_factory=dict)  # of the network, from the tensors
    short_side: int = 480  # pixels, of the pictures that it was tested on
    std: tuple[float, float, float] = Preprocess(0).std  # of its pictures, of RGB / 255


def rename(
    tensors: Mapping[str, Tensor], table: Mapping[str, str], *, unused: Sequence[str] = ()
) -> Renamed:
    """Rename by the longest prefix that fits.

    Args:
        table: their prefix -> ours, whole components of the name (`cls.4` -> `head.classifier`).
        unused: their prefixes that are known to have no use here (an ImageNet classifier).

    Raises:
        ModelError: a name that no rule covers.
    """
    renamed: dict[str, Tensor] = {}
    rules: dict[str, int] = {}
    dropped, left = [], []

    for name, tensor in tensors.items():
        # Let the longest prefix win: `conv1.norm` must not go the way of `conv1`.
        prefix = _longest(name, (*table, *unused))
        if prefix is None:
            left.append(name)
        elif prefix not in table:
            dropped.append(name)
        else:
            renamed[table[prefix] + name[len(prefix) :]] = tensor
            rule = f"{prefix} -> {table[prefix]}"
            rules[rule] = rules.get(rule, 0) + 1

    # Refuse leftovers: a network that misses a tensor would start with random weights there.
    if left:
        more = f" and {len(left) - 1} more" if len(left) > 1 else ""
        raise ModelError(
            f"tensor '{left[0]}'{more}: no place in this network; check --from and --arch"
        )
    return Renamed(renamed, rules, tuple(dropped))


def need(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    """A tensor whose shape describes the network.

    Raises:
        ModelError: it is not there.
    """
    if name not in tensors:
        raise ModelError(f"tensor '{name}': missing; check --from and --arch")
    return tensors[name]


def blocks_in(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """The number of blocks (`prefix0.`, `prefix1.`, ...)."""
    numbers = {name[len(prefix) :].partition(".")[0] for name in tensors if name.startswith(prefix)}
    return len(numbers)


def _longest(name: str, prefixes: Sequence[str]) -> str | None:
    fitting = [p for p in prefixes if name == p or name.startswith(f"{p}.")]
    return max(fitting, key=len, default=None)


def resnet_of(tensors: Mapping[str, Tensor], *, deep: bool) -> str:
    """Key of BACKBONES, from our names with `backbone.` before them.

    Raises:
        ModelError: a depth that we do not have.
    """
    # Count the blocks of layer3, in which the known depths differ.
    need(tensors, "backbone.layer3.0.conv1.weight")
    count = blocks_in(tensors, "backbone.layer3.")
    bottleneck = "backbone.layer3.0.conv3.weight" in tensors
    if (count, bottleneck) not in DEPTHS:
        raise ModelError(f"a ResNet with {count} blocks in layer3: unknown; use 18, 50 or 101")
    return f"resnet{DEPTHS[count, bottleneck]}{'-deep' if deep else ''}"


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Named tensors of a .safetensors file, or of a .pth read with weights_only=True.

    `{"state_dict": {...}}` and the like are opened, and prefixes that training wrappers put before
    all names taken off.

    Raises:
        ModelError: missing, damaged, holding more than tensors, or holding none.
    """
    import torch
    from safetensors.torch import load_file

    if not path.is_file():
        raise ModelError(f"{path}: no such file; check the path")

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            # Silence torch's words about protocols of pickles.
            warnings.simplefilter("ignore", UserWarning)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, ValueError, EOFError) as error:
        raise unreadable(path, str(error).partition("\n")[0]) from error
    except Exception as error:  # pickle's refusals have many types
        # Replace pickle's words, which advise to load the file unsafely.
        if not _is_archive(path):
            raise unreadable(path, "torch.save has not written it") from error
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
    from torch import Tensor

    if not isinstance(content, Mapping):
        return {}
    for wrapper in WRAPPERS:
        if isinstance(content.get(wrapper), Mapping):
            # Look inside again: wrappers may lie in wrappers.
            inner = _tensors_of(content[wrapper])
            if inner:
                return inner
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def _without_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    # Go over both twice, since either may be outside the other.
    for prefix in PREFIXES * 2:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors
