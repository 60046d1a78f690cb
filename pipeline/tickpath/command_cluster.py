"""`tickpath cluster`: a group of nodes as its operators have it.

Exit codes: 0 fine; 1 a finding (something is not as it should be, a command was refused, a check
says no); 2 usage, configuration, or nobody answers.
"""

import json
import shlex
import socket
import sys
import tomllib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tickpath.failover.cluster import Group

OK, FINDING, USAGE = 0, 1, 2
MOST_ANSWER_BYTES = 4096
TIMEOUT_S = 30.0
PAUSE_S = 2.0
"""How long the first order behind a switchover is waited for."""
ROLES = ("active", "standby", "ready")

CONFIG = click.option(
    "--config", required=True, metavar="F.toml", help="Of a node of the group that runs here."
)

ANSWER = click.option(
    "--timeout",
    type=click.FloatRange(0.001, 3600),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How long a node's answer is waited for.",
)


def reaching(command: Callable[..., None]) -> Callable[..., None]:
    """A command to a group: whose, and how long an answer may take."""
    return CONFIG(ANSWER(command))


@click.group()
def cluster() -> None:
    """See to a group of nodes: its status, who is active, drills, checks for load balancers.

    Exit codes: 0 fine, 1 a finding or a refusal, 2 usage or nobody answers.
    """


def _done(work: Callable[[], int]) -> None:
    from tickpath.config import ConfigError

    try:
        code = work()
    except ModuleNotFoundError as error:
        if error.name != "zmq":
            raise
        click.echo("tickpath: pyzmq is missing; run: pip install 'tickpath[failover]'", err=True)
        code = USAGE
    except ConfigError as error:
        click.echo(f"tickpath: {error}", err=True)
        code = USAGE
    except RuntimeError as error:
        from tickpath.failover.control_error import ControlError

        if not isinstance(error, ControlError):
            raise
        click.echo(f"tickpath: {error}", err=True)
        code = FINDING
    sys.exit(code)


def _group(path: str, timeout_s: float) -> "Group":
    from tickpath.failover.cluster import Group
    from tickpath.failover.node_config import load

    return Group(load(path), timeout_s)


# ---------------------------------------------------------------- what there is


@cluster.command()
@reaching
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(config: str, timeout: float, as_json: bool) -> None:
    """All nodes, the lease store, the gateway; exit code 1 where anything is not well."""

    def work() -> int:
        said = _group(config, timeout).status()
        if as_json:
            click.echo(json.dumps(said))
        else:
            _show(said)
        if all("error" in each for each in said["nodes"].values()):
            return USAGE
        return FINDING if said["findings"] else OK

    _done(work)


def _show(said: dict[str, Any]) -> None:
    click.echo(f"{'node':<17}{'role':<11}{'epoch':>6}{'record':>14}{'lag':>8}  ready  in sync")
    for name, each in said["nodes"].items():
        if "error" in each:
            click.echo(f"{name:<17}{'-':<11}")
            continue
        lag = "" if each["lag_records"] is None else f"{each['lag_records']:,}"
        ready = "yes" if each["ready"] else "no"
        click.echo(
            f"{name:<17}{each['state'].lower():<11}{each['epoch']:>6}"
            f"{each['record_number']:>14,}{lag:>8}  {ready:<5}  {', '.join(each['gate'] or ())}"
        )
    lease, gateway = said["lease"], said["gateway"]
    if "error" not in lease:
        click.echo(
            f"lease ({lease['store']}): epoch {lease['epoch']}, holder {lease['holder'] or '-'}, "
            f"may take over: {', '.join(lease['heirs']) or '-'}"
        )
    if lease.get("note") is not None:
        note = lease["note"]
        click.echo(
            f"its note, of epoch {note['epoch']}: active {note['active']}, in sync "
            f"{', '.join(note['in_sync']) or '-'}{', hands over' * note['hands_over']}"
        )
    if gateway is not None:
        click.echo(
            f"gateway: epoch {gateway['epoch']} of {gateway['holder'] or '-'}, session "
            f"{gateway['session'].lower()}, {gateway['order_position']:,} bytes of orders"
        )
    for finding in said["findings"]:
        click.echo(f"tickpath: {finding}", err=True)


