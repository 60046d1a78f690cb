"""Our book beside the C book and the peers alone, on a generated session or on a daily file.

Of a file nobody knows what is true, so there the peers' books are what ours is compared with, and
a result without any of them is not verified (null).
"""

import tempfile
from pathlib import Path
from typing import Any

from tickpath.bench import peers
from tickpath.bench.core import Watch, pinned
from tickpath.bench.held import hold, hold_file
from tickpath.bench.own import EngineRun
from tickpath.bench.plan import session_of
from tickpath.bench.run import METHOD, SCHEMA, Say, quiet
from tickpath.bench.turns import Result, take_turns, warm_up
from tickpath.clock import calibrate, jitter
from tickpath.config import Config
from tickpath.environment import environment


def beside_peers(
    daily_file: Path | None, messages: int, rounds: int, *, say: Say = quiet
) -> dict[str, Any]:
    """A ``tickpath.bench/1`` object with the book and whoever is at hand.

    ``messages`` is the size of the session that is generated where there is no file.  Raises
    `CaptureError`, `GenerateError`, `BenchError`.
    """
    with pinned() as core, tempfile.TemporaryDirectory(prefix="tickpath-") as folder:
        say("reading the file" if daily_file else f"generating {messages:,} messages")
        held = hold_file(daily_file) if daily_file else hold(session_of(messages), packets=False)
        plain = held.write(Path(folder, "session.itch"))
        clock = calibrate()
        noise = jitter(clock=clock)
        note = "decode and L3 books of all symbols, with lookahead"
        book = EngineRun("book", note, held, held.run, Config(), clock)
        results = [Result(book)]
        warm_up(results, say)
        others, skipped = peers.at_hand(held, book, plain, Path(folder))
        results += map(Result, others)
        watch = Watch(core)
        take_turns(results, rounds, say)
        beside = watch.shares()
        peers.check_touch(results, say)
        rows = [each.row() for each in results]
        if held.truth is None and len(rows) == 1:
            rows[0]["verified"] = None
        findings = [problem for each in results for problem in each.problems]
        return {
            "schema": SCHEMA,
            "core": core,
            "rounds": rounds,
            "method": METHOD,
            "session": {
                "file": daily_file.name if daily_file else None,
                "messages": book.messages,
                "symbols": len(book.symbols),
                "orders_live": book.orders_live,
                "bytes": len(held.messages),
            },
            "results": rows,
            "curves": [],
            "skipped": skipped,
            "beside_us": beside,
            "verified": not findings,
            "findings": findings,
            "jitter": noise,
            "environment": environment(clock),
        }
