"""`vidparse bench`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vidparse.cli import options as shared

if TYPE_CHECKING:
    from vidparse.bench import BenchReport


def bench(
    source: Annotated[str, typer.Argument(metavar="INPUT", help="A video, folder or sample.")],
    save: Annotated[str, typer.Option(help="Outputs to include, as in segment.")] = "overlay",
    repeats: Annotated[int, typer.Option(min=1, help="Interleaved repeats of every arm.")] = 5,
    end: Annotated[str | None, typer.Option(help="Stop here: seconds or MM:SS.")] = None,
    size: Annotated[
        str | None, typer.Option(help="Network input: 360 (short side) or 640x360.")
    ] = None,
    model: shared.Model = "street-mnv2",
    backend: shared.Backend = "auto",
    device: shared.Device = "auto",
    precision: shared.Precision = "auto",
    threads: shared.Threads = 0,
    serial: Annotated[bool, typer.Option("--serial", help="No overlap of stages.")] = False,
    json: shared.Json = False,
) -> None:
    """Time every stage, the network alone and the whole run, and compare with the floor."""
    from vidparse.bench import bench as measure
    from vidparse.bench import bench_record
    from vidparse.cli.parsing import comma_list, parse_time
    from vidparse.cli.screen import print_json
    from vidparse.inference.preprocess import parse_size
    from vidparse.run import SegmentOptions

    options = SegmentOptions(
        save=comma_list(save, "--save"),
        end_s=parse_time(end, "--end"),
        size=parse_size(size) if size else None,
        model=model,
        backend=backend,
        device=device,
        precision=precision,
        threads=threads,
        overlap=not serial,
    )
    report = measure(source, options, repeats=repeats)
    if json:
        print_json(bench_record(report))
    else:
        _print(report)


def _print(report: BenchReport) -> None:
    from rich.console import Console
    from rich.table import Table

    height, width = report.network_input_hw
    console = Console()
    console.print(
        f"{report.input}: {report.frames} frames, {report.model} at {width}x{height}, "
        f"{report.backend} {report.precision} on {report.device}, {report.cores} cores, "
        f"medians of {report.repeats}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    table = Table()
    table.add_column("stage alone")
    table.add_column("CPU ms/frame", justify="right")
    table.add_row("network", f"{1000 * report.network_cpu_s / report.frames:.2f}")
    for stage, ms in report.stage_ms.items():
        table.add_row(stage, f"{ms:.2f}")
    console.print(table)
    fast, slow = report.wall_spread
    console.print(
        f"network alone   {report.network_ms:.1f} ms/frame, {report.network_fps:.1f} fps\n"
        f"overlapped run  {report.wall_s:.2f} s, {report.fps:.1f} fps "
        f"(repeats {fast:.2f} to {slow:.2f} s)\n"
        f"whole process   {report.process_wall_s:.2f} s, {report.process_fps:.1f} fps\n"
        f"floor           {report.floor_s:.2f} s; run / floor = {report.floor_ratio:.3f}\n"
        f"bound by        {report.bottleneck}",
        highlight=False,
    )
