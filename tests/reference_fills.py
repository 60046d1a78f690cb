"""The reference's fill models: who answers own orders in a replay, order by order.

Written from the docstring of `tickpath.fills`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reference_orders import Desk, Own

BID, OFFER = 0, 1
BOOK, TRADE, TOP, BROKEN = 1, 2, 2, 4
"""Kinds of event that say that a book has changed, and flags: of a touch, of a void trade."""
MARKET_PRICE = 0x7FFFFFFF


class Fills:
    """``touch``, ``through`` or ``queue``; ``exchange`` does nothing."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.reference = desk, desk.reference
        config = desk.reference.config
        self.model = config.fills.model
        ioc = {"ouch50": "3", "ouch42": "0"}[config.orders.protocol]
        self.immediate = str(config.orders.time_in_force) == ioc

    # ------------------------------------------------------------ answers at once

    def answer_new(self, order: Own) -> None:
        if self.model != "exchange":
            self.desk.accepted(order)
            self._enter(order)

    def answer_replace(self, old: Own, order: Own) -> None:
        if self.model != "exchange":
            self.desk.replaced(old, order)
            self._enter(order)

    def answer_less(self, order: Own, quantity: int, is_cancel: bool) -> None:
        """``quantity`` shares in total are to stay."""
        if self.model == "exchange":
            return
        leaves = min(max(0, quantity - order.executed), order.leaves)
        if is_cancel:
            self.desk.cancelled(order, order.leaves - leaves)
        else:
            self.desk.modified(order, leaves)

    def _enter(self, order: Own) -> None:
        touch = self._touch(order)
        trades = order.is_open and self._trades(order.book)
        if trades and touch is not None and _reaches(order, touch):
            self._execute(order, min(order.leaves, self._shown(order)), touch)
        if not order.is_open:
            return
        if self.immediate or order.price == MARKET_PRICE:
            self.desk.cancelled(order, order.leaves)
        else:
            side = BID if order.is_buy else OFFER
            order.ahead = self.reference.level(order.book, side, order.price)[1]

    # ------------------------------------------------------------ orders that wait

    def before(self, ref: int, shares: int, is_execution: bool) -> None:
        """A message is about to take shares off a market order."""
        market = self.reference.orders.get(ref)
        if self.model != "queue" or market is None:
            return
        shares = min(shares, market.quantity)
        for order in self.desk.open_orders(market.book, market.side == BID):
            if order.price != market.price or order.book != market.book:
                continue
            beyond = shares - order.ahead
            if is_execution or self.reference.age_of(ref) <= order.newest_ref:
                order.ahead = max(0, order.ahead - shares)
            if is_execution and beyond > 0:
                self._execute(order, min(beyond, order.leaves), order.price)

    def after(self, kind: int, book: int, flags: int) -> None:
        """A message changed a book or printed a trade."""
        if self.model == "exchange" or not self._trades(book):
            return
        if kind != TRADE and not (kind == BOOK and flags & TOP):
            return
        record, printed = self.reference.books[book], None
        # A trade is seen by its print; one that is broken or not printed leaves the last as it was.
        if kind == TRADE and not flags & BROKEN and record.last_ts == self.reference.time:
            printed = record.last_px or None
        for is_buy in (True, False):
            for order in self.desk.open_orders(book, is_buy):
                if order.book != book:
                    continue
                touch = self._touch(order)
                if self.model == "touch":
                    if touch is not None and _reaches(order, touch):
                        self._execute(order, min(order.leaves, self._shown(order)), order.price)
                elif _is_beyond(order, touch) or _is_beyond(order, printed):
                    self._execute(order, order.leaves, order.price)

    def _trades(self, book: int) -> bool:
        """Not halted or paused."""
        status = self.reference.books[book].status
        return status["trading_state"] not in b"HP" and not status["operational_halt"]

    def _touch(self, order: Own) -> int | None:
        """The other side's best price."""
        return self.reference.best(order.book, OFFER if order.is_buy else BID)

    def _shown(self, order: Own) -> int:
        return self.reference.top(order.book, OFFER if order.is_buy else BID)[1]

    def _execute(self, order: Own, quantity: int, price: int) -> None:
        self.reference.counters["assumed_fills"] += 1
        self.desk.fill(order, quantity, price)


def _reaches(order: Own, price: int) -> bool:
    if order.price == MARKET_PRICE:
        return True
    return order.price >= price if order.is_buy else order.price <= price


def _is_beyond(order: Own, price: int | None) -> bool:
    """True where a price is better for the order than its own."""
    if price is None:
        return False
    return price < order.price if order.is_buy else price > order.price
