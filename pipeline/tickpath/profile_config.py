"""A hardware profile as the software engine's configuration, and what a run of it found.

The engine's gate makes the profile's eight checks and no other, with the same verdict for every
intent of a trigger.  How they correspond:

    kill switch       the gate's switch
    symbol enabled    ``allowed``, which is off for all symbols that the profile does not have
    halt              any trading state but T; before the first one as the profile says
    quantity          the limit, and MALFORMED for none or more than an order message takes
    notional          price times quantity, in 1e-4 dollars
    price collar      a collar of its own per symbol, whose width is in 1e-4 and not in percent;
                      the reference is the best price of the side taken, however wide the market,
                      because 100 % of the offer is wider than any.  MALFORMED and MARKET_ORDER are
                      prices that no order can have
    position          nobody answers orders (``fills.model = "none"``), so they stay open and count
                      as executed until an exchange's answers say what became of them
    order rate        the gate's and the symbol's buckets, in nanoseconds of engine time

What the engine does otherwise, and what becomes of it here:

    reducing orders pass checks of exposure    ``risk.reducing = "check"``: they do not
    a buy is also held against max_short       never decides: short exposure is at most max_short,
    (a sell against max_long)                  and a buy can only lower it
    checks of auctions, hours, short sales,    switched off
    gross and net, the day, own orders
    65,536 own orders can be open              OWN_ORDERS_FULL, which the hardware has not: reported
                                               as beyond the profile
    MALFORMED hides what else is wrong         `decisive` says which check it stands for
    UserRefNum is taken by refused intents     as in the hardware: it counts intents
"""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from tickpath.config import Config, ConfigError, Fills, Limits, Risk, StrategyConfig
from tickpath.config import check as check_config
from tickpath.limits import SCALE
from tickpath.profile import Check, Profile, limits_of, tick_of
from tickpath.profile_trigger import (
    CELLS,
    NAME,
    ROW,
    ROWS,
    Head,
    Overflow,
    Row,
    cells_of,
)
from tickpath.risk import MAX_PRICE, MAX_SHARES, Reject

OFF = (
    *("operational_halt", "auction", "market_hours", "stale_book", "short_sale_restricted"),
    *("no_locate", "duplicate_order", "open_orders", "symbol_open_orders", "gross_notional"),
    *("net_notional", "daily_quantity", "daily_notional", "self_match", "loss_limit"),
)
"""Checks of the engine that the profile does not have."""
CHECKS: dict[Reject, Check] = {
    Reject.KILL_SWITCH: Check.KILL_SWITCH,
    Reject.SYMBOL_NOT_ALLOWED: Check.SYMBOL_ENABLED,
    Reject.HALTED: Check.HALT,
    Reject.LULD_PAUSE: Check.HALT,
    Reject.TRADING_STATE_UNKNOWN: Check.HALT,
    Reject.QUANTITY: Check.QUANTITY,
    Reject.NOTIONAL: Check.NOTIONAL,
    Reject.NO_REFERENCE: Check.PRICE_COLLAR,
    Reject.STALE_REFERENCE: Check.PRICE_COLLAR,
    Reject.PRICE_COLLAR: Check.PRICE_COLLAR,
    Reject.MARKET_ORDER: Check.PRICE_COLLAR,
    Reject.ORDER_RATE: Check.ORDER_RATE,
    Reject.SYMBOL_ORDER_RATE: Check.ORDER_RATE,
    Reject.POSITION_LONG: Check.POSITION,
    Reject.POSITION_SHORT: Check.POSITION,
}
"""Which check of the profile a code of the engine's is."""
ORDER = tuple(dict.fromkeys(CHECKS[code] for code in sorted(CHECKS)))
"""In which the engine makes them: the first that fails decides."""
SAID = ("strategy", "risk", "fills", "orders")
"""Parts of a configuration that a profile says itself."""


def config_of(profile: Profile, base: Config | None = None) -> Config:
    """The engine's configuration for a profile; capacities, feed and the rest are ``base``'s.

    Raises `ConfigError` where ``base`` says something that the profile says itself.
    """
    base, plain = base or Config(), Config()
    for key in SAID:
        if getattr(base, key) != getattr(plain, key):
            raise ConfigError(f"configuration: {key}: a profile says this itself, leave it out")
    config = msgspec.structs.replace(
        base,
        strategy=StrategyConfig(NAME, parameters=cells_of(profile), cells=CELLS),
        risk=_risk_of(profile),
        fills=Fills(model="none"),
        orders=profile.orders,
    )
    check_config(config, "profile")
    return config


