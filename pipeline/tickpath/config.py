"""Configuration: one frozen struct per component, checked once, loadable from TOML.

An unknown key, a wrong type and a value out of range are errors that name the key.  What is not
given has the default written here; `show` prints the whole of it as TOML-like text.
"""

import hashlib
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

Positive = Annotated[int, Meta(ge=1)]
Natural = Annotated[int, Meta(ge=0)]
Share = Annotated[int, Meta(ge=1, le=999_999)]
Code = Annotated[str, Meta(min_length=1, max_length=1)]
Cell = Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
Milliseconds = Annotated[int, Meta(ge=0, le=86_400_000)]
"""Up to a day."""


BANDS = 8
"""Price bands that the gate has room for."""
SWITCHES = (
    *("symbol_not_allowed", "halted", "operational_halt", "luld_pause", "trading_state_unknown"),
    *("auction", "market_hours", "stale_book", "short_sale_restricted", "no_locate", "quantity"),
    *("notional", "no_reference", "stale_reference", "price_collar", "market_order"),
    *("duplicate_order", "order_rate", "symbol_order_rate", "open_orders", "symbol_open_orders"),
    *("position_long", "position_short", "gross_notional", "net_notional", "daily_quantity"),
    *("daily_notional", "self_match", "loss_limit"),
)
"""Checks of the gate that can be switched off; the others are what keeps it sound."""


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names file, key and what is expected."""


class Component(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A component's part of the configuration."""


_T = TypeVar("_T")


class Capacity(Component, frozen=True):
    """How much the engine's block of memory has room for; memory is touched only when used."""

    symbols: Annotated[int, Meta(ge=2, le=65_536)] = 16_384
    """Books of Nasdaq, by stock locate, and as many of Cboe; others are left out and counted."""
    orders: Annotated[int, Meta(ge=2048, le=1 << 31)] = 1 << 26
    """Order slots, in pages of 1,024 references in a row; a page is held while one order lives."""
    sparse_orders: Annotated[int, Meta(ge=1024, le=1 << 27)] = 1 << 21
    """Live orders of Cboe, whose references do not rise one by one."""
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
    parameters: list[Cell] = []
    """First cells of the strategy's state."""
    cells: Annotated[int, Meta(ge=1, le=1 << 24)] = 65_536
    """64-bit integers of state."""
    timer_interval_ms: Milliseconds = 0
    """Engine time between timer events; 0: none."""


Money = Annotated[float, Meta(gt=0, le=1e14)]
Percent = Annotated[float, Meta(ge=0, le=1000)]
Dollars = Annotated[float, Meta(ge=0, le=199_999)]
Rate = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Holding = Annotated[int, Meta(ge=0, le=1 << 60)]
Shares = Annotated[int, Meta(ge=1, le=1 << 60)]
Count = Annotated[int, Meta(ge=1, le=0xFFFFFFFF)]
Burst = Annotated[int, Meta(ge=1, le=1 << 60)]
MOST_BURST_NS = 1 << 62
"""What a bucket can run ahead of engine time."""


class Limits(Component, frozen=True):
    """Limits of one symbol, or of one strategy; a field that is not given is the default's."""

    allowed: bool | None = None
    kill_switch: bool | None = None
    max_quantity: Share | None = None
    max_notional: Money | None = None
    max_position: Shares | None = None
    max_long: Holding | None = None
    max_short: Holding | None = None
    max_open_orders: Count | None = None
    max_daily_quantity: Shares | None = None
    max_daily_notional: Money | None = None
    max_loss: Money | None = None
    orders_per_second: Rate | None = None
    order_burst: Burst | None = None
    collar_percent: Percent | None = None
    collar_price: Dollars | None = None


class Band(Component, frozen=True):
    """The collar from a reference price on, up to the next band's; the wider of the two applies."""

    from_price: Dollars
    percent: Percent
    price: Dollars = 0.0


class Total(Component, frozen=True):
    """Limits of the engine as a whole, over all symbols."""

    max_open_orders: Count = 10_000
    max_gross_notional: Money = 1e11
    max_net_notional: Money = 1e11
    max_daily_quantity: Shares = 1_000_000_000
    max_daily_notional: Money = 1e12
    max_loss: Money = 1e10


