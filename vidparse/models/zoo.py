"""The model zoo. A new model is one file in this folder and one line in MODELS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, TypedDict, get_args, get_type_hints

from vidparse.errors import ModelError
from vidparse.labels import Labels
from vidparse.models.bisenetv2 import BiSeNetV2, BiSeNetV2Config
from vidparse.models.espnetv2 import EspNetV2, EspNetV2Config
from vidparse.models.hardnet import FcHarDNet, FcHarDNetConfig
from vidparse.models.hrnet import HrNet, HrNetConfig
from vidparse.models.netwarp import NetWarp, NetWarpConfig
from vidparse.models.network import VideoNetwork
from vidparse.models.panofcn import PanoFcn, PanoFcnConfig
from vidparse.models.perframe import PerFrame, PerFrameConfig
from vidparse.models.ssltm import Ssltm, SsltmConfig
from vidparse.models.tcb import TcbOcr, TcbOcrConfig, TcbPpm, TcbPpmConfig
from vidparse.models.vip_deeplab import VipDeepLab, VipDeepLabConfig
from vidparse.textfiles import JsonTable

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

# architecture name -> (config record, network)
MODELS: dict[str, tuple[type[DataclassInstance], type[VideoNetwork]]] = {
    "perframe": (PerFrameConfig, PerFrame),
    "bisenetv2": (BiSeNetV2Config, BiSeNetV2),
    "espnetv2": (EspNetV2Config, EspNetV2),
    "hardnet": (FcHarDNetConfig, FcHarDNet),
    "hrnet": (HrNetConfig, HrNet),
    "netwarp": (NetWarpConfig, NetWarp),
    "ssltm": (SsltmConfig, Ssltm),
    "tcb-ppm": (TcbPpmConfig, TcbPpm),
    "tcb-ocr": (TcbOcrConfig, TcbOcr),
    "clip-panofcn": (PanoFcnConfig, PanoFcn),
    "vip-deeplab": (VipDeepLabConfig, VipDeepLab),
}
# Settings of old checkpoints that networks no longer have, at the only value they ever allowed.
_RETIRED = {arch: {"auxiliary": False} for arch in ("espnetv2", "hardnet", "hrnet")}
_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}


def build(arch: str, config: Mapping[str, object], *, training: bool = True) -> VideoNetwork:
    """A network of the zoo with fresh weights.

    Args:
        training: False: without the submodules that nothing but training needs.

    Raises:
        ModelError: unknown architecture, or a config it does not understand.
    """
    record, kind = _model(arch)
    retired = _RETIRED.get(arch, {})

    # Pass over retired settings at the value they had: old checkpoints still hold them.
    config = {k: v for k, v in config.items() if k not in retired or v != retired[k]}
    unknown = set(config) - {field.name for field in fields(record)}
    if unknown:
        raise ModelError(
            f"architecture '{arch}': no such setting {', '.join(sorted(unknown))}; "
            f"known are {', '.join(field.name for field in fields(record))}"
        )

    # Turn lists back into tuples, which JSON does not have.
    values = {
        name: tuple(value) if isinstance(value, list) else value for name, value in config.items()
    }
    _check_values(arch, record, values)

    try:
        network = kind(record(**values))
    except (TypeError, KeyError, ValueError, RuntimeError) as error:
        # Give the first line: errors of torch may have many.
        why = str(error).strip().partition("\n")[0]
        raise ModelError(f"architecture '{arch}': config not usable: {why}; check it") from error
    if not training:
        network.leave_out_training()
    return network


def settings_for(arch: str, labels: Labels) -> dict[str, int]:
    """Settings of an architecture that follow from the classes.

    Raises:
        ModelError: unknown architecture.
    """
    return _model(arch)[1].settings_for(labels)


def _model(arch: str) -> tuple[type[DataclassInstance], type[VideoNetwork]]:
    """Raises: ModelError: unknown architecture."""
    if arch not in MODELS:
        raise ModelError(f"architecture '{arch}': unknown; known are {', '.join(sorted(MODELS))}")
    return MODELS[arch]


def _check_values(arch: str, record: type[DataclassInstance], values: Mapping[str, object]) -> None:
    """Raises: ModelError: a setting is of another type, or a count that is too small."""
    hints = get_type_hints(record)
    for field in fields(record):
        if field.name not in values:
            continue
        value, listed = values[field.name], get_args(hints[field.name])
        kind = listed[0] if listed else hints[field.name]  # the lists hold one type each
        found = value if isinstance(value, tuple) else (value,)
        if bool(listed) != isinstance(value, tuple) or not all(_is_a(kind, one) for one in found):
            wanted = f"a list, each {_KINDS[kind]}" if listed else _KINDS[kind]
            raise ModelError(f"architecture '{arch}': {field.name} is {value!r}, not {wanted}")
        # 0 turns off what is off by default, and is too few of anything else
        least = 0 if field.default == 0 else 1
        if kind is int and min(found, default=least) < least:
            raise ModelError(
                f"architecture '{arch}': {field.name} is {value}; it must be {least} or more"
            )


def _is_a(kind: type, value: object) -> bool:
    if kind is float:
        # Take 2 for 2.0, as people write it, but no flags, which Python takes for whole numbers.
        return isinstance(value, (int, float)) and not isinstance(value, bool)

    # Compare exactly: isinstance takes True for a whole number.
    return type(value) is kind


def config_of(network: VideoNetwork) -> JsonTable:
    """The config a network was built from, as plain values that go into its checkpoint."""
    return asdict(network.config)


class NetworkFacts(TypedDict):
    """The arguments of `metadata_of` that follow from a network."""

    config: JsonTable
    task: str
    window: int
    alignment: int
    any_window: bool
    memory_interval_s: float | None


def facts_of(network: VideoNetwork) -> NetworkFacts:
    """The fields of a description that follow from the network: its config, and how it is run."""
    return {
        "config": config_of(network),
        "task": network.task,
        "window": network.window,
        "alignment": network.alignment,
        "any_window": network.any_window,
        "memory_interval_s": network.memory_interval_s,
    }


__all__ = ["MODELS", "build", "config_of", "facts_of", "settings_for"]