def _risk_of(profile: Profile) -> Risk:
    gate = profile.gate
    return Risk(
        kill_switch=gate.kill_switch,
        allowed=False,
        orders_per_second=gate.orders_per_second,
        order_burst=gate.order_burst,
        unknown_trading_state=gate.unknown_trading_state,
        max_spread_percent=100.0,
        reducing="check",
        audit_full="count",
        off=list(OFF),
        symbols={name: _limits_of(profile, name) for name in profile.symbols},
    )


def _limits_of(profile: Profile, name: str) -> Limits:
    limits = limits_of(profile, name)
    return Limits(
        allowed=limits.enabled,
        max_quantity=limits.max_quantity,
        max_notional=limits.max_notional,
        max_long=limits.max_long,
        max_short=limits.max_short,
        orders_per_second=limits.orders_per_second,
        order_burst=limits.order_burst,
        collar_percent=0.0,
        collar_price=limits.collar_ticks * tick_of(profile.symbols[name]) / SCALE,
    )


def checks_of(failed: int, quantity: int, price: int) -> set[Check] | None:
    """The profile's checks that an intent failed by the engine's ``failed`` bits (`layout.AUDIT`).

    None where the engine refused it for a reason of its own.  A malformed one gives those by which
    it is.
    """
    codes = [code for code in Reject if code and failed >> code & 1]
    if codes == [Reject.MALFORMED]:
        return {
            check
            for check, fails in (
                (Check.QUANTITY, not 0 < quantity <= MAX_SHARES),
                (Check.PRICE_COLLAR, not 0 < price <= MAX_PRICE),
            )
            if fails
        }
    return {CHECKS[code] for code in codes} if all(code in CHECKS for code in codes) else None


def decisive(failed: int, price: int) -> Check | None:
    """The check that a hardware verdict's ``failed`` bits are counted under: as in `result_of`.

    None: accepted.  The engine looks whether an order can have its price before anything else.
    """
    if failed and not 0 < price <= MAX_PRICE:
        return Check.PRICE_COLLAR
    return next((check for check in ORDER if failed >> check & 1), None)


# ---------------------------------------------------------------- what was found


def _refused(rejects: Mapping[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """(refused by check, refused for what is no check of the profile), by the engine's codes."""
    checks = {each.name.lower(): 0 for each in Check}
    others: dict[str, int] = {}
    for name, number in rejects.items():
        code = Reject[name]
        # A trigger's quantity is always one that an order can have.
        check = Check.PRICE_COLLAR if code == Reject.MALFORMED else CHECKS.get(code)
        if check is None:
            others[name] = number
        else:
            checks[check.name.lower()] += number
    return checks, others


def _symbol_of(row: np.ndarray) -> dict[str, Any]:
    overflows = row[Row.OVERFLOWS :]
    return {
        "fired": int(row[Row.FIRED]),
        "orders_live": int(row[Row.LIVE]),
        "overflows": {each.name.lower(): int(overflows[each]) for each in Overflow},
        "stopped": bool(row[Row.FLAGS]),
    }


def result_of(profile: Profile, cells: np.ndarray, rejects: Mapping[str, int]) -> dict[str, Any]:
    """A run's ``profile`` object, from the engine's cells and its rejects by code."""
    checks, others = _refused(rejects)
    rows = cells[ROWS:CELLS].reshape(-1, ROW)
    symbols = {name: _symbol_of(rows[n]) for n, name in enumerate(profile.symbols)}
    return {
        "symbols": symbols,
        "orders_live": int(cells[Head.LIVE]),
        "orders_live_peak": int(cells[Head.LIVE_PEAK]),
        "rejects_by_check": checks,
        "rejects_beyond": others,
        "overflows": {
            name: sum(each["overflows"][name] for each in symbols.values())
            for name in (each.name.lower() for each in Overflow)
        },
    }


def findings_of(result: Mapping[str, Any]) -> list[str]:
    """What makes a run one that hardware would not have had alike, in a sentence each."""
    found = []
    for name, each in result["symbols"].items():
        if each["stopped"]:
            ways = ", ".join(
                f"{way.replace('_', ' ')} {count:,}"
                for way, count in each["overflows"].items()
                if count
            )
            found.append(
                f"profile: {name} left what the hardware holds, its trigger stopped: {ways}"
            )
    for code, number in result["rejects_beyond"].items():
        found.append(f"profile: {number:,} orders were refused for {code}, which hardware has not")
    return found
