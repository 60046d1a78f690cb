"""Price-time matching of many symbols: requests in, events out, nothing else.

Looked at on PyPI and not used: liquibook 2.0.1 (no hidden or reserve orders, a call into Python per
change, no state to restore), order-matching 0.12.0 (data frames and floats), fastlob 0.0.24
(decimals, alpha), lobpy 2.1.0 (no matching, GPL), limit-order-book 2.0.0 (no events, unkept),
obook 0.1.0 and matching-engine 0.1.1 (first releases).

An order trades at the price of the one that was there first.  At a price, displayed orders come
before hidden ones, and older before newer; a change that is not only fewer shares loses the place.
After every request a book is uncrossed, and every share that was asked for is traded, resting or
reported as cancelled.  Time, chance and bytes are other modules': equal requests in equal order
give equal events.
"""

from collections import OrderedDict

from tickpath.exchange.book import (
    HALTED,
    MAX_PRICE,
    TRADING,
    Book,
    Order,
    is_on_tick,
    key_of,
    price_beside,
)
from tickpath.exchange.error import ExchangeError
from tickpath.exchange.event import (
    ANONYMOUS,
    BUY,
    Accepted,
    Broken,
    Canceled,
    Event,
    Executed,
    Prevented,
    Refreshed,
    Rejected,
    Replaced,
    Repriced,
    Rested,
    StateChanged,
)
from tickpath.exchange.reason import Reason, Why
from tickpath.exchange.terms import ALLOW, CANCEL_RESTING, PLAIN, Terms

MAX_SHARES = 999_999
"""Most shares of one order."""
MARKET_KEY = -(1 << 62)
"""A limit that every price meets."""
MAX_LOCATE = 65_535
SUPERVISORY = "S"
"""Why a trade is broken unless something else is said."""


