"""`tickpath gateway`: the process that holds the exchange's session for a group of nodes.

Exit codes: 0 fine, also when a signal or the exchange ended the day; 1 something was found (order
streams that differ, a file that could not be written, a session that ended otherwise); 2 usage,
configuration, or a session that never came up.
"""

import gc
import json
import signal
import sys

import click

OK, FINDING, USAGE = 0, 1, 2


@click.command()
@click.option("--config", metavar="F.toml", help="Configuration; the default is all local.")
@click.option("--duration", type=float, metavar="SECONDS", help="End by itself.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, an object a line.")
def gateway(config: str | None, duration: float | None, as_json: bool) -> None:
    """Hold the order session, take orders of the newest epoch alone, give answers to every node."""
    from tickpath.config import ConfigError
    from tickpath.failover.gateway_error import GatewayError
    from tickpath.session.error import SessionError

    try:
        code = _serve(config, duration, as_json)
    except (ConfigError, GatewayError, SessionError) as error:
        click.echo(f"tickpath: {error}", err=True)
        code = USAGE
    sys.exit(code)


def _serve(path: str | None, duration: float | None, as_json: bool) -> int:
    from tickpath.failover.gateway_config import GatewayConfig, load_gateway
    from tickpath.failover.gateway_server import SCHEMA, GatewayServer

    config = load_gateway(path) if path else GatewayConfig()

    def say(text: str) -> None:
        click.echo(f"tickpath: gateway {text}", err=True)

    with GatewayServer(config, say=say) as server:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: server.stop())
        host, port = server.address
        if as_json:
            ready = {"schema": SCHEMA, "ready": True, "listen": [host, port]}
            click.echo(json.dumps({**ready, "order_position": server.gateway.order_position}))
        else:
            click.echo(f"gateway listens at {host}:{port} for nodes, orders to {config.orders}")
        # What was made so far stays; looking through it again and again would stop the loop.
        gc.freeze()
        gc.set_threshold(50_000, 50, 100)
        server.run(duration)
        result, has_finding = server.result(), server.has_finding
    if as_json:
        click.echo(json.dumps(result))
    else:
        click.echo(
            f"epoch {result['highest_epoch']}, {result['order_position']:,} bytes of orders, "
            f"{result['next_answer'] - 1:,} answers, {result['next_outcome'] - 1:,} outcomes"
        )
    return FINDING if has_finding else OK
