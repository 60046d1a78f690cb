"""Limits from the configuration and the start-of-day file into the engine's records.

A symbol's limits are its own table's where that says something, else the defaults; of those and the
running strategy's, the tighter one.  Money becomes integers of 1e-4 dollars, rates become the
nanoseconds that one order takes.
"""

import csv
from pathlib import Path
from typing import Any

import numpy as np

from tickpath.config import Config, ConfigError, Limits, Risk
from tickpath.digest import symbol_number
from tickpath.layout import START, SYMBOL_LIMIT
from tickpath.risk import FillModel, Hours, Kill, Reject

SECOND_NS = 1_000_000_000
SCALE = 10_000
"""Prices and money are integers of 1e-4 dollars."""
START_COLUMNS = ("symbol", "position", "prior_close", "locate")
_ALL_CHECKS = sum(1 << code for code in Reject)


def money(dollars: float) -> int:
    """Dollars in 1e-4."""
    return round(dollars * SCALE)


def rate(per_second: int, burst: int) -> tuple[int, int]:
    """(nanoseconds that one order takes, nanoseconds that the bucket can run ahead)."""
    interval = SECOND_NS // per_second
    return interval, (burst - 1) * interval


def _chosen(risk: Risk, own: Limits) -> dict[str, Any]:
    """One symbol's limits by the names of `LIMIT`."""

    def of(name: str, default: str | None = None) -> Any:
        value = getattr(own, name)
        return getattr(risk, default or name) if value is None else value

    position = of("max_position")
    # A symbol's own max_position is about both sides, unless it says more itself.
    inherits = own.max_position is None

    def reach(name: str) -> int:
        value = getattr(own, name)
        if value is None and inherits:
            value = getattr(risk, name)
        return position if value is None else value

    interval, burst = rate(
        of("orders_per_second", "symbol_orders_per_second"),
        of("order_burst", "symbol_order_burst"),
    )
    collared = own.collar_percent is not None or own.collar_price is not None
    return {
        "max_notional": money(of("max_notional")),
        "max_long": reach("max_long"),
        "max_short": reach("max_short"),
        "max_daily_quantity": of("max_daily_quantity"),
        "max_daily_notional": money(of("max_daily_notional")),
        "max_loss": money(of("max_loss")),
        "rate_interval": interval,
        "rate_burst": burst,
        "max_quantity": of("max_quantity"),
        "collar_bp": round(of("collar_percent") * 100),
        "collar_px": money(of("collar_price")),
        "max_open_orders": of("max_open_orders"),
        "own_collar": collared,
        "allowed": of("allowed"),
        "killed": Kill.STOP if own.kill_switch else Kill.NONE,
    }


_LOOSER_IS_LARGER = (
    *("max_notional", "max_long", "max_short", "max_daily_quantity", "max_daily_notional"),
    *("max_loss", "max_quantity", "max_open_orders", "allowed"),
)


def _tighten(limits: dict[str, Any], by: dict[str, Any], given: Limits) -> None:
    """Of two limits of a kind the tighter one; only what the second table says counts."""
    for name in _LOOSER_IS_LARGER:
        limits[name] = min(limits[name], by[name])
    if given.orders_per_second is not None:
        limits["rate_interval"] = max(limits["rate_interval"], by["rate_interval"])
        limits["rate_burst"] = min(limits["rate_burst"], by["rate_burst"])
    if given.collar_percent is not None or given.collar_price is not None:
        limits["collar_bp"] = min(limits["collar_bp"], by["collar_bp"])
        limits["collar_px"] = min(limits["collar_px"], by["collar_px"])
        limits["own_collar"] = True


_UNLIMITED = Risk(
    max_quantity=999_999,
    max_notional=1e14,
    max_position=(1 << 62),
    max_open_orders=(1 << 32) - 1,
    max_daily_quantity=(1 << 62),
    max_daily_notional=1e14,
    max_loss=1e14,
)


def symbol_limits(config: Config, strategy: str | None) -> np.ndarray:
    """`SYMBOL_LIMIT` records: the defaults first, then every symbol with a table of its own."""
    risk = config.risk
    tables = [("", Limits()), *risk.symbols.items()]
    records = np.zeros(len(tables), SYMBOL_LIMIT)
    narrower = risk.strategies.get(strategy or "")
    for record, (symbol, own) in zip(records, tables, strict=True):
        limits = _chosen(risk, own)
        if narrower is not None:
            _tighten(limits, _chosen(_UNLIMITED, narrower), narrower)
        for name, value in limits.items():
            record[name] = value
        record["symbol"] = symbol_number(symbol) if symbol else 0
    return records


