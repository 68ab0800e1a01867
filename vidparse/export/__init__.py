"""Exports: ONNX in float32 or int8, float16 weights; checked before they are kept."""

from vidparse.export.onnx import export_onnx, to_onnx
from vidparse.export.parity import Parity, check_parity, parity_record, rendered_clips
from vidparse.export.quantize import (
    CALIBRATION_FRAMES,
    FRAMES_IN_A_ROW,
    Quantized,
    check_rendered,
    export_int8,
    quantized_record,
)
from vidparse.export.weights import check_target, export_weights

__all__ = [
    "CALIBRATION_FRAMES",
    "FRAMES_IN_A_ROW",
    "Parity",
    "Quantized",
    "check_parity",
    "check_rendered",
    "check_target",
    "export_int8",
    "export_onnx",
    "export_weights",
    "parity_record",
    "quantized_record",
    "rendered_clips",
    "to_onnx",
]
