"""A wire-to-wire result on the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

PLAIN_WIDTH = 200
GIVEN = "given interfaces"
"""The kind of a wire that a user gave."""


def _ns(value: Any) -> str:
    return "" if value is None else f"{value:,.0f}"


def _rows(result: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("backend", "orders by", "scenario"):
        table.add_column(name)
    for name in ("packets/s", "lost", "orders", "p50", "p90", "p99", "p99.9", "p99.99", "max"):
        table.add_column(name, justify="right")
    table.add_column("response p99", justify="right")
    table.add_column("answer")
    for each in result["backends"]:
        for row in each["rows"]:
            took = row["latency_ns"]
            table.add_row(
                row["backend"],
                row["egress"],
                row["scenario"],
                f"{row['rate']:,}",
                f"{row['lost']:,}",
                f"{row['orders']['matched']:,}",
                *(_ns(took[name]) for name in ("p50", "p90", "p99", "p99_9", "p99_99", "max")),
                _ns(row["response_ns"]["p99"]),
                "right" if row["verified"] else "wrong",
            )
    return table


def _given(result: Mapping[str, Any]) -> list[Mapping[str, str]]:
    """The wire that was not made for this, once."""
    wires = (each.get("wire") or {} for each in result["backends"])
    return [wire for wire in wires if wire.get("kind") == GIVEN][:1]


def print_wire(result: Mapping[str, Any]) -> None:
    """Print a ``tickpath.wire/1`` object to stdout."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PLAIN_WIDTH)
    session, cores = result["session"], result["cores"]
    console.print(
        f"{session['packets']:,} packets, {session['messages']:,} messages, {session['orders']:,} "
        f"orders ({session['firing_share']:.2%} of messages); 1x is {result['rate_1x']:,} packets "
        f"a second; exchange on core {cores['exchange']}, engine on core {cores['engine']}"
    )
    console.print(
        "wire to wire in ns; orders as datagrams by the transport (udp) and by the order session's "
        "connection (tcp); response from the planned time"
    )
    for wire in _given(result):
        console.print(f"over {wire['kind']}: {wire['sender']} sends, {wire['receiver']} receives")
    console.print(_rows(result))
    for each in result["backends"]:
        for remark in each["remarks"]:
            console.print(remark)
        search = each["search"] or {}
        if "no_loss_rate" in search:
            console.print(
                f"{each['backend']}: no loss up to {search['no_loss_rate']:,} packets a second "
                f"(limited by {search['limited_by']}); receiving alone "
                f"{_ns(each['receive_ns_per_packet'])} ns a packet"
            )
    for when in ("before", "after"):
        gaps = result["jitter"][when]
        console.print(
            f"{when}: gaps up to {_ns(gaps['gap_ns']['max'])} ns in a thread that only reads the "
            f"clock, {gaps['stolen_share']:.2%} of the time in gaps above 1 us"
        )
    for reason in result["missing"]:
        console.print(f"not measured: {reason}")
    if result.get("interrupted"):
        console.print("interrupted: what is missing was not measured")
