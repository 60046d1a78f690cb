"""A naive reference of the engine: dicts, lists and one obvious line for each stated outcome.

It knows the ITCH specification (through `itch_messages`, not the wire tables) and the outcomes that
the engine's docstrings state.  It knows nothing of windows, pages or trees: capacity shows in two
numbers only (references a page, pages), and what the level store leaves out is told to it by the
test (`leave_out_last`).  Whole states are compared by `comparison.assert_equal`.

A strategy is an ordinary function of (engine, book, kind, flags) that uses `view` and `emit`;
`reference_orders.twin` gives it this reference's in place of the engine's.
"""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import itch_messages
import reference_orders
from tickpath.config import Config
from tickpath.layout import PAGE

BOOK, TRADE, STATUS, STALE, TIMER, COMMAND = 1, 2, 3, 4, 5, 7
LAST, TOP, BROKEN = 1, 2, 4

MAX_JUMP = 1 << 20
"""Messages that one packet alone can declare missing."""
U32, U64 = (1 << 32) - 1, (1 << 64) - 1
MOST_SHARES, MOST_ORDERS = 1 << 43, 1 << 19
"""Room of a price level; reaching it is the level's end."""
NASDAQ = 1

Event = tuple[int, int, int]
"""Kind, book, flags, as the strategy is told."""


@dataclass
class Order:
    book: int
    side: int  # 0 bid, 1 offer
    price: int
    quantity: int


@dataclass
class Book:
    """What a symbol has beside its orders."""

    venue: int = 0
    symbol: bytes = b""
    volume: int = 0
    notional: int = 0
    trades: int = 0
    last_px: int = 0
    last_sz: int = 0
    last_ts: int = 0
    prices: list[int] = field(default_factory=list)
    ema: int = 0
    position: int = 0  # the book whose position it shares; 0: its own
    status: dict[str, int] = field(default_factory=lambda: defaultdict(int))


@dataclass
class Line:
    session: bytes
    first: int
    expected: int
    packets: int = 0
    messages: int = 0
    missing: int = 0
    candidate: int = 0  # where the next packet begins if the last one, refused, was genuine
    ended: bool = False


