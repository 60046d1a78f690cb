"""The result as a table on the terminal."""

from typing import Any

from rich.console import Console
from rich.table import Table

WIDTH = 132
"""Columns that the table has at least: what is cut short says nothing."""


def _ms(value: Any) -> str:
    return "-" if value is None else f"{value / 1e6:,.1f}"


def print_table(result: dict[str, Any]) -> None:
    """One row a scenario: what was measured, what was lost, whether all held."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("scenario")
    table.add_column("ms from")
    for head in ("runs", "min", "p50", "p90", "max", "absent", "whole", "orders", "twice", "lost",
                 "failed"):  # fmt: skip
        table.add_column(head, justify="right")
    for each in result["scenarios"]:
        latency = each["latency_ns"]
        table.add_row(
            each["name"],
            each["measures"],
            str(each["count"]),
            *(_ms(latency[name]) for name in ("min", "p50", "p90", "max")),
            _ms(each["absent_ns_max"]),
            _ms(each["whole_ns_max"]),
            f"{each['orders']:,}",
            str(each["orders_twice"]),
            str(each["records_lost"]),
            str(each["failed"]),
        )
        if each["measures"] == "pause":
            between = each["between_orders_ns"]
            row = (_ms(between[name]) for name in ("min", "p50", "p90", "max"))
            table.add_row("", "orders", str(each["count"]), *row)
    console = Console(width=max(Console().width, WIDTH))
    console.print(table)
    where = "hosts in network namespaces" if result["network"] == "namespaces" else "loopback"
    console.print(
        f"{where}, {result['rings']} rings, lease in {result['store']}, timeout "
        f"{result['timeout_ms']} ms, seed {result['seed']}.  "
        "takeover: from the fault to the first order of the next epoch at the exchange; pause: "
        "from the old active's last input to the moment from which the new one's orders could "
        "leave; orders: between the last order and the next epoch's first, in which is that the "
        "strategy must want one; recovery: from the moment in which what was taken away is there "
        "again to the first order; silence: the longest time without an order; absent: the longest "
        "that it was away, the start of its process included; whole: the longest until a standby "
        "was in sync again.",
        highlight=False,
        soft_wrap=True,
    )
