"""The hardware profile's chain in plain Python: ITCH messages in, decisions out.

Made of the hardware's own references: `hdl_reference` for fields, trigger and gate, and the book of
`tickpath_backends.hdl.book_reference`.  Of the engine it knows nothing; of a profile only what its
registers would hold.  ``kernels`` are the trigger and the gate, so that the same chain runs the
DSLX functions as native code.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple

from msgspec import structs

import hdl_reference
from itch_messages import message
from scenes import TS
from tickpath.config import Fix44Orders
from tickpath.digest import symbol_number
from tickpath.layout import MAX_INTENTS
from tickpath.profile import (
    Gate,
    Imbalance,
    OwnLimits,
    Profile,
    Spread,
    Symbol,
    SymbolLimits,
    Through,
    gate_limits,
    symbol_limits,
    trigger_parameters,
)
from tickpath_backends.hdl import fix_order
from tickpath_backends.hdl.book_reference import Book, Status
from tickpath_backends.hdl.error import HdlError
from tickpath_backends.hdl.profile import PROFILE, Check, Kind

REFERENCE = SimpleNamespace(
    trigger_step=hdl_reference.trigger_step, risk_step=hdl_reference.risk_step
)


class Decision(NamedTuple):
    """One intent and what the gate made of it."""

    order_id: int
    ts_event: int
    symbol: str
    is_sell: bool
    price: int
    quantity: int
    reference_px: int
    failed: frozenset[Check]
    is_short: bool


@dataclass
class Silicon:
    """The chain's state, by the symbols' numbers."""

    profile: Profile
    kernels: Any = field(default_factory=lambda: REFERENCE)
    input_number: int = 0
    now: int = 0
    overflows: int = 0
    decisions: list[Decision] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.names = [*self.profile.symbols]
        self.by_number = {symbol_number(name): n for n, name in enumerate(self.names)}
        self.locates: dict[int, int] = {}
        self.parameters = [trigger_parameters(self.profile, each) for each in self.names]
        self.limits = [symbol_limits(self.profile, each) for each in self.names]
        self.gate_limits = gate_limits(self.profile)
        self.gate = {"rate_arrival": 0}
        halted = int(self.profile.gate.unknown_trading_state == "reject")
        self.states = [
            {"is_halted": halted, "long_exposure": 0, "short_exposure": 0, "rate_arrival": 0}
            for _ in self.names
        ]
        cents = frozenset(n for n, each in enumerate(self.limits) if each["is_cents"])
        self.book = Book(cents=cents)
        self.held = [0] * len(self.names)
        self.full = [0] * len(self.names)

    def apply(self, raw: bytes) -> None:
        """One message."""
        self.input_number += 1
        fields = hdl_reference.itch_fields(raw)
        kind, locate = fields["kind"], fields["stock_locate"]
        if kind in (Kind.UNKNOWN, Kind.MALFORMED):
            return
        self.now = max(self.now, fields["ts_event"])
        if fields["stock"] in self.by_number:
            self.locates[locate] = self.by_number[fields["stock"]]
        if locate not in self.locates:
            return
        symbol = self.locates[locate]
        if kind == Kind.TRADING_ACTION:
            self.states[symbol]["is_halted"] = int(chr(fields["state"]) != "T")
        elif kind == Kind.OPERATION:
            self._operate(symbol, fields)

    def _operate(self, symbol: int, fields: dict[str, int]) -> None:
        status = self.book.apply(
            fields["op"],
            symbol,
            fields["order_ref"],
            fields["new_order_ref"],
            fields["is_sell"],
            fields["price"],
            fields["shares"],
        )
        if status & Status.FULL:
            self.full[symbol] = 1
            self.overflows += 1
        top = self.book.top(symbol)._asdict()
        flags = {"orders_overflow": self.full[symbol], "window_overflow": 0}
        fired = self.kernels.trigger_step(
            {**top, **flags}, self.parameters[symbol], self.held[symbol]
        )
        self.held[symbol] = fired["holds"]
        if fired["fires"]:
            self._judge(symbol, fired)

    def _judge(self, symbol: int, fired: dict[str, int]) -> None:
        intent = {name: fired[f"intent_{name}"] for name in ("is_sell", "price", "quantity")}
        found = self.kernels.risk_step(
            intent,
            self.now,
            fired["reference_px"],
            self.gate_limits,
            self.limits[symbol],
            self.gate,
            self.states[symbol],
        )
        self.gate = {"rate_arrival": found["gate_rate_arrival"]}
        self.states[symbol] = {name: found[f"state_{name}"] for name in self.states[symbol]}
        bits = found["verdict_failed"]
        assert found["verdict_is_accepted"] == (bits == 0)
        self.decisions.append(
            Decision(
                self.input_number * MAX_INTENTS,
                self.now,
                self.names[symbol],
                bool(intent["is_sell"]),
                intent["price"],
                intent["quantity"],
                fired["reference_px"],
                frozenset(each for each in Check if bits >> each & 1),
                bool(found["verdict_is_short"]),
            )
        )

    def release(self, symbol: str, long_change: int, short_change: int) -> None:
        """The host's word on a symbol: see hdl/dslx/risk.x."""
        state = self.states[self.names.index(symbol)]
        state["long_exposure"] += long_change
        state["short_exposure"] += short_change


