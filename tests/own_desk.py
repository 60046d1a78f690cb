"""A desk for tests: own orders by hand, the exchange's answers as bytes, what a strategy is told.

`Desk` sends orders through the strategy `hand`, which does what the test writes into its cells and
writes down every event of its orders.  `Answers` writes an exchange's messages with the wire
tables, the same words for OUCH 5.0 and 4.2.  `validate_own` recomputes from the table of own orders
alone what positions and gate keep about them.
"""

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
from numba import njit

from itch_messages import message, run
from scenes import TS, add
from streams import CAPACITY
from tickpath import Config, Engine, emit, event, view
from tickpath.config import Fills, Orders, Risk, StrategyConfig
from tickpath.layout import OWN_ORDERS
from tickpath.ouch import order_id_of, token_of
from tickpath.own_orders import Happened, State
from tickpath.wire import appendage
from tickpath.wire.ouch42 import OUCH42_INBOUND, OUCH42_OUTBOUND
from tickpath.wire.ouch50 import OUCH50_INBOUND, OUCH50_OUTBOUND
from tickpath.wire.table import Message

BUY, SELL = view.BUY, view.SELL
NEW, CANCEL, REPLACE, MODIFY = emit.NEW, emit.CANCEL, emit.REPLACE, emit.MODIFY
BID, ASK = 1_000_000, 1_000_200
U64 = 1 << 64
OPEN_STATES = (State.PENDING, State.LIVE, State.PARTIALLY_FILLED)
CELLS = 4096
LOG, WIDTH = 16, 6
"""First cell of the log of events, and cells of one of its rows."""

ANYTHING = Risk(
    unknown_trading_state="trade",
    trading_hours="any",
    market_orders=True,
    order_burst=1_000_000,
    symbol_order_burst=1_000_000,
    max_quantity=999_999,
    max_notional=1e12,
    off=[
        *("price_collar", "self_match", "no_reference", "stale_reference", "quantity", "notional"),
        *("position_long", "position_short", "gross_notional", "net_notional", "loss_limit"),
        *("symbol_open_orders", "open_orders", "daily_quantity", "daily_notional"),
    ],
)
"""A gate that lets everything pass that is an order at all."""


@njit
def hand(engine, book, kind, flags):
    """Take the intent in the cells from 1 on, if 0 says so; write events down from `LOG` on."""
    cells = view.state(engine)
    if kind == event.ORDER:
        at = LOG + WIDTH * cells[1]
        if at + WIDTH <= len(cells):
            cells[at] = view.order_event_kind(engine)
            cells[at + 1] = view.order_event_ref(engine)
            cells[at + 2] = view.order_event_quantity(engine)
            cells[at + 3] = view.order_event_px(engine)
            cells[at + 4] = book
            cells[at + 5] = view.leaves_qty(engine, cells[at + 1])
        cells[1] += 1
        return
    if cells[0] == 0 or kind != event.STATUS:
        return
    what, which, quantity, price = cells[3], cells[4], cells[5], cells[6]
    cells[0] = 0
    if what == emit.NEW:
        cells[2] = emit.new_order(engine, cells[7], which, quantity, price)
    elif what == emit.CANCEL:
        emit.cancel_order(engine, which, quantity)
    elif what == emit.REPLACE:
        cells[2] = emit.replace_order(engine, which, quantity, price)
    elif what == emit.MODIFY:
        emit.modify_order(engine, which, quantity)


class Told(NamedTuple):
    """An event of an own order, as a strategy sees it."""

    kind: Happened
    ref: int
    quantity: int
    price: int
    book: int = 1


class Sent(NamedTuple):
    """An order message as it was decoded; ``side`` is the code, empty where there is none."""

    kind: int
    ref: int
    orig: int
    side: str
    quantity: int
    price: int
    symbol: str
    order_id: int


def desk_config(
    protocol: Any = "ouch50", model: Any = "exchange", risk: Risk = ANYTHING, **orders: Any
) -> Config:
    """A configuration for `hand`."""
    return Config(
        capacity=CAPACITY,
        strategy=StrategyConfig(cells=CELLS),
        risk=risk,
        fills=Fills(model=model),
        orders=Orders(protocol=protocol, **orders),
    )


