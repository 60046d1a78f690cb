"""One line under recovery: from what happened to what is to be done.

    UNKNOWN --Advanced--> SYNCHRONISED --Hole--> GAP_FILL --filled--> SYNCHRONISED
       \\--Hole--> BACKFILL                          |
                                       servers silent, refusing, too slow, or hole too wide
                                                    v
    SYNCHRONISED <--Splice-- SNAPSHOT --attempts used up--> STALE --later--> SNAPSHOT ...

A filled hole on a line that is stale leaves it stale: only a snapshot makes books good again.  The
clock is the caller's: `step` never looks at one, and the same events at the same times give the
same actions.
"""

from tickpath.recovery import fill
from tickpath.recovery.event import (
    Action,
    Advanced,
    Answer,
    Clear,
    CloseSnapshot,
    DeliverSnapshot,
    Event,
    GiveUp,
    Hole,
    OpenSnapshot,
    Refused,
    SnapshotFailed,
    SnapshotReady,
    Splice,
    Tick,
)
from tickpath.recovery.line import Line
from tickpath.recovery.state import State


def step(line: Line, event: Event, now_ns: int) -> list[Action]:
    """What is to be done, in this order, because of ``event``; changes ``line``."""
    actions: list[Action] = []
    match event:
        case Hole():
            _hole(line, event, now_ns, actions)
        case Advanced():
            _advanced(line, event.next_sequence, now_ns, actions)
        case Answer():
            _answer(line, event, now_ns, actions)
        case Refused():
            if line.is_filling:
                _go_on(line, fill.refused(line, event, now_ns), now_ns, actions)
        case SnapshotReady():
            _snapshot(line, event, now_ns, actions)
        case SnapshotFailed():
            if line.snapshot_deadline_ns is not None:
                line.counters["snapshots_failed"] += 1
                _snapshot_failed(line, now_ns, actions)
        case Tick():
            _tick(line, now_ns, actions)
    return actions


# ---------------------------------------------------------------- holes


def _hole(line: Line, event: Hole, now_ns: int, actions: list[Action]) -> None:
    if line.session and event.session != line.session:
        line.counters["sessions"] += 1
        _close_snapshot(line, actions)
        _forget(line)
        line.state, line.next, line.last = State.UNKNOWN, 0, -1
        line.is_stale, line.heal_ns = False, None
    line.session = event.session
    if event.last < event.first:
        return
    if line.has_hole:
        _same_hole(line, event, now_ns)
    else:
        line.counters["holes"] += 1
        line.counters["messages_missing"] += event.last - event.first + 1
        line.next, line.last = event.first, event.last
        line.progress_ns, line.refusals, line.snapshots = now_ns, 0, 0
        line.tried.clear()
        if line.state is not State.SNAPSHOT:
            _begin(line, now_ns, actions)
    if line.is_filling:
        _go_on(line, True, now_ns, actions)


def _same_hole(line: Line, event: Hole, now_ns: int) -> None:
    """The engine says again what it lacks."""
    if event.first < line.next:
        line.counters["answers_not_taken"] += 1  # no progress: the time for the hole goes on
        line.next = event.first
    elif event.first > line.next:
        fill.move(line, event.first, now_ns)
    line.last = event.last


def _begin(line: Line, now_ns: int, actions: list[Action]) -> None:
    """Ask for a new hole's messages, or for a snapshot where there are too many of them."""
    is_wide = line.last - line.next >= line.limits.fill_max_messages
    if line.can_ask and not (is_wide and line.has_snapshot):
        line.state = State.BACKFILL if line.state is State.UNKNOWN else State.GAP_FILL
        return
    line.counters["holes_too_wide"] += is_wide
    _escalate(line, now_ns, actions)


def _go_on(line: Line, can_fill: bool, now_ns: int, actions: list[Action]) -> None:
    """After something has changed: all is there, or more is asked for, or asking is no use."""
    if not line.has_hole:
        line.counters["holes_filled"] += 1
        _settle(line, actions)
    elif not can_fill or not fill.ask(line, now_ns, actions):
        _escalate(line, now_ns, actions)


def _settle(line: Line, actions: list[Action]) -> None:
    """Nothing is missing."""
    _close_snapshot(line, actions)
    _forget(line)
    line.state = State.STALE if line.is_stale else State.SYNCHRONISED


def _forget(line: Line) -> None:
    line.asked.clear()
    line.kept.clear()
    line.paused_until_ns = 0
    line.snapshot_retry_ns = None


