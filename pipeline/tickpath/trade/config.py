"""The configuration of `tickpath trade`: the engine's, and where its neighbours are."""

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from tickpath.config import Component, Config, ConfigError, Natural, Positive, check
from tickpath.session.ouch_settings import OrderSettings

Address = Annotated[str, Meta(pattern=r"^[^:\s]+:\d{1,5}$")]
"""HOST:PORT."""


class Trade(Component, frozen=True):
    """Neighbours and files."""

    feed: Address = "239.255.77.1:26477"
    """The multicast group (or the address of ours) that the feed comes to."""
    interface: str = "127.0.0.1"
    """The address of the interface that multicast is joined on."""
    requests: Address | None = None
    """Where messages that are missing at the start are asked for; none: begin in mid-stream."""
    orders: Address = "127.0.0.1:26400"
    drop_copy: Address | None = None
    credentials: str | None = None
    """File with user name and password; none: the environment."""
    directory: str = "tickpath-trade"
    """Where journal, session log and operator socket are."""
    audit: str | None = None
    """None: in the directory."""
    fsync: str = "interval"
    symbols: tuple[str, ...] = ()
    """Shown on the screen; none: those that are traded."""
    reconcile_grace_ms: Positive = 2_000
    """How long drop copy and engine may differ before the kill switch latches."""
    clock_interval_ms: Natural = 100
    """Without any input for so long, engine time is moved on by the clock; 0: never."""
    session: OrderSettings = OrderSettings()


class TradeConfig(Config, frozen=True):
    """The engine's configuration with the part that only trading has."""

    trade: Trade = Trade()


def load(path: str | Path) -> TradeConfig:
    """Read a TOML file.  Raises `ConfigError` with one line: file, key, what is expected."""
    try:
        text = Path(path).read_bytes()
        config = msgspec.toml.decode(text, type=TradeConfig)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        key = where.rstrip("`").lstrip(".")
        raise ConfigError(f"{path}: {f'{key}: ' if key else ''}{what}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    check(config, str(path))
    if config.fills.model != "exchange":
        fills = msgspec.structs.replace(config.fills, model="exchange")
        config = msgspec.structs.replace(config, fills=fills)
    return config


def split(address: str) -> tuple[str, int]:
    """(host, port) of HOST:PORT."""
    host, _, port = address.rpartition(":")
    return host, int(port)
