"""A replay's result as tables for a person."""

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

PLAIN_WIDTH = 120
"""Columns where stdout is no terminal."""
_COLUMNS = ("count", "min", "p50", "p90", "p99", "p99_9", "p99_99", "max")
_FEW_COLUMNS = ("count", "p50", "p90", "p99", "p99_9", "max")
_WIDE = 100
"""Columns of a terminal that all of the above fit into."""


def _ns(value: int | None) -> str:
    """Nanoseconds with a unit that keeps three digits readable."""
    if value is None:
        return "-"
    for unit, scale in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if value >= scale * 10:
            return f"{value / scale:,.1f} {unit}"
    return f"{value:,} ns"


def _latency_table(result: dict[str, Any], width: int) -> Table:
    table = Table(title="latency", title_justify="left", box=box.SIMPLE)
    columns = _COLUMNS if width >= _WIDE else _FEW_COLUMNS
    table.add_column("stage", no_wrap=True, min_width=len("tick to order"))
    for name in columns:
        table.add_column(name.replace("_", "."), justify="right", no_wrap=True)
    latencies = result["latency_ns"]
    rows = {"tick to order": latencies["tick_to_order"]}
    if "response" in latencies:
        rows["response"] = latencies["response"]
    rows |= latencies["stages"]
    for stage, row in rows.items():
        cells = [f"{row['count']:,}", *(_ns(row[name]) for name in columns[1:])]
        table.add_row(stage, *cells)
    if "latency_cycles" in result:
        _add_hardware(table, columns, result["latency_cycles"], result["latency_at_clock_ns"])
    return table


def _add_hardware(
    table: Table, columns: tuple[str, ...], cycles: dict[str, Any], at_clock: dict[str, Any]
) -> None:
    """Rows of a simulated chain: its own cycles, and those at the clock that it is made for."""
    counted = ["-" if cycles[name] is None else f"{cycles[name]:,}" for name in columns]
    table.add_row("chain, cycles", *counted)
    times = (_ns(at_clock[name]) for name in columns[1:])
    table.add_row(f"at {at_clock['clock_mhz']} MHz", counted[0], *times)


def _counter_table(result: dict[str, Any]) -> Table:
    table = Table(title="counters that are not zero", title_justify="left", box=box.SIMPLE)
    table.add_column("counter")
    table.add_column("value", justify="right")
    for name, value in result["counters"].items():
        if value and not name.startswith("capture_"):
            table.add_row(name, f"{value:,}")
    for name, value in result["orders"]["rejects_by_code"].items():
        table.add_row(f"reject {name}", f"{value:,}")
    return table


def print_replay(result: dict[str, Any]) -> None:
    """Print a ``tickpath.replay/1`` object to stdout."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PLAIN_WIDTH)
    rate = result["throughput"]
    state = " (interrupted)" if result.get("interrupted") else ""
    console.print(
        f"{result['messages']:,} messages in {result['packets']:,} packets, "
        f"{result['symbols']:,} symbols, {result['orders_live']:,} live orders, "
        f"backend {result['backend']}{state}"
    )
    if rate["ns_per_message"] is not None:
        console.print(
            f"{rate['ns_per_message']:.1f} ns/message, "
            f"{rate['messages_per_second']:,} messages/s, {rate['seconds']:.3f} s"
        )
    orders = result["orders"]
    console.print(f"{orders['sent']:,} orders sent, {orders['rejected']:,} rejected")
    mix = "  ".join(f"{code} {count:,}" for code, count in result["messages_by_type"].items())
    if mix:
        console.print(f"by type: {mix}")
    console.print(f"book digest {result['book_digest']}, state digest {result['state_digest']}")
    console.print(_counter_table(result))
    console.print(_latency_table(result, console.width))