def _advanced(line: Line, to: int, now_ns: int, actions: list[Action]) -> None:
    if not line.has_hole:
        line.next, line.last = max(line.next, to), max(line.next, to) - 1
        if line.state is State.UNKNOWN:
            line.state = State.SYNCHRONISED
    elif to > line.next:  # a late copy came on a line after all
        fill.move(line, to, now_ns)
        if not line.has_hole:
            line.counters["holes_filled_live"] += 1
            _settle(line, actions)


def _answer(line: Line, event: Answer, now_ns: int, actions: list[Action]) -> None:
    if not line.has_hole:
        line.counters["answers_late"] += 1
        return
    fill.take(line, event, now_ns, actions)
    if line.is_filling or not line.has_hole:
        _go_on(line, True, now_ns, actions)


# ---------------------------------------------------------------- snapshots


def _escalate(line: Line, now_ns: int, actions: list[Action]) -> None:
    """Asking did not help, or there is nobody to ask."""
    _forget(line)
    if not line.has_snapshot or line.snapshots >= line.limits.snapshot_attempts:
        _give_up(line, now_ns, actions)
        return
    line.counters["escalations"] += 1
    line.state = State.SNAPSHOT
    _open_snapshot(line, now_ns, actions)


def _open_snapshot(line: Line, now_ns: int, actions: list[Action]) -> None:
    line.snapshot_retry_ns = None
    line.snapshots += 1
    line.counters["snapshots"] += 1
    line.snapshot_deadline_ns = now_ns + line.limits.snapshot_timeout_ns
    actions.append(OpenSnapshot(max(line.next, line.last + 1)))


def _close_snapshot(line: Line, actions: list[Action]) -> None:
    if line.snapshot_deadline_ns is not None:
        line.snapshot_deadline_ns = None
        actions.append(CloseSnapshot())


def _snapshot(line: Line, event: SnapshotReady, now_ns: int, actions: list[Action]) -> None:
    if line.snapshot_deadline_ns is None:
        line.counters["snapshots_unwanted"] += 1
        return
    sequence = event.next_sequence
    if line.has_hole and sequence <= line.next:
        line.counters["snapshots_too_old"] += 1
        _snapshot_failed(line, now_ns, actions)
        return
    _close_snapshot(line, actions)
    line.counters["snapshots_taken"] += 1
    line.counters["snapshot_messages"] += len(event.messages)
    line.is_stale, line.heal_ns, line.heals = False, None, 0
    actions += (Clear(), DeliverSnapshot(event.messages), Splice(sequence))
    if not line.has_hole:
        line.next, line.last = sequence, sequence - 1
        _settle(line, actions)
        return
    fill.move(line, sequence, now_ns)
    if not line.has_hole:
        _settle(line, actions)
        return
    line.state = State.SYNCHRONISED  # but for the rest of the hole
    line.tried.clear()
    _begin(line, now_ns, actions)
    if line.is_filling:
        _go_on(line, True, now_ns, actions)


def _snapshot_failed(line: Line, now_ns: int, actions: list[Action]) -> None:
    _close_snapshot(line, actions)
    if not line.has_hole:  # a stale line that tried to get good again
        line.state = State.STALE
        _heal_later(line, now_ns)
    elif line.snapshots >= line.limits.snapshot_attempts:
        _give_up(line, now_ns, actions)
    else:
        line.snapshot_retry_ns = now_ns + line.limits.snapshot_retry_ns


def _give_up(line: Line, now_ns: int, actions: list[Action]) -> None:
    line.counters["gaps_given_up"] += 1
    line.counters["messages_given_up"] += line.last - line.next + 1
    actions.append(GiveUp(line.next, line.last))
    line.next, line.last = line.last + 1, line.last
    line.is_stale, line.heals = True, 0
    _forget(line)
    line.state = State.STALE
    _heal_later(line, now_ns)


def _heal_later(line: Line, now_ns: int) -> None:
    line.heal_ns = None
    if line.has_snapshot and line.heals < line.limits.stale_retries:
        line.heal_ns = now_ns + line.limits.stale_retry_ns


# ---------------------------------------------------------------- time


def _tick(line: Line, now_ns: int, actions: list[Action]) -> None:
    if line.is_filling:
        _go_on(line, fill.tick(line, now_ns, actions), now_ns, actions)
    if line.snapshot_deadline_ns is not None and now_ns >= line.snapshot_deadline_ns:
        line.counters["snapshots_timed_out"] += 1
        _snapshot_failed(line, now_ns, actions)
    if line.snapshot_retry_ns is not None and now_ns >= line.snapshot_retry_ns:
        _open_snapshot(line, now_ns, actions)
    if line.heal_ns is not None and now_ns >= line.heal_ns:
        line.heal_ns = None
        if line.state is State.STALE:
            line.heals += 1
            line.state = State.SNAPSHOT
            _open_snapshot(line, now_ns, actions)
        else:
            _heal_later(line, now_ns)
