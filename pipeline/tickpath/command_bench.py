"""`tickpath bench`: options in, tables or one JSON object out, exit code 1 for a wrong answer."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import numpy as np

from tickpath.bench import BenchError, bench, compare, is_wire, measure, plan_of
from tickpath.generate import SessionPlan

Histograms = Mapping[str, np.void]


def _wire(
    measured: tuple[dict[str, Any], Histograms],
    as_json: bool,
    report: str | None,
    hgrm: str | None,
) -> int:
    """Print wire to wire, write the report and the distributions, which go beside it where they
    have no name of their own; gives the exit code.
    """
    from tickpath.bench.wire_table import print_wire

    result, histograms = measured
    if report:
        from tickpath.report import write_wire_report

        write_wire_report(report, result)
        click.echo(f"tickpath: report written to {report}", err=True)
    if report or hgrm:
        from tickpath.latency import write_hgrm

        beside = hgrm or Path(str(report)).with_suffix(".hgrm")
        for path in write_hgrm(beside, histograms):
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


def _check_wire_options(is_live: bool, options: Mapping[str, Any]) -> None:
    """Raises `BenchError` for options that say nothing to what is measured."""
    if not is_live and (given := [name for name, value in options.items() if value]):
        raise BenchError(
            f"{', '.join(given)}: for live backends only; add --backend udp, afxdp or dpdk"
        )
    interfaces, hgrm = options["--interface"], options["--hgrm"]
    if interfaces and len(interfaces) != 2:
        raise BenchError(
            "--interface: twice, the sender's and then the receiver's, as eth1 or, in a network "
            "namespace with a name, as venue/eth1"
        )
    if hgrm and not Path(hgrm).parent.is_dir():
        raise BenchError(f"--hgrm {hgrm}: there is no directory {Path(hgrm).parent}")


def run(
    backends: tuple[str, ...],
    *,
    messages: int | None,
    quick: bool,
    as_json: bool,
    report: str | None,
    interfaces: Sequence[str] = (),
    config: str | None = None,
    hgrm: str | None = None,
) -> int:
    """Measure, print, write the report; gives the exit code.

    ``interfaces``, ``config`` and ``hgrm`` are of live backends only.  Raises `BenchError` and what
    the measurement raises.
    """
    from tickpath.narration import console, count_progress

    # Everything that can be refused is, before a long run and not after it.
    is_live = bool(backends) and is_wire(backends)
    _check_wire_options(is_live, {"--interface": interfaces, "--config": config, "--hgrm": hgrm})
    own = None
    if config:
        from tickpath.config import load_config

        own = load_config(config)
    if report:
        from tickpath.report import require_plotly

        require_plotly()
    plan = plan_of(messages, quick or bool(backends))
    with ExitStack() as bars:

        def say(text: str) -> None:
            bars.close()  # a bar's own thread would disturb what is measured next
            console.print(f"tickpath: {text} ...")

        def progress(title: str, session: SessionPlan) -> Callable[[int], None]:
            return bars.enter_context(count_progress(title, session.messages))

        if is_live:
            measured = measure(
                backends, plan, say=say, progress=progress, config=own, interfaces=interfaces
            )
            return _wire(measured, as_json, report, hgrm)
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
