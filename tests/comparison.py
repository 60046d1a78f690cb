"""An engine's whole state beside the reference's: the first difference fails."""

from collections.abc import Callable, Iterable

import numpy as np

from itch_messages import run
from reference import U64, Reference
from reference_orders import OWN_EVENTS, OWN_ORDERS, STATES, Decision, Own, twin
from tickpath import Config, Engine, digest
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
    for number in _books(engine):
        assert_statistics(engine, reference, number)
    assert_bytes(counters)
    if packets:
        assert_lines(engine, reference)
    if orders:
        assert_desk(engine, reference)
        assert_own(engine, reference)


def _books(engine: Engine) -> range:
    """Books that may be in use: Nasdaq's, and behind them those of other venues."""
    return range(engine.block.get("listed"))


def assert_bytes(counters: dict[str, int], waiting: int = 0) -> None:
    """Every byte is accounted for, but those of packets that wait for their turn."""
    parts = ("bytes_headers", "bytes_messages", "bytes_skipped")
    assert counters["bytes"] == waiting + sum(counters[part] for part in parts), counters


def assert_books(engine: Engine, reference: Reference) -> None:
    """Levels best first, orders as they queue, the digest."""
    expected = []
    for (book, side), _ in sorted(reference.queues.items()):
        for price in reference.prices(book, side):
            for ref in reference.queues[book, side][price]:
                expected.append((ref & U64, book, side, price, reference.orders[ref].quantity))
    assert engine.resting().tolist() == expected
    assert engine.orders_live == len(reference.orders)
    for book in [number for number, each in reference.books.items() if each.venue]:
        levels = engine.book(book)
        for side, rows in ((0, levels.bids), (1, levels.asks)):
            assert rows.tolist() == [
                reference.level(book, side, price) for price in reference.prices(book, side)
            ]
    rows = [
        (
            reference.books[each.book].venue,
            _symbol(reference, each.book),
            each.side,
            each.price,
            ref & U64,
            each.quantity,
        )
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
        "position": book.position,
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

    expected = [
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
    # Packets that wait and lines that come twice are not the reference's matter.
    found = engine.lines()
    assert [{name: row[name] for name in expected[0]} for row in found] == expected
    assert [(each.group, each.first, each.last) for each in engine.gaps()] == [
        (of(group), first, last) for group, _, first, last, _ in reference.gaps
    ]


def assert_desk(engine: Engine, reference: Reference) -> None:
    """Orders' bytes, own orders, positions, totals, rejects, rates, the strategy's cells."""
    desk, block = reference.desk, engine.block
    taken, desk.sent = desk.sent, []
    assert engine.take_orders() == taken
    assert engine.rejects_by_code == {
        each.name: desk.rejects[each.name] for each in Reject if desk.rejects[each.name]
    }
    open_orders = desk.open_orders()
    held = {position: symbol for symbol, position in reference.positions.items()}
    assert np.flatnonzero(block.position["symbol"]).tolist() == sorted(held)
    for position, symbol in held.items():
        assert int(block.position["symbol"][position]) == int.from_bytes(symbol, "big")
        of = [each for each in open_orders if each.position == position]
        assert_holding(engine, reference, position, of)
    gate = desk.gate
    expected = {
        "gross": desk.gross,
        "net": desk.net,
        "pnl": desk.pnl,
        "open_buy_notional": _notional(open_orders, True),
        "open_sell_notional": _notional(open_orders, False),
        "day_quantity": sum(each.day_quantity for each in desk.holdings.values()),
        "day_notional": sum(each.day_notional for each in desk.holdings.values()),
        "open_orders": len(open_orders),
        "rate_arrival": gate.arrival,
        "killed": gate.killed,
        "strategy_killed": gate.strategy_killed,
    }
    assert _values(block.gate, 0, expected) == expected
    assert block.get("user_ref_num") == desk.last_ref
    assert block.get("next_match") == desk.executions
    if not desk.latched:
        assert block.cell["value"].tolist() == desk.cells
        assert _own_events(engine) == [tuple(each) for each in desk.waiting]
    assert bool(block.get("strategy_latched")) == desk.latched


def _values(records: np.ndarray, at: int, names: Iterable[str]) -> dict[str, int]:
    record = dict(zip(records.dtype.names, records[at].item(), strict=True))
    return {name: record[name] for name in names}


def _notional(orders: list[Own], is_buy: bool) -> int:
    return sum(each.leaves * each.price for each in orders if each.is_buy == is_buy)


def assert_holding(engine: Engine, reference: Reference, position: int, opened: list[Own]) -> None:
    """A symbol's position, what is open of it, and its rate."""
    holding = reference.desk.holdings.at(position)
    buys, sells = ([each for each in opened if each.is_buy == is_buy] for is_buy in (True, False))
    expected = {
        **vars(holding),
        "open_buy": sum(each.leaves for each in buys),
        "open_sell": sum(each.leaves for each in sells),
        "open_buy_notional": _notional(opened, True),
        "open_sell_notional": _notional(opened, False),
        "open_orders": len(opened),
        "best_buy": max((each.price for each in buys), default=0),
        "best_sell": min((each.price for each in sells), default=0),
        "rate_arrival": reference.desk.gate.arrivals[position],
    }
    assert _values(engine.block.position, position, expected) == expected, f"position {position}"


OWN = {
    "order_id": "order_id",
    "user_ref_num": "ref",
    "book": "book",
    "price": "price",
    "quantity": "quantity",
    "leaves": "leaves",
    "executed": "executed",
    "asked": "asked",
    "replaces": "replaces",
    "replaced_by": "replaced_by",
    "newest_ref": "newest_ref",
    "ts_sent": "ts_sent",
}
"""Fields of an own order, and what the reference calls them."""


def assert_own(engine: Engine, reference: Reference) -> None:
    """Every own order that is kept."""
    desk, table = reference.desk, engine.block.own
    assert np.flatnonzero(table["user_ref_num"]).tolist() == sorted(desk.own)
    assert_orders(engine, reference, list(desk.own.values()))


def assert_orders(engine: Engine, reference: Reference, orders: list[Own]) -> None:
    """Some own orders, in all their fields but the links."""
    for each in orders:
        place = each.ref % OWN_ORDERS
        record = _values(engine.block.own, place, (*OWN, "side", "state", "ahead"))
        assert {name: record[name] for name in OWN} == {
            name: getattr(each, field) for name, field in OWN.items()
        }
        assert (chr(record["side"]), STATES[record["state"]]) == (each.side, each.state), each
        if reference.config.fills.model == "queue" and each.is_open:
            assert record["ahead"] == each.ahead, each


def _own_events(engine: Engine) -> list[tuple[int, ...]]:
    """What waits to be told to the strategy."""
    first, end = engine.block.get("own_event_first"), engine.block.get("own_event_end")
    rows = [engine.block.own_event[at % OWN_EVENTS] for at in range(first, end)]
    names = ("kind", "user_ref_num", "book", "quantity", "price")
    return [tuple(int(row[name]) for name in names) for row in rows]


class Pair:
    """An engine and a reference with the same strategy, compared after every message."""

    def __init__(
        self,
        config: Config,
        strategy: Callable,
        start: dict[str, tuple[int, int, int]] | None = None,
        of: type[Reference] = Reference,
    ) -> None:
        self._audit: list[Decision] = []
        self.orders: list[bytes] = []
        self._open: list[Own] = []
        self._last_ref = 0
        self.engine = Engine(config, strategy=strategy, on_audit=self._keep)
        self.reference = of(config, twin(strategy), start)

    def _keep(self, records: np.ndarray, lost: int) -> bool:
        assert lost == 0
        for at in range(len(records)):
            self._audit.append(Decision(**_values(records, at, Decision._fields)))
        return True

    def feed(self, message: bytes) -> None:
        """One message to both; all that is ours must be equal after it."""
        self.engine.feed(run([message]))
        self.reference.apply(message)
        self.compare()

    def packet(self, raw: bytes, payload: bytes) -> None:
        """One packet, framed and not."""
        self.engine.feed_packet(raw)
        self.reference.packet(payload)
        self.compare()

    def kill(self, scope: str, level: int, symbol: str = "") -> None:
        self.engine.command("kill", who="test", why="test", scope=scope, level=level, symbol=symbol)
        self.reference.kill(scope, level, symbol)
        self.compare()

    def compare(self) -> None:
        """Decisions, orders that are or were open or are new, positions, totals."""
        decided, self.reference.desk.decisions = self.reference.desk.decisions, []
        assert self._audit == decided
        self._audit = []
        desk = self.reference.desk
        self.orders += desk.sent
        assert_desk(self.engine, self.reference)
        refs = range(self._last_ref + 1, desk.last_ref + 1)
        assert_orders(
            self.engine, self.reference, self._open + list(filter(None, map(desk.known, refs)))
        )
        self._open, self._last_ref = desk.open_orders(), desk.last_ref
