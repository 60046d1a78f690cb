"""What the back of the chain has to do, in plain Python, from the words of trigger.x and risk.x.

Independent of the kernels: comparisons of unbounded integers, orders by the software's encoders.
`Reference` takes in the order of the cycles what the hardware gets, and gives for each top the
intent, if its trigger fires; for each intent its verdict; for each accepted one its order's bytes.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tickpath.layout import MAX_INTENTS
from tickpath.risk import MAX_PRICE, MAX_SHARES
from tickpath_backends.hdl.profile import BY_NAME, PROFILE, Check, Trigger

Values = Mapping[str, int]
LEAST, MOST = -(1 << 39), (1 << 39) - 1
"""Of an exposure."""


class Intent(NamedTuple):
    """Of a trigger that fired."""

    symbol: int
    is_sell: int
    price: int
    quantity: int
    ts_event: int
    input_number: int
    tag: int
    reference_px: int

    @property
    def vector(self) -> int:
        """As the hardware's ports carry it."""
        made = 0
        for value, bits in zip(self[:7], (6, 1, 32, 32, 48, 64, 16), strict=True):
            made = made << bits | value
        return made


class Verdict(NamedTuple):
    """The gate's word on an intent."""

    failed: frozenset[Check]
    is_short: bool

    @property
    def vector(self) -> int:
        bits = sum(1 << check for check in self.failed)
        return (not bits) << 9 | bits << 1 | self.is_short


@dataclass
class Symbol:
    """All that is kept of one symbol."""

    parameters: Values | None = None
    limits: Values = field(default_factory=dict)
    holds: tuple[bool, bool] = (False, False)
    flags: dict[str, int] = field(default_factory=dict)
    """Why it is not usable: the cause, and the last cycle in which there was cause."""
    long: int = 0
    short: int = 0
    arrival: int = 0
    actions: list[tuple[int, int]] = field(default_factory=list)
    """(number of the message, state): the last one not after an intent's message counts."""


LIMITS = tuple(name for name, _ in BY_NAME["SymbolLimits"].fields)
PARAMETERS = tuple(name for name, _ in BY_NAME["TriggerParameters"].fields)


