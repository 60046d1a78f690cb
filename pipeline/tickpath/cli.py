"""The command line.  Data goes to stdout, narration and progress to stderr.

Exit codes: 0 fine; 1 finished with a finding; 2 usage, configuration or unreadable input;
130 interrupted.  Nothing heavy is imported before a command needs it.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import click

from tickpath.command_audit import audit
from tickpath.command_chaos import chaos
from tickpath.command_cluster import cluster
from tickpath.command_exchange import exchange
from tickpath.command_gateway import gateway
from tickpath.command_journal import journal
from tickpath.command_mirror import mirror
from tickpath.command_node import node
from tickpath.command_record import record
from tickpath.command_serve import serve
from tickpath.command_witness import witness

OK, FINDING, USAGE, INTERRUPTED = 0, 1, 2, 130


class Failure(click.ClickException):
    """A user's mistake: one clear line and exit code 2."""

    exit_code = USAGE

    def show(self, file: Any = None) -> None:
        click.echo(f"tickpath: {self.format_message()}", err=True)


@contextmanager
def user_errors() -> Iterator[None]:
    """Turn the layers' own errors into one line each."""
    from tickpath.backend import BackendError
    from tickpath.capture import CaptureError
    from tickpath.config import ConfigError
    from tickpath.generate import GenerateError

    expected: list[type[Exception]] = [BackendError, CaptureError, ConfigError, GenerateError]
    # Modules that were not loaded cannot have raised.
    for module, name in (
        ("tickpath.strategy", "StrategyError"),
        ("tickpath.replay", "ReplayError"),
        ("tickpath.outputs", "OutputError"),
        ("tickpath.latency", "LatencyError"),
        ("tickpath.report", "ReportError"),
        ("tickpath.clock", "ClockError"),
        ("tickpath.bench", "BenchError"),
        ("tickpath.audit", "AuditError"),
        ("tickpath.session.error", "SessionError"),
    ):
        if module in sys.modules:
            expected.append(getattr(sys.modules[module], name))
    try:
        yield
    except tuple(expected) as error:
        raise Failure(str(error)) from None
    except MemoryError as error:
        raise Failure(f"not enough memory: {error or 'reduce [capacity] in the config'}") from None


def guarded(command: Callable[..., int]) -> Callable[..., None]:
    """Run a command's body under `user_errors` and exit with the code that it gives."""
    from functools import wraps

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            code = _caught(command, arguments, options)
        except KeyboardInterrupt:
            click.echo("tickpath: interrupted", err=True)
            code = INTERRUPTED
        sys.exit(code)

    return run


def _caught(command: Callable[..., int], arguments: Any, options: Any) -> int:
    try:
        return command(*arguments, **options)
    except click.ClickException:
        raise
    except Exception:
        with user_errors():
            raise
        raise AssertionError("unreachable") from None


class Commands(click.Group):
    """Our own commands, and those that others add by the entry points ``tickpath.commands``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        others = (each.name for each in entry_points(group="tickpath.commands"))
        return sorted({*super().list_commands(ctx), *others})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = super().get_command(ctx, cmd_name)
        found = [] if own else [*entry_points(group="tickpath.commands", name=cmd_name)]
        return _loaded(found[0]) if found else own


def _loaded(entry: EntryPoint) -> click.Command:
    """Another's command; where it cannot be loaded, one that says so, so that help still works."""
    try:
        return entry.load()
    except Exception as error:  # whatever its import raises
        why = f"{entry.value} cannot be loaded: {type(error).__name__}: {error}"

    def say(**_: Any) -> None:
        raise Failure(f"{entry.name}: {why}")

    anything: list[click.Parameter] = [click.Argument(["words"], nargs=-1, type=click.UNPROCESSED)]
    ignoring = {"ignore_unknown_options": True}
    return click.Command(
        entry.name, callback=say, params=anything, help=why, context_settings=ignoring
    )


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tickpath", prog_name="tickpath")
def main() -> None:
    """Exchange packets in, risk-checked orders out.

    Exit codes: 0 fine, 1 finished with a finding, 2 usage or unreadable input, 130 interrupted.
    """


