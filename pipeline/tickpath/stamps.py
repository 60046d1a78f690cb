"""Time stamps of the stages, and the histograms that they are recorded in.

A stage's time is the difference between two reads of the cycle counter; each contains one read's
own cost (`clock.Clock.overhead_ns`).  Stages are stamped on every packet whose number is a multiple
of the configured sample; risk, encode and tick to order are recorded for every order.
"""

import numpy as np

from tickpath.clock import nanoseconds
from tickpath.jit import leaf
from tickpath.latency import record
from tickpath.layout import Stage, engine, histogram
from tickpath.memory import cycles

FRAME, LINE, DECODE, BOOK, STRATEGY, RISK, ENCODE = (
    np.uint64(number) for number in range(len(Stage.NAMES))
)
TICK_TO_ORDER, RESPONSE = np.uint64(Stage.TICK_TO_ORDER), np.uint64(Stage.RESPONSE)
ZERO = np.uint64(0)


@leaf
def start(eng):
    """The next stage begins now."""
    engine.set_stamp(eng, cycles())


@leaf
def _record(eng, stage, delta_cycles):
    ns = nanoseconds(delta_cycles, engine.multiplier(eng), engine.shift(eng))
    record(histogram.at(eng, stage), ns)


@leaf
def stage(eng, which):
    """A stage ended now and the next one begins."""
    now = cycles()
    _record(eng, which, now - engine.stamp(eng))
    engine.set_stamp(eng, now)


@leaf
def order_sent(eng):
    """An order stands in the send buffer: its times from the lent packet and from its due time."""
    now = cycles()
    _record(eng, TICK_TO_ORDER, now - engine.lent_at(eng))
    if engine.paced(eng) != ZERO:
        _record(eng, RESPONSE, now - engine.due_at(eng))
