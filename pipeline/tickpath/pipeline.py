"""The way of a packet, stage by stage: frame, line, decode, book, strategy, risk, encode.

`process` takes packets that a transport has lent through all stages and crosses into Python once
per burst.  The loop keeps where it stands in the engine's record, so it can stop after any message
(a buffer for Python is nearly full, the next packet is not due yet) and go on where it was.

One input is one message.  How messages are packed never changes state: only the `LAST` flag that a
strategy sees, and latencies, depend on it.
"""

import numpy as np

from tickpath import (
    commands,
    event,
    fills,
    follower,
    frame,
    glance,
    held,
    itch,
    line,
    lookahead,
    mold,
    orders,
    pitch,
    pitch_lookahead,
    publish,
    responses,
    span,
    stamps,
    unit,
)
from tickpath.counters import Counter
from tickpath.invoke import invoke
from tickpath.jit import cold, entry, leaf
from tickpath.layout import (
    HELD_BYTES,
    OWN_EVENTS,
    FeedFormat,
    LineKind,
    Watch,
    bbo_ask_px,
    bbo_ask_sz,
    bbo_bid_px,
    bbo_bid_sz,
    bbo_book,
    bbo_last,
    bbo_seq,
    bbo_ts_event,
    command_length,
    count,
    count_by,
    engine,
    gate,
    held_bytes,
    held_packet,
    level,
    limit,
    message_length,
    own_event,
    pitch_length,
    position_of,
    response_length,
    side,
    type_count,
)
from tickpath.layout import line as line_record
from tickpath.lent import packet
from tickpath.memory import cycles, lend_message, lend_run, prefetch
from tickpath.packet import (
    LINK_COMMANDS,
    LINK_DATAGRAM,
    LINK_INPUT,
    LINK_MESSAGES,
    LINK_NOTHING,
    LINK_PITCH,
    LINK_RESPONSES,
)

ZERO, ONE = np.uint64(0), np.uint64(1)
PREFIX = span.PREFIX
PACE_SHIFT = np.uint64(14)
"""Capture nanoseconds become cycles as ``ns * pace_multiplier >> 14``: a day does not overflow."""
MAX_WAIT_NS = np.uint64(2_000_000)
"""Longest wait inside the loop; Python sleeps through longer ones and can be interrupted."""
_ENDLESS = np.uint64((1 << 64) - 1)
_SAMPLED, _BBO = np.uint64(Watch.SAMPLED), np.uint64(Watch.BBO)
_STRATEGY, _STALE = np.uint64(Watch.STRATEGY), np.uint64(Watch.STALE)
_OWN, _FILLS = np.uint64(Watch.OWN), np.uint64(Watch.FILLS)
_LINK_MESSAGES, _LINK_DATAGRAM = np.uint64(LINK_MESSAGES), np.uint64(LINK_DATAGRAM)
_LINK_RESPONSES, _LINK_PITCH = np.uint64(LINK_RESPONSES), np.uint64(LINK_PITCH)
_LINK_COMMANDS, _LINK_INPUT = np.uint64(LINK_COMMANDS), np.uint64(LINK_INPUT)
_LINK_NOTHING = np.uint64(LINK_NOTHING)
_UNIT = np.uint64(LineKind.UNIT)
_AUTO, _PITCH = np.uint64(FeedFormat.AUTO), np.uint64(FeedFormat.PITCH)
_HELD_BYTES = np.uint64(HELD_BYTES)
_OWN_EVENT_MASK = np.uint64(OWN_EVENTS - 1)
MOST_TOLD = np.uint64(OWN_EVENTS)
"""Events of own orders that one input tells the strategy; more wait for the next input."""
_QUANTITY_MASK = np.uint64((1 << 44) - 1)
_FLAG_MASK = np.uint64(0xFF)

