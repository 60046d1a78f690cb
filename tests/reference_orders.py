"""The reference's order desk: the view, bounded intents, the risk gate, own orders, OUCH messages.

Written from the docstrings of `tickpath.emit`, `risk` and `orders`.  `twin` runs the source of an
engine's strategy against a reference: the same function, with `Views` and `Emits` for its globals
``view`` and ``emit``.
"""

from __future__ import annotations

import types
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from numba.core.dispatcher import Dispatcher

from tickpath.config import Limits
from tickpath.ouch import token_of
from tickpath.wire import appendage
from tickpath.wire.ouch42 import OUCH42_INBOUND
from tickpath.wire.ouch50 import OUCH50_INBOUND

if TYPE_CHECKING:
    from reference import Event, Reference

NEW, CANCEL, REPLACE, MODIFY = "new", "cancel", "replace", "modify"
MAX_INTENTS = 16
OWN_ORDERS = 1 << 16
MAX_PRICE, MAX_SHARES = 1_999_999_900, 999_999
U32, U64 = (1 << 32) - 1, (1 << 64) - 1
BUY, SELL = 1, -1
SECOND = 1_000_000_000


@dataclass
class Intent:
    kind: str
    book: int
    side: str
    quantity: int
    price: int
    ref: int
    orig: int


@dataclass
class Own:
    order_id: int
    ref: int
    book: int
    side: str
    price: int
    quantity: int
    leaves: int


