"""The ``tickpath.replay/1`` object: what a replay found, counted and measured, by name."""

from typing import Any

import numpy as np

from tickpath import latency, memory
from tickpath.backend import Backend, Transport
from tickpath.clock import Clock
from tickpath.digest import symbol_text
from tickpath.engine import Engine
from tickpath.environment import environment
from tickpath.layout import Stage
from tickpath.timeline import Timeline

SCHEMA = "tickpath.replay/1"
TOP_SYMBOLS = 20


def _latencies(engine: Engine) -> dict[str, Any]:
    found = {
        "tick_to_order": latency.summary(engine.histogram("tick_to_order")),
        "stages": {name: latency.summary(engine.histogram(name)) for name in Stage.NAMES},
    }
    if engine.block.get("paced"):
        found["response"] = latency.summary(engine.histogram("response"))
    return found


def _findings(engine: Engine, transport: Transport, strategy: str) -> list[str]:
    found = list(transport.findings)
    if error := engine.strategy_error:
        found.append(f"strategy {strategy} raised and was latched off: {error}")
    if violations := memory.violations()[0]:
        found.append(f"checked accessors recorded {violations} bad addresses: please report it")
    codes = ("TRADING_STATE_UNKNOWN", "MARKET_HOURS")
    rejected = sum(engine.rejects_by_code.get(code, 0) for code in codes)
    if rejected and not int(engine.block.type_count["value"][ord("H")]):
        found.append(
            f"{rejected} orders were rejected because the capture has no trading actions: set "
            'risk.unknown_trading_state = "trade" to trade all the same'
        )
    return found


def result_of(
    backend: Backend, transport: Transport, engine: Engine, seconds: float, clock: Clock
) -> dict[str, Any]:
    """The object, but for what only the replay's plan knows."""
    messages, counters = engine.messages, engine.counters
    # What plays to a live transport says itself whose counters they are.
    whose = "" if transport.is_live else "capture_"
    captures = {f"{whose}{name}": count for name, count in transport.counters.items()}
    strategy = engine.strategy.name if engine.strategy else None
    return {
        "schema": SCHEMA,
        "backend": backend.name,
        "sources": [],
        "packets": counters["packets"],
        "messages": messages,
        "messages_by_type": engine.messages_by_type,
        "counters": {**counters, **captures},
        "symbols": len(engine.symbols),
        "orders_live": engine.orders_live,
        "book_digest": f"{engine.book_digest:016x}",
        "state_digest": f"{engine.state_digest:016x}",
        "throughput": {
            "ns_per_message": round(seconds * 1e9 / messages, 3) if messages else None,
            "messages_per_second": round(messages / seconds) if messages else None,
            "seconds": round(seconds, 6),
        },
        "latency_ns": _latencies(engine),
        "orders": {
            "sent": counters["orders_sent"],
            "rejected": counters["orders_rejected"],
            "rejects_by_code": engine.rejects_by_code,
        },
        "lines": engine.lines(),
        "gaps": [vars(each) for each in engine.gaps()],
        "findings": _findings(engine, transport, strategy or ""),
        "strategy": strategy,
        "environment": {
            **environment(clock),
            "config_digest": engine.config.digest(),
            "stage_sample": engine.config.latency.sample,
            **({"transport": dict(transport.environment)} if transport.is_live else {}),
        },
    }


def measured_stages(engine: Engine) -> list[str]:
    """Names of the histograms, tick to order first."""
    response = ["response"] if engine.block.get("paced") else []
    return ["tick_to_order", *response, *Stage.NAMES]


def series_of(engine: Engine, timeline: Timeline) -> dict[str, Any]:
    """What the report draws."""
    names = measured_stages(engine)
    return {
        "histograms": {name: latency.buckets(engine.histogram(name)) for name in names},
        "timeline": timeline.points,
        "symbols": _top_symbols(engine),
    }


def _top_symbols(engine: Engine) -> list[dict[str, Any]]:
    """The symbols with the largest volume printed."""
    books, positions = engine.block.book, engine.block.position
    busiest = np.argsort(books["volume"])[::-1][:TOP_SYMBOLS]
    orders = np.bincount(engine.block.own["book"][engine.block.own["user_ref_num"] > 0])
    rows = []
    for number in busiest.tolist():
        record = books[number]
        if not record["venue"] or not record["volume"]:
            continue
        rows.append(
            {
                "symbol": symbol_text(record["symbol"]),
                "volume": int(record["volume"]),
                "trades": int(record["trades"]),
                "last_px": int(record["last_px"]) / 10_000,
                "vwap": int(record["notional"]) / int(record["volume"]) / 10_000,
                "orders": int(orders[number]) if number < len(orders) else 0,
                "position": int(positions[int(record["position"]) or number]["quantity"]),
            }
        )
    return rows
