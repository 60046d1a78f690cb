"""`tickpath witness`: a process that grants the lease, or one of several.

Exit codes: 0 a signal ended it; 1 it ended, and its disk had refused; 2 usage, configuration, or
an address or file that cannot be had.
"""

import json
import signal
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tickpath.failover.witness_server import WitnessServer

OK, FINDING, USAGE = 0, 1, 2
SCHEMA = "tickpath.witness/1"


@click.command()
@click.option("--listen", metavar="ADDRESS:PORT", default="127.0.0.1:7401", show_default=True)
@click.option("--state", metavar="FILE", required=True, help="What it must never forget.")
@click.option("--cluster", metavar="NAME", default="tickpath", show_default=True)
@click.option(
    "--others",
    metavar="ADDRESS:PORT,...",
    default="",
    help="The other witnesses; an even number of them.",
)
@click.option(
    "--max-ttl-ms", type=click.IntRange(1, 60_000), default=1_000, show_default=True,
    help="Longest lease; with others, so long a restarted witness has no say.",
)  # fmt: skip
@click.option("--new", is_flag=True, help="A first start: there must be no file yet.")
@click.option("--above", type=click.IntRange(min=0), default=0, help="First epoch, less one.")
@click.option(
    "--trust-state", is_flag=True, help="With others: vote at once, from the newest file."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, an object a line.")
def witness(
    listen: str,
    state: str,
    cluster: str,
    others: str,
    max_ttl_ms: int,
    new: bool,
    above: int,
    trust_state: bool,
    as_json: bool,
) -> None:
    """Grant the lease by which one node at a time is active."""
    from tickpath.config import ConfigError
    from tickpath.failover.witness import WitnessError
    from tickpath.failover.witness_server import WitnessServer, WitnessSettings

    try:
        settings = WitnessSettings(
            listen=listen,
            state=state,
            cluster=cluster,
            others=tuple(each for each in others.split(",") if each),
            max_ttl_ms=max_ttl_ms,
            new=new,
            above=above,
            trusts_file=trust_state,
        )
        with WitnessServer(settings) as server:
            code = _serve(server, as_json)
    except (ConfigError, WitnessError) as error:
        click.echo(f"tickpath: {error}", err=True)
        code = USAGE
    sys.exit(code)


def _serve(server: "WitnessServer", as_json: bool) -> int:
    """Serve until a signal; say when it is ready, and what is found, once each."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: server.stop())
    said = 0
    is_voting = not server.witness.is_voting

    def tell() -> None:
        nonlocal said, is_voting
        for finding in server.findings[said:]:
            click.echo(f"tickpath: {finding}", err=True)
        said = len(server.findings)
        if server.witness.is_voting != is_voting:
            is_voting = server.witness.is_voting
            _say_ready(server, as_json)

    tell()
    server.run(tell)
    counters = {name: count for name, count in sorted(server.witness.counters.items()) if count}
    if as_json:
        ended = {"schema": SCHEMA, "epoch": server.witness.kept.epoch, "counters": counters}
        click.echo(json.dumps(ended))
    else:
        click.echo(f"witness ended at epoch {server.witness.kept.epoch}")
        for name, count in counters.items():
            click.echo(f"  {name:<16} {count:>12,}")
    return FINDING if counters.get("not_written") else OK


def _say_ready(server: "WitnessServer", as_json: bool) -> None:
    host, port = server.address
    kept = server.witness.kept
    if as_json:
        line = {
            "schema": SCHEMA,
            "ready": server.witness.is_voting,
            "address": f"{host}:{port}",
            "epoch": kept.epoch,
            "holder": kept.node or None,
        }
        click.echo(json.dumps(line))
        return
    click.echo(
        f"witness at {host}:{port}, epoch {kept.epoch}"
        + ("" if server.witness.is_voting else ": no say yet, it waits and asks the others")
    )
