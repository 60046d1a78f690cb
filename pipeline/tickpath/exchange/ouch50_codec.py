"""OUCH 5.0 between bytes and requests: what an account sends, and what it is told.

Options that mean something here: firm, minqty, maxfloor, pricetype, postonly, route, expiretime.
The others are repeated in the answer and counted as ``option_without_effect``.  UserRefIdx would
give one port several numberings of orders, which this venue does not have: it is refused.
"""

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
    Query,
    Replace,
    Request,
)
from tickpath.exchange.packing import Packing
from tickpath.wire import appendage
from tickpath.wire.ouch50 import OUCH50_INBOUND, OUCH50_OUTBOUND
from tickpath.wire.table import Message, WireError

_IN = {each.type.encode(): Packing(each) for each in OUCH50_INBOUND.messages}
_OUT = {each.name: Packing(each) for each in OUCH50_OUTBOUND.messages}
_ACCEPTED, _REPLACED = _OUT["order_accepted"], _OUT["replaced"]
_EXECUTED, _CANCELED = _OUT["order_executed"], _OUT["canceled"]
IMMEDIATE, TIMED = b"3", b"6"
LIVE = b"L"
_LIMIT = (" ", "L", "")
_DAY_SECONDS = 86_400
_EFFECTIVE = {"firm", "minqty", "maxfloor", "pricetype", "postonly", "route", "expiretime"}


