"""Streams of PITCH made to collide: few symbols, few orders, few prices, every mistake.

As `streams` for ITCH: `collisions` is seeded, for long runs; `messages` is hypothesis'.
"""

import random
from collections.abc import Iterator, Sequence

from hypothesis import strategies as st

from pitch_messages import FIELDS, LENGTHS, message
from streams import MATCHES, PRICES, QUANTITIES, SMALL

SYMBOLS = ["AAPL", "MSFT", "ZVZZT", "BRK.A"]
LONG_SYMBOLS = [*SYMBOLS, "ZVZZT.WS", "BRK.ABCD"]
PITCH = SMALL
_BASE = 0x1A2B_3C4D_5E6F_0000
IDS = [*range(_BASE, _BASE + 12), *(_BASE + (n << 20) for n in range(1, 9)), 0, 1, (1 << 64) - 1]
LONG_PRICES = [*PRICES, 1 << 32, 1 << 40, (1 << 64) - 1]
CENTS = [price // 100 for price in PRICES if price % 100 == 0 and price // 100 < 65_536]
WEIGHTS = {
    "time": 3,
    "unit_clear": 0.3,
    "add_order_long": 12,
    "add_order_short": 16,
    "add_order_expanded": 8,
    "order_executed": 12,
    "order_executed_at_price_size": 6,
    "reduce_size_long": 4,
    "reduce_size_short": 5,
    "modify_order_long": 9,
    "modify_order_short": 7,
    "delete_order": 10,
    "trade_long": 2,
    "trade_short": 1,
    "trade_expanded": 1,
    "trade_break": 3,
    "end_of_session": 0.3,
    "trading_status": 1,
    "auction_update": 1,
    "auction_summary": 1,
    "retail_price_improvement": 1,
}
assert set(WEIGHTS) == set(FIELDS)
BROKEN = [
    *(b"\x06\x99ABCD", b"\x02\x21", b"\x02\x20", b"\x00\x22", b"\x01\x29", b"\x00\x00"),
    *(b"\x0d\x29" + bytes(11), b"\x19\x22" + bytes(23), b"\x21\x21" + bytes(31)),
    *(b"\x05\x97" + bytes(3), b"\xff\xaa" + bytes(253), b"\x02\xff"),
]
"""Of types that are not known, too short, of lengths that cannot be."""
VALUES: dict[str, Sequence] = {
    "side_indicator": [b"B", b"S", b"B", b"S", b"B", b"S", b"b"],
    "quantity": QUANTITIES,
    "quantity_short": [100, 100, 1, 7, 300, 0, 65_535],
    "executed_quantity": [*QUANTITIES, 50, 20],
    "remaining_quantity": [0, 1, 50, 100, 300, 0xFFFFFFFF],
    "canceled_quantity": [*QUANTITIES, 50, 20],
    "canceled_quantity_short": [0, 1, 7, 50, 100, 65_535],
    "symbol": SYMBOLS,
    "symbol_extended": LONG_SYMBOLS,
    "price": LONG_PRICES,
    "price_short": [*CENTS, 10_000, 10_001, 9_999],
    "order_id": IDS,
    "execution_id": [*MATCHES, 1 << 63 | 5, (1 << 64) - 1],
    "add_order_flags": [0, 1, 255],
    "modify_order_flags": [0, 1, 2, 3, 255],
    "trading_status": [b"T", b"T", b"H", b"Q", b"S", b"A"],
    "reg_sho_action": [b"0", b"1"],
    "auction_type": [b"O", b"C", b"H", b"I"],
    "auction_opening_type": [b"O", b"C", b"H", b"I"],
    "reference_price": LONG_PRICES,
    "indicative_price": LONG_PRICES,
    "auction_only_price": LONG_PRICES,
    "buy_shares": [0, 100, 0xFFFFFFFF],
    "sell_shares": [0, 100, 7],
    "shares_contracts": QUANTITIES,
    "retail_price_improvement": [b"B", b"S", b"A", b"N"],
    "participant_id": [b"ABCD", b"    "],
    "customer_indicator": [b" "],
    "padding": [b"  "],
    "time": [34_199, 34_200, 34_200, 34_201, 34_202, 57_600, 0, 72_000, (1 << 32) - 1],
    "time_offset": [0, 1, 1000, 700_000_000, 999_999_999, (1 << 32) - 1],
    "timestamp": [0, 999_999_999],
}
LIVELY = {
    "time": [34_200, 34_200, 34_201, 34_202],
    "trading_status": [b"T"],
    "modify_order_flags": [0, 1, 2, 3],
    "price": PRICES[:8],
    "price_short": [10_000, 10_001, 9_999],
}
"""Values of a market in which less is wrong."""


def fill(rng: random.Random, name: str, values: dict[str, Sequence]) -> bytes:
    given = {field: rng.choice(values[field]) for field in FIELDS[name][2]}
    raw = message(name, **given)
    if rng.random() < 0.02:  # of a later revision, with more behind the fields that are known
        more = rng.randint(1, 12)
        raw = bytes([raw[0] + more]) + raw[1:] + rng.randbytes(more)
    return raw


def collisions(
    seed: int, length: int, ids: Sequence[int] | None = None, lively: bool = False
) -> Iterator[bytes]:
    """A stream in which nearly every message meets an earlier one's order, price or mistake.

    ``ids`` are the orders to choose from; a ``lively`` stream has fewer mistakes and more orders.
    """
    rng = random.Random(seed)
    values = {**VALUES, **(LIVELY if lively else {})}
    if ids is not None:
        values["order_id"] = ids
    names = [name for name in WEIGHTS if not (lively and name == "unit_clear")]
    for name in rng.choices(names, [WEIGHTS[name] for name in names], k=length):
        yield rng.choice(BROKEN) if rng.random() < 0.01 else fill(rng, name, values)


def messages(most: int = 40) -> st.SearchStrategy[list[bytes]]:
    """Lists of colliding messages; hypothesis chooses the random numbers that fill them."""
    one = st.tuples(
        st.sampled_from([name for name, weight in WEIGHTS.items() for _ in range(int(weight) + 1)]),
        st.randoms(use_true_random=False),
    )
    valid = one.map(lambda each: fill(each[1], each[0], VALUES))
    return st.lists(valid | st.sampled_from(BROKEN), min_size=1, max_size=most)


assert min(LENGTHS.values()) > 2
