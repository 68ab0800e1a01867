"""`vidparse convert`."""

from __future__ import annotations

from vidparse.cli import options as shared
from vidparse.errors import counted
from vidparse.requests.export import ConvertRequest


def convert(
    request: ConvertRequest, json: shared.Json = False, quiet: shared.Quiet = False
) -> None:
    """Turn a checkpoint of published code into ours, or ImageNet weights into a start for train."""
    from dataclasses import asdict

    from vidparse.cli.terminal import print_json, say
    from vidparse.convert import convert

    done = convert(
        request.files,
        request.out,
        source=request.source,
        arch=request.arch,
        labels=request.labels,
        short_side=request.short_side,
        settings=dict(request.settings),
    )
    if json:
        print_json(asdict(done) | {"path": str(done.path)})
    elif not quiet:
        for rule, count in done.rules.items():
            say(f"{rule} ({counted(count, 'tensor')})")
        if done.dropped:
            say(f"left out: {', '.join(done.dropped)}")
        kind = f", {done.labels}" if done.labels else ", a start for `vidparse train --init`"
        say(f"{done.path}: {done.arch}{kind}, {counted(done.tensors, 'tensor')}")
