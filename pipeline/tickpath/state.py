"""The engine's state: one block of memory, allocated once, seen by Python as record arrays.

`Block` lays the regions of `tickpath.layout` out behind the `ENGINE` record, on huge pages where
the kernel has any to give, and fills in what follows from the configuration.  Memory is reserved,
not used, until it is written to: large capacities cost address space only.  `prefault` touches it
beforehand, for measurements.
"""

import mmap
import weakref
from collections.abc import Iterable
from typing import Any

import numpy as np

from tickpath import boe, commands, fix, latency, limits, memory, responses
from tickpath.config import Config, parse_group
from tickpath.digest import VENUES
from tickpath.jit import CHECKED
from tickpath.layout import (
    AUDIT_RECORDS,
    ENGINE,
    ENGINE_REGION,
    EXECUTION_BITS,
    FIXED,
    FIXED_END,
    FIXED_OFFSETS,
    GAP_RANGES,
    LINE_SIZE,
    NAMED_BITS,
    OWN_ORDERS,
    PAGE,
    REGIONS,
    WINDOW,
    FeedFormat,
)
from tickpath.order_template import OrderProtocol, OrderSessionError
from tickpath.ouch import Ouch42Session, Ouch50Session, OuchSession, templates
from tickpath.risk import Reject
from tickpath.window import NO_WINDOW
from tickpath.wire.itch50 import ITCH50
from tickpath.wire.pitch241 import PITCH241

HUGE = 1 << 21
_ALIGN = 4096
_MAP_NORESERVE = 0x4000  # Linux; not in the mmap module of Python 3.11
_MADV_POPULATE_WRITE = 23  # Linux 5.14; likewise
EGRESS_BYTES = 1 << 20
BBO_ROWS = 1 << 14
BBO_COLUMNS = tuple(
    f"bbo_{column}"
    for column in ("seq", "ts_event", "book", "bid_px", "bid_sz", "ask_px", "ask_sz")
)


def _power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()


