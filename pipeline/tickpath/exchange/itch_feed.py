"""What the market sees: matching's events as ITCH 5.0 messages.

A hidden order is seen only when it trades; a reserve order is the part that it shows; an order that
trades on arrival is seen by the trades of those that were there, and what is left of it by an add.
The invariant: whoever applies the messages has exactly the displayed books of `matching`, after
every request (the engine does so in the tests).

Trades of hidden orders say buy and reference 0, as the feed has since 2014.
"""

from collections.abc import Callable, Iterable

from tickpath.exchange.book import Book
from tickpath.exchange.event import (
    BUY,
    Broken,
    Canceled,
    Event,
    Executed,
    Listed,
    Prevented,
    Refreshed,
    Replaced,
    Repriced,
    Rested,
    StateChanged,
)
from tickpath.exchange.packing import Packing, halves, padded
from tickpath.wire.itch50 import ITCH50

TRACKING = 0
"""Tracking number of every message: it numbers the venue's insides, of which there are none."""

_ADD = Packing(ITCH50["add_order_no_mpid_attribution"])
_ATTRIBUTED = Packing(ITCH50["add_order_with_mpid_attribution"])
_EXECUTED = Packing(ITCH50["order_executed"])
_PRICED = Packing(ITCH50["order_executed_with_price"])
_CANCEL = Packing(ITCH50["order_cancel"])
_DELETE = Packing(ITCH50["order_delete"])
_REPLACE = Packing(ITCH50["order_replace"])
_TRADE = Packing(ITCH50["non_cross_trade"])
_BROKEN = Packing(ITCH50["broken_trade"])
_EVENT = Packing(ITCH50["system_event"])
_DIRECTORY = Packing(ITCH50["stock_directory"])
_ACTION = Packing(ITCH50["stock_trading_action"])
_SHORT_SALE = Packing(ITCH50["reg_sho_short_sale_price_test_restricted_indicator"])
_STOCK = ITCH50["stock_directory"]["stock"].size
_ATTRIBUTION = ITCH50["add_order_with_mpid_attribution"]["attribution"].size

START, END = "OSQ", "MEC"
"""System events that open and close a day, in order."""
SIDES = (b"B", b"S")
_YES_NO = (b"N", b"Y")


