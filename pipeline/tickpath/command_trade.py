"""`tickpath trade` and `tickpath ctl`: the pipeline on a live market, and its operator's words.

Exit codes of trading: 0 fine, also when a signal or the exchange ended the day; 1 where something
was found (positions that differ, a strategy that raised, orders left open ...); 2 where trading
could not begin.
"""

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from tickpath.operator_socket import ask as ask_socket
from tickpath.session.error import SessionError
from tickpath.trade.config import load
from tickpath.trade.run import ORDERLY, Trader, install


def run(
    *,
    config: str,
    backend: str | None,
    strategy: str | None,
    duration: float | None,
    as_json: bool,
    screen: bool,
) -> int:
    """Trade until told to stop; gives the exit code."""
    settings = load(config, backend)
    has_screen = screen and sys.stdout.isatty() and not as_json
    is_drawing = False

    def say(text: str) -> None:
        if not is_drawing:
            click.echo(f"tickpath: {text}", err=True)

    with Trader(settings, strategy, say=say) as trader:
        install(trader)
        trader.start()
        say(f"trading; tickpath ctl {shlex.quote(str(trader.directory))} status")
        if has_screen:
            is_drawing = True
            _with_screen(trader, duration)
            is_drawing = False
        else:
            trader.run(duration)
        if trader.failure is not None:
            raise SessionError(trader.failure)
        ended, result = trader.desk.ended, trader.result()
    _print(result, as_json)
    if has_screen:
        for note in result["notes"]:
            click.echo(f"tickpath: {note}", err=True)
    return 1 if _findings(result, ended is None or ended.end in ORDERLY) else 0


def _findings(result: dict[str, Any], is_orderly: bool) -> bool:
    names = ("differs_from_drop_copy", "audit_error", "latch_error", "strategy_error")
    return not is_orderly or any(result[name] for name in (*names, "open_own_orders"))


def _with_screen(trader: Trader, duration: float | None) -> None:
    from tickpath.trade.screen import render, view
    from tickpath.trade.terminal import Terminal, colors_of_stdout

    symbols = trader.config.trade.symbols
    with Terminal(sys.stdout.fileno(), colors_of_stdout()) as terminal:

        def show(state: dict[str, Any]) -> None:
            width, height = terminal.size()
            terminal.show(render(view(trader.engine, state, symbols), width, height))

        trader.run(duration, show)


def _print(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        json.dump(result, sys.stdout)
        sys.stdout.write("\n")
        return
    counters = result["counters"]
    click.echo(
        f"{result['messages']:,} messages, {counters.get('orders_sent', 0):,} orders sent, "
        f"{counters.get('orders_rejected', 0):,} rejected here, "
        f"{counters.get('executions', 0):,} executions, profit and loss {result['pnl']:+,.2f}"
    )
    for row in result["positions"]:
        click.echo(
            f"  {row['symbol']:8} {row['position']:+10,} at {row['mark']:,.4f}  "
            f"{row['pnl']:+,.2f}  open {row['open_orders']}"
        )


def ask(socket: str, words: tuple[str, ...], why: str | None, seconds: float | None) -> int:
    """One line to a running `tickpath trade`, by its socket or directory; prints its answer."""
    line = list(words)
    if why is not None:
        line += ["--why", why]
    if seconds is not None:
        line += ["--for", str(seconds)]
    path = Path(socket)
    answer = ask_socket(
        str(path / "control.sock" if path.is_dir() else path), shlex.join(line), "trader"
    )
    click.echo(json.dumps(answer, indent=2))
    return 1 if "error" in answer else 0
