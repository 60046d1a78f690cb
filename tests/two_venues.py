"""One market told by two venues: a stream of ITCH, and the same as PITCH with orders of its own.

`Teller` translates message by message, as far as PITCH has one for it; `TwoVenues` is an engine
beside the reference that gets both.
"""

import random
from collections.abc import Iterable, Iterator

from comparison import Pair
from itch_messages import read
from pitch_messages import message
from pitch_scenes import feed
from reference_pitch import PitchReference

SECOND = 1_000_000_000
ID_STEP = 0x9E37_79B9_7F4A_7C15
"""From one order id to the next: as far apart as can be."""
STATES = {b"T": "T", b"H": "H", b"P": "S", b"Q": "Q"}
U64 = (1 << 64) - 1


class Teller:
    """What a venue of Cboe says of a market that Nasdaq tells."""

    def __init__(self, seed: int = 0) -> None:
        self._rng = random.Random(seed)
        self._ids: dict[int, int] = {}  # by Nasdaq's reference
        self._names: dict[int, bytes] = {}  # by locate
        self._left: dict[int, int] = {}
        self._second = -1
        self._orders = 0

    def tell(self, raw: bytes) -> Iterator[bytes]:
        """The messages that stand for one of ITCH."""
        given = read(raw)
        second, offset = divmod(given.ts, SECOND)
        self._names.setdefault(given.locate, vars(given).get("stock", b""))
        said = list(getattr(self, f"_on_{given.code}", self._nothing)(given))
        if said and second != self._second:
            self._second = second
            yield message("time", time=second)
        for name, values in said:
            yield message(name, time_offset=offset, **values)

    def _nothing(self, given) -> Iterable[tuple[str, dict]]:
        return ()

    def _on_A(self, given):  # noqa: N802
        self._orders += 1
        order_id = self._ids[given.ref] = self._orders * ID_STEP & U64
        self._left[order_id] = given.shares
        values = {"order_id": order_id, "side_indicator": given.side, "add_order_flags": 1}
        if given.price % 100 == 0 and given.price < 6_553_600 and self._rng.random() < 0.5:
            more = {"quantity_short": given.shares, "price_short": given.price // 100}
            yield "add_order_short", {**values, **more, "symbol": given.stock[:6]}
            return
        more = {"quantity": given.shares, "price": given.price}
        if self._rng.random() < 0.5:
            yield "add_order_long", {**values, **more, "symbol": given.stock[:6]}
        else:
            yield "add_order_expanded", {**values, **more, "symbol_extended": given.stock}

    _on_F = _on_A  # noqa: N815

    def _on_E(self, given):  # noqa: N802
        order_id = self._ids.get(given.ref, 1)
        self._left[order_id] = max(0, self._left.get(order_id, 0) - given.shares)
        values = {"order_id": order_id, "executed_quantity": given.shares}
        yield "order_executed", {**values, "execution_id": given.match_number}

    def _on_C(self, given):  # noqa: N802
        order_id = self._ids.get(given.ref, 1)
        left = self._left[order_id] = max(0, self._left.get(order_id, 0) - given.shares)
        values = {"executed_quantity": given.shares, "remaining_quantity": left}
        values |= {"order_id": order_id, "execution_id": given.match_number}
        yield "order_executed_at_price_size", {**values, "price": given.price}

    def _on_X(self, given):  # noqa: N802
        order_id = self._ids.get(given.ref, 1)
        self._left[order_id] = max(0, self._left.get(order_id, 0) - given.shares)
        values = {"order_id": order_id, "canceled_quantity_short": given.shares}
        yield "reduce_size_short", values

    def _on_D(self, given):  # noqa: N802
        yield "delete_order", {"order_id": self._ids.get(given.ref, 1)}

    def _on_U(self, given):  # noqa: N802
        order_id = self._ids.get(given.ref, 1)
        self._ids[given.new_ref] = order_id
        self._left[order_id] = given.shares
        flags = self._rng.choice([0, 1, 2, 3])
        values = {"order_id": order_id, "quantity": given.shares, "price": given.price}
        yield "modify_order_long", {**values, "modify_order_flags": flags}

    def _on_P(self, given):  # noqa: N802
        name = self._names[given.locate]
        if name:
            values = {"symbol_extended": name, "quantity": given.shares, "price": given.price}
            yield "trade_expanded", {**values, "execution_id": given.match_number}

    def _on_B(self, given):  # noqa: N802
        yield "trade_break", {"execution_id": given.match_number}

    def _on_H(self, given):  # noqa: N802
        name = self._names[given.locate]
        if name.strip():
            code = STATES.get(given.trading_state, "A")
            yield "trading_status", {"symbol_extended": name, "trading_status": code}

    def _on_I(self, given):  # noqa: N802
        name = self._names[given.locate]
        if name.strip():
            values = {"symbol_extended": name, "auction_type": given.cross_type}
            yield "auction_update", {**values, "buy_shares": 100, "sell_shares": 7}

    def _on_Q(self, given):  # noqa: N802
        name = self._names[given.locate]
        if name.strip():
            values = {"symbol_extended": name, "auction_opening_type": "C"}
            yield (
                "auction_summary",
                {**values, "price": given.price, "shares_contracts": given.shares},
            )


class TwoVenues(Pair):
    """An engine and the reference, which get both venues' messages."""

    def __init__(self, config, strategy, start=None) -> None:
        super().__init__(config, strategy, start, PitchReference)
        self.reference: PitchReference

    def feed_pitch(self, raw: bytes) -> None:
        """One message of PITCH to both."""
        feed(self.engine, [raw])
        self.reference.run_pitch([raw])
        self.compare()

    def feed_both(self, raw: bytes, teller: Teller) -> None:
        """A message of Nasdaq, then what Cboe says of it."""
        self.feed(raw)
        for each in teller.tell(raw):
            self.feed_pitch(each)

    def run(self, stream: Iterable[bytes], teller: Teller | None = None) -> None:
        teller = teller or Teller()
        for each in stream:
            self.feed_both(each, teller)


def both(stream: Iterable[bytes], seed: int = 0) -> Iterator[tuple[bool, bytes]]:
    """(whether it is PITCH, message) of a market told by both venues."""
    teller = Teller(seed)
    for raw in stream:
        yield False, raw
        for each in teller.tell(raw):
            yield True, each


def only_pitch(stream: Iterable[bytes], seed: int = 0) -> list[bytes]:
    """The market as Cboe tells it."""
    return [raw for is_pitch, raw in both(stream, seed) if is_pitch]
