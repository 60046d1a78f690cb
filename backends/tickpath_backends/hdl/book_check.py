"""Every top of book of the hardware against the reference, after every operation.

Flags are compared too: each stays from the operation that caused it.  `Checked.rescans` counts the
tops that the hardware had to look for in its store.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from tickpath_backends.hdl.book_reference import Book, Status, Top

LEVEL, OFF_GRID, STORE_FULL = 4, 2, 1
"""Bits of `out_flags`."""
MOST_LIVE = 65_536
MOST_QUANTITY = 1 << 35
"""A level of so many shares, or more, is said to be too large."""


class DifferenceError(AssertionError):
    """The hardware and the reference differ; the message says where."""


@dataclass
class Checked:
    """What was compared."""

    operations: int = 0
    changes: int = 0
    rescans: int = 0
    far: int = 0
    statuses: dict[Status, int] = field(default_factory=dict)


def _top(result: np.void) -> Top:
    bid_sz, ask_sz = int(result["bid_sz"]), int(result["ask_sz"])
    return Top(
        int(result["bid_px"]) if bid_sz else 0,
        bid_sz,
        int(result["ask_px"]) if ask_sz else 0,
        ask_sz,
    )


def _sides(was: Top, now: Top) -> int:
    return (was[:2] != now[:2]) | (was[2:] != now[2:]) << 1


def compare(
    operations: Iterable[np.void],
    results: Iterable[np.void],
    book: Book,
    seen: Checked | None = None,
) -> Checked:
    """Apply operations to the reference, comparing each result.  Raises `DifferenceError`."""
    seen = seen or Checked()
    said_of: dict[int, int] = {}  # flags of symbols
    for at, (o, r) in enumerate(zip(operations, results, strict=True)):
        symbol = int(o["symbol"])
        was, live = book.top(symbol), len(book.orders)
        given = (o["order_ref"], o["new_order_ref"], o["is_sell"], o["price"], o["shares"])
        status = book.apply(int(o["op"]), symbol, *map(int, given))
        now, said, flags = book.top(symbol), Status(int(r["status"])), int(r["flags"])
        expected = [symbol, status, _sides(was, now), *now]
        got = [int(r["symbol"]), said & ~Status.FAR, int(r["changed"]), *_top(r)]
        seen.operations += 1
        seen.far += bool(said & Status.FAR)
        seen.rescans += int(r["rescans"])
        for each in said:
            seen.statuses[each] = seen.statuses.get(each, 0) + 1
        seen.changes += was != now
        is_full = status & Status.FULL or len(book.orders) > max(live, MOST_LIVE)
        said_of[symbol] = (
            said_of.get(symbol, 0)
            | (STORE_FULL if is_full else 0)
            | (OFF_GRID if status & Status.OFF_GRID else 0)
        )
        # A level behind the best one says so, too.
        level = LEVEL if max(now.bid_sz, now.ask_sz) >= MOST_QUANTITY else flags & LEVEL
        if expected != got or flags != said_of[symbol] | level:
            raise DifferenceError(
                f"operation {at}: {o}\n  before   {was}\n  expected {expected}\n  got      {got}"
                f"\n  flags    {said_of[symbol] | level:04b}, got {flags:04b}"
            )
    return seen
