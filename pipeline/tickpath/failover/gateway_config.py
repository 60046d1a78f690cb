"""The configuration of `tickpath gateway`: where the exchange is, who may connect, what is kept.

[gateway]
orders = "127.0.0.1:26400"
directory = "day-2026-03-02"
[gateway.rules.nodes]
a = "10.0.0.1"
b = "10.0.0.2"
"""

import re
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tickpath.config import Component, ConfigError, Natural, Positive
from tickpath.failover.gateway_settings import NODE, GatewaySettings
from tickpath.session.ouch_settings import OrderSettings
from tickpath.session.store_file import Fsync

Address = Annotated[str, Meta(pattern=r"^[^:\s]+:\d{1,5}$")]
Protocol = Literal["ouch50", "ouch42"]
LOOPBACK = "127."


class GatewayConfig(Component, frozen=True):
    """One gateway: one session of the exchange."""

    listen: Address = "127.0.0.1:26500"
    """HOST:PORT for the nodes; port 0: one that is free.  Beyond this machine nodes must be named:
    whoever may connect can send orders, and nothing is encrypted."""
    orders: Address = "127.0.0.1:26400"
    """The exchange."""
    protocol: Protocol = "ouch50"
    credentials: str | None = None
    """File with user name and password; none: the environment."""
    directory: str = "tickpath-gateway"
    """Of one trading day: the gateway's file, the session's journal and log, operator socket."""
    fsync: Fsync = "interval"
    """When hand-overs and answers are on the disk; epochs always are before they are used."""
    max_bytes: Annotated[int, Meta(ge=1 << 12, le=1 << 40)] = 1 << 30
    """Of the gateway's file; where it is full nothing more is taken."""
    spin: bool = False
    """Whether the loop never sleeps: one core for a few microseconds less."""
    busy_poll_us: Natural = 0
    """How long a read spins in the driver."""
    log_bytes: Natural = 64 << 20
    """Of one file of the session's log, of which five are kept; 0: no log."""
    max_connections: Positive = 32
    """Connections at a time, those without a hello too."""
    rules: GatewaySettings = GatewaySettings()
    session: OrderSettings = OrderSettings()


class GatewayFile(Component, frozen=True):
    """What the file has."""

    gateway: GatewayConfig = GatewayConfig()


def load_gateway(path: str | Path) -> GatewayConfig:
    """Read a TOML file.  Raises `ConfigError` with one line: file, key, what is expected."""
    try:
        config = msgspec.toml.decode(Path(path).read_bytes(), type=GatewayFile).gateway
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        key = where.rstrip("`").lstrip(".")
        raise ConfigError(f"{path}: {f'{key}: ' if key else ''}{what}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    check_gateway(config, str(path))
    return config


def check_gateway(config: GatewayConfig, source: str = "configuration") -> None:
    """Raise `ConfigError` for what no field can say by itself."""

    for name in ("listen", "orders"):
        host, port = split_address(getattr(config, name))
        if port > 65_535 or (name == "orders" and not port):
            raise ConfigError(f"{source}: gateway.{name}: {host}:{port}: a port is 1 to 65535")
    rules = config.rules
    if not config.listen.startswith((LOOPBACK, "localhost:")) and not rules.nodes:
        raise ConfigError(
            f"{source}: gateway.rules.nodes: name the nodes and their addresses, since others than "
            f"this machine can reach {config.listen}"
        )
    for node in rules.nodes:
        if not re.match(NODE, node):
            raise ConfigError(
                f"{source}: gateway.rules.nodes: {node!r}: 1 to 16 letters, digits, . _ -"
            )
    if len(rules.nodes) > rules.max_nodes:
        raise ConfigError(
            f"{source}: gateway.rules.max_nodes: {rules.max_nodes}, named are {len(rules.nodes)}"
        )
    if rules.heartbeat_ms * 2 > rules.timeout_ms:
        raise ConfigError(
            f"{source}: gateway.rules.timeout_ms: at least two heartbeats, "
            f"{rules.heartbeat_ms * 2} ms"
        )
    if config.session.when_throttled == "drop":
        raise ConfigError(
            f"{source}: gateway.session.when_throttled: drop leaves orders without an outcome; "
            "take queue or reject"
        )


def split_address(address: str) -> tuple[str, int]:
    """(host, port) of HOST:PORT."""
    host, _, port = address.rpartition(":")
    return host, int(port)