class Desk:
    """An engine with two quoted books, and a hand that trades in it."""

    def __init__(self, config: Config | None = None, quoted: bool = True, **options: Any) -> None:
        self.config = config or desk_config()
        self.engine = Engine(self.config, strategy=hand, **options)
        self.answers = Answers(self)
        self.now = TS
        self.sent: list[Sent] = []
        self.raw: list[bytes] = []
        """The messages that `sent` decodes."""
        self.is50 = self.config.orders.protocol == "ouch50"
        self._refs: dict[int, int] = {}  # by order_id
        if quoted:
            self.feed(
                add(1, "B", 300, BID),
                add(2, "S", 200, ASK),
                add(3, "B", 300, BID, locate=2, stock="MSFT"),
                add(4, "S", 200, ASK, locate=2, stock="MSFT"),
            )

    # ------------------------------------------------------------ inputs

    def feed(self, *messages: bytes) -> None:
        self.engine.feed(run(messages))
        self._take()

    def tick(self, ns: int = 0) -> None:
        """A message that changes no book, after some time."""
        self.now += ns
        self.feed(message("S", 0, self.now, event_code="Q"))

    def answer(self, name: str, ref: int, **fields: Any) -> None:
        """One answer of the exchange, see `Answers`."""
        self.engine.feed_responses(run([getattr(self.answers, name)(ref, **fields)]))
        self._take()

    def _do(self, what: int, which: int, quantity: int, price: int, book: int) -> int:
        cells = self.engine.block.cell["value"]
        cells[:8] = (1, cells[1], 0, what, which, quantity, price, book)
        self.tick()
        assert cells[0] == 0, "the strategy was not asked"
        return int(cells[2])

    def new(self, side: int, quantity: int, price: int, book: int = 1) -> int:
        """Send a new order; its user_ref_num, also where it was rejected."""
        return self._do(NEW, side, quantity, price, book)

    def replace(self, ref: int, quantity: int, price: int) -> int:
        return self._do(REPLACE, ref, quantity, price, 0)

    def cancel(self, ref: int, quantity: int = 0) -> None:
        self._do(CANCEL, ref, quantity, 0, 0)

    def modify(self, ref: int, quantity: int) -> None:
        self._do(MODIFY, ref, quantity, 0, 0)

    # ------------------------------------------------------------ what came of it

    def _take(self) -> None:
        for raw in self.engine.take_orders():
            self.sent.append(self._decoded(raw))
            self.raw.append(raw)

    def _decoded(self, raw: bytes) -> Sent:
        kind = {"O": NEW, "U": REPLACE, "X": CANCEL, "M": MODIFY}[chr(raw[0])]
        if self.is50:
            f = appendage.decode_message(OUCH50_INBOUND, raw)
            ref, orig = f["user_ref_num"], f.get("orig_user_ref_num", 0)
            side, symbol, quantity = f.get("side", ""), f.get("symbol", ""), f["quantity"]
            order_id = order_id_of(f["clordid"]) if "clordid" in f else 0
        else:
            f = OUCH42_INBOUND.decode(raw)
            token = f.get("replacement_order_token_token_14") or f["order_token"]
            order_id, orig = order_id_of(token), 0
            side, symbol = f.get("buy_sell_indicator", ""), f.get("stock", "")
            quantity = f["shares"]
            if kind in (NEW, REPLACE):
                self._refs[order_id] = self.engine.block.get("user_ref_num")
            ref = self._refs[order_id]
            if kind == REPLACE:
                orig = self._refs[order_id_of(f["existing_order_token"])]
        price = int(f.get("price", 0) * 10_000)
        return Sent(kind, ref, orig, side, quantity, price, symbol, order_id)

    def take_sent(self) -> list[Sent]:
        """What was sent since the last call."""
        sent, self.sent = self.sent, []
        return sent

    def told(self) -> list[Told]:
        """What the strategy was told since the last call."""
        cells = self.engine.block.cell["value"]
        rows = cells[LOG : LOG + WIDTH * int(cells[1])].reshape(-1, WIDTH).tolist()
        cells[1] = 0
        return [Told(Happened(row[0]), *row[1:5]) for row in rows]

    def order(self, ref: int) -> Any:
        """The record of an own order."""
        record = self.engine.block.own[ref % OWN_ORDERS]
        assert record["user_ref_num"] == ref
        return record

    def state(self, ref: int) -> tuple[str, int, int]:
        """(state, executed, leaves) of an own order."""
        o = self.order(ref)
        return State(int(o["state"])).name, int(o["executed"]), int(o["leaves"])

    def position(self, book: int = 1) -> tuple[int, int]:
        """(shares, cash) of a book."""
        p = self.engine.block.position[book]
        return int(p["quantity"]), int(p["cash"])

    def counted(self) -> dict[str, int]:
        """Counters of answers and executions that are not zero."""
        names = ("responses_", "executions", "replacements", "own_events", "commands_", "limits_")
        return {k: n for k, n in self.engine.counters.items() if n and k.startswith(names)}


