"""OUCH 4.2 between bytes and requests: what an account sends, and what it is told."""

from collections import Counter
from typing import Any

from tickpath.exchange import ouch_reject
from tickpath.exchange.ouch_request import (
    NO_PROBLEM,
    Cancel,
    Enter,
    Life,
    Modify,
    OwnOrder,
    Replace,
    Request,
    TradeNow,
)
from tickpath.exchange.packing import Packing
from tickpath.wire.ouch42 import OUCH42_INBOUND, OUCH42_OUTBOUND
from tickpath.wire.table import WireError

_IN = {each.type.encode(): Packing(each) for each in OUCH42_INBOUND.messages}
_OUT = {each.name: Packing(each) for each in OUCH42_OUTBOUND.messages}
_ACCEPTED, _REPLACED = _OUT["accepted"], _OUT["replaced"]
_EXECUTED, _CANCELED = _OUT["executed"], _OUT["canceled"]
IMMEDIATE, MARKET_HOURS, SYSTEM_HOURS = 0, 99_998, 99_999
LIVE, NO_WEIGHT = b"L", b" "


class Ouch42:
    """The codec; it keeps nothing."""

    name = "ouch42"

    def __init__(self, counters: Counter[str]) -> None:
        self._counters = counters

    # ------------------------------------------------------------ inbound

    def decode(self, raw: bytes) -> Request:
        """The request of a message.  Raises `WireError` for what is none."""
        message = OUCH42_INBOUND.message_of(raw)
        values = _IN[raw[:1]].unpack(raw)
        if message.name == "enter_order":
            return self._enter(values)
        if message.name == "replace_order":
            return self._replace(values)
        if not values.order_token.strip():
            raise WireError(f"{message.name}: a blank token")
        if message.name == "cancel_order":
            return Cancel(values.order_token, values.shares)
        if message.name == "modify_order":
            return Modify(values.order_token, values.buy_sell_indicator, values.shares)
        return TradeNow(values.order_token)

    def _enter(self, values: Any) -> Enter:
        return Enter(
            key=values.order_token,
            side=values.buy_sell_indicator,
            quantity=values.shares,
            stock=values.stock,
            price=values.price,
            life=_life(values.time_in_force),
            display=values.display,
            capacity=values.capacity,
            sweep=values.intermarket_sweep_eligibility,
            cross_type=values.cross_type,
            firm=values.firm,
            customer_type=values.customer_type,
            min_quantity=values.minimum_quantity,
            problem=_token_problem(values.order_token, values.time_in_force),
        )

    def _replace(self, values: Any) -> Replace:
        token = values.replacement_order_token_token_14
        return Replace(
            original=values.existing_order_token,
            key=token,
            quantity=values.shares,
            price=values.price,
            life=_life(values.time_in_force),
            display=values.display,
            sweep=values.intermarket_sweep_eligibility,
            min_quantity=values.minimum_quantity,
            problem=_token_problem(token, values.time_in_force),
        )

    # ------------------------------------------------------------ outbound

    def system_event(self, now_ns: int, code: bytes) -> bytes:
        """The start or the end of the day."""
        return _OUT["system_event"].pack(b"S", now_ns, code)

    def accepted(self, now_ns: int, own: OwnOrder, quantity: int) -> bytes:
        """An order was taken in."""
        return _ACCEPTED.pack(
            _ACCEPTED.type, now_ns, own.key, *self._order(own, quantity), LIVE, NO_WEIGHT
        )

    def replaced(self, now_ns: int, own: OwnOrder, quantity: int) -> bytes:
        """An order became another one, of which ``quantity`` shares are open."""
        order = self._order(own, quantity)
        return _REPLACED.pack(
            _REPLACED.type, now_ns, own.key, *order, LIVE, own.previous, NO_WEIGHT
        )

    def _order(self, own: OwnOrder, quantity: int) -> tuple:
        """What both messages say of an order, in their order."""
        asked = own.asked
        return (
            own.side, quantity, asked.stock, asked.price, asked.life.code, asked.firm,
            asked.display, own.ref, asked.capacity, asked.sweep, asked.min_quantity,
            asked.cross_type,
        )  # fmt: skip

    def executed(
        self, now_ns: int, own: OwnOrder, quantity: int, price: int, liquidity: bytes, match: int
    ) -> bytes:
        """A trade."""
        return _EXECUTED.pack(_EXECUTED.type, now_ns, own.key, quantity, price, liquidity, match)

    def canceled(self, now_ns: int, own: OwnOrder, quantity: int, reason: bytes) -> bytes:
        """``quantity`` shares are open no more."""
        return _CANCELED.pack(_CANCELED.type, now_ns, own.key, quantity, reason)

    def prevented(
        self, now_ns: int, own: OwnOrder, removed: int, reason: bytes, quantity: int, price: int,
        liquidity: bytes,
    ) -> bytes:  # fmt: skip
        """Shares were removed because they would have traded with their owner."""
        packing = _OUT["aiq_cancelled"]
        return packing.pack(
            packing.type, now_ns, own.key, removed, reason, quantity, price, liquidity
        )

    def broken(self, now_ns: int, own: OwnOrder, match: int, reason: bytes) -> bytes:
        """A trade was undone."""
        return _OUT["broken_trade"].pack(b"B", now_ns, own.key, match, reason)

    def rejected(self, now_ns: int, request: Enter | Replace, reason: str) -> bytes:
        """A request was refused."""
        code = ouch_reject.code_42(reason)
        return _OUT["rejected_order"].pack(b"J", now_ns, request.key, code)

    def cancel_pending(self, now_ns: int, own: OwnOrder) -> bytes:
        """The cancel will be done when it can be."""
        return _OUT["cancel_pending"].pack(b"P", now_ns, own.key)

    def cancel_rejected(self, now_ns: int, own: OwnOrder) -> bytes:
        """The cancel will not be done."""
        return _OUT["cancel_reject"].pack(b"I", now_ns, own.key)

    def priority(self, now_ns: int, own: OwnOrder) -> bytes:
        """The order stands at another price, or elsewhere in its queue."""
        packing = _OUT["order_priority_update"]
        return packing.pack(packing.type, now_ns, own.key, own.standing, own.asked.display, own.ref)

    def modified(self, now_ns: int, own: OwnOrder) -> bytes:
        """The order is of another side code or has fewer shares, of which these are open."""
        return _OUT["order_modified"].pack(b"M", now_ns, own.key, own.side, own.leaves)

    def refreshed(self, now_ns: int, own: OwnOrder, shown: int) -> bytes | None:
        """Not a message of this version, which has no reserve orders either."""
        return None

    def query_response(self, now_ns: int, next_key: int) -> bytes | None:
        """Not a message of this version."""
        return None

    def trade_now(self, now_ns: int, own: OwnOrder) -> bytes | None:
        """The request was taken; the order's turn is not changed by it here."""
        return _OUT["sequenced_trade_now"].pack(b"N", now_ns, own.key)


def _life(time_in_force: int) -> Life:
    seconds = time_in_force if 0 < time_in_force < MARKET_HOURS else 0
    return Life(time_in_force, time_in_force == IMMEDIATE, seconds)


def _token_problem(token: bytes, time_in_force: int) -> str:
    """Tokens are letters, digits and spaces; a time in force is one of 100,000."""
    text = token.rstrip(b" ")
    is_token = bool(text) and all(each.isalnum() for each in text.split(b" ") if each)
    return NO_PROBLEM if is_token and time_in_force <= SYSTEM_HOURS else ouch_reject.MALFORMED
