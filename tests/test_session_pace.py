"""The token bucket against a plain count in every window, and the pauses of a backoff."""

from hypothesis import given
from hypothesis import strategies as st

from captures import REPEATABLE
from tickpath.session.pace import SECOND_NS, Backoff, TokenBucket


@given(
    per_second=st.integers(1, 1000),
    burst=st.integers(1, 20),
    steps=st.lists(st.integers(0, SECOND_NS // 50), max_size=150),
)
@REPEATABLE
def test_no_window_has_more_than_the_burst_and_the_rate(per_second, burst, steps):
    bucket, now_ns, taken = TokenBucket(per_second, burst), 0, []
    for step in steps:
        now_ns += step
        ready_at_ns = bucket.ready_at(now_ns)
        assert bucket.take(now_ns) == (ready_at_ns == now_ns)
        if ready_at_ns == now_ns:
            taken.append(now_ns)
    interval_ns = SECOND_NS // per_second
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            count, window_ns = last - first + 1, taken[last] - taken[first]
            assert count <= burst + window_ns // interval_ns


@given(per_second=st.integers(1, 1000), burst=st.integers(1, 20))
@REPEATABLE
def test_whoever_waits_as_told_gets_the_whole_rate(per_second, burst):
    bucket, now_ns = TokenBucket(per_second, burst), 0
    for _ in range(100):
        now_ns = bucket.ready_at(now_ns)
        assert bucket.take(now_ns)
    assert now_ns == (100 - burst) * (SECOND_NS // per_second)


def test_forced_tokens_are_paid_for_by_the_next():
    bucket = TokenBucket(10, 2)
    for _ in range(5):
        bucket.force(0)
    assert not bucket.take(0)
    assert bucket.ready_at(0) == 4 * SECOND_NS // 10


@given(seed=st.integers(0, 1000), attempts=st.integers(1, 200))
@REPEATABLE
def test_pauses(seed, attempts):
    backoff = Backoff(SECOND_NS // 10, 30 * SECOND_NS, attempts, seed)
    pauses = []
    while (pause_ns := backoff.pause()) is not None:
        whole_ns = min(30 * SECOND_NS, SECOND_NS // 10 * 2 ** len(pauses))
        assert whole_ns // 2 <= pause_ns <= whole_ns
        pauses.append(pause_ns)
    assert len(pauses) == attempts - 1
    backoff.reset()
    assert backoff.failed == 0
