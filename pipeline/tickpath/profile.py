"""The hardware profile: what silicon does, said once for software and hardware.

Silicon has fixed capacities (`CAPACITIES`), a fixed set of triggers and a fixed set of checks.
`Profile` is a user's choice among them, read from TOML: symbols by name, a trigger and limits for
each, limits of the gate, one order message.  Software runs it too (`tickpath.profile_config`), and
within it software and hardware send the same orders.  `trigger_parameters`, `symbol_limits` and
`gate_limits` are its numbers as the hardware's registers hold them: software is given the same.

A symbol's locate is not part of it: directory messages say which it is today, or where a capture
begins later, the first order of the symbol.
"""

from enum import IntEnum
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from tickpath import limits as amounts
from tickpath.config import (
    OUCH_PROTOCOLS,
    Burst,
    Component,
    ConfigError,
    Dollars,
    Money,
    Orders,
    Rate,
    Share,
    in_words,
    read_toml,
)


class Capacities(NamedTuple):
    """What the hardware has room for, fixed when it is built."""

    symbols: int = 64
    symbol_bits: int = 6
    live_orders: int = 65_536
    order_slots: int = 262_144
    """Places of a hash table: a quarter of it in use practically never finds both of a reference's
    buckets full, half of it does so in long churn."""
    window_ticks: int = 1_024
    tick_bits: int = 10
    cached_levels: int = 8
    level_bits: int = 36
    """Of a level's quantity: 64k orders of 32 bits can add up to more, so the highest is a flag."""
    tick_below_dollar: int = 1
    tick_from_dollar: int = 100
    one_dollar: int = 10_000
    time_bits: int = 48
    """Of rate buckets' intervals."""
    size_bits: int = 32
    """Of quantities, prices and positions."""


CAPACITIES = Capacities()


class Trigger(IntEnum):
    """What a symbol's trigger waits for: see hdl/dslx/trigger.x and `tickpath.profile_trigger`."""

    OFF = 0
    THROUGH = 1
    SPREAD = 2
    IMBALANCE = 3


class Check(IntEnum):
    """The gate's checks; in hardware the bits of a verdict's ``failed``."""

    KILL_SWITCH = 0
    SYMBOL_ENABLED = 1
    HALT = 2
    QUANTITY = 3
    NOTIONAL = 4
    PRICE_COLLAR = 5
    POSITION = 6
    ORDER_RATE = 7


# ---------------------------------------------------------------- what a user writes

U32 = Annotated[int, Meta(ge=0, le=(1 << CAPACITIES.size_bits) - 1)]
Ticks = Annotated[int, Meta(ge=0, le=0xFFFF)]
Slippage = Annotated[float, Meta(ge=0, le=6.5535)]
Side = Literal["buy", "sell"]
TICKS = (0.01, 0.0001)
RATIOS = tuple(1 << power for power in range(8))


class Through(Component, tag="through", tag_field="kind", frozen=True):
    """Fires when the other side's best price comes to ``price``, or beyond it."""

    side: Side
    price: Dollars
    quantity: Share
    slippage: Slippage = 0.0
    """Dollars that the order's price is beyond the price it would take."""


class Spread(Component, tag="spread", tag_field="kind", frozen=True):
    """Fires when the offer comes to be at most ``spread`` above the bid."""

    side: Side
    spread: Dollars
    quantity: Share
    slippage: Slippage = 0.0


class Imbalance(Component, tag="imbalance", tag_field="kind", frozen=True):
    """Fires when one best size comes to be more than ``ratio`` times the other.

    Buys where that is the bid, sells where it is the offer.
    """

    ratio: int
    quantity: Share
    least: U32 = 0
    """Shares that the larger size must have."""
    slippage: Slippage = 0.0


