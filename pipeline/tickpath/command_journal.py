"""`tickpath journal`: write a journal of inputs, verify it, replay it, ship it to another place.

Exit codes: 0 fine; 1 a finding: damage, missing records, a replay that diverges; 2 usage, or no
journal that can be read; 130 interrupted.
"""

import sys
from collections.abc import Callable
from functools import wraps
from json import dumps
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tickpath.config import Config
    from tickpath.replica.journal_receipt import Shipped
    from tickpath.replica.journal_recover import Recovered
    from tickpath.replica.journal_verify import Verdict

OK, FINDING, USAGE, INTERRUPTED = 0, 1, 2, 130


def _say(text: str) -> None:
    click.echo(f"tickpath: {text}", err=True)


def _guarded(command: Callable[..., int]) -> Callable[..., None]:
    """Run a command's body and exit with the code that it gives; one line for what goes wrong."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        from tickpath.config import ConfigError
        from tickpath.replica.error import ReplicaError
        from tickpath.replica.journal_segment import DamagedError

        try:
            code = command(*arguments, **options)
            sys.stdout.flush()
        except DamagedError as error:
            _say(str(error))
            code = FINDING
        except (ReplicaError, ConfigError) as error:
            _say(str(error))
            code = USAGE
        except KeyboardInterrupt:
            _say("interrupted")
            code = INTERRUPTED
        except Exception as error:
            # Loading a strategy loads a compiler: this class is there only where one was loaded.
            module = sys.modules.get("tickpath.strategy")
            if module is None or not isinstance(error, module.StrategyError):
                raise
            _say(str(error))
            code = USAGE
        sys.exit(code)

    return run


def _config(path: str | None) -> "Config":
    """The configuration of an engine, whose file may be a trader's or a node's.

    Raises `ConfigError`.
    """
    from tickpath.config import Config, load_config, read_toml

    if path is None:
        return Config()
    tables = read_toml(path, dict)
    if "node" in tables:
        from tickpath.failover.node_config import load as load_node

        return load_node(path)
    if "trade" in tables:
        from tickpath.trade.config import load as load_trade

        return load_trade(path)
    return load_config(path)


@click.group()
def journal() -> None:
    """Write, verify, replay and ship the journal of an engine's inputs."""


# ---------------------------------------------------------------- write, retain


@journal.command()
@click.argument("ring")
@click.argument("directory", metavar="DIR")
@click.option("--config", metavar="F.toml", help="The configuration of the engine.")
@click.option("--strategy", metavar="MODULE:NAME", help="Goes before the configuration's.")
@click.option(
    "--fsync",
    type=click.Choice(["none", "segment", "interval", "batch", "record"]),
    default="interval",
    show_default=True,
    help="When records are made durable.",
)
@click.option("--interval-ms", type=click.FloatRange(0, min_open=True), default=10.0)
@click.option("--segment-mb", type=click.IntRange(1, 1 << 16), default=64, show_default=True)
@click.option("--on-failure", type=click.Choice(["stop", "drop"]), default="stop")
@click.option("--name", default="journal", show_default=True, help="Its name among followers.")
@_guarded
def write(
    ring: str,
    directory: str,
    config: str | None,
    strategy: str | None,
    interval_ms: float,
    segment_mb: int,
    name: str,
    **policy: Any,
) -> int:
    """Write what the engine publishes into RING, until told to stop by SIGINT or SIGTERM."""
    import signal

    from tickpath.engine import Engine
    from tickpath.interrupt import interruptible
    from tickpath.replica.journal_recover import identity_of
    from tickpath.replica.journal_ring import RingJournal
    from tickpath.replica.journal_writer import JournalPolicy, JournalWriter
    from tickpath.replica.ring import Ring

    engine = Engine(_config(config), strategy=strategy)
    chosen = JournalPolicy(
        segment_bytes=segment_mb << 20, fsync_interval_ns=round(interval_ms * 1e6), **policy
    )
    with interruptible() as interrupt, Ring.attach(ring) as attached:
        before = signal.signal(signal.SIGTERM, interrupt)
        try:
            with JournalWriter(directory, identity_of(engine), chosen, alarm=_say) as writer:
                taking = RingJournal(attached, writer, name)
                _say(f"{directory}: goes on behind record {writer.last_number}")
                taking.run(lambda: interrupt.is_set)
                taking.close()
                last, had_absence = writer.last_number, bool(writer.counters["absences"])
        finally:
            signal.signal(signal.SIGTERM, before)
    _say(f"{directory}: ended behind record {last}")
    return FINDING if had_absence else OK


