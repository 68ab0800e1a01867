"""`vidparse eval`."""

from __future__ import annotations

from typing import Annotated

import typer

from vidparse.cli import options as shared


def evaluate(
    dataset: shared.DatasetName = "camvid",
    data: shared.DataRoot = None,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    size: Annotated[
        str | None, typer.Option(help="Network input: 360 (short side) or 640x360.")
    ] = None,
    model: shared.Model = "street-mnv2",
    backend: shared.Backend = "auto",
    device: shared.Device = "auto",
    precision: shared.Precision = "auto",
    threads: shared.Threads = 0,
    json: shared.Json = False,
) -> None:
    """Score a model on a labelled data set, through the session that `segment` uses."""
    from rich.console import Console
    from rich.table import Table

    from vidparse.cli.screen import print_json
    from vidparse.cli.signals import stop_on_signals
    from vidparse.data import open_dataset
    from vidparse.evaluation.evaluate import evaluate as score
    from vidparse.evaluation.evaluate import evaluation_record
    from vidparse.inference import load_model
    from vidparse.inference.preprocess import parse_size

    labelled = open_dataset(dataset, data, split)
    runner = load_model(model, backend=backend, device=device, precision=precision, threads=threads)
    with stop_on_signals() as stop:
        result = score(runner, labelled, size=parse_size(size) if size else None, stop=stop)
    record = evaluation_record(result) | {"model": model, "sha256": runner.description.sha256}
    if json:
        print_json(record)
        return
    console = Console()
    console.print(
        f"{model} on {dataset} {split}: {result.frames} frames",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    table = Table()
    table.add_column("class")
    table.add_column("IoU", justify="right")
    for name, value in record["per_class"].items():
        table.add_row(name, "absent" if value is None else f"{value:.4f}")
    table.add_section()
    for name in ("miou", "wiou", "pixel_accuracy", "mean_accuracy"):
        table.add_row(name, f"{record[name]:.4f}")
    console.print(table)
