"""The model zoo. A new model is one file in this folder and one line in MODELS."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from torch import nn

from vidparse.errors import ModelError
from vidparse.models.bisenetv2 import BiSeNetV2, BiSeNetV2Config
from vidparse.models.espnetv2 import EspNetV2, EspNetV2Config
from vidparse.models.hardnet import FcHarDNet, FcHarDNetConfig
from vidparse.models.hrnet import HrNet, HrNetConfig
from vidparse.models.netwarp import NetWarp, NetWarpConfig
from vidparse.models.perframe import PerFrame, PerFrameConfig
from vidparse.models.ssltm import Ssltm, SsltmConfig
from vidparse.models.tcb import TcbOcr, TcbOcrConfig, TcbPpm, TcbPpmConfig

# architecture name -> (config record, network)
MODELS: dict[str, tuple[type[Any], type[nn.Module]]] = {
    "perframe": (PerFrameConfig, PerFrame),
    "bisenetv2": (BiSeNetV2Config, BiSeNetV2),
    "espnetv2": (EspNetV2Config, EspNetV2),
    "hardnet": (FcHarDNetConfig, FcHarDNet),
    "hrnet": (HrNetConfig, HrNet),
    "netwarp": (NetWarpConfig, NetWarp),
    "ssltm": (SsltmConfig, Ssltm),
    "tcb-ppm": (TcbPpmConfig, TcbPpm),
    "tcb-ocr": (TcbOcrConfig, TcbOcr),
}


def build(arch: str, config: dict[str, Any]) -> nn.Module:
    """A network of the zoo with fresh weights.

    Raises:
        ModelError: unknown architecture, or a config it does not understand.
    """
    if arch not in MODELS:
        raise ModelError(f"architecture '{arch}': unknown; known are {', '.join(sorted(MODELS))}")
    record, network = MODELS[arch]
    unknown = set(config) - {field.name for field in fields(record)}
    if unknown:
        raise ModelError(
            f"architecture '{arch}': no such setting {', '.join(sorted(unknown))}; "
            f"known are {', '.join(field.name for field in fields(record))}"
        )
    values = {  # JSON has no tuples
        name: tuple(value) if isinstance(value, list) else value for name, value in config.items()
    }
    try:
        return network(record(**values))
    except (TypeError, KeyError, ValueError) as error:
        raise ModelError(f"architecture '{arch}': config not usable: {error}; check it") from error


def config_of(network: Any) -> dict[str, Any]:
    """The config a network was built from, as plain values that go into its checkpoint."""
    return asdict(network.config)


__all__ = ["MODELS", "build", "config_of"]
