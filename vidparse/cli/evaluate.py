"""`vidparse eval`."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from vidparse.cli import options as shared


def evaluate(
    dataset: shared.DatasetName = None,
    data: shared.DataRoot = None,
    split: Annotated[str, typer.Option(help="train, val, test, or what the data has.")] = "val",
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="Name, hf:owner/repo, or a .safetensors or .onnx file (repeatable).",
            rich_help_panel="What is scored",
        ),
    ] = None,
    pred: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder of predictions of any tool: VSPW masks, VIPSeg pan_pred + pred.json, "
            "COCO panoptic, mask videos (repeatable).",
            rich_help_panel="What is scored",
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            help="Label set to score in, where that of a model or of the data is finer: camvid. "
            "Ids of --pred are then of this set.",
            rich_help_panel="What is scored",
        ),
    ] = None,
    raw_ids: Annotated[
        bool,
        typer.Option(
            "--raw-ids",
            help="Masks hold raw VSPW ids, 1 to 124: those of --pred, and those --save writes.",
            rich_help_panel="What is scored",
        ),
    ] = False,
    max_videos: Annotated[
        int | None,
        typer.Option(
            min=1, help="Only the first videos of the split.", rich_help_panel="What is scored"
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            help="{metrics}; vcN and vcN-strict for clips of N frames; separated by commas. "
            "Default: those that the data set is usually scored with.",
            rich_help_panel="Metrics",
        ),
    ] = None,
    windows: Annotated[
        str | None,
        typer.Option(help="Window lengths of VPQ in frames: 1,2,4,6.", rich_help_panel="Metrics"),
    ] = None,
    flow: Annotated[
        str,
        typer.Option(
            help="Optical flow of TC: dis, dis-fast, dis-ultrafast or raft.",
            rich_help_panel="Metrics",
        ),
    ] = "dis",
    flow_weights: Annotated[
        Path | None,
        typer.Option(help="Weights of RAFT, raft-things.pth.", rich_help_panel="Metrics"),
    ] = None,
    flow_cache: Annotated[
        Path | None,
        typer.Option(
            help="Keep flows in this folder (.flo), and take them from it. They go by the names of "
            "videos and frames, so give each data set a folder of its own.",
            rich_help_panel="Metrics",
        ),
    ] = None,
    bootstrap: Annotated[
        int,
        typer.Option(
            min=0,
            max=1_000_000,
            help="Draws for 95 % intervals over videos; 1000 will do.",
            rich_help_panel="Metrics",
        ),
    ] = 0,
    size: Annotated[
        str | None,
        typer.Option(help="Network input: 360 (short side) or 640x360.", rich_help_panel="Model"),
    ] = None,
    backend: shared.Backend = "auto",
    device: shared.Device = "auto",
    precision: shared.Precision = "auto",
    threads: shared.Threads = 0,
    task: shared.Task = "auto",
    stabilize: shared.Stabilize = False,
    window: shared.Window = None,
    linker: shared.Linker = None,
    merging: shared.Rule = None,
    min_area: shared.MinArea = None,
    min_score: shared.MinScore = None,
    support: Annotated[
        str,
        typer.Option(
            help="Frames that TCB (.safetensors) blends with: past, as segment does, or official: "
            "the published test code, with later frames and, for any memory, first_clip.",
            rich_help_panel="Model",
        ),
    ] = "past",
    report: Annotated[
        Path | None,
        typer.Option(
            help="Write a page with charts and the worst clips.", rich_help_panel="Outputs"
        ),
    ] = None,
    save: Annotated[
        str | None,
        typer.Option(
            help="Keep the model's predictions as a submission: vspw or vipseg.",
            rich_help_panel="Outputs",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder of --save.", rich_help_panel="Outputs"),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace what --save finds there.", rich_help_panel="Outputs"
        ),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(help="Go on with an interrupted evaluation.", rich_help_panel="Outputs"),
    ] = True,
    max_pixels: shared.MaxPixels = None,
    json: shared.Json = False,
    quiet: shared.Quiet = False,
) -> None:
    """Score models, or predictions made by any tool, on a labelled data set."""
    from vidparse.cli.parsing import comma_list, parse_merging, parse_windows
    from vidparse.cli.scores import print_scores
    from vidparse.cli.screen import FrameBar
    from vidparse.cli.signals import stop_on_signals
    from vidparse.cli.terminal import print_json
    from vidparse.evaluation.report import write_report
    from vidparse.evaluation.request import EvaluationRequest, run_evaluation
    from vidparse.evaluation.result import evaluation_record
    from vidparse.inference.preprocess import parse_size
    from vidparse.page import check_page

    request = EvaluationRequest(
        dataset=dataset,
        data=data,
        split=split,
        labels=labels,
        max_videos=max_videos,
        models=tuple(model or ()),
        predictions=tuple(pred or ()),
        raw_ids=raw_ids,
        metrics=comma_list(metrics, "--metrics"),
        windows=parse_windows(windows),
        flow=flow,
        flow_weights=flow_weights,
        flow_cache=flow_cache,
        bootstrap=bootstrap,
        size=None if size is None else parse_size(size),
        backend=backend,
        device=device,
        precision=precision,
        threads=threads,
        stabilize=stabilize,
        window=window,
        linker=linker,
        merging=parse_merging(merging, min_area, min_score),
        support=support,
        task=task,
        save=save,
        out=out,
        overwrite=overwrite,
        diagnostics=report is not None,
        resume=resume,
    )
    if report is not None:
        check_page(report)
    title = f"{dataset or (data.name if data else '')} {split}"
    with stop_on_signals() as stop, FrameBar(title, quiet=quiet) as bar:
        result = run_evaluation(request, on_frame=bar.update, stop=stop)
    if report is not None:
        command = shlex.join(["vidparse", *sys.argv[1:]])
        write_report(report, replace(result, command=command))
    if json:
        print_json(evaluation_record(result))
    elif not quiet and result.metrics:
        print_scores(result)