def set_gate(gate: np.void, config: Config, strategy: str | None) -> None:
    """Fill the `GATE` record in."""
    risk, total = config.risk, config.risk.total
    gate["killed"] = Kill.STOP if risk.kill_switch else Kill.NONE
    narrower = risk.strategies.get(strategy or "")
    if narrower is not None and narrower.kill_switch:
        gate["strategy_killed"] = Kill.STOP
    gate["rate_interval"], gate["rate_burst"] = rate(risk.orders_per_second, risk.order_burst)
    gate["enabled"] = _ALL_CHECKS & ~sum(1 << Reject[name.upper()] for name in set(risk.off))
    gate["max_open_orders"] = total.max_open_orders
    gate["max_gross"], gate["max_net"] = (
        money(total.max_gross_notional),
        money(total.max_net_notional),
    )
    gate["max_daily_quantity"] = total.max_daily_quantity
    gate["max_daily_notional"] = money(total.max_daily_notional)
    gate["max_loss"] = money(total.max_loss)
    gate["duplicate_window"] = risk.duplicate_window_ms * 1_000_000
    gate["max_age"] = risk.last_sale_max_age_s * SECOND_NS
    gate["max_spread_bp"] = round(risk.max_spread_percent * 100)
    gate["soft"] = round(risk.soft_percent / 100 * 256)
    gate["unknown_state_trades"] = risk.unknown_trading_state == "trade"
    gate["hours"] = Hours[risk.trading_hours.upper()]
    gate["auctions_trade"] = risk.auctions == "trade"
    gate["market_orders"] = risk.market_orders
    gate["locate_required"] = risk.locate_required
    gate["audit_stops"] = risk.audit_full == "stop"
    gate["fill_model"] = FillModel[config.fills.model.upper()]


def set_bands(bands: np.ndarray, risk: Risk) -> None:
    """The collar's bands; those that are not given begin where no price is."""
    bands["from_px"] = 0xFFFFFFFF
    bands[0] = (0, round(risk.collar_percent * 100), money(risk.collar_price))
    first = 0 if risk.bands and risk.bands[0].from_price == 0 else 1
    for record, band in zip(bands[first:], risk.bands, strict=False):
        record["from_px"] = money(band.from_price)
        record["collar_bp"], record["collar_px"] = round(band.percent * 100), money(band.price)


def read_start(path: str | None) -> np.ndarray:
    """`START` records of a start-of-day file, sorted by symbol.

    Raises `ConfigError` that names file and line.
    """
    if path is None:
        return np.zeros(0, START)
    rows: dict[int, tuple[int, int, int, int]] = {}
    try:
        with Path(path).open(newline="") as file:
            reader = csv.DictReader(file)
            missing = set(START_COLUMNS) - set(reader.fieldnames or ())
            if missing:
                raise ConfigError(f"{path}: no column {', '.join(sorted(missing))}")
            for row in reader:
                record = _start(row, f"{path}:{reader.line_num}")
                if record[0] in rows:
                    raise ConfigError(f"{path}:{reader.line_num}: {row['symbol']} occurs twice")
                rows[record[0]] = record
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    return np.array(sorted(rows.values()), START)


def _start(row: dict[str, str], where: str) -> tuple[int, int, int, int]:
    symbol = (row["symbol"] or "").strip()
    if not 1 <= len(symbol) <= 8 or not symbol.isascii():
        raise ConfigError(f"{where}: {symbol!r} is no symbol of one to eight characters")
    try:
        quantity, locate = int(row["position"] or 0), int(row["locate"] or 0)
        close = money(float(row["prior_close"] or 0))
    except (TypeError, ValueError):
        raise ConfigError(
            f"{where}: position and locate are whole shares, prior_close is dollars"
        ) from None
    if not (abs(quantity) < 1 << 40 and 0 <= locate < 1 << 32 and 0 <= close < 1 << 32):
        raise ConfigError(f"{where}: a number is out of range")
    return symbol_number(symbol), quantity, close, locate
