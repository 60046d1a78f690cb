"""The reference with PITCH: Nasdaq's feed and Cboe's venues in one engine, in plain Python.

Written from the specification (through `pitch_messages`, not the wire tables) and the outcomes that
`tickpath.pitch`, `tickpath.unit`, `tickpath.symbols` and `tickpath.by_ref` state.  Orders of PITCH
are kept beside those of ITCH under keys above 64 bits, so that equal references do not meet; it
knows nothing of hashes and slots but how many there are.
"""

from types import SimpleNamespace

import pitch_messages
from pitch_messages import GROUP, HEADER, LENGTHS, MAINTAIN_PRIORITY, NAMES
from reference import (
    BOOK,
    MAX_JUMP,
    MOST_SHARES,
    STALE,
    STATUS,
    TRADE,
    U32,
    U64,
    Event,
    Line,
    Order,
    Reference,
)
from tickpath.config import Config
from tickpath.digest import VENUES
from tickpath.layout import LINES, PAGE

SECOND = 1_000_000_000
VENUE_BITS = 64
"""An order of PITCH is kept under its id and, above that, its venue."""
HOURS = [(14_400, "\0"), (34_200, "S"), (57_600, "Q"), (72_000, "M"), (1 << 32, "E")]
"""Codes of the market's hours, and the second of the day that each ends at."""


def split(raw: bytes) -> list[bytes]:
    """Whole messages of a run; one of a length that cannot be is two bytes long."""
    found, at = [], 0
    while at + 2 <= len(raw) and at + max(2, raw[at]) <= len(raw):
        found.append(raw[at : at + max(2, raw[at])])
        at += max(2, raw[at])
    return found


class UnitLine(Line):
    """A line of PITCH: one unit of one group."""

    venue = 0
    ns = 0  # the second that its last Time message said
    gapped = False


