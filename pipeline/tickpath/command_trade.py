"""`tickpath trade` and `tickpath ctl`: the pipeline on a live market, and its operator's words."""

import json
import sys
from typing import Any

import click

from tickpath.trade.config import load
from tickpath.trade.run import Trader, install


def run(
    *,
    config: str,
    strategy: str | None,
    duration: float | None,
    as_json: bool,
    screen: bool,
) -> int:
    """Trade until told to stop; gives the exit code: 1 where something was found."""
    settings = load(config)
    with Trader(settings, strategy) as trader:
        install(trader)
        trader.start(lambda text: click.echo(f"tickpath: {text}", err=True) if text else None)
        control = trader.directory / "control.sock"
        click.echo(f"tickpath: trading; the operator's socket is {control}", err=True)
        if screen and sys.stdout.isatty() and not as_json:
            _with_screen(trader, duration)
        else:
            trader.run(duration)
        result = trader.result()
    _print(result, as_json)
    for note in result["notes"]:
        click.echo(f"tickpath: {note}", err=True)
    is_odd = result["differs_from_drop_copy"] or result["audit_error"] or result["strategy_error"]
    return 1 if is_odd else 0


def _with_screen(trader: Trader, duration: float | None) -> None:
    from rich.live import Live

    from tickpath.trade.screen import render

    symbols = trader.config.trade.symbols
    with Live(auto_refresh=False, screen=False) as live:

        def show(state: dict[str, Any]) -> None:
            live.update(render(trader.engine, state, symbols), refresh=True)

        trader.run(duration, show=show)


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
    """One line to a running `tickpath trade`; prints its answer."""
    import shlex

    from tickpath.trade.operator_socket import ask as ask_socket

    line = list(words)
    if why is not None:
        line += ["--why", why]
    if seconds is not None:
        line += ["--for", str(seconds)]
    answer = ask_socket(socket, shlex.join(line))
    click.echo(json.dumps(answer, indent=2))
    return 1 if "error" in answer else 0
