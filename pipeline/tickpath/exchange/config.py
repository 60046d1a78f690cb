"""What a venue is: symbols, accounts, flow, feed, ports and faults, as read from TOML.

All of it but the addresses, ports and file names decides what the venue does with its inputs;
`digest` is of that part, and a journal is only taken up by a venue that has the same.
"""

import hashlib
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from tickpath.config import Component, Natural, Positive
from tickpath.exchange.account import Account
from tickpath.exchange.error import ExchangeError

Port = Annotated[int, Meta(ge=0, le=65_535)]
Probability = Annotated[float, Meta(ge=0, le=1)]
SECOND_NS = 1_000_000_000
MAX_SYMBOLS = 5_000


class Flow(Component, frozen=True):
    """Other people's orders."""

    kind: Literal["generated", "recorded", "none"] = "generated"
    rate: Annotated[float, Meta(gt=0, le=1e6)] = 1_000.0
    """Generated: actions a second, over all symbols.  Recorded: see ``speed``."""
    orders_per_symbol: Annotated[int, Meta(ge=2, le=10_000)] = 40
    """Generated: orders that the books of a symbol are kept near."""
    recorded: str = ""
    """Recorded: a capture or daily file with ITCH 5.0."""
    speed: Annotated[float, Meta(gt=0, le=1e6)] = 1.0
    """Recorded: how many times faster than it was."""


class Feed(Component, frozen=True):
    """Where and how the market is published."""

    group: str = "239.255.77.1:26477"
    """ADDRESS:PORT; an address that is no multicast group is sent to as it is."""
    interface: str = "127.0.0.1"
    """The interface's address that multicast goes out on."""
    ttl: Annotated[int, Meta(ge=0, le=255)] = 0
    """Hops of multicast; 0 stays on this machine."""
    request_port: Port = 0
    """UDP port for requests of missed messages; 0: one that is free."""
    max_bytes: Annotated[int, Meta(ge=100, le=60_000)] = 1_400
    window_us: Natural = 0
    """Messages of so long share a packet; 0: those of one cause do."""
    heartbeat_ms: Positive = 1_000
    max_kept: Positive = 1 << 20
    """Messages kept for requests."""
    loss: Probability = 0.0
    """Part of the packets that is lost on purpose, on all lines."""
    group_b: str | None = None
    """A second group that the same packets go to."""
    line_loss: Probability = 0.0
    """Part of the packets that is lost on each line for itself."""
    glimpse_port: Port | None = None
    """TCP port of the GLIMPSE server, where accounts log in; 0: one that is free, none: none."""


class Orders(Component, frozen=True):
    """Where accounts log in."""

    address: str = "127.0.0.1"
    port: Port = 0
    drop_copy_port: Port = 0
    """Of the drop copy; 0, as for ``port``: one that is free."""
    protocol: Literal["ouch50", "ouch42"] = "ouch50"
    heartbeat_ms: Positive = 1_000
    timeout_ms: Positive = 15_000
    max_connections: Positive = 64