class Reference:
    """The engine's state after the messages and packets that it was given."""

    def __init__(
        self,
        config: Config,
        strategy: Callable | None = None,
        start: dict[str, tuple[int, int, int]] | None = None,
    ) -> None:
        """``start`` is the start-of-day file: (position, prior close in 1e-4, locate) by symbol."""
        self.config = config
        self.start = start or {}
        self.pages = -(-config.capacity.orders // PAGE)
        self.orders: dict[int, Order] = {}
        self.live: Counter[int] = Counter()  # orders by page
        self.queues: dict[tuple[int, int], dict[int, list[int]]] = defaultdict(dict)
        self.books: dict[int, Book] = defaultdict(Book)
        self.named: dict[tuple[int, bytes], int] = {}  # book by venue and symbol
        self.positions: dict[bytes, int] = {}  # of every symbol that had a book
        self.trades: dict[int, tuple[int, int, int, int]] = {}
        self.lines: dict[tuple[str, int], Line] = {}
        self.gaps: list[tuple[tuple[str, int], bytes, int, int, int]] = []
        self.counters: Counter[str] = Counter()
        self.types: Counter[str] = Counter()
        self.time = self.messages = self.input_number = self.next_timer = 0
        self.stale_event = self.gapped = self.hours_said = False
        self.market_hours = self.newest_ref = 0
        self.strategy = strategy
        self.events: list[Event] = []
        self.desk = reference_orders.Desk(self, getattr(strategy, "__name__", ""))

    # ------------------------------------------------------------ one message

    def apply(self, raw: bytes, last: bool = True) -> Event | None:
        """One message; gives the event that it made, None where it had no effect."""
        self.messages += 1
        code = raw[:1].decode("latin-1")
        if itch_messages.LENGTHS.get(code) != len(raw):
            known = code in itch_messages.LENGTHS or not raw
            self.counters["wrong_length" if known else "unknown_type"] += 1
            self.input_number += 1
            return None
        self.types[code] += 1
        message = itch_messages.read(raw)
        if self.stale_event:
            self.stale_event = False
            self._tell((STALE, 0, 0))
        self._keep_time(message.ts)
        self.input_number += 1
        event = self._effect(message)
        if event is not None:
            kind, book, flags = event
            self.desk.fills.after(kind, book, flags)
            self._tell((kind, book, flags | last * LAST))
            self.desk.tell_own()
        return event

    def kill(self, scope: str, level: int, symbol: str = "") -> None:
        """An operator's command: a level of the kill switch of everything, strategy or book."""
        gate = self.desk.gate
        self.counters["commands"] += 1
        self.input_number += 1
        if scope == "G":
            gate.killed = level
        elif scope == "S":
            gate.strategy_killed = level
        else:
            gate.symbols_killed[symbol] = level
        self._tell((COMMAND, 0, 0))
        self.desk.tell_own()

    def run(self, messages: list[bytes]) -> None:
        for number, raw in enumerate(messages):
            self.apply(raw, number + 1 == len(messages))

    def _keep_time(self, ts: int) -> None:
        if ts < self.time:
            self.counters["time_backwards"] += 1
            return
        self.time = ts
        interval = self.config.strategy.timer_interval_ms * 1_000_000
        if interval and ts >= self.next_timer:
            self.next_timer = ts // interval * interval + interval
            self.input_number += 1
            self.counters["timers"] += 1
            self._tell((TIMER, 0, 0))

    def _tell(self, event: Event) -> None:
        self.events.append(event)
        if self.strategy is not None:
            self.desk.tell(event)

    def _effect(self, m: SimpleNamespace) -> Event | None:
        if m.locate >= self.config.capacity.symbols or (not m.locate and m.code in "AFR"):
            self.counters["symbol_out_of_range"] += 1
            return None
        self._announce(m)
        return getattr(self, f"_on_{m.code}", self._on_other)(m)

    def _announce(self, m: SimpleNamespace) -> None:
        """Tell the fill model what a message is about to take off a market order."""
        if m.code in "EXC":
            self.desk.fills.before(m.ref, m.shares, m.code == "E")
        elif m.code in "DU":
            self.desk.fills.before(m.ref, U32, False)

    # ------------------------------------------------------------ book operations

    def _on_A(self, m: SimpleNamespace) -> Event | None:  # noqa: N802
        if not self.books[m.locate].venue:
            self._open(m.locate, m.stock)
        if m.side not in (b"B", b"S"):
            self.counters["side_invalid"] += 1
            return None
        before = self.top(m.locate, side := int(m.side == b"S"))
        if not self._add(m.ref, Order(m.locate, side, m.price, m.shares)):
            return None
        return self._changed(BOOK, m.locate, side, before)

    _on_F = _on_A  # noqa: N815

    def _on_D(self, m: SimpleNamespace) -> Event | None:  # noqa: N802
        return self._reduce(BOOK, m, U64, "")

    def _on_X(self, m: SimpleNamespace) -> Event | None:  # noqa: N802
        return self._reduce(BOOK, m, m.shares, "over_cancel")

    def _on_E(self, m: SimpleNamespace) -> Event | None:  # noqa: N802
        order = self.orders.get(m.ref)
        event = self._reduce(TRADE, m, m.shares, "over_execution")
        if event is not None and order is not None:
            self._print(order.book, order.price, m.shares, m.match_number)
        return event

    def _on_C(self, m: SimpleNamespace) -> Event | None:  # noqa: N802
        event = self._reduce(TRADE, m, m.shares, "over_execution")
        if m.printable == b"Y" and m.shares:
            event = event or (TRADE, m.locate, 0)
            self._print(event[1], m.price, m.shares, m.match_number)
        return event

    def _on_U(self, m: SimpleNamespace) -> Event | None:  # noqa: N802
        order = self._find(m)
        if order is None:
            return None
        before = self.top(order.book, order.side)
        self._remove(m.ref)
        self._add(m.new_ref, Order(order.book, order.side, m.price, m.shares))
        return self._changed(BOOK, order.book, order.side, before)

    def _find(self, m: SimpleNamespace) -> Order | None:
        order = self.orders.get(m.ref)
        if order is None:
            self.counters["unknown_order_ref"] += 1
        elif order.book != m.locate:
            self.counters["symbol_mismatch"] += 1  # the order decides
        return order

    def _reduce(self, kind: int, m: SimpleNamespace, by: int, excess: str) -> Event | None:
        order = self._find(m)
        if order is None:
            return None
        if not by:
            self.counters["zero_quantity"] += 1
            return None
        before = self.top(order.book, order.side)
        if by >= order.quantity:
            if excess and by > order.quantity:
                self.counters[excess] += 1
            self._remove(m.ref)
        else:
            order.quantity -= by
        return self._changed(kind, order.book, order.side, before)

    def _add(self, ref: int, order: Order) -> bool:
        if not order.quantity:
            self.counters["zero_quantity"] += 1
            return False
        if not self._has_room(ref):
            self.counters["order_store_full"] += 1
            return False
        if ref in self.orders:
            self.counters["duplicate_order_ref"] += 1
            return False
        queue = self.queues[order.book, order.side].get(order.price, [])
        shares = sum(self.orders[each].quantity for each in queue)
        if shares + order.quantity >= MOST_SHARES or len(queue) + 1 >= MOST_ORDERS:
            self.counters["level_full"] += 1
            return False
        self._note_crossing(order)
        self.orders[ref] = order
        self._keep(ref)
        self.queues[order.book, order.side].setdefault(order.price, []).append(ref)
        return True

    def _has_room(self, ref: int) -> bool:
        return ref // PAGE in self.live or len(self.live) < self.pages

    def _keep(self, ref: int) -> None:
        self.newest_ref = ref
        self.live[ref // PAGE] += 1

    def _drop(self, ref: int) -> None:
        self.live[ref // PAGE] -= 1
        if not self.live[ref // PAGE]:
            del self.live[ref // PAGE]

    def age_of(self, ref: int) -> int:
        """A number that is larger for later orders."""
        return ref

    def newest_age(self, book: int) -> int:
        """That of the order which came last to any book of the book's kind."""
        return self.newest_ref

    def _note_crossing(self, order: Order) -> None:
        """An order at a new best price may lock or cross the other side."""
        own = self.best(order.book, order.side)
        other = self.best(order.book, 1 - order.side)
        is_new = own is None or (order.price < own if order.side else order.price > own)
        if other is not None and is_new:
            bid, offer = (other, order.price) if order.side else (order.price, other)
            if bid >= offer:
                self.counters["crossed_book" if bid > offer else "locked_book"] += 1

    def _remove(self, ref: int) -> None:
        order = self.orders.pop(ref)
        self._drop(ref)
        levels = self.queues[order.book, order.side]
        levels[order.price].remove(ref)
        if not levels[order.price]:
            del levels[order.price]

    def leave_out_last(self) -> None:
        """The engine's level store was full: it left out the order that is the newest here."""
        self._remove(next(reversed(self.orders)))
        self.counters["level_store_full"] += 1

    # ------------------------------------------------------------ prints

    def _print(self, number: int, price: int, shares: int, match_number: int) -> None:
        if not shares:
            return
        book, indicators = self.books[number], self.config.indicators
        book.last_px, book.last_sz, book.last_ts = price, min(shares, U32), self.time
        book.volume = (book.volume + shares) & U64
        book.notional = (book.notional + price * shares) & U64
        book.trades += 1
        scaled = price << 16
        step = 2 * (scaled - book.ema) // (indicators.ema_window + 1)
        book.ema = book.ema + step if book.prices else scaled
        book.prices = [*book.prices, price][-indicators.sma_window :]
        place = match_number % self.config.capacity.trades
        self.trades[place] = (match_number, number, price, shares)

    def _on_P(self, m: SimpleNamespace) -> Event:  # noqa: N802
        self._print(m.locate, m.price, m.shares, m.match_number)
        return TRADE, m.locate, 0

    def _on_Q(self, m: SimpleNamespace) -> Event:  # noqa: N802
        self._print(m.locate, m.price, m.shares, m.match_number)
        self.books[m.locate].status["auction"] = 0
        return TRADE, m.locate, 0

    def _on_B(self, m: SimpleNamespace) -> Event | None:  # noqa: N802
        place = m.match_number % self.config.capacity.trades
        match_number, number, price, shares = self.trades.get(place, (-1, 0, 0, 0))
        if match_number != m.match_number or not number:
            self.counters["broken_trade_unknown"] += 1
            return None
        del self.trades[place]
        self.counters["broken_trades"] += 1
        book = self.books[number]
        book.volume = (book.volume - shares) & U64
        book.notional = (book.notional - price * shares) & U64
        book.trades -= 1
        return TRADE, number, BROKEN

    # ------------------------------------------------------------ status

    def _open(self, number: int, symbol: bytes, venue: int = NASDAQ) -> None:
        book = self.books[number]
        if book.venue and book.symbol == symbol:
            return
        position = self.positions.get(symbol) or self._free_position(number)
        ours = book.venue and any(each.is_open and each.book == number for each in self.desk.opened)
        if self.queues[number, 0] or self.queues[number, 1] or ours or not position:
            self.counters["symbol_mismatch"] += 1  # a book with orders keeps its symbol
            return
        if book.venue:  # what was known of the old symbol is forgotten, its prints too
            book = self.books[number] = Book()
            self.trades = {at: each for at, each in self.trades.items() if each[1] != number}
        book.venue, book.symbol = venue, symbol
        book.status["stale"] = int(self._is_gapped(number))
        self.named[venue, symbol] = number
        book.position = 0 if position == number else position
        if symbol not in self.positions:
            self.positions[symbol] = position
            self.desk.start_day(number, symbol.decode("latin-1").rstrip())

    def _free_position(self, number: int) -> int:
        """The book's own, or one of as many others as there are books; 0 where all are taken."""
        if number not in self.positions.values():
            return number
        books = 2 * self.config.capacity.symbols
        spare = max([books - 1, *self.positions.values()]) + 1
        return spare if spare < 2 * books else 0

    def position_of(self, number: int) -> int:
        """The index of the position of a book's symbol."""
        return (self.books[number].position if number in self.books else 0) or number

    def _on_R(self, m: SimpleNamespace) -> Event:  # noqa: N802
        self._open(m.locate, m.stock)
        return self._status(m, round_lot_size=m.round_lot_size)

    def _on_S(self, m: SimpleNamespace) -> Event:  # noqa: N802
        self.market_hours = ord(m.event_code)
        self.hours_said = True
        return self._status(m)

    def _on_H(self, m: SimpleNamespace) -> Event:  # noqa: N802
        return self._status(m, trading_state=ord(m.trading_state))

    def _on_h(self, m: SimpleNamespace) -> Event:
        if m.market_code != b"Q":
            return self._status(m)
        return self._status(m, operational_halt=int(m.action == b"H"))

    def _on_Y(self, m: SimpleNamespace) -> Event:  # noqa: N802
        return self._status(m, reg_sho=ord(m.reg_sho_action))

    def _on_J(self, m: SimpleNamespace) -> Event:  # noqa: N802
        return self._status(m, upper_collar_px=m.upper_price, lower_collar_px=m.lower_price)

    def _on_I(self, m: SimpleNamespace) -> Event:  # noqa: N802
        return self._status(
            m,
            auction=ord(m.cross_type),
            reference_px=m.reference_price,
            near_px=m.near_price,
            far_px=m.far_price,
            imbalance=min(m.imbalance_shares, U32),
            imbalance_side=ord(m.direction),
        )

    def _on_other(self, m: SimpleNamespace) -> Event:
        return self._status(m)

    def _status(self, m: SimpleNamespace, **changes: int) -> Event:
        self.books[m.locate].status.update(changes)
        return STATUS, m.locate, 0

    # ------------------------------------------------------------ lines

    def packet(self, payload: bytes, group: tuple[str, int] = itch_messages.GROUP) -> None:
        """A MoldUDP64 packet of a group, whose blocks must not overrun it."""
        self.counters["packets"] += 1
        session, sequence = payload[:10], int.from_bytes(payload[10:18], "big")
        number = int.from_bytes(payload[18:20], "big")
        line = self.lines.setdefault(group, Line(session, sequence, sequence))
        if line.session != session:
            self.counters["session_changes"] += 1
            line.session, line.first, line.expected = session, sequence, sequence
            line.ended = False
            if self._has_orders():
                self._mark_stale(group)
        line.packets += 1
        if sequence > line.expected:
            if sequence - line.expected > MAX_JUMP and line.candidate != sequence:
                self.counters["sequence_jumps"] += 1
                line.candidate = sequence + (0 if number == 0xFFFF else number)
                return
            self._gap(group, line, sequence - 1)
            line.expected = sequence
        if number in (0, 0xFFFF):
            self.counters["end_of_session" if number else "heartbeats"] += 1
            line.ended = line.ended or bool(number)
            return
        known = min(line.expected - sequence, number)
        self.counters["duplicate_messages"] += known
        fresh = itch_messages.split(payload[20:])[known:number]
        for place, raw in enumerate(fresh):
            line.expected += 1
            line.messages += 1
            self.apply(raw, place + 1 == len(fresh))

    def _gap(self, group: tuple[str, int], line: Line, last: int) -> None:
        missing = last - line.expected + 1
        line.missing += missing
        self.counters["gaps"] += 1
        self.counters["gap_messages"] += missing
        self._mark_stale(group)
        self.gaps.append((group, line.session, line.expected, last, self.input_number))

    def _has_orders(self) -> bool:
        return bool(self.orders)

    def _mark_stale(self, name: tuple) -> None:
        """Messages of a line were missed: its books may be wrong, and those to come."""
        self.input_number += 1
        self.stale_event = True
        self._note_gap(name)
        for number, book in self.books.items():
            if book.venue and not book.status["stale"] and self._is_of(number, name):
                book.status["stale"] = 1
                self.counters["books_stale"] += 1

    def _note_gap(self, name: tuple) -> None:
        self.gapped = True

    def _is_of(self, number: int, name: tuple) -> bool:
        """Whether a book's orders come on a line; all of Nasdaq's come on any of its lines."""
        return self.books[number].venue == NASDAQ

    def _is_gapped(self, number: int) -> bool:
        """Whether messages of a book that is new may have been missed."""
        return self.gapped

    # ------------------------------------------------------------ reading

    def prices(self, book: int, side: int) -> list[int]:
        """Prices of a side, best first."""
        return sorted(self.queues[book, side], reverse=not side)

    def best(self, book: int, side: int) -> int | None:
        levels = self.queues[book, side]
        return (min(levels) if side else max(levels)) if levels else None

    def level(self, book: int, side: int, price: int) -> tuple[int, int, int]:
        """Price, shares and orders of a level."""
        queue = self.queues[book, side].get(price, [])
        return price, sum(self.orders[ref].quantity for ref in queue), len(queue)

    def top(self, book: int, side: int) -> tuple[int, int]:
        """Best price and shares there; (0, 0) for an empty side."""
        best = self.best(book, side)
        return (0, 0) if best is None else self.level(book, side, best)[:2]

    def _changed(self, kind: int, book: int, side: int, before: tuple[int, int]) -> Event:
        return kind, book, TOP * (self.top(book, side) != before)
