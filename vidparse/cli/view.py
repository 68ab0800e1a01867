"""`vidparse view`."""

from __future__ import annotations

from vidparse.cli import options as shared
from vidparse.cli.process import stop_on_signals
from vidparse.cli.terminal import Reporter, print_message
from vidparse.errors import counted
from vidparse.requests.view import ViewRequest


def view(request: ViewRequest, quiet: shared.Quiet = False) -> None:
    """Write a page to look through results with: video, classes and objects, timelines."""
    from vidparse.view import Page, write_pages

    def show(page: Page) -> None:
        if not quiet:
            print_message(
                f"{counted(page.frames, 'frame')}, {page.size / 1e6:.1f} MB -> {page.path}"
            )

    with stop_on_signals() as stop, Reporter("view", quiet=quiet) as reporter:
        write_pages(
            request,
            on_page=show,
            on_error=lambda error: print_message(f"vidparse: {error}"),
            on_frame=reporter.update,
            stop=stop,
        )
