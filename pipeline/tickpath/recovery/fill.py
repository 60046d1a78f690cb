"""Asking for missing messages: requests, answers, silence and refusals.

Every function gives False where this hole cannot be filled by asking; the caller escalates.  Asking
ends by itself: each request has a bounded number of attempts with each server, refusals without
progress are bounded, and progress moves towards the hole's end.
"""

from tickpath.recovery.event import Action, Answer, Ask, Deliver, Refused
from tickpath.recovery.limits import SECOND_NS
from tickpath.recovery.line import Asked, Line
from tickpath.recovery.state import Refusal

_WAITS_NS = {Refusal.SECOND: SECOND_NS, Refusal.MINUTE: 60 * SECOND_NS}
_FOR_THE_DAY = (Refusal.DAY, Refusal.INVALID_UNIT)


def ask(line: Line, now_ns: int, actions: list[Action]) -> bool:
    """Make the requests that there is room for."""
    if not line.next_server():
        return False
    if now_ns < line.paused_until_ns:
        return True
    limits = line.limits
    for first, behind in list(line.missing()):
        while first < behind and len(line.asked) < limits.requests_under_way:
            if first > line.next and line.kept.is_full:
                return True
            end = min(behind, first + line.request_messages)
            _ask(line, first, end, 1, now_ns, actions)
            first = end
    return True


def _ask(
    line: Line, first: int, end: int, attempts: int, now_ns: int, actions: list[Action]
) -> None:
    line.asked[first] = Asked(end, now_ns + line.limits.answer_timeout_ns, attempts)
    line.counters["requests"] += 1
    actions.append(Ask(line.server, first, end - first))


def take(line: Line, answer: Answer, now_ns: int, actions: list[Action]) -> None:
    """Deliver an answer whose turn it is, and those kept behind it; keep one that is early."""
    first, behind = answer.first, answer.behind
    if behind <= line.next:
        line.counters["answers_late"] += 1
        return
    if first > line.last:
        line.counters["answers_unwanted"] += 1
        return
    for asked_first in [f for f, a in line.asked.items() if first <= f < behind]:
        del line.asked[asked_first]  # what of it did not fit is missing, and asked for again
    if first > line.next:
        known = line.kept.keep(first, behind, answer.datagram)
        line.counters["answers_kept" if known else "answers_not_kept"] += 1
        return
    _deliver(line, behind, answer.datagram, now_ns, actions)
    # Behind the hole the engine has gone on by itself with what it held.
    while line.has_hole and (due := line.kept.due(line.next)) is not None:
        _deliver(line, *due, now_ns, actions)


def _deliver(line: Line, behind: int, datagram: bytes, now_ns: int, actions: list[Action]) -> None:
    line.counters["packets_recovered"] += 1
    line.counters["messages_recovered"] += min(behind, line.last + 1) - line.next
    actions.append(Deliver(datagram))
    move(line, behind, now_ns)


def move(line: Line, to: int, now_ns: int) -> None:
    """Everything before a message is there."""
    line.next = to
    line.progress_ns = max(line.progress_ns, now_ns)
    line.refusals = 0
    for first, asked in list(line.asked.items()):
        if asked.behind <= to:
            del line.asked[first]
        elif first < to:
            line.asked[to] = asked
            del line.asked[first]


def refused(line: Line, event: Refused, now_ns: int) -> bool:
    """Do as a server says."""
    line.counters[f"refused_{event.refusal.name.lower()}"] += 1
    if event.server != line.server:
        return True  # it was left already
    line.asked.pop(event.first, None)
    line.refusals += 1
    refusal = event.refusal
    if refusal in _FOR_THE_DAY:
        line.closed.add(event.server)
    elif refusal in (Refusal.OUT_OF_RANGE, Refusal.UNAVAILABLE):
        line.tried.add(event.server)
    elif refusal is Refusal.COUNT:
        if line.request_messages == 1:
            line.tried.add(event.server)
        line.request_messages = max(1, line.request_messages // 2)
        line.asked.clear()
    else:
        _pause(line, _WAITS_NS[refusal], now_ns)
    if event.server in line.closed or event.server in line.tried:
        _leave_server(line)
    if line.refusals > line.limits.refusals:
        line.counters["refusals_too_many"] += 1
        return False
    return line.can_ask


def _pause(line: Line, wait_ns: int, now_ns: int) -> None:
    """Wait for a quota, or leave the server where that takes longer than the hole may."""
    if wait_ns > line.limits.fill_timeout_ns and (line.has_snapshot or line.servers > 1):
        line.tried.add(line.server)
        return
    line.paused_until_ns = max(line.paused_until_ns, now_ns + wait_ns)
    line.progress_ns = max(line.progress_ns, line.paused_until_ns)
    line.asked.clear()


def _leave_server(line: Line) -> None:
    line.asked.clear()
    line.paused_until_ns = 0
    if line.can_ask:
        line.counters["servers_changed"] += 1


def tick(line: Line, now_ns: int, actions: list[Action]) -> bool:
    """Repeat requests that were not answered."""
    limits = line.limits
    if now_ns - line.progress_ns >= limits.fill_timeout_ns:
        line.counters["fill_timeouts"] += 1
        return False
    for first, asked in sorted(line.asked.items()):
        if asked.deadline_ns > now_ns:
            continue
        line.counters["requests_timed_out"] += 1
        if asked.attempts >= limits.request_attempts:
            line.tried.add(line.server)
            _leave_server(line)
            break
        _ask(line, first, asked.behind, asked.attempts + 1, now_ns, actions)
    return line.can_ask