def dollars(price: int) -> Decimal:
    """A price in 1e-4 as the wire tables take it."""
    return Decimal(price).scaleb(-4)


class Answers:
    """An exchange's messages about a desk's orders."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def _encode(self, name50: str, name42: str, ref: int, fields: dict[str, Any]) -> bytes:
        table = OUCH50_OUTBOUND if self.desk.is50 else OUCH42_OUTBOUND
        layout = table[name50 if self.desk.is50 else name42]
        values = {"timestamp": self.desk.now, **fields}
        if self.desk.is50:
            values["user_ref_num"] = ref
        elif "replacement_order_token_alphanumeric_14" in layout.by_name:
            values["replacement_order_token_alphanumeric_14"] = self.token(ref)
        else:
            values["order_token"] = self.token(ref)
        return encoded(layout, values)

    def token(self, ref: int) -> str:
        """An order's token; that of an order that never was, where it is not in the table."""
        o = self.desk.engine.block.own[ref % OWN_ORDERS]
        return token_of(int(o["order_id"]) if o["user_ref_num"] == ref else (1 << 60) + ref)

    def _kept(self, ref: int, name: str) -> int:
        return int(self.desk.engine.block.own[ref % OWN_ORDERS][name])

    def accepted(
        self,
        ref: int,
        quantity: int | None = None,
        price: int | None = None,
        live: bool = True,
        market_ref: int = 77,
    ) -> bytes:
        quantity = self._kept(ref, "leaves") if quantity is None else quantity
        price = self._kept(ref, "price") if price is None else price
        fields = {
            "price": dollars(price),
            "order_reference_number": market_ref,
            "order_state": "L" if live else "D",
        }
        fields["quantity" if self.desk.is50 else "shares"] = quantity
        return self._encode("order_accepted", "accepted", ref, fields)

    def replaced(
        self,
        ref: int,
        orig: int,
        leaves: int | None = None,
        price: int | None = None,
        live: bool = True,
        market_ref: int = 78,
    ) -> bytes:
        leaves = self._kept(ref, "leaves") if leaves is None else leaves
        price = self._kept(ref, "price") if price is None else price
        fields: dict[str, Any] = {
            "price": dollars(price),
            "order_reference_number": market_ref,
            "order_state": "L" if live else "D",
        }
        if self.desk.is50:
            fields |= {"quantity": leaves, "orig_user_ref_num": orig}
        else:
            fields |= {"shares": leaves, "previous_order_token": self.token(orig)}
        return self._encode("replaced", "replaced", ref, fields)

    def executed(self, ref: int, quantity: int, price: int, match: int) -> bytes:
        return self._trade("order_executed", "executed", ref, quantity, price, match)

    def corrected(self, ref: int, quantity: int, price: int, match: int) -> bytes:
        return self._trade("trade_correction", "trade_correction", ref, quantity, price, match)

    def _trade(
        self, name50: str, name42: str, ref: int, quantity: int, price: int, match: int
    ) -> bytes:
        px, shares = ("price", "quantity")
        if not self.desk.is50:
            px, shares = ("execution_price", "executed_shares")
        fields = {px: dollars(price), shares: quantity, "match_number": match}
        return self._encode(name50, name42, ref, fields)

    def broken(self, ref: int, match: int) -> bytes:
        return self._encode("broken_trade", "broken_trade", ref, {"match_number": match})

    def canceled(self, ref: int, quantity: int) -> bytes:
        name = "quantity" if self.desk.is50 else "decrement_shares"
        return self._encode("canceled", "canceled", ref, {name: quantity})

    def prevented(self, ref: int, quantity: int) -> bytes:
        """Shares cancelled because they would have traded with their owner."""
        return self._encode("aiq_canceled", "aiq_cancelled", ref, {"decrement_shares": quantity})

    def rejected(self, ref: int) -> bytes:
        return self._encode("rejected_order", "rejected_order", ref, {})

    def cancel_rejected(self, ref: int) -> bytes:
        return self._encode("cancel_reject", "cancel_reject", ref, {})

    def cancel_pending(self, ref: int) -> bytes:
        return self._encode("cancel_pending", "cancel_pending", ref, {})

    def moved(self, ref: int, price: int, market_ref: int = 79) -> bytes:
        fields = {"price": dollars(price), "order_reference_number": market_ref}
        return self._encode("order_priority_update", "order_priority_update", ref, fields)

    def modified(self, ref: int, leaves: int) -> bytes:
        name = "quantity" if self.desk.is50 else "shares"
        return self._encode("order_modified", "order_modified", ref, {name: leaves})