class PitchReference(Reference):
    """The engine's state after messages and packets of both kinds."""

    def __init__(self, config: Config, *given, **said) -> None:
        super().__init__(config, *given, **said)
        self.default_venue = VENUES[config.feed.pitch_venue]
        self.venue, self.line = self.default_venue, None  # of the run under way
        self.bare_ns = 0
        self.book_lines: dict[int, tuple | None] = {}  # by book: the line that named it first
        self.ages: dict[int, int] = {}
        self.age = self.most_sparse = 0
        self.room = 1 << (config.capacity.sparse_orders - 1).bit_length()

    # ------------------------------------------------------------ one message

    def apply_pitch(self, raw: bytes, last: bool = True) -> Event | None:
        """One message of the run under way; gives the event that it made, if any."""
        self.messages += 1
        name = NAMES.get(raw[1])
        if name is None or len(raw) < LENGTHS[name]:
            self.counters["wrong_length" if name else "unknown_type"] += 1
            self.input_number += 1
            return None
        self.counters["messages_longer"] += len(raw) > LENGTHS[name]
        self.types[f"0x{raw[1]:02X}"] += 1
        m = pitch_messages.read(bytes([LENGTHS[name]]) + raw[1 : LENGTHS[name]])
        if self.stale_event:
            self.stale_event = False
            self._tell((STALE, 0, 0))
        self._keep_unit_time(m)
        self.input_number += 1
        self._announce_pitch(m)
        event = getattr(self, "_pitch_" + name.removesuffix("_short").removesuffix("_long"))(m)
        if event is not None:
            kind, book, flags = event
            self.desk.fills.after(kind, book, flags)
            self._tell((kind, book, flags | last))
            self.desk.tell_own()
        return event

    def run_pitch(self, messages: list[bytes]) -> None:
        """A run that came in no packet."""
        self.venue, self.line = self.default_venue, None
        for number, raw in enumerate(messages):
            self.apply_pitch(raw, number + 1 == len(messages))

    def _keep_unit_time(self, m: SimpleNamespace) -> None:
        before = self.bare_ns if self.line is None else self.lines[self.line].ns
        if m.name != "time":
            offset = m.timestamp if m.name == "end_of_session" else m.time_offset
            self._move_time(before + offset)
            return
        now = m.time * SECOND
        self.counters["time_backwards"] += now < before
        if self.line is None:
            self.bare_ns = now
        else:
            self.lines[self.line].ns = now
        if not self.hours_said:
            self.market_hours = ord(next(code for end, code in HOURS if m.time < end))
        self._move_time(now)

    def _move_time(self, ts: int) -> None:
        """Engine time does not go back, which is no mistake of a unit's."""
        if ts > self.time:
            self._keep_time(ts)

    def _announce_pitch(self, m: SimpleNamespace) -> None:
        """Tell the fill model what a message is about to take off a market order."""
        if "order_id" not in vars(m) or m.name.startswith(("add", "trade")):
            return
        key = self._key(m.order_id)
        if key not in self.orders:
            return
        left = self.orders[key].quantity
        by = left
        if m.name == "order_executed":
            by = m.executed_quantity
        elif m.name == "order_executed_at_price_size":
            by = max(0, left - m.remaining_quantity)
        elif m.name.startswith("reduce"):
            by = _canceled(m)
        elif m.name.startswith("modify") and self._keeps(m):
            by = max(0, left - _quantity(m))
        self.desk.fills.before(key, by, m.name == "order_executed")

    # ------------------------------------------------------------ orders

    def _key(self, order_id: int) -> int:
        return self.venue << VENUE_BITS | order_id

    def _has_room(self, key: int) -> bool:
        if not key >> VENUE_BITS:
            return key // PAGE in self.live or self._pages_taken() < self.pages
        if key in self.orders:
            return True
        if len(self.ages) >= self.room:
            return False
        if len(self.ages) == self.most_sparse:
            if not self.most_sparse % PAGE and self._pages_taken() >= self.pages:
                return False
            self.most_sparse += 1
        return True

    def _pages_taken(self) -> int:
        """Pages of consecutive references, and those that PITCH has taken for good."""
        return len(self.live) + -(-self.most_sparse // PAGE)

    def _keep(self, key: int) -> None:
        if not key >> VENUE_BITS:
            super()._keep(key)
            return
        self.age += 1
        self.ages[key] = self.age

    def _drop(self, key: int) -> None:
        if key >> VENUE_BITS:
            del self.ages[key]
        else:
            super()._drop(key)

    def age_of(self, key: int) -> int:
        return self.ages[key] if key >> VENUE_BITS else key

    def newest_age(self, book: int) -> int:
        return self.newest_ref if book < self.config.capacity.symbols else self.age

    def _book_of(self, m: SimpleNamespace) -> int | None:
        """The book of a message's symbol, which is opened where there is none."""
        symbol = vars(m).get("symbol_extended", vars(m).get("symbol", b"")).ljust(8)
        number = self.named.get((self.venue, symbol))
        if number is not None:
            return number
        number = self.config.capacity.symbols + len(self.book_lines)
        if number >= 2 * self.config.capacity.symbols:
            self.counters["symbol_out_of_range"] += 1
            return None
        self.book_lines[number] = self.line
        self._open(number, symbol, self.venue)
        return number

    def _pitch_add_order(self, m: SimpleNamespace) -> Event | None:
        number = self._book_of(m)
        if number is None:
            return None
        if m.side_indicator not in (b"B", b"S"):
            self.counters["side_invalid"] += 1
            return None
        if _price(m) > U32:
            self.counters["price_out_of_range"] += 1
            return None
        before = self.top(number, side := int(m.side_indicator == b"S"))
        order = Order(number, side, _price(m), _quantity(m))
        if not self._add(self._key(m.order_id), order):
            return None
        return self._changed(BOOK, number, side, before)

    _pitch_add_order_expanded = _pitch_add_order

    def _find_pitch(self, m: SimpleNamespace) -> Order | None:
        order = self.orders.get(self._key(m.order_id))
        if order is None:
            self.counters["unknown_order_ref"] += 1
        return order

    def _less(self, kind: int, m: SimpleNamespace, by: int, excess: str) -> Event | None:
        """Shares leave an order."""
        order = self._find_pitch(m)
        if order is None:
            return None
        if not by:
            self.counters["zero_quantity"] += 1
            return None
        before = self.top(order.book, order.side)
        if excess and by > order.quantity:
            self.counters[excess] += 1
        order.quantity -= min(by, order.quantity)
        if not order.quantity:
            self._remove(self._key(m.order_id))
        return self._changed(kind, order.book, order.side, before)

    def _resize(self, kind: int, m: SimpleNamespace, quantity: int) -> Event | None:
        """An order has another quantity, and its place in the queue."""
        order = self._find_pitch(m)
        if order is None:
            return None
        before = self.top(order.book, order.side)
        shares = self.level(order.book, order.side, order.price)[1]
        if shares - order.quantity + quantity >= MOST_SHARES:
            self.counters["level_full"] += 1
            return None
        order.quantity = quantity
        if not quantity:
            self._remove(self._key(m.order_id))
        return self._changed(kind, order.book, order.side, before)

    def _pitch_delete_order(self, m: SimpleNamespace) -> Event | None:
        return self._less(BOOK, m, U64, "")

    def _pitch_reduce_size(self, m: SimpleNamespace) -> Event | None:
        return self._less(BOOK, m, _canceled(m), "over_cancel")

    def _pitch_order_executed(self, m: SimpleNamespace) -> Event | None:
        order = self.orders.get(self._key(m.order_id))
        event = self._less(TRADE, m, m.executed_quantity, "over_execution")
        if event is not None and order is not None:
            self._print(event[1], order.price, m.executed_quantity, self._match(m.execution_id))
        return event

    def _pitch_order_executed_at_price_size(self, m: SimpleNamespace) -> Event | None:
        event = self._resize(TRADE, m, m.remaining_quantity)
        if event is None:
            return None
        if m.price > U32:
            self.counters["price_out_of_range"] += 1
            return BOOK, *event[1:]
        self._print(event[1], m.price, m.executed_quantity, self._match(m.execution_id))
        return event

    def _keeps(self, m: SimpleNamespace) -> bool:
        """Whether a modified order keeps its place in the queue."""
        order = self.orders.get(self._key(m.order_id))
        same_price = order is not None and order.price == _price(m)
        return bool(m.modify_order_flags & MAINTAIN_PRIORITY) and same_price

    def _pitch_modify_order(self, m: SimpleNamespace) -> Event | None:
        if _price(m) > U32:
            self.counters["price_out_of_range"] += 1
            return self._less(BOOK, m, U64, "")
        if self._keeps(m):
            return self._resize(BOOK, m, _quantity(m))
        order = self._find_pitch(m)
        if order is None:
            return None
        before, key = self.top(order.book, order.side), self._key(m.order_id)
        self._remove(key)
        self._add(key, Order(order.book, order.side, _price(m), _quantity(m)))
        return self._changed(BOOK, order.book, order.side, before)

    # ------------------------------------------------------------ trades and status

    def _match(self, execution_id: int) -> int:
        """Of the table of trades; the other venues' numbers have at most 62 bits."""
        return execution_id ^ self.venue << 60

    def _pitch_trade(self, m: SimpleNamespace) -> Event | None:
        return self._printed(m, _price(m), _quantity(m), m.execution_id)

    _pitch_trade_expanded = _pitch_trade

    def _printed(self, m: SimpleNamespace, price: int, shares: int, match: int) -> Event | None:
        number = self._book_of(m)
        if number is None:
            return None
        if price > U32:
            self.counters["price_out_of_range"] += 1
            return None
        self._print(number, price, shares, self._match(match))
        return TRADE, number, 0

    def _pitch_trade_break(self, m: SimpleNamespace) -> Event | None:
        match = self._match(m.execution_id)
        return self._on_B(SimpleNamespace(match_number=match))

    def _pitch_auction_summary(self, m: SimpleNamespace) -> Event | None:
        event = self._printed(m, m.price, m.shares_contracts, 0)
        if event is not None:
            self.books[event[1]].status["auction"] = 0
        return event

    def _pitch_trading_status(self, m: SimpleNamespace) -> Event | None:
        number = self._book_of(m)
        if number is None:
            return None
        status, code = self.books[number].status, m.trading_status
        status["operational_halt"] = int(code == b"S")
        if code != b"S":
            status["trading_state"] = ord(code if code in (b"T", b"H") else b"Q")
        status["reg_sho"] = ord(m.reg_sho_action)
        return STATUS, number, 0

    def _pitch_auction_update(self, m: SimpleNamespace) -> Event | None:
        number = self._book_of(m)
        if number is None:
            return None
        self.books[number].status.update(
            auction=ord(m.auction_type),
            reference_px=min(m.reference_price, U32),
            near_px=min(m.indicative_price, U32),
            far_px=min(m.auction_only_price, U32),
            imbalance=abs(m.buy_shares - m.sell_shares),
            imbalance_side=ord("B" if m.buy_shares > m.sell_shares else "S"),
        )
        return STATUS, number, 0

    def _nothing(self, m: SimpleNamespace) -> None:
        """Time, and what a book does not keep."""

    _pitch_time = _pitch_retail_price_improvement = _nothing

    def _pitch_end_of_session(self, m: SimpleNamespace) -> None:
        self.counters["end_of_session"] += 1

    def _pitch_unit_clear(self, m: SimpleNamespace) -> Event:
        """All orders of the unit are void: of the books that its line, or no line, named."""
        self.counters["unit_clears"] += 1
        for key, order in list(self.orders.items()):
            if key >> VENUE_BITS == self.venue and self.book_lines[order.book] == self.line:
                self.desk.fills.before(key, U32, False)
                self._remove(key)
                self.counters["orders_cleared"] += 1
        return STATUS, 0, 0

    # ------------------------------------------------------------ lines

    def _note_gap(self, name: tuple) -> None:
        line = self.lines[name]
        if isinstance(line, UnitLine):
            line.gapped = True
        else:
            super()._note_gap(name)

    def _is_of(self, number: int, name: tuple) -> bool:
        if isinstance(self.lines[name], UnitLine):
            return self.book_lines.get(number, ()) == name
        return super()._is_of(number, name)

    def _is_gapped(self, number: int) -> bool:
        if number not in self.book_lines:
            return super()._is_gapped(number)
        return self.line is not None and self.lines[self.line].gapped

    def unit_packet(self, payload: bytes, group: tuple[str, int] = GROUP) -> None:
        """A Sequenced Unit packet of a group."""
        self.counters["packets"] += 1
        if len(payload) < HEADER.size or not HEADER.size <= payload[0] | payload[1] << 8 <= len(
            payload
        ):
            self.counters["unit_invalid"] += 1
            return
        length, number, unit, sequence = HEADER.unpack_from(payload)
        name = (*group, unit)
        if name not in self.lines:
            if len(self.lines) >= LINES:
                self.counters["lines_full"] += 1
                return
            line = self.lines[name] = UnitLine(b"unit %d" % unit, sequence, sequence)
            venues = self.config.feed.venues
            chosen = venues.get(f"{group[0]}:{group[1]}", self.config.feed.pitch_venue)
            line.venue = VENUES[chosen]
        line = self.lines[name]
        self.line, self.venue = name, line.venue
        known = self._follow(name, line, sequence, number)
        if not number:
            self.counters["heartbeats"] += 1
        if not number or known is None:
            return
        self.counters["unit_time_unknown"] += not line.ns
        self._take_unit(line, payload[HEADER.size : length], known, number, bool(sequence))

    def _follow(self, name: tuple, line: Line, sequence: int, number: int) -> int | None:
        """How many of a packet's messages are known; None where none is to be taken."""
        if not sequence:
            self.counters["unit_unsequenced"] += bool(number)
            return 0
        if not line.expected:
            line.first = line.expected = sequence
        line.packets += 1
        if sequence > line.expected:
            if sequence - line.expected > MAX_JUMP and line.candidate != sequence:
                self.counters["sequence_jumps"] += 1
                line.candidate = sequence + number
                return None
            self._gap(name, line, sequence - 1)
            line.expected = sequence
            return 0
        known = min(line.expected - sequence, number)
        self.counters["duplicate_messages"] += known
        return known if known < number else None

    def _take_unit(
        self, line: Line, body: bytes, known: int, number: int, is_numbered: bool
    ) -> None:
        """The messages of a packet that are new; a length that cannot be ends those known."""
        for _ in range(known):
            if len(body) < 2 or body[0] < 2:
                body = b""
            body = body[body[0] if body else 0 :]
        fresh = split(body)[: number - known]
        left = len(body) - sum(map(len, fresh))
        whole = len(fresh) == number - known
        for place, raw in enumerate(fresh):
            # The end of a packet is seen by what is left: less than a message can be.
            behind = len(body) - sum(map(len, fresh[: place + 1]))
            if is_numbered:
                line.expected += 1
                line.messages += 1
            self.apply_pitch(raw, (whole and place + 1 == len(fresh)) or behind < 2)
        if not whole:
            self.counters["unit_truncated"] += 1
        elif left:
            self.counters["unit_trailing_bytes"] += left


def _price(m: SimpleNamespace) -> int:
    return m.price_short * 100 if "price_short" in vars(m) else m.price


def _quantity(m: SimpleNamespace) -> int:
    return m.quantity_short if "quantity_short" in vars(m) else m.quantity


def _canceled(m: SimpleNamespace) -> int:
    return vars(m).get("canceled_quantity", vars(m).get("canceled_quantity_short"))
