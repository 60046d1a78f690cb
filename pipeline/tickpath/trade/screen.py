"""What a terminal shows while trading: books, positions, orders, gaps, latency.

The loop that trades draws it, so it is made of plain lines: tables of a layout engine would take
fifty milliseconds, these take two.  `view` reads the engine, `render` makes lines that are no wider
than the terminal and no more than its height, each of parts with a `rich` style.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tickpath.counters import Counter
from tickpath.digest import symbol_number
from tickpath.engine import Engine
from tickpath.latency import summary
from tickpath.recovery.state import State
from tickpath.trade.operator_words import open_orders, positions

STAGES = ("tick_to_order", "strategy", "risk", "encode")
SHOWN = (
    *(Counter.ORDERS_SENT, Counter.ORDERS_REJECTED, Counter.EXECUTIONS),
    Counter.GAP_MESSAGES,
)
BOOK_WIDTH, LEVELS = 26, 3
MOST_BOOKS, MOST_ROWS = 8, 100
NOTES = 3
WIDE = 100
"""Columns from which on positions and orders stand side by side."""
MIN_WIDTH, MIN_HEIGHT = 40, 10

Line = list[tuple[str, str]]
"""(text, style) parts."""


class View(NamedTuple):
    """What is shown, read at one moment."""

    state: dict[str, Any]
    head: dict[str, Any]
    books: list[tuple[str, list[tuple[int, int]], list[tuple[int, int]]]]
    """(symbol, bids, offers), each (price in 1e-4, quantity), best first."""
    positions: list[dict[str, Any]]
    orders: list[dict[str, Any]]
    latency: list[tuple[str, int, int, int]]


def view(engine: Engine, state: dict[str, Any], symbols: Sequence[str]) -> View:
    """Read the engine; ``state`` is what the loop knows, ``symbols`` whose books are wanted."""
    block = engine.block
    gate, held = block.gate[0], positions(engine, MOST_ROWS)
    books = []
    for number in _chosen(engine, symbols, held):
        book = engine.book(number, LEVELS)
        sides = [
            [(int(row["price"]), int(row["quantity"])) for row in side]
            for side in (book.bids, book.asks)
        ]
        books.append((book.symbol, sides[0], sides[1]))
    counters = block.counter["value"]
    head = {
        "time_ns": block.get("engine_time"),
        "messages": engine.messages,
        "gaps": block.get("gaps"),
        "killed": bool(gate["killed"]),
        "strategy_killed": bool(gate["strategy_killed"]),
        "open_orders": int(gate["open_orders"]),
        "pnl": int(gate["pnl"]) / 1e4,
        "gross": int(gate["gross"]) / 1e4,
        **{each.name.lower(): int(counters[each]) for each in SHOWN},
    }
    latency = []
    for stage in STAGES:
        found = summary(engine.histogram(stage))
        if found["count"]:
            latency.append((stage, found["p50"], found["p99"], found["max"]))
    return View(state, head, books, held, open_orders(engine, MOST_ROWS), latency)  # type: ignore[arg-type]


def _chosen(engine: Engine, symbols: Sequence[str], held: list[dict[str, Any]]) -> list[int]:
    """Numbers of the books that are shown."""
    books = engine.block.book
    if symbols:
        wanted = [symbol_number(symbol) for symbol in symbols[:MOST_BOOKS]]
        at = {int(books["symbol"][b]): b for b in np.flatnonzero(np.isin(books["symbol"], wanted))}
        return [int(at[symbol]) for symbol in wanted if symbol in at]
    known = engine.symbols
    numbers = [known[row["symbol"]] for row in held[:MOST_BOOKS] if row["symbol"] in known]
    others = np.flatnonzero(books["venue"][: 2 * MOST_BOOKS]).tolist()
    return (numbers + [b for b in others if b not in numbers])[:MOST_BOOKS]


def render(shown: View, width: int, height: int) -> list[Line]:
    """The whole screen: ``height`` lines at most, each ``width`` letters at most."""
    width, height = max(width, MIN_WIDTH), max(height, MIN_HEIGHT)
    lines = _head(shown)
    notes = [[(text, "dim")] for text in shown.state["notes"][-NOTES:]]
    latency = _latency(shown)
    left = height - len(lines) - len(notes) - len(latency)
    books = _books(shown, width)
    if left - len(books) >= 2:
        lines += books
        left -= len(books)
    lines += _tables(shown, width, left)
    lines += latency + notes
    return [_cut(line, width) for line in lines[:height]]


def _cut(line: Line, width: int) -> Line:
    parts: Line = []
    for text, style in line:
        if width <= 0:
            break
        # What other sides say must not be able to move the cursor.
        shown = text[:width] if text.isprintable() else ascii(text)[:width]
        parts.append((shown, style))
        width -= len(shown)
    return parts


def _clock(time_ns: int) -> str:
    seconds = time_ns // 1_000_000_000
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _head(shown: View) -> list[Line]:
    state, head = shown.state, shown.head
    is_ready = state["ready"]
    first: Line = [
        (" ready " if is_ready else f" {state['session'].lower()} ", _GOOD if is_ready else _WARN),
    ]
    if head["killed"]:
        first.append((" KILLED ", _BAD))
    if head["strategy_killed"]:
        first.append((" STRATEGY KILLED ", _BAD))
    if state["differs_from_drop_copy"]:
        first.append((" DIFFERS FROM DROP COPY ", _BAD))
    if state["strategy_error"]:
        first.append((" STRATEGY RAISED ", _BAD))
    if state["drop_copy"] not in ("ready", "none"):
        first.append((f" drop copy {state['drop_copy']} ", _WARN))
    first.append((f"  {_clock(head['time_ns'])}  {head['messages']:,} messages", ""))
    for line in state["lines"]:
        if line["recovery"] not in _IN_ORDER:
            first.append((f"  {line['group']} {line['session']}: {_recovery(line)}", "yellow"))
    if head["gaps"]:
        first.append((f"  {head['gaps']} gaps ({head['gap_messages']:,} messages)", "bold red"))
    second: Line = [
        (
            f"orders {head['orders_sent']:,} sent, {head['orders_rejected']:,} rejected, "
            f"{head['open_orders']:,} open  executions {head['executions']:,}  p&l ",
            "",
        ),
        (f"{head['pnl']:+,.2f}", _sign(head["pnl"])),
        (f"  gross {head['gross']:,.0f}", ""),
    ]
    return [first, second]


def _recovery(line: dict[str, Any]) -> str:
    """Where a line stands that lacks something."""
    text = line["recovery"].lower().replace("_", " ")
    return f"{text} at {line['next']:,}"


_IN_ORDER = (State.SYNCHRONISED.name, State.UNKNOWN.name)
_GOOD, _WARN, _BAD = "black on green", "black on yellow", "bold white on red"


def _sign(value: float) -> str:
    return "green" if value > 0 else "red" if value < 0 else ""


def _books(shown: View, width: int) -> list[Line]:
    """Books side by side: offers above bids, best ones in the middle."""
    chosen = shown.books[: max(width // (BOOK_WIDTH + 2), 1)]
    if not chosen:
        return []
    lines: list[Line] = [[]]
    for symbol, _, _ in chosen:
        lines[0] += [(f"{symbol:<{BOOK_WIDTH}}", "bold"), ("  ", "")]
    for at in reversed(range(LEVELS)):
        lines.append([part for _, _, offers in chosen for part in _level(offers, at, False)])
    for at in range(LEVELS):
        lines.append([part for _, bids, _ in chosen for part in _level(bids, at, True)])
    return lines


def _level(rows: list[tuple[int, int]], at: int, is_bid: bool) -> Line:
    if at >= len(rows):
        return [(" " * (BOOK_WIDTH + 2), "")]
    price, quantity = rows[at]
    shares, text = f"{quantity:,}", f"{price / 1e4:,.2f}"
    left, right = (shares, "") if is_bid else ("", shares)
    style = "cyan" if is_bid else "magenta"
    return [(f"{left:>8}", style), (f"{text:>10}", ""), (f"{right:>8}", style), ("  ", "")]


_POSITION = f"{'position':<9}{'shares':>9}{'mark':>10}{'p&l':>12}"
_ORDER = f"{'order':>8}  {'symbol':<9}{'':2}{'leaves':>8}{'price':>10}  {'state':<9}"


def _tables(shown: View, width: int, room: int) -> list[Line]:
    held = [
        [
            (f"{row['symbol']:<9}{row['position']:>+9,}{row['mark']:>10,.2f}", ""),
            (f"{row['pnl']:>+12,.2f}", _sign(row["pnl"])),
        ]
        for row in shown.positions
    ]
    orders: list[Line] = [
        [
            (
                f"{row['user_ref_num']:>8}  {row['symbol']:<9}"
                f"{row['side']:<2}{row['leaves_qty']:>8,}{row['price']:>10,.2f}  ",
                "",
            ),
            (_STATE.get(row["state"], row["state"].lower()), "dim"),
        ]
        for row in reversed(shown.orders)
    ]
    if width < WIDE:
        if room < 4:
            return _table(_POSITION, held, room)
        of_positions = min(len(held) + 1, max(room // 2, room - len(orders) - 1))
        upper = _table(_POSITION, held, of_positions)
        return upper + _table(_ORDER, orders, room - len(upper))
    left, right = _table(_POSITION, held, room), _table(_ORDER, orders, room)
    lines: list[Line] = []
    for at in range(max(len(left), len(right))):
        one = left[at] if at < len(left) else []
        other = right[at] if at < len(right) else []
        gap = len(_POSITION) + 4 - sum(len(text) for text, _ in one)
        lines.append([*one, (" " * gap, ""), *other])
    return lines


_STATE = {"PARTIALLY_FILLED": "partial"}


def _table(heading: str, rows: list[Line], room: int) -> list[Line]:
    """A heading and rows in at most ``room`` lines; the last says how many more there are."""
    if room <= 0:
        return []
    lines: list[Line] = [[(heading, "bold")], *rows]
    if len(lines) > room:
        more = len(lines) - room + 1
        lines = [*lines[: room - 1], [(f"... and {more:,} more", "dim")]]
    return lines


def _latency(shown: View) -> list[Line]:
    parts = [
        f"{stage.replace('_', ' ')} {p50:,} / {p99:,} / {most:,}"
        for stage, p50, p99, most in shown.latency
    ]
    if not parts:
        return []
    lines: list[Line] = [[("ns p50 / p99 / max: ", "bold"), (parts[0], "")]]
    if parts[1:]:
        lines.append([("  ".join(parts[1:]), "")])
    return lines
