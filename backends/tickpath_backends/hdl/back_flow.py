"""Random sessions for the back of the chain, drawn so that limits are met exactly and often.

Tops of few symbols toggle what triggers wait for; quantities, prices, exposures and times lie at
their limits or one beyond.  Everything follows from the seed.
"""

import random
from dataclasses import dataclass, field

from tickpath.risk import MAX_PRICE, MAX_SHARES
from tickpath_backends.hdl.back_check import Session
from tickpath_backends.hdl.profile import Trigger
from tickpath_backends.hdl.registers import Table

TRADING, HALTED, PAUSED = b"THP"
APART = 400
"""Cycles between two trading actions of a symbol: more than any intent waits."""


@dataclass
class Flow:
    """What a session is like; `play` draws it."""

    seed: int
    symbols: int = 6
    least_gap: int = 2
    most_gap: int = 12
    """Cycles from a top to the next."""
    host: float = 0.05
    """Share of tops with an access of the host beside them."""
    odd: float = 0.004
    """Share of tops with a flag, and of gaps and trading actions."""
    clock: int = 34_200_000_000_000
    number: int = 1000
    limits: dict[int, dict[str, int]] = field(default_factory=dict)
    wanted: dict[int, dict[str, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.draw = random.Random(self.seed)
        self._tag = 0
        self._acted: dict[int, int] = {}
        self._is_killed = False

    # ------------------------------------------------------------ tables

    def some_limits(self) -> dict[str, int]:
        """Limits of a symbol, some of them tight."""
        draw = self.draw
        loose = draw.random() < 0.5
        return {
            "is_enabled": int(draw.random() < 0.95),
            "is_cents": draw.randrange(2),
            "max_quantity": draw.choice((100, 400, MAX_SHARES, 0xFFFFFFFF)),
            "max_notional": draw.choice((100 * 1_000_000, 400 * 1_000_000, (1 << 64) - 1)),
            "collar_ticks": draw.choice((0, 1, 3, 300, 0xFFFF)),
            "max_long": draw.choice((1000, 5000, 0xFFFFFFFF)) if not loose else 0xFFFFFFFF,
            "max_short": draw.choice((1000, 5000, 0xFFFFFFFF)) if not loose else 0xFFFFFFFF,
            "rate_interval": draw.choice((0, 0, 40, 400)),
            "rate_burst": draw.choice((0, 40, 4000)),
        }

    def some_trigger(self) -> dict[str, int]:
        """A trigger that fires often."""
        draw = self.draw
        return {
            "kind": draw.choice((*Trigger, *Trigger, Trigger.IMBALANCE)[1:]),
            "is_sell": draw.randrange(2),
            "price": 1_000_000 + 100 * draw.randrange(-2, 3),
            "spread": draw.choice((100, 200, 300)),
            "ratio_log2": draw.randrange(4),
            "least": draw.choice((0, 100, 300)),
            "quantity": draw.choice((99, 100, 101, 400, 401, 1, 0, MAX_SHARES, MAX_SHARES + 1)),
            "slippage": draw.choice((0, 0, 0, 100, 101, 300, 301, 400, 0xFFFF)),
        }

    def prepare(self, session: Session) -> None:
        """All tables, with nothing under way."""
        for symbol in range(self.symbols):
            self._tell_limits(session, symbol)
            self._tell_trigger(session, symbol)
            session.tell(Table.TRADING, symbol, state=TRADING)
        self._tell_gate(session)
        session.back.settle()

    def _tell_limits(self, session: Session, symbol: int) -> None:
        self.limits[symbol] = self.some_limits()
        session.tell(Table.LIMITS, symbol, **self.limits[symbol])

    def _tell_trigger(self, session: Session, symbol: int) -> None:
        self.wanted[symbol] = self.some_trigger()
        session.tell(Table.TRIGGER, symbol, **self.wanted[symbol])

    def _tell_gate(self, session: Session) -> None:
        draw = self.draw
        interval, burst = draw.choice(((0, 0), (15, 2000), (30, 60)))
        session.tell(Table.GATE, 0, rate_interval=interval, rate_burst=burst)

    # ------------------------------------------------------------ traffic

    def some_top(self) -> dict[str, int]:
        """The next top of book."""
        draw = self.draw
        self.clock += draw.choice((0, 1, 7, 20, 20, 60))
        self.number += draw.choice((1, 1, 1, 2, 9))
        self._tag = self._tag + 1 & 0xFFFF
        symbol = draw.randrange(self.symbols)
        ask = 1_000_000 + 100 * draw.randrange(-3, 4)
        wild = draw.random()
        if wild < 0.01:
            ask = draw.choice((1, 0xFFFFFFFF, MAX_PRICE, MAX_PRICE + 1, 0))
        bid = max(ask - 100 * draw.randrange(1, 5), 0)
        sizes = [draw.choice((0, 50, 100, 200, 301, 400, 800, 801)) for _ in range(2)]
        flags = 1 << draw.randrange(4) if draw.random() < self.odd else 0
        return {
            "symbol": symbol,
            "bid_px": bid,
            "bid_sz": sizes[0],
            "ask_px": ask,
            "ask_sz": sizes[1],
            "ts_event": self.clock,
            "input_number": self.number,
            "tag": self._tag,
            "flags": flags,
            "rescanned": int(draw.random() < self.odd),
        }

    def play(self, session: Session, tops: int) -> None:
        """So many tops, with all that goes on beside them, to the last order."""
        draw, due = self.draw, 2
        for _ in range(tops):
            due += draw.randrange(self.least_gap, self.most_gap + 1)
            top = self.some_top()
            session.top(due, top, stamped=draw.randrange(1, 120))
            if draw.random() < self.odd:
                session.gap(due, draw.choice((None, *range(self.symbols))))
            if draw.random() < self.odd * 2:
                self._act_as_venue(session, due)
            if draw.random() < self.host:
                # The host acts when it comes to it: run up to here first.
                session.back.run(due)
                due = 2
                self._act(session)
        session.back.run(0, until_quiet=60)
        session.back.settle()
        session.check()

    def _act_as_venue(self, session: Session, due: int) -> None:
        draw = self.draw
        symbol, state = (
            draw.randrange(self.symbols),
            draw.choice((TRADING, TRADING, HALTED, PAUSED)),
        )
        cycle = session.back.cycle + due
        # The gate knows the last action and the state before it.
        if cycle - self._acted.get(symbol, -APART) >= APART:
            self._acted[symbol] = cycle
            self.number += 1
            session.action(due, symbol, state, self.number)

    def _act(self, session: Session) -> None:
        draw = self.draw
        symbol = draw.randrange(self.symbols)
        if self._is_killed:
            session.kill(False)
            self._is_killed = False
        what = draw.randrange(12)
        if what < 3:
            self._tell_limits(session, symbol)
        elif what < 5:
            self._tell_trigger(session, symbol)
        elif what == 5:
            self._tell_gate(session)
        elif what == 6:
            session.tell(Table.TRADING, symbol, state=TRADING)
        elif what == 7:
            session.kill(True)
            self._is_killed = True
        elif what < 10:
            sent = draw.choice((100, 400, 1000, 5000, (1 << 33) - 1))
            session.tell(Table.RELEASE, symbol, long_change=-sent, short_change=-sent // 2)
        else:
            for name in ("WINDOW_OVERFLOW", "ORDERS_OVERFLOW", "STALE"):
                session.clear(name)
