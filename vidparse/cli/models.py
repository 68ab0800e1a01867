"""`vidparse models`."""

from __future__ import annotations

import sys

from vidparse.cli import options as shared


def models(json: shared.Json = False) -> None:
    """List the bundled models with classes, scores and licence."""
    from dataclasses import asdict

    from rich.console import Console
    from rich.table import Table

    from vidparse.cli.screen import print_json
    from vidparse.hub import DEFAULT_MODEL, catalogue, weights_folder

    entries = catalogue()
    if json:
        print_json(
            [asdict(entry) | {"default": n == DEFAULT_MODEL} for n, entry in entries.items()]
        )
        return
    table = Table(title=f"Models in {weights_folder()}")
    for heading in ("name", "labels", "scores", "size", "what it is", "licence"):
        table.add_column(heading)
    for name, entry in entries.items():
        scores = "\n".join(f"{key} {value:.3f}" for key, value in entry.scores.items())
        size = (weights_folder() / entry.weights).stat().st_size / 2**20
        shown = f"{name} (default)" if name == DEFAULT_MODEL else name
        table.add_row(shown, entry.labels, scores, f"{size:.1f} MiB", entry.summary, entry.licence)
    on_terminal = sys.stdout is not None and sys.stdout.isatty()
    Console(width=None if on_terminal else 160).print(table)
