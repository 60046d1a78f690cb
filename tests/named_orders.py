"""Orders that go by ClOrdID for tests: the hot encoders behind one compiled function."""

from collections.abc import Mapping

import numpy as np
from hypothesis import strategies as st
from numba import njit

from tickpath import encode
from tickpath.jit import HOT
from tickpath.order_template import OrderMessage, OrderProtocol

CANARY = 0xA5
U32, U64 = (1 << 32) - 1, (1 << 64) - 1
SYMBOLS = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ.+-=", min_size=1, max_size=8)
SIDES = {"B": "1", "S": "2", "T": "5", "E": "6"}
"""Codes of BOE and FIX by OUCH's."""
MARKET = 0x7FFFFFFF
ORDER = {
    "orig_order_id": 4100,
    "orig_quantity": 250,
    "order_id": 4200,
    "side": "B",
    "quantity": 100,
    "symbol": "AAPL",
    "price": 2_000_000,
}


def orders(most_quantity: int, most_price: int) -> st.SearchStrategy:
    """Orders with any value that a message can hold, up to these."""
    quantities = st.integers(0, most_quantity) | st.sampled_from(
        [0, 9, 10, 99_999, 999_999, most_quantity]
    )
    return st.fixed_dictionaries(
        {
            "orig_order_id": st.integers(0, U64),
            "orig_quantity": quantities,
            "order_id": st.integers(0, U64),
            "side": st.sampled_from("BSTE"),
            "quantity": quantities,
            "symbol": SYMBOLS,
            "price": st.integers(0, most_price)
            | st.integers(0, 2_000_000_000)
            | st.sampled_from([0, 1, 9_999, 10_000, MARKET, most_price]),
        }
    )


@njit(**HOT)
def _encode(
    kind, protocol, base, out, orig_id, orig_quantity, order_id, side, quantity, symbol, px
):
    if kind == np.uint64(0):
        return encode.encode_new(protocol, base, out, order_id, side, quantity, symbol, px)
    if kind == np.uint64(1):
        return encode.encode_replace(
            protocol, base, out, orig_id, orig_quantity, order_id, side, quantity, symbol, px
        )
    return encode.encode_cancel(protocol, base, out, orig_id, orig_quantity, order_id, side, symbol)


def encoded(
    kind: OrderMessage, protocol: OrderProtocol | int, records: np.ndarray, order: Mapping
) -> bytes:
    """The message as the hot path writes it; fails where it writes beyond its room."""
    before = records.tobytes()
    out = np.full(encode.MAX_LENGTH + 64, CANARY, np.uint8)
    symbol = order["symbol"]
    raw = symbol if isinstance(symbol, bytes) else symbol.encode().ljust(8)
    numbers = [
        order["orig_order_id"],
        order["orig_quantity"],
        order["order_id"],
        ord(order["side"]),
        order["quantity"],
        int.from_bytes(raw, "big"),
        order["price"],
    ]
    length = _encode(
        *(np.uint64(n) for n in (kind, protocol, records.ctypes.data, out.ctypes.data, *numbers))
    )
    assert (out[encode.MAX_LENGTH :] == CANARY).all()
    assert records.tobytes() == before
    return out[: int(length)].tobytes()