@journal.command()
@click.argument("directory", metavar="DIR")
@click.option("--snapshots", type=click.IntRange(min=1), default=2, show_default=True)
@_guarded
def retain(directory: str, snapshots: int) -> int:
    """Remove what is older than the newest whole snapshots."""
    from tickpath.replica.journal_snapshot import retain as retained

    for path in retained(directory, snapshots):
        click.echo(path.name)
    return OK


# ---------------------------------------------------------------- verify


@journal.command()
@click.argument("directory", metavar="DIR")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@_guarded
def verify(directory: str, as_json: bool) -> int:
    """Find any changed bit, missing record or torn end."""
    from tickpath.replica.journal_verify import verify as verified

    verdict = verified(directory)
    if as_json:
        click.echo(dumps(_verdict_json(verdict)))
    else:
        _print_verdict(verdict)
    for finding in verdict.findings:
        _say(f"{directory}: {finding.flaw}: {finding}")
    if verdict.more_findings:
        _say(f"{directory}: and {verdict.more_findings} findings more")
    return FINDING if verdict.findings else OK


def _verdict_json(verdict: "Verdict") -> dict[str, Any]:
    return {
        "schema": "tickpath.journal.verify/1",
        "directory": verdict.directory,
        "sound": not verdict.findings,
        "findings": [each._asdict() for each in verdict.findings],
        "more_findings": verdict.more_findings,
        "segments": verdict.segments,
        "first_number": verdict.first_number,
        "last_number": verdict.last_number,
        "records": verdict.records,
        "bytes": verdict.bytes,
        "epoch": verdict.epoch,
        "sealed": verdict.is_sealed,
        "being_written": verdict.is_being_written,
        "snapshots": verdict.snapshots,
        "identity": verdict.identity._asdict(),
    }


def _print_verdict(verdict: "Verdict") -> None:
    end = "closed" if verdict.is_sealed else "not closed"
    end = "being written" if verdict.is_being_written else end
    rows = {
        "journal": f"{'not sound' if verdict.findings else 'sound'}, {end}",
        "records": f"{verdict.records:,} ({verdict.first_number} to {verdict.last_number})",
        "segments": f"{verdict.segments:,}, {verdict.bytes:,} bytes",
        "epoch": str(verdict.epoch),
        "snapshots": ", ".join(map(str, verdict.snapshots)) or "none",
        **{name: text or "not said" for name, text in verdict.identity._asdict().items()},
    }
    for name, text in rows.items():
        click.echo(f"{name:<10} {text}")


# ---------------------------------------------------------------- replay


