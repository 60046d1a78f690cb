"""`tickpath serve`: a capture as a feed that loses packets, and the servers to recover from it.

Exit codes: 0 fine; 2 usage, unreadable input, or an address that cannot be had; 130 interrupted.
"""

import json
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tickpath.serve.config import Serve
    from tickpath.serve.publisher import Publisher
    from tickpath.serve.server import FeedServer

OK, USAGE, INTERRUPTED = 0, 2, 130
SCHEMA = "tickpath.serve/1"
SAY_INTERVAL_S = 1.0
_FAULTS = "loss=0.01,duplicate=,reorder=,corrupt=,reorder_us=,jitter_us=,burst=,burst_packets="
_UNRULY = "refuse=0.1,silent=,cut=,delay_ms="


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--feed", type=click.Choice(["auto", "itch50", "pitch"]), default="auto")
@click.option("--a", default="239.255.77.1:26477", show_default=True, metavar="GROUP:PORT")
@click.option("--b", default="239.255.77.2:26478", metavar="GROUP:PORT", help='"" for no B line.')
@click.option("--gap-group", default="239.255.77.3:26479", help="Where a GRP sends messages to.")
@click.option("--interface", default="127.0.0.1", show_default=True, help="An address of ours.")
@click.option("--ttl", type=click.IntRange(0, 255), default=1, show_default=True)
@click.option("--pace", default="asap", show_default=True, help="asap, wire, or a factor of wire.")
@click.option("--rate", type=float, help="Packets a second at most [asap: 10,000; else no bound].")
@click.option("--heartbeat-ms", type=click.IntRange(1, 60_000), default=1_000, show_default=True)
@click.option("--faults-a", default="", help=_FAULTS)
@click.option("--faults-b", default="", help="Likewise, of line B.")
@click.option("--faults-both", default="", help="Losses on both lines at once: loss=, burst=, ...")
@click.option("--unruly-requests", default="", help=f"Re-request and GRP servers: {_UNRULY}")
@click.option("--unruly-snapshots", default="", help="GLIMPSE and Spin servers, likewise.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--requests", type=int, default=0, metavar="PORT", help="MoldUDP64 requests.")
@click.option("--glimpse", type=int, default=0, metavar="PORT", help="GLIMPSE over SoupBinTCP.")
@click.option("--grp", type=int, default=0, metavar="PORT", help="Gap Request Proxy.")
@click.option("--spin", type=int, default=0, metavar="PORT", help="Spin of the first unit.")
@click.option("--start-after", type=float, default=0.0, metavar="SECONDS", help="After ready.")
@click.option("--linger", type=float, default=2.0, metavar="SECONDS", help="After the last packet.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, an object a line.")
def serve(files: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Send captures as a feed's A and B lines, with faults, and serve those who recover.

    Ports that are not given are free ones, which the first line of output says.  User TICK, session
    sub id 0001 and password REHEARSAL are right everywhere.
    """
    from tickpath.capture import CaptureError
    from tickpath.config import ConfigError
    from tickpath.serve.error import ServeError

    try:
        code = _serve(files, as_json, **options)
    except (CaptureError, ConfigError, ServeError) as error:
        click.echo(f"tickpath: {error}", err=True)
        code = USAGE
    sys.exit(code)


def _serve(files: tuple[str, ...], as_json: bool, *, feed: str, **options: Any) -> int:
    from tickpath.interrupt import interruptible
    from tickpath.serve.server import FeedServer
    from tickpath.serve.source import load

    config = _config(options)
    if not as_json:
        click.echo(f"reading {', '.join(files)}", err=True)
    streams = load(files, feed)
    with interruptible() as interrupt, FeedServer(config, streams) as server:
        for finding in server.findings:
            click.echo(f"tickpath: {finding}", err=True)
        _say_ready(server, as_json)
        is_whole = server.run(lambda: interrupt.is_set, _progress(as_json))
        _say_end(server, is_whole, as_json)
        return OK if is_whole else INTERRUPTED


def _config(options: dict[str, Any]) -> "Serve":
    """The options as one configuration.  Raises `ServeError`."""
    import msgspec

    from tickpath.serve.config import Serve
    from tickpath.serve.error import ServeError
    from tickpath.serve.line_faults import parse_plan

    said = {
        "lines": [_address(options[name], f"--{name}") for name in "ab" if options[name]],
        "gap_group": _address(options["gap_group"], "--gap-group"),
        "pace": _pace(options["pace"], options["rate"], options["heartbeat_ms"]),
        "plans": [
            msgspec.to_builtins(parse_plan(options[f"faults_{name}"], f"--faults-{name}"))
            for name in "ab"
        ],
        "both": msgspec.to_builtins(parse_plan(options["faults_both"], "--faults-both")),
        "requests": _unruly(options["unruly_requests"], "--unruly-requests"),
        "snapshots": _unruly(options["unruly_snapshots"], "--unruly-snapshots"),
        "requests_port": options["requests"],
        "glimpse_port": options["glimpse"],
        "grp_port": options["grp"],
        "spin_port": options["spin"],
        "start_after_s": options["start_after"],
        "linger_s": options["linger"],
        "seed": options["seed"],
        "interface": options["interface"],
        "ttl": options["ttl"],
    }
    if not said["lines"]:
        raise ServeError("--a: at least one line is needed")
    try:
        return msgspec.convert(said, Serve)
    except msgspec.ValidationError as error:
        raise ServeError(f"serve: {error}") from None


def _address(text: str, option: str) -> tuple[str, int]:
    from tickpath.config import ConfigError, parse_group
    from tickpath.serve.error import ServeError

    try:
        address, port = parse_group(text)
    except ConfigError:
        raise ServeError(f"{option}: {text!r} is not ADDRESS:PORT") from None
    return ".".join(map(str, address.to_bytes(4, "big"))), port


def _pace(pace: str, rate: float | None, heartbeat_ms: int) -> dict[str, Any]:
    from tickpath.serve.error import ServeError

    factors = {"asap": 0.0, "wire": 1.0}
    try:
        factor = factors[pace] if pace in factors else float(pace)
        if not 0 < factor < float("inf") and pace != "asap":
            raise ValueError
    except ValueError:
        raise ServeError(f"--pace: {pace!r}: give asap, wire, or a factor above 0") from None
    if rate is not None and rate <= 0:
        raise ServeError(f"--rate: {rate:g}: give a number above 0")
    per_second = rate if rate is not None else 10_000.0 if pace == "asap" else 0.0
    return {
        "factor": factor,
        "packets_per_second": per_second,
        "heartbeat_ns": heartbeat_ms * 1_000_000,
    }


def _unruly(text: str, option: str) -> dict[str, float]:
    from tickpath.serve.error import ServeError
    from tickpath.serve.unruly import UnrulyPlan

    said: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        try:
            if name not in UnrulyPlan.__struct_fields__:
                raise ValueError
            said[name] = float(value)
        except ValueError:
            known = ", ".join(UnrulyPlan.__struct_fields__)
            message = f"{option}: {part!r}: give NAME=NUMBER, with a name of {known}"
            raise ServeError(message) from None
    return said


def _say_ready(server: "FeedServer", as_json: bool) -> None:
    where = server.addresses()
    if as_json:
        click.echo(json.dumps({"schema": SCHEMA, "ready": True, **where}))
        sys.stdout.flush()
        return
    packets = sum(len(stream.packets) for stream in server.streams)
    messages = sum(len(stream.messages) for stream in server.streams)
    lines = ", ".join(f"{name} to {host}:{port}" for name, (host, port) in where["lines"].items())
    servers = ", ".join(
        f"{name} at {where[name][0]}:{where[name][1]}"
        for name in ("requests", "glimpse", "grp")
        if name in where
    )
    for unit, (host, port) in where.get("spin", {}).items():
        servers += f", spin of unit {unit} at {host}:{port}"
    click.echo(f"serving {messages:,} messages in {packets:,} packets: lines {lines}; {servers}")


def _progress(as_json: bool) -> Any:
    """Says every second how far it is, to people."""
    import time

    said_s = time.monotonic()

    def say(publisher: "Publisher") -> None:
        nonlocal said_s
        if as_json or time.monotonic() - said_s < SAY_INTERVAL_S or publisher.has_sent_all:
            return
        said_s = time.monotonic()
        sent = publisher.counters["packets"]
        click.echo(f"packet {sent:,} of {publisher.packets:,}", err=True)

    return say


def _say_end(server: "FeedServer", is_whole: bool, as_json: bool) -> None:
    counters = dict(sorted(server.summary().items()))
    if as_json:
        result = {"schema": SCHEMA, "counters": counters, "interrupted": not is_whole}
        click.echo(json.dumps(result))
        return
    counted = ", ".join(f"{name} {count:,}" for name, count in counters.items() if count)
    click.echo(f"{'served' if is_whole else 'interrupted'}: {counted}")
