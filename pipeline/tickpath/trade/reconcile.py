"""A second opinion: the drop copy's executions against the engine's.

The drop copy publishes what the exchange did for the account, over a session of its own, at its own
pace.  So executions are compared one by one, by order and match number: one that only one side has
told for longer than the grace is a difference.  Where both sides have told the same, the engine's
positions must be those that the drop copy adds up to.  `Watch` latches nothing itself; it says
what differs.
"""

from collections import Counter
from typing import NamedTuple

from tickpath.digest import symbol_text
from tickpath.engine import Engine
from tickpath.wire.ouch42 import OUCH42_OUTBOUND
from tickpath.wire.ouch50 import OUCH50_OUTBOUND
from tickpath.wire.table import Protocol, WireError

_BUY = "B"
_SCALE = 10_000
MAX_UNMATCHED = 100_000
"""Executions that one side may be behind; more is a difference at once."""
MAX_EXECUTIONS = 1 << 20
"""Executions of the drop copy that can still be broken; the oldest is forgotten for a new one."""
MAX_ORDERS = 1 << 20
"""Orders of the drop copy that can still be executed, likewise."""
MAX_LINES = 20
"""Lines that a difference is told in."""

Key = int | str
"""UserRefNum (OUCH 5.0) or token (4.2)."""


class Trade(NamedTuple):
    """A message that changes a position: ``kind`` executed, broken or corrected."""

    kind: str
    key: Key
    match_number: int
    shares: int
    price: int


_KINDS = {
    "order_executed": "executed",
    "executed": "executed",
    "executed_with_reference_price": "executed",
    "broken_trade": "broken",
    "trade_correction": "corrected",
}


class Reader:
    """Messages of the exchange, as far as they are about trades."""

    def __init__(self, protocol: str) -> None:
        self.is50 = protocol == "ouch50"
        self.table: Protocol = OUCH50_OUTBOUND if self.is50 else OUCH42_OUTBOUND
        self.unknown = 0
        """Messages that the protocol does not have."""
        self._kind_of = {
            ord(message.type): _KINDS[message.name]
            for message in self.table.messages
            if message.name in _KINDS
        }

    def trade(self, message: bytes) -> Trade | None:
        """What a message says of a trade; None where it is about something else."""
        kind = self._kind_of.get(message[0]) if message else None
        if kind is None:
            return None
        try:
            fields = self.table.by_type[chr(message[0])].decode(message)
        except WireError:
            self.unknown += 1
            return None
        shares = price = 0
        if kind != "broken":
            shares = fields["quantity" if self.is50 else "executed_shares"]
            price = round(fields["price" if self.is50 else "execution_price"] * _SCALE)
        key = fields["user_ref_num" if self.is50 else "order_token"]
        return Trade(kind, key, fields["match_number"], shares, price)


class Tally:
    """Positions as the drop copy adds up to."""

    def __init__(self, protocol: str) -> None:
        self.reader = Reader(protocol)
        self.positions: Counter[str] = Counter()
        self.unknown = 0
        """Trades of orders that the drop copy has not told of."""
        self._orders: dict[Key, tuple[str, int]] = {}
        self._executions: dict[tuple[Key, int], int] = {}

    def take(self, message: bytes) -> Trade | None:
        """One message of the drop copy; gives what it says of a trade."""
        trade = self.reader.trade(message)
        if trade is None:
            self._note_order(message)
            return None
        order = self._orders.get(trade.key)
        if order is None:
            self.unknown += 1
            return trade
        at = trade.key, trade.match_number
        before = self._executions.get(at)
        if trade.kind == "executed":
            if before is None:
                self._book(order, at, 0, trade.shares)
        elif before is None:
            self.unknown += 1
        elif trade.kind == "broken" or before:
            self._book(order, at, before, trade.shares)
        return trade

    def _book(self, order: tuple[str, int], at: tuple[Key, int], before: int, now: int) -> None:
        symbol, sign = order
        self.positions[symbol] += sign * (now - before)
        self._executions[at] = now
        if len(self._executions) > MAX_EXECUTIONS:
            del self._executions[next(iter(self._executions))]

    def _note_order(self, message: bytes) -> None:
        layout = self.reader.table.by_type.get(chr(message[0])) if message else None
        if layout is None:
            self.reader.unknown += 1
            return
        if layout.name not in ("order_accepted", "accepted", "replaced"):
            return
        try:
            fields = layout.decode(message)
        except WireError:
            self.reader.unknown += 1
            return
        if self.reader.is50:
            key, symbol, side = fields["user_ref_num"], fields["symbol"], fields["side"]
        else:
            tokens = ("replacement_order_token_alphanumeric_14", "order_token")
            key = next(fields[name] for name in tokens if name in fields)
            symbol, side = fields["stock"], fields["buy_sell_indicator"]
        self._orders[key] = symbol, 1 if side == _BUY else -1
        if len(self._orders) > MAX_ORDERS:
            del self._orders[next(iter(self._orders))]


