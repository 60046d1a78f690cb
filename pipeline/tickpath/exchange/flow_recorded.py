"""Recorded flow: the orders of an ITCH 5.0 file, entered again by anonymous participants.

    add           a limit order: it trades where it meets somebody, which in the recording it did
                  not unless orders of ours stand in its way
    execution     an immediate order against the recorded one, of its size and at its price.  It
                  takes its turn: an order of ours that stands before the recorded one is filled in
                  its place, and the recorded one is left with what it had.  Where nothing is left
                  at the price, because ours was there first, its shares stay unfilled and counted
    execution at  a trade of the recorded order itself, at the recorded price, whoever stands
    a price       before it: no book explains these (crosses, price improvement)
    cancel        at most what is left; delete, replace likewise.  What is gone is counted
    hidden trade  is published as it was, and meets nobody
    broken trade  breaks the trade that its execution became
    halts         change the symbol's state; system events, imbalances and the rest are passed over

So a recording alone gives its own books again; orders of ours change what they change, and the
recorded shares that they took away keep standing until a recorded execution or delete finds them.
Time is the recording's, from its first order on, at ``speed``.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

from tickpath.exchange.error import ExchangeError
from tickpath.exchange.event import (
    BUY,
    SELL,
    Accepted,
    Canceled,
    Event,
    Executed,
    Listed,
    Rejected,
    Replaced,
)
from tickpath.exchange.flow import FOREVER, NoFlow
from tickpath.exchange.matching import Matching
from tickpath.exchange.packing import Packing
from tickpath.exchange.recorded import messages
from tickpath.exchange.terms import IMMEDIATE, PLAIN, Terms
from tickpath.wire.itch50 import ITCH50

MAX_MATCHES = 1 << 16
"""Recorded trades whose break can still be told."""
_PACKINGS = {
    each.type: Packing(each)
    for each in (
        ITCH50[name]
        for name in (
            "stock_directory", "stock_trading_action", "add_order_no_mpid_attribution",
            "add_order_with_mpid_attribution", "order_executed", "order_executed_with_price",
            "order_cancel", "order_delete", "order_replace", "non_cross_trade", "broken_trade",
        )
    )
}  # fmt: skip
_BEFORE = ("R", "H")
"""What may come before the first order and is done before the day starts."""


class _Known(NamedTuple):
    """A recorded order: its reference here, and what the recording has left of it."""

    ref: int
    locate: int
    side: int
    price: int
    leaves: int


class RecordedFlow(NoFlow):
    """See the module's text."""

    def __init__(
        self, matching: Matching, path: str, speed: float, only: frozenset[str] = frozenset()
    ) -> None:
        """``only``: symbols to take; none said: all of them.

        Raises `CaptureError`, and `ExchangeError` where the file has no orders.
        """
        super().__init__()
        self.counters: Counter[str] = Counter()
        self._matching, self._speed, self._only = matching, speed, only
        self._path = path
        self._messages = messages(path, self.counters)
        self._orders: dict[int, _Known] = {}
        self._matches: OrderedDict[int, int] = OrderedDict()
        self._locates: dict[int, int] = {}
        self._begin_ns = self._first_ns = 0
        self._act: dict[str, Callable[[Any], list[Event]]] = {
            "R": self._directory,
            "H": self._action,
            "A": self._add,
            "F": self._attributed_add,
            "E": self._executed,
            "C": self._priced,
            "X": self._cancel,
            "D": self._delete,
            "U": self._replace,
            "P": self._hidden,
            "B": self._broken,
        }
        self._opening: list[Event] = []
        self._next: tuple[str, Any] | None = None
        self._read()
        while self._next is not None and self._next[0] in _BEFORE:
            self._opening += self._act[self._next[0]](self._next[1])
            self._read()
        if self._next is None:
            raise ExchangeError(f"{path}: holds no ITCH 5.0 orders of the venue's symbols")
        self.start_ns = self._first_ns = self._time(self._next[1])

    def begin(self, now_ns: int) -> list[Event]:
        self._begin_ns = self.due_ns = now_ns
        return []

    def step(self) -> list[Event]:
        assert self._next is not None
        code, message = self._next
        events = self._act[code](message)
        self.counters["recorded_messages"] += 1
        self._read()
        if self._next is None:
            self.due_ns = FOREVER
        else:
            passed = max(self._time(self._next[1]) - self._first_ns, 0)
            self.due_ns = max(self._begin_ns + int(passed / self._speed), self.due_ns)
        return events

    @staticmethod
    def _time(message: Any) -> int:
        return (message.timestamp_high << 32) + message.timestamp_low

    def _read(self) -> None:
        """The next message that means something here."""
        for raw in self._messages:
            packing = _PACKINGS.get(raw[:1].decode("latin-1"))
            if packing is None or len(raw) != packing.message.length:
                self.counters["recorded_passed_over"] += 1
                continue
            message = packing.unpack(raw)
            stock = getattr(message, "stock", None)
            if self._only and stock is not None and stock.decode().strip() not in self._only:
                continue
            self._next = (packing.message.type, message)
            return
        self._next = None

    # ------------------------------------------------------------ symbols

    def _locate(self, message: Any) -> tuple[int, list[Event]]:
        """The venue's locate of a message's symbol, which may be a new one."""
        locate = self._locates.get(message.stock_locate, 0)
        if locate:
            return locate, []
        stock = message.stock.decode("latin-1").strip()
        locate = self._matching.locates.get(stock, 0)
        listed: list[Event] = []
        if not locate:
            locate = self._matching.list_symbol(stock)
            listed = [Listed(locate)]
        self._locates[message.stock_locate] = locate
        return locate, listed

    def _directory(self, message: Any) -> list[Event]:
        return self._locate(message)[1]

    def _action(self, message: Any) -> list[Event]:
        locate, listed = self._locate(message)
        state, cause = message.trading_state.decode(), message.reason.decode("latin-1").strip()
        if self._matching.books[locate].state == state:
            return listed
        return listed + self._matching.set_state(locate, state, cause)

    # ------------------------------------------------------------ orders

    def _add(self, m: Any, terms: Terms = PLAIN) -> list[Event]:
        locate, listed = self._locate(m)
        side = BUY if m.buy_sell_indicator == b"B" else SELL
        events = self._matching.enter(locate, side, m.shares, m.price, terms)
        first = events[0]
        if not isinstance(first, Accepted):
            self.counters["recorded_refused"] += 1
            return listed
        known = _Known(first.ref, locate, side, m.price, m.shares)
        self._orders[m.order_reference_number] = known
        return listed + events

    def _attributed_add(self, m: Any) -> list[Event]:
        return self._add(m, Terms(attribution=m.attribution.strip()))

    def _known(self, number: int) -> _Known | None:
        known = self._orders.get(number)
        if known is None:
            self.counters["recorded_unknown_order"] += 1
        return known

    def _reduced(self, number: int, known: _Known, shares: int) -> int:
        """Keep what the recording has left of an order; that many shares."""
        leaves = known.leaves - shares
        if leaves > 0:
            self._orders[number] = known._replace(leaves=leaves)
        else:
            del self._orders[number]
        return max(leaves, 0)

    def _executed(self, m: Any) -> list[Event]:
        known = self._known(m.order_reference_number)
        if known is None:
            return []
        self._reduced(m.order_reference_number, known, m.executed_shares)
        events = self._matching.enter(
            known.locate, known.side ^ 1, m.executed_shares, known.price, IMMEDIATE
        )
        for event in events:
            if isinstance(event, Executed):
                self._remember(m.match_number, event.match_number)
            elif isinstance(event, Canceled):
                self.counters["recorded_unfilled_shares"] += event.quantity
        return self._told(events, m.match_number)

    def _remember(self, recorded: int, match_number: int) -> None:
        self._matches[recorded] = match_number
        if len(self._matches) > MAX_MATCHES:
            self._matches.popitem(last=False)

    def _priced(self, m: Any) -> list[Event]:
        known = self._known(m.order_reference_number)
        if known is None:
            return []
        self._reduced(m.order_reference_number, known, m.executed_shares)
        is_printable = m.printable == b"Y"
        events = self._matching.execute(
            known.ref, m.executed_shares, m.execution_price, is_printable
        )
        return self._told(events, m.match_number)

    def _told(self, events: list[Event], match_number: int) -> list[Event]:
        """Events that the market is told; refusals are counted and go no further."""
        first = events[0] if events else None
        if isinstance(first, Rejected):
            self.counters[f"recorded_{first.reason.name.lower()}"] += 1
            return []
        if isinstance(first, Executed):
            self._remember(match_number, first.match_number)
        return events

    def _cancel(self, m: Any) -> list[Event]:
        known = self._known(m.order_reference_number)
        if known is None:
            return []
        self._reduced(m.order_reference_number, known, m.canceled_shares)
        order = self._matching.orders.get(known.ref)
        leaves = max(order.leaves - m.canceled_shares, 0) if order else 0
        return self._told(self._matching.reduce(known.ref, leaves), 0)

    def _delete(self, m: Any) -> list[Event]:
        known = self._known(m.order_reference_number)
        if known is None:
            return []
        del self._orders[m.order_reference_number]
        return self._told(self._matching.cancel(known.ref), 0)

    def _replace(self, m: Any) -> list[Event]:
        known = self._known(m.original_order_reference_number)
        if known is None:
            return []
        del self._orders[m.original_order_reference_number]
        old = self._matching.orders.get(known.ref)
        terms = old.terms if old else PLAIN
        replaced = self._matching.replace(known.ref, m.shares, m.price, terms, keeps_place=False)
        events = self._told(replaced, 0)
        if events and isinstance(events[0], Replaced):
            renewed = known._replace(ref=events[0].ref, price=m.price, leaves=m.shares)
            self._orders[m.new_order_reference_number] = renewed
        elif old is not None:  # refused in this market: it is taken out, as its owner meant
            return self._matching.cancel(known.ref)
        return events

    def _hidden(self, m: Any) -> list[Event]:
        locate, listed = self._locate(m)
        events = self._matching.print_trade(locate, m.shares, m.price)
        return listed + self._told(events, m.match_number)

    def _broken(self, m: Any) -> list[Event]:
        match_number = self._matches.pop(m.match_number, 0)
        if not match_number:  # of a cross, which is passed over
            self.counters["recorded_unknown_match"] += 1
            return []
        return self._told(self._matching.break_trade(match_number), 0)
