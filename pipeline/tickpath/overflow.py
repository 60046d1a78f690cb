"""Price levels outside a side's window: stub quotes, sub-penny prices, levels far from the touch.

One tree a side, ordered by price key (price, complemented on the offer side, so that larger is
better).  It is a treap whose priorities are a hash of the price key: its shape depends on the set
of prices alone, and its expected depth is logarithmic.  Node ``n`` belongs to level ``far0 + n``,
which has the same `LEVEL` record as a level of the window; node 0 is nobody.  Every function here
is off the common path.
"""

import numpy as np

from tickpath.jit import cold, leaf
from tickpath.layout import engine, far, side

ZERO, ONE = np.uint64(0), np.uint64(1)
_MIX, _MIX_AGAIN = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)
_HIGH = np.uint64(32)


@leaf
def _priority(node):
    # One multiplication is not enough: evenly spaced prices would get rising priorities where
    # their distance is a Fibonacci number, and the tree would be a list.
    mixed = (far.price_key(node) + ONE) * _MIX
    return ((mixed ^ (mixed >> _HIGH)) * _MIX_AGAIN) >> _HIGH


@cold
def _rotate_up(eng, sd, n):
    """Exchange node ``n`` with its parent, keeping the order of keys."""
    node = far.at(eng, n)
    p = far.parent(node)
    above = far.at(eng, p)
    g = far.parent(above)
    if far.left(above) == n:
        inner = far.right(node)
        far.set_left(above, inner)
        far.set_right(node, p)
    else:
        inner = far.left(node)
        far.set_right(above, inner)
        far.set_left(node, p)
    if inner != ZERO:
        far.set_parent(far.at(eng, inner), p)
    far.set_parent(above, n)
    far.set_parent(node, g)
    _replace_child(eng, sd, g, p, n)


@leaf
def _replace_child(eng, sd, parent, old, new):
    if parent == ZERO:
        side.set_far_root(side.at(eng, sd), new)
    else:
        above = far.at(eng, parent)
        if far.left(above) == old:
            far.set_left(above, new)
        else:
            far.set_right(above, new)


@leaf
def _take_node(eng):
    """A node nobody uses; 0 when there is none."""
    n = engine.far_free(eng)
    if n != ZERO:
        engine.set_far_free(eng, far.next_free(far.at(eng, n)))
    else:
        n = engine.far_fresh(eng)
        if n >= engine.far_count(eng):
            return ZERO
        engine.set_far_fresh(eng, n + ONE)
    engine.set_far_used(eng, engine.far_used(eng) + ONE)
    return n


@cold
def find_or_insert(eng, sd, price_key):
    """The node of a price key on a side, which is made if need be; 0 when the store is full."""
    s = side.at(eng, sd)
    parent, child = ZERO, side.far_root(s)
    while child != ZERO:
        parent = child
        below = far.at(eng, parent)
        key = far.price_key(below)
        if key == price_key:
            return parent
        child = far.right(below) if price_key > key else far.left(below)
    n = _take_node(eng)
    if n == ZERO:
        return ZERO
    node = far.at(eng, n)
    far.set_price_key(node, price_key)
    far.set_side(node, sd)
    far.set_left(node, ZERO)
    far.set_right(node, ZERO)
    far.set_parent(node, parent)
    if parent == ZERO:
        side.set_far_root(s, n)
    elif price_key > far.price_key(far.at(eng, parent)):
        far.set_right(far.at(eng, parent), n)
    else:
        far.set_left(far.at(eng, parent), n)
    while far.parent(node) != ZERO and _priority(far.at(eng, far.parent(node))) < _priority(node):
        _rotate_up(eng, sd, n)
    best = side.far_best(s)
    if best == ZERO or price_key > far.price_key(far.at(eng, best)):
        side.set_far_best(s, n)
    return n


@leaf
def find(eng, sd, price_key):
    """The node of a price key on a side; 0 where there is none."""
    n = side.far_root(side.at(eng, sd))
    while n != ZERO and far.price_key(far.at(eng, n)) != price_key:
        node = far.at(eng, n)
        n = far.right(node) if price_key > far.price_key(node) else far.left(node)
    return n


@cold
def below(eng, n):
    """The node with the next worse price on the same side, or 0."""
    node = far.at(eng, n)
    child = far.left(node)
    if child != ZERO:
        while far.right(far.at(eng, child)) != ZERO:
            child = far.right(far.at(eng, child))
        return child
    parent = far.parent(node)
    while parent != ZERO and far.left(far.at(eng, parent)) == n:
        n = parent
        parent = far.parent(far.at(eng, n))
    return parent


@cold
def erase(eng, sd, n):
    """Take a node out of its side's tree and give it back."""
    s = side.at(eng, sd)
    if side.far_best(s) == n:
        side.set_far_best(s, below(eng, n))
    node = far.at(eng, n)
    while far.left(node) != ZERO or far.right(node) != ZERO:
        left, right = far.left(node), far.right(node)
        if left == ZERO:
            _rotate_up(eng, sd, right)
        elif right == ZERO:
            _rotate_up(eng, sd, left)
        elif _priority(far.at(eng, left)) > _priority(far.at(eng, right)):
            _rotate_up(eng, sd, left)
        else:
            _rotate_up(eng, sd, right)
    _replace_child(eng, sd, far.parent(node), n, ZERO)
    far.set_next_free(node, engine.far_free(eng))
    engine.set_far_free(eng, n)
    engine.set_far_used(eng, engine.far_used(eng) - ONE)


@leaf
def free_nodes(eng):
    """Nodes that can still be inserted; node 0 is nobody's."""
    return engine.far_count(eng) - ONE - engine.far_used(eng)
