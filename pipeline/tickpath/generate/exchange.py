"""What the exchange schedules for a day, told to the `Script` before it begins.

The directory, the system events, halts and pauses with their resumptions, listings, the crosses and
the imbalances before them.  How often the optional ones come follows from the messages that the
plan has for each symbol.
"""

from decimal import Decimal

import numpy as np

from tickpath.generate.draw import column, share_column
from tickpath.generate.listing import Listing
from tickpath.generate.pace import (
    FIRST_MESSAGE,
    HOUR,
    LAST_MESSAGE,
    MARKET_CLOSE,
    MARKET_OPEN,
    MICROSECOND,
    MINUTE,
    SECOND,
    SYSTEM_CLOSE,
    SYSTEM_OPEN,
)
from tickpath.generate.pick import HALTED, PAUSED, QUOTING, TRADING
from tickpath.generate.plan import GenerateError, SessionPlan
from tickpath.generate.script import (
    COLLAR,
    CROSS,
    IMBALANCE,
    LAST,
    OPERATIONAL,
    SAY,
    STATE,
    Script,
    locate_field,
)
from tickpath.wire.itch50 import ITCH50
from tickpath.wire.table import Message

_OPENING, _CLOSING, _RESUMING = ord("O"), ord("C"), ord("H")
MESSAGES_PER_ENTRY = 2
"""A session must have this many times the messages that its script has."""


def _text(values: list[str], size: int) -> np.ndarray:
    """Text, padded with blanks as on the wire."""
    return np.array([value.ljust(size).encode() for value in values], f"S{size}")


def _records(message: Message, listing: Listing) -> np.ndarray:
    """One blank record of a message for every symbol, with locate and stock filled in."""
    records = np.zeros(len(listing.symbols), message.dtype)
    records[locate_field(message)] = listing.symbols["locate"]
    records["stock"] = _text(listing.names, message["stock"].size)
    return records


def _evenly(begin: int, step: int, n: int) -> np.ndarray:
    return begin + step * np.arange(n, dtype=np.int64)


def _directory(script: Script, plan: SessionPlan, listing: Listing, positions: int) -> None:
    """Directory, trading states, Reg SHO and market makers, before the system opens."""
    n, cast = len(listing.symbols), listing.cast
    message = ITCH50["stock_directory"]
    records = _records(message, listing)
    drawn = share_column(column(plan.seed, "listing", n), 100)
    funds = drawn >= 78
    records["market_category"] = np.array(list(b"QQQQGGSSSNNNNNNAPPPZ"), np.uint8)[
        share_column(column(plan.seed, "category", n), 20)
    ].view("S1")
    records["financial_status_indicator"] = np.where(drawn == 50, b"D", b"N")
    records["round_lot_size"] = 100
    records["round_lots_only"], records["authenticity"] = b"N", b"P"
    records["issue_classification"] = np.where(funds, b"Q", np.where(drawn < 6, b"A", b"C"))
    records["issue_sub_type"] = np.where(funds, b"E ", b"Z ")
    records["short_sale_threshold_indicator"] = b"N"
    records["ipo_flag"] = b"N"
    if cast.ipo is not None:
        records["ipo_flag"][cast.ipo] = b"Y"
    records["luld_reference_price_tier"] = np.where(drawn % 5 == 0, b"1", b"2")
    records["etp_flag"] = np.where(funds, b"Y", b"N")
    records["etp_leverage_factor"] = funds
    records["inverse_indicator"] = b"N"
    begin = FIRST_MESSAGE + 3 * MINUTE
    step = 40 * MICROSECOND
    script.say(message, records, _evenly(begin, step, n))

    message = ITCH50["stock_trading_action"]
    records = _records(message, listing)
    records["trading_state"], records["reserved"], records["reason"] = b"T", b" ", b"    "
    closed = cast.closed
    records["trading_state"][closed], records["reason"][closed] = b"H", b"IPO1"
    begin += MINUTE
    script.say(message, records, _evenly(begin, step, n))

    message = ITCH50["reg_sho_short_sale_price_test_restricted_indicator"]
    records = _records(message, listing)
    records["reg_sho_action"] = np.where(drawn == 7, b"2", b"0")
    begin += MINUTE
    script.say(message, records, _evenly(begin, step, n))

    message = ITCH50["market_participant_position"]
    for number in range(positions):
        records = _records(message, listing)
        records["mpid"] = f"MM{chr(ord('A') + number)}X".encode()
        records["primary_market_maker"] = b"Y" if number == 0 else b"N"
        records["market_maker_mode"], records["market_participant_state"] = b"N", b"A"
        begin += MINUTE
        script.say(message, records, _evenly(begin, step, n))