@main.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--feed",
    type=click.Choice(["auto", "itch50", "pitch"]),
    help="What packets carry: the configuration's, or auto.",
)
@click.option("--backend", default="software", show_default=True, help="See `tickpath doctor`.")
@click.option("--config", metavar="F.toml", help="Configuration; see the README.")
@click.option("--profile", metavar="F.toml", help="Hardware profile: symbols, triggers, limits.")
@click.option("--show-config", is_flag=True, help="Print the whole configuration and stop.")
@click.option("--strategy", metavar="MODULE:NAME", help="Goes before the configuration's.")
@click.option("--pace", default="asap", show_default=True, help="asap, wire, or a factor of wire.")
@click.option("--orders", metavar="OUT", help="Encoded orders, each behind a 2-byte length.")
@click.option("--books", metavar="OUT.csv", help="All books at the end.")
@click.option("--bbo", metavar="OUT.csv|.parquet", help="Every change of a best bid or offer.")
@click.option("--audit", metavar="OUT", help="Every decision of the risk gate, hash-chained.")
@click.option("--report", metavar="OUT.html", help="A self-contained report.")
@click.option("--hgrm", metavar="OUT", help="Percentile distributions, a file each.")
@click.option("--hlog", metavar="OUT", help="Interval log of tick to order.")
@click.option("--limit", type=click.IntRange(min=0), help="Stop after N messages.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@guarded
def replay(files: tuple[str, ...], **options: Any) -> int:
    """Replay captures through the whole pipeline."""
    from tickpath.command_replay import run

    return run(files, **options)


@main.command()
@click.option("--config", required=True, metavar="F.toml", help="Engine, feed and order session.")
@click.option("--backend", metavar="NAME", help="Live backend that receives the feed, by polling.")
@click.option("--strategy", metavar="MODULE:NAME", help="Goes before the configuration's.")
@click.option("--duration", type=float, metavar="SECONDS", help="Stop by itself.")
@click.option("--screen/--no-screen", default=True, help="Show books, positions and orders.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
@guarded
def trade(**options: Any) -> int:
    """Trade live: feed in, orders out, fills back.  User and password: see the README."""
    from tickpath.command_trade import run

    return run(**options)


@main.command()
@click.argument("socket")
@click.argument("words", nargs=-1, required=True, metavar="WORD...")
@click.option("--why", help="Goes with whatever changes something.")
@click.option("--for", "seconds", type=float, metavar="SECONDS", help="Of a limit: goes back then.")
@guarded
def ctl(socket: str, words: tuple[str, ...], why: str | None, seconds: float | None) -> int:
    """Speak to a running `tickpath trade`: status, positions, orders, kill, reset, limit, ..."""
    from tickpath.command_trade import ask

    return ask(socket, words, why, seconds)


@main.command()
@click.argument("file")
@click.option(
    "--feed",
    type=click.Choice(["auto", "itch50", "pitch"]),
    default="auto",
    show_default=True,
    help="What UDP datagrams are.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--limit", type=click.IntRange(min=0), help="Stop after N messages.")
@guarded
def decode(file: str, feed: str, as_json: bool, limit: int | None) -> int:
    """Print every message of a capture, one line each, with the spec's field names."""
    from tickpath.decode import Summary, decode_capture
    from tickpath.interrupt import interruptible

    summary, interrupted = Summary(), False
    with interruptible() as interrupt:
        try:
            decode_capture(
                file, sys.stdout, as_json, limit, summary, lambda: interrupt.is_set, feed
            )
        except KeyboardInterrupt:
            interrupted = True
    interrupted |= interrupt.is_set
    sys.stdout.flush()
    counted = {"messages": summary.messages, "unknown": summary.unknown}
    counted |= {"malformed": summary.malformed, **summary.counters}
    click.echo(", ".join(f"{name} {count}" for name, count in counted.items() if count), err=True)
    for finding in summary.findings:
        click.echo(f"tickpath: {finding}", err=True)
    if interrupted:
        click.echo("tickpath: interrupted", err=True)
        return INTERRUPTED
    return FINDING if summary.findings else OK


@main.command()
@click.argument("out")
@click.option("--feed", type=click.Choice(["itch50", "pitch"]), default="itch50", show_default=True)
@click.option("--messages", type=int, default=1_000_000, show_default=True)
@click.option("--symbols", type=int, default=1_000, show_default=True)
@click.option("--live-orders", type=int, help="Orders in the books at the end.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option(
    "--faults", default="", help="loss=0.01,duplicate=...,reorder=...,truncate=...,garbage=..."
)
@click.option("--units", type=int, default=4, show_default=True, help="Units of PITCH.")
@click.option("--crossed", is_flag=True, help="Let books lock and cross.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@guarded
def generate(out: str, as_json: bool, **options: Any) -> int:
    """Write a synthetic trading session; the same options give the same bytes."""
    from tickpath.command_generate import run

    return run(out, as_json, **options)


@main.command()
@click.option(
    "--backend",
    "backends",
    multiple=True,
    metavar="NAME",
    help="Compare backends (may be repeated).",
)
@click.option(
    "--messages",
    type=click.IntRange(min=1000),
    help="Size of the session: 10 million, 1 million with --quick or --backend.",
)
@click.option("--quick", is_flag=True, help="A small session and no curves.")
@click.option(
    "--interface",
    "interfaces",
    multiple=True,
    metavar="[NAMESPACE/]NAME",
    help="Live backends: the sender's, then the receiver's; without, a private wire.",
)
@click.option("--config", metavar="F.toml", help="Live backends: the engine and its transport.")
@click.option("--hgrm", metavar="OUT", help="Live backends: percentile distributions, a file each.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--report", metavar="OUT.html", help="A self-contained report.")
@guarded
def bench(backends: tuple[str, ...], **options: Any) -> int:
    """Measure decode, book and the whole pipeline, with the peers that are installed."""
    from tickpath.command_bench import run

    return run(backends, **options)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@guarded
def doctor(as_json: bool) -> int:
    """What this machine can run; for each thing it can't: why, and the command that mends it."""
    from tickpath.doctor import run

    return run(as_json)


main.add_command(audit)
main.add_command(chaos)
main.add_command(cluster)
main.add_command(exchange)
main.add_command(gateway)
main.add_command(journal)
main.add_command(mirror)
main.add_command(node)
main.add_command(record)
main.add_command(serve)
main.add_command(witness)

if __name__ == "__main__":
    main()