# ---------------------------------------------------------------- what changes a node


def _tell(config: str, timeout: float, of: str | None, ask: str, **word: Any) -> None:
    """Tell a node (the configuration's where none is named) and print what came of it."""

    def work() -> int:
        group = _group(config, timeout)
        name = group.settings.name if of is None else of
        said = group.command(name, ask, TIMEOUT_S, **word)
        click.echo(f"{name}: {ask}: {said['text']}", err=not said["is_done"])
        return OK if said["is_done"] else FINDING

    _done(work)


@cluster.command()
@reaching
@click.option("--to", metavar="NODE", help="By default the best standby.")
def switchover(config: str, timeout: float, to: str | None) -> None:
    """Hand the role over in an orderly way: no order is lost, none comes twice."""

    def work() -> int:
        group = _group(config, timeout)
        name = group.active()
        said = group.command(name, "switchover", TIMEOUT_S, to=to)
        click.echo(f"{name}: {said['text']}", err=not said["is_done"])
        if said["is_done"]:
            click.echo(_pause(group.pause(group.active(), PAUSE_S)))
        return OK if said["is_done"] else FINDING

    _done(work)


def _pause(said: dict[str, Any] | None) -> str:
    """What a switchover cost, in words."""
    if said is None:
        return "how long it took is not known"
    less = "" if said["is_exact"] else " (without the time that the word to it was under way)"
    orders = "no order yet"
    if said["orders_ns"] is not None:
        orders = f"{said['orders_ns'] / 1e6:.3f} ms from order to order"
    return f"no order could leave for {said['pause_ns'] / 1e6:.3f} ms{less}; {orders}"


NODE = click.option("--node", "of", metavar="NODE", help="By default the configuration's.")


@cluster.command()
@reaching
@NODE
def drill(config: str, timeout: float, of: str | None) -> None:
    """Would this node take over well now?  Asks all that a takeover asks, and changes nothing.

    Checked: its state, feed, session and breakers; that the lease store answers, and its note names
    this node; that the gateway answers, and has no order that this node does not know.
    """
    _tell(config, timeout, of, "drill")


@cluster.command()
@reaching
@NODE
@click.option("--why", default="the operator holds trading", show_default=True)
def hold(config: str, timeout: float, of: str | None, why: str) -> None:
    """Make no new orders; recorded, so that the next active holds too."""
    _tell(config, timeout, of, "hold", why=why)


@cluster.command()
@reaching
@NODE
@click.option("--source", default="operator", show_default=True, help="Who held trading.")
def resume(config: str, timeout: float, of: str | None, source: str) -> None:
    """Trade again, as far as this source is concerned."""
    _tell(config, timeout, of, "resume", source=source)


@cluster.command()
@reaching
@NODE
def resolved(config: str, timeout: float, of: str | None) -> None:
    """Unknown orders of a takeover are settled with the exchange: trade again."""
    _tell(config, timeout, of, "resolved")


@cluster.command()
@reaching
@NODE
@click.option("--synchronous/--asynchronous", required=True)
def mode(config: str, timeout: float, of: str | None, synchronous: bool) -> None:
    """Whether orders wait for a standby's acknowledgement; the active changes it."""
    _tell(config, timeout, of, "mode", synchronous=synchronous)


@cluster.command()
@reaching
@NODE
def retire(config: str, timeout: float, of: str | None) -> None:
    """Take a node out for good; it gives its lease back."""
    _tell(config, timeout, of, "retire")


