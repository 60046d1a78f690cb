"""The configuration of `tickpath trade`: the engine's, and where its neighbours are.

Orders are answered by the exchange, so `fills.model` is "exchange" here whatever the file says: a
file that a replay reads with a fill model can be traded with as it is.
"""

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from tickpath.config import Component, Config, ConfigError, Natural, Positive, check, parse_group
from tickpath.session.ouch_settings import OrderSettings
from tickpath.session.store_file import Fsync

Address = Annotated[str, Meta(pattern=r"^[^:\s]+:\d{1,5}$")]
"""HOST:PORT."""


class Trade(Component, frozen=True):
    """Neighbours and files."""

    feed: Address = "239.255.77.1:26477"
    """The multicast group (or the address of ours) that the feed comes to."""
    feed_session: str | None = None
    """The one MoldUDP64 session of the group that is followed; none: the first that comes."""
    interface: str = "127.0.0.1"
    """The address of the interface that multicast is joined on."""
    requests: Address | None = None
    """Where missing messages are asked for; none: all that was missed, also before, is a gap."""
    orders: Address = "127.0.0.1:26400"
    drop_copy: Address | None = None
    credentials: str | None = None
    """File with user name and password; none: the environment."""
    directory: str = "tickpath-trade"
    """Where journal, session log, audit and operator socket are."""
    audit: str | None = None
    """File of the gate's decisions; none: one in the directory for every configuration."""
    fsync: Fsync = "interval"
    symbols: tuple[str, ...] = ()
    """Shown on the screen; none: those that are traded."""
    start_timeout_ms: Positive = 5_000
    """How long the start waits for a packet of the feed, and for missing messages, once each."""
    gap_timeout_ms: Natural = 500
    """How long the feed waits for a missing message before it is a gap; 0: not at all."""
    cancel_at_start: bool = True
    """Whether orders that an earlier process left open are canceled: no strategy knows them."""
    reconcile_grace_ms: Positive = 2_000
    """How long drop copy and engine may differ before the kill switch latches."""
    clock_interval_ms: Natural = 100
    """Without any input for so long, engine time is moved on by the clock; 0: never."""
    busy_poll_us: Natural = 0
    """How long a read of the order session spins in the driver."""
    log_bytes: Natural = 64 << 20
    """Of one file of the session's log, of which five are kept; 0: no log."""
    session: OrderSettings = OrderSettings()


class TradeConfig(Config, frozen=True):
    """The engine's configuration with the part that only trading has."""

    trade: Trade = Trade()


def load(path: str | Path) -> TradeConfig:
    """Read a TOML file.  Raises `ConfigError` with one line: file, key, what is expected."""
    try:
        config = msgspec.toml.decode(Path(path).read_bytes(), type=TradeConfig)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        key = where.rstrip("`").lstrip(".")
        raise ConfigError(f"{path}: {f'{key}: ' if key else ''}{what}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    return checked(config, str(path))


def checked(config: TradeConfig, source: str = "configuration") -> TradeConfig:
    """The configuration with the exchange as who answers orders.  Raises `ConfigError`."""
    check(config, source)
    trade = config.trade
    for name in ("feed", "requests", "orders", "drop_copy"):
        address = getattr(trade, name)
        if address is not None and not 0 < split(address)[1] < 1 << 16:
            raise ConfigError(f"{source}: trade.{name}: {address}: a port is 1 to 65535")
    for name, text in (("feed", trade.feed), ("interface", f"{trade.interface}:1")):
        try:
            parse_group(text)
        except ConfigError:
            raise ConfigError(
                f"{source}: trade.{name}: {getattr(trade, name)}: not a dotted IPv4 address"
            ) from None
    fills = msgspec.structs.replace(config.fills, model="exchange")
    answered = msgspec.structs.replace(config, fills=fills)
    check(answered, source)
    return answered


def split(address: str) -> tuple[str, int]:
    """(host, port) of HOST:PORT."""
    host, _, port = address.rpartition(":")
    return host, int(port)
