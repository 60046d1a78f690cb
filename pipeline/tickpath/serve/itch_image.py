"""All open orders after so many ITCH 5.0 messages, in plain Python, as GLIMPSE gives them.

Orders keep the order in which they joined their queues: an execution or a partial cancel leaves one
where it is, a replacement goes to the end.  Beside them, the last word on each symbol and on the
market as a whole.  Messages of no known type or length change nothing and are counted.
"""

from collections import Counter

from tickpath.exchange.packing import Packing
from tickpath.wire.glimpse50 import GLIMPSE50
from tickpath.wire.itch50 import ITCH50

_PACKINGS = {each.type.encode(): Packing(each) for each in ITCH50.messages}
_ADD = _PACKINGS[b"A"]
_ATTRIBUTED = _PACKINGS[b"F"]

_STATUS: dict[bytes, tuple[str, ...]] = {
    b"S": ("event_code",),
    b"R": ("stock_locate",),
    b"H": ("stock_locate",),
    b"Y": ("locate_code",),
    b"L": ("mpid", "stock"),
    b"V": (),
    b"W": ("breached_level",),
    b"K": ("stock_locate",),
    b"J": ("stock_locate",),
    b"h": ("stock_locate", "market_code"),
}
"""What the last message is kept of, by type: one for each value of these fields."""


class ItchImage:
    """See the module's text."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self._status: dict[bytes, dict[tuple, bytes]] = {each: {} for each in _STATUS}
        self._orders: dict[int, list] = {}  # [locate, high, low, side, shares, stock, price, mpid]

    def __len__(self) -> int:
        return len(self._orders)

    def apply(self, raw: bytes) -> None:
        """Take the next message of the feed."""
        code = raw[:1]
        packing = _PACKINGS.get(code)
        if packing is None or len(raw) != packing.message.length:
            self.counters["messages_unknown"] += 1
            return
        if code in _STATUS:
            said = packing.unpack(raw)
            self._status[code][tuple(getattr(said, name) for name in _STATUS[code])] = raw
        elif code in b"AF":
            m = packing.unpack(raw)
            mpid = m.attribution if code == b"F" else b""
            self._orders[m.order_reference_number] = [
                m.stock_locate,
                m.timestamp_high,
                m.timestamp_low,
                m.buy_sell_indicator,
                m.shares,
                m.stock,
                m.price,
                mpid,
            ]
        elif code in b"EC":
            m = packing.unpack(raw)
            self._reduce(m.order_reference_number, m.executed_shares)
        elif code == b"X":
            m = packing.unpack(raw)
            self._reduce(m.order_reference_number, m.canceled_shares)
        elif code == b"D":
            self._reduce(packing.unpack(raw).order_reference_number, 1 << 32)
        elif code == b"U":
            self._replace(packing.unpack(raw))

    def _reduce(self, ref: int, by: int) -> None:
        order = self._orders.get(ref)
        if order is None:
            self.counters["orders_unknown"] += 1
        elif by >= order[4]:
            del self._orders[ref]
        else:
            order[4] -= by

    def _replace(self, m) -> None:  # type: ignore[no-untyped-def]
        order = self._orders.pop(m.original_order_reference_number, None)
        if order is None:
            self.counters["orders_unknown"] += 1
            return
        order[1:3] = m.timestamp_high, m.timestamp_low
        order[4], order[6] = m.shares, m.price
        self._orders[m.new_order_reference_number] = order

    def snapshot(self) -> list[bytes]:
        """The messages of a snapshot, in GLIMPSE's order: statuses, then orders."""
        said = [raw for kept in self._status.values() for raw in kept.values()]
        for ref, (locate, high, low, side, shares, stock, price, mpid) in self._orders.items():
            values = (locate, 0, high, low, ref, side, shares, stock, price)
            if mpid:
                said.append(_ATTRIBUTED.pack(b"F", *values, mpid))
            else:
                said.append(_ADD.pack(b"A", *values))
        return said


def end_of_snapshot(next_sequence: int) -> bytes:
    """The message that says where the feed goes on."""
    return GLIMPSE50["end_of_snapshot"].encode(sequence_number=next_sequence)
