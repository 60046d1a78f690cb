"""The reference's order desk: the view, bounded intents, own orders, positions, OUCH messages.

Written from the docstrings of `tickpath.emit`, `orders`, `own_orders` and `view`; the risk gate is
in `reference_gate`, the fill models in `reference_fills`.  `twin` runs the source of an engine's
strategy against a reference: the same function, with `Views` and `Emits` for its globals ``view``
and ``emit``.
"""

from __future__ import annotations

import types
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from numba.core.dispatcher import Dispatcher

import reference_gate
from reference_fills import Fills
from reference_gate import MARKET_PRICE, Gate, Verdict
from tickpath.ouch import token_of
from tickpath.wire import appendage
from tickpath.wire.ouch42 import OUCH42_INBOUND
from tickpath.wire.ouch50 import OUCH50_INBOUND

if TYPE_CHECKING:
    from reference import Event, Reference

NEW, CANCEL, REPLACE, MODIFY = 1, 2, 3, 4
MAX_INTENTS = 16
OWN_ORDERS = 1 << 16
OWN_EVENTS = 256
U32, U64 = (1 << 32) - 1, (1 << 64) - 1
BUY, SELL = 1, -1
ORDER = 6
STATES = (
    *("FREE", "PENDING", "LIVE", "PARTIALLY_FILLED", "FILLED"),
    *("CANCELLED", "REJECTED", "REPLACED", "BROKEN"),
)
HAPPENED = {
    "ACCEPTED": 1,
    "EXECUTED": 2,
    "CANCELLED": 3,
    "REPLACED": 5,
    "MODIFIED": 8,
}
"""Of what a strategy is told, the part that fill models make happen."""
CANCEL_ASKED, REPLACE_ASKED, MODIFY_ASKED = 1, 2, 4


@dataclass
class Intent:
    kind: int
    book: int
    side: str
    quantity: int
    price: int
    ref: int
    orig: int


@dataclass(eq=False)
class Own:
    order_id: int
    ref: int
    book: int
    side: str
    price: int
    quantity: int
    leaves: int
    state: str = "PENDING"
    executed: int = 0
    asked: int = 0
    replaces: int = 0
    replaced_by: int = 0
    newest_ref: int = 0  # the market order added last when this one was sent
    ahead: int = 0  # shares in front of it in the queue
    ts_sent: int = 0
    position: int = 0

    @property
    def is_buy(self) -> bool:
        return self.side == "B"

    @property
    def is_open(self) -> bool:
        return self.state in ("PENDING", "LIVE", "PARTIALLY_FILLED")


@dataclass
class Holding:
    """What is held of one book."""

    quantity: int = 0
    cash: int = 0
    start_value: int = 0
    mark: int = 0
    day_quantity: int = 0
    day_notional: int = 0
    prior_close: int = 0
    locate: int = 0

    @property
    def pnl(self) -> int:
        return self.cash + self.quantity * self.mark - self.start_value


class Holdings(defaultdict[int, Holding]):
    """Positions by book: the books of a symbol on several venues have one."""

    def __init__(self, position_of: Callable[[int], int]) -> None:
        super().__init__(Holding)
        self.position_of = position_of

    def __getitem__(self, book: int) -> Holding:
        return self.at(self.position_of(book))

    def at(self, position: int) -> Holding:
        return super().__getitem__(position)


class Told(NamedTuple):
    """Something that happened to an own order."""

    kind: int
    ref: int
    book: int
    quantity: int
    price: int


class Decision(NamedTuple):
    """One record of the audit, but for the symbol."""

    input_number: int
    ts_event: int
    order_id: int
    price: int
    failed: int
    warned: int
    position: int
    reference_px: int
    quantity: int
    user_ref_num: int
    orig_user_ref_num: int
    book: int
    kind: int
    side: int
    code: int
    reducing: int


