"""Where the order of a sparse reference is: a hash table from references to slots.

Cboe's order ids are 64-bit numbers with large holes between neighbours, so pages of consecutive
references (`tickpath.order_store`) would hold an order each.  Here a table (open addressing, linear
probing, at most half full) leads from the reference to a slot; slots come from pages of the same
order store, taken whole and never given back, and a slot that became free is the next to be used,
because it is in the cache.  A reference is one of the venue whose run is under way: nothing keeps
two venues from using one number.

Invariants: an entry with slot 0 is empty; an entry's slot is live from `keep` to `drop`; at most
half of the entries are used, so every probe ends.  Exhaustion: `open_slot` gives entry 0, the
caller counts and leaves the order out.  Worst case: probes are as long as the longest run of
entries, which references chosen by an adversary could make; an exchange is none.
"""

import numpy as np

from tickpath import order_store
from tickpath.digest import HOT_C1
from tickpath.jit import cold, leaf
from tickpath.layout import PAGE, PAGE_BITS, engine, order, sparse_entry, sparse_order
from tickpath.memory import prefetch

ZERO, ONE = np.uint64(0), np.uint64(1)
_BITS = np.uint64(PAGE_BITS)
_MASK = np.uint64(PAGE - 1)


@leaf
def _home(eng, ref, venue):
    # The high bits of the product depend on all bits of the reference.
    return ((ref + venue) * HOT_C1) >> engine.sparse_shift(eng)


@leaf
def _mask(eng):
    return engine.sparse_entry_count(eng) - ONE


@leaf
def fetch(eng, ref):
    """Bring the entry of a reference close."""
    prefetch(sparse_entry.at(eng, _home(eng, ref, engine.run_venue(eng))))


@leaf
def _probe(eng, ref):
    """The reference's entry, or the empty one where it would be."""
    venue = engine.run_venue(eng)
    at = _home(eng, ref, venue)
    entry = sparse_entry.at(eng, at)
    while sparse_entry.slot(entry) != ZERO:
        if sparse_entry.ref(entry) == ref and sparse_entry.venue(entry) == venue:
            break
        at = (at + ONE) & _mask(eng)
        entry = sparse_entry.at(eng, at)
    return entry


@cold
def _fresh_slot(eng):
    """A slot that was never used; 0 where no page is left."""
    slot = engine.sparse_fresh(eng)
    if slot & _MASK == ZERO:
        page = order_store.take_page(eng, order_store.SPARSE)
        if page == ZERO:
            return ZERO
        slot = page << _BITS
    engine.set_sparse_fresh(eng, slot + ONE)
    return slot


@leaf
def _take_slot(eng):
    slot = engine.sparse_free(eng)
    if slot == ZERO:
        return _fresh_slot(eng)
    engine.set_sparse_free(eng, order.next(order.at(eng, slot)))
    return slot


@leaf
def _free_slot(eng, slot):
    order.set_next(order.at(eng, slot), engine.sparse_free(eng))
    engine.set_sparse_free(eng, slot)


@leaf
def _erase(eng, entry):
    """Take an entry out and close the gap that it leaves."""
    mask = _mask(eng)
    hole = (entry - sparse_entry.at(eng, ZERO)) // sparse_entry.SIZE
    at = hole
    while True:
        at = (at + ONE) & mask
        following = sparse_entry.at(eng, at)
        if sparse_entry.slot(following) == ZERO:
            break
        home = _home(eng, sparse_entry.ref(following), sparse_entry.venue(following))
        # An entry may move back into the hole only if that does not pass its home.
        if ((at - home) & mask) >= ((at - hole) & mask):
            target = sparse_entry.at(eng, hole)
            sparse_entry.set_ref(target, sparse_entry.ref(following))
            sparse_entry.set_slot(target, sparse_entry.slot(following))
            sparse_entry.set_venue(target, sparse_entry.venue(following))
            hole = at
    sparse_entry.set_slot(sparse_entry.at(eng, hole), ZERO)


# ---------------------------------------------------------------- what every store offers


@leaf
def find(eng, ref):
    """(entry, slot) of a live order; slot 0 where there is none."""
    entry = _probe(eng, ref)
    return entry, sparse_entry.slot(entry)


@leaf
def open_slot(eng, ref):
    """(entry, slot) for an order to be; entry 0 where there is no room, a live slot where it is."""
    entry = _probe(eng, ref)
    slot = sparse_entry.slot(entry)
    if slot != ZERO:
        return entry, slot
    # Half of the table stays empty.
    if engine.sparse_live(eng) >= engine.sparse_entry_count(eng) >> ONE:
        return ZERO, ZERO
    slot = _take_slot(eng)
    if slot == ZERO:
        return ZERO, ZERO
    engine.set_sparse_live(eng, engine.sparse_live(eng) + ONE)
    sparse_entry.set_ref(entry, ref)
    sparse_entry.set_slot(entry, slot)
    sparse_entry.set_venue(entry, engine.run_venue(eng))
    return entry, slot


@leaf
def keep(eng, entry, slot, ref):
    """The slot that was opened has its order now."""
    # Whose turn is before ours matters once there was an order of ours; until then, all have age 0
    # and a cache line less is written for each.
    if engine.user_ref_num(eng) == ZERO:
        return
    age = engine.sparse_age(eng) + ONE
    engine.set_sparse_age(eng, age)
    sparse_order.set_age(sparse_order.at(eng, slot), age)


@leaf
def give_up(eng, entry, slot):
    """The slot that was opened gets no order."""
    drop(eng, entry, slot)


@leaf
def drop(eng, entry, slot):
    """The slot's order has left."""
    _erase(eng, entry)
    _free_slot(eng, slot)
    engine.set_sparse_live(eng, engine.sparse_live(eng) - ONE)


@cold
def note_refs(eng):
    """Write every live order's reference to its slot, for who goes through slots (`ref_of`).

    Nobody on the hot path does: there an order costs no line of memory for that.
    """
    if engine.sparse_live(eng) == ZERO:
        return
    for at in range(engine.sparse_entry_count(eng)):
        entry = sparse_entry.at(eng, np.uint64(at))
        slot = sparse_entry.slot(entry)
        if slot != ZERO:
            sparse_order.set_ref(sparse_order.at(eng, slot), sparse_entry.ref(entry))


@leaf
def age_of(eng, ref, slot):
    """A number that is larger for later orders."""
    return sparse_order.age(sparse_order.at(eng, slot))