def encoded(layout: Message, values: dict[str, Any]) -> bytes:
    """A message, with an empty appendage where its table has one."""
    return appendage.encode_message(layout, {}, **values)


def blocks(messages: Iterable[bytes]) -> bytes:
    """Messages as `Engine.feed_responses` and `feed_commands` take them."""
    return run(messages)


# ---------------------------------------------------------------- recomputed from scratch


def own_rows(engine: Engine) -> dict[int, dict[str, int]]:
    """Every own order that is in the table, by its place."""
    table = engine.block.own
    used = table["user_ref_num"].nonzero()[0]
    names = table.dtype.names or ()
    rows = [dict(zip(names, row, strict=True)) for row in table[used].tolist()]
    return dict(zip(used.tolist(), rows, strict=True))


def validate_own(engine: Engine) -> None:
    """Fail where positions, lists, chains or the gate's totals are not what the table says."""
    block, rows = engine.block, own_rows(engine)
    by_side: dict[tuple[int, bool], list[int]] = defaultdict(list)
    for n, row in rows.items():
        assert row["user_ref_num"] % OWN_ORDERS == n
        if row["state"] in OPEN_STATES:
            by_side[row["position"], row["side"] == ord("B")].append(n)
        else:
            assert row["leaves"] == 0 and row["asked"] == 0
    totals = [0, 0]
    for book, values in enumerate(block.position.tolist()):
        p = dict(zip(block.position.dtype.names or (), values, strict=True))
        orders = 0
        for is_buy in (True, False):
            places = by_side.get((book, is_buy), [])
            word = "buy" if is_buy else "sell"
            assert sorted(_listed(rows, p[f"first_{word}"])) == sorted(places)
            shares = sum(rows[n]["leaves"] for n in places)
            money = sum(rows[n]["leaves"] * rows[n]["price"] for n in places)
            prices = [rows[n]["price"] for n in places]
            best = (max(prices) if is_buy else min(prices)) if prices else 0
            found = [p[f"open_{word}"], p[f"open_{word}_notional"], p[f"best_{word}"]]
            assert found == [shares % U64, money % U64, best], (book, word)
            totals[is_buy] += money
            orders += len(places)
        assert p["open_orders"] == orders
    _validate_gate(engine, sum(map(len, by_side.values())), totals)
    _validate_names(engine, rows)


def _listed(rows: dict[int, dict[str, int]], first: int) -> list[int]:
    """Places in the list of a book's side, whose links must agree."""
    found: list[int] = []
    previous, at = 0, first
    while at:
        assert len(found) < OWN_ORDERS and rows[at - 1]["previous"] == previous
        found.append(at - 1)
        previous, at = at, rows[at - 1]["next"]
    return found


def signed(value: int) -> int:
    """A number as a signed one of 64 bits."""
    return (value + (U64 >> 1)) % U64 - (U64 >> 1)


def _validate_gate(engine: Engine, open_orders: int, open_notional: list[int]) -> None:
    block = engine.block
    g = block.gate[0]
    held = block.position["quantity"].tolist()
    worth = block.position["mark"].tolist()
    cash, start = block.position["cash"].tolist(), block.position["start_value"].tolist()
    value = [q * mark for q, mark in zip(held, worth, strict=True)]
    expected = {
        "net": sum(value),
        "gross": sum(map(abs, value)),
        "pnl": sum(cash) + sum(value) - sum(start),
        "open_sell_notional": open_notional[0],
        "open_buy_notional": open_notional[1],
        "open_orders": open_orders,
        "day_quantity": sum(block.position["day_quantity"].tolist()),
        "day_notional": sum(block.position["day_notional"].tolist()),
    }
    found = {name: signed(int(g[name])) for name in expected}
    assert found == {name: signed(value) for name, value in expected.items()}


def _validate_names(engine: Engine, rows: dict[int, dict[str, int]]) -> None:
    """Every order is in one chain of those whose order_id has its hash."""
    named: list[int] = []
    firsts = engine.block.named["first"]
    for first in firsts[firsts.nonzero()[0]].tolist():
        at = first
        while at:
            assert len(named) < len(rows), "a chain with a loop, or of orders that are not there"
            named.append(at - 1)
            at = rows[at - 1]["next_named"]
    assert sorted(named) == sorted(rows)


def with_risk(config: Config, **changes: Any) -> Config:
    """The configuration with other settings of the gate."""
    return msgspec.structs.replace(config, risk=msgspec.structs.replace(config.risk, **changes))
