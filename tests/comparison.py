"""An engine's whole state beside the reference's: the first difference fails."""

import numpy as np

from reference import NASDAQ, Reference
from reference_orders import OWN_ORDERS
from tickpath import Engine, digest
from tickpath.engine import group_text
from tickpath.risk import Reject

IMPLEMENTATION = {"overflow_adds", "recentres"}
"""Counters of how the engine did it, which no outcome depends on."""
BYTES = {"bytes", "bytes_headers", "bytes_messages", "bytes_skipped"}
TRAFFIC = {"packets", *BYTES}
"""Counters of how messages were packed."""
STATUS = (
    *("trading_state", "operational_halt", "reg_sho", "auction", "imbalance_side", "stale"),
    *("round_lot_size", "reference_px", "near_px", "far_px", "imbalance"),
    *("upper_collar_px", "lower_collar_px"),
)


def assert_equal(
    engine: Engine, reference: Reference, *, orders: bool = True, packets: bool = False
) -> None:
    """Levels, queues, counters, statistics, digest, status; own orders and their bytes; lines."""
    assert_books(engine, reference)
    counters = engine.counters
    left_out = IMPLEMENTATION | (BYTES if packets else TRAFFIC)
    assert {name: n for name, n in counters.items() if n and name not in left_out} == {
        name: n for name, n in reference.counters.items() if n and name not in left_out
    }
    assert engine.messages_by_type == {k: n for k, n in reference.types.items() if n}
    assert engine.messages == reference.messages
    assert engine.block.get("engine_time") == reference.time
    assert engine.block.get("input_number") == reference.input_number
    assert engine.block.get("market_hours") == reference.market_hours
    for number in range(engine.config.capacity.symbols):
        assert_statistics(engine, reference, number)
    assert_bytes(counters)
    if packets:
        assert_lines(engine, reference)
    if orders:
        assert_desk(engine, reference)


def assert_bytes(counters: dict[str, int]) -> None:
    """Every byte is accounted for."""
    parts = ("bytes_headers", "bytes_messages", "bytes_skipped")
    assert counters["bytes"] == sum(counters[part] for part in parts), counters


def assert_books(engine: Engine, reference: Reference) -> None:
    """Levels best first, orders as they queue, the digest."""
    expected = []
    for (book, side), _ in sorted(reference.queues.items()):
        for price in reference.prices(book, side):
            for ref in reference.queues[book, side][price]:
                expected.append((ref, book, side, price, reference.orders[ref].quantity))
    assert engine.resting().tolist() == expected
    assert engine.orders_live == len(reference.orders)
    for book in [number for number, each in reference.books.items() if each.venue]:
        levels = engine.book(book)
        for side, rows in ((0, levels.bids), (1, levels.asks)):
            assert rows.tolist() == [
                reference.level(book, side, price) for price in reference.prices(book, side)
            ]
    rows = [
        (NASDAQ, _symbol(reference, each.book), each.side, each.price, ref, each.quantity)
        for ref, each in reference.orders.items()
    ]
    assert engine.book_digest == digest.reference(rows)


def _symbol(reference: Reference, book: int) -> str:
    return reference.books[book].symbol.decode("latin-1")


def assert_top(engine: Engine, reference: Reference, number: int) -> None:
    """The best bid and offer of one book, as the hot path keeps it."""
    for side in (0, 1):
        record = engine.block.side[2 * number + side]
        price, shares = reference.top(number, side)
        level = int(record["best"])
        total = int(engine.block.level["total"][level]) & ((1 << 44) - 1) if level else 0
        assert (int(record["best_px"]) if level else 0, total) == (price, shares)


def assert_statistics(engine: Engine, reference: Reference, number: int) -> None:
    record, book = engine.block.book[number], reference.books[number]
    window = engine.config.indicators.sma_window
    expected = {
        "venue": book.venue,
        "symbol": int.from_bytes(book.symbol, "big"),
        "volume": book.volume,
        "notional": book.notional,
        "trades": book.trades,
        "last_px": book.last_px,
        "last_sz": book.last_sz,
        "ema": book.ema,
        "sma_sum": sum(book.prices),
        "sma_count": len(book.prices),
        **{name: book.status[name] for name in STATUS},
    }
    assert {name: int(record[name]) for name in expected} == expected
    assert len(book.prices) <= window


def assert_lines(engine: Engine, reference: Reference) -> None:
    def of(group: tuple[str, int]) -> str:
        address = int.from_bytes(bytes(int(part) for part in group[0].split(".")), "big")
        return group_text(address, group[1])

    assert engine.lines() == [
        {
            "session": each.session.decode("latin-1").strip(),
            "group": of(group),
            "first": each.first,
            "next": each.expected,
            "packets": each.packets,
            "messages": each.messages,
            "missing": each.missing,
            "ended": each.ended,
        }
        for group, each in reference.lines.items()
    ]
    assert [(each.group, each.first, each.last) for each in engine.gaps()] == [
        (of(group), first, last) for group, _, first, last, _ in reference.gaps
    ]


def assert_desk(engine: Engine, reference: Reference) -> None:
    """Orders' bytes, own orders, positions, money, rejects, the rate, the strategy's cells."""
    desk = reference.desk
    taken, desk.sent = desk.sent, []
    assert engine.take_orders() == taken
    assert engine.rejects_by_code == {
        each.name: desk.rejects[each.name] for each in Reject if desk.rejects[each.name]
    }
    block = engine.block
    for field, expected in (("quantity", desk.position), ("cash", desk.cash)):
        held = np.flatnonzero(block.position[field])
        assert {int(b): int(block.position[field][b]) for b in held} == {
            b: n for b, n in expected.items() if n
        }
    kept = np.flatnonzero(block.own["user_ref_num"])
    names = ("order_id", "user_ref_num", "book", "side", "price", "quantity", "leaves")
    assert {int(at): tuple(int(block.own[name][at]) for name in names) for at in kept} == {
        ref % OWN_ORDERS: (
            each.order_id,
            each.ref,
            each.book,
            ord(each.side),
            each.price,
            each.quantity,
            each.leaves,
        )
        for ref, each in desk.own.items()
    }
    assert int(block.gate["rate_arrival"][0]) == desk.arrival
    assert block.get("user_ref_num") == desk.last_ref
    assert block.cell["value"].tolist() == desk.cells
    assert bool(block.get("strategy_latched")) == desk.latched
