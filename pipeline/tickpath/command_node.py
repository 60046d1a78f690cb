"""`tickpath node`: an engine that trades or stands by, in a group of them (`tickpath cluster`).

Exit codes: 0 fine, also when a signal ended it; 1 the node had to end; 2 usage, configuration, or
something that cannot be had.
"""

import json
import signal
import sys

import click

OK, FINDING, USAGE = 0, 1, 2


@click.command()
@click.option("--config", metavar="F.toml", help="Configuration of this node.")
@click.option(
    "--write-pair",
    metavar="TRADE.toml",
    help="Write the files of a pair on this host that trades as this file says, and stop.",
)
@click.option("--strategy", metavar="MODULE:NAME", help="Goes before the configuration's.")
@click.option("--duration", type=float, metavar="SECONDS", help="End by itself.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def node(
    config: str | None,
    write_pair: str | None,
    strategy: str | None,
    duration: float | None,
    as_json: bool,
) -> None:
    """Trade or stand by: one node of a group that shares a lease, a gateway and their inputs."""
    from tickpath.config import ConfigError
    from tickpath.failover.control_error import ControlError
    from tickpath.failover.gateway_error import GatewayError
    from tickpath.failover.node_error import NodeError
    from tickpath.replica.error import ReplicaError
    from tickpath.session.error import SessionError
    from tickpath.strategy import StrategyError

    try:
        if write_pair is not None:
            code = _write_pair(write_pair)
        elif config is None:
            raise ConfigError("node: --config F.toml is missing")
        else:
            code = _run(config, strategy, duration, as_json)
    except NodeError as error:
        click.echo(f"tickpath: {error}", err=True)
        code = FINDING
    except (
        ConfigError,
        ControlError,
        GatewayError,
        ReplicaError,
        SessionError,
        StrategyError,
    ) as error:
        click.echo(f"tickpath: {error}", err=True)
        code = USAGE
    except ModuleNotFoundError as error:
        if error.name != "zmq":
            raise
        click.echo(
            "tickpath: node: pyzmq is missing; run: pip install 'tickpath[failover]'", err=True
        )
        code = USAGE
    sys.exit(code)


def _run(path: str, strategy: str | None, duration: float | None, as_json: bool) -> int:
    from tickpath.failover.node import Node
    from tickpath.failover.node_config import load
    from tickpath.replay import is_compiled
    from tickpath.session.credentials import load_credentials

    config = load(path)

    def say(text: str) -> None:
        click.echo(f"tickpath: node {config.node.name}: {text}", err=True)

    of_feed = config.trade.feed_credentials
    credentials = load_credentials(of_feed) if of_feed is not None else None
    if not is_compiled():
        say("compiling the pipeline (first run only, a minute or two) ...")
    made = Node(config, strategy, credentials=credentials, say=say)
    try:

        def stop(*_: object) -> None:
            made.is_stopped = True

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        made.start()
        say(f"takes part; operators at {config.node.control_path}")
        made.run(duration)
        made.retire()
        result = made.status()
    finally:
        made.close()
    if as_json:
        click.echo(json.dumps(result))
    return OK


def _write_pair(path: str) -> int:
    from tickpath.failover.pair import write_pair

    for command in write_pair(path):
        click.echo(command)
    return OK
