"""The cycle counter as a clock: how many cycles a nanosecond has, and what a reading costs.

Stages are stamped with `memory.cycles`, a register read.  `calibrate` measures that counter against
CLOCK_MONOTONIC_RAW, which no daemon slews, over `CALIBRATION_NS`; nothing about the counter is
assumed but that it runs at a constant rate, so the TSC of x86 (a few GHz) and the generic timer of
aarch64 (CNTVCT_EL0, often 25 MHz to 1 GHz) both serve.  On the latter a step of the counter may be
40 ns: `Clock.step_ns` says so, and no latency below it means anything.

Hot code converts with one multiplication: ``ns = cycles * multiplier >> shift`` in ``uint64``.  The
multiplier has `MULTIPLIER_BITS` significant bits, so rounding it costs a relative error of at most
2**-23 (1.2e-7), and a delta of up to 2**41 cycles (`Clock.max_delta_cycles`; 9 minutes at 4 GHz)
does not overflow.  The worst case is a counter that is not invariant (`Clock.invariant` False): the
calibration then holds only while the frequency stays what it was.
"""

import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numba import types

from tickpath.jit import entry, leaf
from tickpath.latency import HISTOGRAM, REGION, record, summary
from tickpath.memory import cycles, load_u64, register, unregister

CALIBRATION_NS = 40_000_000
MULTIPLIER_BITS = 23
READS = 4096
"""Reads, one after another, from which the timer's own cost is taken."""
BLOCK = 64
STEP_FIT = 0.99
STEP_NEAR = 24
"""Steps in the longest delta that is judged: a step that is no whole number strays further out."""
STEP_FEWEST = 64
MAX_STEP_CYCLES = 256
PAIRS = 512
"""Readings of both clocks at either end of the calibration, of which the tightest is used."""
MAX_JITTER_MS = 600_000

_MONOTONIC_RAW = np.int32(4)
_FEWEST_NS_A_READ = 0.25
_INVARIANT_FLAGS = ("constant_tsc", "nonstop_tsc")


class ClockError(RuntimeError):
    """A cycle counter that cannot serve as a clock."""


@dataclass(frozen=True)
class Clock:
    """The cycle counter's rate and cost, as measured."""

    cycles_per_ns: float
    multiplier: int  # ns = cycles * multiplier >> shift
    shift: int
    overhead_cycles: int  # of one read, which every stamped stage contains
    overhead_ns: float
    step_cycles: int  # the counter shows multiples of this only (give or take one)
    step_ns: float
    uncertainty: float  # relative, of cycles_per_ns: how far apart the two clocks were read
    invariant: bool | None  # whether the rate survives frequency changes and idle; None: unknown

    @property
    def max_delta_cycles(self) -> int:
        """Largest delta that `nanoseconds` converts without overflow."""
        return (2**64 - 1) // self.multiplier

    def nanoseconds(self, delta_cycles: int) -> int:
        """Nanoseconds of a delta, exactly as hot code computes them; any delta is allowed."""
        return delta_cycles * self.multiplier >> self.shift

    def cycles(self, delta_ns: float) -> int:
        """Cycles that fit into ``delta_ns``."""
        return int(delta_ns * self.cycles_per_ns)

    def as_dict(self) -> dict[str, Any]:
        """For results: every field by name."""
        return asdict(self)


@leaf
def nanoseconds(delta_cycles, multiplier, shift):
    """Nanoseconds of a cycle delta up to `Clock.max_delta_cycles`; all are ``uint64``."""
    return (delta_cycles * multiplier) >> shift


@entry
def now_cycles():
    """The cycle counter, for Python."""
    return cycles()


# ---------------------------------------------------------------- calibration

_clock_gettime = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.uint64))
_BILLION, _EIGHT = np.uint64(1_000_000_000), np.uint64(8)


@entry
def _read_pairs(timespec, pairs):
    """Fill ``pairs[n, 3]`` with (cycles before, CLOCK_MONOTONIC_RAW ns, cycles after)."""
    for n in range(len(pairs)):
        pairs[n, 0] = cycles()
        _clock_gettime(_MONOTONIC_RAW, timespec)
        pairs[n, 2] = cycles()
        pairs[n, 1] = load_u64(timespec) * _BILLION + load_u64(timespec + _EIGHT)


