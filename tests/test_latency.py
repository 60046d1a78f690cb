"""Histograms against the `hdrhistogram` package, which records the same values one by one."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader
from hypothesis import given, settings
from hypothesis import strategies as st

from tickpath import latency
from tickpath.latency import COUNTS, HISTOGRAM, TRACKABLE_NS, Interval, LatencyError
from tickpath.memory import register, unregister

PERCENTS = (1.0, 25.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 100.0)
POWERS = sorted({(1 << bit) + by for bit in range(34) for by in (-1, 0, 1)} | {TRACKABLE_NS - 1})
EDGES = [value for value in POWERS if value <= TRACKABLE_NS]


def recorded(values, histogram=None):
    """The values, recorded by jitted code into a zeroed record (or into the one given)."""
    block = np.zeros(1, HISTOGRAM) if histogram is None else histogram
    begin, end = block.ctypes.data, block.ctypes.data + block.nbytes
    register(latency.REGION, block)
    try:
        latency.record_values(np.uint64(begin), np.array(values, np.uint64))
    finally:
        unregister(begin, end)
    return block[0]


def oracle(values):
    hdr = HdrHistogram(latency.LOWEST_NS, latency.HIGHEST_NS, latency.SIGNIFICANT_DIGITS)
    for value in values:
        assert hdr.record_value(int(value))
    return hdr


def lognormal(count, seed=1):
    values = np.random.default_rng(seed).lognormal(7, 1.5, count)
    return values.astype(np.uint64).tolist()


def assert_same(histogram, hdr):
    ours = latency.to_hdr(histogram)
    assert list(ours.counts) == list(hdr.counts)
    assert ours.get_total_count() == hdr.get_total_count()
    assert ours.get_min_value() == hdr.get_min_value()
    assert ours.get_max_value() == hdr.get_max_value()
    assert ours.encode() == hdr.encode()
    expected = hdr.get_percentile_to_value_dict(PERCENTS)
    assert ours.get_percentile_to_value_dict(PERCENTS) == expected
    if hdr.get_total_count():
        assert {percent: latency.percentile(histogram, percent) for percent in PERCENTS} == expected


def test_geometry():
    hdr = oracle([])
    assert hdr.counts_len == COUNTS
    edge = hdr.get_value_from_index(COUNTS - 1)
    assert hdr.get_highest_equivalent_value(edge) == TRACKABLE_NS
    assert not hdr.record_value(TRACKABLE_NS + 1)


def test_every_bucket():
    hdr = oracle([])
    lowest = [hdr.get_value_from_index(index) for index in range(COUNTS)]
    assert latency.lowest_equivalent().tolist() == lowest
    highest = [hdr.get_highest_equivalent_value(value) for value in lowest]
    assert latency.highest_equivalent().tolist() == highest
    # Both edges of every bucket land in it, and nothing lands anywhere else.
    assert recorded(lowest + highest)["counts"].tolist() == [2] * COUNTS


@pytest.mark.parametrize("value", [0, 1, 2047, 2048, 2049, 4095, 4096, *EDGES[-7:]])
def test_one_value(value):
    assert_same(recorded([value]), oracle([value]))


def test_powers_of_two_and_neighbours():
    assert_same(recorded(EDGES), oracle(EDGES))


def test_random_values():
    values = lognormal(20_000)
    histogram = recorded(values)
    assert_same(histogram, oracle(values))
    assert int(histogram["min"]) == min(values)
    assert int(histogram["max"]) == max(values)
    assert int(histogram["sum"]) == sum(values)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, TRACKABLE_NS), max_size=40))
def test_any_values(values):
    histogram, hdr = recorded(values), oracle(values)
    assert_same(histogram, hdr)
    found = latency.summary(histogram)
    assert found["count"] == len(values)
    if values:
        exact = np.array(values, np.float64)
        assert found["mean"] == pytest.approx(exact.mean())
        assert found["stddev"] == pytest.approx(
            hdr.get_stddev(), rel=2e-3, abs=1 + 1e-3 * max(values)
        )
        assert found["min"] == hdr.get_min_value()
        assert found["max"] == hdr.get_max_value()


def test_too_large_values_are_clamped_and_counted():
    histogram = recorded([5, TRACKABLE_NS, TRACKABLE_NS + 1, 2**64 - 1])
    expected = np.zeros(COUNTS, np.uint64)
    expected[5], expected[-1] = 1, 3
    assert histogram["counts"].tolist() == expected.tolist()
    assert int(histogram["overflow"]) == 2
    assert int(histogram["total_count"]) == 4
    assert int(histogram["sum"]) == 5 + 3 * TRACKABLE_NS
    clamped = oracle([5, TRACKABLE_NS, TRACKABLE_NS, TRACKABLE_NS])
    assert latency.to_hdr(histogram).encode() == clamped.encode()
    assert latency.summary(histogram)["max"] == 2**64 - 1


def test_neighbours_in_a_block_are_untouched():
    block = np.zeros(3, HISTOGRAM)
    recorded([1, 2, 3, TRACKABLE_NS, 2**63], block[1:2])
    assert not block[0].tobytes().strip(b"\0")
    assert not block[2].tobytes().strip(b"\0")


def test_summary():
    assert latency.summary(recorded(range(1, 1001))) == {
        "count": 1000,
        "min": 1,
        "p50": 500,
        "p90": 900,
        "p99": 990,
        "p99_9": 999,
        "p99_99": 1000,
        "max": 1000,
        "mean": 500.5,
        "stddev": pytest.approx(np.std(np.arange(1, 1001))),
    }


def test_summary_of_nothing():
    empty = np.zeros(1, HISTOGRAM)[0]
    names = ("min", "p50", "p90", "p99", "p99_9", "p99_99", "max", "mean", "stddev")
    assert latency.summary(empty) == {"count": 0, **dict.fromkeys(names)}
    assert latency.buckets(empty) == {"value_ns": [], "count": []}
    assert_same(empty, oracle([]))


def test_buckets():
    found = latency.buckets(recorded([7, 7, 5000, 123]))
    assert found == {"value_ns": [7, 123, 5003], "count": [2, 1, 1]}


def test_interval():
    first, second = lognormal(3000, seed=3), lognormal(3000, seed=4)
    block = np.zeros(1, HISTOGRAM)
    recorded(first, block)
    earlier = block[0].copy()
    recorded([*second, 1, 10**9], block)
    between = latency.interval(block[0], earlier)
    assert_same(between, oracle([*second, 1, 10**9]))
    assert int(between["sum"]) == sum(second) + 1 + 10**9
    assert (int(between["min"]), int(between["max"])) == (1, 10**9)


def test_interval_inside_the_earlier_extremes():
    block = np.zeros(1, HISTOGRAM)
    recorded([1, 10**9], block)
    earlier = block[0].copy()
    recorded([5000, 70_000], block)
    assert_same(latency.interval(block[0], earlier), oracle([5000, 70_000]))


def test_interval_of_nothing():
    whole = recorded(lognormal(100))
    between = latency.interval(whole, whole)
    assert between.tobytes() == np.zeros(1, HISTOGRAM).tobytes()


def test_interval_out_of_order():
    with pytest.raises(LatencyError, match="a count went down"):
        latency.interval(recorded([1]), recorded([1, 1]))


@pytest.mark.parametrize("expected_interval_ns", [1_000, 777, 5_000_000])
def test_corrected(expected_interval_ns):
    values = [*lognormal(500), 1000, 2000, 2001, 999_999, 3_000_000]
    histogram = recorded(values)
    edges = latency.buckets(histogram)
    hdr = oracle([])
    for value, count in zip(edges["value_ns"], edges["count"], strict=True):
        hdr.record_corrected_value(value, expected_interval_ns, count)
    result = latency.corrected(histogram, expected_interval_ns)
    assert list(latency.to_hdr(result).counts) == list(hdr.counts)
    assert int(result["total_count"]) == hdr.get_total_count()
    assert latency.to_hdr(result).get_min_value() == hdr.get_min_value()
    assert int(result["max"]) == max(values)
    assert int(histogram["total_count"]) == len(values)


def test_corrected_long_stall():
    """Ten seconds at an input every 10 ns: a billion inputs held up, filled in at once."""
    edge = latency.buckets(recorded([10**10]))["value_ns"][0]
    missing = (edge - 1) // 10
    result = latency.corrected(recorded([10**10]), 10)
    assert int(result["total_count"]) == int(result["counts"].sum()) == 1 + missing
    assert int(result["sum"]) == 10**10 + sum((edge % 10, edge - 10)) * missing // 2


def test_corrected_refuses():
    with pytest.raises(LatencyError, match="positive"):
        latency.corrected(recorded([1]), 0)
    with pytest.raises(LatencyError, match="take a longer one"):
        latency.corrected(recorded([10**10]), 1)


def test_one_hgrm(tmp_path):
    values = lognormal(2000)
    assert latency.write_hgrm(tmp_path / "a.hgrm", {"book": recorded(values)}) == [
        tmp_path / "a.hgrm"
    ]
    expected = tmp_path / "expected"
    with expected.open("wb") as file:
        oracle(values).output_percentile_distribution(file, 1.0)
    assert (tmp_path / "a.hgrm").read_bytes() == expected.read_bytes()


def test_several_hgrm(tmp_path):
    histograms = {"book": recorded([1, 2]), "risk": recorded([3]), "idle": recorded([])}
    written = latency.write_hgrm(tmp_path / "out.hgrm", histograms)
    names = ["out.book.hgrm", "out.idle.hgrm", "out.risk.hgrm"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert [path.name for path in written] == ["out.book.hgrm", "out.risk.hgrm", "out.idle.hgrm"]
    assert "TotalCount     =        1.000" in (tmp_path / "out.risk.hgrm").read_text()


def test_hlog_is_read_back(tmp_path):
    second_ns = 1_000_000_000
    start_ns = 1_577_700_000 * second_ns
    runs = [lognormal(300, seed) for seed in range(4)]
    intervals = [
        Interval(
            start_ns + n * second_ns // 2,
            start_ns + (n + 1) * second_ns // 2,
            {"book": recorded(runs[n]), "tick_to_order": recorded(runs[n + 1])},
        )
        for n in range(3)
    ]
    path = tmp_path / "out.hlog"
    assert latency.write_hlog(path, intervals) == 6
    reader = HistogramLogReader(str(path), oracle([]))
    found = []
    while (hdr := reader.get_next_interval_histogram()) is not None:
        stamps = hdr.get_start_time_stamp(), hdr.get_end_time_stamp()
        found.append((hdr.get_tag(), *stamps, list(hdr.counts)))
    reader.close()
    assert found == [
        (tag, 1_577_700_000_000 + n * 500, 1_577_700_000_500 + n * 500, list(oracle(run).counts))
        for n in range(3)
        for tag, run in (("book", runs[n]), ("tick_to_order", runs[n + 1]))
    ]
    lines = path.read_text().splitlines()
    assert lines[0] == "#[Histogram log format version 1.2]"
    assert lines[2] == "#[StartTime: 1577700000.000 (seconds since epoch)]"
    max_ms = oracle(runs[0]).get_max_value() / 1e6
    assert lines[4].startswith(f"Tag=book,1577700000.000000,0.500000,{max_ms:f},HIST")


@pytest.mark.parametrize("name", ["", "a,b", "../up", "two words", "x\n"])
def test_name_refused(tmp_path, name):
    with pytest.raises(LatencyError, match="histogram name"):
        latency.write_hgrm(tmp_path / "x.hgrm", {name: recorded([1])})
    with pytest.raises(LatencyError, match="histogram name"):
        latency.write_hlog(tmp_path / "x.hlog", [Interval(0, 1, {name: recorded([1])})])


def test_unwritable(tmp_path):
    missing = tmp_path / "no" / "x"
    with pytest.raises(LatencyError, match="cannot write the histogram: No such file"):
        latency.write_hgrm(missing, {"a": recorded([1])})
    with pytest.raises(LatencyError, match="cannot write the histogram: No such file"):
        latency.write_hlog(missing, [])


_MISPLACED = """
import numpy as np
from tickpath import latency, memory
block = np.zeros(4, latency.HISTOGRAM)
begin = block.ctypes.data
memory.register(latency.REGION, block[1:3])
size = block.itemsize
for at in (0, size + 8, 3 * size):
    latency.record_values(np.uint64(begin + at), np.ones(1, np.uint64))
latency.record_values(np.uint64(begin + size), np.ones(1, np.uint64))
assert block["counts"].sum() == 1 and block["counts"][1, 1] == 1, block
assert block["total_count"].tolist() == [0, 1, 0, 0]
print(*memory.violations())
"""


def test_checked_variant_refuses_addresses_outside():
    """Three bad addresses: nothing is written, and each refused access is counted."""
    root = Path(__file__).parent.parent
    environment = {**os.environ, "TICKPATH_CHECKED": "1", "PYTHONPATH": str(root / "pipeline")}
    run = subprocess.run(
        [sys.executable, "-c", _MISPLACED], env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    count, _, region = run.stdout.split()
    assert (int(count), int(region)) == (9, latency.REGION)