# ---------------------------------------------------------------- something to run


def filled(settings: Fix44Orders) -> Fix44Orders:
    """The settings with as long a text as makes their constants fill the hardware's head."""
    for length in range(1, PROFILE.fix_head_bytes):
        full = structs.replace(settings, options={**settings.options, "text": "x" * length})
        try:
            fix_order.head(full)
        except HdlError:
            continue
        return full
    raise AssertionError("no text fills the head")


NAMES = ("AAPL", "MSFT", "PENNY", "ZVZZT", "OTHER")
"""The last one is in no profile; the third is quoted below one dollar."""
MIDDLES = {"PENNY": 8_000}
MIDDLE = 1_000_000


def tick_of(name: str) -> int:
    return 1 if name == "PENNY" else 100


def profile(draw: random.Random) -> Profile:
    """A profile in which most checks fail now and then."""
    symbols = {
        name: Symbol(
            trigger=_trigger(draw, name),
            tick=tick_of(name) / 10_000,
            limits=OwnLimits(
                enabled=draw.random() < 0.95,
                max_quantity=draw.choice((None, None, 99)),
                collar_ticks=draw.choice((None, None, 0, 2)),
                max_short=draw.choice((None, None, 350)),
            ),
        )
        for name in NAMES[:4]
    }
    return Profile(
        symbols=symbols,
        gate=Gate(
            kill_switch=draw.random() < 0.05,
            orders_per_second=draw.choice((333, 1_000, 999_999_937)),
            order_burst=draw.choice((1, 7)),
            unknown_trading_state=draw.choice(("reject", "trade", "trade")),
        ),
        limits=SymbolLimits(
            max_quantity=draw.choice((100, 999_999)),
            max_notional=draw.choice((1e9, 1e9, 10_000.0, 10_000.05)),
            collar_ticks=draw.choice((1, 3, 65_535)),
            max_long=draw.choice((500, 5_000, 4_000_000_000)),
            max_short=draw.choice((500, 20_000)),
            orders_per_second=draw.choice((97, 700, 7_000)),
            order_burst=draw.choice((1, 3)),
        ),
    )


def _trigger(draw: random.Random, name: str) -> Through | Spread | Imbalance | None:
    tick, middle = tick_of(name), MIDDLES.get(name, MIDDLE)
    side = draw.choice(("buy", "sell"))
    slippage = draw.choice((0, 1, tick, 2 * tick, 3 * tick + 1, 9_999)) / 10_000
    quantity = draw.choice((1, 99, 100, 101))
    which = draw.randrange(7)
    if which == 0:
        return None
    if which <= 2:
        price = (middle + draw.randint(-4, 4) * tick) / 10_000
        return Through(side, price, quantity, slippage)
    if which <= 4:
        return Spread(side, draw.randint(0, 4) * tick / 10_000, quantity, slippage)
    return Imbalance(draw.choice((1, 2, 4, 128)), quantity, draw.choice((0, 200)), slippage)


def market(draw: random.Random, count: int) -> Iterator[bytes]:
    """Messages of a busy market in five symbols, whose tops change and cross all the time."""
    ts, ref, alive = TS, 0, {}
    for locate, name in enumerate(NAMES, 1):
        if draw.random() < 0.7:
            yield message("R", locate, ts, stock=name)
    for _ in range(count):
        ts += draw.choice((0, 0, 1, 999, 250_000, 3_000_000))
        how = draw.random()
        old = draw.choice([*alive]) if len(alive) > 20 * how else 0
        locate = alive[old] if old else draw.randint(1, len(NAMES))
        name = NAMES[locate - 1]
        stamp = ts - 5 if draw.random() < 0.02 else ts
        side = draw.choice("BS")
        away = draw.randint(-2, 5) * tick_of(name)
        price = MIDDLES.get(name, MIDDLE) + (-away if side == "B" else away)
        shares = draw.choice((1, 100, 100, 300, 5_000))
        if how < 0.01:
            state = draw.choice("TTTTTTHPQ")
            yield message("H", locate, stamp, stock=name, trading_state=state)
        elif how < 0.02:
            yield draw.choice((b"", b"?", message("P", locate, stamp, stock=name, price=price)))
        elif not old:
            ref += 1
            alive[ref] = locate
            fields = {"ref": ref, "side": side, "shares": shares, "stock": name}
            yield message(draw.choice("AF"), locate, stamp, price=price, **fields)
        else:
            kind = draw.choice("ECXDDUU")
            if kind == "U":
                ref += 1
                alive[ref] = alive.pop(old)
                fields = {"ref": old, "new_ref": ref, "shares": shares, "price": price}
            elif kind == "D":
                fields = {"ref": old}
                del alive[old]
            else:
                extra = {"printable": "Y", "price": price} if kind == "C" else {}
                fields = {"ref": old, "shares": shares, **extra}
            yield message(kind, locate, stamp, **fields)


def native_kernels() -> Any:
    """The DSLX functions, compiled."""
    from tickpath_backends.hdl import aot

    calls: dict[str, Callable[..., Any]] = {
        name: aot.Frame(aot.native(module, name)).call
        for module, name in (("trigger", "trigger_step"), ("risk", "risk_step"))
    }
    return SimpleNamespace(**calls)
