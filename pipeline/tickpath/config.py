"""Configuration: one frozen struct per component, checked once, loadable from TOML.

An unknown key, a wrong type and a value out of range are errors that name the key.  What is not
given has the default written here; `show` prints the whole of it as TOML-like text.
"""

import hashlib
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Positive = Annotated[int, Meta(ge=1)]
Natural = Annotated[int, Meta(ge=0)]
Share = Annotated[int, Meta(ge=1, le=999_999)]
Code = Annotated[str, Meta(min_length=1, max_length=1)]


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names file, key and what is expected."""


class Component(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A component's part of the configuration."""


class Capacity(Component, frozen=True):
    """How much the engine's block of memory has room for; memory is touched only when used."""

    symbols: Annotated[int, Meta(ge=2, le=65_536)] = 16_384
    """Books; a stock locate at or above it is counted and left out."""
    orders: Annotated[int, Meta(ge=2048, le=1 << 31)] = 1 << 26
    """Order slots, in pages of 1,024 references in a row; a page is held while one order lives."""
    overflow_levels: Annotated[int, Meta(ge=2048, le=1 << 24)] = 1 << 19
    """Price levels outside the books' windows."""
    trades: Annotated[int, Meta(ge=1024, le=1 << 26)] = 1 << 18
    """Last trades that a broken-trade message can still undo."""
    prefault: bool = False
    """Whether a replay touches all tables before its clock starts, not the small ones only."""


class Indicators(Component, frozen=True):
    """Windows of the moving averages of trade prices, in trades."""

    sma_window: Annotated[int, Meta(ge=1, le=4096)] = 32
    ema_window: Annotated[int, Meta(ge=1, le=1_000_000)] = 32


class StrategyConfig(Component, frozen=True):
    """The user's function and its state."""

    name: str | None = None
    """MODULE:NAME or FILE.py:NAME; none: books only."""
    parameters: list[int] = []
    """First cells of the strategy's state."""
    cells: Annotated[int, Meta(ge=1, le=1 << 24)] = 65_536
    """64-bit integers of state."""
    timer_interval_ms: Natural = 0
    """Engine time between timer events; 0: none."""


class Limits(Component, frozen=True):
    """Risk limits of one symbol; a field that is not given in a symbol's table is the default's."""

    allowed: bool | None = None
    kill_switch: bool | None = None
    max_quantity: Share | None = None
    max_notional: Annotated[float, Meta(gt=0, le=1e14)] | None = None
    max_position: Positive | None = None
    collar_percent: Annotated[float, Meta(ge=0, le=1000)] | None = None
    collar_price: Annotated[float, Meta(ge=0, le=199_999)] | None = None


class Risk(Component, frozen=True):
    """The pre-trade gate.  Money in dollars, quantities and positions in shares."""

    kill_switch: bool = False
    allowed: bool = True
    """Whether symbols without a table of their own may be traded."""
    max_quantity: Share = 10_000
    max_notional: Annotated[float, Meta(gt=0, le=1e14)] = 1_000_000.0
    max_position: Positive = 50_000
    collar_percent: Annotated[float, Meta(ge=0, le=1000)] = 5.0
    collar_price: Annotated[float, Meta(ge=0, le=199_999)] = 0.05
    """The wider of the two collars applies."""
    orders_per_second: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 10_000
    order_burst: Positive = 1_000
    unknown_trading_state: Literal["reject", "trade"] = "reject"
    """What to do before a symbol's first trading action, as in a capture that begins mid-day."""
    symbols: dict[Annotated[str, Meta(min_length=1, max_length=8)], Limits] = {}


class Orders(Component, frozen=True):
    """The order session's protocol and the constants of its messages, in the spec's codes."""

    protocol: Literal["ouch50", "ouch42"] = "ouch50"
    time_in_force: Code | int | None = None
    display: Code = "Y"
    capacity: Code = "P"
    inter_market_sweep_eligibility: Code = "N"
    cross_type: Code = "N"
    firm: Annotated[str, Meta(max_length=4)] = ""
    customer_type: Annotated[str, Meta(max_length=1)] = " "
    minimum_quantity: Natural = 0
    options: dict[str, str | int | float] = {}
    """OUCH 5.0 appendage of enter_order: {option's name: value}."""
    replace_options: dict[str, str | int | float] = {}


