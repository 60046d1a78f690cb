"""When packets leave in a wire-to-wire measurement: decided beforehand, for an open loop.

A scenario is a time after the start for each packet of the session.  At a rate the gaps are
exponential, as of independent senders, drawn from a seed: the same plan every time.  Bursts are
packets back to back, at intervals.
"""

from dataclasses import dataclass

import numpy as np

from tickpath.bench.plan import SEED

RATE = 20_000
"""Packets a second at 1x, with about one message each: 468 million a day of 6.5 hours, which is
what a direct feed of all US stocks of one venue amounts to on a busy day."""
FACTORS = (1, 2, 8, 10)
BURST_PACKETS, BURST_EVERY_NS = 128, 10_000_000
SECOND_NS = 1_000_000_000


@dataclass(frozen=True)
class Scenario:
    """A named plan; ``rate`` is its mean, in packets a second."""

    name: str
    rate: float
    is_burst: bool = False

    def due_ns(self, packets: int) -> np.ndarray:
        """When each packet is due, uint64 ns after the start, never falling."""
        if self.is_burst:
            of = np.arange(packets, dtype=np.uint64) // np.uint64(BURST_PACKETS)
            return of * np.uint64(BURST_EVERY_NS)
        gaps = np.random.default_rng(SEED).exponential(SECOND_NS / self.rate, packets)
        return np.cumsum(gaps).astype(np.uint64)


def even(rate: float, packets: int) -> np.ndarray:
    """Packets at equal distances, for the search of the rate at which loss begins."""
    return (np.arange(packets) * (SECOND_NS / rate)).astype(np.uint64)


def scenarios() -> list[Scenario]:
    """All of a measurement, slowest first, bursts last."""
    plain = [Scenario(f"{factor}x", float(RATE * factor)) for factor in FACTORS]
    mean = BURST_PACKETS * SECOND_NS / BURST_EVERY_NS
    return [*plain, Scenario("bursts", mean, is_burst=True)]