_PACKETS, _BYTES = np.uint64(Counter.PACKETS), np.uint64(Counter.BYTES)
_BYTES_HEADERS = np.uint64(Counter.BYTES_HEADERS)
_BYTES_MESSAGES = np.uint64(Counter.BYTES_MESSAGES)
_BYTES_SKIPPED = np.uint64(Counter.BYTES_SKIPPED)
_PACKETS_CUT = np.uint64(Counter.PACKETS_CUT)
_TRAILING = np.uint64(Counter.MOLD_TRAILING_BYTES)
_CUT = np.uint64(Counter.MOLD_TRUNCATED)
_UNIT_TRAILING = np.uint64(Counter.UNIT_TRAILING_BYTES)
_UNIT_CUT = np.uint64(Counter.UNIT_TRUNCATED)
_LONGER = np.uint64(Counter.MESSAGES_LONGER)
_UNKNOWN_TYPE = np.uint64(Counter.UNKNOWN_TYPE)
_WRONG_LENGTH = np.uint64(Counter.WRONG_LENGTH)
_TIME_BACKWARDS = np.uint64(Counter.TIME_BACKWARDS)
_RAISED = np.uint64(Counter.STRATEGY_RAISED)
_DROPPED = np.uint64(Counter.INTENTS_DROPPED)
_TIMERS = np.uint64(Counter.TIMERS)


# ---------------------------------------------------------------- one message


@cold
def _strategy_raised(eng, error):
    """The rule of the design: latched off, the message's intents dropped, counted."""
    engine.set_watch(eng, engine.watch(eng) & ~_STRATEGY)
    engine.set_strategy_error(eng, error)
    engine.set_strategy_latched(eng, ONE)
    count(eng, _RAISED)
    count_by(eng, _DROPPED, engine.intents(eng))
    engine.set_intents(eng, ZERO)


@leaf
def _tell(eng, happened, flags):
    """Call the strategy, then take what it asked for through risk and encode."""
    if engine.watch(eng) & _STRATEGY == ZERO:
        return
    b = happened & event.BOOK_MASK
    # While the strategy thinks, what the gate would need of the book comes closer.
    prefetch(position_of(eng, b))
    prefetch(limit.at(eng, b))
    kind = (happened >> event.KIND_SHIFT) & event.BYTE_MASK
    flags = flags | ((happened >> event.FLAG_SHIFT) & event.BYTE_MASK)
    raised = invoke(
        engine.strategy(eng),
        eng,
        np.int64(b),
        np.int64(kind),
        np.int64(flags),
    )
    if raised != ZERO:
        _strategy_raised(eng, raised)
    if engine.watch(eng) & _SAMPLED != ZERO:
        stamps.stage(eng, stamps.STRATEGY)
    if engine.intents(eng) != ZERO:
        orders.send(eng)


@cold
def _tell_own(eng):
    """Tell the strategy what happened to its orders; what it does then can make more happen.

    Each of these is an input of its own, so that the orders it leads to have names of their own.
    """
    told = ZERO
    while engine.own_event_first(eng) != engine.own_event_end(eng) and told < MOST_TOLD:
        first = engine.own_event_first(eng)
        e = own_event.at(eng, first & _OWN_EVENT_MASK)
        engine.set_own_event(eng, first & _OWN_EVENT_MASK)
        engine.set_own_event_first(eng, first + ONE)
        engine.set_input_number(eng, engine.input_number(eng) + ONE)
        _tell(eng, event.HOT_ORDER | own_event.book(e), ZERO)
        told += ONE


@cold
def _tell_stale(eng):
    """A gap was declared since the last message: an input of its own, before this message."""
    engine.set_watch(eng, engine.watch(eng) & ~_STALE)
    _tell(eng, event.HOT_STALE, ZERO)


@cold
def _alarm(eng, now):
    """Engine time reached what was to happen at one: the timer, or a limit that goes back."""
    if now >= engine.revert_next(eng):
        commands.revert_due(eng)
    if now >= engine.timer_next(eng):
        _timer(eng, now)
    commands.set_alarm(eng)


