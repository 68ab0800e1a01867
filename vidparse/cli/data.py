"""`vidparse data` checks and converts labelled data, and `vidparse autolabel` makes it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from vidparse.cli import options as shared
from vidparse.cli.process import stop_on_signals
from vidparse.cli.terminal import Reporter, cell, console, print_json, print_message, show
from vidparse.errors import InputError, counted
from vidparse.limits import SMALLEST
from vidparse.requests.autolabel import AutolabelRequest
from vidparse.requests.option import Argument, Option

if TYPE_CHECKING:
    from vidparse.data.check import CheckReport, SplitReport
    from vidparse.training.autolabel import AutolabelResult


def check(
    folder: Annotated[Path, Argument("Folder of the data set.", metavar="DIR")],
    dataset: Annotated[
        str | None,
        Option("Its kind, as for eval. [default: that of its layout]", choices="datasets"),
    ] = None,
    split: Annotated[
        str | None,
        Option("Only this split; all that there are if not given.", choices="splits"),
    ] = None,
    quick: Annotated[bool, Option("Read the heads of the files, not their pixels.")] = False,
    json: shared.Json = False,
    quiet: shared.Quiet = False,
) -> None:
    """Count what a data set holds, and name every bad file; exit code 3 when there are any."""
    from vidparse.data.check import check_dataset

    title = f"check {folder.name}"
    with stop_on_signals() as stop, Reporter(title, quiet=quiet) as reporter:
        report = check_dataset(
            folder, dataset, split=split, quick=quick, on_frame=reporter.update, stop=stop
        )
    if json:
        print_json(_report_record(report))
    else:
        _print_report(report, quiet=quiet)
    if report.errors:
        raise SystemExit(InputError.exit_code)


def _print_report(report: CheckReport, *, quiet: bool) -> None:
    from rich.table import Table

    if not quiet:
        table = Table(title=cell(f"{report.name} in {report.root}"))
        for head in ("split", "videos", "frames", "labelled", "sizes", "classes seen", "void"):
            table.add_column(head, justify="left" if head in ("split", "sizes") else "right")
        for one in report.splits:
            share = one.void_share
            table.add_row(
                cell(one.split),
                str(one.videos),
                str(one.frames),
                str(one.labelled),
                _sizes(one),
                "-" if share is None else f"{one.seen} of {len(one.pixels)}",
                "-" if share is None else f"{share:.2%}",
            )
        console().print(table)

    for problem in report.problems:
        kind = "warning: " if problem.warning else ""
        show(f"{problem.path}: {kind}{problem.what}")
    left_out = report.errors + report.warnings - len(report.problems)
    if left_out:
        show(f"and {left_out} more")
    if not quiet:
        show(f"{counted(report.errors, 'error')}, {counted(report.warnings, 'warning')}")


def _sizes(split: SplitReport) -> str:
    """The most frequent sizes, a line each."""
    shown = [f"{width}x{height} ({count})" for height, width, count in split.sizes[:3]]
    more = len(split.sizes) - len(shown)
    return "\n".join([*shown, f"{more} more"] if more else shown) or "-"


def _report_record(report: CheckReport) -> dict[str, object]:
    """Plain values for `--json`."""
    problems = [
        {"path": problem.path, "what": problem.what, "warning": problem.warning}
        for problem in report.problems
    ]
    return {
        "root": report.root,
        "dataset": report.name,
        "quick": report.quick,
        "errors": report.errors,
        "warnings": report.warnings,
        "splits": [_split_record(report, split) for split in report.splits],
        "problems": problems,
    }


def _split_record(report: CheckReport, split: SplitReport) -> dict[str, object]:
    sizes = [
        {"width": width, "height": height, "frames": count} for height, width, count in split.sizes
    ]
    # A quick check reads no pixels, and no count at all is other than a count of 0.
    pixels = None if report.quick else dict(zip(split.classes, split.pixels, strict=True))
    return {
        "split": split.split,
        "videos": split.videos,
        "frames": split.frames,
        "labelled": split.labelled,
        "sizes": sizes,
        "pixels": pixels,
        "void_pixels": None if report.quick else split.void,
    }


def convert(
    source: Annotated[
        Path, Argument("Folder of a data set, or the file of an annotation tool.", metavar="FROM")
    ],
    out: Annotated[Path, Argument("New folder for the result.", metavar="TO")],
    to: Annotated[str, Option("The format to write: {choices}.", choices="writers")] = "folder",
    dataset: Annotated[
        str | None,
        Option(
            "The format of FROM. [default: that of its layout]", flag="--from", choices="datasets"
        ),
    ] = None,
    split: Annotated[
        str | None,
        Option("Only this split; all that there are if not given.", choices="splits"),
    ] = None,
    pictures: Annotated[
        bool,
        Option(
            "Leave the pictures out where the format is a file of labels.",
            flag="--no-pictures",
            negates=True,
        ),
    ] = True,
    video: Annotated[
        Path | None,
        Option("The video that the labels are of, where it does not lie beside them."),
    ] = None,
    shrink: Annotated[
        int | None,
        Option(
            "Bring larger pictures and their labels to this shorter side, as VSPW's 480p form.",
            least=SMALLEST,
        ),
    ] = None,
    max_pixels: shared.MaxPixels = None,
    json: shared.Json = False,
    quiet: shared.Quiet = False,
) -> None:
    """Write a labelled data set in another format, with all that the format can hold."""
    from vidparse.data.convert import convert_dataset

    title = f"convert {source.name}"
    with stop_on_signals() as stop, Reporter(title, quiet=quiet) as reporter:
        found = convert_dataset(
            source,
            out,
            to=to,
            dataset=dataset,
            split=split,
            pictures=pictures,
            video=video,
            shrink=shrink,
            on_frame=reporter.update,
            stop=stop,
        )
    if json:
        print_json({**asdict(found), "out": str(found.out)})
    elif not quiet:
        for note in found.notes:
            print_message(f"note: {note}")
        print_message(
            f"{found.from_format} to {found.to_format}: {counted(found.videos, 'video')}, "
            f"{counted(found.frames, 'frame')} -> {found.out} (--dataset {found.read_as})"
        )


def autolabel(
    request: AutolabelRequest,
    max_pixels: shared.MaxPixels = None,
    json: shared.Json = False,
    quiet: shared.Quiet = False,
) -> None:
    """Label frames with the mean answer of several models, to train on; goes on if interrupted."""
    from vidparse.training.autolabel import autolabel_record, make_labels

    title = f"autolabel {request.out.name}"
    with stop_on_signals() as stop, Reporter(title, quiet=quiet) as reporter:
        result = make_labels(request, on_frame=reporter.update, on_note=reporter.note, stop=stop)
    if json:
        print_json(autolabel_record(result))
    elif not quiet:
        _print_counts(result)


def _print_counts(result: AutolabelResult) -> None:
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
        print_message(line)
