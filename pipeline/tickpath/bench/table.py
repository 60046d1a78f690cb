"""A benchmark's result as tables for a person."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

PLAIN_WIDTH = 140
"""Columns where stdout is no terminal."""
_PERCENTILES = ("count", "min", "p50", "p90", "p99", "p99_9", "p99_99", "max")


def _table(title: str, *names: str) -> Table:
    """A table whose first column is text and whose others are numbers."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE)
    table.add_column(names[0], no_wrap=True)
    for name in names[1:]:
        table.add_column(name, justify="left" if name == "what it does" else "right")
    return table


def _answer(verified: bool | None) -> str:
    return {True: "right", False: "WRONG"}.get(verified, "not checked")  # type: ignore[arg-type]


def _results(result: Mapping[str, Any]) -> Table:
    table = _table("ns a message", "", "median", "runs", "wall", "answer", "what it does")
    for row in result["results"]:
        walls = [wall for wall in row.get("runs_wall", ()) if wall is not None]
        table.add_row(
            row["name"],
            "-" if row["ns_per_message"] is None else f"{row['ns_per_message']:,.1f}",
            " ".join(f"{run:,.1f}" for run in row["runs"]),
            f"{min(walls):,.1f}-{max(walls):,.1f}" if walls else "-",
            _answer(row["verified"]),
            row["note"],
        )
    return table


def _ns(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _latency(result: Mapping[str, Any]) -> Table:
    """Tick to order and stages; with several backends, tick to order of each."""
    table = _table("latency in ns", "", *(name.replace("_", ".") for name in _PERCENTILES))
    found = result["latency_ns"]
    rows: dict[str, Mapping[str, Any]] = {}
    if "stages" in found:
        rows["tick to order"] = found["tick_to_order"]
        for number, each in enumerate(found["tick_to_order_runs"], 1):
            rows[f"  round {number}"] = each
        rows |= found["stages"]
    else:
        rows |= {f"{name}, tick to order": row for name, row in found.items()}
    for name, row in rows.items():
        table.add_row(name, *(_ns(row[percentile]) for percentile in _PERCENTILES))
    return table


def _curve(curve: Mapping[str, Any]) -> Table:
    table = _table(f"book over {curve['x_label']}", curve["x_label"], "messages", "ns a message")
    rows = zip(curve["x"], curve["messages"], curve["ns_per_message"], strict=True)
    for size, messages, ns in rows:
        table.add_row(f"{size:,}", f"{messages:,}", f"{ns:.1f}")
    return table


def _amount(value: float, unit: str) -> str:
    if unit == "bytes":
        return f"{value / 1e9:.2f} GB"
    return f"{value:,.3g} {unit}" if value < 10 else f"{value:,.4g} {unit}"


def _targets(result: Mapping[str, Any]) -> Table:
    table = _table("targets", "", "measured", "target", "")
    for each in result["targets"]:
        most = "at_most" in each
        limit = each["at_most"] if most else each["at_least"]
        table.add_row(
            each["name"],
            _amount(each["value"], each["unit"]),
            f"at {'most' if most else 'least'} {_amount(limit, each['unit'])}",
            "met" if each["met"] else "missed",
        )
    return table


def _pages(result: Mapping[str, Any]) -> str:
    held, tables = result["session"]["held_bytes"], result["prefaulted_bytes"]
    huge = result["huge_page_bytes"]
    shown = "unknown how much" if huge is None else f"{huge / 1e9:.2f} GB"
    return (
        f"in memory: session {held / 1e9:.2f} GB, pre-faulted tables {tables / 1e9:.2f} GB; "
        f"{shown} of the process on huge pages"
    )


def _processes(result: Mapping[str, Any]) -> str:
    memory, start = result["memory"], result["start"]
    return (
        f"peak memory of a replay {memory['peak_bytes'] / 1e9:.2f} GB "
        f"({memory['prefaulted_bytes'] / 1e9:.2f} GB tables, pre-faulted; "
        f"{memory['file_bytes'] / 1e9:.2f} GB mapped file); tickpath --help "
        f"{start['help_seconds']:.3f} s; second replay, start to exit "
        f"{start['replay_seconds']:.2f} s"
    )


def _beside(shares: Mapping[str, float | None]) -> str:
    """What else ran during the rounds, without which times on a shared machine mean little."""
    stolen, others, busy = (
        "not shown" if shares[name] is None else f"{shares[name]:.1%}"
        for name in ("stolen_share", "others_share", "other_cores_busy_share")
    )
    return (
        f"during the rounds: {stolen} of the core's time kept by the hypervisor, {others} used by "
        f"other processes; the other cores {busy} busy"
    )


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)


def print_peers(result: Mapping[str, Any]) -> None:
    """Print the result of `beside_peers` to stdout."""
    console, session = _console(), result["session"]
    console.print(
        f"{session['file'] or 'a generated session'}: {session['messages']:,} messages, "
        f"{session['symbols']:,} symbols, {session['orders_live']:,} live orders at the end; "
        f"core {result['core']}, {result['rounds']} rounds"
    )
    console.print(_results(result))
    console.print(_beside(result["beside_us"]))
    _print_skipped(console, result)


def _print_skipped(console: Console, result: Mapping[str, Any]) -> None:
    for each in result.get("skipped", ()):
        command = f": {each['command']}" if each["command"] else ""
        console.print(f"left out: {each['name']}, {each['reason']}{command}")


def print_bench(result: Mapping[str, Any]) -> None:
    """Print a ``tickpath.bench/1`` object to stdout."""
    console = _console()
    session, environment = result["session"], result["environment"]
    versions = environment["versions"] or {}
    console.print(
        f"{session['messages']:,} messages, {session['symbols']:,} symbols, "
        f"{session['orders_live']:,} live orders at the end, seed {session['seed']}; "
        f"core {result['core']}, {result['rounds']} rounds, commit {versions.get('commit')}"
    )
    method = result["method"]
    console.print(f"{method['time']}; {method['figure']}; tables {method['tables']}")
    console.print(_results(result))
    console.print(_latency(result))
    for curve in result["curves"]:
        console.print(_curve(curve))
    if "memory" in result:
        console.print(_pages(result))
        console.print(_processes(result))
    console.print(_beside(result["beside_us"]))
    jitter = result["jitter"]["gap_ns"]
    console.print(
        f"before them: gaps up to {_ns(jitter['max'])} ns in a thread that only reads the "
        f"clock, {result['jitter']['stolen_share']:.2%} of the time in gaps above 1 us"
    )
    if result.get("targets"):
        console.print(_targets(result))
    _print_skipped(console, result)
