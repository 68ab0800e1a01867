"""`vidparse autolabel`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidparse.cli import options as shared
from vidparse.errors import counted

if TYPE_CHECKING:
    from vidparse.training.autolabel import AutolabelResult


def autolabel(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(metavar="INPUT", help="Videos, or folders or patterns of images."),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="Folder of images, masks and labels.json: a data set of the kind `folder`.",
        ),
    ] = Path("pseudo"),
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="Name, hf:owner/repo, or a .safetensors or .onnx file; several are averaged.",
            rich_help_panel="Model",
        ),
    ] = None,
    votes: Annotated[
        str | None,
        typer.Option(
            help="How much each model counts, in their order: 0.7,0.3. [default: all alike]",
            rich_help_panel="Model",
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Label a split of this data set; kinds as for eval.",
            rich_help_panel="What is labelled",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of the data set.", rich_help_panel="What is labelled"),
    ] = None,
    split: Annotated[
        str,
        typer.Option(
            help="train, val, test, or what the data has.", rich_help_panel="What is labelled"
        ),
    ] = "train",
    unlabelled: Annotated[
        bool,
        typer.Option(
            "--unlabelled",
            help="Only frames of the data set that have no mask.",
            rich_help_panel="What is labelled",
        ),
    ] = False,
    every: Annotated[
        int,
        typer.Option(
            min=1,
            help="Every n-th frame of videos and folders.",
            rich_help_panel="What is labelled",
        ),
    ] = 1,
    start: Annotated[
        str | None,
        typer.Option(
            help="Where to begin in each video: seconds or [HH:]MM:SS[.mmm].",
            rich_help_panel="What is labelled",
        ),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option(help="Where to stop, like --start.", rich_help_panel="What is labelled"),
    ] = None,
    max_frames: Annotated[
        int | None,
        typer.Option(
            min=1, max=10**9, help="Only the first frames.", rich_help_panel="What is labelled"
        ),
    ] = None,
    shrink: Annotated[
        int | None,
        typer.Option(
            min=32,
            help="Bring larger pictures to this shorter side, and keep them so.",
            rich_help_panel="What is labelled",
        ),
    ] = None,
    scales: Annotated[
        str,
        typer.Option(
            help="Sizes at which each model looks, times its own input size: up to 8.",
            rich_help_panel="Labels",
        ),
    ] = "0.5,0.75,1,1.25,1.5,1.75",
    flip: Annotated[
        bool, typer.Option(help="Look at the mirrored picture, too.", rich_help_panel="Labels")
    ] = True,
    window: Annotated[
        int,
        typer.Option(
            min=0,
            help="Slide a window of this side (32 to 8192) over the network's input, 2/3 of it at "
            "a time; 0: the whole input at once.",
            rich_help_panel="Labels",
        ),
    ] = 0,
    threshold: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Least probability of a label; below it 255, ignore.",
            rich_help_panel="Labels",
        ),
    ] = 0.5,
    within: Annotated[
        bool,
        typer.Option(
            "--within",
            help="Labels must agree with the coarser ones that the data set has.",
            rich_help_panel="Labels",
        ),
    ] = False,
    labels: Annotated[
        str | None,
        typer.Option(
            help="Label set to bring models to that have different ones: camvid.",
            rich_help_panel="Labels",
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            help="Own classes, made of the models': vehicle=car+bus,person,other=*. Pixels of "
            "no class are void. [default: the models' classes]",
            rich_help_panel="Labels",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin anew, without the labels made before.")
    ] = False,
    backend: shared.Backend = "auto",
    device: shared.Device = "auto",
    precision: shared.Precision = "auto",
    threads: shared.Threads = 0,
    task: shared.Task = "auto",
    max_pixels: shared.MaxPixels = None,
    json: shared.Json = False,
    quiet: shared.Quiet = False,
) -> None:
    """Label frames with the mean answer of several models, to train on; goes on if interrupted."""
    from vidparse.cli.parsing import comma_list, parse_time
    from vidparse.cli.screen import FrameBar
    from vidparse.cli.signals import stop_on_signals
    from vidparse.cli.terminal import print_json, say
    from vidparse.training.autolabel import (
        AutolabelRequest,
        Variants,
        autolabel_record,
        make_labels,
    )

    sizes = _parse_numbers(scales, "--scales", "0.5,1,1.5")
    request = AutolabelRequest(
        out=out,
        models=tuple(model or ()),
        votes=() if votes is None else _parse_numbers(votes, "--votes", "0.7,0.3"),
        labels=labels,
        classes=comma_list(classes, "--classes") or (),
        variants=Variants(tuple(dict.fromkeys(sizes)), flip, window),
        backend=backend,
        device=device,
        precision=precision,
        threads=threads,
        task=task,
        dataset=dataset,
        data=data,
        split=split,
        unlabelled=unlabelled,
        inputs=tuple(inputs or ()),
        every=every,
        start_s=parse_time(start, "--start"),
        end_s=parse_time(end, "--end"),
        max_frames=max_frames,
        shrink=shrink,
        threshold=threshold,
        within=within,
        overwrite=overwrite,
    )

    def note(text: str) -> None:
        if not quiet:
            say(f"note: {text}")

    with stop_on_signals() as stop, FrameBar(f"autolabel {out.name}", quiet=quiet) as bar:
        result = make_labels(request, on_frame=bar.update, on_note=note, stop=stop)
    if json:
        print_json(autolabel_record(result))
    elif not quiet:
        _print(result)


def _parse_numbers(text: str, option: str, example: str) -> tuple[float, ...]:
    from vidparse.cli.parsing import comma_list
    from vidparse.errors import UsageError

    try:
        return tuple(float(item) for item in comma_list(text, option) or ())
    except ValueError:
        raise UsageError(f"{option} '{text}': not numbers; write {example}") from None


def _print(result: AutolabelResult) -> None:
    from vidparse.cli.terminal import say

    counts = result.counts
    before = f" ({result.skipped} done before)" if result.skipped else ""
    frames = result.made + result.skipped
    lines = [
        *(f"note: {note}" for note in result.notes),
        *(["note: no pixel was sure enough; lower --threshold"] if not counts.kept_share else []),
        f"{counted(frames, 'frame')}{before}, "
        f"{counts.kept_share:.1%} of the pixels labelled -> {result.out}",
    ]
    for line in lines:
        say(line)
