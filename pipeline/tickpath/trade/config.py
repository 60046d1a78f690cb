"""The configuration of `tickpath trade`: the engine's, and where its neighbours are.

Orders are answered by the exchange, so `fills.model` is "exchange" here whatever the file says: a
file that a replay reads with a fill model can be traded with as it is.  Likewise the feed recovers:
what is missing is asked for, of whoever is named here, and declared where nobody has it.
"""

import re
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from tickpath.config import Component, Config, ConfigError, Natural, Positive, check, parse_group
from tickpath.session.ouch_settings import OrderSettings
from tickpath.session.store_file import Fsync

_ADDRESS = r"^[^:\s]+:\d{1,5}$"
Address = Annotated[str, Meta(pattern=_ADDRESS)]
"""HOST:PORT."""
Addresses = str | tuple[str, ...]
"""One `Address`, or several that are tried in their order.

They are checked here: with a pattern in such a union msgspec 0.21 crashes when Python ends.
"""
Unit = Annotated[str, Meta(pattern=r"^([1-9]\d?|1\d\d|2[0-4]\d|25[0-5])$")]
GROUP = "239.255.77.1:26477"
"""The group where none is named."""
WINDOW_US = 1_000
"""`feed.reorder_us` where none is said: a message that nothing comes behind is missed in time."""


class Trade(Component, frozen=True):
    """Neighbours and files."""

    feed: Address | None = None
    """The multicast group (or the address of ours) that the feed comes to, beside `feed.groups` and
    both sides of `feed.lines_b`; where there are none of these either, it is 239.255.77.1:26477."""
    backend: str | None = None
    """The live backend (udp, afxdp, dpdk) that receives the feed, by busy polling: see [transport];
    none: plain sockets, which sleep while nothing comes."""
    feed_session: str | None = None
    """The one MoldUDP64 session that is followed; none: the first that comes to each group."""
    interface: str = "127.0.0.1"
    """The address of the interface that multicast is joined on, and servers answer to."""
    requests: Addresses | None = None
    """MoldUDP64 request servers, which are asked for missing messages; the next one is asked where
    one does not answer."""
    glimpse: Addresses | None = None
    """GLIMPSE 5.0 servers, tried in turn where messages cannot be had by asking, or too many are
    missing.  A snapshot is of all of Nasdaq's books: with it, ITCH comes on one line."""
    grp: Addresses | None = None
    """Cboe's Gap Request Proxies, which are asked for missing messages of PITCH."""
    grp_group: Address | None = None
    """The group that the proxies send those messages to."""
    spin: dict[Unit, Addresses] = msgspec.field(default_factory=dict)
    """Cboe's Spin servers by unit, as `glimpse`."""
    session_sub_id: Annotated[str, Meta(min_length=1, max_length=4)] = "0001"
    """Of logins to proxies and Spin servers."""
    feed_credentials: str | None = None
    """File with user name and password for GLIMPSE, proxies and Spin; none: those of orders."""
    refill_messages: Positive = 100_000
    """Where more messages than these are missing a snapshot is fetched at once, if it can be had;
    where it cannot, they are asked for, however many."""
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
    """How long the start waits for a packet of the feed, and for missing messages, without one of
    them coming, before a snapshot is fetched or they are a gap."""
    gap_timeout_ms: Natural = 500
    """The same behind the start; 0: not at all.  Pauses of our own do not count."""
    stale_retry_ms: Positive = 10_000
    """How long after a gap another snapshot is tried."""
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


C = TypeVar("C", bound="TradeConfig")


def decoded(path: str | Path, kind: type[C]) -> C:
    """A TOML file as a configuration of this kind, not checked beyond its fields.

    Raises `ConfigError` with one line: file, key, what is expected.
    """
    try:
        return msgspec.toml.decode(Path(path).read_bytes(), type=kind)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        key = where.rstrip("`").lstrip(".")
        raise ConfigError(f"{path}: {f'{key}: ' if key else ''}{what}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None


def load(path: str | Path, backend: str | None = None) -> TradeConfig:
    """Read a TOML file; ``backend`` goes before `trade.backend`.  Raises as `decoded` does."""
    config = decoded(path, TradeConfig)
    if backend is not None:
        trade = msgspec.structs.replace(config.trade, backend=backend)
        config = msgspec.structs.replace(config, trade=trade)
    return checked(config, str(path))


def checked(config: C, source: str = "configuration") -> C:
    """The configuration as it is traded with: see the module's text.  Raises `ConfigError`.

    `feed.groups` are all groups then, but for the second lines.
    """
    check(config, source)
    trade = config.trade
    for name in ("feed", "requests", "glimpse", "grp", "grp_group", "orders", "drop_copy"):
        _check_ports(getattr(trade, name), f"{source}: trade.{name}")
    for unit, servers in trade.spin.items():
        _check_ports(servers, f"{source}: trade.spin.{unit}")
    for name, text in (
        ("feed", trade.feed or GROUP),
        ("grp_group", trade.grp_group or GROUP),
        ("interface", f"{trade.interface}:1"),
    ):
        try:
            parse_group(text)
        except ConfigError:
            raise ConfigError(
                f"{source}: trade.{name}: {getattr(trade, name)}: not a dotted IPv4 address"
            ) from None
    if config.transport.orders_to is not None:
        raise ConfigError(
            f"{source}: transport.orders_to: orders leave by the session of trade.orders"
        )
    if trade.backend is not None and trade.feed_session is not None:
        raise ConfigError(
            f"{source}: trade.feed_session: whatever comes to a group is followed by trade.backend"
        )
    if (trade.grp is None) != (trade.grp_group is None):
        raise ConfigError(f"{source}: trade.grp, trade.grp_group: one is of no use without another")
    groups = _groups(config)
    if trade.glimpse is not None and config.feed.format == "itch50" and len(groups) > 1:
        raise ConfigError(
            f"{source}: trade.glimpse: a snapshot is of all of Nasdaq's books, and ITCH comes on "
            f"{len(groups)} lines: {', '.join(groups)}"
        )
    fills = msgspec.structs.replace(config.fills, model="exchange")
    feed = msgspec.structs.replace(
        config.feed,
        groups=groups,
        recovers=True,
        reorder_us=config.feed.reorder_us or WINDOW_US,
    )
    traded = msgspec.structs.replace(config, fills=fills, feed=feed)
    check(traded, source)
    return traded


def _groups(config: TradeConfig) -> list[str]:
    """Lines A, in order, each once."""
    feed = config.feed
    named = [config.trade.feed] if config.trade.feed is not None else []
    named += [*feed.groups, *feed.lines_b]
    second = {parse_group(each) for each in feed.lines_b.values()}
    groups: dict[tuple[int, int], str] = {}
    for each in named:
        groups.setdefault(parse_group(each), each)
    return [each for group, each in groups.items() if group not in second] or [GROUP]


def _check_ports(said: Addresses | None, where: str) -> None:
    for each in several(said):
        if not re.match(_ADDRESS, each):
            raise ConfigError(f"{where}: {each}: not HOST:PORT")
        if not 0 < split(each)[1] < 1 << 16:
            raise ConfigError(f"{where}: {each}: a port is 1 to 65535")


def several(said: Addresses | None) -> tuple[str, ...]:
    """The addresses of a key that may have none, one or more."""
    if said is None:
        return ()
    return (said,) if isinstance(said, str) else said


def split(address: str) -> tuple[str, int]:
    """(host, port) of HOST:PORT."""
    host, _, port = address.rpartition(":")
    return host, int(port)