@entry
def _read_back_to_back(reads):
    """Fill an array with the counter, one read after another."""
    for n in range(len(reads)):
        reads[n] = cycles()


@entry
def _read_with_delays(reads):
    """Fill an array with the counter, each read after a little more or less work than the last."""
    work = np.uint64(1)
    for n in range(len(reads)):
        for _ in range((n * 37) & 1023):
            work = work * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
        reads[n] = cycles()
    return work  # without a use of it the compiler would drop the work


def _tightest(pairs: np.ndarray) -> tuple[float, int, int]:
    """(cycles, ns, width in cycles) of the pair whose two counter reads are closest."""
    timespec = np.zeros(2, np.uint64)
    _read_pairs(np.uint64(timespec.ctypes.data), pairs)
    width = (pairs[:, 2] - pairs[:, 0]).astype(np.int64)
    best = int(np.argmin(np.where(width < 0, np.iinfo(np.int64).max, width)))
    before, ns, after = (int(each) for each in pairs[best])
    return (before + after) / 2, ns, after - before


def _rate(calibration_ns: int) -> tuple[float, float]:
    """(cycles per ns, its relative uncertainty), from two readings ``calibration_ns`` apart."""
    pairs = np.zeros((PAIRS, 3), np.uint64)
    start_cycles, start_ns, start_width = _tightest(pairs)
    # Spinning keeps a counter that stops in idle states running, and the core at its usual speed.
    while time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW) - start_ns < calibration_ns:
        pass
    end_cycles, end_ns, end_width = _tightest(pairs)
    elapsed_cycles, elapsed_ns = end_cycles - start_cycles, end_ns - start_ns
    if elapsed_cycles <= 0:
        raise ClockError(
            f"the cycle counter went {elapsed_cycles:.0f} cycles in {elapsed_ns} ns: this processor"
            " or hypervisor does not offer it; latencies cannot be measured here"
        )
    return elapsed_cycles / elapsed_ns, (start_width + end_width) / 2 / elapsed_cycles


def _fixed_point(cycles_per_ns: float) -> tuple[int, int]:
    """(multiplier, shift) with multiplier / 2**shift closest to ns per cycle."""
    _, exponent = math.frexp(1 / cycles_per_ns)
    shift = MULTIPLIER_BITS - exponent
    multiplier = round(math.ldexp(1 / cycles_per_ns, shift))
    if not 0 <= shift < 64:
        raise ClockError(f"the cycle counter runs at {cycles_per_ns:g} cycles per ns: not a clock")
    return multiplier, shift


def _overhead() -> float:
    """Cycles that one read takes: the median over blocks of `BLOCK` reads of the mean in a block.

    The mean in a block sees below the counter's step; the median leaves out interrupts.
    """
    reads = np.zeros(READS, np.uint64)
    _read_back_to_back(reads)
    edges = reads[::BLOCK].astype(np.int64)
    return float(np.median(np.diff(edges))) / BLOCK