class Ouch50:
    """The codec; it keeps nothing but counters."""

    name = "ouch50"

    def __init__(self, counters: Counter[str]) -> None:
        self._counters = counters

    # ------------------------------------------------------------ inbound

    def decode(self, raw: bytes) -> Request:
        """The request of a message.

        Raises `WireError` for what is no message, or names no order; what is wrong with an order
        or a replacement otherwise is its `problem`.
        """
        message = appendage.message_of(OUCH50_INBOUND, raw)
        values = _IN[raw[:1]].unpack(raw)
        options, problem = self._options(message, values, raw)
        if message.name == "enter_order":
            return self._enter(values, options, problem)
        if message.name == "replace_order":
            return self._replace(values, options, problem)
        if problem:
            raise WireError(f"{message.name}: {problem}")
        if message.name == "cancel_order":
            return Cancel(values.user_ref_num, values.quantity)
        if message.name == "modify_order":
            return Modify(values.user_ref_num, values.side, values.quantity)
        return Query()

    def _options(self, message: Message, values: Any, raw: bytes) -> tuple[dict[str, Any], str]:
        if len(raw) == message.length and not getattr(values, "appendage_length", 0):
            return {}, NO_PROBLEM
        unknown: Counter[str] = Counter()
        try:
            rest = appendage.decode_rest(message, raw, unknown)
        except WireError:
            self._counters["appendage_malformed"] += 1
            return {}, ouch_reject.MALFORMED
        self._counters.update(unknown)
        options = next(each for each in rest.values() if isinstance(each, dict))
        for name in options:
            if name not in _EFFECTIVE and not name.startswith(appendage.UNKNOWN_PREFIX):
                self._counters["option_without_effect"] += 1
        if "user_ref_idx" in options:
            self._counters["user_ref_idx_refused"] += 1
            return options, ouch_reject.MALFORMED
        return options, NO_PROBLEM

    def _enter(self, values: Any, options: dict[str, Any], problem: str) -> Enter:
        return Enter(
            key=values.user_ref_num,
            side=values.side,
            quantity=values.quantity,
            stock=values.symbol,
            price=values.price,
            life=_life(values.time_in_force, options),
            display=values.display,
            capacity=values.capacity,
            sweep=values.inter_market_sweep_eligibility,
            cross_type=values.cross_type,
            clordid=values.clordid,
            firm=options.get("firm", "").encode("latin-1"),
            min_quantity=options.get("minqty", 0),
            max_floor=options.get("maxfloor", 0),
            is_post_only=options.get("postonly") == "P",
            options=_known(options),
            problem=problem or _option_problem(options, values.time_in_force),
        )

    def _replace(self, values: Any, options: dict[str, Any], problem: str) -> Replace:
        return Replace(
            original=values.orig_user_ref_num,
            key=values.user_ref_num,
            quantity=values.quantity,
            price=values.price,
            life=_life(values.time_in_force, options),
            display=values.display,
            sweep=values.inter_market_sweep_eligibility,
            clordid=values.clordid,
            min_quantity=options.get("minqty", 0),
            max_floor=options.get("maxfloor", 0),
            is_post_only=options.get("postonly") == "P",
            options=_known(options),
            problem=problem or _option_problem(options, values.time_in_force),
        )

    # ------------------------------------------------------------ outbound

    def system_event(self, now_ns: int, code: bytes) -> bytes:
        """The start or the end of the day."""
        return _OUT["system_event"].pack(b"S", now_ns, code)

    def accepted(self, now_ns: int, own: OwnOrder, quantity: int) -> bytes:
        """An order was taken in."""
        asked = own.asked
        head = _ACCEPTED.pack(
            _ACCEPTED.type, now_ns, own.key, own.side, quantity, asked.stock, asked.price,
            asked.life.code, asked.display, own.ref, asked.capacity, asked.sweep,
            asked.cross_type, LIVE, asked.clordid, len(asked.options),
        )  # fmt: skip
        return head + asked.options

    def replaced(self, now_ns: int, own: OwnOrder, quantity: int) -> bytes:
        """An order became another one, of which ``quantity`` shares are open."""
        asked = own.asked
        head = _REPLACED.pack(
            _REPLACED.type, now_ns, own.previous, own.key, own.side, quantity, asked.stock,
            asked.price, asked.life.code, asked.display, own.ref, asked.capacity, asked.sweep,
            asked.cross_type, LIVE, asked.clordid, len(asked.options),
        )  # fmt: skip
        return head + asked.options

    def executed(
        self, now_ns: int, own: OwnOrder, quantity: int, price: int, liquidity: bytes, match: int
    ) -> bytes:
        """A trade."""
        return _EXECUTED.pack(_EXECUTED.type, now_ns, own.key, quantity, price, liquidity, match, 0)

    def canceled(self, now_ns: int, own: OwnOrder, quantity: int, reason: bytes) -> bytes:
        """``quantity`` shares are open no more."""
        return _CANCELED.pack(_CANCELED.type, now_ns, own.key, quantity, reason)

    def prevented(
        self, now_ns: int, own: OwnOrder, removed: int, reason: bytes, quantity: int, price: int,
        liquidity: bytes,
    ) -> bytes:  # fmt: skip
        """Shares were removed because they would have traded with their owner."""
        packing = _OUT["aiq_canceled"]
        return packing.pack(
            packing.type, now_ns, own.key, removed, reason, quantity, price, liquidity
        )

    def broken(self, now_ns: int, own: OwnOrder, match: int, reason: bytes) -> bytes:
        """A trade was undone."""
        packing = _OUT["broken_trade"]
        return packing.pack(packing.type, now_ns, own.key, match, reason, own.asked.clordid)

    def rejected(self, now_ns: int, request: Enter | Replace, reason: str) -> bytes:
        """A request was refused."""
        packing = _OUT["rejected_order"]
        code = ouch_reject.CODES_50[reason]
        return packing.pack(packing.type, now_ns, request.key, code, request.clordid)

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
        packing = _OUT["order_modified"]
        return packing.pack(packing.type, now_ns, own.key, own.side, own.leaves)

    def refreshed(self, now_ns: int, own: OwnOrder, shown: int) -> bytes | None:
        """A reserve order shows its next part, under another reference."""
        packing = _OUT["order_restated"]
        options = appendage.encode({"secondaryordrefnum": own.ref, "display_quantity": shown})
        return packing.pack(packing.type, now_ns, own.key, b"R", len(options)) + options

    def query_response(self, now_ns: int, next_key: int) -> bytes | None:
        """The UserRefNum that comes next."""
        return _OUT["account_query_response"].pack(b"Q", now_ns, next_key)

    def trade_now(self, now_ns: int, own: OwnOrder) -> bytes | None:
        """Not a message of this version."""
        return None


def _life(code: bytes, options: dict[str, Any]) -> Life:
    if code == TIMED:
        return Life(code, until_s=options.get("expiretime", 0))
    return Life(code, is_immediate=code == IMMEDIATE)


def _known(options: dict[str, Any]) -> bytes:
    """What the answer repeats."""
    if not options:
        return b""
    prefix = appendage.UNKNOWN_PREFIX
    return appendage.encode({n: v for n, v in options.items() if not n.startswith(prefix)})


def _option_problem(options: dict[str, Any], time_in_force: bytes) -> str:
    if options.get("pricetype", "L") not in _LIMIT:
        return ouch_reject.PEG
    if options.get("route", "").strip():
        return ouch_reject.ROUTE
    if time_in_force == TIMED and not 0 < options.get("expiretime", 0) < _DAY_SECONDS:
        return ouch_reject.MALFORMED
    if time_in_force.decode("latin-1") not in OUCH50_INBOUND.enums["time_in_force"]:
        return ouch_reject.MALFORMED
    return NO_PROBLEM