class Risk(Component, frozen=True):
    """The pre-trade gate.  Money in dollars, quantities and positions in shares.

    The limits in front are each symbol's unless a table of its own says otherwise.
    """

    kill_switch: bool = False
    allowed: bool = True
    """Whether symbols without a table of their own may be traded."""
    max_quantity: Share = 10_000
    max_notional: Money = 1_000_000.0
    max_position: Shares = 50_000
    """Long or short, where the next two do not say otherwise."""
    max_long: Holding | None = None
    max_short: Holding | None = None
    max_open_orders: Count = 1_000
    max_daily_quantity: Shares = 1_000_000_000
    max_daily_notional: Money = 1e11
    max_loss: Money = 1e10
    """Of a symbol's profit and loss of the day, positions at their marks."""
    collar_percent: Percent = 5.0
    collar_price: Dollars = 0.05
    """The wider of the two collars applies."""
    orders_per_second: Rate = 10_000
    order_burst: Burst = 1_000
    """Of the engine as a whole; a symbol's bucket is `symbol_orders_per_second`."""
    symbol_orders_per_second: Rate = 10_000
    symbol_order_burst: Burst = 1_000
    unknown_trading_state: Literal["reject", "trade"] = "reject"
    """What to do before a symbol's first trading action, as in a capture that begins mid-day."""
    trading_hours: Literal["regular", "extended", "any"] = "extended"
    """regular: start to end of market hours; extended: start to end of system hours."""
    auctions: Literal["reject", "trade"] = "trade"
    """During an opening or closing auction; one after a halt always rejects."""
    market_orders: bool = False
    locate_required: bool = False
    """Whether a short sale needs shares located (the start-of-day file says how many)."""
    duplicate_window_ms: Milliseconds = 0
    """An order like one sent this recently (book, side, price, quantity) is rejected; 0: never."""
    max_spread_percent: Percent = 10.0
    """A wider market is no reference price: the last sale or the prior close is."""
    last_sale_max_age_s: Annotated[int, Meta(ge=1, le=86_400)] = 600
    soft_percent: Annotated[float, Meta(gt=0, le=100)] = 80.0
    """Share of a hard limit, to 1/256, beyond which accepted orders are counted as warned of."""
    reducing: Literal["pass", "check"] = "pass"
    """Whether orders that make a position smaller pass the checks of size, count and exposure."""
    audit_full: Literal["stop", "count"] = "stop"
    """What happens when decisions cannot be written down: no more orders, or a count of them."""
    off: list[str] = []
    """Checks that are not made, by their reject codes in lower case."""
    start_of_day: str | None = None
    """CSV with the columns symbol, position, prior_close, locate."""
    total: Total = Total()
    bands: list[Band] = []
    strategies: dict[str, Limits] = {}
    """By the strategy's name; of its limits and the symbol's, the tighter one applies."""
    symbols: dict[Annotated[str, Meta(min_length=1, max_length=8)], Limits] = {}


class Fills(Component, frozen=True):
    """Who answers orders: a model in replay, an exchange where there is one."""

    model: Literal["touch", "through", "queue", "exchange", "none"] = "touch"
    """See `tickpath.fills`; none: nobody, so that orders stay open."""


Options = dict[str, str | int | float]
Word = Annotated[str, Meta(max_length=16, pattern="^[!-~]*$")]
"""Printable ASCII without blanks."""


class Boe23Orders(Component, frozen=True):
    """What every BOE 2.3 order has in common, in the spec's codes; what is blank is not sent."""

    clearing_firm: Annotated[str, Meta(max_length=4, pattern="^[!-~]*$")] = ""
    clearing_account: Annotated[str, Meta(max_length=4, pattern="^[!-~]*$")] = ""
    account: Word = ""
    capacity: Literal["A", "P", "R"] = "P"
    time_in_force: Literal["0", "1", "3", "5", "E", "R", "T", "X"] = "0"
    """Those that need no other field and that a fill model can answer; 3 is immediate or cancel."""
    options: Options = {}
    """Other optional fields of new_order: {name: value}."""
    modify_options: Options = {}
    """Of modify_order."""


