"""The ONNX form of a checkpoint, which runs on the CPU twice as fast as PyTorch."""

from __future__ import annotations

from pathlib import Path

from vidparse.errors import ModelError, UsageError
from vidparse.export.onnx import (
    LEAST_AGREEMENT,
    describe_model,
    export_metadata,
    save_model,
    to_onnx,
)
from vidparse.export.parity import check_parity
from vidparse.files import whole_file
from vidparse.hub.failure import check_installed
from vidparse.inference.runners.transformers.architecture import ARCHITECTURES
from vidparse.inference.runners.transformers.checkpoint import read_checkpoint
from vidparse.inference.runners.transformers.runner import as_network, load_pretrained


def exported_checkpoint(folder: Path, cache: Path, *, name: str = "") -> Path:
    """The ONNX file of a checkpoint in `cache`, written there the first time (half a minute).

    Raises:
        UsageError: networks of this architecture have no ONNX form.
        ModelError: as for :class:`TransformersRunner`; or the exporter failed.
        OutputError, OSError: the file cannot be written.
    """
    description = read_checkpoint(folder, name=name)
    name = name or str(folder)
    if not ARCHITECTURES[description.arch].exports:
        can = ", ".join(one.name for one in ARCHITECTURES.values() if one.exports)
        raise UsageError(
            f"{name}: {description.arch} runs in PyTorch only, ONNX is for {can}; "
            "use --backend auto"
        )

    path = cache / f"{description.sha256}.onnx"
    if path.is_file():
        return path

    check_installed(name)
    pretrained = load_pretrained(folder, description.arch, name)
    network = as_network(pretrained, description, folder, name)
    model = to_onnx(network)
    describe_model(model, export_metadata(description, source_sha256=description.sha256))

    # Check before the file is put in place: a later run takes it without a look.
    cache.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part:
        save_model(model, part)
        agreement = check_parity(network, part).argmax_agreement
        if agreement < LEAST_AGREEMENT:
            raise ModelError(
                f"{name}: its ONNX form agrees with torch on only {agreement:.4%} of positions; "
                "use --backend auto"
            )
    return path
