"""Limits from the configuration and the start-of-day file into the engine's records.

A symbol's limits are its own table's where that says something, else the defaults; of those and the
running strategy's, the tighter one.  A strategy's collar is compared with the symbol's number by
number, and with the price's band by its width.  Money becomes integers of 1e-4 dollars, rates
become the nanoseconds that one order takes.
"""

import csv
from pathlib import Path
from typing import Any

import numpy as np

from tickpath.config import Config, ConfigError, Limits, Risk
from tickpath.digest import symbol_number
from tickpath.layout import START, SYMBOL_LIMIT
from tickpath.risk import Collar, FillModel, Hours, Kill, Reject

SECOND_NS = 1_000_000_000
SCALE = 10_000
"""Prices and money are integers of 1e-4 dollars."""
START_COLUMNS = ("symbol", "position", "prior_close", "locate")
MOST_START_VALUE = 1 << 60
"""Of a start-of-day position at its prior close, in 1e-4."""
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

    collared = own.collar_percent is not None or own.collar_price is not None
    return {
        "max_notional": money(of("max_notional")),
        "max_long": reach("max_long"),
        "max_short": reach("max_short"),
        "max_daily_quantity": of("max_daily_quantity"),
        "max_daily_notional": money(of("max_daily_notional")),
        "max_loss": money(of("max_loss")),
        "per_second": of("orders_per_second", "symbol_orders_per_second"),
        "burst": of("order_burst", "symbol_order_burst"),
        "max_quantity": of("max_quantity"),
        "collar_bp": round(of("collar_percent") * 100),
        "collar_px": money(of("collar_price")),
        "max_open_orders": of("max_open_orders"),
        "own_collar": Collar.OWN if collared else Collar.BAND,
        "allowed": of("allowed"),
        "killed": Kill.STOP if own.kill_switch else Kill.NONE,
    }


_LOOSER_IS_LARGER = (
    *("max_notional", "max_long", "max_short", "max_daily_quantity", "max_daily_notional"),
    *("max_loss", "max_quantity", "max_open_orders", "allowed"),
)


def _tighten(limits: dict[str, Any], risk: Risk, narrower: Limits) -> None:
    """Of two limits of a kind the tighter one; only what the strategy's table says counts."""
    by = _chosen(risk, narrower)
    given = {name for name in narrower.__struct_fields__ if getattr(narrower, name) is not None}
    if "max_position" in given:
        given |= {"max_long", "max_short"}
    for name in given.intersection(_LOOSER_IS_LARGER):
        limits[name] = min(limits[name], by[name])
    if "orders_per_second" in given:
        limits["per_second"] = min(limits["per_second"], by["per_second"])
    if "order_burst" in given:
        limits["burst"] = min(limits["burst"], by["burst"])
    if by["own_collar"]:
        if limits["own_collar"] == Collar.OWN:
            limits["collar_bp"] = min(limits["collar_bp"], by["collar_bp"])
            limits["collar_px"] = min(limits["collar_px"], by["collar_px"])
        else:
            limits["own_collar"] = Collar.TIGHTER
            limits["collar_bp"], limits["collar_px"] = by["collar_bp"], by["collar_px"]


def symbol_limits(config: Config, strategy: str | None) -> np.ndarray:
    """`SYMBOL_LIMIT` records: the defaults first, then every symbol with a table of its own."""
    risk = config.risk
    tables = [("", Limits()), *risk.symbols.items()]
    records = np.zeros(len(tables), SYMBOL_LIMIT)
    narrower = risk.strategies.get(strategy or "")
    for record, (symbol, own) in zip(records, tables, strict=True):
        limits = _chosen(risk, own)
        if narrower is not None:
            _tighten(limits, risk, narrower)
        limits["rate_interval"], limits["rate_burst"] = rate(
            limits.pop("per_second"), limits.pop("burst")
        )
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
    gate["soft"] = max(1, round(risk.soft_percent / 100 * 256))
    gate["near_shift"] = next(n for n in range(64) if 256 >> n <= gate["soft"])
    gate["bands"] = bands_used(risk)
    gate["unknown_state_trades"] = risk.unknown_trading_state == "trade"
    gate["hours"] = Hours[risk.trading_hours.upper()]
    gate["auctions_trade"] = risk.auctions == "trade"
    gate["market_orders"] = risk.market_orders
    gate["reducing_checked"] = risk.reducing == "check"
    gate["locate_required"] = risk.locate_required
    gate["audit_stops"] = risk.audit_full == "stop"
    gate["fill_model"] = FillModel[config.fills.model.upper()]


def set_bands(bands: np.ndarray, risk: Risk) -> None:
    """The collar's bands; those that are not given are the last one again."""
    rows = [(0, round(risk.collar_percent * 100), money(risk.collar_price))]
    if risk.bands and risk.bands[0].from_price == 0:
        rows.clear()
    rows += [(money(b.from_price), round(b.percent * 100), money(b.price)) for b in risk.bands]
    for at in range(len(bands)):
        bands[at] = rows[min(at, len(rows) - 1)]


def bands_used(risk: Risk) -> int:
    """How many bands there are, the one that begins at zero included."""
    return len(risk.bands) + (not risk.bands or risk.bands[0].from_price > 0)


def read_start(path: str | None) -> np.ndarray:
    """`START` records of a start-of-day file, sorted by symbol.

    Raises `ConfigError` that names file and line.
    """
    if path is None:
        return np.zeros(0, START)
    rows: dict[int, tuple[int, int, int, int]] = {}
    line = 1
    try:
        # Spreadsheets put a byte order mark in front.
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = set(START_COLUMNS) - set(reader.fieldnames or ())
            if missing:
                raise ConfigError(f"{path}:1: no column {', '.join(sorted(missing))}")
            for row in reader:
                line = reader.line_num
                record = _start(row, f"{path}:{line}")
                if record[0] in rows:
                    raise ConfigError(f"{path}:{line}: {row['symbol']} occurs twice")
                rows[record[0]] = record
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: not CSV after line {line}: {error}") from None
    if sum(abs(quantity) * close for _, quantity, close, _ in rows.values()) > MOST_START_VALUE:
        raise ConfigError(f"{path}: positions are worth more than the gate can count")
    return np.array(sorted(rows.values()), START)


def _start(row: dict[str, str], where: str) -> tuple[int, int, int, int]:
    symbol = (row["symbol"] or "").strip()
    if not 1 <= len(symbol) <= 8 or not symbol.isascii():
        raise ConfigError(f"{where}: {symbol!r} is no symbol of one to eight characters")
    try:
        quantity, locate = int(row["position"] or 0), int(row["locate"] or 0)
        close = money(float(row["prior_close"] or 0))
    except (TypeError, ValueError, OverflowError):
        raise ConfigError(
            f"{where}: position and locate are whole shares, prior_close is dollars"
        ) from None
    if not (abs(quantity) < 1 << 40 and 0 <= locate < 1 << 32 and 0 <= close < 1 << 32):
        raise ConfigError(f"{where}: a number is out of range")
    if quantity and not close:
        # Without it the whole of the position's value would be the day's profit, or loss.
        raise ConfigError(f"{where}: a position needs a prior_close")
    return symbol_number(symbol), quantity, close, locate