class Matching:
    """All books.  ``orders`` holds every live order by reference."""

    def __init__(self, *, max_orders: int = 1 << 20, max_trades: int = 1 << 16) -> None:
        """``max_orders`` live ones are held; the last ``max_trades`` trades can be broken."""
        self.max_orders, self.max_trades = max_orders, max_trades
        self.books: dict[int, Book] = {}
        self.locates: dict[str, int] = {}
        self.orders: dict[int, Order] = {}
        self.trades: OrderedDict[int, Executed] = OrderedDict()
        self._last_ref = self._last_match = 0

    # ------------------------------------------------------------ symbols

    def list_symbol(self, stock: str) -> int:
        """A new symbol, open for trading; its locate.  Raises `ExchangeError`."""
        locate = len(self.books) + 1
        if stock in self.locates or locate > MAX_LOCATE:
            raise ExchangeError(f"symbol {stock!r}: is listed already, or no locate is left")
        self.books[locate] = Book(locate, stock)
        self.locates[stock] = locate
        return locate

    def set_state(self, locate: int, state: str, cause: str = "") -> list[Event]:
        """Change a symbol's trading state.

        Everything is allowed in ``T``, and nothing but cancels in ``H``.  In between, paused or
        quoted only (``P``, ``Q``), an order is refused that would trade, or that cannot rest.
        """
        self.books[locate].state = state
        return [StateChanged(locate, state, cause), *self._reprice(self.books[locate])]

    # ------------------------------------------------------------ requests

    def enter(
        self,
        locate: int,
        side: int,
        quantity: int,
        price: int,
        terms: Terms = PLAIN,
        owner: int = ANONYMOUS,
    ) -> list[Event]:
        """A new order; ``price`` means nothing to one without a limit."""
        reason = self._refusal(locate, side, quantity, price, terms)
        if reason is not None:
            return [Rejected(owner, locate, reason)]
        order = Order(self._new_ref(), owner, locate, side, quantity, price, terms)
        events: list[Event] = [Accepted(order.ref, owner, locate, side, quantity, price)]
        self._place(self.books[locate], order, events)
        return events

    def cancel(self, ref: int, why: Why = Why.USER) -> list[Event]:
        """Remove all that is left of an order."""
        return self.reduce(ref, 0, why)

    def reduce(self, ref: int, leaves: int, why: Why = Why.USER) -> list[Event]:
        """Leave at most ``leaves`` shares of an order; it keeps its place.

        No event where it has no more than that.
        """
        order = self.orders.get(ref)
        if order is None:
            return [Rejected(ANONYMOUS, 0, Reason.ORDER)]
        quantity = order.leaves - leaves
        if quantity <= 0:
            return []
        book = self.books[order.locate]
        shown = order.shown - min(order.shown, leaves)
        order.leaves, order.shown = leaves, order.shown - shown
        if not leaves:
            self._remove(book, order)
        event = Canceled(ref, order.owner, order.locate, quantity, leaves, shown, why, True)
        return [event, *self._reprice(book)]

    def replace(
        self,
        ref: int,
        quantity: int,
        price: int,
        terms: Terms = PLAIN,
        keeps_place: bool = True,
    ) -> list[Event]:
        """Turn an order into one of ``quantity`` open shares at ``price``.

        The reference and the place in the queue stay where nothing changes but the size, and that
        downwards; with ``keeps_place`` false they never do.  A request that is refused changes
        nothing.
        """
        old = self.orders.get(ref)
        if old is None:
            return [Rejected(ANONYMOUS, 0, Reason.ORDER)]
        reason = self._refusal(old.locate, old.side, quantity, price, terms)
        if reason is not None:
            return [Rejected(old.owner, old.locate, reason)]
        is_same = old.price == old.limit == price and old.terms == terms
        if keeps_place and is_same and quantity <= old.leaves:
            return self._shrink(old, quantity)
        return self._exchange(old, quantity, price, terms)

    def execute(
        self, ref: int, quantity: int, price: int, is_printable: bool = True
    ) -> list[Event]:
        """Trade a resting order with an anonymous one at any price, whatever its place.

        For recorded trades that no book explains, such as those of a cross; at most what is left
        is traded.
        """
        order = self.orders.get(ref)
        if order is None or quantity <= 0:
            return [Rejected(ANONYMOUS, 0, Reason.ORDER)]
        book, quantity = self.books[order.locate], min(quantity, order.leaves)
        incoming = Order(
            self._new_ref(), ANONYMOUS, order.locate, order.side ^ 1, quantity, price, PLAIN
        )
        events: list[Event] = []
        self._trade(book, order, incoming, quantity, price, events, is_printable)
        return [*events, *self._reprice(book)]

    def print_trade(self, locate: int, quantity: int, price: int) -> list[Event]:
        """A recorded trade of hidden orders: it touches no book."""
        self._last_match += 1
        trade = Executed(
            self._last_match, locate, quantity, price, 0, ANONYMOUS, BUY, False, 0, 0, ANONYMOUS, 0,
            price, True,
        )  # fmt: skip
        self._remember(trade)
        return [trade]

    def break_trade(self, match_number: int, reason: str = SUPERVISORY) -> list[Event]:
        """Undo a trade that is still remembered, once."""
        trade = self.trades.pop(match_number, None)
        if trade is None:
            return [Rejected(ANONYMOUS, 0, Reason.ORDER)]
        t = trade
        return [
            Broken(t.match_number, t.locate, t.quantity, t.price, t.ref, t.owner, t.side,
                   t.incoming_ref, t.incoming_owner, reason)
        ]  # fmt: skip

    @property
    def trade_count(self) -> int:
        """Trades so far, which is the latest match number."""
        return self._last_match

    # ------------------------------------------------------------ how it is done

    def _new_ref(self) -> int:
        self._last_ref += 1
        return self._last_ref

    def _refusal(
        self, locate: int, side: int, quantity: int, price: int, terms: Terms
    ) -> Reason | None:
        book = self.books.get(locate)
        if book is None:
            return Reason.SYMBOL
        if book.state == HALTED:
            return Reason.HALTED
        if not 1 <= quantity <= MAX_SHARES:
            return Reason.QUANTITY
        if not terms.is_market and not (1 <= price <= MAX_PRICE and is_on_tick(price)):
            return Reason.PRICE
        if len(self.orders) >= self.max_orders:
            return Reason.FULL
        if book.state != TRADING and not self._only_rests(book, side, price, terms):
            return Reason.HALTED
        return terms.conflict(quantity) if terms is not PLAIN else None

    def _only_rests(self, book: Book, side: int, price: int, terms: Terms) -> bool:
        if terms.is_immediate or terms.is_market:
            return False
        keys = book.sides[side ^ 1].keys
        return terms.is_post_only or not keys or keys[-1] < key_of(side ^ 1, price)

    def _place(self, book: Book, order: Order, events: list[Event]) -> None:
        """Let a new order take what it may, and rest what is left of it."""
        terms = order.terms
        limit = MARKET_KEY if terms.is_market else key_of(order.side ^ 1, order.price)
        if terms.is_post_only and not self._stand_aside(book, order, limit):
            events.append(_given_up(order, Why.POST_ONLY))
            order.leaves = 0
        elif not terms.is_post_only and book.can_take(order.side, limit, terms.min_quantity):
            self._take(book, order, limit, events)
        if order.leaves and (terms.is_immediate or terms.is_market):
            events.append(_given_up(order, Why.IMMEDIATE))
        elif order.leaves:
            self._rest(book, order)
            events.append(_rested(order))
        if book.slid:
            events += self._reprice(book)

    def _stand_aside(self, book: Book, order: Order, limit: int) -> bool:
        """Move a post-only order beside what it would meet; False where there is no price left."""
        keys = book.sides[order.side ^ 1].keys
        if not keys or keys[-1] < limit:
            return True
        price = price_beside(order.side, key_of(order.side ^ 1, keys[-1]))
        if price < 1:
            return False
        order.move(price)
        return True

    def _take(self, book: Book, order: Order, limit: int, events: list[Event]) -> None:
        """Trade an incoming order with the best of the other side, first in first, up to a limit.

        Every turn trades a share or removes an order.
        """
        side, prevention = book.sides[order.side ^ 1], order.terms.prevention
        keys, levels = side.keys, side.levels
        while order.leaves and keys and keys[-1] >= limit:
            level = levels[keys[-1]]
            resting = next(iter((level.shown or level.hidden).values()))
            if prevention != ALLOW and resting.owner == order.owner:
                self._prevent(book, resting, order, events)
            else:
                quantity = min(order.leaves, resting.shown or resting.leaves)
                self._trade(book, resting, order, quantity, resting.price, events)

    def _trade(
        self,
        book: Book,
        resting: Order,
        incoming: Order,
        quantity: int,
        price: int,
        events: list[Event],
        is_printable: bool = True,
    ) -> None:
        is_shown = resting.shown > 0
        resting.leaves -= quantity
        incoming.leaves -= quantity
        if is_shown:
            resting.shown -= quantity
        self._last_match += 1
        trade = Executed(
            self._last_match,
            book.locate,
            quantity,
            price,
            resting.ref,
            resting.owner,
            resting.side,
            is_shown,
            resting.leaves,
            incoming.ref,
            incoming.owner,
            incoming.leaves,
            resting.price,
            is_printable,
        )
        events.append(trade)
        self._remember(trade)
        if not resting.leaves:
            self._remove(book, resting)
        elif is_shown and not resting.shown:
            events.append(Refreshed(resting.ref, *self._renamed(book, resting, resting.price)))

    def _remember(self, trade: Executed) -> None:
        self.trades[trade.match_number] = trade
        if len(self.trades) > self.max_trades:
            self.trades.popitem(last=False)

    def _renamed(self, book: Book, order: Order, price: int) -> tuple:
        """Put an order with a new reference at the end of a queue; how it stands there."""
        self._remove(book, order)
        order.ref = self._new_ref()
        order.move(price)
        self._rest(book, order)
        return tuple(getattr(order, name) for name in Repriced._fields[1:])

    def _rest(self, book: Book, order: Order) -> None:
        order.show()
        book.join(order)
        self.orders[order.ref] = order
        if order.price != order.limit:
            book.slid[order.ref] = order

    def _remove(self, book: Book, order: Order) -> None:
        book.leave(order)
        if book.slid:
            book.slid.pop(order.ref, None)
        del self.orders[order.ref]

    def _prevent(self, book: Book, resting: Order, incoming: Order, events: list[Event]) -> None:
        """Remove one of two orders of the same owner that would trade."""
        is_resting = incoming.terms.prevention == CANCEL_RESTING
        removed = resting if is_resting else incoming
        quantity = min(resting.leaves, incoming.leaves)
        events.append(
            Prevented(
                removed.ref,
                removed.owner,
                book.locate,
                removed.leaves,
                removed.shown if is_resting else 0,
                quantity,
                resting.price,
                is_resting,
            )
        )
        if is_resting:
            self._remove(book, resting)
        removed.leaves = removed.shown = 0

    def _shrink(self, order: Order, quantity: int) -> list[Event]:
        old_shown = order.shown
        order.leaves, order.shown = quantity, min(order.shown, quantity)
        return [_replaced(order.ref, order, quantity, old_shown, order.shown, is_kept=True)]

    def _exchange(self, old: Order, quantity: int, price: int, terms: Terms) -> list[Event]:
        """A replacement that takes its turn as a new order would."""
        book, side = self.books[old.locate], old.side
        self._remove(book, old)
        order = Order(self._new_ref(), old.owner, old.locate, side, quantity, price, terms)
        followed: list[Event] = []
        self._place(book, order, followed)
        if (
            type(followed[0]) is Rested
            and old.shown
            and order.shown
            and terms.attribution == old.terms.attribution
        ):
            said = _replaced(old.ref, order, quantity, old.shown, order.shown, is_carried=True)
            return [said, *followed[1:]]
        return [_replaced(old.ref, order, quantity, old.shown, 0), *followed]

    def _reprice(self, book: Book) -> list[Event]:
        """Move the orders that stand aside as near to their limits as the book now allows."""
        events: list[Event] = []
        if not book.slid or book.state != TRADING:
            return events
        for order in list(book.slid.values()):
            opposite, wanted = book.best(order.side ^ 1), order.limit
            if opposite and key_of(order.side, wanted) >= key_of(order.side, opposite):
                wanted = price_beside(order.side, opposite)
            if key_of(order.side, wanted) > order.key:
                events.append(Repriced(order.ref, *self._renamed(book, order, wanted)))
        return events


def _given_up(order: Order, why: Why) -> Canceled:
    """What is left of an order that does not come to rest."""
    return Canceled(order.ref, order.owner, order.locate, order.leaves, 0, 0, why, False)


def _rested(order: Order) -> Rested:
    return Rested(
        order.ref,
        order.owner,
        order.locate,
        order.side,
        order.leaves,
        order.shown,
        order.price,
        order.terms.attribution,
    )


def _replaced(
    old_ref: int,
    order: Order,
    quantity: int,
    old_shown: int,
    shown: int,
    is_kept: bool = False,
    is_carried: bool = False,
) -> Replaced:
    return Replaced(
        old_ref,
        order.ref,
        order.owner,
        order.locate,
        order.side,
        quantity,
        order.price,
        old_shown,
        shown,
        is_kept,
        is_carried,
    )