class Feed(Component, frozen=True):
    """Which packets are the feed."""

    groups: list[str] = []
    """ADDRESS:PORT of the multicast groups; empty: every UDP datagram is taken for one."""


class Latency(Component, frozen=True):
    """Where stages are stamped."""

    sample: Annotated[int, Meta(ge=1, le=1 << 20)] = 64
    """Stages are stamped on every n-th packet, n a power of two; orders always."""


class Config(Component, frozen=True):
    """Everything that decides what the engine does with its inputs."""

    capacity: Capacity = Capacity()
    indicators: Indicators = Indicators()
    strategy: StrategyConfig = StrategyConfig()
    risk: Risk = Risk()
    orders: Orders = Orders()
    feed: Feed = Feed()
    latency: Latency = Latency()

    def digest(self) -> str:
        """Short hex digest of the whole configuration, for results and comparisons."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()[:16]


def load_config(path: str | Path) -> Config:
    """Read a TOML file.  Raises `ConfigError` with one line: file, key, what is expected."""
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    try:
        config = msgspec.toml.decode(text, type=Config)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {_in_words(str(error))}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    check(config, str(path))
    return config


def _in_words(error: str) -> str:
    """msgspec's message with the key first: ``risk.max_quantity: Expected `int` ...``."""
    what, _, where = error.partition(" - at `$")
    key = where.rstrip("`").lstrip(".")
    return f"{key}: {what}" if key else what


def check(config: Config, source: str = "configuration") -> None:
    """What types alone cannot say.  Raises `ConfigError`."""
    sample = config.latency.sample
    if sample & (sample - 1):
        raise ConfigError(f"{source}: latency.sample: {sample} is not a power of two")
    if len(config.strategy.parameters) > config.strategy.cells:
        raise ConfigError(f"{source}: strategy.parameters: more than strategy.cells")
    if config.capacity.trades & (config.capacity.trades - 1):
        raise ConfigError(
            f"{source}: capacity.trades: {config.capacity.trades} is not a power of two"
        )
    for text in config.feed.groups:
        parse_group(text, source)


def parse_group(text: str, source: str = "configuration") -> tuple[int, int]:
    """(address, port) of ``ADDRESS:PORT`` with a dotted IPv4 address.  Raises `ConfigError`."""
    address, _, port = text.rpartition(":")
    parts = address.split(".")
    try:
        numbers = [int(part) for part in parts]
        if (
            len(numbers) != 4
            or not all(0 <= n <= 255 for n in numbers)
            or not 0 <= int(port) < 65_536
        ):
            raise ValueError
    except ValueError:
        raise ConfigError(f"{source}: feed.groups: {text!r} is not ADDRESS:PORT") from None
    return int.from_bytes(bytes(numbers), "big"), int(port)


def show(config: Config) -> str:
    """The whole configuration as TOML; keys that are not set are left out."""
    lines: list[str] = []
    for component in config.__struct_fields__:
        lines += ["", f"[{component}]"]
        value = getattr(config, component)
        for key in value.__struct_fields__:
            if (each := getattr(value, key)) is not None and not isinstance(each, dict):
                lines.append(f"{key} = {msgspec.json.encode(each).decode()}")
            elif isinstance(each, dict) and each:
                lines += _tables(f"{component}.{key}", each)
    return "\n".join(lines[1:])


def _tables(name: str, tables: dict) -> list[str]:
    lines: list[str] = []
    plain = {key: each for key, each in tables.items() if not isinstance(each, msgspec.Struct)}
    if plain:
        lines.append(
            f"{name.rpartition('.')[2]} = {{ "
            + ", ".join(
                f"{key} = {msgspec.json.encode(each).decode()}" for key, each in plain.items()
            )
            + " }"
        )
    for key, each in tables.items():
        if isinstance(each, msgspec.Struct):
            lines += ["", f'[{name}."{key}"]']
            for field in each.__struct_fields__:
                if (value := getattr(each, field)) is not None:
                    lines.append(f"{field} = {msgspec.json.encode(value).decode()}")
    return lines