class Fix44Orders(Component, frozen=True):
    """What every FIX 4.4 order has in common, in the spec's codes; what is blank is not sent."""

    sender_comp_id: Word = ""
    """Both CompIDs are needed."""
    target_comp_id: Word = ""
    sender_sub_id: Word = ""
    target_sub_id: Word = ""
    account: Word = ""
    ex_destination: Word = ""
    handl_inst: Literal["1", "2", "3"] = "1"
    order_capacity: Literal["A", "G", "I", "P", "R", "W"] = "P"
    time_in_force: Literal["0", "1", "3", "5"] = "0"
    """3 is immediate or cancel."""
    locate_reqd: Literal["", "N", "Y"] = ""
    options: Options = {}
    """Other fields of NewOrderSingle: {name of `wire.fix44`: value}."""
    replace_options: Options = {}
    """Of OrderCancelReplaceRequest."""


class Orders(Component, frozen=True):
    """The order session's protocol and the constants of its messages, in the spec's codes.

    The keys in front are those of OUCH; BOE and FIX have tables of their own.  There is no session
    for these two yet: a fill model answers their orders, and ``fills.model = "exchange"`` with them
    is refused.
    """

    protocol: Literal["ouch50", "ouch42", "boe23", "fix44"] = "ouch50"
    time_in_force: Code | int | None = None
    display: Code = "Y"
    capacity: Code = "P"
    inter_market_sweep_eligibility: Code = "N"
    cross_type: Code = "N"
    firm: Annotated[str, Meta(max_length=4)] = ""
    customer_type: Annotated[str, Meta(max_length=1)] = " "
    minimum_quantity: Natural = 0
    options: Options = {}
    """OUCH 5.0 appendage of enter_order: {option's name: value}."""
    replace_options: Options = {}
    boe23: Boe23Orders = Boe23Orders()
    fix44: Fix44Orders = Fix44Orders()


OUCH_PROTOCOLS = ("ouch50", "ouch42")


class Feed(Component, frozen=True):
    """Which packets are the feed."""

    format: Literal["auto", "itch50", "pitch"] = "auto"
    """What datagrams carry; auto: PITCH where they begin with their own length, else ITCH 5.0."""
    groups: list[str] = []
    """ADDRESS:PORT of the multicast groups; empty: every UDP datagram is taken for one."""
    pitch_venue: Literal["cboe-bzx", "cboe-byx", "cboe-edga", "cboe-edgx"] = "cboe-bzx"
    """Whose PITCH it is, which the packets do not say."""
    venues: dict[str, Literal["cboe-bzx", "cboe-byx", "cboe-edga", "cboe-edgx"]] = {}
    """Likewise for single groups, by ADDRESS:PORT."""
    lines_b: dict[str, str] = {}
    """Groups that carry the same messages a second time: ``"A:PORT" = "B:PORT"``."""
    reorder_packets: Annotated[int, Meta(ge=0, le=512)] = 0
    """Packets of a line that wait for one that is missing before a gap is declared."""
    reorder_us: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    """The same by receive time; 0: as long as it takes for so many packets to come."""
    recovers: bool = False
    """Whether a program that embeds the engine asks for what is missing (`tickpath.recovery`)."""


class Udp(Component, frozen=True):
    """Kernel sockets."""

    receive_buffer: Annotated[int, Meta(ge=4096, le=1 << 30)] = 1 << 24
    """Bytes of a socket's receive buffer (SO_RCVBUFFORCE where that is allowed)."""
    timestamps: Literal["software", "hardware", "none"] = "software"
    """Whose receive timestamps are taken; none: the time at which a packet was read."""
    busy_poll_us: Annotated[int, Meta(ge=0, le=10_000)] = 0
    """SO_BUSY_POLL: how long a read spins in the driver."""


class Afxdp(Component, frozen=True):
    """AF_XDP sockets."""

    mode: Literal["best", "zero-copy", "native", "generic"] = "best"
    """best: the first of the others, in their order, that the interface offers."""
    queues: tuple[Annotated[int, Meta(ge=0, le=1023)], ...] = (0,)
    """Receive queues of the interface, one socket each."""
    need_wakeup: bool = False
    busy_poll: bool = False
    """Drive the queue from the program (SO_PREFER_BUSY_POLL) instead of from interrupts."""


class Dpdk(Component, frozen=True):
    """DPDK; what its environment abstraction layer is started with, once in a process."""

    eal: list[str] = []
    """Arguments, as in ``["--no-huge", "--vdev=net_af_packet0,iface=eth0"]``."""
    port: Annotated[int, Meta(ge=0, le=31)] = 0
    queues: Annotated[int, Meta(ge=1, le=16)] = 1
    descriptors: Annotated[int, Meta(ge=64, le=32_768)] = 1024
    """Of each receive queue's ring."""


