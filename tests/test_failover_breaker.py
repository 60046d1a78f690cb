"""Circuit breakers: what opens them, what closes them, and what they ask for on the way."""

import itertools
import math
from collections import deque

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickpath.failover.breaker import (
    Breaker,
    BreakerConfig,
    BreakerState,
    CancelAll,
    Closed,
    HalfOpened,
    HandOverRole,
    Opened,
    StopNewOrders,
    SwitchLine,
    Window,
)
from tickpath.failover.node_breakers import NodeBreakers
from tickpath.session.ouch_message import DIALECTS

SECOND = 1_000_000_000


def config(measures="order_latency", **changes):
    values = {
        "name": "b",
        "measures": measures,
        "threshold": 100,
        "window_ns": 1000,
        "min_samples": 3,
        "cool_down_ns": 500,
        "max_cool_down_ns": 1500,
        "probes": 2,
        "probe_timeout_ns": 300,
    }
    return BreakerConfig(**values | changes)


def fed(breaker, *samples):
    return [event for value, now_ns in samples for event in breaker.sample(value, now_ns)]


def test_latency_opens_by_its_percentile_when_there_are_enough_samples():
    breaker = Breaker(config(percentile_ppm=500_000, actions=(CancelAll(),)), 0)
    assert fed(breaker, (900, 1), (900, 2)) == []
    text = "order latency is 900, at most 100 is well (3 samples)"
    assert fed(breaker, (100, 3)) == [Opened("b", text, (CancelAll(),))]
    assert breaker.state is BreakerState.OPEN and not breaker.may_pass(4)
    assert breaker.counters == {"opened": 1, "held_back": 1}


def test_at_the_threshold_all_is_well():
    breaker = Breaker(config(), 0)
    assert fed(breaker, *((100, now) for now in range(50))) == []
    assert breaker.is_closed and breaker.may_pass(50) and breaker.counters == {}


def test_samples_leave_with_their_time():
    breaker = Breaker(config(), 0)
    assert fed(breaker, (900, 0), (900, 1), (5, 1000), (900, 1001)) == []
    assert len(breaker.window) == 2


def test_samples_leave_with_their_number_and_are_counted():
    breaker = Breaker(config(most_samples=3), 0)
    fed(breaker, (1, 0), (2, 1), (3, 2), (4, 3), (5, 4))
    assert (len(breaker.window), breaker.window.dropped, breaker.window.measure()) == (3, 2, 5)


def test_a_round_from_open_to_closed():
    breaker = Breaker(config(), 0)
    opened = fed(breaker, (900, 1), (900, 2), (900, 3))
    assert [type(event) for event in opened] == [Opened]
    assert breaker.due_ns() == 503
    assert breaker.advance(502) == [] and fed(breaker, (1, 502)) == []
    assert breaker.advance(503) == [HalfOpened("b", 2)]
    assert [breaker.may_pass(504) for _ in range(3)] == [True, True, False]
    assert fed(breaker, (100, 600)) == []
    assert fed(breaker, (1, 601)) == [Closed("b", (StopNewOrders(),))]
    assert breaker.is_closed and len(breaker.window) == 0
    assert breaker.counters == {
        "opened": 1,
        "samples_while_open": 1,
        "half_opened": 1,
        "held_back": 1,
        "closed": 1,
    }


def test_a_bad_probe_opens_for_longer_up_to_a_bound_and_repeats_no_action():
    breaker = Breaker(config(), 0)
    fed(breaker, (900, 0), (900, 0), (900, 0))
    at, downs = 0, []
    for _ in range(4):
        due_ns = breaker.due_ns()
        downs.append(due_ns - at)
        assert breaker.advance(due_ns) == [HalfOpened("b", 2)]
        assert fed(breaker, (101, due_ns)) == [Opened("b", "a probe gave 101", ())]
        at = due_ns
    assert downs == [500, 1000, 1500, 1500]
    at = breaker.due_ns()
    breaker.advance(at)
    assert len(fed(breaker, (1, at), (1, at))) == 1
    fed(breaker, *[(900, at)] * 3)
    assert breaker.due_ns() == at + 500, "well again, it begins with the first cool-down"


def test_probes_that_nobody_answers_are_bad():
    breaker = Breaker(config(), 0)
    fed(breaker, (900, 0), (900, 0), (900, 0))
    breaker.advance(500)
    fed(breaker, (5, 600))
    assert breaker.advance(799) == []
    assert breaker.advance(800) == [Opened("b", "1 of 2 probes came in time", ())]
    assert not breaker.may_pass(800) and breaker.counters["probes_unanswered"] == 1


def test_a_late_probe_does_not_pass():
    breaker = Breaker(config(), 0)
    fed(breaker, (900, 0), (900, 0), (900, 0))
    breaker.advance(500)
    assert breaker.may_pass(799) and not breaker.may_pass(800)


def test_reject_rate():
    breaker = Breaker(config("reject_rate", threshold=400_000, min_samples=5), 0)
    assert fed(breaker, (1, 1), (1, 2), (0, 3), (0, 4), (0, 5)) == []
    (opened,) = fed(breaker, (1, 6))
    assert opened.reason == "reject rate is 500000, at most 400000 is well (6 samples)"
    breaker.advance(506)
    assert [type(event) for event in fed(breaker, (1, 507))] == [Opened]


