"""Backends side by side: the same capture through each, and whether they did the same.

They take turns as contestants do (see `turns`).  Each replay goes through `tickpath.replay`, as a
user's does: its transport opens the file, its executor is fresh, tables are not pre-faulted.  The
first one named is what the others are compared with: order bytes, book and state digest.
"""

import hashlib
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tickpath import backend as backends
from tickpath.bench.core import Watch, pinned
from tickpath.bench.own import strategy_config
from tickpath.bench.plan import BenchPlan
from tickpath.bench.run import METHOD, SCHEMA, Progress, Say, quiet
from tickpath.clock import calibrate, jitter
from tickpath.environment import environment
from tickpath.generate import generate
from tickpath.replay import Plan, replay

SAME = ("book_digest", "state_digest", "orders_sha256")
"""What must be equal on every backend and in every run."""


def compare(
    names: Sequence[str],
    plan: BenchPlan,
    *,
    say: Say = quiet,
    progress: Progress = lambda title, session: None,
) -> dict[str, Any]:
    """Replay one capture through each backend; gives a ``tickpath.bench/1`` object.

    Raises `BackendError` for one that does not exist or cannot run here, `GenerateError`,
    `BenchError`, and what a replay raises.
    """
    names = list(dict.fromkeys(names))
    found = [backends.find(name) for name in names]
    with pinned() as core, tempfile.TemporaryDirectory(prefix="tickpath-") as folder:
        capture, orders = Path(folder, "session.pcap"), Path(folder, "orders.bin")
        say(f"generating {plan.session.messages:,} messages")
        truth = generate(capture, plan.session, progress("generating", plan.session))
        clock = calibrate()
        noise = jitter(clock=clock)
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
        config = strategy_config(plan.ratio_percent)
        replays = Plan(sources=[capture], orders=str(orders), series=True)
        watch = Watch(core)
        for number in range(plan.rounds + 1):
            for each in found:
                say(f"round {number} of {plan.rounds}: {each.name}" if number else "warming up")
                run = replay(each, config, replays)
                run["orders_sha256"] = hashlib.sha256(orders.read_bytes()).hexdigest()
                # The first round is the warm-up: its answers count, its times do not.
                runs[each.name].append(run)
        beside = watch.shares()
    first = runs[names[0]][0]
    findings = []
    for name, results in runs.items():
        findings += [f"{name}: {what}" for what in _differences(results, first, truth.live_orders)]
    return {
        "schema": SCHEMA,
        "core": core,
        "rounds": plan.rounds,
        "method": {**METHOD, "tables": "not pre-faulted", "time": "wall time of a replay"},
        "session": {
            "messages": plan.session.messages,
            "symbols": plan.session.symbols,
            "seed": plan.session.seed,
            "orders_live": truth.live_orders,
            "packets": truth.packets,
        },
        "results": [_row(name, results, findings) for name, results in runs.items()],
        "latency": {
            name: results[-1]["series"]["histograms"]["tick_to_order"]
            for name, results in runs.items()
        },
        "latency_ns": {
            name: results[-1]["latency_ns"]["tick_to_order"] for name, results in runs.items()
        },
        "latency_cycles": {
            name: results[-1]["latency_cycles"]
            for name, results in runs.items()
            if "latency_cycles" in results[-1]
        },
        **{name: first[name] for name in SAME},
        "curves": [],
        "beside_us": beside,
        "verified": not findings,
        "findings": findings,
        "jitter": noise,
        "environment": environment(clock),
    }


def _differences(
    results: Sequence[dict[str, Any]], first: dict[str, Any], live_orders: int
) -> list[str]:
    """What one backend did otherwise than the first one did at first, or than the truth."""
    differ = [
        f"{name} is {each[name]}, expected {first[name]}"
        for each in results
        for name in SAME
        if each[name] != first[name]
    ]
    differ += [finding for each in results for finding in each["findings"]]
    if results[0]["orders_live"] != live_orders:
        differ.append(f"{results[0]['orders_live']} live orders, expected {live_orders}")
    return list(dict.fromkeys(differ))


def _row(name: str, results: Sequence[dict[str, Any]], findings: list[str]) -> dict[str, Any]:
    counted = [each["throughput"]["ns_per_message"] for each in results[1:]]
    median = float(statistics.median(counted))
    return {
        "name": name,
        "ns_per_message": round(median, 3),
        "messages_per_second": round(1e9 / median),
        "runs": counted,
        "warm_up_runs": [results[0]["throughput"]["ns_per_message"]],
        "messages": results[0]["messages"],
        "orders": results[0]["orders"],
        "verified": not any(each.startswith(f"{name}: ") for each in findings),
        "note": f"{results[0]['packets']:,} packets, {results[0]['orders']['sent']:,} orders sent",
    }
