"""The summary of a run as plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vidparse import __version__

if TYPE_CHECKING:
    from vidparse.summary import InputResult, Summary


def summary_record(summary: Summary) -> dict[str, object]:
    """Plain values for `--json`."""

    def one(result: InputResult) -> dict[str, object]:
        report = result.report
        record: dict[str, object] = {
            "input": result.name,
            "outputs": list(result.outputs),
            "frames": result.frames,
            "skipped": result.skipped,
            "notes": list(result.notes),
            "error": str(result.error) if result.error else None,
            "exit_code": result.error.exit_code if result.error else 0,
        }
        if report:
            record["wall_s"] = round(report.wall_s, 4)
            record["fps"] = round(report.fps, 3)
            record["bottleneck"] = report.bottleneck
            record["stages_ms_per_frame"] = {
                stage.name: round(stage.ms_per_item, 3) for stage in report.stages
            }
        return record

    return {
        "schema": "vidparse-summary/1",
        "version": __version__,
        "model": summary.model,
        "weights_sha256": summary.weights_sha256,
        "backend": summary.backend,
        "device": summary.device,
        "precision": summary.precision,
        "engine": summary.engine,
        "chosen": summary.chosen or None,
        "exit_code": summary.exit_code,
        "inputs": [one(result) for result in summary.inputs],
    }