class Desk:
    """Everything behind the strategy."""

    def __init__(self, reference: Reference, strategy: str = "") -> None:
        self.reference = reference
        self.intents: list[Intent] = []
        self.last_ref = 0
        self.latched = False
        self.own: dict[int, Own] = {}  # by place in the table
        self.opened: list[Own] = []  # orders that may be open, newest first
        self.holdings = Holdings(reference.position_of)
        self.waiting: list[Told] = []  # for the strategy
        self.telling = Told(0, 0, 0, 0, 0)
        self.executions = 0
        self.rejects: Counter[str] = Counter()
        self.warnings: Counter[str] = Counter()
        self.sent: list[bytes] = []
        self.decisions: list[Decision] = []
        self.gate = Gate(self, strategy)
        self.fills = Fills(self)
        parameters = reference.config.strategy.parameters
        self.cells = parameters + [0] * (reference.config.strategy.cells - len(parameters))

    # ------------------------------------------------------------ the strategy

    def tell(self, event: Event) -> None:
        if self.latched:
            return
        counters, (kind, book, flags) = self.reference.counters, event
        assert self.reference.strategy is not None
        try:
            self.reference.strategy(self.reference, book, kind, flags)
        except Exception:
            self.latched = True
            counters["strategy_raised"] += 1
            counters["intents_dropped"] += len(self.intents)
            self.intents = []
        intents, self.intents = self.intents, []
        for place, intent in enumerate(intents):
            self._take(intent, self.reference.input_number * MAX_INTENTS + place)

    def tell_own(self) -> None:
        """What happened to own orders, and what happens because the strategy was told."""
        for _ in range(OWN_EVENTS):
            if not self.waiting:
                return
            self.telling = self.waiting.pop(0)
            self.reference.input_number += 1
            self.tell((ORDER, self.telling.book, 0))

    def _happens(self, kind: str, order: Own, quantity: int, price: int) -> None:
        if len(self.waiting) >= OWN_EVENTS:
            self.reference.counters["own_events_dropped"] += 1
            return
        self.waiting.append(Told(HAPPENED[kind], order.ref, order.book, quantity, price))

    # ------------------------------------------------------------ one intent

    def _take(self, intent: Intent, order_id: int) -> None:
        counters = self.reference.counters
        counters["intents"] += 1
        old = self.known(intent.orig)
        old = old if old and old.is_open else None
        verdict = self._verdict(intent, old)
        self._decide(intent, old, order_id, verdict)
        if verdict.failed:
            counters["orders_rejected"] += 1
            self.rejects[verdict.code] += 1
            return
        counters["orders_sent"] += 1
        counters["orders_warned"] += bool(verdict.warned)
        self.warnings.update(verdict.warned)
        self.sent.append(self._encode(intent, order_id, verdict.side, old))
        if intent.kind == NEW:
            self.gate.sent(intent.book, intent.side == "B", intent.quantity, intent.price)
            self.fills.answer_new(self._place(intent, order_id, intent.book, verdict.side, 0))
        elif old and intent.kind == REPLACE:
            self.gate.sent(old.book, old.is_buy, intent.quantity, intent.price)
            old.asked |= REPLACE_ASKED
            old.replaced_by = intent.ref
            order = self._place(intent, order_id, old.book, old.side, old.executed)
            order.replaces = old.ref
            self.fills.answer_replace(old, order)
        elif old:
            is_cancel = intent.kind == CANCEL
            old.asked |= CANCEL_ASKED if is_cancel else MODIFY_ASKED
            self.fills.answer_less(old, intent.quantity, is_cancel)

    def _verdict(self, intent: Intent, old: Own | None) -> Verdict:
        check = self.gate.check
        taken = self.own.get(intent.ref % OWN_ORDERS)
        bars = {"OWN_ORDERS_FULL"} if taken and taken.is_open else set()
        if intent.kind == NEW:
            verdict = check(intent.book, intent.side, intent.quantity, intent.price)
            verdict.failed |= bars
        elif old is None or (intent.kind == REPLACE and old.asked & REPLACE_ASKED):
            verdict = Verdict({"UNKNOWN_ORDER"})
        elif intent.kind == REPLACE:
            side = "B" if old.is_buy else "S"
            verdict = check(old.book, side, intent.quantity, intent.price, old)
            verdict.failed |= bars
            if verdict.side == "T" and old.side == "S":
                verdict.failed.add("MALFORMED")  # the message cannot mark it
            verdict.side = old.side
        else:
            fewer = intent.quantity < old.quantity
            verdict = Verdict(set() if fewer else {"MALFORMED"}, side=old.side, reducing=True)
        return verdict

    def _decide(self, intent: Intent, old: Own | None, order_id: int, verdict: Verdict) -> None:
        book = intent.book if intent.kind == NEW else (old.book if old else 0)
        book = book if book < 2 * self.reference.config.capacity.symbols else 0
        numbers = reference_gate.NUMBERS
        self.decisions.append(
            Decision(
                self.reference.input_number,
                self.reference.time,
                order_id,
                intent.price,
                sum(1 << numbers[code] for code in verdict.failed),
                sum(1 << numbers[code] for code in verdict.warned),
                self.holdings[book].quantity,
                verdict.reference,
                intent.quantity,
                intent.ref,
                intent.orig,
                book,
                intent.kind,
                ord(verdict.side or intent.side or "\0"),
                numbers.get(verdict.code, 0),
                int(verdict.reducing),
            )
        )

    # ------------------------------------------------------------ own orders

    def known(self, ref: int) -> Own | None:
        order = self.own.get(ref % OWN_ORDERS)
        return order if order and ref and order.ref == ref else None

    def open_orders(self, book: int | None = None, is_buy: bool | None = None) -> list[Own]:
        """Open orders, newest first: of one position and side, or of all.

        A position is a book's, and that of the symbol's books on other venues.
        """
        self.opened = [each for each in self.opened if each.is_open]
        share = self.reference.position_of
        return [
            each
            for each in self.opened
            if (book is None or each.position == share(book)) and is_buy in (None, each.is_buy)
        ]

    def _place(self, intent: Intent, order_id: int, book: int, side: str, executed: int) -> Own:
        """A new order; a replacement goes on with what its chain has executed."""
        leaves = max(0, intent.quantity - executed)
        order = Own(order_id, intent.ref, book, side, intent.price, intent.quantity, leaves)
        order.executed = executed
        order.position = self.reference.position_of(book)
        order.newest_ref, order.ts_sent = self.reference.newest_age(book), self.reference.time
        self.own[intent.ref % OWN_ORDERS] = order
        self.opened.insert(0, order)
        return order

    def _close(self, order: Own, state: str) -> None:
        order.leaves, order.state, order.asked = 0, state, 0

    def accepted(self, order: Own) -> None:
        order.state = "LIVE"
        self._happens("ACCEPTED", order, order.leaves, order.price)

    def replaced(self, old: Own, order: Own) -> None:
        self._close(old, "REPLACED")
        order.executed = old.executed
        order.state = "PARTIALLY_FILLED" if order.executed else "LIVE"
        order.quantity = order.executed + order.leaves
        self._happens("REPLACED", order, order.leaves, order.price)
        if not order.leaves:
            self._happens("CANCELLED", order, 0, order.price)
            self._close(order, "CANCELLED")

    def cancelled(self, order: Own, shares: int) -> None:
        order.asked &= ~CANCEL_ASKED
        order.quantity -= shares
        order.leaves -= shares
        if not order.leaves:
            self._close(order, "CANCELLED")
        self._happens("CANCELLED", order, shares, order.price)

    def modified(self, order: Own, leaves: int) -> None:
        order.asked &= ~MODIFY_ASKED
        order.quantity, order.leaves = order.executed + leaves, leaves
        if not leaves:
            self._close(order, "CANCELLED")
        self._happens("MODIFIED", order, leaves, order.price)

    def fill(self, order: Own, quantity: int, price: int) -> None:
        holding = self.holdings.at(order.position)
        holding.mark = holding.mark or price
        sign = 1 if order.is_buy else -1
        holding.quantity += sign * quantity
        holding.cash -= sign * quantity * price
        holding.day_quantity += quantity
        holding.day_notional += quantity * price
        order.executed += quantity
        order.leaves -= quantity
        order.state = "PARTIALLY_FILLED"
        if not order.leaves:
            self._close(order, "FILLED")
        self.executions += 1
        self.reference.counters["executions"] += 1
        self._happens("EXECUTED", order, quantity, price)

    # ------------------------------------------------------------ totals

    def start_day(self, book: int, symbol: str) -> None:
        """What the start-of-day file says of a symbol whose book is opened."""
        if symbol not in self.reference.start:
            return
        quantity, close, locate = self.reference.start[symbol]
        holding = self.holdings[book]
        holding.quantity, holding.start_value = quantity, quantity * close
        holding.mark = holding.prior_close = close
        holding.locate = locate

    @property
    def gross(self) -> int:
        return sum(abs(each.quantity) * each.mark for each in self.holdings.values())

    @property
    def net(self) -> int:
        return sum(each.quantity * each.mark for each in self.holdings.values())

    @property
    def pnl(self) -> int:
        return sum(each.pnl for each in self.holdings.values())

    # ------------------------------------------------------------ messages

    def _encode(self, intent: Intent, order_id: int, side: str, own: Own | None) -> bytes:
        ouch50 = self.reference.config.orders.protocol == "ouch50"
        encode = self._encode_50 if ouch50 else self._encode_42
        return encode(intent, token_of(order_id), side, own)

    def _encode_50(self, intent: Intent, token: str, side: str, own: Own | None) -> bytes:
        chosen = self.reference.config.orders
        common = {
            "time_in_force": "0" if chosen.time_in_force is None else str(chosen.time_in_force),
            "display": chosen.display,
            "inter_market_sweep_eligibility": chosen.inter_market_sweep_eligibility,
            "quantity": intent.quantity,
            "price": Decimal(intent.price).scaleb(-4),
            "user_ref_num": intent.ref,
            "clordid": token,
        }
        if intent.kind == NEW:
            options = dict(chosen.options)
            if chosen.firm:
                options.setdefault("firm", chosen.firm)
            return appendage.encode_message(
                OUCH50_INBOUND["enter_order"],
                options,
                side=side,
                symbol=self.reference.books[intent.book].symbol.decode("latin-1"),
                capacity=chosen.capacity,
                cross_type=chosen.cross_type,
                **common,
            )
        if intent.kind == REPLACE:
            return appendage.encode_message(
                OUCH50_INBOUND["replace_order"],
                chosen.replace_options,
                orig_user_ref_num=intent.orig,
                **common,
            )
        if intent.kind == CANCEL:
            return OUCH50_INBOUND["cancel_order"].encode(
                user_ref_num=intent.orig, quantity=intent.quantity
            )
        assert own is not None
        return OUCH50_INBOUND["modify_order"].encode(
            user_ref_num=intent.orig, side=own.side, quantity=intent.quantity
        )

    def _encode_42(self, intent: Intent, token: str, side: str, own: Own | None) -> bytes:
        chosen = self.reference.config.orders
        in_force = 99998 if chosen.time_in_force is None else int(chosen.time_in_force)
        common = {
            "shares": intent.quantity,
            "price": Decimal(intent.price).scaleb(-4),
            "time_in_force": in_force,
            "display": chosen.display,
            "intermarket_sweep_eligibility": chosen.inter_market_sweep_eligibility,
            "minimum_quantity": chosen.minimum_quantity,
        }
        if intent.kind == NEW:
            return OUCH42_INBOUND["enter_order"].encode(
                order_token=token,
                buy_sell_indicator=side,
                stock=self.reference.books[intent.book].symbol.decode("latin-1"),
                firm=chosen.firm,
                capacity=chosen.capacity,
                cross_type=chosen.cross_type,
                customer_type=chosen.customer_type,
                **common,
            )
        assert own is not None
        named = token_of(own.order_id)
        if intent.kind == REPLACE:
            return OUCH42_INBOUND["replace_order"].encode(
                existing_order_token=named, replacement_order_token_token_14=token, **common
            )
        name = "cancel_order" if intent.kind == CANCEL else "modify_order"
        marked = {} if intent.kind == CANCEL else {"buy_sell_indicator": own.side}
        return OUCH42_INBOUND[name].encode(order_token=named, shares=intent.quantity, **marked)

    # ------------------------------------------------------------ emit

    def emit(self, kind: int, book: int, side: str, quantity: int, price: int, orig: int) -> int:
        if len(self.intents) >= MAX_INTENTS:
            self.reference.counters["intents_dropped"] += 1
            return 0
        ref = 0
        if kind in (NEW, REPLACE):
            ref = self.last_ref = self.last_ref + 1
        book, quantity, orig = (min(each & U64, U32) for each in (book, quantity, orig))
        self.intents.append(Intent(kind, book, side, quantity, price & U64, ref, orig))
        return ref


