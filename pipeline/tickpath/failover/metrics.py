"""What a node publishes, as Prometheus' text: names end in their unit, counters in ``_total``.

Labels are names of counters, breakers, holds and standbys, all from closed or configured sets.

The text is made here, not by prometheus_client, which needs the interpreter for some 5 ms a page:
so long the loop, which shares it, could wait.  This takes less than one; tests read it with that
library and with promtool.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from tickpath.counters import Counter
from tickpath.failover.breaker import BreakerState
from tickpath.failover.health import Page, View
from tickpath.failover.role_state import RoleState

KIND = "text/plain; version=0.0.4; charset=utf-8"
SECOND = 1e9
Samples = list[tuple[tuple[str, ...], float]]


class Described(NamedTuple):
    """A metric: its name without ``tickpath_node_``, what it says, labels, and how it is had."""

    name: str
    help: str
    value: Callable[[View], float | Samples | None]
    labels: tuple[str, ...] = ()


def _states(all_states: type[RoleState] | type[BreakerState], now: str) -> Samples:
    return [((each.name.lower(),), float(each.name == now)) for each in all_states]


GAUGES = (
    Described("up", "1 while the node's loop turns.", lambda v: v.is_alive),
    Described("active", "1 while the node is the active under a lease.", lambda v: v.is_active),
    Described(
        "ready", "1 if it trades well, or would take over well.", lambda v: not v.not_ready()
    ),
    Described(
        "role", "1 for the role it has.", lambda v: _states(RoleState, v.said.state), ("role",)
    ),
    Described("epoch", "The epoch of its lease, or the highest it knows.", lambda v: v.said.epoch),
    Described("loop_age_seconds", "Since the loop was last seen.", lambda v: v.age_ns / SECOND),
    Described(
        "lease_remaining_seconds",
        "What is left of an active's lease by its own clock.",
        lambda v: v.lease_ns / SECOND,
    ),
    Described(
        "beat_age_seconds",
        "Since the active's beat was last heard.",
        lambda v: max(0, v.now_ns - v.said.heard_ns) / SECOND if v.said.heard_ns else None,
    ),
    Described("record_number", "The last record that is applied.", lambda v: v.said.record_number),
    Described("input_number", "Inputs that were taken.", lambda v: v.said.input_number),
    Described(
        "lag_records",
        "Records that a standby has not taken yet.",
        lambda v: v.said.lag_records,
    ),
    Described(
        "follower_lag_records",
        "Records that a follower of this active has not taken yet.",
        lambda v: [((each.name,), each.lag_records) for each in v.said.followers],
        ("follower",),
    ),
    Described(
        "follower_ready",
        "1 if the follower could take over.",
        lambda v: [((each.name,), each.is_ready) for each in v.said.followers],
        ("follower",),
    ),
    Described("in_sync_members", "Standbys that orders wait for.", lambda v: v.said.in_sync),
    Described("gate_open", "1 while orders can leave.", lambda v: v.said.is_gate_open),
    Described("synchronous", "1 in synchronous mode.", lambda v: v.said.is_synchronous),
    Described(
        "held",
        "1 for each source that holds trading.",
        lambda v: [((each,), 1) for each in v.said.held],
        ("source",),
    ),
    Described(
        "feed_age_seconds",
        "Since packets of the feed came.",
        lambda v: max(0, v.now_ns - v.said.fed_ns) / SECOND if v.said.fed_ns else None,
    ),
    Described(
        "feed_current", "1 if an active's books are current.", lambda v: v.said.is_feed_current
    ),
    Described(
        "session_up",
        "1 while the gateway has the exchange's session.",
        lambda v: v.said.session == "UP",
    ),
    Described(
        "breaker_state",
        "1 for the state that a breaker is in.",
        lambda v: [
            ((name, *state), value)
            for name, now in v.said.breakers
            for state, value in _states(BreakerState, now)
        ],
        ("breaker", "state"),
    ),
    Described(
        "orders_unconfirmed_bytes",
        "The order stream's tail that the gateway has not confirmed.",
        lambda v: v.said.order_position - v.said.confirmed_position,
    ),
)
COUNTERS = (
    Described("beats_heard", "Beats of an active that were heard.", lambda v: v.said.beats),
    Described("takeovers", "How often it became active.", lambda v: _counter(v, "promotions")),
    Described("order_bytes", "Bytes of the order stream.", lambda v: v.said.order_position),
    Described(
        "order_bytes_handed_over",
        "Where in the order stream hand-overs have come to.",
        lambda v: v.said.handed_position,
    ),
    Described(
        "order_bytes_confirmed",
        "Where in the order stream the gateway has confirmed.",
        lambda v: v.said.confirmed_position,
    ),
    Described(
        "events",
        "What the node and its role counted.",
        lambda v: [((name,), n) for name, n in sorted(v.said.counters.items())],
        ("event",),
    ),
    Described(
        "engine_events",
        "What the engine counted (tickpath.counters).",
        lambda v: [
            ((each.name.lower(),), int(v.said.engine[each]))
            for each in Counter
            if each < len(v.said.engine)
        ],
        ("event",),
    ),
)


def _counter(view: View, name: str) -> int:
    return view.said.counters.get(name, 0)


_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


def _lines(view: View, described: Described, kind: str) -> Iterator[str]:
    """A metric's text."""
    name = f"tickpath_node_{described.name}" + ("_total" if kind == "counter" else "")
    yield f"# HELP {name} {described.help}\n# TYPE {name} {kind}\n"
    value = described.value(view)
    own = f'node="{view.said.name}"'
    for values, number in value if isinstance(value, list) else [((), value)]:
        if number is not None:
            pairs = zip(described.labels, values, strict=True)
            labels = "".join(f',{label}="{text.translate(_ESCAPES)}"' for label, text in pairs)
            yield f"{name}{{{own}{labels}}} {_text(number)}\n"


def _text(number: float) -> str:
    return repr(number) if isinstance(number, float) else f"{int(number)}"


def page(view: View) -> Page:
    """The page /metrics."""
    lines = [line for each in GAUGES for line in _lines(view, each, "gauge")]
    lines += [line for each in COUNTERS for line in _lines(view, each, "counter")]
    return Page(200, "".join(lines).encode(), KIND)