@journal.command()
@click.argument("directory", metavar="DIR")
@click.option("--config", metavar="F.toml", help="The configuration of the run.")
@click.option("--strategy", metavar="MODULE:NAME", help="Goes before the configuration's.")
@click.option("--to", type=click.IntRange(min=1), metavar="NUMBER", help="Stop behind a record.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@_guarded
def replay(
    directory: str, config: str | None, strategy: str | None, to: int | None, as_json: bool
) -> int:
    """Rebuild the state: the newest whole snapshot, and the records behind it.

    Every record says how the engine stood that wrote it; a replay that comes to stand otherwise
    says at which record, and ends with exit code 1.
    """
    from tickpath.engine import Engine
    from tickpath.replica.journal_recover import identity_of, recover

    orders = [0, 0]

    def count(encoded: memoryview) -> None:
        at = 0
        while at < len(encoded):
            at += 2 + int.from_bytes(encoded[at : at + 2], "big")
            orders[0] += 1
        orders[1] += len(encoded)

    settings = _config(config)
    engine = Engine(settings, strategy=strategy, on_orders=count)
    recovered = recover(engine, directory, to=to)
    difference = identity_of(engine).difference(recovered.identity)
    result = {
        "schema": "tickpath.journal.replay/1",
        "directory": directory,
        "snapshot": recovered.snapshot,
        "snapshots_refused": list(recovered.refused),
        "records": recovered.records,
        "last_number": recovered.last_number,
        "state_digest": f"{engine.state_digest:016x}",
        "book_digest": f"{engine.book_digest:016x}",
        "messages": engine.messages,
        "orders": orders[0],
        "order_position": engine.block.get("order_position"),
        "epoch": engine.block.get("epoch"),
        "diverged_at": recovered.diverged_at,
        "divergence": recovered.divergence.name.lower(),
        "identity_difference": difference or None,
    }
    if as_json:
        click.echo(dumps(result))
    else:
        for name, value in list(result.items())[2:]:
            click.echo(f"{name:<20} {value}")
    return _replay_findings(directory, recovered, difference)


def _replay_findings(directory: str, recovered: "Recovered", difference: str) -> int:
    for each in recovered.refused:
        _say(f"{directory}: a snapshot was passed over: {each}")
    if difference:
        _say(f"{directory}: another run wrote it: {difference}")
    if recovered.diverged_at is not None:
        why = recovered.divergence.name.lower()
        _say(f"{directory}: diverged at record {recovered.diverged_at}: {why}")
    return FINDING if recovered.refused or recovered.diverged_at is not None else OK


# ---------------------------------------------------------------- shipping


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise click.BadParameter(f"{text}: expected HOST:PORT")
    return host, int(port)


@journal.command()
@click.argument("directory", metavar="DIR")
@click.argument("target", required=False)
@click.option("--to", "receiver", metavar="HOST:PORT", help="A `tickpath journal receive`.")
@click.option("--follow", type=float, metavar="SECONDS", help="Ship again and again, so often.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, an object a shipment.")
@_guarded
def ship(
    directory: str,
    target: str | None,
    receiver: str | None,
    follow: float | None,
    as_json: bool,
) -> int:
    """Bring a copy in directory TARGET, or behind --to, up to date; it may be interrupted."""
    from threading import Event

    from tickpath.interrupt import interruptible

    if (target is None) == (receiver is None):
        raise click.UsageError("a TARGET directory or --to HOST:PORT, one of them")
    if follow is not None and not follow > 0:
        raise click.BadParameter("--follow takes seconds above 0")

    def once() -> "Shipped":
        if receiver is not None:
            from tickpath.replica.journal_link import send

            return send(directory, _address(receiver))
        from tickpath.replica.journal_ship import ship as shipped

        assert target is not None
        return shipped(directory, target)

    with interruptible() as interrupt:
        while True:
            done = once()
            if as_json:
                click.echo(dumps({"schema": "tickpath.journal.ship/1", **done._asdict()}))
            elif follow is None or done.bytes:
                click.echo(
                    f"as far as record {done.last_number}: {done.bytes:,} bytes, "
                    f"{done.segments} segments begun, {done.snapshots} snapshots"
                )
            if follow is None:
                return OK
            sys.stdout.flush()
            if interrupt.is_set:
                return INTERRUPTED
            Event().wait(follow)


@journal.command()
@click.argument("directory", metavar="DIR")
@click.option("--listen", required=True, metavar="HOST:PORT", help="Port 0: a free one.")
@click.option("--once", is_flag=True, help="Stop behind the first whole shipment.")
@_guarded
def receive(directory: str, listen: str, once: bool) -> int:
    """Become a copy of a journal that is shipped here.

    There is no authentication: listen on a private address, or behind a tunnel.
    """
    from tickpath.interrupt import interruptible
    from tickpath.replica.journal_link import Receiver

    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        _say(text)

    with interruptible() as interrupt, Receiver(directory, _address(listen), say=say) as receiver:
        click.echo("{}:{}".format(*receiver.address))
        sys.stdout.flush()
        done = False

        def should_stop() -> bool:
            nonlocal done
            done = any("as far as record" in each for each in said)
            said.clear()
            return interrupt.is_set or (once and done)

        receiver.serve(should_stop)
        return INTERRUPTED if interrupt.is_set and not done else OK