class Emits:
    """`tickpath.emit` of a reference, which is what the strategy's ``engine`` is."""

    @staticmethod
    def new_order(engine: Reference, book: int, side: int, quantity: int, price: int) -> int:
        code = {BUY: "B", SELL: "S"}.get(side, "")
        return engine.desk.emit(NEW, book, code, quantity, price, 0)

    @staticmethod
    def market_order(engine: Reference, book: int, side: int, quantity: int) -> int:
        return Emits.new_order(engine, book, side, quantity, MARKET_PRICE)

    @staticmethod
    def cancel_order(engine: Reference, user_ref_num: int, quantity: int) -> int:
        return engine.desk.emit(CANCEL, 0, "", quantity, 0, user_ref_num)

    @staticmethod
    def modify_order(engine: Reference, user_ref_num: int, quantity: int) -> int:
        return engine.desk.emit(MODIFY, 0, "", quantity, 0, user_ref_num)

    @staticmethod
    def replace_order(engine: Reference, user_ref_num: int, quantity: int, price: int) -> int:
        return engine.desk.emit(REPLACE, 0, "", quantity, price, user_ref_num)


def _top(side: int, which: int) -> Callable:
    def read(engine: Reference, book: int) -> int:
        return engine.top(book, side)[which]

    return read


def _orders_at_best(side: int) -> Callable:
    def read(engine: Reference, book: int) -> int:
        best = engine.best(book, side)
        return 0 if best is None else engine.level(book, side, best)[2]

    return read