def test_session_errors_in_the_window():
    breaker = Breaker(config("session_errors", threshold=2, min_samples=1), 0)
    assert fed(breaker, (1, 0), (1, 1), (0, 2), (1, 1000)) == []
    assert [type(event) for event in fed(breaker, (1, 1000))] == [Opened]


def test_a_feed_that_falls_silent_and_is_heard_again():
    breaker = Breaker(config("feed_staleness", actions=(SwitchLine("B"), HandOverRole())), 1000)
    assert breaker.due_ns() == 1101
    assert fed(breaker, (0, 1100)) == [] and breaker.advance(1200) == []
    text = "the feed was silent for 101 ns"
    assert breaker.advance(1201) == [Opened("b", text, (SwitchLine("B"), HandOverRole()))]
    assert breaker.advance(1701) == [HalfOpened("b", 2)]
    assert fed(breaker, (0, 1710)) == []
    assert fed(breaker, (0, 1720)) == [Closed("b", ())], "a switched line is not undone"


def test_a_sample_that_comes_too_late_is_told_after_the_opening():
    breaker = Breaker(config("feed_staleness"), 0)
    (opened,) = fed(breaker, (0, 500))
    assert opened.reason == "the feed was silent for 500 ns"


def test_only_what_resumes_by_itself_is_undone():
    actions = (StopNewOrders("by_operator"), StopNewOrders(), CancelAll())
    breaker = Breaker(config(actions=actions), 0)
    fed(breaker, (900, 0), (900, 0), (900, 0))
    breaker.advance(500)
    assert fed(breaker, (1, 500), (1, 500)) == [Closed("b", (StopNewOrders(),))]


def test_configuration_from_toml_and_its_errors():
    text = b"""
    name = "slow orders"
    measures = "order_latency"
    threshold = 200_000
    actions = [{do = "stop_new_orders", resumes = "by_operator"}, {do = "cancel_all"},
               {do = "switch_line", line = "B"}, {do = "hand_over", to = "b"}]
    """
    read = msgspec.toml.decode(text, type=BreakerConfig)
    assert read.actions == (
        StopNewOrders("by_operator"),
        CancelAll(),
        SwitchLine("B"),
        HandOverRole("b"),
    )
    with pytest.raises(ValueError, match="min_samples 30 never fit"):
        config(min_samples=30, most_samples=20)
    with pytest.raises(ValueError, match="max_cool_down_ns 10 is below cool_down_ns 500"):
        config(max_cool_down_ns=10)
    with pytest.raises(msgspec.ValidationError, match="rejects"):
        msgspec.toml.decode(text.replace(b"order_latency", b"rejects"), type=BreakerConfig)


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 400)), max_size=60),
    st.integers(1, 1_000_000),
)
def test_the_window_against_sorting_everything(steps, ppm):
    made = config(percentile_ppm=ppm, most_samples=8)
    window, naive, now_ns = Window(made), deque(maxlen=8), 0
    for value, wait_ns in steps:
        now_ns += wait_ns
        window.advance(now_ns)
        window.add(value, now_ns)
        naive.append((now_ns, value))
        left = sorted(value for at, value in naive if now_ns - at < 1000)
        assert len(window) == len(left)
        assert window.measure() == left[max(math.ceil(len(left) * ppm / 1_000_000), 1) - 1]


@settings(max_examples=60)
@given(
    st.sampled_from(("order_latency", "feed_staleness", "reject_rate", "session_errors")),
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 300)), max_size=80),
)
def test_any_history_is_bounded_and_repeatable(measures, steps):
    def played():
        breaker, now_ns, events = Breaker(config(measures, threshold=0), 0), 0, []
        for value, wait_ns in steps:
            now_ns += wait_ns
            events += breaker.sample(value, now_ns) if wait_ns % 3 else breaker.advance(now_ns)
            due_ns = breaker.due_ns()
            assert breaker.is_closed or now_ns < due_ns <= now_ns + 1500
        return events

    events = played()
    assert events == played()
    order = [type(event) for event in events]
    for before, after in itertools.pairwise(order):
        follows = {Opened: {HalfOpened}, HalfOpened: {Opened, Closed}, Closed: {Opened}}
        assert after in follows[before]


def test_a_node_takes_the_other_line_where_the_feed_fell_silent():
    used, said = [], []

    def use_line(line: str) -> str:
        used.append(line)
        return f"the feed comes from line {line}"

    breakers = NodeBreakers(
        [config("feed_staleness", actions=(SwitchLine("B"),))],
        DIALECTS["ouch50"],
        1_000,
        step=lambda event: pytest.fail(f"{event}"),
        cancel_all=lambda why: pytest.fail(why),
        use_line=use_line,
        say=said.append,
    )
    breakers.feed(1_100)
    breakers.advance(1_200)
    assert used == []
    breakers.advance(1_201)
    assert used == ["B"] and said[-1] == "breaker b: the feed comes from line B"
    assert breakers.open_names == ("b",)
