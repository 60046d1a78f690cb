"""`tickpath chaos`: what a group of nodes does when something fails, tried out on this machine.

Exit codes: 0 everything that must hold did; 1 something did not; 2 usage, or a rehearsal that
cannot be held here; 130 interrupted.
"""

import json
import signal
import sys
from pathlib import Path
from typing import Any

import click

OK, FINDING, USAGE, INTERRUPTED = 0, 1, 2, 130


@click.command()
@click.option("--scenario", "names", multiple=True, metavar="NAME", help="Only this; repeatable.")
@click.option("--list", "only_list", is_flag=True, help="Name the scenarios, and stop.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of all chance in it.")
@click.option(
    "--runs", type=click.IntRange(1, 10_000), default=1, show_default=True, help="Of each scenario."
)
@click.option(
    "--timeout-ms",
    type=click.IntRange(20, 10_000),
    default=200,
    show_default=True,
    help="Silence that a node waits for; other bounds in proportion.",
)
@click.option(
    "--network",
    type=click.Choice(["namespaces", "loopback"]),
    help="Hosts in namespaces (root; the default where it can be), or one.",
)
@click.option(
    "--rings",
    type=click.Choice(["mirrored", "lanes", "shared"]),
    help="Inputs between nodes: by UDP, with mirrors' processes (the default between hosts) or in "
    "the nodes' own loops, or shared memory.",
)
@click.option(
    "--store",
    type=click.Choice(["witness", "etcd", "redis"]),
    default="witness",
    show_default=True,
    help="Who keeps the lease.",
)
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keep files and logs there.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
@click.option("--report", metavar="OUT.html", help="Write a page about it.")
def chaos(
    names: tuple[str, ...],
    only_list: bool,
    seed: int,
    runs: int,
    timeout_ms: int,
    network: Any,
    rings: Any,
    store: Any,
    keep: Path | None,
    as_json: bool,
    report: str | None,
) -> None:
    """Break a group of real processes on purpose, and judge what it does."""
    from tickpath.chaos.error import ChaosError
    from tickpath.config import ConfigError
    from tickpath.report.markup import ReportError

    try:
        if only_list:
            code = _list()
        else:
            plan = _plan(names, seed, runs, timeout_ms, network, rings, store, keep)
            code = _rehearse(plan, as_json, report)
    except (ChaosError, ConfigError, ReportError) as error:
        click.echo(f"tickpath: {error}", err=True)
        code = USAGE
    except KeyboardInterrupt:
        code = INTERRUPTED
    except ModuleNotFoundError as error:
        if error.name != "zmq":
            raise
        click.echo(
            "tickpath: chaos: pyzmq is missing; run: pip install 'tickpath[failover]'", err=True
        )
        code = USAGE
    sys.exit(code)


def _say(text: str) -> None:
    click.echo(f"tickpath: chaos: {text}", err=True)


def _list() -> int:
    from tickpath.chaos.scenarios import SCENARIOS

    for each in SCENARIOS:
        needs = " (hosts in namespaces)" if each.needs_hosts else ""
        click.echo(f"{each.name:<22} {each.does}{needs}")
        for what in each.holds:
            click.echo(f"{'':<22}   must hold: {what}")
    return OK


def _plan(
    names: tuple[str, ...],
    seed: int,
    runs: int,
    timeout_ms: int,
    network: Any,
    rings: Any,
    store: Any,
    keep: Path | None,
) -> Any:
    from tickpath.chaos.error import ChaosError
    from tickpath.chaos.namespaces import why_not
    from tickpath.chaos.rehearsal import Plan
    from tickpath.chaos.scenarios import BY_NAME, SCENARIOS
    from tickpath.chaos.stores import why_not as why_no_store

    unknown = [each for each in names if each not in BY_NAME]
    if unknown:
        raise ChaosError(f"no scenario {unknown[0]!r}; there are {', '.join(BY_NAME)}")
    if reason := why_no_store(store):
        raise ChaosError(reason)
    reason = why_not()
    if network == "namespaces" and reason:
        raise ChaosError(reason)
    if network is None and reason:
        _say(f"{reason}; on the loopback interface then")
    network = network or ("loopback" if reason else "namespaces")
    chosen = [BY_NAME[each] for each in dict.fromkeys(names)] or list(SCENARIOS)
    left_out = [each.name for each in chosen if each.needs_hosts and network == "loopback"]
    if left_out and names:
        raise ChaosError(f"{', '.join(left_out)}: needs hosts in network namespaces, so root")
    if left_out:
        _say(f"left out, as they need hosts in network namespaces: {', '.join(left_out)}")
    for each in chosen:
        if reason := why_no_store(store, each.stores):
            if names:
                raise ChaosError(f"{each.name}: {reason}")
            _say(f"left out: {each.name}: {reason}")
            left_out.append(each.name)
    chosen = [each for each in chosen if each.name not in left_out]
    rings = rings or ("mirrored" if network == "namespaces" else "shared")
    return Plan(tuple(chosen), runs, seed, timeout_ms, network, rings, store, keep)


def _interrupt(*_: object) -> None:
    """End in good order: what follows is bounded in time, so nobody need say it again."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _rehearse(plan: Any, as_json: bool, report: str | None) -> int:
    from tickpath.chaos.processes import remove_stale
    from tickpath.chaos.rehearsal import Rehearsal, result_of
    from tickpath.chaos.table import print_table
    from tickpath.replay import is_compiled

    if report:
        from tickpath.report import require_plotly

        require_plotly()
    remove_stale(_say)
    if not is_compiled():
        _say("the pipeline is compiled first (first run only, a minute or two) ...")
    interrupted = False
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    with Rehearsal(plan, _say) as rehearsal:
        try:
            rehearsal.run()
        except KeyboardInterrupt:
            interrupted = True
            _say("interrupted; what was done until then follows")
    result = result_of(plan, rehearsal.runs, interrupted)
    if as_json:
        click.echo(json.dumps(result))
    else:
        print_table(result)
    if report:
        from tickpath.chaos.page import write_page

        write_page(report, result)
        _say(f"report written to {report}")
    if interrupted:
        return INTERRUPTED
    return FINDING if any(each["failed"] for each in result["scenarios"]) else OK
