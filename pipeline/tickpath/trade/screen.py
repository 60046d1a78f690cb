"""What a terminal shows while trading: books, positions, orders, gaps, latency."""

from collections.abc import Sequence
from typing import Any

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tickpath.engine import Engine
from tickpath.latency import summary
from tickpath.trade.operator_words import open_orders, positions

ROWS = 12
"""Rows of each table."""
LEVELS = 3


def _table(title: str, columns: list[str], rows: list[list[str]]) -> Table:
    table = Table(title=title, title_justify="left", expand=False, pad_edge=False)
    for at, name in enumerate(columns):
        table.add_column(name, justify="left" if at == 0 else "right", no_wrap=True)
    for row in rows[:ROWS]:
        table.add_row(*row)
    if len(rows) > ROWS:
        table.caption = f"and {len(rows) - ROWS:,} more"
    return table


def _book(engine: Engine, symbol: str) -> Table:
    book = engine.book(symbol, LEVELS)
    rows = [
        ["", f"{row['price'] / 1e4:.2f}", f"{row['quantity']:,}"] for row in reversed(book.asks)
    ]
    rows += [[f"{row['quantity']:,}", f"{row['price'] / 1e4:.2f}", ""] for row in book.bids]
    return _table(symbol, ["bid", "price", "offer"], rows)


def _latency(engine: Engine) -> Table:
    rows = []
    for stage in ("tick_to_order", "risk", "encode", "book"):
        found = summary(engine.histogram(stage))
        if found["count"]:
            values = [found[name] for name in ("p50", "p99", "max")]
            rows.append([stage.replace("_", " "), *(f"{value:,}" for value in values)])
    return _table("latency, ns", ["stage", "p50", "p99", "max"], rows)


def render(engine: Engine, state: dict[str, Any], symbols: Sequence[str]) -> RenderableType:
    """The whole screen."""
    rows = positions(engine)
    shown = [name for name in symbols if name in engine.symbols]
    shown = shown or [row["symbol"] for row in rows][:4] or sorted(engine.symbols)[:4]
    held = [
        [
            row["symbol"],
            f"{row['position']:+,}",
            f"{row['mark']:,.2f}",
            f"{row['pnl']:+,.2f}",
            f"{row['open_buy']:,}",
            f"{row['open_sell']:,}",
        ]
        for row in rows
    ]
    orders = [
        [
            str(row["user_ref_num"]),
            row["symbol"],
            row["side"],
            f"{row['price']:,.2f}",
            f"{row['leaves_qty']:,}",
            row["state"].lower(),
        ]
        for row in open_orders(engine)
    ]
    gate = engine.block.gate[0]
    head = Text.assemble(
        (
            " ready " if state["ready"] else " waiting ",
            "black on green" if state["ready"] else "black on yellow",
        ),
        (" KILLED ", "white on red") if gate["killed"] or gate["strategy_killed"] else "",
        f"  {engine.messages:,} messages  {engine.counters['orders_sent']:,} orders  "
        f"{engine.counters['executions']:,} executions  "
        f"{engine.counters['orders_rejected']:,} rejected  gaps {len(engine.gaps())}  "
        f"profit and loss {int(gate['pnl']) / 1e4:+,.2f}",
    )
    notes = "\n".join(state["notes"][-3:])
    parts: list[RenderableType] = [
        head,
        Columns([_book(engine, symbol) for symbol in shown[:4]], padding=(0, 3)),
        _table("positions", ["symbol", "shares", "mark", "p&l", "buys", "sells"], held),
        _table("open orders", ["ref", "symbol", "side", "price", "leaves", "state"], orders),
        _latency(engine),
    ]
    if notes:
        parts.append(Panel(notes, title="notes", title_align="left", expand=False))
    return Group(*parts)
