"""`tickpath generate`: a session file, and what is true of it."""

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from tickpath.generate import SessionPlan, generate, parse_faults


def _by_type(feed: str, counts: dict[str, int]) -> dict[str, int]:
    """Counts by type as the venue writes it: letters for ITCH, numbers for PITCH."""
    if feed == "pitch":
        return {f"0x{ord(code):02X}": count for code, count in counts.items()}
    return dict(counts)


def run(out: str, as_json: bool, *, faults: str, **options: Any) -> int:
    """Write the session; print what it holds."""
    from tickpath.narration import count_progress

    plan = SessionPlan(faults=parse_faults(faults), **options)
    started = time.perf_counter()
    try:
        with count_progress(f"generating {out}", plan.messages) as progress:
            truth = generate(out, plan, progress)
    except KeyboardInterrupt:
        if Path(out).is_file():
            Path(out).unlink()
        click.echo(f"tickpath: interrupted; {out} was not complete and is removed", err=True)
        return 130
    seconds = time.perf_counter() - started
    result = {
        "schema": "tickpath.generate/1",
        "path": out,
        "feed": plan.feed,
        "messages": truth.messages,
        "symbols": plan.symbols,
        "seed": plan.seed,
        "messages_by_type": _by_type(plan.feed, truth.messages_by_type),
        "orders_live": truth.live_orders,
        "packets": truth.packets,
        "faults": asdict(truth.faults),
        "seconds": round(seconds, 3),
    }
    if as_json:
        json.dump(result, sys.stdout)
        sys.stdout.write("\n")
        return 0
    click.echo(
        f"{out}: {truth.messages:,} messages, {plan.symbols:,} symbols, seed {plan.seed}, "
        f"{truth.live_orders:,} orders live at the end, {seconds:.1f} s"
    )
    if plan.faults.any:
        click.echo(
            "faults: " + ", ".join(f"{name} {n:,}" for name, n in asdict(truth.faults).items())
        )
    return 0
