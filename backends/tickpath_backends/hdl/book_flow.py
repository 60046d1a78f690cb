"""Random operations for the hardware's book, drawn so that hazards and anomalies are frequent.

A flow knows which orders live, so most of its operations are legal; `Flow.bad` is the share of each
kind of anomaly: unknown and duplicate references, wrong symbols, nothing or too much to take off,
a replace by its own reference.  Everything follows from the seed.
"""

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tickpath_backends.hdl.book_reference import OPERATION, Op

CENTS = frozenset(symbol for symbol in range(64) if symbol % 4 != 3)
"""Symbols whose tick is 100 in the benches."""
_U64 = (1 << 64) - 1


@dataclass
class Flow:
    """What operations are like; `operations` draws them."""

    seed: int
    symbols: int = 64
    live: int = 2000  # orders that live at most
    ticks: int = 40  # prices are at most so far from the middle
    mix: Sequence[int] = (45, 15, 10, 20, 10)  # weights of `Op`
    recent: float = 0.2  # share that is about one of the last few orders
    same_symbol: float = 0.3  # share of adds in the symbol of the add before
    gaps: float = 0.0  # share with 1..11 cycles without an operation before it
    bad: float = 0.02
    sequential: bool = False  # references rise by one mostly, as Nasdaq's; else 64 random bits
    jump: float = 0.0  # share at which the middle moves by up to `stride` ticks
    stride: int = 60
    odd: float = 0.0  # share of prices that are off the grid
    orders: dict[int, tuple[int, int, int]] = field(default_factory=dict)  # symbol, shares, sell

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._listed = list(self.orders)
        self._places = {ref: at for at, ref in enumerate(self._listed)}
        self._next = self._random.getrandbits(40)
        self._last: deque[int] = deque(maxlen=4)
        self._middles = [self._random.randrange(3000, 50000) for _ in range(64)]
        self._symbol = 0

    def operations(self, count: int) -> np.ndarray:
        """The next operations: an array of `OPERATION`."""
        made = np.zeros(count, OPERATION)
        for at in range(count):
            kind = self._random.choices(tuple(Op), self.mix)[0]
            if kind == Op.ADD and len(self._listed) >= self.live:
                kind = Op.DELETE
            if not self._listed:
                kind = Op.ADD
            row = self._add() if kind == Op.ADD else self._about(kind)
            gap = self._random.randrange(1, 12) if self._chance(self.gaps) else 0
            made[at] = (kind, row[0], row[1], gap, row[2], row[3], 0, row[4], row[5])
        return made

    def _chance(self, share: float) -> bool:
        return self._random.random() < share

    def _reference(self) -> int:
        if not self.sequential:
            return self._random.getrandbits(64)
        self._next = (self._next + self._random.choice((1, 1, 1, 2, 3, 17))) & _U64
        return self._next

    def _price(self, symbol: int, sell: int) -> int:
        draw = self._random
        if self._chance(self.jump):
            moved = self._middles[symbol] + draw.randrange(-self.stride, self.stride + 1)
            self._middles[symbol] = max(2000, moved)
        away = draw.randrange(1, self.ticks)
        inside = draw.choice((0, 0, 0, 0, 0, 0, draw.randrange(-3, 4)))
        tick = self._middles[symbol] + (away if sell else -away) + inside
        price = tick * (100 if symbol in CENTS else 1)
        return price + draw.randrange(1, 100) if self._chance(self.odd) else price

    def _keep(self, ref: int, symbol: int, shares: int, sell: int) -> None:
        self.orders[ref] = (symbol, shares, sell)
        self._places[ref] = len(self._listed)
        self._listed.append(ref)
        self._last.append(ref)

    def _forget(self, ref: int) -> None:
        at, last = self._places.pop(ref), self._listed.pop()
        if last != ref:
            self._listed[at], self._places[last] = last, at
        del self.orders[ref]

    def _add(self) -> tuple[int, int, int, int, int, int]:
        draw = self._random
        if not self._chance(self.same_symbol):
            self._symbol = draw.randrange(self.symbols)
        symbol, ref, sell = self._symbol, self._reference(), draw.randrange(2)
        shares = 0 if self._chance(self.bad) else draw.randrange(1, 1000)
        if self._listed and self._chance(self.bad):
            ref = draw.choice(self._listed)
        elif shares and ref not in self.orders:
            self._keep(ref, symbol, shares, sell)
        return symbol, sell, self._price(symbol, sell), shares, ref, 0

    def _chosen(self) -> int:
        if self._chance(self.recent):
            known = [ref for ref in self._last if ref in self.orders]
            if known:
                return self._random.choice(known)
        return self._random.choice(self._listed)

    def _about(self, kind: int) -> tuple[int, int, int, int, int, int]:
        draw = self._random
        ref = self._chosen()
        symbol, left, sell = self.orders[ref]
        says = draw.randrange(2)  # the side that a message says; only an add's counts
        if self._chance(self.bad):
            unknown = draw.getrandbits(63) | 1 << 63
            return symbol, says, self._price(symbol, sell), 5, unknown, self._reference()
        if self.symbols > 1 and self._chance(self.bad):
            other = (symbol + 1) % self.symbols
            return other, says, self._price(symbol, sell), 5, ref, self._reference()
        if kind in (Op.EXECUTE, Op.CANCEL):
            shares = draw.choice((left, draw.randrange(1, left + 1), draw.randrange(1, left + 1)))
            if self._chance(self.bad):
                shares = draw.choice((0, left + 3, (1 << 32) - 1))
            if shares >= left:
                self._forget(ref)
            else:
                self.orders[ref] = (symbol, left - shares, sell)
            return symbol, says, 0, shares, ref, 0
        self._forget(ref)
        if kind == Op.DELETE:
            return symbol, says, 0, draw.getrandbits(32), ref, 0
        return self._replacement(ref, symbol, left, sell, says)

    def _replacement(
        self, ref: int, symbol: int, left: int, sell: int, says: int
    ) -> tuple[int, int, int, int, int, int]:
        draw = self._random
        new = ref if self._chance(self.bad) else self._reference()
        shares = left if self._chance(0.3) else draw.randrange(1, 1000)
        if self._listed and self._chance(self.bad):
            new = draw.choice(self._listed)
        elif self._chance(self.bad):
            shares = 0
        if shares and new not in self.orders:
            self._keep(new, symbol, shares, sell)
        return symbol, says, self._price(symbol, sell), shares, ref, new