class Transport(Component, frozen=True):
    """How packets come in live, and orders go out as datagrams: `udp`, `afxdp` and `dpdk`.

    What comes in is `feed.groups` and the second lines of `feed.lines_b`.
    """

    interface: str | None = None
    """Name of the network interface; DPDK has its own."""
    burst: Annotated[int, Meta(ge=1, le=1024)] = 64
    """Most packets that are lent at once."""
    buffers: Annotated[int, Meta(ge=64, le=1 << 20)] = 4096
    """Packets that there is room for, a power of two."""
    orders_to: str | None = None
    """ADDRESS:PORT that orders go to, each as a datagram; none: they leave by the order session."""
    orders_from: str | None = None
    """ADDRESS:PORT that they come from; none: chosen by the kernel, needed with `dpdk`."""
    orders_mac: str | None = None
    """Ethernet address of `orders_to` or its router; none: the kernel's neighbour table knows."""
    cpu: Annotated[int, Meta(ge=0, le=4095)] | None = None
    """The core that the receiving thread is pinned to."""
    lock_memory: bool = False
    """mlockall: no page of the process is ever swapped or given back."""
    huge_pages: bool = False
    """Whether buffers must be in huge pages; where there are none that is an error."""
    udp: Udp = Udp()
    afxdp: Afxdp = Afxdp()
    dpdk: Dpdk = Dpdk()


class Latency(Component, frozen=True):
    """Where stages are stamped."""

    sample: Annotated[int, Meta(ge=1, le=1 << 20)] = 64
    """Stages are stamped on every n-th packet, n a power of two; orders always."""


class Config(Component, frozen=True):
    """Everything that decides what the engine does with its inputs, and where these come from."""

    capacity: Capacity = Capacity()
    indicators: Indicators = Indicators()
    strategy: StrategyConfig = StrategyConfig()
    risk: Risk = Risk()
    fills: Fills = Fills()
    orders: Orders = Orders()
    feed: Feed = Feed()
    latency: Latency = Latency()
    transport: Transport = Transport()

    def digest(self) -> str:
        """Short hex digest of all that decides what the engine makes of its inputs.

        Not the transport, nor what a kind with more tables (trading, a node) says beside the
        engine: where neighbours are and what they are called.
        """
        engine = {name: getattr(self, name) for name in Config.__struct_fields__}
        decides = Config(**engine | {"transport": Transport()})
        return hashlib.sha256(msgspec.json.encode(decides, order="sorted")).hexdigest()[:16]


def load_config(path: str | Path) -> Config:
    """Read a TOML file.  Raises `ConfigError` with one line: file, key, what is expected."""
    config = read_toml(path, Config)
    check(config, str(path))
    return config


