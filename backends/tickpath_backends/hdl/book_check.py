"""Every top of book of the hardware against the reference, after every operation.

`Checked.lost` counts tops that the hardware itself called unknown (the window is empty while far
orders live): those are compared with nothing but that claim.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from tickpath_backends.hdl.book_reference import Book, Status, Top

LOST_BID, LOST_ASK, OFF_GRID, STORE_FULL = 8, 4, 2, 1
"""Bits of `out_flags`."""
_BY_WINDOW = Status.FAR | Status.OFF_GRID


class DifferenceError(AssertionError):
    """The hardware and the reference differ; the message says where."""


@dataclass
class Checked:
    """What was compared."""

    operations: int = 0
    changes: int = 0
    lost: int = 0
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
    full: set[int] = set()
    lost: set[int] = set()  # symbols whose last top was not known
    for at, (o, r) in enumerate(zip(operations, results, strict=True)):
        symbol = int(o["symbol"])
        was = book.top(symbol)
        given = (o["order_ref"], o["new_order_ref"], o["is_sell"], o["price"], o["shares"])
        status = book.apply(int(o["op"]), symbol, *map(int, given))
        now, said, flags = book.top(symbol), Status(int(r["status"])), int(r["flags"])
        expected = [symbol, status, _sides(was, now), *now]
        got = [int(r["symbol"]), said & ~_BY_WINDOW, int(r["changed"]), *_top(r)]
        seen.operations += 1
        seen.far += bool(said & Status.FAR)
        for each in said:
            seen.statuses[each] = seen.statuses.get(each, 0) + 1
        if status & Status.FULL:
            full.add(symbol)
        if flags & (LOST_BID | LOST_ASK):
            seen.lost += 1
            size = {LOST_BID: "bid_sz", LOST_ASK: "ask_sz"}
            if any(flags & bit and r[name] for bit, name in size.items()):
                raise DifferenceError(f"operation {at}: a side that is lost has a size: {r}")
            lost.add(symbol)
            continue
        if symbol in lost and not r["rescans"]:
            expected[2] = got[2]  # what was published before was not the book's top
        lost.discard(symbol)
        seen.changes += was != now
        if expected != got or bool(flags & STORE_FULL) < (symbol in full):
            raise DifferenceError(
                f"operation {at}: {o}\n  before   {was}\n  expected {expected}\n  got      {got}"
            )
    return seen
