"""From names of one code base to names of ours, by a table of prefixes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from vidparse.errors import ModelError
from vidparse.models.description import Preprocess

# blocks of layer3, bottlenecks or not -> layers
DEPTHS = {(2, False): 18, (6, True): 50, (23, True): 101}
LAYERS = ("layer1", "layer2", "layer3", "layer4")
DEEP_STEM = ("conv1", "bn1", "conv2", "bn2", "conv3", "bn3")


@dataclass(frozen=True, slots=True)
class Renamed:
    """A foreign checkpoint under our names."""

    tensors: dict[str, Tensor]
    rules: dict[str, int]  # "theirs -> ours" -> how many tensors went that way
    dropped: tuple[str, ...] = ()  # theirs that have no use here
    config: dict[str, object] = field(default_factory=dict)  # what the tensors say of the network
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
    """A tensor whose shape says something of the network.

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
    need(tensors, "backbone.layer3.0.conv1.weight")
    count = blocks_in(tensors, "backbone.layer3.")
    bottleneck = "backbone.layer3.0.conv3.weight" in tensors
    if (count, bottleneck) not in DEPTHS:
        raise ModelError(f"a ResNet with {count} blocks in layer3: unknown; use 18, 50 or 101")
    return f"resnet{DEPTHS[count, bottleneck]}{'-deep' if deep else ''}"
