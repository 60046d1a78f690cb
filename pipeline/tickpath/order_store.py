"""Where the order of a reference is: pages of consecutive references, opened and recycled.

A venue hands out references in rising order, so orders are stored by reference in pages of `PAGE`
slots; a directory (open addressing, linear probing) maps page numbers to pages.  A page whose last
order leaves goes back to the free list, so a day of several hundred million references needs
memory for those pages only that hold a live order.  Any 64-bit reference works.

Invariants: a slot whose level is 0 is dead; page 0 does not exist, so slot 0 is nobody's; an entry
with page 0 is empty; the directory has at least twice as many entries as there are pages, so every
probe ends.  Exhaustion: `open_page` gives 0, the caller counts and leaves the order out.
"""

import numpy as np

from tickpath.jit import cold, leaf
from tickpath.layout import PAGE, PAGE_BITS, engine, order, page_entry, page_owner, sparse_order

_BITS = np.uint64(PAGE_BITS)
_MASK = np.uint64(PAGE - 1)
_FOLD = np.uint64(24)
SPARSE = np.uint64((1 << 64) - 1)
"""Number of a page whose orders do not follow each other (`tickpath.sparse_store`)."""
ZERO, ONE = np.uint64(0), np.uint64(1)


@leaf
def _home(eng, number):
    # Consecutive pages get consecutive entries, which share cache lines; the fold spreads sparse
    # references.
    return (number ^ (number >> _FOLD)) & engine.page_mask(eng)


@leaf
def entry_of(eng, ref):
    """Address of the directory entry of the reference's page; its `page` is 0 where it has none."""
    number = ref >> _BITS
    at = _home(eng, number)
    entry = page_entry.at(eng, at)
    while page_entry.page(entry) != ZERO and page_entry.number(entry) != number:
        at = (at + ONE) & engine.page_mask(eng)
        entry = page_entry.at(eng, at)
    return entry


@leaf
def slot_of(entry, ref):
    """Slot of the reference in its page (of slots that nobody uses, when the page is 0)."""
    return (page_entry.page(entry) << _BITS) | (ref & _MASK)


@leaf
def take_page(eng, number):
    """A page that nobody has, for the references of a number; 0 when all are taken."""
    page = engine.page_free(eng)
    if page != ZERO:
        engine.set_page_free(eng, page_owner.next_free(page_owner.at(eng, page)))
    else:
        page = engine.page_fresh(eng)
        if page >= engine.page_owner_count(eng):
            return ZERO
        engine.set_page_fresh(eng, page + ONE)
    page_owner.set_number(page_owner.at(eng, page), number)
    return page


@cold
def _open_page(eng, ref):
    """Give the reference's page a place; its directory entry's address, 0 when all are taken."""
    number = ref >> _BITS
    page = take_page(eng, number)
    if page == ZERO:
        return ZERO
    entry = entry_of(eng, ref)
    page_entry.set_number(entry, number)
    page_entry.set_page(entry, page)
    page_entry.set_live(entry, ZERO)
    engine.set_page_entries(eng, engine.page_entries(eng) + ONE)
    return entry


@cold
def _close_page(eng, entry):
    """Take back a page without live orders and close the gap that its entry leaves."""
    page = page_entry.page(entry)
    owner = page_owner.at(eng, page)
    page_owner.set_next_free(owner, engine.page_free(eng))
    engine.set_page_free(eng, page)
    engine.set_page_entries(eng, engine.page_entries(eng) - ONE)
    mask = engine.page_mask(eng)
    hole = (entry - page_entry.at(eng, ZERO)) // page_entry.SIZE
    at = hole
    while True:
        at = (at + ONE) & mask
        following = page_entry.at(eng, at)
        if page_entry.page(following) == ZERO:
            break
        home = _home(eng, page_entry.number(following))
        # An entry may move back into the hole only if that does not pass its home.
        if ((at - home) & mask) >= ((at - hole) & mask):
            target = page_entry.at(eng, hole)
            page_entry.set_number(target, page_entry.number(following))
            page_entry.set_page(target, page_entry.page(following))
            page_entry.set_live(target, page_entry.live(following))
            hole = at
    page_entry.set_page(page_entry.at(eng, hole), ZERO)


# ---------------------------------------------------------------- what every store offers


@leaf
def find(eng, ref):
    """(directory entry, slot) of a live order; slot 0 where there is none."""
    entry = entry_of(eng, ref)
    slot = slot_of(entry, ref)
    if page_entry.page(entry) == ZERO or order.level(order.at(eng, slot)) == ZERO:
        return entry, ZERO
    return entry, slot


@leaf
def open_slot(eng, ref):
    """(entry, slot) for an order to be; entry 0 where there is no room, a live slot where it is."""
    entry = entry_of(eng, ref)
    if page_entry.page(entry) == ZERO:
        entry = _open_page(eng, ref)
    return entry, slot_of(entry, ref) if entry != ZERO else ZERO


@leaf
def keep(eng, entry, slot, ref):
    """The slot that was opened has its order now."""
    engine.set_newest_ref(eng, ref)
    page_entry.set_live(entry, page_entry.live(entry) + ONE)


@leaf
def give_up(eng, entry, slot):
    """The slot that was opened gets no order: leave no empty page behind."""
    if page_entry.live(entry) == ZERO:
        _close_page(eng, entry)


@leaf
def drop(eng, entry, slot):
    """The slot's order has left."""
    live = page_entry.live(entry) - ONE
    page_entry.set_live(entry, live)
    if live == ZERO:
        _close_page(eng, entry)


@leaf
def age_of(eng, ref, slot):
    """A number that is larger for later orders."""
    return ref


# ---------------------------------------------------------------- of any slot


@leaf
def ref_of(eng, slot):
    """The reference of a live slot, from its page's owner; see `sparse_store.note_refs`."""
    number = page_owner.number(page_owner.at(eng, slot >> _BITS))
    if number == SPARSE:
        return sparse_order.ref(sparse_order.at(eng, slot))
    return (number << _BITS) | (slot & _MASK)
