"""`vidparse segment`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from vidparse import DEFAULT_MODEL
from vidparse.cli import options as shared

INPUT_PANEL, OUTPUT_PANEL, LOOK_PANEL = "Input", "Output", "Look"


def segment(
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Videos, folders or patterns of images, sample://street, sample://crowd, "
            "or - for stdin.",
            show_default=False,
        ),
    ],
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            rich_help_panel=OUTPUT_PANEL,
            help="Directory, file (x.mp4, x.csv, m_%04d.png, ... says what to save), pipe, or - "
            "for stdout. "
            "Default: beside the input.",
        ),
    ] = None,
    save: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated: {outputs}. Default: overlay,masks (stdout: overlay).",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(help="Keep only these classes: Car,Pedestrian.", rich_help_panel=OUTPUT_PANEL),
    ] = None,
    rle: Annotated[
        bool, typer.Option("--rle", help="COCO RLE masks in jsonl.", rich_help_panel=OUTPUT_PANEL)
    ] = False,
    raw_ids: Annotated[
        bool,
        typer.Option(
            "--raw-ids", help="vspw: ids from 1, 0 for void.", rich_help_panel=OUTPUT_PANEL
        ),
    ] = False,
    no_audio: Annotated[
        bool,
        typer.Option(
            "--no-audio", help="Leave audio and subtitles out.", rich_help_panel=OUTPUT_PANEL
        ),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace outputs.", rich_help_panel=OUTPUT_PANEL),
    ] = False,
    skip_existing: Annotated[
        bool,
        typer.Option(
            "--skip-existing",
            help="Leave outputs that are there and not empty as they are, and make the others.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = False,
    opacity: Annotated[
        float,
        typer.Option(min=0, max=1, help="Of class colours.", rich_help_panel=LOOK_PANEL),
    ] = 0.5,
    contours: Annotated[
        bool, typer.Option("--contours", help="Draw borders.", rich_help_panel=LOOK_PANEL)
    ] = False,
    legend: Annotated[
        bool, typer.Option("--legend", help="Draw class names.", rich_help_panel=LOOK_PANEL)
    ] = False,
    labels: Annotated[
        bool,
        typer.Option(
            "--labels", help="Write class and id on every thing.", rich_help_panel=LOOK_PANEL
        ),
    ] = False,
    palette: Annotated[
        str | None,
        typer.Option(
            help="'published', 'distinct', a label set's name, or a .json/.txt file of RGB rows. "
            "Default: the published colours, moved apart for colour-blind people.",
            rich_help_panel=LOOK_PANEL,
        ),
    ] = None,
    crf: Annotated[
        int | None,
        typer.Option(
            min=0, max=51, help="x264 quality, 0 (lossless) to 51.", rich_help_panel=LOOK_PANEL
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(help="Seconds or [HH:]MM:SS[.mmm].", rich_help_panel=INPUT_PANEL),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option(help="Where to stop, like --start.", rich_help_panel=INPUT_PANEL),
    ] = None,
    stride: Annotated[
        int, typer.Option(min=1, help="Take every n-th frame.", rich_help_panel=INPUT_PANEL)
    ] = 1,
    track: shared.Track = None,
    pipe: Annotated[
        str | None,
        typer.Option(
            help="Form of stdin and stdout: y4m, matroska, nut or raw "
            "(raw needs --size and --rate).",
            rich_help_panel=INPUT_PANEL,
        ),
    ] = None,
    pixel_format: Annotated[
        str, typer.Option(help="Of raw frames on stdin.", rich_help_panel=INPUT_PANEL)
    ] = "rgb24",
    rate: Annotated[
        str | None,
        typer.Option(
            help="Frames per second of image folders and raw pipes: 25, 30000/1001.",
            rich_help_panel=INPUT_PANEL,
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            help="Network input: 360 (short side) or 640x360. "
            "With --pipe raw: size of the frames on stdin.",
            rich_help_panel="Model",
        ),
    ] = None,
    network_size: Annotated[
        str | None,
        typer.Option(
            help="Network input, where --size says something else.", rich_help_panel="Model"
        ),
    ] = None,
    model: shared.Model = DEFAULT_MODEL,
    backend: shared.Backend = "auto",
    device: shared.Device = "auto",
    precision: shared.Precision = "auto",
    threads: shared.Threads = 0,
    cut: Annotated[
        str,
        typer.Option(
            help="Where a model with a memory forgets: auto (hard cuts), off, or a threshold "
            "from 0 (every frame) to 2.",
            rich_help_panel="Model",
        ),
    ] = "auto",
    task: shared.Task = "auto",
    stabilize: shared.Stabilize = False,
    window: shared.Window = None,
    linker: shared.Linker = None,
    merging: shared.Rule = None,
    min_area: shared.MinArea = None,
    min_score: shared.MinScore = None,
    serial: Annotated[
        bool,
        typer.Option("--serial", help="No overlap of stages.", rich_help_panel="Model"),
    ] = False,
    workers: Annotated[
        int,
        typer.Option(
            min=0,
            help="Processes that segment parts of a video at the same time, with a network each.",
            rich_help_panel="Model",
        ),
    ] = 0,
    cluster: Annotated[
        str | None,
        typer.Option(
            help="Workers on a Ray cluster: its address, or auto for the one that runs here.",
            rich_help_panel="Model",
        ),
    ] = None,
    max_pixels: shared.MaxPixels = None,
    json: shared.Json = False,
    quiet: shared.Quiet = False,
) -> None:
    """Segment videos: masks, overlays and records beside the input."""
    from vidparse.cli.parsing import (
        comma_list,
        parse_merging,
        parse_rate,
        parse_time,
        raw_pipe,
        stdout_format,
    )
    from vidparse.cli.screen import Screen
    from vidparse.cli.signals import stop_on_signals
    from vidparse.cli.summary import summary_record
    from vidparse.cli.terminal import print_json
    from vidparse.errors import UsageError
    from vidparse.inference.cuts import parse_cut
    from vidparse.inference.preprocess import parse_size
    from vidparse.run import SegmentOptions
    from vidparse.run import segment as run_segment
    from vidparse.sinks import SinkOptions
    from vidparse.sinks.sink import is_stdout

    to_stdout = out is not None and is_stdout(out)
    if json and to_stdout:
        raise UsageError("--json: stdout already carries the output of -o -; drop one of them")
    raw = raw_pipe(pipe, size, rate, pixel_format)
    input_size = network_size if network_size is not None else None if raw else size
    options = SegmentOptions(
        save=comma_list(save, "--save"),
        out=out,
        sinks=SinkOptions(
            opacity=opacity,
            contours=contours,
            legend=legend,
            labels=labels,
            palette=palette,
            audio=not no_audio,
            overwrite=overwrite,
            skip_existing=skip_existing,
            rle=rle,
            raw_ids=raw_ids,
            crf=crf,
            pipe_format=stdout_format(pipe),
        ),
        classes=comma_list(classes, "--classes"),
        start_s=parse_time(start, "--start"),
        end_s=parse_time(end, "--end"),
        stride=stride,
        raw=raw,
        image_rate=parse_rate(rate),
        track=track,
        model=model,
        backend=backend,
        device=device,
        precision=precision,
        size=None if input_size is None else parse_size(input_size),
        threads=threads,
        cut=parse_cut(cut),
        stabilize=stabilize,
        window=window,
        linker=linker,
        merging=parse_merging(merging, min_area, min_score),
        task=task,
        overlap=not serial,
        workers=workers,
        cluster=cluster,
        argv=tuple(sys.argv),
    )
    with (
        Screen(quiet=quiet or json, summary=not to_stdout) as screen,
        stop_on_signals(lambda: screen.is_writing) as stop,
    ):
        summary = run_segment(inputs, options, watcher=screen, stop=stop)
    if json:
        print_json(summary_record(summary))
    screen.finish(summary)
    if summary.exit_code:
        raise typer.Exit(summary.exit_code)
