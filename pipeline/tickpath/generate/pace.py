"""When the market acts: bursts that breed, on a day that is busy at its ends.

The day is cut into minutes, each with a weight; when one begins it gets its share of the messages
that are left, so that the total is exact whatever happened before.  Inside a minute, bursts start
at exponential waits whose mean is what spends the minute's messages by its end.  A burst has a
heavy-tailed size and a pace of its own, and grows with every trade in it: activity breeds activity,
as in a Hawkes process, whose clusters these are.
"""

from tickpath.generate.draw import bits, chance, exponential, octave, share
from tickpath.generate.state import inner, session, slice_

MICROSECOND = 1_000
SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE

FIRST_MESSAGE = 3 * HOUR + 4 * MINUTE
SYSTEM_OPEN = 4 * HOUR
MARKET_OPEN = 9 * HOUR + 30 * MINUTE
MARKET_CLOSE = 16 * HOUR
SYSTEM_CLOSE = 20 * HOUR
LAST_MESSAGE = 20 * HOUR + 5 * MINUTE
FOREVER = 1 << 62

OCTAVES = 8
"""A burst starts with 1 to 255 messages."""
MEAN_BURST = 7
"""Messages of a burst on average, with what trades add to it; only sets how minutes fill up."""
TRADE_BREEDS = 3
"""Messages that a trade adds to its burst."""


def day(random_bits: list[int]) -> list[tuple[int, int, int]]:
    """(begin, end, weight) of each minute from system open to close, moved at random by up to half.

    Before the market opens it builds up to the opening; then the U of a trading day; then it ebbs.
    """
    minutes = []
    open_minutes = (MARKET_CLOSE - MARKET_OPEN) // MINUTE
    for number, begin in enumerate(range(SYSTEM_OPEN, SYSTEM_CLOSE, MINUTE)):
        if begin < MARKET_OPEN:
            to_open = (MARKET_OPEN - begin) // MINUTE
            weight = 20 + 40_000 // (to_open + 20)
        elif begin < MARKET_CLOSE:
            from_noon = 2 * ((begin - MARKET_OPEN) // MINUTE) - open_minutes
            weight = 6_000 + 18_000 * from_noon * from_noon // (open_minutes * open_minutes)
            weight += 24_000 // (1 + (begin - MARKET_OPEN) // MINUTE)
        else:
            weight = 40 + 30_000 // (1 + (begin - MARKET_CLOSE) // MINUTE)
        moved = weight * (512 + random_bits[number] % 1024) // 1024
        minutes.append((begin, begin + MINUTE - SECOND, max(1, moved)))
    return minutes


@inner
def spare(s):
    """Messages that the flow can still say: the wanted ones less what the script will say."""
    to_come = session.scripts(s) - session.script_next(s)
    return session.wanted(s) - session.messages(s) - to_come


@inner
def _next_slice(s):
    """Go to the next minute that gets a message; False after the last one."""
    while session.slice_now(s) < session.slices(s):
        c = slice_.at(s, session.slice_now(s))
        weight, left = slice_.weight(c), session.weight_left(s)
        fair_share = spare(s) * weight
        budget = fair_share // left
        # Rounding at random keeps quiet minutes from all being empty.
        if share(bits(s), 65536) < (fair_share % left) * 65536 // left:
            budget += 1
        session.set_weight_left(s, left - weight)
        session.set_slice_now(s, session.slice_now(s) + 1)
        if budget > 0:
            session.set_slice_left(s, budget)
            session.set_due(s, max(session.due(s), slice_.begin(c)))
            session.set_burst_left(s, 0)
            return True
    session.set_due(s, FOREVER)
    return False


@inner
def _new_burst(s):
    """Wait for the next burst and give it its size and pace; the wait."""
    end = slice_.end(slice_.at(s, session.slice_now(s) - 1))
    time_left = max(end - session.due(s), 0)
    size = octave(s, OCTAVES)
    session.set_burst_left(s, size)
    session.set_burst_symbol(s, -1)
    # One burst in four is a stampede, with messages back to back.
    session.set_burst_pace(s, 90 if chance(s, 16384) else 700)
    bursts_left = max(session.slice_left(s) // MEAN_BURST, 1)
    return min(exponential(s, time_left // bursts_left), time_left // 2)


@inner
def _wait_in_burst(s):
    kind = share(bits(s), 64)
    pace = session.burst_pace(s)
    if kind < 44:
        return exponential(s, pace)
    if kind < 61:
        return exponential(s, 20 * pace)
    return exponential(s, 400 * pace)


@inner
def go_on(s, said):
    """The flow said so many messages: find out when it is due next."""
    session.set_slice_left(s, session.slice_left(s) - said)
    session.set_burst_left(s, session.burst_left(s) - said)
    if session.slice_left(s) <= 0 and not _next_slice(s):
        return
    wait = _wait_in_burst(s) if session.burst_left(s) > 0 else _new_burst(s)
    session.set_due(s, session.due(s) + wait)


@inner
def breed(s):
    """A trade happened: its burst goes on for longer."""
    session.set_burst_left(s, session.burst_left(s) + TRADE_BREEDS)
