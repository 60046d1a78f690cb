"""One account's port: OUCH requests become matching's, and matching's events OUCH messages.

Both versions of the protocol are spoken through a codec; the rules are the same:

    enter       a UserRefNum that is not above the last one, or a token that was used, is ignored
                without an answer; any other is used up, also by a rejected order
    replace     ignored where the original is not live or the new name was used; where the details
                are invalid the original is cancelled and the new name stays free; where the venue
                does not allow it now it is rejected, the original stays, the name is used up
    cancel      the quantity is what the order may come to in all, executed shares and those of the
                orders that it replaced among them; what changes nothing is ignored
    modify      likewise, and the kind of sell; the place in the queue stays

Every request ends as a message or as a counter.  Source: Nasdaq OUCH 5.0 specification, sections
1.2, 2 and 3, and OUCH 4.2, the same.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

from tickpath.exchange import ouch_reject
from tickpath.exchange.account import Account, Holding
from tickpath.exchange.event import (
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
)
from tickpath.exchange.matching import Matching
from tickpath.exchange.ouch42_codec import Ouch42
from tickpath.exchange.ouch50_codec import Ouch50
from tickpath.exchange.ouch_gate import BUY_CODE, Gate, side_of
from tickpath.exchange.ouch_request import (
    Cancel,
    Enter,
    Key,
    Modify,
    OwnOrder,
    Query,
    Replace,
    TradeNow,
)
from tickpath.exchange.reason import Reason, Why
from tickpath.wire.table import WireError

CODECS = {"ouch50": Ouch50, "ouch42": Ouch42}
ADDED, ADDED_HIDDEN, REMOVED = b"A", b"J", b"R"
START_OF_DAY, END_OF_DAY = b"S", b"E"
SECOND_NS = 1_000_000_000

Say = Callable[[int, bytes, bool], None]
"""(port, message, whether the drop copy gets it too)"""
Schedule = Callable[[int, int, Key], None]
"""(time, port, key): call `OuchPort.expire` then."""


class OuchPort:
    """One account.  ``number`` is the owner of its orders in matching; it is not 0."""

    def __init__(
        self,
        number: int,
        account: Account,
        protocol: str,
        matching: Matching,
        gate: Gate,
        say: Say,
        schedule: Schedule,
    ) -> None:
        self.number, self.account, self.gate = number, account, gate
        self.counters: Counter[str] = Counter()
        self.orders: dict[Key, OwnOrder] = {}
        """Every order of the day, by the name that the account gave it."""
        self.live: dict[int, OwnOrder] = {}
        """Those that are open, by reference."""
        self.holdings: dict[int, Holding] = {}
        self.last_key = 0
        """The highest UserRefNum that was used."""
        self._matching, self._say_to, self._schedule = matching, say, schedule
        self._codec: Any = CODECS[protocol](self.counters)
        self._refused_tokens: set[Key] = set()
        self._traded: OrderedDict[int, list[OwnOrder]] = OrderedDict()
        self._modified: Event | None = None  # a reduction that is told as a modification
        self._act: dict[type, Callable[..., list[Event]]] = {
            Enter: self._enter,
            Replace: self._replace,
            Cancel: self._cancel,
            Modify: self._modify,
            Query: self._query,
            TradeNow: self._trade_now,
        }
        self._told: dict[type, Callable[..., None]] = {
            Accepted: self._told_accepted,
            Rested: self._told_rested,
            Executed: self._told_executed,
            Canceled: self._told_canceled,
            Replaced: self._told_replaced,
            Refreshed: self._told_refreshed,
            Repriced: self._told_repriced,
            Prevented: self._told_prevented,
            Broken: self._told_broken,
        }

    # ------------------------------------------------------------ what the account asks

    def receive(self, raw: bytes, now_ns: int) -> list[Event]:
        """Take one message; gives what it did to the books, which `tell` then answers."""
        try:
            request = self._codec.decode(raw)
        except WireError:
            self.counters["malformed"] += 1
            return []
        self.counters[type(request).__name__.lower()] += 1
        return self._act[type(request)](request, now_ns)

    @property
    def names_used(self) -> int:
        """How many names of orders are remembered."""
        return len(self.orders) + len(self._refused_tokens)

    def _is_new(self, key: Key) -> bool:
        if isinstance(key, int):
            return key > self.last_key
        return key not in self.orders and key not in self._refused_tokens

    def _use(self, key: Key) -> None:
        if isinstance(key, int):
            self.last_key = key
        else:
            self._refused_tokens.add(key)

    def _reject(self, request: Enter | Replace, reason: str, now_ns: int) -> list[Event]:
        self._use(request.key)
        self.counters[f"rejected_{reason}"] += 1
        self._say(self._codec.rejected(now_ns, request, reason), is_dropped=False)
        return []

    def _enter(self, request: Enter, now_ns: int) -> list[Event]:
        if not self._is_new(request.key):
            self.counters["repeated"] += 1
            return []
        locate = self._matching.locates.get(request.stock.decode("latin-1").rstrip(), 0)
        reason = self.gate.refuses(self, request, now_ns) or self.gate.invalid(self, request)
        if reason:
            return self._reject(request, reason, now_ns)
        side, terms = side_of(request.side), self.gate.terms(self.account, request)
        events = self._matching.enter(
            locate, side, request.quantity, request.price, terms, self.number
        )
        first = events[0]
        if not isinstance(first, Accepted):
            assert isinstance(first, Rejected)
            return self._reject(request, ouch_reject.BY_REASON[first.reason], now_ns)
        self._begin(OwnOrder(request, locate), first.ref, request.quantity, now_ns)
        return events

    def _begin(self, own: OwnOrder, ref: int, leaves: int, now_ns: int) -> None:
        """A new order of the account's is live."""
        if isinstance(own.key, int):
            self.last_key = own.key
        own.ref, own.leaves = ref, leaves
        self.orders[own.key] = self.live[ref] = own
        life = own.asked.life
        if life.seconds or life.until_s:
            end_ns = now_ns + life.seconds * SECOND_NS if life.seconds else life.until_s * SECOND_NS
            own.expires_ns = max(end_ns, now_ns + 1)
            self._schedule(own.expires_ns, self.number, own.key)

    def _replace(self, request: Replace, now_ns: int) -> list[Event]:
        old = self.orders.get(request.original)
        if old is None or not old.leaves or not self._is_new(request.key):
            self.counters["replaces_ignored"] += 1
            return []
        changes = {name: getattr(request, name) for name in _REPLACEABLE}
        asked = old.asked._replace(**changes)
        own = OwnOrder(asked, old.locate, old)
        own.side = old.side
        reason = self.gate.refuses(self, asked, now_ns, is_replace=True)
        if reason or old.locate in self.gate.frozen:
            return self._reject(request, reason or ouch_reject.REPLACE, now_ns)
        leaves = request.quantity - old.executed
        if leaves <= 0 or self.gate.invalid(self, asked):
            return self._drop_original(old)
        terms = self.gate.terms(self.account, asked)
        events = self._matching.replace(
            old.ref, leaves, request.price, terms, self.gate.replace_keeps_place
        )
        first = events[0]
        if isinstance(first, Rejected) and first.reason in (Reason.HALTED, Reason.FULL):
            return self._reject(request, ouch_reject.BY_REASON[first.reason], now_ns)
        if not isinstance(first, Replaced):
            return self._drop_original(old)
        del self.live[old.ref]
        old.leaves = 0
        self._begin(own, first.ref, leaves, now_ns)
        return events

    def _drop_original(self, old: OwnOrder) -> list[Event]:
        """A replacement that cannot be takes the original out, and its name is not used up."""
        self.counters["replaces_invalid"] += 1
        return self._matching.cancel(old.ref)

    def _leaves(self, request: Cancel | Modify) -> tuple[OwnOrder | None, int]:
        """The order that is meant and the shares that it may keep; none where it is not live."""
        own = self.orders.get(request.key)
        if own is None or not own.leaves:
            return None, 0
        return own, min(max(request.quantity - own.executed, 0), own.leaves)

    def _cancel(self, request: Cancel, now_ns: int) -> list[Event]:
        own, leaves = self._leaves(request)
        if own is None or leaves == own.leaves:
            self.counters["cancels_superfluous"] += 1
            return []
        answer = self.gate.frozen.get(own.locate)
        if answer == "reject":
            self._say(self._codec.cancel_rejected(now_ns, own), is_dropped=False)
            return []
        if answer == "pending":
            own.cancel_to = leaves
            self._say(self._codec.cancel_pending(now_ns, own), is_dropped=False)
            return []
        return self._matching.reduce(own.ref, leaves)

    def _modify(self, request: Modify, now_ns: int) -> list[Event]:
        own, leaves = self._leaves(request)
        if own is None or side_of(request.side) != side_of(own.side):
            self.counters["modifies_ignored"] += 1
            return []
        if not leaves:
            return self._matching.cancel(own.ref)
        own.side = request.side
        events = self._matching.reduce(own.ref, leaves)
        self._modified, own.leaves = events[0] if events else None, leaves
        self._say(self._codec.modified(now_ns, own))
        return events

    def _query(self, request: Query, now_ns: int) -> list[Event]:
        self._say(self._codec.query_response(now_ns, self.last_key + 1), is_dropped=False)
        return []

    def _trade_now(self, request: TradeNow, now_ns: int) -> list[Event]:
        own = self.orders.get(request.key)
        if own is None or not own.leaves:
            self.counters["trade_nows_ignored"] += 1
            return []
        self._say(self._codec.trade_now(now_ns, own), is_dropped=False)
        return []

    # ------------------------------------------------------------ what happens to it unasked

    def open_day(self, now_ns: int) -> None:
        """The first message of the day."""
        self._say(self._codec.system_event(now_ns, START_OF_DAY))

    def close_day(self, now_ns: int) -> None:
        """The last message of the day; orders are cancelled before."""
        self._say(self._codec.system_event(now_ns, END_OF_DAY))

    def cancel_all(self, why: Why, locate: int | None = None) -> list[Event]:
        """Cancel every open order, or those of one symbol."""
        return [
            event
            for ref, own in list(self.live.items())
            if locate in (None, own.locate)
            for event in self._matching.cancel(ref, why)
        ]

    def expire(self, key: Key, now_ns: int) -> list[Event]:
        """The end of an order's time, unless it is gone or was given another one."""
        own = self.orders[key]
        if not own.leaves or now_ns < own.expires_ns:
            return []
        return self._matching.cancel(own.ref, Why.TIMEOUT)

    def release(self, locate: int) -> list[Event]:
        """Do the cancels of a symbol that had to wait."""
        waiting = [o for o in self.live.values() if o.locate == locate and o.cancel_to is not None]
        events: list[Event] = []
        for own in waiting:
            events += self._matching.reduce(own.ref, own.cancel_to or 0)
            own.cancel_to = None
        return events

    # ------------------------------------------------------------ what the account is told

    def tell(self, event: Event, now_ns: int) -> None:
        """Answer an event that one of the account's orders has a part in."""
        told = self._told.get(type(event))
        if told is not None:
            told(event, now_ns)

    def _say(self, message: bytes | None, is_dropped: bool = True) -> None:
        """Send a message; None is what this version of the protocol does not say."""
        if message is None:
            self.counters["not_said"] += 1
            return
        self._say_to(self.number, message, is_dropped)

    def _told_accepted(self, e: Accepted, now_ns: int) -> None:
        self._say(self._codec.accepted(now_ns, self.live[e.ref], e.quantity))

    def _told_replaced(self, e: Replaced, now_ns: int) -> None:
        own = self.live[e.ref]
        self._say(self._codec.replaced(now_ns, own, e.quantity))
        if e.is_carried:
            self._stands_at(own, e.price, now_ns)

    def _told_rested(self, e: Rested, now_ns: int) -> None:
        self._stands_at(self.live[e.ref], e.price, now_ns)

    def _stands_at(self, own: OwnOrder, price: int, now_ns: int) -> None:
        if own.standing != price:
            own.standing = price
            self._say(self._codec.priority(now_ns, own))

    def _told_repriced(self, e: Repriced, now_ns: int) -> None:
        own = self._renamed(e)
        own.standing = e.price
        self._say(self._codec.priority(now_ns, own))

    def _told_refreshed(self, e: Refreshed, now_ns: int) -> None:
        self._say(self._codec.refreshed(now_ns, self._renamed(e), e.shown))

    def _renamed(self, e: Repriced | Refreshed) -> OwnOrder:
        own = self.live.pop(e.old_ref)
        own.ref = e.ref
        self.live[e.ref] = own
        return own

    def _told_executed(self, e: Executed, now_ns: int) -> None:
        if e.owner == self.number:
            self._fill(e, e.ref, e.leaves, ADDED if e.is_shown else ADDED_HIDDEN, now_ns)
        if e.incoming_owner == self.number:
            self._fill(e, e.incoming_ref, e.incoming_leaves, REMOVED, now_ns)

    def _fill(self, e: Executed, ref: int, leaves: int, liquidity: bytes, now_ns: int) -> None:
        own = self.live[ref]
        own.executed += e.quantity
        self._remaining(own, leaves)
        self._book(own, e.quantity, e.price)
        self._traded.setdefault(e.match_number, []).append(own)
        if len(self._traded) > self._matching.max_trades:
            self._traded.popitem(last=False)
        self._say(self._codec.executed(now_ns, own, e.quantity, e.price, liquidity, e.match_number))

    def _book(self, own: OwnOrder, quantity: int, price: int) -> None:
        holding = self.holdings.get(own.locate)
        if holding is None:
            holding = self.holdings[own.locate] = Holding()
        holding.trade(own.side == BUY_CODE, quantity, price)

    def _remaining(self, own: OwnOrder, leaves: int) -> None:
        own.leaves = leaves
        if not leaves:
            del self.live[own.ref]

    def _told_canceled(self, e: Canceled, now_ns: int) -> None:
        if e is self._modified:
            self._modified = None
            return
        own = self.live[e.ref]
        self._remaining(own, e.leaves)
        reason = ouch_reject.CANCEL_CODES[e.why]
        self._say(self._codec.canceled(now_ns, own, e.quantity, reason))

    def _told_prevented(self, e: Prevented, now_ns: int) -> None:
        own = self.live[e.ref]
        self._remaining(own, 0)
        reason = ouch_reject.CANCEL_CODES[Why.SELF_MATCH]
        liquidity = ADDED if e.is_resting else REMOVED
        self._say(
            self._codec.prevented(now_ns, own, e.removed, reason, e.quantity, e.price, liquidity)
        )

    def _told_broken(self, e: Broken, now_ns: int) -> None:
        for own in self._traded.pop(e.match_number, []):
            self._book(own, -e.quantity, e.price)
            self._say(self._codec.broken(now_ns, own, e.match_number, e.reason.encode()))


_REPLACEABLE = (
    "key", "quantity", "price", "life", "display", "sweep", "clordid", "min_quantity", "max_floor",
    "is_post_only", "options", "problem",
)  # fmt: skip
