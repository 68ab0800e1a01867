"""`vidparse bench`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from vidparse.cli import options as shared
from vidparse.cli.terminal import Reporter, cell, console, print_json, show
from vidparse.errors import UsageError, counted
from vidparse.requests.segment import BenchRequest

if TYPE_CHECKING:
    from vidparse.bench import BenchReport
    from vidparse.bench.zoo import ZooRow


def bench(
    request: BenchRequest,
    max_pixels: shared.MaxPixels = None,
    allow_protocols: shared.AllowProtocols = None,
    json: shared.Json = False,
) -> None:
    """Time every stage, the network alone and the whole run, and compare with the floor."""
    if request.zoo is not None:
        _bench_zoo(request, request.zoo, json=json)
        return
    from vidparse.bench import bench as measure
    from vidparse.bench import bench_record

    if request.source is None:
        raise UsageError("bench: name an input, or --zoo all")
    with Reporter() as reporter:
        report = measure(
            request.source,
            request.segment_options(),
            repeats=request.repeats,
            on_repeat=lambda done: reporter.line(f"repeat {done} of {request.repeats}"),
        )
    if json:
        print_json(bench_record(report))
    else:
        _print(report)


def _bench_zoo(request: BenchRequest, names: tuple[str, ...], *, json: bool) -> None:
    from vidparse.bench.zoo import bench_zoo, zoo_names, zoo_record

    size_hw = request.size or (480, 853)
    if not isinstance(size_hw, tuple):
        raise UsageError(f"--size {size_hw}: the zoo needs both sides; write 853x480")

    with Reporter() as reporter:
        rows = bench_zoo(
            zoo_names() if names == ("all",) else names,
            size_hw=size_hw,
            repeats=request.repeats,
            threads=request.threads,
            backends=request.backends,
            on_row=lambda row: reporter.line(f"{row.name} {row.times_ms['torch fp32']:.0f} ms"),
        )
    if json:
        print_json([zoo_record(row) for row in rows])
    else:
        _print_zoo(rows, size_hw)


def _print_zoo(rows: list[ZooRow], size_hw: tuple[int, int]) -> None:
    from rich.table import Table

    def shown(value: float, form: str) -> str:
        return "-" if math.isnan(value) else format(value, form)

    table = Table(title=f"{size_hw[1]}x{size_hw[0]}, ms per frame")
    forms = list(dict.fromkeys(form for row in rows for form in row.times_ms))
    table.add_column("network", no_wrap=True)
    for head in ("M", "GMAC", *forms, "x twin", "published", "state kB"):
        table.add_column(head, justify="right")
    for row in rows:
        table.add_row(
            cell(row.name),
            f"{row.parameters / 1e6:.2f}",
            f"{row.multiplications / 1e9:.1f}",
            *(shown(row.times_ms.get(form, math.nan), ".0f") for form in forms),
            shown(row.ratio, ".3f"),
            shown(row.published_ratio, ".2f"),
            f"{row.state_bytes / 1000:.0f}",
        )
    console().print(table)


def _print(report: BenchReport) -> None:
    from rich.table import Table

    height, width = report.network_input_hw
    show(
        f"{report.input}: {counted(report.frames, 'frame')}, {report.model} at {width}x{height}, "
        f"{report.engine}, {counted(report.cores, 'core')}, medians of {report.repeats}"
    )

    table = Table()
    table.add_column("stage alone")
    table.add_column("CPU ms/frame", justify="right")
    table.add_row("network", f"{1000 * report.network_cpu_s / report.frames:.2f}")
    for stage, ms in report.stage_ms.items():
        table.add_row(cell(stage), f"{ms:.2f}")
    console().print(table)

    fast, slow = report.wall_spread
    for line in (
        f"network alone   {report.network_ms:.1f} ms/frame, {report.network_fps:.1f} fps",
        f"overlapped run  {report.wall_s:.2f} s, {report.fps:.1f} fps "
        f"(repeats {fast:.2f} to {slow:.2f} s)",
        f"whole process   {report.process_wall_s:.2f} s, {report.process_fps:.1f} fps",
        f"floor           {report.floor_s:.2f} s; run / floor = {report.floor_ratio:.3f}",
        f"bound by        {report.bottleneck}",
    ):
        show(line)
