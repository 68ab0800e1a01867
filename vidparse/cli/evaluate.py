"""`vidparse eval`."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace

from vidparse.cli import options as shared
from vidparse.requests.evaluation import EvaluationRequest


def evaluate(
    request: EvaluationRequest,
    max_pixels: shared.MaxPixels = None,
    json: shared.Json = False,
    quiet: shared.Quiet = False,
) -> None:
    """Score models, or predictions made by any tool, on a labelled data set."""
    from vidparse.cli.reporter import Reporter
    from vidparse.cli.scores import print_scores
    from vidparse.cli.signals import stop_on_signals
    from vidparse.cli.terminal import print_json
    from vidparse.evaluation.report import write_report
    from vidparse.evaluation.request import run_evaluation
    from vidparse.evaluation.result import evaluation_record
    from vidparse.page import check_page

    if request.report is not None:
        check_page(request.report)

    name = request.dataset or (request.data.name if request.data else "")
    title = f"{name} {request.split}"
    with stop_on_signals() as stop, Reporter(title, quiet=quiet) as reporter:
        result = run_evaluation(request, on_frame=reporter.update, stop=stop)

    if request.report is not None:
        command = shlex.join(["vidparse", *sys.argv[1:]])
        write_report(request.report, replace(result, command=command))
    if json:
        print_json(evaluation_record(result))
    elif not quiet and result.metrics:
        print_scores(result)