def _step(reads: np.ndarray) -> int:
    """The step of the counter: the largest that `STEP_FIT` of uneven deltas are multiples of.

    One cycle either way is let pass: AMD's TSC advances in steps of its 100 MHz reference and adds
    1 where two reads fall into one step, and a scaled step need not be a whole number of cycles.
    """
    deltas = np.diff(reads).astype(np.int64)
    deltas = deltas[deltas >= 0]
    largest = min(MAX_STEP_CYCLES, int(np.median(deltas)) // 2) if deltas.size else 0
    for step in range(largest, 3, -1):
        near = deltas[deltas <= STEP_NEAR * step]
        beside = near % step
        fits = np.minimum(beside, step - beside) <= 1
        if near.size >= STEP_FEWEST and np.mean(fits) >= STEP_FIT:
            return step
    return int(np.gcd.reduce(deltas, initial=0)) or 1


def _is_invariant(cpuinfo: str) -> bool | None:
    """What /proc/cpuinfo says of the TSC; None where it has no x86 ``flags`` line."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            flags = value.split()
            return all(flag in flags for flag in _INVARIANT_FLAGS)
    return None


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""


def calibrate(calibration_ns: int = CALIBRATION_NS) -> Clock:
    """Measure the cycle counter: about `CALIBRATION_NS` (40 ms) of spinning.

    Raises `ClockError` where the counter stands still or runs at no usable rate.
    """
    cycles_per_ns, uncertainty = _rate(calibration_ns)
    multiplier, shift = _fixed_point(cycles_per_ns)
    overhead_cycles = _overhead()
    reads = np.zeros(READS // 4, np.uint64)
    _read_with_delays(reads)
    step_cycles = _step(reads)
    return Clock(
        cycles_per_ns=cycles_per_ns,
        multiplier=multiplier,
        shift=shift,
        overhead_cycles=round(overhead_cycles),
        overhead_ns=overhead_cycles / cycles_per_ns,
        step_cycles=step_cycles,
        step_ns=step_cycles / cycles_per_ns,
        uncertainty=uncertainty,
        invariant=_is_invariant(_cpuinfo()),
    )


# ---------------------------------------------------------------- jitter

JITTER_THRESHOLDS_NS = (1_000, 10_000, 100_000, 1_000_000)
_STOLEN_NS = np.uint64(JITTER_THRESHOLDS_NS[0])


@entry
def _spin(histogram, thresholds_ns, over, duration_cycles, max_reads, multiplier, shift):
    """Record the gap between successive reads until ``duration_cycles`` passed.

    ``over[n]`` counts the gaps above ``thresholds_ns[n]``.  Returns (cycles passed, ns that gaps
    above the first threshold took).
    """
    start = cycles()
    previous, stolen_ns = start, np.uint64(0)
    for _ in range(max_reads):
        now = cycles()
        gap_ns = nanoseconds(now - previous, multiplier, shift)
        previous = now
        record(histogram, gap_ns)
        if gap_ns > _STOLEN_NS:
            stolen_ns += gap_ns
            for n in range(len(thresholds_ns)):
                over[n] += np.uint64(gap_ns > thresholds_ns[n])
        if now - start >= duration_cycles:
            break
    return previous - start, stolen_ns


def jitter(milliseconds: float = 100.0, clock: Clock | None = None) -> dict[str, Any]:
    """What the machine takes from a thread that only reads the clock: the floor under every tail.

    Spins for ``milliseconds`` and records each gap from one read to the next, as jHiccup does with
    sleeps.  ``gap_ns`` is the gaps' `latency.summary`, ``gaps_over_ns`` their number above each
    threshold, ``stolen_share`` the part of the time that went in gaps above 1 us (interrupts,
    other threads, the hypervisor).  Raises `ClockError` for a time outside (0, 10 minutes].
    """
    if not 0 < milliseconds <= MAX_JITTER_MS:
        raise ClockError(f"jitter takes more than 0 and at most {MAX_JITTER_MS} ms")
    clock = clock or calibrate()
    block = np.zeros(1, HISTOGRAM)
    thresholds = np.array(JITTER_THRESHOLDS_NS, np.uint64)
    over = np.zeros(len(thresholds), np.uint64)
    address = block.ctypes.data
    register(REGION, block)
    try:
        passed, stolen_ns = _spin(
            np.uint64(address),
            thresholds,
            over,
            np.uint64(clock.cycles(milliseconds * 1e6)),
            np.uint64(milliseconds * 1e6 / _FEWEST_NS_A_READ),
            np.uint64(clock.multiplier),
            np.uint64(clock.shift),
        )
    finally:
        unregister(address, address + block.nbytes)
    elapsed_ns = clock.nanoseconds(int(passed))
    return {
        "milliseconds": elapsed_ns / 1e6,
        "gap_ns": summary(block[0]),
        "gaps_over_ns": {str(ns): int(n) for ns, n in zip(JITTER_THRESHOLDS_NS, over, strict=True)},
        "stolen_share": int(stolen_ns) / elapsed_ns if elapsed_ns else 0.0,
    }
