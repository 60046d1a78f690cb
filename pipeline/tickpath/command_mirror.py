"""`tickpath mirror`: a ring of inputs on another host.

Exit codes: 0 fine, also when a signal ended it; 2 usage, or something that cannot be had.
"""

import ipaddress
import json
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tickpath.replica.plan_feed import ReceivedFeed

OK, USAGE = 0, 2


@click.group()
def mirror() -> None:
    """Keep a ring of inputs on another host: a sender beside the node, a receiver there."""


def _done(work: Callable[[Callable[[], bool]], Any]) -> None:
    from tickpath.config import ConfigError
    from tickpath.replica.error import ReplicaError

    stopped: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.append(1))
    try:
        result = work(lambda: bool(stopped))
    except (ConfigError, ReplicaError) as error:
        click.echo(f"tickpath: {error}", err=True)
        sys.exit(USAGE)
    click.echo(json.dumps(dict(result.counters)))
    sys.exit(OK)


def _address(text: str) -> tuple[str, int]:
    from tickpath.config import ConfigError

    host, port = text.rpartition(":")[0], text.rpartition(":")[2]
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise ConfigError(f"{text}: not HOST:PORT")
    try:
        # As datagrams say where they come from: by number.
        return socket.gethostbyname(host), int(port)
    except OSError as error:
        raise ConfigError(f"{text}: {error.strerror or error}") from None


def _feed(path: str) -> "ReceivedFeed":
    """The feed of a node's configuration, received here."""
    from tickpath.failover.node_config import load
    from tickpath.replica.plan_feed import ReceivedFeed

    return ReceivedFeed(load(path))


def _group(text: str) -> tuple[str, int]:
    from tickpath.config import ConfigError

    host, port = _address(text)
    if not ipaddress.ip_address(host).is_multicast:
        raise ConfigError(f"--group {text}: no multicast group (224.0.0.0 to 239.255.255.255)")
    return host, port


@mirror.command()
@click.option("--ring", required=True, metavar="PATH", help="The node's ring.")
@click.option("--listen", required=True, metavar="HOST:PORT", help="Where receivers join (UDP).")
@click.option("--group", metavar="HOST:PORT", help="Send what is new by multicast, once for all.")
@click.option("--datagram-bytes", type=int, default=1472, show_default=True, help="UDP payload.")
@click.option("--spin", is_flag=True, help="Never sleep: a core for less latency.")
def send(ring: str, listen: str, group: str | None, datagram_bytes: int, spin: bool) -> None:
    """Send a node's ring to whoever joins, until stopped; prints its counters."""
    from tickpath.replica.mirror import Settings
    from tickpath.replica.mirror_udp import send as run
    from tickpath.replica.ring import Ring

    settings = Settings(datagram_bytes=datagram_bytes)
    _done(
        lambda is_stopped: run(
            Ring.attach(ring),
            _address(listen),
            is_stopped,
            settings,
            0 if spin else 50,
            None if group is None else _group(group),
        )
    )


@mirror.command()
@click.option("--ring", required=True, metavar="PATH", help="Where the mirror is kept.")
@click.option("--name", required=True, help="Of this receiver, on the sender's side.")
@click.option("--source", required=True, metavar="HOST:PORT", help="The sender.")
@click.option("--group", metavar="HOST:PORT", help="The sender's multicast group.")
@click.option(
    "--interface",
    metavar="ADDRESS",
    default="127.0.0.1",
    show_default=True,
    help="Of the interface that the group is joined on.",
)
@click.option(
    "--feed",
    "config",
    metavar="FILE",
    help="Take the feed of this node's configuration here, and only the plan from the sender.",
)
@click.option("--spin", is_flag=True, help="Never sleep: a core for less latency.")
def receive(
    ring: str,
    name: str,
    source: str,
    group: str | None,
    interface: str,
    config: str | None,
    spin: bool,
) -> None:
    """Keep the mirror of a ring that is sent from another host; prints its counters."""
    from tickpath.replica.mirror_udp import receive as run

    _done(
        lambda is_stopped: run(
            Path(ring),
            name,
            _address(source),
            is_stopped,
            None,
            0 if spin else 50,
            None if group is None else (_group(group), interface),
            None if config is None else _feed(config),
        )
    )
