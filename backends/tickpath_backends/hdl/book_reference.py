"""What the hardware's book must say, from dictionaries: no hash, no window, no cache, no cycles.

An operation names its symbol, and an order of another symbol is left alone (`MISMATCH`).  A replace
takes its old order away, then adds the new one, which may be refused; the old one still has its
place in the store while the new one looks for one.  Orders off their symbol's grid are kept, but
are in no level.  Where prices lie against a window makes no difference to any of it.

Whether the store has room follows from the hash, which is modelled by itself here (`Store`): it
reads its masks from the SystemVerilog source, and knows nothing of stages.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from functools import cache
from typing import NamedTuple

import numpy as np

from tickpath_backends.hdl.verilated import RTL

SYMBOLS = 64


class Op(IntEnum):
    """Kinds of operations, as `in_op` has them."""

    ADD = 0
    EXECUTE = 1
    CANCEL = 2
    DELETE = 3
    REPLACE = 4


class Status(IntFlag):
    """What was odd about an operation, as `out_status` has it."""

    UNKNOWN = 1  # no such order
    MISMATCH = 2  # the order is of another symbol
    DUPLICATE = 4  # the new reference is that of a live order
    FULL = 8  # no room in the two buckets of the new reference
    ZERO = 16  # nothing to add, or to take off
    OVER = 32  # more than the order had left was taken off
    FAR = 64  # beyond the window: in the order store only
    OFF_GRID = 128  # not a multiple of the tick


OPERATION = np.dtype(
    [
        ("op", "u1"),
        ("symbol", "u1"),
        ("is_sell", "u1"),
        ("gap", "u1"),  # cycles without an operation before this one
        ("price", "u4"),
        ("shares", "u4"),
        ("pad", "u4"),
        ("order_ref", "u8"),
        ("new_order_ref", "u8"),
    ]
)
"""One operation, as the benches make them."""


class Top(NamedTuple):
    """Best price and quantity of both sides; size 0: the side is empty."""

    bid_px: int
    bid_sz: int
    ask_px: int
    ask_sz: int


@dataclass
class Order:
    """A live order."""

    symbol: int
    is_sell: bool
    price: int
    shares: int
    slot: tuple[int, int, int] = (0, 0, 0)


@cache
def hash_masks() -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The masks of both hashes, one a bit of the result."""
    text = (RTL / "hash.svh").read_text()
    found = re.findall(r"hash([12])\[(\d+)\] = \^\(r & 64'h([0-9a-f]+)\)", text)
    by_place = {(int(k), int(bit)): int(mask, 16) for k, bit, mask in found}
    return (
        tuple(by_place[1, bit] for bit in range(16)),
        tuple(by_place[2, bit] for bit in range(16)),
    )


class Store:
    """Which slots of the d-left hash are taken: 2 tables of 4 ways and ``2**index_bits`` rows."""

    def __init__(self, index_bits: int):
        self.index_bits = index_bits
        self.taken: set[tuple[int, int, int]] = set()

    def _row(self, ref: int, table: int) -> int:
        low = ref & ((1 << self.index_bits) - 1)
        upper = ref >> self.index_bits
        hashed = sum(
            ((upper & mask).bit_count() & 1) << bit
            for bit, mask in enumerate(hash_masks()[table][: self.index_bits])
        )
        return low ^ hashed

    def place(self, ref: int) -> tuple[int, int, int] | None:
        """Take a slot for a reference: in the emptier bucket, the first table at a tie."""
        rooms = []
        for table in range(2):
            row = self._row(ref, table)
            free = [w for w in range(4) if (table, row, w) not in self.taken]
            rooms.append((len(free), row, free))
        table = 1 if rooms[1][0] > rooms[0][0] else 0
        count, row, free = rooms[table]
        if not count:
            return None
        self.taken.add((table, row, free[0]))
        return (table, row, free[0])


@dataclass
class Book:
    """The books of all symbols; ``cents`` are the symbols whose tick is 100."""

    index_bits: int = 15
    cents: frozenset[int] = frozenset(range(SYMBOLS))
    orders: dict[int, Order] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = Store(self.index_bits)
        # Shares by price, of orders on the grid and off it: [symbol][is_sell].
        self.levels: list[list[dict[int, int]]] = [[{}, {}] for _ in range(SYMBOLS)]
        self.odd: list[list[dict[int, int]]] = [[{}, {}] for _ in range(SYMBOLS)]

    def on_grid(self, symbol: int, price: int) -> bool:
        """Whether a price is a multiple of the symbol's tick."""
        return symbol not in self.cents or price % 100 == 0

    def _change(self, order: Order, by: int) -> None:
        which = self.levels if self.on_grid(order.symbol, order.price) else self.odd
        level = which[order.symbol][order.is_sell]
        total = level.get(order.price, 0) + by
        if total:
            level[order.price] = total
        else:
            del level[order.price]

    def top(self, symbol: int) -> Top:
        """The top of a symbol's book."""
        bids, asks = self.levels[symbol]
        bid, ask = max(bids, default=0), min(asks, default=0)
        return Top(bid, bids.get(bid, 0), ask, asks.get(ask, 0))

    def _take(self, ref: int, shares: int | None) -> Status:
        """Shares off an order that is there; None: all."""
        order = self.orders[ref]
        status = Status(0)
        if shares is not None and shares > order.shares:
            status = Status.OVER
        by = order.shares if shares is None else min(shares, order.shares)
        self._change(order, -by)
        order.shares -= by
        if not order.shares:
            del self.orders[ref]
        return status

    def _add(self, ref: int, order: Order) -> Status:
        if not order.shares:
            return Status.ZERO
        if ref in self.orders:
            return Status.DUPLICATE
        slot = self.store.place(ref)
        if slot is None:
            return Status.FULL
        order.slot = slot
        self.orders[ref] = order
        self._change(order, order.shares)
        return Status(0) if self.on_grid(order.symbol, order.price) else Status.OFF_GRID

    def apply(
        self,
        op: int,
        symbol: int,
        order_ref: int,
        new_order_ref: int = 0,
        is_sell: int = 0,
        price: int = 0,
        shares: int = 0,
    ) -> Status:
        """Apply one operation; gives its status, but never `FAR`."""
        if op == Op.ADD:
            return self._add(order_ref, Order(symbol, bool(is_sell), price, shares))
        old = self.orders.get(order_ref)
        if old is None:
            return Status.UNKNOWN
        if old.symbol != symbol:
            return Status.MISMATCH
        if op != Op.REPLACE:
            if op != Op.DELETE and not shares:
                return Status.ZERO
            status = self._take(order_ref, None if op == Op.DELETE else shares)
        else:
            slot = old.slot
            self._take(order_ref, None)
            status = self._add(new_order_ref, Order(symbol, old.is_sell, price, shares))
            self.store.taken.discard(slot)
            return status
        if order_ref not in self.orders:
            self.store.taken.discard(old.slot)
        return status


def operations(rows: Sequence[Sequence[int]]) -> np.ndarray:
    """Operations from rows of op, symbol, order_ref, and as many of the other fields as needed.

    Those are new_order_ref, is_sell, price, shares and gap.
    """
    made = np.zeros(len(rows), OPERATION)
    names = ("op", "symbol", "order_ref", "new_order_ref", "is_sell", "price", "shares", "gap")
    for at, row in enumerate(rows):
        for name, value in zip(names, row, strict=False):
            made[at][name] = value
    return made
