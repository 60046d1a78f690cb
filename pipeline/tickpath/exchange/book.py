"""One symbol's book: queues of orders at prices, displayed before hidden, oldest first.

A side is a sorted list of keys, best last, and a level of two queues behind each.  A key is a price
made larger when better on either side (`key_of`), so that both sides are one piece of code.  The
queues are ordered dicts: taking the first, appending and removing any one take constant time;
opening or closing a level costs a binary search and the move of the better keys, which are few.
"""

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator

from tickpath.exchange.event import BUY, SELL
from tickpath.exchange.terms import Terms

DOLLAR = 10_000
CENT = 100
MAX_PRICE = 1_999_999_900
"""Highest price of a limit order, in 1e-4: $199,999.99."""
TRADING, HALTED = "T", "H"
"""Trading states, in ITCH's codes."""


def key_of(side: int, price: int) -> int:
    """A price as a number that is larger when better; ``key_of(side, key)`` is the price again."""
    return price if side == BUY else -price


def is_on_tick(price: int) -> bool:
    """True for what a displayed order may have: a cent, or 1e-4 below a dollar."""
    return price < DOLLAR or price % CENT == 0


def price_beside(side: int, opposite: int) -> int:
    """The best price of a side that does not meet ``opposite``; 0 where there is none."""
    if side == BUY:
        return opposite - (CENT if opposite > DOLLAR else 1)
    return opposite + (CENT if opposite >= DOLLAR else 1) if opposite < MAX_PRICE else 0


class Order:
    """An order that can still trade.

    ``leaves`` is what is left of it, ``shown`` the part of that the market sees: all, the displayed
    part of a reserve order, or none of a hidden one.  ``limit`` is the price that was asked for
    where ``price``, at which it stands, is a worse one (post only).
    """

    __slots__ = (
        "key", "leaves", "limit", "locate", "owner", "price", "ref", "shown", "side", "terms",
    )  # fmt: skip

    def __init__(
        self, ref: int, owner: int, locate: int, side: int, leaves: int, price: int, terms: Terms
    ) -> None:
        self.ref, self.owner, self.locate, self.side = ref, owner, locate, side
        self.leaves, self.shown = leaves, leaves
        self.price, self.limit, self.key = price, price, key_of(side, price)
        self.terms = terms

    @property
    def is_aside(self) -> bool:
        """True where it stands at a worse price than its limit."""
        return self.price != self.limit

    def move(self, price: int) -> None:
        """Stand at another price."""
        self.price, self.key = price, key_of(self.side, price)

    def show(self) -> None:
        """Set ``shown`` for an order that joins a queue."""
        if self.terms.is_hidden:
            self.shown = 0
        else:
            self.shown = min(self.terms.max_floor or self.leaves, self.leaves)


class Level:
    """The two queues of a price, orders by reference."""

    __slots__ = ("hidden", "shown")

    def __init__(self) -> None:
        self.shown: OrderedDict[int, Order] = OrderedDict()
        self.hidden: OrderedDict[int, Order] = OrderedDict()


class BookSide:
    """Bids or offers."""

    __slots__ = ("keys", "levels")

    def __init__(self) -> None:
        self.keys: list[int] = []
        self.levels: dict[int, Level] = {}


class Book:
    """The two sides, and whether the symbol trades."""

    __slots__ = ("locate", "sides", "slid", "state", "stock")

    def __init__(self, locate: int, stock: str) -> None:
        self.locate, self.stock = locate, stock
        self.sides = (BookSide(), BookSide())
        self.state = TRADING
        self.slid: dict[int, Order] = {}
        """Orders that stand aside."""

    def best(self, side: int) -> int:
        """Best price of a side, 0 where it is empty."""
        keys = self.sides[side].keys
        return key_of(side, keys[-1]) if keys else 0

    def join(self, order: Order) -> None:
        """Put an order at the end of its queue."""
        side, key = self.sides[order.side], order.key
        level = side.levels.get(key)
        if level is None:
            level = side.levels[key] = Level()
            keys = side.keys
            if keys and keys[-1] > key:
                keys.insert(bisect_left(keys, key), key)
            else:
                keys.append(key)
        (level.hidden if order.terms.is_hidden else level.shown)[order.ref] = order

    def leave(self, order: Order) -> None:
        """Take an order out of its queue."""
        side, key = self.sides[order.side], order.key
        level = side.levels[key]
        del (level.hidden if order.terms.is_hidden else level.shown)[order.ref]
        if not level.shown and not level.hidden:
            del side.levels[key]
            keys = side.keys
            if keys[-1] == key:
                keys.pop()
            else:
                del keys[bisect_left(keys, key)]

    def can_take(self, side: int, limit: int, quantity: int) -> bool:
        """Whether an order of ``side`` finds so many shares up to key ``limit``."""
        opposite, found = self.sides[side ^ 1], 0
        for key in reversed(opposite.keys):
            if key < limit or found >= quantity:
                break
            level = opposite.levels[key]
            for queue in (level.shown, level.hidden):
                found += sum(order.leaves for order in queue.values())
        return found >= quantity

    def orders(self, side: int) -> Iterator[Order]:
        """Orders in the sequence in which they would trade."""
        levels = self.sides[side].levels
        for key in reversed(self.sides[side].keys):
            yield from levels[key].shown.values()
            yield from levels[key].hidden.values()

    def depth(self, side: int) -> list[tuple[int, int, int]]:
        """What the market sees: (price, shares, orders) of each level, best first."""
        levels, rows = self.sides[side].levels, []
        for key in reversed(self.sides[side].keys):
            if queue := levels[key].shown:
                rows.append((key_of(side, key), sum(o.shown for o in queue.values()), len(queue)))
        return rows

    def check(self) -> None:
        """Assert what must hold between any two operations."""
        bid, offer = self.best(BUY), self.best(SELL)
        assert not bid or not offer or bid < offer, (self.stock, bid, offer)
        for side in self.sides:
            assert side.keys == sorted(side.levels) and all(
                level.shown or level.hidden for level in side.levels.values()
            ), self.stock
