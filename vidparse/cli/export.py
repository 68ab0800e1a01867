"""`vidparse export` and `vidparse convert`: models from one form into another."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from vidparse.cli import options as shared
from vidparse.cli.terminal import Reporter, print_json, print_message
from vidparse.errors import ModelError, counted
from vidparse.requests.export import ConvertRequest, ExportRequest

if TYPE_CHECKING:
    from vidparse.export import Quantized
    from vidparse.models.description import Description
    from vidparse.models.profile import Profile

_SHOWN = ("path", "frames", "max_abs_difference", "argmax_agreement", "bytes", "sha256")


def export(request: ExportRequest, json: shared.Json = False) -> None:
    """Write a model as ONNX (checked against torch), or as float16 weights for distribution."""
    from vidparse import export as exporter
    from vidparse.models.checkpoint import file_sha256

    out, overwrite = request.out, request.overwrite
    description, *others = map(_weights_of, (request.model, *request.average))

    # Check the place before the work, which may take minutes.
    exporter.check_target(out, source=description.path, overwrite=overwrite)
    if request.profile:
        description = replace(description, profile=_profile(description, request, quiet=json))

    record: dict[str, object] = {"path": str(out)}
    if request.int8:
        record |= _export_int8(description, request, quiet=json)
    elif out.suffix == ".onnx":
        if not json:  # nothing else shows until the end
            print_message("onnx: translating and checking against torch, which takes half a minute")
        record |= exporter.parity_record(
            exporter.export_onnx(description, out, overwrite=overwrite)
        )
    else:
        exporter.export_weights(description, out, others=others, overwrite=overwrite)
    record |= {"bytes": out.stat().st_size, "sha256": file_sha256(out)}

    if json:
        print_json(record)
    else:
        shown = [key for key in _SHOWN if key in record]
        print_message(", ".join(f"{key} {record[key]}" for key in shown))


def _weights_of(model: str) -> Description:
    """Raises: ModelError: the model has no weights, or they are damaged."""
    from vidparse.hub import resolve
    from vidparse.models.checkpoint import read_description

    files = resolve(model)
    if files.weights is None:
        raise ModelError(f"{model}: has no .safetensors weights to export; give one that has")
    return read_description(files.weights)


def _profile(description: Description, request: ExportRequest, *, quiet: bool) -> Profile:
    from vidparse.inference.profile import measured_profile

    with Reporter("profile", quiet=quiet) as reporter:
        found = measured_profile(description, request.profile, on_step=reporter.update)
    print_message(
        f"profile: of {counted(found.pictures, 'picture')}: mean confidence "
        f"{found.confidence.mean:.3f} (deviation {found.confidence.deviation:.3f}), mean entropy "
        f"{found.entropy.mean:.3f} ({found.entropy.deviation:.3f})"
    )
    return found


def _export_int8(
    description: Description, request: ExportRequest, *, quiet: bool
) -> dict[str, object]:
    from vidparse import export as exporter
    from vidparse.inference.preprocess import sample_clips
    from vidparse.models.checkpoint import load_network

    out, calibrate, overwrite = request.out, request.calibrate, request.overwrite

    clips = None
    if calibrate:
        row = exporter.FRAMES_IN_A_ROW if load_network(description).state_tensors else 1
        count = exporter.CALIBRATION_FRAMES
        clips = sample_clips(calibrate, description.preprocess, count, row=row)
    else:
        exporter.check_rendered(description.labels)

    # Announce it: without a terminal nothing else shows for minutes.
    print_message(f"int8: calibrating on {calibrate or 'a rendered street'}, which takes minutes")
    with Reporter("int8", quiet=quiet) as reporter:
        quantized = exporter.export_int8(
            description,
            out,
            clips=clips,
            overwrite=overwrite,
            on_step=reporter.update,
            on_note=reporter.line,
        )
    for line in _lines(quantized, calibrate):
        print_message(line)
    return exporter.quantized_record(quantized)


def _lines(quantized: Quantized, calibrate: str | None) -> list[str]:
    """Facts about an int8 model, one line each."""
    parity = quantized.parity
    frames = "rendered frames" if quantized.rendered else f"frames of {calibrate}"

    lines = [
        f"int8: calibrated on {quantized.calibration_frames} {frames}; on {parity.frames} others "
        f"the class is float32's at {parity.argmax_agreement:.2%} of positions (feature resolution)"
    ]
    share, speed = quantized.int8_share, quantized.speed
    lines.append(
        f"int8: {share:.1%} of the multiplications; {speed:.1f} times as fast as float32 here"
    )
    if speed < 1:
        lines.append("note: int8 does not pay on this CPU; export without --int8")
    if quantized.rendered:
        lines.append("note: rendered frames are not your videos; --calibrate CLIP is surer")
    if quantized.weight_bits != 8:
        lines.append("note: weights have 7 bits; 8 agreed less (CPUs without VNNI overflow)")

    lines += [
        f"stays float: {layer.name} (it alone in int8 changes {layer.harm:.2%} of positions)"
        for layer in quantized.float_layers
    ]
    if quantized.temporal_operations:
        lines.append(
            f"stays float: what is remembered, and the {quantized.temporal_operations} operations "
            "that blend it (rounding would add up from frame to frame)"
        )
    return lines


def convert(
    request: ConvertRequest, json: shared.Json = False, quiet: shared.Quiet = False
) -> None:
    """Turn a checkpoint of published code into ours, or ImageNet weights into a start for train."""
    from vidparse.convert import convert

    done = convert(
        request.files,
        request.out,
        source=request.source,
        arch=request.arch,
        labels=request.labels,
        short_side=request.short_side,
        settings=dict(request.settings),
    )
    if json:
        print_json(asdict(done) | {"path": str(done.path)})
    elif not quiet:
        for rule, count in done.rules.items():
            print_message(f"{rule} ({counted(count, 'tensor')})")
        if done.dropped:
            print_message(f"left out: {', '.join(done.dropped)}")
        kind = f", {done.labels}" if done.labels else ", a start for `vidparse train --init`"
        print_message(f"{done.path}: {done.arch}{kind}, {counted(done.tensors, 'tensor')}")