class Exchange(Component, frozen=True):
    """The whole venue."""

    symbols: Annotated[int, Meta(ge=1, le=MAX_SYMBOLS)] | list[str] = 20
    """How many, or which; NAME=PRICE says where a price begins."""
    seed: Annotated[int, Meta(ge=0, le=(1 << 63) - 1)] = 1
    session: Annotated[str, Meta(pattern="^[A-Za-z0-9]{1,10}$")] | None = None
    """Name of the MoldUDP64 session and of the SoupBinTCP sessions; None: a new one every time."""
    start_time: Annotated[str, Meta(pattern="^[0-2][0-9]:[0-5][0-9]:[0-5][0-9]$")] | None = None
    """Exchange time at the start; 09:30:00, or that of a recording."""
    flow: Flow = Flow()
    feed: Feed = Feed()
    orders: Orders = Orders()
    accounts: list[Account] = msgspec.field(default_factory=lambda: [Account()])
    faults: list[dict[str, Any]] = msgspec.field(default_factory=list)
    """Commands (see `command`), each with ``after_s``, seconds since the start."""
    replace_keeps_place: bool = True
    """Whether a replacement that only takes shares off keeps its place in the queue."""
    max_live_orders: Positive = 1 << 20
    max_trades: Positive = 1 << 16
    """Latest trades that can still be broken."""

    @property
    def start_ns(self) -> int:
        """Nanoseconds since midnight at which a generated day starts."""
        hours, minutes, seconds = (self.start_time or "09:30:00").split(":")
        return (int(hours) * 3600 + int(minutes) * 60 + int(seconds)) * SECOND_NS

    def digest(self) -> str:
        """Hex digest of what decides the venue's output."""
        feed = msgspec.structs.replace(
            self.feed,
            group="",
            interface="",
            ttl=0,
            request_port=0,
            group_b=None,
            line_loss=0.0,
            glimpse_port=None,
        )
        orders = msgspec.structs.replace(self.orders, address="", port=0, drop_copy_port=0)
        accounts = [
            msgspec.structs.replace(each, password=None, password_env=None)
            for each in self.accounts
        ]
        same = msgspec.structs.replace(self, feed=feed, orders=orders, accounts=accounts)
        return hashlib.sha256(msgspec.json.encode(same, order="sorted")).hexdigest()[:16]


def load(path: str | Path) -> Exchange:
    """Read a TOML file.  Raises `ExchangeError` with one line: file, key, what is expected."""
    try:
        config = msgspec.toml.decode(Path(path).read_bytes(), type=Exchange)
    except OSError as error:
        raise ExchangeError(f"{path}: cannot be read: {error.strerror or error}") from None
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        key = where.rstrip("`").lstrip(".")
        raise ExchangeError(f"{path}: {f'{key}: ' if key else ''}{what}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ExchangeError(f"{path}: not TOML: {error}") from None
    check(config, str(path))
    return config


def check(config: Exchange, source: str = "exchange") -> None:
    """What types alone cannot say.  Raises `ExchangeError`."""
    names = [each.username.upper() for each in config.accounts]
    if len(set(names)) < len(names):
        raise ExchangeError(f"{source}: accounts: a username stands twice")
    if config.flow.kind == "recorded" and not config.flow.recorded:
        raise ExchangeError(f"{source}: flow.recorded: which file? a recorded flow needs one")
    if isinstance(config.symbols, list):
        symbols_of(config.symbols, source)
    for each in config.accounts:
        if each.password_env and each.password_env not in os.environ:
            raise ExchangeError(
                f"{source}: accounts: {each.username}: the environment has no {each.password_env}"
            )


def symbols_of(texts: list[str], source: str = "exchange") -> dict[str, int]:
    """{symbol: price in 1e-4, 0 where none is said} of ``NAME`` and ``NAME=PRICE``."""
    symbols: dict[str, int] = {}
    for text in texts:
        name, equals, price = text.partition("=")
        name = name.strip().upper()
        try:
            value = round(float(price) * 10_000) if equals else 0
        except ValueError:
            value = -1
        if not 1 <= len(name) <= 8 or not name.isascii() or name in symbols or not name.strip():
            raise ExchangeError(f"{source}: symbols: {text!r}: 1 to 8 letters, each symbol once")
        if equals and not 100 <= value <= 1_000_000_000:
            raise ExchangeError(f"{source}: symbols: {text!r}: a price is 0.01 to 100000")
        symbols[name] = value
    if not 1 <= len(symbols) <= MAX_SYMBOLS:
        raise ExchangeError(f"{source}: symbols: between 1 and {MAX_SYMBOLS}")
    return symbols


def password_of(account: Account) -> str | None:
    """The password of an account; None where any will do."""
    if account.password_env:
        return os.environ[account.password_env]
    return account.password