class Reference:
    """The back's state; ``encode(intent, is_short, user_ref_num)`` gives an order's bytes."""

    def __init__(self, encode: Callable[[Intent, bool, int], bytes]) -> None:
        self.symbols = [Symbol() for _ in range(PROFILE.symbols)]
        self.gate: dict[str, int] = {"rate_interval": 0, "rate_burst": 0}
        self.arrival = 0
        self.killed = True
        self.now = 0
        """Cycle of the top or gap under way; only `clear` asks for it."""
        self.user_ref_num = 1
        self.encode = encode
        self.covered: Counter[object] = Counter()

    # ------------------------------------------------------------ trigger

    def trigger(self, symbol: int, parameters: Values) -> None:
        """New parameters, what is not given being 0: nothing holds yet."""
        self.symbols[symbol].parameters = {name: parameters.get(name, 0) for name in PARAMETERS}
        self.symbols[symbol].holds = (False, False)

    def gap(self, symbol: int | None = None) -> None:
        """Messages were missed: of one symbol, or of any."""
        for each in self.symbols if symbol is None else [self.symbols[symbol]]:
            each.flags["stale"] = self.now

    def clear(self, cause: str, symbols: slice, cycle: int) -> None:
        """The host clears a cause; what comes in the cycle itself stays."""
        for each in self.symbols[symbols]:
            if each.flags.get(cause, cycle) < cycle:
                del each.flags[cause]

    def no_room(self, symbol: int) -> None:
        """An intent or an order of a symbol was dropped."""
        self.symbols[symbol].flags["orders"] = self.now

    def top(self, top: Values) -> Intent | None:
        """A top of book; the intent, if it makes one."""
        state, flags = self.symbols[top["symbol"]], top.get("flags", 0)
        if flags & 0b1110:
            state.flags["window"] = self.now
        if flags & 0b0001:
            state.flags["orders"] = self.now
        sides = self._sides(top, state)
        new = [holds and not held for holds, held in zip(sides, state.holds, strict=True)]
        state.holds = sides
        if not any(new):
            return None
        assert state.parameters is not None and not all(new)
        return self._intent(top, state.parameters, new[1])

    def _sides(self, top: Values, state: Symbol) -> tuple[bool, bool]:
        """Whether what is waited for holds, (to buy, to sell)."""
        wanted = state.parameters
        if wanted is None or state.flags or not (top["bid_sz"] and top["ask_sz"]):
            return False, False
        if wanted["kind"] == Trigger.IMBALANCE:
            times = 2 ** wanted["ratio_log2"]
            bids, asks = top["bid_sz"], top["ask_sz"]
            return (
                bids > times * asks and bids >= wanted["least"],
                asks > times * bids and asks >= wanted["least"],
            )
        sells = bool(wanted["is_sell"])
        if wanted["kind"] == Trigger.THROUGH:
            holds = top["bid_px"] >= wanted["price"] if sells else top["ask_px"] <= wanted["price"]
        else:
            within = top["ask_px"] - top["bid_px"] <= wanted["spread"]
            holds = wanted["kind"] == Trigger.SPREAD and within
        return holds and not sells, holds and sells

    def _intent(self, top: Values, wanted: Values, sells: bool) -> Intent:
        best = top["bid_px"] if sells else top["ask_px"]
        price = best - wanted["slippage"] if sells else best + wanted["slippage"]
        self.covered["trigger", Trigger(wanted["kind"]), sells] += 1
        return Intent(
            top["symbol"],
            int(sells),
            min(max(price, 0), 0xFFFFFFFF),
            wanted["quantity"],
            top.get("ts_event", 0),
            top.get("input_number", 0),
            top.get("tag", 0),
            best,
        )

    # ------------------------------------------------------------ gate

    def limit(self, symbol: int, limits: Values) -> None:
        """New limits; what is not given is 0."""
        self.symbols[symbol].limits = {name: limits.get(name, 0) for name in LIMITS}

    def action(self, symbol: int, state: int, number: int = 0) -> None:
        """A trading action; 0 as number: the host's, from now on."""
        known = self.symbols[symbol].actions
        if not number:
            known.clear()
        known.append((number, state))

    def release(self, symbol: int, long_change: int, short_change: int) -> None:
        """The host's word on what is not open any more."""
        state = self.symbols[symbol]
        state.long = min(max(state.long + long_change, LEAST), MOST)
        state.short = min(max(state.short + short_change, LEAST), MOST)

    def _is_halted(self, intent: Intent) -> bool:
        known = self.symbols[intent.symbol].actions
        states = [state for number, state in known if number <= intent.input_number]
        return not states or states[-1] != ord("T")

    def verdict(self, intent: Intent) -> Verdict:
        """Check an intent; what passes counts from now on."""
        state = self.symbols[intent.symbol]
        limits = state.limits or dict.fromkeys(LIMITS, 0)
        price, quantity, sells = intent.price, intent.quantity, bool(intent.is_sell)
        beyond = intent.reference_px - price if sells else price - intent.reference_px
        ticks = limits["collar_ticks"] * (100 if limits["is_cents"] else 1)
        exposure, most = (
            (state.short, limits["max_short"]) if sells else (state.long, limits["max_long"])
        )
        now = intent.ts_event
        fails = {
            Check.KILL_SWITCH: self.killed,
            Check.SYMBOL_ENABLED: not limits["is_enabled"],
            Check.HALT: self._is_halted(intent),
            Check.QUANTITY: not 0 < quantity <= min(limits["max_quantity"], MAX_SHARES),
            Check.NOTIONAL: price * quantity > limits["max_notional"],
            Check.PRICE_COLLAR: not intent.reference_px
            or beyond > ticks
            or not 0 < price <= MAX_PRICE,
            Check.POSITION: exposure + quantity > most,
            Check.ORDER_RATE: self.arrival - now > self.gate["rate_burst"]
            or state.arrival - now > limits["rate_burst"],
        }
        failed = frozenset(check for check, is_so in fails.items() if is_so)
        is_short = sells and state.short + quantity > 0
        for check in failed:
            self.covered["fails", check] += 1
            if len(failed) == 1:
                self.covered["fails alone", check] += 1
        self.covered["accepted" if not failed else "refused"] += 1
        if not failed:
            if sells:
                state.short += quantity
            else:
                state.long += quantity
            state.arrival = max(state.arrival, now) + limits["rate_interval"]
            self.arrival = max(self.arrival, now) + self.gate["rate_interval"]
            self.covered["side", sells, is_short] += 1
        return Verdict(failed, is_short)

    # ------------------------------------------------------------ order

    def order(self, intent: Intent, is_short: bool) -> bytes:
        """The order of an accepted intent that finds room."""
        raw = self.encode(intent, is_short, self.user_ref_num)
        self.take_number()
        return raw

    def take_number(self) -> None:
        """Every intent that the gate judged takes a UserRefNum, a refused one too."""
        self.user_ref_num = self.user_ref_num + 1 & 0xFFFFFFFF


def order_id_of(intent: Intent) -> int:
    """What an intent's order is called."""
    return intent.input_number * MAX_INTENTS & (1 << 64) - 1
