"""All open orders of a unit after so many PITCH messages, in plain Python, as a Spin gives them.

Orders keep the order in which they joined their queues: a modified order keeps its place only where
its flags say so.  Each second's orders stand behind a time message, and the last message is the
time that the feed goes on with, since all that follows counts from it.
"""

from collections import Counter
from typing import Any

from tickpath.exchange.packing import Packing
from tickpath.wire.pitch241 import MAINTAIN_PRIORITY, PITCH241

_PACKINGS = {ord(each.type): Packing(each) for each in PITCH241.messages if each.type}
_TYPE_AT = PITCH241.type_offset
_CENT = 100
_TIME, _LONG = Packing(PITCH241["time"]), Packing(PITCH241["add_order_long"])
_EXPANDED = Packing(PITCH241["add_order_expanded"])
_SYMBOL = PITCH241["add_order_long"]["symbol"].size
_EXTENDED = PITCH241["add_order_expanded"]["symbol_extended"].size


class Order:
    """An open order; symbols padded to eight characters, prices in 1e-4."""

    __slots__ = (
        "customer",
        "flags",
        "offset",
        "participant",
        "price",
        "quantity",
        "seconds",
        "side",
        "symbol",
    )

    def __init__(self, m: Any, seconds: int) -> None:
        names = m._fields
        self.seconds, self.offset, self.side = seconds, m.time_offset, m.side_indicator
        self.quantity = m.quantity_short if "quantity_short" in names else m.quantity
        symbol = m.symbol_extended if "symbol_extended" in names else m.symbol
        self.symbol = symbol.ljust(_EXTENDED)
        self.price = m.price_short * _CENT if "price_short" in names else m.price
        self.flags = m.add_order_flags
        is_attributed = "participant_id" in names
        self.participant = m.participant_id if is_attributed else b""
        self.customer = m.customer_indicator if is_attributed else b""

    def message(self, order_id: int) -> bytes:
        """The order as it would be added now."""
        values = (self.offset, order_id, self.side, self.quantity)
        if not self.participant and not self.symbol[_SYMBOL:].strip():
            code, length = ord(_LONG.message.type), _LONG.message.length
            symbol = self.symbol[:_SYMBOL]
            return _LONG.pack(length, code, *values, symbol, self.price, self.flags)
        code, length = ord(_EXPANDED.message.type), _EXPANDED.message.length
        participant = self.participant or b" " * _EXPANDED.message["participant_id"].size
        return _EXPANDED.pack(
            length,
            code,
            *values,
            self.symbol,
            self.price,
            self.flags,
            participant,
            self.customer or b" ",
        )


class PitchImage:
    """See the module's text."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self.seconds = 0
        self._orders: dict[int, Order] = {}
        self._status: dict[bytes, tuple[int, bytes]] = {}

    def __len__(self) -> int:
        return len(self._orders)

    def apply(self, raw: bytes) -> None:
        """Take the next message of the unit."""
        packing = _PACKINGS.get(raw[_TYPE_AT])
        if packing is None or len(raw) != packing.message.length:
            self.counters["messages_unknown"] += 1
            return
        name = packing.message.name
        if name == "time":
            self.seconds = packing.unpack(raw).time
        elif name.startswith("add_order"):
            m = packing.unpack(raw)
            self._orders[m.order_id] = Order(m, self.seconds)
        elif name == "trading_status":
            said = packing.unpack(raw).symbol_extended
            self._status[said] = self.seconds, raw
        elif name == "unit_clear":
            self._orders.clear()
        elif name in _CHANGES:
            m = packing.unpack(raw)
            order = self._orders.get(m.order_id)
            if order is None:
                self.counters["orders_unknown"] += 1
            else:
                self._change(m, order)

    def _change(self, m: Any, order: Order) -> None:
        names = m._fields
        if "modify_order_flags" in names:
            before = order.price
            order.quantity = m.quantity_short if "quantity_short" in names else m.quantity
            order.price = m.price_short * _CENT if "price_short" in names else m.price
            # There is no place to keep in another price's queue.
            if order.price != before or not m.modify_order_flags & MAINTAIN_PRIORITY:
                order.seconds, order.offset = self.seconds, m.time_offset
                self._orders[m.order_id] = self._orders.pop(m.order_id)
        elif "remaining_quantity" in names:
            order.quantity = m.remaining_quantity
        elif "executed_quantity" in names:
            order.quantity -= m.executed_quantity
        elif "canceled_quantity" in names:
            order.quantity -= m.canceled_quantity
        elif "canceled_quantity_short" in names:
            order.quantity -= m.canceled_quantity_short
        else:
            order.quantity = 0
        if order.quantity <= 0:
            del self._orders[m.order_id]

    def snapshot(self) -> list[bytes]:
        """The messages of a spin: statuses, orders, and the time."""
        said: list[bytes] = []
        second = -1
        for seconds, raw in self._status.values():
            second = _pass(said, second, seconds)
            said.append(raw)
        for order_id, order in self._orders.items():
            second = _pass(said, second, order.seconds)
            said.append(order.message(order_id))
        _pass(said, second, self.seconds)
        return said


_CHANGES = frozenset(
    (
        "order_executed",
        "order_executed_at_price_size",
        "reduce_size_long",
        "reduce_size_short",
        "modify_order_long",
        "modify_order_short",
        "delete_order",
    )
)


def _pass(said: list[bytes], second: int, seconds: int) -> int:
    """Say the time where it is another one."""
    if seconds != second:
        said.append(_TIME.pack(_TIME.message.length, ord(_TIME.message.type), seconds))
    return seconds