@cluster.command()
@reaching
@NODE
@click.argument("line", type=click.Choice(["A", "B", "both"]))
def line(config: str, timeout: float, of: str | None, line: str) -> None:
    """Take the feed from line A or B alone, or from both again; of this node, until it ends."""

    def work() -> int:
        said = _group(config, timeout).ask_here(of, ask="use_line", line=line)
        is_done = "cannot" not in said["text"]
        click.echo(said["text"], err=not is_done)
        return OK if is_done else FINDING

    _done(work)


@cluster.command(context_settings={"ignore_unknown_options": True})
@reaching
@NODE
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED)
def ctl(config: str, timeout: float, of: str | None, words: tuple[str, ...]) -> None:
    """A word to a node's engine: kill, reset, limit, cancel, roll, or a question (positions ...).

    The words are those of `tickpath ctl`.  What changes anything is an input like any other: only
    the active takes it, every standby and the journal have it.
    """

    def work() -> int:
        said = _group(config, timeout).ask_here(of, ask="ctl", words=shlex.join(words))
        click.echo(json.dumps(said["answer"], indent=2))
        return OK

    _done(work)


@cluster.command()
@reaching
@NODE
def force(config: str, timeout: float, of: str | None) -> None:
    """Let a node try to take over although it is not known to be in sync: records can be lost.

    It breaks neither a lease that is held nor the gateway's order of epochs.  `cluster status` says
    what came of it.
    """

    def work() -> int:
        said = _group(config, timeout).ask_here(of, ask="force")
        refused = [each for each in said["notes"] if each.startswith("force refused")]
        click.echo("\n".join(said["notes"]), err=bool(refused))
        return FINDING if refused else OK

    _done(work)


@cluster.command()
@click.argument("file")
def keys(file: str) -> None:
    """Make a node's CurveZMQ keys (node.keys); prints the public one, for its peers."""

    def work() -> int:
        from tickpath.failover.curve import write_keys

        click.echo(write_keys(file).public.decode())
        return OK

    _done(work)


# ---------------------------------------------------------------- checks


@cluster.command()
@click.option("--role", type=click.Choice(ROLES), required=True)
@click.option("--config", metavar="F.toml", help="Of the node, for its `node.check`.")
@click.option("--address", metavar="HOST:PORT", help="Of its `node.check`, instead.")
@click.option("--timeout", type=float, default=1.0, show_default=True, metavar="SECONDS")
def check(role: str, config: str | None, address: str | None, timeout: float) -> None:
    """For check scripts (keepalived): exit code 0 yes, 1 no or no answer in time, 2 usage."""
    if (config is None) == (address is None):
        click.echo("tickpath: check: --config F.toml or --address HOST:PORT", err=True)
        sys.exit(USAGE)
    try:
        place = address if address is not None else _check_address(config or "")
        host, _, port = place.rpartition(":")
        where = (host, int(port))
    except (OSError, ValueError) as error:
        click.echo(f"tickpath: check: {error}", err=True)
        sys.exit(USAGE)
    said = _line(where, role, timeout)
    if said != "yes":
        click.echo(f"tickpath: {place}: {said}", err=True)
    sys.exit(OK if said == "yes" else FINDING)


def _check_address(path: str) -> str:
    """``node.check`` of a configuration, without the time that all of it takes to be read."""
    with open(path, "rb") as file:
        address = tomllib.load(file).get("node", {}).get("check")
    if not isinstance(address, str):
        raise ValueError(f"{path}: it has no node.check")
    return address


def _line(where: tuple[str, int], word: str, timeout_s: float) -> str:
    """The answer to a line, or what is wrong, within about the timeout."""
    try:
        with socket.create_connection(where, timeout_s) as sock:
            sock.settimeout(timeout_s)
            sock.sendall(f"{word}\n".encode())
            raw = sock.recv(MOST_ANSWER_BYTES)
    except OSError as error:
        return str(error.strerror or error)
    return raw.decode("ascii", "replace").strip() or "no answer"
