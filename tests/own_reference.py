"""The life of own orders in plain Python, written from the docstring of `tickpath.own_orders`.

It is given what was sent (as decoded from the bytes) and what was answered, and says what every
order, position and event has to be.  Nothing is shared with the engine but the enumerations.
"""

from collections import Counter
from dataclasses import dataclass, field

from own_desk import CANCEL, MODIFY, NEW, REPLACE, Sent, Told
from tickpath.layout import EXECUTION_BITS, OWN_ORDERS
from tickpath.own_orders import Happened, State

MIX = 0x9E3779B97F4A7C15
U32, U64 = (1 << 32) - 1, (1 << 64) - 1
ASKED = {CANCEL: 1, REPLACE: 2, MODIFY: 4}


@dataclass
class Order:
    ref: int
    order_id: int
    book: int
    side: str
    price: int
    quantity: int
    leaves: int
    executed: int = 0
    state: State = State.PENDING
    asked: int = 0
    replaces: int = 0
    replaced_by: int = 0
    market_ref: int = 0

    @property
    def is_open(self) -> bool:
        return self.state in (State.PENDING, State.LIVE, State.PARTIALLY_FILLED)

    @property
    def sign(self) -> int:
        return 1 if self.side == "B" else -1


@dataclass
class Holding:
    quantity: int = 0
    cash: int = 0
    day_quantity: int = 0
    day_notional: int = 0