def counts(config: Config, starts: int = 0) -> dict[str, int]:
    """Records of every region; ``starts`` of them in the start-of-day file."""
    capacity = config.capacity
    # Nasdaq's by stock locate, and behind them as many of other venues.
    books = 2 * capacity.symbols
    pages = -(-capacity.orders // PAGE) + 1
    return {
        **FIXED,
        "reject": len(Reject),
        "book": books,
        "side": 2 * books,
        "bitmap": 2 * books * (WINDOW // 64),
        "level": 2 * books * WINDOW + capacity.overflow_levels,
        "far": capacity.overflow_levels,
        "order": pages * PAGE,
        "page_entry": _power_of_two(2 * pages),
        "page_owner": pages,
        "sparse_entry": _power_of_two(2 * capacity.sparse_orders),
        "sparse_order": pages * PAGE,
        "listed": _power_of_two(4 * books),
        "holding": _power_of_two(4 * books),
        "sma": books * config.indicators.sma_window,
        "trade": capacity.trades,
        "limit": books,
        "symbol_limit": 1 + len(config.risk.symbols),
        "start": max(1, starts),
        # A symbol's position stays when its book becomes another symbol's, on another day.
        "position": 2 * books,
        "own": OWN_ORDERS,
        "own_books": -(-books // 64),
        "named": 1 << NAMED_BITS,
        "execution": 1 << EXECUTION_BITS,
        "audit": AUDIT_RECORDS,
        "template": 4,
        "egress": EGRESS_BYTES,
        **dict.fromkeys(BBO_COLUMNS, BBO_ROWS),
        "bbo_last": books,
        "gap": GAP_RANGES,
        "group": sum(map(len, (config.feed.groups, config.feed.venues, config.feed.lines_b))) + 1,
        "cell": config.strategy.cells,
    }


class Block:
    """The block and its views: ``block.engine`` is one record, ``block.order`` and so on arrays."""

    def __init__(self, config: Config, strategy: str | None = None) -> None:
        """An empty block; ``strategy`` is the name whose limits apply.  Raises `ConfigError`."""
        begin_with = limits.read_start(config.risk.start_of_day)
        sizes = counts(config, len(begin_with))
        offsets: dict[str, int] = {}
        end = FIXED_END
        for region in REGIONS:
            if region.name in FIXED:
                offsets[region.name] = FIXED_OFFSETS[region.name]
                continue
            large = region.dtype.itemsize * sizes[region.name] >= HUGE
            align = HUGE if large else LINE_SIZE
            end = -(-end // align) * align
            offsets[region.name] = end
            end += region.dtype.itemsize * sizes[region.name]
        self.size = end
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
        self._map = mmap.mmap(-1, end + HUGE, flags=flags)
        self._map.madvise(mmap.MADV_HUGEPAGE)
        whole = np.frombuffer(self._map, np.uint8)
        start = -whole.ctypes.data % HUGE
        self.bytes = whole[start : start + end]
        self.address = np.uint64(self.bytes.ctypes.data)
        self.engine: Any = self.bytes[: ENGINE.itemsize].view(ENGINE)
        self.views: dict[str, np.ndarray] = {}
        for region in REGIONS:
            at, count = offsets[region.name], sizes[region.name]
            view = self.bytes[at : at + count * region.dtype.itemsize].view(region.dtype)
            self.views[region.name] = view
            self.engine[f"{region.name}_at"] = at
            self.engine[f"{region.name}_count"] = count
        if CHECKED:
            self._register()
        _initialise(self, config)
        _set_gate(self, config, strategy, begin_with)

    def __getattr__(self, name: str) -> np.ndarray:
        try:
            return self.__dict__["views"][name]
        except KeyError:
            raise AttributeError(name) from None

    def _register(self) -> None:
        start = int(self.address)
        memory.register(ENGINE_REGION, self.engine)
        for number, region in enumerate(REGIONS):
            memory.register(number, self.views[region.name])
            if region.name == "limit":
                # A symbol's limits are read and set with a book's accessors.
                memory.register(number, self.views["symbol_limit"])
        memory.register(latency.REGION, self.views["histogram"])
        weakref.finalize(self, memory.unregister, start, start + self.size)

    def get(self, name: str) -> int:
        """One number of the engine's record."""
        return int(self.engine[name][0])

    def set(self, name: str, value: int) -> None:
        """Set one number of the engine's record."""
        self.engine[name][0] = value

    def prefault(self, spans: Iterable[tuple[str, int]]) -> int:
        """Touch the first ``n`` records of regions, so that no page fault comes later; bytes."""
        touched = 0
        for name, number in spans:
            view = self.views[name][:number]
            at = view.ctypes.data - int(np.frombuffer(self._map, np.uint8).ctypes.data)
            begin = at // _ALIGN * _ALIGN
            length = at + view.nbytes - begin
            try:
                self._map.madvise(_MADV_POPULATE_WRITE, begin, length)
            except OSError:
                raw = view.view(np.uint8).reshape(-1)
                raw[::_ALIGN] = raw[::_ALIGN]
            touched += length
        return touched


def _initialise(block: Block, config: Config) -> None:
    """What follows from the configuration alone."""
    books = 2 * config.capacity.symbols
    block.set("books", books)
    block.set("locates", config.capacity.symbols)
    block.set("listed", config.capacity.symbols)
    block.set("sparse_shift", 65 - len(block.sparse_entry).bit_length())
    block.set("listed_shift", 65 - len(block.listed).bit_length())
    block.set("holding_shift", 65 - len(block.holding).bit_length())
    block.set("positions", len(block.book))
    block.set("message_limit", 1 << 63)
    block.set("far0", 2 * books * WINDOW)
    block.set("far_fresh", 1)
    block.set("page_mask", len(block.page_entry) - 1)
    block.set("page_fresh", 1)
    block.set("trade_mask", config.capacity.trades - 1)
    block.set("sma_window", config.indicators.sma_window)
    block.set("ema_divisor", config.indicators.ema_window + 1)
    block.set("sample_mask", config.latency.sample - 1)
    block.set("bbo_limit", BBO_ROWS - 1)
    block.set("timer_interval", config.strategy.timer_interval_ms * 1_000_000)
    block.set("timer_next", 0 if config.strategy.timer_interval_ms else (1 << 64) - 1)
    block.side["base"] = NO_WINDOW
    block.side["best_px"][1::2] = 0xFFFFFFFF
    block.message_length["value"] = ITCH50.lengths
    block.pitch_length["value"] = PITCH241.lengths
    block.set("feed_format", FeedFormat[config.feed.format.upper()])
    block.set("pitch_venue", VENUES[config.feed.pitch_venue])
    parameters = config.strategy.parameters
    block.cell["value"][: len(parameters)] = parameters
    _set_groups(block, config)
    block.set("revert_next", (1 << 64) - 1)
    block.set("alarm", block.get("timer_next"))
    # BOE and FIX have no answers yet: each would be counted as one of an unknown type.
    block.response_length["value"] = responses.LENGTHS.get(config.orders.protocol, 0)
    block.command_length["value"] = commands.LENGTHS
    _set_templates(block, config)


def _set_groups(block: Block, config: Config) -> None:
    """The groups that are taken, and those of which the venue is known."""
    feed = config.feed
    venues = {parse_group(text): VENUES[venue] for text, venue in feed.venues.items()}
    line_a = {parse_group(b): parse_group(a) for a, b in feed.lines_b.items()}
    groups = [parse_group(text) for text in feed.groups]
    if groups:
        groups += [each for each in line_a if each not in groups]
    block.set("groups", len(groups))
    groups += [each for each in {**venues, **line_a} if each not in groups]
    block.set("group_venues", len(groups))
    for record, group in zip(block.group, groups, strict=False):
        record["address"], record["port"] = group
        record["venue"] = venues.get(group, 0)
        record["a_address"], record["a_port"] = line_a.get(group, (0, 0))
    block.set("reorder_packets", feed.reorder_packets)
    block.set("reorder_ns", feed.reorder_us * 1_000)
    block.set("recovers", feed.recovers)


def _set_gate(block: Block, config: Config, strategy: str | None, starts: np.ndarray) -> None:
    """The gate, its limits, and what symbols begin the day with."""
    block.symbol_limit[:] = limits.symbol_limits(config, strategy)
    limits.set_gate(block.gate[0], config, strategy)
    limits.set_bands(block.band, config.risk)
    # A record of symbol 0 is nobody's: there is one where the file has none.
    block.start[: len(starts)] = starts
    block.gate["immediate"] = _is_immediate(config)


def _is_immediate(config: Config) -> bool:
    """True where what is not executed at once is cancelled."""
    orders = config.orders
    in_force, code = {
        "ouch50": (orders.time_in_force, "3"),
        "ouch42": (orders.time_in_force, "0"),
        "boe23": (orders.boe23.time_in_force, "3"),
        "fix44": (orders.fix44.time_in_force, "3"),
    }[orders.protocol]
    return str(in_force) == code


def session(config: Config) -> OuchSession:
    """The OUCH session that the configuration describes.  Raises `OuchError`."""
    orders = config.orders
    if orders.protocol == "ouch50":
        options = dict(orders.options)
        if orders.firm:
            options.setdefault("firm", orders.firm)
        return Ouch50Session(
            time_in_force="0" if orders.time_in_force is None else str(orders.time_in_force),
            display=orders.display,
            capacity=orders.capacity,
            inter_market_sweep_eligibility=orders.inter_market_sweep_eligibility,
            cross_type=orders.cross_type,
            options=options,
            replace_options=orders.replace_options,
        )
    return Ouch42Session(
        time_in_force=99998 if orders.time_in_force is None else int(orders.time_in_force),
        firm=orders.firm,
        display=orders.display,
        capacity=orders.capacity,
        intermarket_sweep_eligibility=orders.inter_market_sweep_eligibility,
        minimum_quantity=orders.minimum_quantity,
        cross_type=orders.cross_type,
        customer_type=orders.customer_type,
    )


def _templates(config: Config) -> tuple[OrderProtocol, np.ndarray]:
    """The order protocol and its templates.  Raises `OrderSessionError`."""
    orders = config.orders
    if orders.protocol == "boe23":
        return OrderProtocol.BOE23, boe.boe23_templates(orders.boe23)
    if orders.protocol == "fix44":
        return OrderProtocol.FIX44, fix.fix44_templates(orders.fix44)
    return templates(session(config))


def _set_templates(block: Block, config: Config) -> None:
    from tickpath.config import ConfigError
    from tickpath.orders import ROOM

    try:
        protocol, records = _templates(config)
    except (OrderSessionError, ValueError) as error:
        raise ConfigError(f"orders: {error}") from None
    block.set("order_protocol", protocol)
    block.template[:] = records
    block.set("egress_limit", len(block.egress) - ROOM)
