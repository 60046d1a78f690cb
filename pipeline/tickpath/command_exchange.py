"""`tickpath exchange`: a simulated venue to trade against, or a question to one that runs.

Exit codes: 0 fine, also when a signal ended the day; 1 a question that was answered with an error;
2 usage, configuration, or an address or file that cannot be had.
"""

import gc
import json
import signal
import sys
from typing import TYPE_CHECKING, Any, Literal

import click

if TYPE_CHECKING:
    from tickpath.exchange.config import Exchange
    from tickpath.exchange.server import Server

OK, FINDING, USAGE = 0, 1, 2
SCHEMA = "tickpath.exchange/1"


@click.command()
@click.option("--config", metavar="F.toml", help="Configuration; flags go before it.")
@click.option("--symbols", metavar="N|A,B=187.50", help="How many, or which at which price.")
@click.option("--seed", type=int, help="Of the generated flow and of all chance.")
@click.option("--session", metavar="NAME", help="Of feed and logins; a new one every time.")
@click.option("--ouch", type=int, metavar="PORT", help="Order entry; a free port by default.")
@click.option("--drop-copy", type=int, metavar="PORT", help="A free port by default.")
@click.option("--protocol", type=click.Choice(["ouch50", "ouch42"]))
@click.option("--multicast", metavar="GROUP:PORT", help="Feed; a unicast address is sent to too.")
@click.option("--multicast-b", metavar="GROUP:PORT", help="The same feed a second time.")
@click.option("--glimpse", type=int, metavar="PORT", help="Snapshots; 0: a free port.")
@click.option("--interface", metavar="ADDRESS", help="Of multicast; 127.0.0.1 by default.")
@click.option("--rate", type=float, help="Background actions a second.")
@click.option("--recorded", metavar="FILE", help="Background from an ITCH 5.0 capture.")
@click.option("--speed", type=float, help="How many times faster than it was recorded.")
@click.option("--duration", type=float, metavar="SECONDS", help="End the day by itself.")
@click.option("--wait", is_flag=True, help="The day begins with the first login.")
@click.option("--journal", metavar="DIR", help="Survive a kill: go on there after a restart.")
@click.option(
    "--fsync", type=click.Choice(["none", "interval", "always"]), default="none", show_default=True
)
@click.option("--control", metavar="PATH", help="Operator socket, for its owner only.")
@click.option("--trade-config", metavar="F.toml", help="Write what `tickpath trade` needs for it.")
@click.option("--ask", metavar="COMMAND", help="Ask the venue at --control, and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, an object a line.")
def exchange(as_json: bool, ask: str | None, control: str | None, **options: Any) -> None:
    """Run a simulated exchange: OUCH in, ITCH out, other people's orders in between."""
    from tickpath.capture import CaptureError
    from tickpath.config import ConfigError
    from tickpath.exchange.error import ExchangeError

    try:
        code = _ask(as_json, ask, control) if ask else _serve(as_json, control, **options)
    except (CaptureError, ConfigError, ExchangeError) as error:
        click.echo(f"tickpath: {error}", err=True)
        code = USAGE
    sys.exit(code)


def _ask(as_json: bool, line: str, path: str | None) -> int:
    """Print the answer of a venue that runs."""
    from tickpath.exchange.error import ExchangeError
    from tickpath.operator_socket import ask

    if path is None:
        raise ExchangeError("--ask: whom? name the venue's --control PATH")
    answer = ask(path, line, "exchange")
    click.echo(json.dumps(answer, indent=None if as_json else 2))
    return FINDING if "error" in answer else OK


def _serve(
    as_json: bool,
    control: str | None,
    *,
    config: str | None,
    duration: float | None,
    journal: str | None,
    fsync: Literal["none", "interval", "always"],
    wait: bool,
    trade_config: str | None,
    **flags: Any,
) -> int:
    """Serve until the day ends."""
    from tickpath.exchange.server import Server
    from tickpath.exchange.trade_config import write

    settings = _settings(config, flags)
    with Server(
        settings, journal=journal, fsync=fsync, control=control, wait_for_login=wait
    ) as server:
        if trade_config is not None:
            write(trade_config, server.addresses())
        # What was made so far stays; looking through it again and again would stop the venue.
        gc.freeze()
        gc.set_threshold(50_000, 50, 100)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: server.stop())
        server.run(duration, lambda: _say_ready(server, as_json, wait))
        _say_end(server, as_json)
    return OK


def _settings(path: str | None, flags: dict[str, Any]) -> "Exchange":
    """The configuration of the file, or the default one, with the flags that were given."""
    import msgspec

    from tickpath.exchange.config import Exchange, check, load
    from tickpath.exchange.error import ExchangeError

    said: dict[str, Any] = msgspec.to_builtins(load(path) if path else Exchange())
    symbols = flags.pop("symbols")
    if symbols is not None:
        said["symbols"] = int(symbols) if symbols.isdecimal() else symbols.split(",")
    for name, value in flags.items():
        if value is None:
            continue
        table, _, key = _WHERE[name].rpartition(".")
        (said[table] if table else said)[key] = value
    if flags["recorded"] is not None:
        said["flow"]["kind"] = "recorded"
    try:
        config = msgspec.convert(said, Exchange)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        raise ExchangeError(f"{where.rstrip('`')}: {what}") from None
    check(config)
    return config


_WHERE = {
    "seed": "seed",
    "session": "session",
    "ouch": "orders.port",
    "drop_copy": "orders.drop_copy_port",
    "protocol": "orders.protocol",
    "multicast": "feed.group",
    "multicast_b": "feed.group_b",
    "glimpse": "feed.glimpse_port",
    "interface": "feed.interface",
    "rate": "flow.rate",
    "recorded": "flow.recorded",
    "speed": "flow.speed",
}
"""The configuration's key of each flag."""


def _say_ready(server: "Server", as_json: bool, wait: bool) -> None:
    where = server.addresses()
    if as_json:
        click.echo(json.dumps({"schema": SCHEMA, "ready": True, **where}))
        return
    ouch, copy, feed, requests = (
        "{}:{}".format(*where[name]) for name in ("ouch", "drop_copy", "feed", "requests")
    )
    recovered = where["recovered_inputs"]
    click.echo(
        f"exchange ready: session {where['session']}, {where['protocol']} at {ouch}, drop copy at "
        f"{copy}, ITCH to {feed} over {where['interface']}, requests at {requests}"
        + (f", recovered {recovered:,} inputs" if recovered is not None else "")
        + (", waiting for the first login" if wait and not server.is_open else "")
    )


def _say_end(server: "Server", as_json: bool) -> None:
    venue = server.venue
    result = {
        "schema": SCHEMA,
        "session": venue.session,
        "seconds": round((venue.now_ns - venue.start_ns) / 1e9, 3),
        "messages": venue.downstream.next_sequence - 1,
        "trades": venue.matching.trade_count,
        "messages_received": venue.counters["messages_received"],
        "orders_live": len(venue.matching.orders),
    }
    if as_json:
        click.echo(json.dumps(result))
        return
    click.echo(
        f"the day is over after {result['seconds']:,} s: {result['messages']:,} ITCH messages, "
        f"{result['trades']:,} trades, {result['messages_received']:,} order messages received"
    )
