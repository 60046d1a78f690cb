"""Latency histograms: recorded inside jitted code, read as HdrHistograms.

One histogram is one `HISTOGRAM` record in the engine's state block, one per stage.  `record` finds
the bucket with a count of leading zeros and two shifts and adds to it: the arithmetic of
HdrHistogram for values from 1 ns to 10 s at three significant digits, so the counts are exactly
those that the `hdrhistogram` package would hold had each value been recorded there.

Invariants: a record of zeros is an empty histogram; the sum of `counts` is `total_count`; no value
can reach an index outside `counts`, because it is clamped first.  Worst case: a value above
`TRACKABLE_NS` (17.2 s, a clock that jumped) counts in the top bucket and in `overflow`, and stands
unclamped in `max`.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogWriter

from tickpath.jit import entry, leaf
from tickpath.memory import accessors, leading_zeros, load_u64, store_u64

# ---------------------------------------------------------------- geometry

LOWEST_NS = 1
HIGHEST_NS = 10_000_000_000
SIGNIFICANT_DIGITS = 3

_SUB_BUCKET_BITS = (2 * 10**SIGNIFICANT_DIGITS - 1).bit_length()
_HALF_BITS = _SUB_BUCKET_BITS - 1
_BUCKETS = (HIGHEST_NS >> _SUB_BUCKET_BITS).bit_length() + 1
assert LOWEST_NS == 1, "the bucket arithmetic below leaves out the unit's magnitude"

COUNTS = (_BUCKETS + 1) << _HALF_BITS
"""Buckets of one histogram."""
TRACKABLE_NS = (1 << (_SUB_BUCKET_BITS + _BUCKETS - 1)) - 1
"""Largest value with a bucket of its own: what the power of two above `HIGHEST_NS` leaves room for.
HdrHistogram too accepts values up to here."""
assert TRACKABLE_NS >= HIGHEST_NS

HISTOGRAM = np.dtype(
    [
        ("total_count", "<u8"),
        ("min", "<u8"),  # exact; meaningless while total_count is 0
        ("max", "<u8"),  # exact, not clamped
        ("overflow", "<u8"),  # values above TRACKABLE_NS
        ("sum", "<u8"),  # of the values, those above TRACKABLE_NS as TRACKABLE_NS
        ("reserved", "<u8", (3,)),  # the header is one cache line, and so the counts begin on one
        ("counts", "<u8", (COUNTS,)),
    ]
)
assert HISTOGRAM.fields is not None
assert HISTOGRAM.fields["counts"][1] == 64 and HISTOGRAM.itemsize % 64 == 0

REGION = 127
"""Region under which blocks of `HISTOGRAM` records are registered for the checked variant."""

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99_9": 99.9, "p99_99": 99.99}


class LatencyError(ValueError):
    """Histograms that cannot be combined, or a histogram file that cannot be written."""


# ---------------------------------------------------------------- recording

_header = accessors("histogram", HISTOGRAM, REGION)
_ONE, _EIGHT = np.uint64(1), np.uint64(8)
_WORD_BITS = np.uint64(64)
_MASK = np.uint64((1 << _SUB_BUCKET_BITS) - 1)
_BITS, _HALF = np.uint64(_SUB_BUCKET_BITS), np.uint64(_HALF_BITS)
_TOP = np.uint64(TRACKABLE_NS)
_FIRST_COUNT = np.uint64(HISTOGRAM.fields["counts"][1])


@leaf
def bucket_index(value_ns):
    """Index into ``counts`` of a value of at most `TRACKABLE_NS`; both are ``uint64``."""
    bucket = _WORD_BITS - leading_zeros(value_ns | _MASK) - _BITS
    return (bucket << _HALF) + (value_ns >> bucket)


@leaf
def record(histogram, value_ns):
    """Count one value, ``uint64`` ns, in the `HISTOGRAM` record at address ``histogram``."""
    kept = value_ns if value_ns <= _TOP else _TOP
    total = _header.total_count(histogram) + _ONE
    _header.set_total_count(histogram, total)
    # The checked variant refuses a store through a bad address, which then reads back as zero;
    # in the other variant the compiler sees that this always holds and drops the comparison.
    if _header.total_count(histogram) == total:
        lowest, highest = _header.min(histogram), _header.max(histogram)
        first = total == _ONE
        _header.set_min(histogram, value_ns if first or value_ns < lowest else lowest)
        _header.set_max(histogram, value_ns if value_ns > highest else highest)
        _header.set_sum(histogram, _header.sum(histogram) + kept)
        over = _header.overflow(histogram) + np.uint64(value_ns > _TOP)
        _header.set_overflow(histogram, over)
        slot = histogram + _FIRST_COUNT + bucket_index(kept) * _EIGHT
        store_u64(slot, load_u64(slot) + _ONE)


@entry
def record_values(histogram, values_ns):
    """Count every value of a ``uint64`` array in the record at address ``np.uint64(histogram)``."""
    for value_ns in values_ns:
        record(histogram, value_ns)


# ---------------------------------------------------------------- reading


@cache
def lowest_equivalent() -> np.ndarray:
    """Smallest value of each bucket, ``int64[COUNTS]`` ns."""
    index = np.arange(COUNTS, dtype=np.int64)
    bucket = np.maximum((index >> _HALF_BITS) - 1, 0)
    values = (index - (bucket << _HALF_BITS)) << bucket
    values.flags.writeable = False
    return values


@cache
def highest_equivalent() -> np.ndarray:
    """Largest value of each bucket, ``int64[COUNTS]`` ns: what a percentile reports."""
    values = np.append(lowest_equivalent()[1:], TRACKABLE_NS + 1) - 1
    values.flags.writeable = False
    return values


def to_hdr(histogram: np.void) -> HdrHistogram:
    """The `hdrh` histogram that recording each value into it would have given.

    Percentiles, minimum, maximum, total and the encoded form all agree.  Values above
    `TRACKABLE_NS`, which `hdrh` would refuse, stand in the top bucket.
    """
    hdr = HdrHistogram(LOWEST_NS, HIGHEST_NS, SIGNIFICANT_DIGITS)
    hdr.total_count = int(histogram["total_count"])
    if hdr.total_count:
        np.frombuffer(hdr.counts, np.uint64)[:] = histogram["counts"]
        hdr.min_value = min(int(histogram["min"]), TRACKABLE_NS)
        hdr.max_value = min(int(histogram["max"]), TRACKABLE_NS)
    return hdr


def percentile(histogram: np.void, percent: float) -> int | None:
    """Value in ns that ``percent`` of the recorded ones do not exceed; None of nothing.

    It is the upper edge of its bucket, at most 0.1 % high, and equals `hdrh`'s answer.
    """
    total = int(histogram["total_count"])
    if not total:
        return None
    target = max(int(percent * total / 100 + 0.5), 1)
    reached = np.searchsorted(np.cumsum(histogram["counts"]), np.uint64(target))
    return int(highest_equivalent()[reached])


def summary(histogram: np.void) -> dict[str, int | float | None]:
    """``count, min, p50, p90, p99, p99_9, p99_99, max, mean, stddev``, in ns; null of nothing.

    As in HdrHistogram the minimum and maximum are the edges of their buckets, so that no percentile
    exceeds the maximum; a maximum beyond the last bucket is given exactly.  The mean is exact, the
    deviation from it is that of the buckets' middles.
    """
    total = int(histogram["total_count"])
    if not total:
        names = ("min", *PERCENTILES, "max", "mean", "stddev")
        return {"count": 0, **dict.fromkeys(names, None)}
    counts = histogram["counts"]
    used = np.flatnonzero(counts)
    lowest, highest = lowest_equivalent(), highest_equivalent()
    mean = int(histogram["sum"]) / total
    middle = (lowest[used] + highest[used] + 1) // 2
    variance = float(np.average((middle - mean) ** 2, weights=counts[used].astype(np.float64)))
    return {
        "count": total,
        "min": int(lowest[used[0]]),
        **{name: percentile(histogram, percent) for name, percent in PERCENTILES.items()},
        "max": max(int(highest[used[-1]]), int(histogram["max"])),
        "mean": mean,
        "stddev": variance**0.5,
    }


def buckets(histogram: np.void) -> dict[str, list[int]]:
    """The non-empty buckets: ``value_ns``, their upper edges in rising order, and ``count``."""
    used = np.flatnonzero(histogram["counts"])
    return {
        "value_ns": highest_equivalent()[used].tolist(),
        "count": histogram["counts"][used].tolist(),
    }


# ---------------------------------------------------------------- deriving


def interval(later: np.void, earlier: np.void) -> np.void:
    """What was recorded between two snapshots (copies) of one histogram, as a new record.

    The minimum and maximum are exact where the interval set a new one and the edges of their
    buckets otherwise.  Raises `LatencyError` where ``earlier`` is not a snapshot of the same
    histogram from before.
    """
    if np.any(later["counts"] < earlier["counts"]):
        raise LatencyError("not two snapshots of one histogram in order: a count went down")
    between = np.zeros(1, HISTOGRAM)[0]
    for name in ("total_count", "overflow", "sum", "counts"):
        between[name] = later[name] - earlier[name]
    used = np.flatnonzero(between["counts"])
    if used.size:
        new_min = not earlier["total_count"] or later["min"] < earlier["min"]
        between["min"] = later["min"] if new_min else lowest_equivalent()[used[0]]
        new_max = not earlier["total_count"] or later["max"] > earlier["max"]
        edge = np.uint64(highest_equivalent()[used[-1]])
        between["max"] = later["max"] if new_max else min(edge, later["max"])
    return between


def corrected(histogram: np.void, expected_interval_ns: int) -> np.void:
    """A copy corrected for coordinated omission, as `hdrh`'s ``record_corrected_value`` does it.

    Behind each value longer than the expected interval between inputs, the inputs that were held
    up are filled in: ``value - interval, value - 2 * interval, ...`` while positive.  Each bucket's
    values count as its upper edge.  The filled-in values are counted per bucket in closed form, so
    the work is bounded by the number of buckets squared whatever the interval.  Raises
    `LatencyError` where the sum no longer fits 64 bits.
    """
    if expected_interval_ns <= 0:
        raise LatencyError(f"the expected interval must be positive, not {expected_interval_ns} ns")
    result = histogram.copy()
    lowest, highest = lowest_equivalent(), highest_equivalent()
    for source in np.flatnonzero(histogram["counts"]):
        value, count = int(highest[source]), int(histogram["counts"][source])
        if value <= expected_interval_ns:
            continue
        missing = (value - 1) // expected_interval_ns
        # Multiples k of the interval, 1 <= k <= missing, with lowest <= value - k * interval <=
        # highest, for every bucket at or below the source's.
        at_most = np.minimum((value - lowest[: source + 1]) // expected_interval_ns, missing)
        at_least = -((highest[: source + 1] - value) // expected_interval_ns)
        filled = np.maximum(at_most - np.maximum(at_least, 1) + 1, 0)
        filled_sum = missing * value - expected_interval_ns * missing * (missing + 1) // 2
        total_sum = int(result["sum"]) + filled_sum * count
        if total_sum >= 2**64:
            raise LatencyError(
                f"an expected interval of {expected_interval_ns} ns fills in more waiting than 64"
                " bits of ns hold; take a longer one"
            )
        result["sum"] = total_sum
        result["total_count"] += np.uint64(missing * count)
        result["counts"][: source + 1] += filled.astype(np.uint64) * np.uint64(count)
        result["min"] = min(int(result["min"]), value - missing * expected_interval_ns)
    return result


# ---------------------------------------------------------------- files

_NAME = re.compile(r"[A-Za-z0-9_.-]+")


def _checked_name(name: str) -> str:
    """Names become file names and log tags, which end at a comma."""
    if not _NAME.fullmatch(name):
        raise LatencyError(f"histogram name {name!r}: use letters, digits, '_', '.' and '-' only")
    return name


def _unwritable(path: Path, error: OSError) -> LatencyError:
    reason = error.strerror or str(error)
    return LatencyError(f"{path}: cannot write the histogram: {reason}; name another file")


def write_hgrm(path: str | Path, histograms: Mapping[str, np.void]) -> list[Path]:
    """Write percentile distributions as HdrHistogram's plotters read them; values in ns.

    The plotters take one distribution a file, with the file's name as its legend.  So one histogram
    goes to ``path`` itself, and several go beside it: ``out.hgrm`` gives ``out.<name>.hgrm`` each.
    Returns the paths written.
    """
    path = Path(path)
    written = []
    for name, histogram in histograms.items():
        _checked_name(name)
        target = path
        if len(histograms) > 1:
            target = path.with_name(f"{path.stem}.{name}{path.suffix or '.hgrm'}")
        try:
            with target.open("wb") as file:
                to_hdr(histogram).output_percentile_distribution(file, 1.0)
        except OSError as error:
            raise _unwritable(target, error) from None
        written.append(target)
    return written


@dataclass(frozen=True)
class Interval:
    """Histograms of one stretch of a run; start and end in ns since the Unix epoch."""

    start_ns: int
    end_ns: int
    histograms: Mapping[str, np.void]


class _TaggedLogWriter(HistogramLogWriter):
    """`hdrh`'s writer with what it lacks: tags, start times, and maxima below 1 ms."""

    log: TextIO

    def output_start_time(self, start_time_msec: float) -> None:
        # Rounded up it would lie behind the first interval, which readers would leave out then.
        start_s = math.floor(start_time_msec) / 1e3
        self.output_comment(f"[StartTime: {start_s:.3f} (seconds since epoch)]")

    def output_tagged(self, tag: str, start_s: float, length_s: float, hdr: Any) -> None:
        max_ms = hdr.get_max_value() / 1e6
        payload = hdr.encode().decode("ascii")
        self.log.write(f"Tag={tag},{start_s:f},{length_s:f},{max_ms:f},{payload}\n")


def write_hlog(path: str | Path, intervals: Iterable[Interval]) -> int:
    """Write an interval log, one line per interval and histogram, tagged with its name.

    Format 1.2: values in ns, time stamps in seconds since the epoch, maxima in ms.  Returns the
    number of lines.  `hdrh.log.HistogramLogReader` and HdrHistogram's tools read it.
    """
    lines = 0
    try:
        with Path(path).open("w", encoding="ascii") as file:
            writer = _TaggedLogWriter(file)
            writer.output_log_format_version()
            writer.output_comment("[tickpath latency histograms, values in ns, Interval_Max in ms]")
            for number, each in enumerate(intervals):
                if number == 0:
                    writer.output_start_time(each.start_ns / 1e6)
                    writer.output_legend()
                length_s = (each.end_ns - each.start_ns) / 1e9
                for name, histogram in each.histograms.items():
                    tag, hdr = _checked_name(name), to_hdr(histogram)
                    writer.output_tagged(tag, each.start_ns / 1e9, length_s, hdr)
                    lines += 1
    except OSError as error:
        raise _unwritable(Path(path), error) from None
    return lines
