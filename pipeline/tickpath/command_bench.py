"""`tickpath bench`: options in, tables or one JSON object out, exit code 1 for a wrong answer."""

import json
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import numpy as np

from tickpath.bench import bench, compare, is_wire, measure, plan_of
from tickpath.generate import SessionPlan

Histograms = Mapping[str, np.void]


def _wire(measured: tuple[dict[str, Any], Histograms], as_json: bool, report: str | None) -> int:
    """Print wire to wire, write the report and the distributions beside it; gives the exit code."""
    from tickpath.bench.wire_table import print_wire

    result, histograms = measured
    if report:
        from tickpath.latency import write_hgrm
        from tickpath.report import write_wire_report

        write_wire_report(report, result)
        click.echo(f"tickpath: report written to {report}", err=True)
        for path in write_hgrm(Path(report).with_suffix(".hgrm"), histograms):
            click.echo(f"tickpath: distribution written to {path}", err=True)
    if as_json:
        json.dump(result, sys.stdout)
        sys.stdout.write("\n")
    else:
        print_wire(result)
    for finding in result["findings"]:
        click.echo(f"tickpath: {finding}", err=True)
    if result.get("interrupted"):
        return 130
    return 1 if result["findings"] else 0


def run(
    backends: tuple[str, ...],
    *,
    messages: int | None,
    quick: bool,
    as_json: bool,
    report: str | None,
) -> int:
    """Measure, print, write the report; gives the exit code."""
    from tickpath.narration import console, count_progress

    if report:
        from tickpath.report import require_plotly

        require_plotly()  # before a long run, not after it
    plan = plan_of(messages, quick or bool(backends))
    with ExitStack() as bars:

        def say(text: str) -> None:
            bars.close()  # a bar's own thread would disturb what is measured next
            console.print(f"tickpath: {text} ...")

        def progress(title: str, session: SessionPlan) -> Callable[[int], None]:
            return bars.enter_context(count_progress(title, session.messages))

        if backends and is_wire(backends):
            return _wire(measure(backends, plan, say=say, progress=progress), as_json, report)
        if backends:
            result = compare(backends, plan, say=say, progress=progress)
        else:
            result = bench(plan, say=say, progress=progress)
    if report:
        from tickpath.report import write_bench_report

        write_bench_report(report, result)
        click.echo(f"tickpath: report written to {report}", err=True)
    if as_json:
        json.dump(result, sys.stdout)
        sys.stdout.write("\n")
    else:
        from tickpath.bench.table import print_bench

        print_bench(result)
    for finding in result["findings"]:
        click.echo(f"tickpath: {finding}", err=True)
    return 1 if result["findings"] else 0
