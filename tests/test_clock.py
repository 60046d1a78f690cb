"""The cycle clock: fixed-point conversion, what calibration finds, the jitter baseline."""

import json
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickpath import clock
from tickpath.clock import Clock, ClockError
from tickpath.jit import entry
from tickpath.memory import cycles, violations

rates = st.floats(0.001, 64, allow_nan=False)


def at_rate(cycles_per_ns):
    """A clock of a given rate whose other fields do not matter."""
    multiplier, shift = clock._fixed_point(cycles_per_ns)
    return Clock(cycles_per_ns, multiplier, shift, 0, 0.0, 1, 1 / cycles_per_ns, 0.0, None)


@entry
def converted(delta_cycles, multiplier, shift):
    return clock.nanoseconds(delta_cycles, multiplier, shift)


@entry
def counter():
    return cycles()


@pytest.fixture(scope="module")
def calibrated():
    return clock.calibrate()


@settings(deadline=None)  # the first call compiles
@given(rates, st.floats(0, 1))
def test_conversion(cycles_per_ns, part):
    each = at_rate(cycles_per_ns)
    delta = int(each.max_delta_cycles * part)
    exact = delta / cycles_per_ns
    found = each.nanoseconds(delta)
    assert abs(found - exact) <= exact * 2.0**-23 * 1.01 + 1
    jitted = converted(np.uint64(delta), np.uint64(each.multiplier), np.uint64(each.shift))
    assert int(jitted) == found


@given(rates)
def test_fixed_point(cycles_per_ns):
    each = at_rate(cycles_per_ns)
    assert 2**22 <= each.multiplier <= 2**23
    assert each.max_delta_cycles >= 2**41 - 1
    ratio = math.ldexp(each.multiplier, -each.shift) * cycles_per_ns
    assert abs(ratio - 1) < 1e-6


@pytest.mark.parametrize("cycles_per_ns", [1e-15, 1e20])
def test_no_rate_of_a_clock(cycles_per_ns):
    with pytest.raises(ClockError, match="not a clock"):
        clock._fixed_point(cycles_per_ns)


def test_calibration_agrees_with_the_kernel(calibrated):
    """Each clock's stretch lies inside the other's that was read around it, whatever the load."""

    def kernel_ns():
        return time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)

    outer_start, inner_start, innermost_start = kernel_ns(), int(counter()), kernel_ns()
    time.sleep(0.02)
    innermost_end, inner_end, outer_end = kernel_ns(), int(counter()), kernel_ns()
    measured_ns = calibrated.nanoseconds(inner_end - inner_start)
    assert (innermost_end - innermost_start) * 0.999 <= measured_ns
    assert measured_ns <= (outer_end - outer_start) * 1.001


def test_calibration(calibrated):
    assert calibrated.cycles(calibrated.nanoseconds(10**9)) == pytest.approx(10**9, rel=1e-6)
    assert calibrated.overhead_cycles >= 0
    assert calibrated.step_cycles >= 1
    assert calibrated.step_ns == calibrated.step_cycles / calibrated.cycles_per_ns
    assert 0 <= calibrated.uncertainty < 1
    assert json.loads(json.dumps(calibrated.as_dict())) == calibrated.as_dict()


def test_counter_that_stands_still(monkeypatch):
    readings = iter([(5.0, 0, 0), (5.0, 1000, 0)])
    monkeypatch.setattr(clock, "_tightest", lambda pairs: next(readings))
    with pytest.raises(ClockError, match="went 0 cycles in 1000 ns"):
        clock.calibrate(0)


def uneven(count=1000):
    return np.cumsum(np.random.default_rng(5).integers(100, 900, count))


@pytest.mark.parametrize(
    ("name", "reads", "step"),
    [
        ("every_cycle", uneven(), 1),
        ("even_cycles", uneven() // 2 * 2, 2),
        ("steps_of_26", uneven() // 26 * 26, 26),
        # AMD: a second read within a step is one more than the first.
        ("steps_of_26_made_unique", uneven() // 26 * 26 + np.arange(1000) % 2, 26),
        ("scaled_steps", np.floor(uneven() // 26 * 25.96), 26),
        ("slow_counter", uneven() // 1000, 1),
        ("stands_still", np.zeros(1000), 1),
        ("interrupted", np.append(uneven(), 10**9) // 26 * 26, 26),
    ],
)
def test_step(name, reads, step):
    assert clock._step(np.asarray(reads).astype(np.uint64)) == step


@pytest.mark.parametrize(
    ("cpuinfo", "invariant"),
    [
        ("model name : x\nflags\t\t: fpu tsc constant_tsc nonstop_tsc sse\n", True),
        ("flags : fpu tsc constant_tsc sse\n", False),
        ("flags : fpu tsc\n", False),
        ("processor : 0\nFeatures : fp asimd evtstrm\n", None),
        ("", None),
    ],
)
def test_invariant(cpuinfo, invariant):
    assert clock._is_invariant(cpuinfo) is invariant


def test_jitter(calibrated):
    before = violations()
    found = clock.jitter(5, calibrated)
    assert violations() == before
    assert found["milliseconds"] >= 4.99
    gaps = found["gap_ns"]
    assert gaps["count"] > 0
    # Every gap lies between two reads, so together they are the time that passed, up to the part
    # of a nanosecond that each conversion drops.
    total_ms = gaps["mean"] * gaps["count"] / 1e6
    assert total_ms <= found["milliseconds"] <= total_ms + gaps["count"] / 1e6
    over = list(found["gaps_over_ns"].values())
    assert list(found["gaps_over_ns"]) == ["1000", "10000", "100000", "1000000"]
    assert over == sorted(over, reverse=True)
    assert (gaps["max"] > 1000) == (over[0] > 0) == (found["stolen_share"] > 0)
    assert found["stolen_share"] <= 1
    json.dumps(found)


@pytest.mark.parametrize("milliseconds", [0, -1, 1e9, float("nan")])
def test_jitter_time_refused(milliseconds):
    with pytest.raises(ClockError, match="jitter takes"):
        clock.jitter(milliseconds)