class SymbolLimits(Component, frozen=True):
    """Limits of every symbol whose own table does not say otherwise.  Money in dollars."""

    enabled: bool = True
    max_quantity: Share = 1_000
    max_notional: Money = 1_000_000.0
    collar_ticks: Ticks = 100
    """Beyond the best price of the side that the order takes."""
    max_long: U32 = 10_000
    """Worst case: what was sent counts as executed until it is known to be not."""
    max_short: U32 = 10_000
    orders_per_second: Rate = 1_000
    order_burst: Burst = 100


class OwnLimits(Component, frozen=True):
    """Limits of one symbol; what is not given is the profile's."""

    enabled: bool | None = None
    max_quantity: Share | None = None
    max_notional: Money | None = None
    collar_ticks: Ticks | None = None
    max_long: U32 | None = None
    max_short: U32 | None = None
    orders_per_second: Rate | None = None
    order_burst: Burst | None = None


class Symbol(Component, frozen=True):
    """One symbol: how fine its prices are, what fires, what is allowed."""

    trigger: Through | Spread | Imbalance | None = None
    tick: float = 0.01
    """Dollars between two prices: 0.01, or 0.0001 for a symbol that is quoted below one dollar."""
    limits: OwnLimits = OwnLimits()


class Gate(Component, frozen=True):
    """Limits that all symbols share."""

    kill_switch: bool = False
    orders_per_second: Rate = 10_000
    order_burst: Burst = 1_000
    unknown_trading_state: Literal["reject", "trade"] = "reject"
    """Whether symbols are halted before their first trading action."""


class Profile(Component, frozen=True):
    """What is traded how, within what the hardware can do.

    A symbol's number in the hardware is its place among ``symbols``.
    """

    symbols: dict[str, Symbol]
    gate: Gate = Gate()
    limits: SymbolLimits = SymbolLimits()
    orders: Orders = Orders()


# ---------------------------------------------------------------- the same in numbers


def _units(dollars: float) -> int:
    """Dollars in 1e-4."""
    return amounts.money(dollars)


def limits_of(profile: Profile, name: str) -> SymbolLimits:
    """All limits of one symbol."""
    own = profile.symbols[name].limits
    given = {key: getattr(own, key) for key in own.__struct_fields__}
    return msgspec.structs.replace(
        profile.limits, **{key: value for key, value in given.items() if value is not None}
    )


def tick_of(symbol: Symbol) -> int:
    """A symbol's tick in 1e-4."""
    return _units(symbol.tick)


def trigger_parameters(profile: Profile, name: str) -> dict[str, int]:
    """The hardware's ``TriggerParameters`` of a symbol, prices in 1e-4."""
    trigger = profile.symbols[name].trigger
    numbers = dict.fromkeys(
        (
            *("kind", "is_sell", "price", "spread", "ratio_log2", "least", "quantity"),
            "slippage",
        ),
        0,
    )
    if trigger is None:
        return numbers
    numbers |= {"quantity": trigger.quantity, "slippage": _units(trigger.slippage)}
    if isinstance(trigger, Imbalance):
        ratio_log2 = trigger.ratio.bit_length() - 1
        return numbers | {
            "kind": Trigger.IMBALANCE,
            "ratio_log2": ratio_log2,
            "least": trigger.least,
        }
    numbers["is_sell"] = int(trigger.side == "sell")
    if isinstance(trigger, Through):
        return numbers | {"kind": Trigger.THROUGH, "price": _units(trigger.price)}
    return numbers | {"kind": Trigger.SPREAD, "spread": _units(trigger.spread)}


def symbol_limits(profile: Profile, name: str) -> dict[str, int]:
    """The hardware's ``SymbolLimits`` of a symbol: money in 1e-4, rates in ns."""
    limits = limits_of(profile, name)
    interval, burst = amounts.rate(limits.orders_per_second, limits.order_burst)
    return {
        "is_enabled": int(limits.enabled),
        "is_cents": int(tick_of(profile.symbols[name]) == CAPACITIES.tick_from_dollar),
        "max_quantity": limits.max_quantity,
        "max_notional": _units(limits.max_notional),
        "collar_ticks": limits.collar_ticks,
        "max_long": limits.max_long,
        "max_short": limits.max_short,
        "rate_interval": interval,
        "rate_burst": burst,
    }