class ItchFeed:
    """Encodes events; knows of the books only the names of their symbols."""

    def __init__(self, books: dict[int, Book]) -> None:
        self._books = books
        self._stocks: dict[int, bytes] = {}
        self._say: dict[type, Callable[..., bytes | None]] = {
            Rested: self._rested,
            Executed: self._executed,
            Canceled: self._canceled,
            Replaced: self._replaced,
            Refreshed: self._refreshed,
            Repriced: self._repriced,
            Prevented: self._prevented,
            Broken: self._broken,
            StateChanged: self._state,
        }

    def messages(self, events: Iterable[Event], now_ns: int) -> list[bytes]:
        """What the market is told of ``events``, all at the same time since midnight."""
        high, low = halves(now_ns)
        said = []
        for event in events:
            say = self._say.get(type(event))
            if isinstance(event, Listed):
                said += self.listed(event.locate, now_ns)
            elif say is not None and (message := say(event, high, low)) is not None:
                said.append(message)
        return said

    def opening(self, now_ns: int) -> list[bytes]:
        """The start of the day: system events, then every symbol."""
        said = [self._system(START[0], now_ns)]
        for locate in self._books:
            said += self.listed(locate, now_ns)
        return said + [self._system(code, now_ns) for code in START[1:]]

    def listed(self, locate: int, now_ns: int) -> list[bytes]:
        """A symbol's entry in the directory, its trading state, its short-sale price test."""
        book = self._books[locate]
        high, low = halves(now_ns)
        header = {"stock_locate": locate, "timestamp_high": high, "timestamp_low": low}
        directory = _DIRECTORY.encode(
            **header,
            stock=book.stock,
            market_category="Q",
            financial_status_indicator="N",
            round_lot_size=100,
            round_lots_only="N",
            issue_classification="C",
            authenticity="T",
            short_sale_threshold_indicator="N",
            ipo_flag="N",
            luld_reference_price_tier="1",
            etp_flag="N",
            inverse_indicator="N",
        )
        header["locate_code"] = header.pop("stock_locate")
        short_sale = _SHORT_SALE.encode(**header, stock=book.stock, reg_sho_action="0")
        state = self._state(StateChanged(locate, book.state, ""), high, low)
        return [directory, state, short_sale]

    def snapshot(self, now_ns: int, is_over: bool) -> list[bytes]:
        """What somebody must know who joins now: all that is said of symbols, and open orders."""
        said = self.opening(now_ns) + (self.closing(now_ns) if is_over else [])
        high, low = halves(now_ns)
        for book in self._books.values():
            for side in range(len(book.sides)):
                for o in book.orders(side):
                    terms = o.terms
                    added = self._add(
                        o.locate, o.ref, side, o.shown, o.price, terms.attribution, high, low
                    )
                    said += [added] if added is not None else []
        return said

    def closing(self, now_ns: int) -> list[bytes]:
        """The end of the day."""
        return [self._system(code, now_ns) for code in END]

    # ------------------------------------------------------------ one message each

    def _system(self, code: str, now_ns: int) -> bytes:
        return _EVENT.pack(_EVENT.type, 0, TRACKING, *halves(now_ns), code.encode())

    def _stock(self, locate: int) -> bytes:
        stock = self._stocks.get(locate)
        if stock is None:
            stock = self._stocks[locate] = padded(self._books[locate].stock, _STOCK)
        return stock

    def _add(
        self,
        locate: int,
        ref: int,
        side: int,
        shown: int,
        price: int,
        attribution: bytes,
        high: int,
        low: int,
    ) -> bytes | None:
        if not shown:
            return None
        values = (locate, TRACKING, high, low, ref, SIDES[side], shown, self._stock(locate), price)
        if attribution:
            mpid = padded(attribution, _ATTRIBUTION)
            return _ATTRIBUTED.pack(_ATTRIBUTED.type, *values, mpid)
        return _ADD.pack(_ADD.type, *values)

    def _rested(self, e: Rested, high: int, low: int) -> bytes | None:
        return self._add(e.locate, e.ref, e.side, e.shown, e.price, e.attribution, high, low)

    def _refreshed(self, e: Refreshed, high: int, low: int) -> bytes | None:
        said = e.terms.attribution
        return self._add(e.locate, e.ref, e.side, e.shown, e.price, said, high, low)

    def _executed(self, e: Executed, high: int, low: int) -> bytes:
        header = (e.locate, TRACKING, high, low)
        if not e.is_shown:
            stock = self._stock(e.locate)
            return _TRADE.pack(
                _TRADE.type, *header, 0, SIDES[BUY], e.quantity, stock, e.price, e.match_number
            )
        if e.price == e.resting_price and e.is_printable:
            return _EXECUTED.pack(_EXECUTED.type, *header, e.ref, e.quantity, e.match_number)
        printable = _YES_NO[e.is_printable]
        return _PRICED.pack(
            _PRICED.type, *header, e.ref, e.quantity, e.match_number, printable, e.price
        )

    def _gone(
        self, locate: int, ref: int, shown: int, is_whole: bool, high: int, low: int
    ) -> bytes | None:
        """``shown`` shares are no longer seen of an order, or it is not seen at all."""
        if not shown:
            return None
        if is_whole:
            return _DELETE.pack(_DELETE.type, locate, TRACKING, high, low, ref)
        return _CANCEL.pack(_CANCEL.type, locate, TRACKING, high, low, ref, shown)

    def _canceled(self, e: Canceled, high: int, low: int) -> bytes | None:
        return self._gone(e.locate, e.ref, e.shown, e.leaves == 0, high, low)

    def _prevented(self, e: Prevented, high: int, low: int) -> bytes | None:
        return self._gone(e.locate, e.ref, e.shown, True, high, low)

    def _replaced(self, e: Replaced, high: int, low: int) -> bytes | None:
        if e.is_carried:
            return self._moved(e.locate, e.old_ref, e.ref, e.shown, e.price, high, low)
        hidden_now = e.old_shown - e.shown if e.is_kept else e.old_shown
        return self._gone(e.locate, e.old_ref, hidden_now, not e.is_kept, high, low)

    def _repriced(self, e: Repriced, high: int, low: int) -> bytes | None:
        if not e.shown:
            return None
        return self._moved(e.locate, e.old_ref, e.ref, e.shown, e.price, high, low)

    def _moved(
        self, locate: int, old_ref: int, ref: int, shown: int, price: int, high: int, low: int
    ) -> bytes:
        return _REPLACE.pack(_REPLACE.type, locate, TRACKING, high, low, old_ref, ref, shown, price)

    def _broken(self, e: Broken, high: int, low: int) -> bytes:
        return _BROKEN.pack(_BROKEN.type, e.locate, TRACKING, high, low, e.match_number)

    def _state(self, e: StateChanged, high: int, low: int) -> bytes:
        return _ACTION.encode(
            stock_locate=e.locate,
            tracking_number=TRACKING,
            timestamp_high=high,
            timestamp_low=low,
            stock=self._stock(e.locate),
            trading_state=e.state,
            reason=e.cause,
        )