def read_toml(path: str | Path, kind: type[_T]) -> _T:
    """A TOML file as a `Component`, or as a dict.  Raises `ConfigError`, as `load_config`."""
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    try:
        return msgspec.toml.decode(text, type=kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {in_words(str(error))}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None


def in_words(error: str, below: str = "") -> str:
    """msgspec's message with the key first: ``risk.max_quantity: Expected `int` ...``."""
    what, _, where = error.partition(" - at `$")
    key = (below + where.rstrip("`")).lstrip(".")
    return f"{key}: {what}" if key else what


def check(config: Config, source: str = "configuration") -> None:
    """What types alone cannot say.  Raises `ConfigError`."""
    sample = config.latency.sample
    if sample & (sample - 1):
        raise ConfigError(f"{source}: latency.sample: {sample} is not a power of two")
    given = config.risk.bands
    # Where no band begins at zero, the defaults are the first one.
    if len(given) + (not given or given[0].from_price > 0) > BANDS:
        raise ConfigError(f"{source}: risk.bands: more than {BANDS}, the one at zero included")
    starts = [band.from_price for band in given]
    if starts != sorted(set(starts)):
        raise ConfigError(f"{source}: risk.bands: from_price must rise from band to band")
    _check_bursts(config.risk, source)
    _check_orders(config, source)
    for name in config.risk.off:
        if name not in SWITCHES:
            known = ", ".join(SWITCHES)
            raise ConfigError(f"{source}: risk.off: {name!r} is not one of {known}")
    if len(config.strategy.parameters) > config.strategy.cells:
        raise ConfigError(f"{source}: strategy.parameters: more than strategy.cells")
    if config.capacity.trades & (config.capacity.trades - 1):
        raise ConfigError(
            f"{source}: capacity.trades: {config.capacity.trades} is not a power of two"
        )
    for text in (*config.feed.groups, *config.feed.venues):
        parse_group(text, source)
    if config.transport.buffers & (config.transport.buffers - 1):
        raise ConfigError(
            f"{source}: transport.buffers: {config.transport.buffers} is not a power of two"
        )
    for key in ("orders_to", "orders_from"):
        if (address := getattr(config.transport, key)) is not None:
            parse_group(address, source, f"transport.{key}")
    for a, b in config.feed.lines_b.items():
        if parse_group(a, source) == parse_group(b, source):
            raise ConfigError(f"{source}: feed.lines_b: {a} is its own second line")


def _check_orders(config: Config, source: str) -> None:
    """Nothing that is said of orders is left unheard."""
    orders = config.orders
    if orders.protocol in OUCH_PROTOCOLS:
        return
    if config.fills.model == "exchange":
        raise ConfigError(
            f"{source}: fills.model: no session speaks {orders.protocol}, so a model answers its "
            "orders: touch, through or queue (an exchange answers ouch50 and ouch42)"
        )
    plain = Orders()
    for key in plain.__struct_fields__:
        of_ouch = key not in ("protocol", "boe23", "fix44")
        if of_ouch and getattr(orders, key) != getattr(plain, key):
            raise ConfigError(
                f"{source}: orders.{key}: a key of OUCH; what {orders.protocol} has is in "
                f"[orders.{orders.protocol}]"
            )
    if orders.protocol == "fix44":
        for key in ("sender_comp_id", "target_comp_id"):
            if not getattr(orders.fix44, key):
                raise ConfigError(f"{source}: orders.fix44.{key}: needed where orders are FIX")


def _check_bursts(risk: Risk, source: str) -> None:
    """Buckets hold no more orders than engine time has room for."""
    symbol = (risk.symbol_orders_per_second, risk.symbol_order_burst)
    buckets = {
        "order_burst": (risk.orders_per_second, risk.order_burst),
        "symbol_order_burst": symbol,
    }
    for kind, tables in (("symbols", risk.symbols), ("strategies", risk.strategies)):
        for name, own in tables.items():
            buckets[f"{kind}.{name}.order_burst"] = (
                own.orders_per_second or symbol[0],
                own.order_burst or symbol[1],
            )
    for key, (per_second, burst) in buckets.items():
        if burst * (1_000_000_000 // per_second) > MOST_BURST_NS:
            raise ConfigError(
                f"{source}: risk.{key}: {burst} orders at {per_second} a second is too large a "
                "bucket"
            )


def parse_group(
    text: str, source: str = "configuration", key: str = "feed.groups"
) -> tuple[int, int]:
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
        raise ConfigError(f"{source}: {key}: {text!r} is not ADDRESS:PORT") from None
    return int.from_bytes(bytes(numbers), "big"), int(port)


def show(config: Config) -> str:
    """The whole configuration as TOML; keys that are not set are left out."""
    lines: list[str] = []
    for component in config.__struct_fields__:
        lines += _section(component, getattr(config, component))
    return "\n".join(lines[1:])


def _section(name: str, component: msgspec.Struct) -> list[str]:
    """A component as a table, and tables behind it for what it holds by name."""
    lines, behind = ["", f"[{name}]"], []
    for key in component.__struct_fields__:
        each = getattr(component, key)
        if isinstance(each, msgspec.Struct):
            behind += _section(f"{name}.{key}", each)
        elif isinstance(each, dict) and any(isinstance(v, msgspec.Struct) for v in each.values()):
            for inner, value in each.items():
                behind += _section(f"{name}.{key}.{msgspec.json.encode(inner).decode()}", value)
        elif each is not None and each != {}:
            lines.append(f"{key} = {_value(each)}")
    return lines + behind


def _value(each: object) -> str:
    """A value as TOML writes it on one line."""
    if isinstance(each, msgspec.Struct):
        each = {key: getattr(each, key) for key in each.__struct_fields__}
    if isinstance(each, dict):
        return "{ " + ", ".join(f"{key} = {_value(value)}" for key, value in each.items()) + " }"
    if isinstance(each, list):
        return "[" + ", ".join(_value(value) for value in each) + "]"
    return msgspec.json.encode(each).decode()