class Watch:
    """Compares what the order session and the drop copy have told.

    ``start`` has the positions that the engine began the day with, which no drop copy tells.
    """

    def __init__(self, protocol: str, start: dict[str, int], grace_ns: int) -> None:
        self.tally = Tally(protocol)
        self._reader = Reader(protocol)
        self._start = start
        self._grace_ns = grace_ns
        # A trade that one side has told: +1 the order session, -1 the drop copy; and since when.
        self._unmatched: dict[Trade, tuple[int, int]] = {}
        self._overrun = 0  # trades that had no room in it
        self._differs_since: dict[str, int] = {}

    def take_answer(self, message: bytes, now_ns: int) -> None:
        """A message of the order session, which the engine has got too."""
        if (trade := self._reader.trade(message)) is not None:
            self._match(trade, 1, now_ns)

    def take_copy(self, message: bytes, now_ns: int) -> None:
        """A message of the drop copy."""
        if (trade := self.tally.take(message)) is not None:
            self._match(trade, -1, now_ns)

    def _match(self, trade: Trade, side: int, now_ns: int) -> None:
        balance, _ = self._unmatched.get(trade, (0, 0))
        if balance == -side:
            del self._unmatched[trade]
        elif balance == 0 and len(self._unmatched) < MAX_UNMATCHED:
            self._unmatched[trade] = side, now_ns
        elif balance == 0:
            self._overrun += 1

    @property
    def unmatched(self) -> int:
        """Trades that only one side has told."""
        return len(self._unmatched)

    def pause(self, now_ns: int) -> None:
        """One of the two cannot be heard: what is missing may come when it can again."""
        self._unmatched = {
            trade: (balance, now_ns) for trade, (balance, _) in self._unmatched.items()
        }
        self._differs_since.clear()

    def check(self, engine: Engine, now_ns: int) -> list[str]:
        """What has differed for the whole grace, a line each; [] for nothing."""
        lines = []
        for trade, (balance, since_ns) in self._unmatched.items():
            if now_ns - since_ns < self._grace_ns:
                break  # they are in the order in which they came
            whose = "the order session" if balance > 0 else "the drop copy"
            lines.append(
                f"order {trade.key}: match {trade.match_number} of {trade.shares:,} shares "
                f"{trade.kind}: only {whose} tells of it"
            )
        if self._overrun:
            lines.append(f"{MAX_UNMATCHED + self._overrun:,} trades that only one side tells of")
        if not self._unmatched:
            lines += self._positions(engine, now_ns)
        else:
            self._differs_since.clear()
        return lines[:MAX_LINES]

    def _positions(self, engine: Engine, now_ns: int) -> list[str]:
        found = differences(engine, self.tally, self._start)
        self._differs_since = {symbol: self._differs_since.get(symbol, now_ns) for symbol in found}
        return [
            f"{symbol}: engine {here:+,}, drop copy {there:+,}"
            for symbol, (here, there) in found.items()
            if now_ns - self._differs_since[symbol] >= self._grace_ns
        ]


def differences(engine: Engine, tally: Tally, start: dict[str, int]) -> dict[str, tuple[int, int]]:
    """{symbol: (engine's position, drop copy's)} where they are not the same now."""
    table = engine.block.position
    held = table[table["quantity"] != 0]
    here = {symbol_text(row["symbol"]): int(row["quantity"]) for row in held}
    there = Counter(start)
    there.update(tally.positions)
    return {
        symbol: (here.get(symbol, 0), there[symbol])
        for symbol in sorted({*here, *there})
        if here.get(symbol, 0) != there[symbol]
    }
