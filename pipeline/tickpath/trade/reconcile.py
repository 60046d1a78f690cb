"""A second opinion: the drop copy's executions against the engine's positions.

The drop copy publishes what the exchange did for the account, over a session of its own.  `Tally`
adds it up by itself; `Watch` compares it with the engine.  Both see the same events at different
times, so only a difference that stays for the whole grace counts: it latches the kill switch.
"""

from collections import Counter

from tickpath.engine import Engine
from tickpath.wire.ouch42 import OUCH42_OUTBOUND
from tickpath.wire.ouch50 import OUCH50_OUTBOUND

_BUY = "B"


class Tally:
    """Positions and open orders as the drop copy tells them."""

    def __init__(self, protocol: str) -> None:
        self._table = OUCH50_OUTBOUND if protocol == "ouch50" else OUCH42_OUTBOUND
        self._is50 = protocol == "ouch50"
        self.positions: Counter[str] = Counter()
        self.open: dict[int | str, tuple[str, int, int]] = {}
        """key -> (symbol, sign, leaves) of orders that may still be executed."""
        self._orders: dict[int | str, tuple[str, int]] = {}
        self._executions: dict[tuple[int | str, int], int] = {}
        self.unknown = 0

    def take(self, message: bytes) -> None:
        """One message of the drop copy."""
        layout = self._table.by_type.get(chr(message[0])) if message else None
        if layout is None:
            self.unknown += 1
            return
        fields = layout.decode(message)
        handler = _HANDLERS.get(layout.name)
        if handler is not None:
            handler(self, fields)

    def _key(self, fields: dict) -> int | str:
        return fields["user_ref_num"] if self._is50 else fields["order_token"]

    def _accepted(self, fields: dict) -> None:
        side = fields["side" if self._is50 else "buy_sell_indicator"]
        symbol = fields["symbol" if self._is50 else "stock"]
        quantity = fields["quantity" if self._is50 else "shares"]
        key = self._key(fields)
        self._open(key, symbol, side, quantity, fields["order_state"] == "L")

    def _open(self, key: int | str, symbol: str, side: str, quantity: int, live: bool) -> None:
        sign = 1 if side == _BUY else -1
        self._orders[key] = symbol, sign
        if live and quantity:
            self.open[key] = symbol, sign, quantity

    def _replaced(self, fields: dict) -> None:
        if self._is50:
            old, key = fields["orig_user_ref_num"], fields["user_ref_num"]
            symbol, side, quantity = fields["symbol"], fields["side"], fields["quantity"]
        else:
            old = fields["previous_order_token"]
            key = fields["replacement_order_token_alphanumeric_14"]
            symbol, side = fields["stock"], fields["buy_sell_indicator"]
            quantity = fields["shares"]
        self.open.pop(old, None)
        self._open(key, symbol, side, quantity, fields["order_state"] == "L")

    def _less(self, key: int | str, shares: int) -> None:
        if key in self.open:
            symbol, sign, leaves = self.open.pop(key)
            if leaves > shares:
                self.open[key] = symbol, sign, leaves - shares

    def _canceled(self, fields: dict) -> None:
        name = "decrement_shares" if "decrement_shares" in fields else "quantity"
        self._less(self._key(fields), fields[name])

    def _modified(self, fields: dict) -> None:
        key, leaves = self._key(fields), fields["quantity" if self._is50 else "shares"]
        if key in self.open:
            self._less(key, self.open[key][2] - leaves)

    def _executed(self, fields: dict) -> None:
        key, match = self._key(fields), fields["match_number"]
        shares = fields["quantity" if self._is50 else "executed_shares"]
        if key not in self._orders:
            self.unknown += 1
            return
        if (key, match) in self._executions:
            return
        symbol, sign = self._orders[key]
        self._executions[key, match] = shares
        self.positions[symbol] += sign * shares
        self._less(key, shares)

    def _broken(self, fields: dict) -> None:
        key, match = self._key(fields), fields["match_number"]
        shares = self._executions.get((key, match), 0)
        if shares:
            symbol, sign = self._orders[key]
            self._executions[key, match] = 0
            self.positions[symbol] -= sign * shares


_HANDLERS = {
    "order_accepted": Tally._accepted,
    "accepted": Tally._accepted,
    "replaced": Tally._replaced,
    "canceled": Tally._canceled,
    "aiq_canceled": Tally._canceled,
    "aiq_cancelled": Tally._canceled,
    "order_modified": Tally._modified,
    "order_executed": Tally._executed,
    "executed": Tally._executed,
    "executed_with_reference_price": Tally._executed,
    "broken_trade": Tally._broken,
}


def differences(engine: Engine, tally: Tally, start: dict[str, int]) -> list[str]:
    """What engine and drop copy say differently of positions, one line a symbol.

    ``start`` has the positions that the engine began the day with, which no drop copy tells.
    """
    held = engine.block.position["quantity"]
    symbols = {symbol: int(held[b]) for symbol, b in engine.symbols.items() if held[b]}
    lines = []
    for symbol in sorted({*symbols, *(each for each, n in tally.positions.items() if n), *start}):
        here = symbols.get(symbol, 0)
        there = tally.positions[symbol] + start.get(symbol, 0)
        if here != there:
            lines.append(f"{symbol}: engine {here:+,}, drop copy {there:+,}")
    return lines


class Watch:
    """Compares again and again; `check` gives what has differed for the whole grace."""

    def __init__(self, tally: Tally, start: dict[str, int], grace_ns: int) -> None:
        self.tally = tally
        self._start = start
        self._grace_ns = grace_ns
        self._since: tuple[int, list[str]] | None = None

    def check(self, engine: Engine, now_ns: int) -> list[str]:
        """Lines of a difference that has stayed as it is, else nothing."""
        found = differences(engine, self.tally, self._start)
        if not found:
            self._since = None
        elif self._since is None or self._since[1] != found:
            self._since = now_ns, found
        elif now_ns - self._since[0] >= self._grace_ns:
            return found
        return []