@dataclass
class OwnReference:
    """All orders by the number that they were sent under."""

    orders: dict[int, Order] = field(default_factory=dict)
    holdings: dict[int, Holding] = field(default_factory=lambda: {1: Holding(), 2: Holding()})
    executions: dict[int, list[int]] = field(default_factory=dict)
    counters: Counter[str] = field(default_factory=Counter)
    told: list[Told] = field(default_factory=list)

    # ------------------------------------------------------------ what was sent

    def sent(self, message: Sent) -> None:
        if message.kind == NEW:
            book = {"AAPL": 1, "MSFT": 2}[message.symbol]
            self._place(message, book, message.side, 0)
        elif message.kind == REPLACE:
            old = self.orders[message.orig]
            assert old.is_open and not old.asked & ASKED[REPLACE]
            old.asked |= ASKED[REPLACE]
            old.replaced_by = message.ref
            self._place(message, old.book, old.side, old.executed)
        else:
            order = self.orders[message.ref]
            assert order.is_open and message.quantity < order.quantity
            order.asked |= ASKED[message.kind]

    def _place(self, message: Sent, book: int, side: str, done: int) -> None:
        order = Order(
            message.ref,
            message.order_id,
            book,
            side,
            message.price,
            message.quantity,
            max(0, message.quantity - done),
            done,
            replaces=message.orig,
        )
        before = self.orders.pop(message.ref - OWN_ORDERS, None)
        assert before is None or not before.is_open
        self.orders[message.ref] = order

    # ------------------------------------------------------------ what was answered

    def answer(self, name: str, ref: int, **fields: int) -> None:
        getattr(self, name)(ref, **fields)

    def _known(self, ref: int) -> Order | None:
        if ref not in self.orders:
            self.counters["responses_unknown_order"] += 1
        return self.orders.get(ref)

    def _in_state(self, ref: int, is_right: str) -> Order | None:
        order = self._known(ref)
        if order is None:
            return None
        right = order.is_open if is_right == "open" else order.state is State.PENDING
        if not right:
            self.counters["responses_out_of_state"] += 1
            return None
        return order

    def _tell(self, kind: Happened, order: Order, quantity: int, price: int | None = None) -> None:
        price = order.price if price is None else price
        self.told.append(Told(kind, order.ref, quantity & U32, price, order.book))

    def _close(self, order: Order, to: State) -> None:
        successor = order.replaced_by if order.asked & ASKED[REPLACE] else 0
        order.state, order.leaves, order.asked = to, 0, 0
        while successor and (orphan := self.orders.get(successor)):
            if orphan.state is not State.PENDING:
                break
            self.counters["replacements_orphaned"] += 1
            self._tell(Happened.REJECTED, orphan, orphan.quantity)
            orphan.state, orphan.leaves, orphan.asked = State.REJECTED, 0, 0
            successor = orphan.replaced_by

    def _taken(self, order: Order, leaves: int, price: int, market_ref: int) -> None:
        order.market_ref, order.leaves, order.price = market_ref, leaves, min(max(price, 1), U32)
        order.quantity = order.executed + leaves
        order.state = State.PARTIALLY_FILLED if order.executed else State.LIVE

    def _dead(self, order: Order, live: bool) -> None:
        if not live or not order.leaves:
            self._tell(Happened.CANCELLED, order, order.leaves)
            self._close(order, State.CANCELLED)

    def accepted(
        self, ref: int, quantity: int, price: int, live: bool = True, market_ref: int = 77
    ) -> None:
        if order := self._in_state(ref, "pending"):
            self._taken(order, quantity, price, market_ref)
            self._tell(Happened.ACCEPTED, order, quantity)
            self._dead(order, live)

    def replaced(
        self,
        ref: int,
        orig: int,
        leaves: int,
        price: int,
        live: bool = True,
        market_ref: int = 78,
    ) -> None:
        order, old = self.orders.get(ref), self.orders.get(orig)
        if order and order.state is not State.PENDING:
            self.counters["responses_out_of_state"] += 1
            return
        if old is order:
            old = None
        if old and old.is_open:
            old.state, old.leaves, old.asked = State.REPLACED, 0, 0
        if self._known(ref) is None or order is None:
            return
        if old:
            order.executed = old.executed
        self._taken(order, leaves, price, market_ref)
        self._tell(Happened.REPLACED, order, leaves)
        self._dead(order, live)

    def _trade(self, order: Order, quantity: int, price: int, sign: int) -> None:
        holding = self.holdings[order.book]
        holding.quantity += sign * order.sign * quantity
        holding.cash -= sign * order.sign * quantity * price
        holding.day_quantity += sign * quantity
        holding.day_notional += sign * quantity * price

    def _place_of(self, ref: int, match: int) -> int:
        """Where the table of executions has this one, in the place of another with its hash."""
        return ((match ^ (ref * MIX & U64)) * MIX & U64) >> (64 - EXECUTION_BITS)

    def executed(self, ref: int, quantity: int, price: int, match: int) -> None:
        if not (order := self._known(ref)):
            return
        place = self._place_of(ref, match)
        if self.executions.get(place, [0])[:2] == [ref, match]:
            self.counters["executions_repeated"] += 1
            return
        self.executions[place] = [ref, match, quantity, price]
        self.counters["executions"] += 1
        self._trade(order, quantity, price, 1)
        order.executed += quantity
        self._tell(Happened.EXECUTED, order, quantity, price)
        if not order.is_open:
            self.counters["executions_after_close"] += 1
            return
        self.counters["executions_over_leaves"] += quantity > order.leaves
        order.leaves, order.state = max(0, order.leaves - quantity), State.PARTIALLY_FILLED
        if not order.leaves:
            self._close(order, State.FILLED)

    def _execution(self, ref: int, match: int) -> list[int] | None:
        found = self.executions.get(self._place_of(ref, match))
        if found is None or found[:2] != [ref, match] or not found[2]:
            self.counters["executions_broken_unknown"] += 1
            return None
        return found

    def broken(self, ref: int, match: int) -> None:
        if not (order := self._known(ref)) or not (found := self._execution(ref, match)):
            return
        _, _, quantity, price = found
        found[2] = 0
        self.counters["executions_broken"] += 1
        self._trade(order, quantity, price, -1)
        order.executed -= min(quantity, order.executed)
        if not order.is_open:
            order.state = State.BROKEN
        self._tell(Happened.BROKEN, order, quantity, price)

    def corrected(self, ref: int, quantity: int, price: int, match: int) -> None:
        if not (order := self._known(ref)) or not (found := self._execution(ref, match)):
            return
        self._trade(order, found[2], found[3], -1)
        self._trade(order, quantity, price, 1)
        order.executed += quantity - min(found[2], order.executed)
        found[2:] = [quantity, price]
        self._tell(Happened.EXECUTED, order, 0, price)

    def canceled(self, ref: int, quantity: int) -> None:
        if order := self._in_state(ref, "open"):
            taken = min(quantity, order.leaves)
            self._tell(Happened.CANCELLED, order, taken)
            order.asked &= ~ASKED[CANCEL]
            order.quantity -= min(taken, order.quantity)
            order.leaves -= taken
            if not order.leaves:
                self._close(order, State.CANCELLED)

    prevented = canceled

    def modified(self, ref: int, leaves: int) -> None:
        if order := self._in_state(ref, "open"):
            self._tell(Happened.MODIFIED, order, leaves)
            order.asked &= ~ASKED[MODIFY]
            order.leaves, order.quantity = leaves, order.executed + leaves
            if not leaves:
                self._close(order, State.CANCELLED)

    def rejected(self, ref: int) -> None:
        if not (order := self._in_state(ref, "pending")):
            return
        self._tell(Happened.REJECTED, order, order.quantity)
        self._close(order, State.REJECTED)
        old = self.orders.get(order.replaces)
        if old and old.replaced_by == ref:
            old.replaced_by = 0
            old.asked &= ~ASKED[REPLACE]

    def cancel_rejected(self, ref: int) -> None:
        if order := self._in_state(ref, "open"):
            order.asked &= ~(ASKED[CANCEL] | ASKED[MODIFY])
            self._tell(Happened.CANCEL_REJECTED, order, order.leaves)

    def moved(self, ref: int, price: int, market_ref: int = 79) -> None:
        if order := self._in_state(ref, "open"):
            order.market_ref, order.price = market_ref, min(max(price, 1), U32)

    def cancel_pending(self, ref: int) -> None:
        """Nothing changes: the cancel is done later, or rejected."""