def gate_limits(profile: Profile) -> dict[str, int]:
    """The hardware's ``GateLimits``."""
    gate = profile.gate
    interval, burst = amounts.rate(gate.orders_per_second, gate.order_burst)
    return {
        "is_killed": int(gate.kill_switch),
        "rate_interval": interval,
        "rate_burst": burst,
    }


# ---------------------------------------------------------------- checking


def load_profile(path: str | Path) -> Profile:
    """Read a TOML file.  Raises `ConfigError` with one line: file, key, what is expected."""
    try:
        profile = read_toml(path, Profile)
    except ConfigError:
        _check_symbols(path)
        raise
    check(profile, str(path))
    return profile


def _check_symbols(path: str | Path) -> None:
    """Raise what is wrong in a symbol's table with the symbol's name, if that is what is wrong."""
    tables = read_toml(path, dict).get("symbols")
    for name, table in tables.items() if isinstance(tables, dict) else ():
        try:
            msgspec.convert(table, Symbol)
        except msgspec.ValidationError as error:
            raise ConfigError(f"{path}: {in_words(str(error), f'symbols.{name}')}") from None


def check(profile: Profile, source: str = "profile") -> None:
    """What types alone cannot say.  Raises `ConfigError`."""
    if not 1 <= len(profile.symbols) <= CAPACITIES.symbols:
        raise ConfigError(
            f"{source}: symbols: {len(profile.symbols)} of them, the hardware has room for 1 to "
            f"{CAPACITIES.symbols}"
        )
    _check_rate(profile.gate, f"{source}: gate")
    for name, symbol in profile.symbols.items():
        where = f"{source}: symbols.{name}"
        is_plain = name.isascii() and name.isprintable() and " " not in name
        if not (1 <= len(name) <= 8 and is_plain):
            raise ConfigError(f"{where}: no symbol: one to eight characters, without blanks")
        if symbol.tick not in TICKS:
            raise ConfigError(f"{where}.tick: {symbol.tick} is neither 0.01 nor 0.0001")
        _check_rate(limits_of(profile, name), f"{where}.limits")
        if symbol.trigger is not None:
            _check_trigger(symbol.trigger, f"{where}.trigger")
    _check_orders(profile.orders, source)


def _check_rate(limits: SymbolLimits | Gate, where: str) -> None:
    interval, burst = amounts.rate(limits.orders_per_second, limits.order_burst)
    if burst + interval >> CAPACITIES.time_bits:
        raise ConfigError(
            f"{where}.order_burst: {limits.order_burst} orders at {limits.orders_per_second} a "
            f"second take more nanoseconds than {CAPACITIES.time_bits} bits hold"
        )


def _check_trigger(trigger: Through | Spread | Imbalance, where: str) -> None:
    for key in ("price", "spread", "slippage"):
        dollars = getattr(trigger, key, 0.0)
        if abs(dollars * amounts.SCALE - _units(dollars)) > 1e-3:
            raise ConfigError(f"{where}.{key}: {dollars} is no multiple of 0.0001 dollars")
    if isinstance(trigger, Imbalance) and trigger.ratio not in RATIOS:
        powers = ", ".join(map(str, RATIOS))
        raise ConfigError(f"{where}.ratio: {trigger.ratio} is not one of {powers}")


def _check_orders(orders: Orders, source: str) -> None:
    """One message without options, of a protocol that the hardware writes."""
    if orders.protocol == "boe23":
        raise ConfigError(f"{source}: orders.protocol: the hardware writes ouch50, ouch42, fix44")
    for key in ("options", "replace_options"):
        if orders.protocol in OUCH_PROTOCOLS and getattr(orders, key):
            raise ConfigError(f"{source}: orders.{key}: the hardware writes no appendage")
    if orders.protocol == "ouch50" and orders.firm:
        raise ConfigError(
            f"{source}: orders.firm: an option of the appendage, which the hardware does not write"
        )
