"""Book operations by order reference, over a store that knows where a reference's order is.

`over` makes the operations for one store, so that each venue's are compiled with its own and the
choice costs nothing.  A store offers ``find``, ``open_slot``, ``keep``, ``give_up``, ``drop`` and
``age_of`` (`tickpath.order_store` for references that rise one by one, `tickpath.sparse_store` for
any).

Operations never fail: what cannot be applied has a counter and a stated outcome.

    unknown reference         ignored
    reference already live    the new order is ignored, the old one stays
    more than is left         executed or cancelled to zero, the order goes
    zero shares               ignored; a replace or modification to zero removes the order
    store or level full       the new order is left out
    another book's order      counted, and the order decides which book it is
"""

import types as python_types
from typing import Any

import numpy as np

from tickpath import book, order_store, sparse_store
from tickpath.counters import Counter
from tickpath.jit import cold, leaf
from tickpath.layout import count, level, order, side

ZERO, ONE = np.uint64(0), np.uint64(1)
ANY = np.uint64((1 << 64) - 1)
"""Instead of a book, where messages do not name one."""
_UNKNOWN = np.uint64(Counter.UNKNOWN_ORDER_REF)
_DUPLICATE = np.uint64(Counter.DUPLICATE_ORDER_REF)
_MISMATCH = np.uint64(Counter.SYMBOL_MISMATCH)
_ZERO_QUANTITY = np.uint64(Counter.ZERO_QUANTITY)
_CLEARED = np.uint64(Counter.ORDERS_CLEARED)
_STORE_FULL = np.uint64(Counter.ORDER_STORE_FULL)


@cold
def _refuse(eng, why):
    """Nothing happens, and that is counted."""
    count(eng, why)
    return ZERO


@leaf
def check_symbol(eng, slot, book_index):
    """Count a message whose book is not its order's; the order decides."""
    if book_index != ANY and book.side_of_order(eng, slot) >> ONE != book_index:
        count(eng, _MISMATCH)


def over(store: python_types.ModuleType, compiled: Any) -> python_types.ModuleType:
    """The operations over one store; ``compiled`` is how books change in them (`jit`)."""
    space: Any = python_types.ModuleType(f"{store.__name__}.orders")
    find, drop = store.find, store.drop

    @compiled
    def leave(eng, slot, ref):
        """An order leaves its book; its slot is still its own."""
        return book.remove(eng, slot, ref)

    @leaf
    def take(eng, entry, slot, ref):
        """Remove an order that was found."""
        happened = leave(eng, slot, ref)
        drop(eng, entry, slot)
        return happened

    @leaf
    def delete(eng, book_index, ref):
        """Remove an order."""
        entry, slot = find(eng, ref)
        if slot == ZERO:
            return _refuse(eng, _UNKNOWN)
        check_symbol(eng, slot, book_index)
        return take(eng, entry, slot, ref)

    @leaf
    def reduce_found(eng, entry, slot, ref, by, excess):
        """`reduce` of an order that was found."""
        if by == ZERO:
            return _refuse(eng, _ZERO_QUANTITY)
        quantity = order.quantity(order.at(eng, slot))
        if by >= quantity:
            if by > quantity:
                count(eng, excess)
            return take(eng, entry, slot, ref)
        return book.reduce(eng, slot, ref, by)

    @leaf
    def reduce(eng, book_index, ref, by, excess):
        """Take shares off an order that was executed or cancelled in part.

        ``excess`` is the counter for more shares than the order has left.
        """
        entry, slot = find(eng, ref)
        if slot == ZERO:
            return _refuse(eng, _UNKNOWN)
        check_symbol(eng, slot, book_index)
        return reduce_found(eng, entry, slot, ref, by, excess)

    @leaf
    def resize_found(eng, entry, slot, ref, quantity):
        """Give an order that was found another quantity, in its place in the queue."""
        if quantity == ZERO:
            return take(eng, entry, slot, ref)
        return book.resize(eng, slot, ref, quantity)

    @leaf
    def clear(eng, book_index):
        """Take all orders out of a book; behind `sparse_store.note_refs`, where they are sparse."""
        for sd in range(book_index + book_index, book_index + book_index + ONE + ONE):
            s = side.at(eng, sd)
            while side.best(s) != ZERO:
                slot = level.head(level.at(eng, side.best(s)))
                ref = order_store.ref_of(eng, slot)
                entry, _ = find(eng, ref)
                take(eng, entry, slot, ref)
                count(eng, _CLEARED)

    @leaf
    def price_of(eng, ref):
        """Resting price of a live order; 0 where the reference is unknown."""
        _, slot = find(eng, ref)
        return book.price_of_order(eng, slot)

    space.find, space.age_of, space.leave = find, store.age_of, leave
    space.take, space.delete, space.price_of = take, delete, price_of
    space.clear = clear
    space.reduce, space.reduce_found, space.resize_found = reduce, reduce_found, resize_found
    _add_entering(space, store, compiled)
    return space


def _add_entering(space: Any, store: python_types.ModuleType, compiled: Any) -> None:
    """Those of the operations by which orders come to a place at the end of a queue."""
    find, open_slot, keep = store.find, store.open_slot, store.keep
    give_up, drop = store.give_up, store.drop
    take, leave = space.take, space.leave

    @compiled
    def enter(eng, sd, price, quantity, ref, slot):
        """An order comes to its book, in a slot that is its own."""
        return book.add(eng, sd, price, quantity, ref, slot)

    @leaf
    def add(eng, sd, price, quantity, ref):
        """A new order at the end of its level's queue."""
        if quantity == ZERO:
            return _refuse(eng, _ZERO_QUANTITY)
        entry, slot = open_slot(eng, ref)
        if entry == ZERO:
            return _refuse(eng, _STORE_FULL)
        if order.level(order.at(eng, slot)) != ZERO:
            return _refuse(eng, _DUPLICATE)
        happened = enter(eng, sd, price, quantity, ref, slot)
        if happened == ZERO:
            give_up(eng, entry, slot)
            return ZERO
        keep(eng, entry, slot, ref)
        return happened

    @leaf
    def replace(eng, book_index, ref, new_ref, price, quantity):
        """Remove an order and add its replacement at the end of the queue, on the same side.

        The flag is set where the best price or its quantity is another than before.
        """
        entry, slot = find(eng, ref)
        if slot == ZERO:
            return _refuse(eng, _UNKNOWN)
        check_symbol(eng, slot, book_index)
        sd = book.side_of_order(eng, slot)
        best_px, best_sz = book.touch(eng, side.at(eng, sd))
        take(eng, entry, slot, ref)
        add(eng, sd, price, quantity, new_ref)
        return book.moved(eng, sd, best_px, best_sz)

    @leaf
    def requeue_found(eng, entry, slot, ref, price, quantity):
        """As `replace`, of an order that was found and keeps its reference, and so its slot."""
        sd = book.side_of_order(eng, slot)
        best_px, best_sz = book.touch(eng, side.at(eng, sd))
        leave(eng, slot, ref)
        happened = ZERO
        if quantity != ZERO:
            happened = enter(eng, sd, price, quantity, ref, slot)
        else:
            count(eng, _ZERO_QUANTITY)
        if happened != ZERO:
            keep(eng, entry, slot, ref)
        else:
            drop(eng, entry, slot)
        return book.moved(eng, sd, best_px, best_sz)

    space.add, space.replace, space.requeue_found = add, replace, requeue_found


dense = over(order_store, leaf)
"""For references that rise one by one: Nasdaq's."""
sparse = over(sparse_store, cold)
"""For any references: Cboe's.  Not inlined, because that would double the time to compile."""