class Desk:
    """Everything behind the strategy."""

    def __init__(self, reference: Reference) -> None:
        self.reference = reference
        self.intents: list[Intent] = []
        self.last_ref = 0
        self.latched = False
        self.own: dict[int, Own] = {}  # by place in the ring
        self.position: Counter[int] = Counter()
        self.cash: Counter[int] = Counter()
        self.rejects: Counter[str] = Counter()
        self.sent: list[bytes] = []
        self.arrival = 0  # theoretical arrival time of the next order
        parameters = reference.config.strategy.parameters
        self.cells = parameters + [0] * (reference.config.strategy.cells - len(parameters))

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

    def _take(self, intent: Intent, order_id: int) -> None:
        counters = self.reference.counters
        counters["intents"] += 1
        verdict = self._verdict(intent)
        if verdict:
            counters["orders_rejected"] += 1
            self.rejects[verdict] += 1
            return
        counters["orders_sent"] += 1
        self.sent.append(self._encode(intent, order_id))
        own = self.own.get(intent.orig % OWN_ORDERS)
        if intent.kind == NEW:
            self._keep(intent, order_id, intent.book, intent.side)
        elif own and intent.kind == REPLACE:
            own.leaves = 0
            self._keep(intent, order_id, own.book, own.side)
        elif own:
            executed = own.quantity - own.leaves
            own.quantity, own.leaves = intent.quantity, max(0, intent.quantity - executed)

    # ------------------------------------------------------------ the gate

    def _verdict(self, intent: Intent) -> str:
        if intent.kind == NEW:
            return self._check(intent.book, intent.side, intent.quantity, intent.price)
        own = self.own.get(intent.orig % OWN_ORDERS)
        if not own or own.ref != intent.orig or not own.leaves:
            return "UNKNOWN_ORDER"
        if intent.kind == REPLACE:
            return self._check(own.book, own.side, intent.quantity, intent.price)
        return "" if intent.quantity < own.quantity else "MALFORMED"

    def limit(self, book: int, name: str) -> Any:
        """A limit of the book's symbol: its own, or the default."""
        risk = self.reference.config.risk
        symbol = self.reference.books[book].symbol.decode("latin-1").rstrip()
        own = getattr(risk.symbols.get(symbol, Limits()), name)
        return getattr(risk, name) if own is None else own

    def may_trade(self, book: int) -> bool:
        status, risk = self.reference.books[book].status, self.reference.config.risk
        state = status["trading_state"]
        known = state == ord("T") or (not state and risk.unknown_trading_state == "trade")
        return known and not status["operational_halt"]

    def _check(self, book: int, side: str, quantity: int, price: int) -> str:
        reference, risk = self.reference, self.reference.config.risk
        possible = 0 < quantity <= MAX_SHARES and 0 < price <= MAX_PRICE
        if not possible or not 0 < book < reference.config.capacity.symbols or not side:
            return "MALFORMED"
        if risk.kill_switch:
            return "KILL_SWITCH"
        if not reference.books[book].venue:
            return "SYMBOL_NOT_ALLOWED"  # no symbol, no limits
        symbol = reference.books[book].symbol.decode("latin-1").rstrip()
        if risk.symbols.get(symbol, Limits()).kill_switch:
            return "KILL_SWITCH"
        if not self.limit(book, "allowed"):
            return "SYMBOL_NOT_ALLOWED"
        if not self.may_trade(book):
            return "TRADING_STATE"
        if reference.books[book].status["stale"]:
            return "STALE_BOOK"
        if quantity > self.limit(book, "max_quantity"):
            return "QUANTITY"
        if quantity * price > round(self.limit(book, "max_notional") * 10_000):
            return "NOTIONAL"
        if not self._within_collar(book, side, price):
            return "PRICE_COLLAR"
        held = self.position[book]
        after = held + quantity if side == "B" else held - quantity
        if abs(after) > self.limit(book, "max_position") and abs(after) >= abs(held):
            return "POSITION"
        return "" if self._takes_rate() else "ORDER_RATE"

    def _within_collar(self, book: int, side: str, price: int) -> bool:
        near, other = (0, 1) if side == "B" else (1, 0)
        reference = self.reference.best(book, other)
        if reference is None:
            reference = self.reference.best(book, near)
        if reference is None:
            return False
        percent = reference * round(self.limit(book, "collar_percent") * 100) // 10_000
        collar = max(percent, round(self.limit(book, "collar_price") * 10_000))
        return price <= reference + collar if side == "B" else price >= reference - collar

    def _takes_rate(self) -> bool:
        risk, now = self.reference.config.risk, self.reference.time
        interval = SECOND // risk.orders_per_second
        arrival = max(self.arrival, now)
        if arrival - now > (risk.order_burst - 1) * interval:
            return False
        self.arrival = arrival + interval
        return True

    # ------------------------------------------------------------ own orders

    def _keep(self, intent: Intent, order_id: int, book: int, side: str) -> None:
        own = Own(order_id, intent.ref, book, side, intent.price, intent.quantity, intent.quantity)
        self.own[intent.ref % OWN_ORDERS] = own
        other = 1 if side == "B" else 0
        touch, shown = self.reference.top(book, other)
        takes = touch <= own.price if side == "B" else touch >= own.price
        if not shown or not takes:
            return
        filled = min(own.leaves, shown)
        own.leaves -= filled
        sign = 1 if side == "B" else -1
        self.position[book] += sign * filled
        self.cash[book] -= sign * filled * touch
        self.reference.counters["assumed_fills"] += 1

    def _encode(self, intent: Intent, order_id: int) -> bytes:
        ouch50 = self.reference.config.orders.protocol == "ouch50"
        encode = self._encode_50 if ouch50 else self._encode_42
        own = self.own.get(intent.orig % OWN_ORDERS)
        return encode(intent, token_of(order_id), own)

    def _encode_50(self, intent: Intent, token: str, own: Own | None) -> bytes:
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
                side=intent.side,
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

    def _encode_42(self, intent: Intent, token: str, own: Own | None) -> bytes:
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
                buy_sell_indicator=intent.side,
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
        side = {} if intent.kind == CANCEL else {"buy_sell_indicator": own.side}
        return OUCH42_INBOUND[name].encode(order_token=named, shares=intent.quantity, **side)

    # ------------------------------------------------------------ emit

    def emit(self, kind: str, book: int, side: str, quantity: int, price: int, orig: int) -> int:
        if len(self.intents) >= MAX_INTENTS:
            self.reference.counters["intents_dropped"] += 1
            return 0
        ref = 0
        if kind in (NEW, REPLACE):
            ref = self.last_ref = self.last_ref + 1
        quantity, orig = min(quantity & U64, U32), min(orig & U64, U32)
        self.intents.append(Intent(kind, book, side, quantity, price & U64, ref, orig))
        return ref


class Emits:
    """`tickpath.emit` of a reference, which is what the strategy's ``engine`` is."""

    @staticmethod
    def new_order(engine: Reference, book: int, side: int, quantity: int, price: int) -> int:
        code = {BUY: "B", SELL: "S"}.get(side, "")
        return engine.desk.emit(NEW, book, code, quantity, price, 0)

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
        return int(engine.desk.may_trade(book))

    @staticmethod
    def position(engine: Reference, book: int) -> int:
        return engine.desk.position[book]

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