@cold
def _timer(eng, now):
    """Engine time passed the timer: one input, however many intervals were quiet."""
    interval = engine.timer_interval(eng)
    engine.set_timer_next(eng, now // interval * interval + interval)
    engine.set_input_number(eng, engine.input_number(eng) + ONE)
    count(eng, _TIMERS)
    _tell(eng, event.HOT_TIMER, ZERO)


@cold
def _not_a_message(eng, length, expected):
    count(eng, _UNKNOWN_TYPE if expected == ZERO and length != ZERO else _WRONG_LENGTH)
    engine.set_input_number(eng, engine.input_number(eng) + ONE)


@cold
def _write_bbo(eng, b):
    """Add a row to the BBO buffer if the best bid or offer of a book is another than before."""
    bids, offers = side.at(eng, b + b), side.at(eng, b + b + ONE)
    bid_sz = level.total(level.at(eng, side.best(bids))) & _QUANTITY_MASK
    ask_sz = level.total(level.at(eng, side.best(offers))) & _QUANTITY_MASK
    bid_px = side.best_px(bids) if bid_sz != ZERO else ZERO
    ask_px = side.best_px(offers) if ask_sz != ZERO else ZERO
    old = bbo_last.at(eng, b)
    if (
        bbo_last.bid_px(old) == bid_px
        and bbo_last.ask_px(old) == ask_px
        and bbo_last.bid_sz(old) == bid_sz
        and bbo_last.ask_sz(old) == ask_sz
    ):
        return
    used = engine.bbo_used(eng)
    bbo_seq.set_value(bbo_seq.at(eng, used), engine.messages(eng))
    bbo_ts_event.set_value(bbo_ts_event.at(eng, used), engine.engine_time(eng))
    bbo_book.set_value(bbo_book.at(eng, used), b)
    bbo_bid_px.set_value(bbo_bid_px.at(eng, used), bid_px)
    bbo_bid_sz.set_value(bbo_bid_sz.at(eng, used), bid_sz)
    bbo_ask_px.set_value(bbo_ask_px.at(eng, used), ask_px)
    bbo_ask_sz.set_value(bbo_ask_sz.at(eng, used), ask_sz)
    bbo_last.set_bid_px(old, bid_px)
    bbo_last.set_ask_px(old, ask_px)
    bbo_last.set_bid_sz(old, bid_sz)
    bbo_last.set_ask_sz(old, ask_sz)
    engine.set_bbo_used(eng, used + ONE)
    if used + ONE >= engine.bbo_limit(eng):
        engine.set_pause(eng, ONE)


@leaf
def _watched(eng, watch, happened, flags):
    """What comes after a message was applied: stamp, best prices, strategy."""
    if watch & _SAMPLED != ZERO:
        stamps.stage(eng, stamps.BOOK)
    if happened == ZERO:
        return
    if watch & _FILLS != ZERO and fills.concerns(eng, happened):
        fills.after(eng, happened)
    if watch & _BBO != ZERO and (happened >> event.TOP_SHIFT) & ONE != ZERO:
        _write_bbo(eng, happened & event.BOOK_MASK)
    _tell(eng, happened, flags)
    if engine.own_event_first(eng) != engine.own_event_end(eng):
        _tell_own(eng)


@leaf
def _set_watch(eng, sampled):
    """Choose what the next messages are watched for; a gap that was not told stays."""
    watch = engine.watch(eng) & _STALE
    watch |= _SAMPLED * sampled | _BBO * np.uint64(engine.bbo_wanted(eng) != ZERO)
    is_called = (engine.strategy_latched(eng) == ZERO) & (engine.holds(eng) == ZERO)
    if engine.strategy(eng) != ZERO and is_called:
        watch |= _STRATEGY
    g = gate.at(eng, ZERO)
    if gate.open_orders(g) != ZERO and gate.fill_model(g) != ZERO:
        watch |= _FILLS
    engine.set_watch(eng, watch)


@leaf
def _set_time(eng, now):
    engine.set_engine_time(eng, now)
    if now >= engine.alarm(eng):
        _alarm(eng, now)


@leaf
def _move_time(eng, now):
    """Engine time never goes back, here without a count: sources do not agree to the nanosecond."""
    if now > engine.engine_time(eng):
        _set_time(eng, now)


@leaf
def _begin_message(eng, kind):
    """Before a message of a known type and length: count it, tell of a gap before it."""
    seen = type_count.at(eng, kind)
    type_count.set_value(seen, type_count.value(seen) + ONE)
    if engine.watch(eng) & _STALE != ZERO:
        _tell_stale(eng)


@leaf
def _itch_message(eng, m, length, flags):
    """One input of ITCH: validate, keep time, decode and apply, tell the strategy."""
    lend_message(m, m + length)
    engine.set_messages(eng, engine.messages(eng) + ONE)
    kind = itch.message_type(m) if length != ZERO else ZERO
    expected = message_length.value(message_length.at(eng, kind))
    if expected != length or length == ZERO:
        _not_a_message(eng, length, expected)
        return
    _begin_message(eng, kind)
    now = itch.timestamp(m)
    if now < engine.engine_time(eng):
        count(eng, _TIME_BACKWARDS)
    else:
        _set_time(eng, now)
    # Orders are named by the number of their input, so what came before has its own.
    engine.set_input_number(eng, engine.input_number(eng) + ONE)
    watch = engine.watch(eng)
    if watch & _SAMPLED != ZERO:
        stamps.stage(eng, stamps.DECODE)
    if watch & _FILLS != ZERO:
        itch.announce(eng, kind, m)
    happened = itch.apply(eng, kind, m)
    if watch != ZERO:
        engine.set_cursor(eng, m - PREFIX)
        _watched(eng, watch, happened, flags)


@leaf
def _pitch_message(eng, m, length, flags):
    """One input of PITCH, likewise; what stands behind a message's fields is a later revision's."""
    lend_message(m, m + length)
    engine.set_messages(eng, engine.messages(eng) + ONE)
    kind = pitch.message_type(m)
    expected = pitch_length.value(pitch_length.at(eng, kind))
    if expected == ZERO or length < expected:
        _not_a_message(eng, length, expected)
        return
    if length != expected:
        count(eng, _LONGER)
    _begin_message(eng, kind)
    if kind == pitch.time.TYPE:
        pitch.set_time(eng, m)
        _move_time(eng, engine.unit_ns(eng))
    else:
        _move_time(eng, pitch.timestamp(eng, m))
    engine.set_input_number(eng, engine.input_number(eng) + ONE)
    watch = engine.watch(eng)
    if watch & _SAMPLED != ZERO:
        stamps.stage(eng, stamps.DECODE)
    if watch & _FILLS != ZERO:
        pitch.announce(eng, kind, m)
    happened = pitch.apply(eng, kind, m)
    if watch != ZERO:
        _watched(eng, watch, happened, flags)


# ---------------------------------------------------------------- answers and commands


@leaf
def _response(eng, m, length):
    """One input: an exchange's answer to our orders."""
    kind = responses.kind(m) if length != ZERO else ZERO
    least = response_length.value(response_length.at(eng, kind))
    if least != ZERO and length >= least:
        _move_time(eng, responses.timestamp(m))
    engine.set_input_number(eng, engine.input_number(eng) + ONE)
    responses.apply(eng, m, length, least)


@leaf
def _command(eng, m, length):
    """One input: an operator's command."""
    kind = commands.kind_of(m) if length != ZERO else ZERO
    right = command_length.value(command_length.at(eng, kind))
    if length == right and length != ZERO:
        _move_time(eng, commands.timestamp(m))
    engine.set_input_number(eng, engine.input_number(eng) + ONE)
    happened = commands.apply(eng, m, length, right)
    if engine.intents(eng) != ZERO:
        # The operator's own go out whatever the strategy does, which is told as a further input.
        orders.send(eng)
        engine.set_input_number(eng, engine.input_number(eng) + ONE)
    if happened != ZERO:
        _tell(eng, happened, ZERO)


@cold
def _others(eng):
    """Take the answers or commands of the run under way."""
    m, end, kind = engine.cursor(eng), engine.run_end(eng), engine.run_kind(eng)
    begin = m
    while m + PREFIX <= end and engine.pause(eng) == ZERO:
        length = span.mold_length(m)
        following = m + PREFIX + length
        if following > end:
            break
        lend_message(m + PREFIX, following)
        engine.set_lent_at(eng, cycles())
        engine.set_stamp(eng, engine.lent_at(eng))
        if kind == _LINK_RESPONSES:
            _response(eng, m + PREFIX, length)
        else:
            _command(eng, m + PREFIX, length)
        if engine.own_event_first(eng) != engine.own_event_end(eng):
            _tell_own(eng)
        m = following
    count_by(eng, _BYTES_MESSAGES, m - begin)
    engine.set_cursor(eng, m)
    # What is left can only be the start of a message that is not whole.
    at_end = m + PREFIX > end or m + PREFIX + span.mold_length(m) > end
    if engine.pause(eng) == ZERO or at_end:
        engine.set_run_left(eng, ZERO)


# ---------------------------------------------------------------- one run of messages


@leaf
def _lend_alone(eng):
    """A message of a daily file counts as a packet of its own, lent when its turn comes."""
    sampled = np.uint64(engine.messages(eng) & engine.sample_mask(eng) == ZERO)
    watch = engine.watch(eng)
    if watch & _SAMPLED != sampled:
        watch = watch ^ _SAMPLED
        engine.set_watch(eng, watch)
    if watch != ZERO:
        engine.set_lent_at(eng, cycles())
        engine.set_stamp(eng, engine.lent_at(eng))


def _messages_of(span_of, prefix, message, ahead):
    """The loop over a run's messages, for one feed: see `lookahead.ring` for the parameters."""
    fill, step = ahead

    @leaf
    def messages(eng, glanced):
        """Take the messages of the run under way; stops early when a buffer asks for it.

        ``glanced`` is true where the run's first messages have been looked at already.
        """
        m, end, left = engine.cursor(eng), engine.run_end(eng), engine.run_left(eng)
        done, limit = engine.messages(eng), engine.message_limit(eng)
        allowed = limit - done if limit > done else ZERO
        turns = min(left, allowed)
        bare, numbered = engine.bare(eng) != ZERO, engine.run_numbered(eng) != ZERO
        begin = m
        looked, turn = ZERO, ZERO
        next_look = m
        if left > glance.MOST or (left > ONE and not glanced):
            next_look, looked = fill(eng, m, end, looked)
        while turn < turns and m + PREFIX <= end:
            following = m + span_of(m)
            if following > end:
                break
            if looked != ZERO:
                next_look, looked = step(eng, next_look, end, looked, turn)
            turn += ONE
            if bare:
                _lend_alone(eng)
            last = np.uint64(turn == left or following + PREFIX > end)
            if numbered:
                line.advance(eng)
            message(eng, m + prefix, following - m - prefix, last)
            m = following
            if engine.pause(eng) != ZERO:
                break
        count_by(eng, _BYTES_MESSAGES, m - begin)
        engine.set_cursor(eng, m)
        engine.set_run_left(eng, left - turn)
        if turn == allowed:
            engine.set_stopped(eng, ONE)
            engine.set_pause(eng, ONE)

    return messages


_itch_messages = _messages_of(span.of_mold, PREFIX, _itch_message, (lookahead.fill, lookahead.step))
_pitch_messages = _messages_of(
    span.of_pitch, ZERO, _pitch_message, (pitch_lookahead.fill, pitch_lookahead.step)
)


@cold
def _pitch_run(eng):
    _pitch_messages(eng, False)


@leaf
def _run(eng, glanced):
    """Take the run under way as far as it goes; a finished run leaves no cursor."""
    kind = engine.run_kind(eng)
    if kind == ZERO:
        _itch_messages(eng, glanced)
    elif kind == _LINK_PITCH:
        _pitch_run(eng)
    else:
        _others(eng)
    if engine.pause(eng) != ZERO:
        return
    m, end = engine.cursor(eng), engine.run_end(eng)
    engine.set_cursor(eng, ZERO)
    if engine.run_held(eng) != ZERO:
        held.finish(eng)
    if m != end or (engine.run_left(eng) != ZERO and engine.bare(eng) == ZERO):
        _tail(eng, end - m)


@cold
def _tail(eng, length):
    """Bytes of a run that are not a whole message, or are more than were announced."""
    count_by(eng, _BYTES_SKIPPED, length)
    is_pitch = engine.run_kind(eng) == _LINK_PITCH
    if engine.run_left(eng) == ZERO:
        count_by(eng, _UNIT_TRAILING if is_pitch else _TRAILING, length)
    else:
        count(eng, _UNIT_CUT if is_pitch else _CUT)


# ---------------------------------------------------------------- one packet


@leaf
def _begin_run(eng, begin, end, number):
    if engine.publishes(eng) != ZERO:
        publish.run(eng, begin, end, number)
    engine.set_run_end(eng, end)
    engine.set_run_left(eng, number)
    engine.set_cursor(eng, begin)


@leaf
def _begin_bare_market(eng):
    """Messages that have no numbers: of a line's snapshot, or of no line."""
    of = engine.bare_line(eng)
    engine.set_run_line(eng, of)
    engine.set_run_venue(eng, engine.pitch_venue(eng))
    engine.set_unit_ns(eng, engine.bare_ns(eng))
    if of != ZERO:
        record = line_record.at(eng, of - ONE)
        engine.set_run_venue(eng, line_record.venue(record))
        engine.set_unit_ns(eng, line_record.unit_ns(record))


@cold
def _begin_bare(eng, link, address, length):
    """A run of messages that came in no packet: a file's, an order session's, an operator's."""
    is_market = (link == _LINK_MESSAGES) | (link == _LINK_PITCH)
    engine.set_bare(eng, ONE)
    engine.set_run_numbered(eng, ZERO)
    engine.set_run_kind(eng, ZERO if link == _LINK_MESSAGES else link)
    if is_market:
        _begin_bare_market(eng)
    _begin_run(eng, address, address + length, _ENDLESS)


@cold
def _begin_input(eng, address, length):
    """One record of another engine's input stream."""
    if not follower.take(eng, address, length):
        count_by(eng, _BYTES_SKIPPED, length)
        return
    run_length, number = follower.record.length(address), follower.record.number(address)
    count_by(eng, _BYTES_HEADERS, length - run_length)
    begin = address + follower.HEADER
    _begin_run(eng, begin, begin + run_length, follower.messages_of(address))
    engine.set_record_number(eng, number)


@leaf
def _is_pitch(eng, start, end, group, port):
    """Whether a datagram is PITCH: by the configuration, or by its first two bytes.

    A damaged one is told by the line that the one before it came on.
    """
    chosen = engine.feed_format(eng)
    if chosen != _AUTO:
        return chosen == _PITCH
    before = line_record.at(eng, engine.line(eng))
    if line_record.kind(before) == _UNIT and line.comes_on(before, group, port):
        return True
    return unit.is_unit(start, end)


@leaf
def _count_bytes(eng, run_length, headers, length):
    """Bytes of a packet by what they are: messages known already and padding are skipped."""
    count_by(eng, _BYTES_HEADERS, headers)
    count_by(eng, _BYTES_SKIPPED, length - headers - run_length)


@cold
def _begin_unit(eng, address, length, start, end, group, port):
    """A packet of PITCH: find its messages and make them the run under way."""
    begin, end, number = unit.accept(eng, start, end, group, port)
    if engine.watch(eng) & _SAMPLED != ZERO:
        stamps.stage(eng, stamps.LINE)
    if begin == ZERO:
        _passed_over(eng, length)
        return
    engine.set_run_kind(eng, _LINK_PITCH)
    _begin_run(eng, begin, end, number)
    _count_bytes(eng, end - begin, start + span.UNIT_HEADER - address, length)


@leaf
def _begin_datagram(eng, address, length, start, end, group, port):
    """Line: find a datagram's messages; ``length`` bytes from ``address`` on are accounted for."""
    if _is_pitch(eng, start, end, group, port):
        _begin_unit(eng, address, length, start, end, group, port)
        return
    begin, number = mold.accept(eng, start, end, group, port)
    if engine.watch(eng) & _SAMPLED != ZERO:
        stamps.stage(eng, stamps.LINE)
    if begin == ZERO:
        _passed_over(eng, length)
        return
    engine.set_run_kind(eng, ZERO)
    _begin_run(eng, begin, end, number)
    _count_bytes(eng, end - begin, start + span.MOLD_HEADER - address, length)


@leaf
def _passed_over(eng, length):
    """No message of a datagram is taken now; what waits is accounted for when its turn comes."""
    kept = engine.kept(eng)
    count_by(eng, _BYTES_HEADERS if kept != ZERO else _BYTES_SKIPPED, length - kept)
    engine.set_kept(eng, ZERO)


@cold
def _begin_held(eng):
    """Make the next packet that waited the one under way; False where none's turn has come."""
    place = held.next_run(eng)
    if place == ZERO:
        return False
    p = held_packet.at(eng, place - ONE)
    record = line_record.at(eng, held_packet.line(p) - ONE)
    start, length = held_bytes.at(eng, (place - ONE) * _HELD_BYTES), held_packet.length(p)
    lend_run(start, start + length)
    engine.set_run_held(eng, place)
    engine.set_bare(eng, ZERO)
    group, port = line_record.group(record), line_record.port(record)
    _begin_datagram(eng, start, length, start, start + length, group, port)
    if engine.cursor(eng) == ZERO:
        held.finish(eng)
    return True


@cold
def _take_held(eng):
    """Take what waited and need not wait any more; False where a buffer asks for a pause."""
    while engine.waiting(eng) != ZERO and _begin_held(eng):
        if engine.cursor(eng) != ZERO:
            _run(eng, False)
            if engine.pause(eng) != ZERO:
                return False
    return True


@leaf
def _begin(eng, p):
    """Frame and line: find the messages of a packet and make them the run under way."""
    address, length, link = packet.address(p), packet.length(p), packet.link(p)
    count(eng, _PACKETS)
    count_by(eng, _BYTES, length)
    if packet.wire_length(p) > length:
        count(eng, _PACKETS_CUT)
    engine.set_ts_recv(eng, packet.ts_recv(p))
    lend_run(address, address + length)
    if link == _LINK_INPUT:
        _begin_input(eng, address, length)
        return
    if engine.waiting(eng) != ZERO:
        line.end_windows(eng)
    is_market = (link == _LINK_MESSAGES) | (link == _LINK_PITCH)
    if is_market | (link == _LINK_RESPONSES) | (link == _LINK_COMMANDS):
        _begin_bare(eng, link, address, length)
        return
    engine.set_bare(eng, ZERO)
    start, end, group, port = address, address + length, packet.group(p), packet.line(p)
    if link != _LINK_DATAGRAM:
        start, end, group, port = frame.payload(eng, link, address, length)
    if engine.watch(eng) & _SAMPLED != ZERO:
        stamps.stage(eng, stamps.FRAME)
    if start == ZERO:
        count_by(eng, _BYTES_SKIPPED, length)
        return
    _begin_datagram(eng, address, length, start, end, group, port)


@cold
def _pass_time(eng, ts_recv):
    """No packet: receive time has come to this (0: as it was), and windows of lines may end."""
    if engine.waiting(eng) != ZERO and ts_recv != ZERO:
        engine.set_ts_recv(eng, max(ts_recv, engine.ts_recv(eng)))
        line.end_windows(eng)


@leaf
def _is_due(eng, p):
    """Wait until a paced packet is due; False if that is too long to wait here."""
    passed = packet.ts_recv(p) - engine.pace_ts(eng)
    due = engine.pace_cycles(eng) + ((passed * engine.pace_multiplier(eng)) >> PACE_SHIFT)
    engine.set_due_at(eng, due)
    now = cycles()
    if now < due and ((due - now) * engine.multiplier(eng)) >> engine.shift(eng) > MAX_WAIT_NS:
        return False
    while now < due:
        now = cycles()
    return True


@leaf
def _begin_packet(eng, packets, at, number):
    """Begin with a packet of those that are lent; False where it is not due yet."""
    p = packets + at * packet.SIZE
    if packet.link(p) == _LINK_NOTHING:
        _pass_time(eng, packet.ts_recv(p))
        return True
    if engine.paced(eng) != ZERO and not _is_due(eng, p):
        return False
    sampled = np.uint64(engine.packets(eng) & engine.sample_mask(eng) == ZERO)
    engine.set_packets(eng, engine.packets(eng) + ONE)
    glance.behind(eng, packets, at, number)
    _set_watch(eng, sampled)
    polled_at = engine.polled_at(eng)
    engine.set_lent_at(eng, polled_at if polled_at != ZERO else cycles())
    if sampled != ZERO:
        stamps.start(eng)
    _begin(eng, p)
    return True


@entry
def process(eng, packets, first, number):
    """Take packets ``first .. number - 1`` of the array at address ``packets`` through all stages.

    Gives the number of the packet to go on with: ``number`` when all are done; less when `pause`
    asks Python to empty a buffer, or when the next packet is not due for more than `MAX_WAIT_NS`.
    """
    at = first
    while at < number:
        if engine.cursor(eng) == ZERO and not _begin_packet(eng, packets, at, number):
            break
        if engine.cursor(eng) != ZERO:
            _run(eng, at >= first + glance.FIRST)
            if engine.pause(eng) != ZERO:
                break
        if engine.waiting(eng) != ZERO and not _take_held(eng):
            break
        at += ONE
    return at


@entry
def whole_messages(address, length):
    """Bytes of the whole messages at the start of a run of ``length`` bytes."""
    lend_run(address, address + length)
    m, end = address, address + length
    while m + PREFIX <= end:
        following = m + PREFIX + span.mold_length(m)
        if following > end:
            break
        m = following
    return m - address
