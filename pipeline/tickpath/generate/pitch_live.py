"""The orders that are live, found by the market's reference: an open-addressing table.

At most half of the slots are taken, whatever the session's length, so a search ends after a few.
Removing an order moves back what had to go past it, so that no tombstones pile up.
"""

import numpy as np

from tickpath.generate.draw import GOLDEN
from tickpath.generate.pitch_state import live, translation
from tickpath.generate.state import inner
from tickpath.jit import leaf

_ZERO, _ONE = np.uint64(0), np.uint64(1)


@leaf
def _home(t, reference):
    return (reference * GOLDEN) >> translation.live_shift(t)


@inner
def find(t, reference):
    """The order's record; 0 where there is none."""
    mask, slot = translation.live_mask(t), _home(t, reference)
    while True:
        record = live.at(t, slot)
        kept = live.reference(record)
        if kept == reference:
            return record
        if kept == _ZERO:
            return _ZERO
        slot = (slot + _ONE) & mask


@inner
def insert(t, reference, order_id, price, shares):
    """Keep a new order; there is always a free slot."""
    mask, slot = translation.live_mask(t), _home(t, reference)
    while live.reference(live.at(t, slot)) != _ZERO:
        slot = (slot + _ONE) & mask
    record = live.at(t, slot)
    live.set_reference(record, reference)
    live.set_order_id(record, order_id)
    live.set_price(record, price)
    live.set_shares(record, shares)


@inner
def remove(t, record):
    """Forget an order; its record, and those behind it, may be another's afterwards."""
    mask = translation.live_mask(t)
    hole = (record - live.at(t, _ZERO)) // live.SIZE
    slot = hole
    while True:
        slot = (slot + _ONE) & mask
        moved = live.at(t, slot)
        reference = live.reference(moved)
        if reference == _ZERO:
            break
        # It may stand in the hole if the hole is not before the slot where its search begins.
        if (slot - _home(t, reference)) & mask >= (slot - hole) & mask:
            free = live.at(t, hole)
            live.set_reference(free, reference)
            live.set_order_id(free, live.order_id(moved))
            live.set_price(free, live.price(moved))
            live.set_shares(free, live.shares(moved))
            hole = slot
    live.set_reference(live.at(t, hole), _ZERO)