def _status(name: str) -> Callable:
    return lambda engine, book: engine.books[book].status[name]


class Views:
    """`tickpath.view` of a reference."""

    BUY, SELL = BUY, SELL
    TRADING, HALTED, PAUSED, QUOTATION_ONLY = (ord(code) for code in "THPQ")
    bid_px, bid_sz, bid_ct = _top(0, 0), _top(0, 1), _orders_at_best(0)
    ask_px, ask_sz, ask_ct = _top(1, 0), _top(1, 1), _orders_at_best(1)
    trading_state, auction = _status("trading_state"), _status("auction")
    reg_sho, is_stale = _status("reg_sho"), _status("stale")

    @staticmethod
    def last_px(engine: Reference, book: int) -> int:
        return engine.books[book].last_px

    @staticmethod
    def last_sz(engine: Reference, book: int) -> int:
        return engine.books[book].last_sz

    @staticmethod
    def volume(engine: Reference, book: int) -> int:
        return engine.books[book].volume

    @staticmethod
    def vwap(engine: Reference, book: int) -> int:
        shares = engine.books[book].volume
        return engine.books[book].notional // shares if shares else 0

    @staticmethod
    def sma(engine: Reference, book: int) -> int:
        prices = engine.books[book].prices
        return sum(prices) // len(prices) if prices else 0

    @staticmethod
    def ema(engine: Reference, book: int) -> int:
        return engine.books[book].ema >> 16

    @staticmethod
    def is_trading(engine: Reference, book: int) -> int:
        return int(engine.desk.gate.may_trade(book))

    @staticmethod
    def position(engine: Reference, book: int) -> int:
        return engine.desk.holdings[book].quantity

    @staticmethod
    def pnl(engine: Reference, book: int) -> int:
        return engine.desk.holdings[book].pnl

    @staticmethod
    def order_state(engine: Reference, user_ref_num: int) -> int:
        order = engine.desk.known(user_ref_num)
        return STATES.index(order.state) if order else 0

    @staticmethod
    def leaves_qty(engine: Reference, user_ref_num: int) -> int:
        order = engine.desk.known(user_ref_num)
        return order.leaves if order else 0

    @staticmethod
    def cum_qty(engine: Reference, user_ref_num: int) -> int:
        order = engine.desk.known(user_ref_num)
        return order.executed if order else 0

    @staticmethod
    def order_event_kind(engine: Reference) -> int:
        return engine.desk.telling.kind

    @staticmethod
    def order_event_ref(engine: Reference) -> int:
        return engine.desk.telling.ref

    @staticmethod
    def order_event_quantity(engine: Reference) -> int:
        return engine.desk.telling.quantity

    @staticmethod
    def order_event_px(engine: Reference) -> int:
        return engine.desk.telling.price

    @staticmethod
    def engine_time(engine: Reference) -> int:
        return engine.time

    @staticmethod
    def messages(engine: Reference) -> int:
        return engine.messages

    @staticmethod
    def state(engine: Reference) -> list[int]:
        return engine.desk.cells


def twin(strategy: Callable) -> Callable:
    """The strategy, and what its module lets it call, as plain Python over a reference."""
    plain = strategy.py_func if isinstance(strategy, Dispatcher) else strategy
    space = dict(plain.__globals__, view=Views, emit=Emits)
    for name, each in plain.__globals__.items():
        if isinstance(each, Dispatcher):
            space[name] = types.FunctionType(each.py_func.__code__, space)
    return types.FunctionType(plain.__code__, space, plain.__name__, plain.__defaults__)
