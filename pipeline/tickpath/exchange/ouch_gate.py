"""Whether an order may be entered: what the venue allows now, and what can be an order at all.

The two differ in what a refused replacement does to its original (see `ouch_port`).  The gate is
shared by all ports; what an operator switches is kept in it.
"""

from collections import Counter
from typing import TYPE_CHECKING

from tickpath.exchange import ouch_reject
from tickpath.exchange.account import Account
from tickpath.exchange.book import DOLLAR, MAX_PRICE
from tickpath.exchange.event import BUY, SELL
from tickpath.exchange.matching import MAX_SHARES
from tickpath.exchange.ouch_request import Enter
from tickpath.exchange.terms import ALLOW, CANCEL_INCOMING, CANCEL_RESTING, Terms

if TYPE_CHECKING:
    from tickpath.exchange.ouch_port import OuchPort

MARKET_PRICE = 0x7FFFFFFF
"""The price of an order without a limit, $214,748.3647.  Nasdaq takes it for crosses only; here it
is an immediate market order."""
BUY_CODE = b"B"
SELL_CODES = (b"S", b"T", b"E")
_SIDES = {BUY_CODE: BUY, **dict.fromkeys(SELL_CODES, SELL)}
_CONTINUOUS = b"N"
_SECOND_NS = 1_000_000_000

VISIBLE, ATTRIBUTED, HIDDEN, POST_ONLY, ATTRIBUTED_POST_ONLY = b"Y", b"A", b"N", b"P", b"L"
_CONFORMANT = b"Z"
_DISPLAYS = (VISIBLE, ATTRIBUTED, HIDDEN, POST_ONLY, ATTRIBUTED_POST_ONLY, _CONFORMANT)
_REFUSED_DISPLAYS = {
    **dict.fromkeys((b"M", b"W", b"m", b"n"), ouch_reject.PEG),
    **dict.fromkeys((b"O", b"T", b"Q"), ouch_reject.RETAIL),
    b"I": ouch_reject.CROSS,
}
_PREVENTION = {
    "allow": ALLOW,
    "cancel_resting": CANCEL_RESTING,
    "cancel_incoming": CANCEL_INCOMING,
}


def side_of(code: bytes) -> int:
    """Matching's side of a side code; -1 for none."""
    return _SIDES.get(code, -1)


class Gate:
    """What the venue allows; one for all ports."""

    def __init__(self, replace_keeps_place: bool = True) -> None:
        self.replace_keeps_place = replace_keeps_place
        """Whether a replacement that only takes shares off keeps its place (OUCH itself says that
        every replacement gets a new one)."""
        self.is_open = True
        self.frozen: dict[int, str] = {}
        """Symbols whose cancels are answered with pending or reject, as late in a cross."""
        self.rejects: Counter[int] = Counter()
        """How many of a port's next orders are refused, whatever they are."""
        self.reject_reason = ouch_reject.OTHER
        self._full_ns: dict[int, int] = {}  # when a port's bucket of orders is full again

    def refuses(self, port: "OuchPort", asked: Enter, now_ns: int, is_replace: bool = False) -> str:
        """Why the venue does not take an order now; empty where it does."""
        account = port.account
        if self.rejects[port.number] > 0:
            self.rejects[port.number] -= 1
            return self.reject_reason
        if not self.is_open:
            return ouch_reject.CLOSED
        if not is_replace and len(port.live) >= account.max_open_orders:
            port.counters["over_max_open_orders"] += 1
            return ouch_reject.OTHER
        if port.names_used >= account.max_orders:
            port.counters["over_max_orders"] += 1
            return ouch_reject.OTHER
        if account.orders_per_second and not self._take(port, now_ns):
            port.counters["over_order_rate"] += 1
            return ouch_reject.OTHER
        if asked.quantity > MAX_SHARES or asked.price > MAX_PRICE:
            return ""  # no order at all, or one without a limit
        if asked.quantity > account.max_quantity:
            return ouch_reject.SHARES
        if asked.quantity * asked.price > account.max_notional * DOLLAR:
            return ouch_reject.NOTIONAL
        return ""

    def _take(self, port: "OuchPort", now_ns: int) -> bool:
        """A token of the port's bucket, kept as the time at which it is full."""
        interval_ns = _SECOND_NS // port.account.orders_per_second
        full_ns = max(self._full_ns.get(port.number, now_ns), now_ns)
        if full_ns - now_ns > (port.account.order_burst - 1) * interval_ns:
            return False
        self._full_ns[port.number] = full_ns + interval_ns
        return True

    def invalid(self, port: "OuchPort", asked: Enter) -> str:
        """Why something is no order, as far as matching does not say so; empty where it is one."""
        if asked.problem:
            return asked.problem
        if asked.side not in _SIDES:
            return ouch_reject.SIDE
        if asked.cross_type != _CONTINUOUS:
            return ouch_reject.CROSS
        if asked.display in _REFUSED_DISPLAYS:
            return _REFUSED_DISPLAYS[asked.display]
        if asked.display not in _DISPLAYS:
            return ouch_reject.DISPLAY
        return ""

    def terms(self, account: Account, asked: Enter) -> Terms:
        """How a valid order takes and rests."""
        is_attributed = asked.display in (ATTRIBUTED, ATTRIBUTED_POST_ONLY)
        return Terms(
            is_immediate=asked.life.is_immediate,
            is_market=asked.price == MARKET_PRICE,
            is_post_only=asked.is_post_only or asked.display in (POST_ONLY, ATTRIBUTED_POST_ONLY),
            is_hidden=asked.display == HIDDEN,
            min_quantity=asked.min_quantity,
            max_floor=asked.max_floor,
            attribution=(asked.firm.strip() or account.firm.encode()) if is_attributed else b"",
            prevention=_PREVENTION[account.self_match],
        )