def _system(script: Script) -> None:
    """The six system events and the market-wide circuit breaker's levels.

    The breaker's first level is breached after 15:25, from when on that halts nothing.
    """
    events = (
        ("O", FIRST_MESSAGE, SAY),
        ("S", SYSTEM_OPEN, SAY),
        ("Q", MARKET_OPEN, SAY),
        ("M", MARKET_CLOSE, SAY),
        ("E", SYSTEM_CLOSE, LAST),
        ("C", LAST_MESSAGE, LAST),
    )
    for code, time, action in events:
        script.say_one("system_event", time, action, event_code=code)
    index = 3_240
    levels = {f"level_{n}": index * (100 - part) // 100 for n, part in ((1, 7), (2, 13), (3, 20))}
    script.say_one("mwcb_decline_level", SYSTEM_OPEN + 5 * MINUTE, **levels)
    script.say_one("mwcb_decline_level", MARKET_OPEN - 25 * MINUTE, **levels)
    breach = MARKET_CLOSE - 30 * MINUTE + 17 * SECOND
    script.say_one("mwcb_status_level", breach, breached_level="1")


def _crosses(script: Script, plan: SessionPlan, listing: Listing, imbalances: int) -> None:
    """Opening and closing crosses of all symbols, the busiest first, after their imbalances."""
    n, order = len(listing.symbols), listing.by_rank
    gaps = share_column(column(plan.seed, "crosses", n), 400_000 * 1_000 // max(n, 100))
    after = 20_000 * MICROSECOND + np.cumsum(gaps) * 10
    for time, kind, notice in (
        (MARKET_OPEN, _OPENING, 2 * MINUTE),
        (MARKET_CLOSE, _CLOSING, 5 * MINUTE),
    ):
        for number in range(imbalances):
            begin = time - notice + number * notice // imbalances
            script.act(order, _evenly(begin, 25 * MICROSECOND, n), IMBALANCE, kind)
        trading = ~np.isin(order, listing.cast.closed)
        if kind == _CLOSING:
            trading[:] = True
        script.act(order[trading], (time + after)[trading], CROSS, kind)


class _Story:
    """Messages about one symbol, at times that move on."""

    def __init__(self, script: Script, listing: Listing, index: int, time: int) -> None:
        self.script, self.index, self.time = script, index, time
        self.locate = int(listing.symbols["locate"][index])
        self.stock = listing.names[index]

    def wait(self, duration: int) -> None:
        self.time += duration

    def say(self, name: str, action: int = SAY, argument: int = 0, **values) -> None:
        about = {locate_field(ITCH50[name]): self.locate, "stock": self.stock}
        self.script.say_one(name, self.time, action, argument, self.index, **about, **values)

    def state(self, state: int, reason: str) -> None:
        """A trading action: the state is that of the symbol from then on."""
        self.say(
            "stock_trading_action", STATE, state, trading_state=chr(state), reserved=" ",
            reason=reason,
        )  # fmt: skip

    def act(self, action: int, argument: int) -> None:
        self.script.act([self.index], self.time, action, argument)

    def reopen(self, notice: int, reason: str, imbalances: int = 5) -> None:
        """Quotation only for a while, with imbalances, then the cross, then trading."""
        self.state(QUOTING, reason)
        for _ in range(imbalances):
            self.wait(notice // imbalances)
            self.act(IMBALANCE, _RESUMING)
        self.wait(50 * MICROSECOND)
        self.act(CROSS, _RESUMING)
        self.wait(10 * MICROSECOND)
        self.state(TRADING, reason)


def _halts(script: Script, plan: SessionPlan, listing: Listing) -> None:
    """News halts, volatility pauses with their collars, and operational halts, over the day."""
    cast = listing.cast
    count = len(cast.news_halts) + len(cast.volatility_pauses) + len(cast.operational_halts)
    drawn = share_column(column(plan.seed, "halts", max(count, 1)), 4 * HOUR // SECOND)
    times = iter(MARKET_OPEN + 15 * MINUTE + int(second) * SECOND + 137 for second in drawn)
    for index in cast.news_halts:
        story = _Story(script, listing, index, next(times))
        story.state(HALTED, "T1")
        story.wait(10 * MINUTE)
        story.reopen(5 * MINUTE, "T3")
    for number, index in enumerate(cast.volatility_pauses):
        story = _Story(script, listing, index, next(times))
        story.state(PAUSED, "LUDP")
        story.act(COLLAR, 0)
        story.wait(4 * MINUTE)
        if number % 2:
            story.act(COLLAR, 1)
            story.wait(5 * MINUTE)
        story.reopen(MINUTE, "LUDP")
        story.wait(SECOND)
        story.say(
            "reg_sho_short_sale_price_test_restricted_indicator",
            reg_sho_action="1",
        )
    for index in cast.operational_halts:
        story = _Story(script, listing, index, next(times))
        halt = {"market_code": "Q"}
        story.say("operational_halt", OPERATIONAL, 1, **halt, operational_halt_action="H")
        story.wait(12 * MINUTE)
        story.say("operational_halt", OPERATIONAL, 0, **halt, operational_halt_action="T")


def _listings(script: Script, listing: Listing) -> None:
    """The day's IPO and its direct listing, from the announcement to the first trade."""
    if listing.cast.ipo is None or listing.cast.direct_listing is None:
        return
    story = _Story(script, listing, listing.cast.ipo, 8 * HOUR)
    fair = int(listing.symbols["fair"][story.index])
    release = 10 * HOUR + 45 * MINUTE
    story.say(
        "ipo_quoting_period_update",
        ipo_quotation_release_time=release // SECOND,
        ipo_quotation_release_qualifier="A",
        ipo_price=_dollars(fair),
    )
    story.time = release
    story.reopen(10 * MINUTE, "IPOQ")

    story = _Story(script, listing, listing.cast.direct_listing, 11 * HOUR)
    fair = int(listing.symbols["fair"][story.index])
    story.state(QUOTING, "IPOQ")
    release = story.time + 12 * MINUTE
    while story.time < release:
        story.say(
            "direct_listing_with_capital_raise_price_discovery",
            open_eligibility_status="Y" if story.time + MINUTE >= release else "N",
            minimum_allowable_price=_dollars(fair * 8 // 10),
            maximum_allowable_price=_dollars(fair * 18 // 10),
            near_execution_price=_dollars(fair),
            near_execution_time=story.time,
            lower_price_range_collar=_dollars(fair * 9 // 10),
            upper_price_range_collar=_dollars(fair * 11 // 10),
        )
        story.wait(MINUTE)
    story.act(CROSS, _RESUMING)
    story.wait(10 * MICROSECOND)
    story.state(TRADING, "IPOQ")


def _dollars(price: int) -> Decimal:
    """A price in 1e-4 as the wire table takes it."""
    return Decimal(price).scaleb(-4)


def write_script(plan: SessionPlan, listing: Listing) -> tuple[np.ndarray, np.ndarray]:
    """(`SCRIPT` entries in the order of time, prepared bytes) of a plan.

    Raises `GenerateError` where the plan has too few messages for its symbols.
    """
    each = plan.messages // plan.symbols
    script = Script()
    _system(script)
    _directory(script, plan, listing, positions=min(each // 80, 8))
    _crosses(script, plan, listing, imbalances=min(each // 200, 20))
    _halts(script, plan, listing)
    _listings(script, listing)
    entries, prepared = script.finish()
    least = MESSAGES_PER_ENTRY * len(entries)
    if plan.messages < least:
        raise GenerateError(
            f"messages: {plan.symbols} symbols take at least {least} messages, "
            f"{plan.messages} were asked for"
        )
    return entries, prepared
