"""`tickpath hdl`: the hardware's sources generated, its blocks simulated and mapped.

Exit codes: 0 fine; 1 `build --check` found files that differ, or a bench failed; 2 a tool or source
is missing, or a file cannot be had; 130 Ctrl-C.
"""

import json
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

OK, FINDING, USAGE, INTERRUPTED = 0, 1, 2, 130
SCHEMA = "tickpath.hdl.build/1"


def guarded(command: Callable[..., int]) -> Callable[..., None]:
    """Exit with a command's code; what a user can mend, and Ctrl-C, are one line."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        from tickpath_backends.hdl.error import HdlError

        try:
            code = command(*arguments, **options)
        except HdlError as error:
            click.echo(f"tickpath: {error}", err=True)
            code = USAGE
        except OSError as error:
            click.echo(f"tickpath: {error.filename or 'hdl'}: {error.strerror}", err=True)
            code = USAGE
        except KeyboardInterrupt:
            click.echo("tickpath: interrupted", err=True)
            code = INTERRUPTED
        sys.exit(code)

    return run


@click.group()
def hdl() -> None:
    """Build the hardware's generated sources, simulate and map its blocks."""


@hdl.command()
@click.option("--check", is_flag=True, help="Compare only; exit code 1 where a file differs.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@guarded
def build(check: bool, as_json: bool) -> int:
    """Generate hdl/gen: constants from the wire tables, SystemVerilog from the DSLX kernels."""
    from tickpath_backends.hdl import generate, xls

    reason = xls.why_not()
    if reason:
        click.echo(f"tickpath: hdl build: {reason}", err=True)
        return USAGE
    names = generate.differing() if check else generate.build()
    if as_json:
        click.echo(json.dumps({"schema": SCHEMA, "check": check, "files": names}))
    else:
        for name in names:
            click.echo(name)
    what = "differ from what is generated; run: tickpath hdl build" if check else "written"
    click.echo(f"{len(names)} files {what}" if names else "all files are current", err=True)
    return FINDING if check and names else OK


@hdl.command()
@click.option("--block", "blocks", multiple=True, metavar="NAME", help="One block; all by default.")
@click.option("--out", metavar="DIR", default="out/hdl", show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--waves", is_flag=True, help="Keep every signal: OUT/BLOCK/dump.vcd, for GTKWave.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@guarded
def sim(blocks: tuple[str, ...], out: str, seed: int, waves: bool, as_json: bool) -> int:
    """Run the cocotb benches of the blocks on Verilator."""
    from tickpath_backends.hdl import bench, coverage
    from tickpath_backends.hdl.error import HdlError

    unknown = [each for each in blocks if each not in bench.BENCHES]
    if unknown:
        raise HdlError(f"hdl sim: no block {unknown[0]}; there are {', '.join(bench.BENCHES)}")
    results: dict[str, dict[str, int]] = {}
    for name in blocks or tuple(bench.BENCHES):
        directory = Path(out).resolve() / name
        directory.mkdir(parents=True, exist_ok=True)
        tests, failures = bench.run(name, directory, seed, waves)
        covered = coverage.read(directory)
        hit, bins, _ = coverage.totals(covered) if covered else (0, 0, 0)
        row = {"tests": tests, "failures": failures, "of": bench.BENCHES[name].tests}
        results[name] = row | {"bins_hit": hit, "bins": bins}
        click.echo(
            f"{name}: {tests} tests, {failures} failed; {hit} of {bins} bins of coverage", err=True
        )
        if failures or tests != row["of"] or hit != bins or not bins:
            click.echo(f"tickpath: hdl sim: {name}: see {directory / bench.LOG}", err=True)
    if as_json:
        click.echo(json.dumps({"schema": "tickpath.hdl.sim/2", "seed": seed, "blocks": results}))
    is_fine = all(
        not row["failures"] and row["tests"] == row["of"] and 0 < row["bins"] == row["bins_hit"]
        for row in results.values()
    )
    return OK if is_fine else FINDING


@hdl.command()
@click.option("--out", metavar="FILE", default="out/hdl/report.html", show_default=True)
@click.option(
    "--sim", metavar="DIR", default="out/hdl", show_default=True, help="Where hdl sim wrote."
)
@click.option("--replay", metavar="FILE", help="JSON of a replay through fpga-sim or alveo.")
@guarded
def report(out: str, sim: str, replay: str | None) -> int:
    """Write one HTML page: blocks, cycles by stage, a replay's percentiles, area, coverage."""
    from tickpath.report import ReportError
    from tickpath_backends.hdl import report as pages
    from tickpath_backends.hdl import report_replay
    from tickpath_backends.hdl.error import HdlError

    page = pages.build(Path(sim), report_replay.read(replay) if replay else None)
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    try:
        click.echo(page.write(out))
    except ReportError as error:
        raise HdlError(f"hdl report: {error}") from None
    return OK


@hdl.command()
@click.argument("tops", nargs=-1)
@click.option("--place", is_flag=True, help="Place and route on an ECP5 instead, as a proxy.")
@guarded
def synth(tops: tuple[str, ...], place: bool) -> int:
    """Map tops for UltraScale+ with yosys: area and logic depth; prints JSON, an object a line.

    Not placed, not routed: what is scheduled for 322 MHz, not what runs at it.  With --place a
    clock that was reached, on a part that is two generations older.
    """
    from tickpath_backends.hdl import placement, synthesis

    if place:
        for top in tops or placement.PLACEABLE:
            click.echo(json.dumps(placement.place(top)))
        return OK
    for top in tops or tuple(synthesis.TOPS):
        report = synthesis.synthesise(top)
        click.echo(json.dumps({key: report[key] for key in ("top", "family", "area", "logic_ps")}))
    return OK
