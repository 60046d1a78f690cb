"""Wire tables for the hot path: one load and one store per field of a message.

``add = message(ITCH50["add_order_no_mpid_attribution"])`` gives a namespace: ``add.shares(m)`` is
the field's integer (prices unscaled, text of up to eight bytes as the big-endian number its bytes
spell), ``add.set_shares(m, value)`` writes it, ``add.LENGTH`` is the message's length and
``add.TYPE`` its type code, both ``uint64``.  Fields longer than eight bytes have their offset,
``add.FIRM_OFFSET`` style, for `memory.copy_bytes`.
"""

import types as python_types
from typing import Any

import numpy as np

from tickpath.memory import RUN_REGION, wire_load, wire_store
from tickpath.wire.table import Field, Message


def _load(each: Field, message: Message, length: int):
    # Text compares as the big-endian number its bytes spell, whatever the protocol's byte order.
    big = message.order == "big" or not each.is_integer
    return wire_load(each.size * 8, each.offset, big, length)


def message(layout: Message, length: int | None = None) -> python_types.ModuleType:
    """Loads and stores for every field of ``layout`` that is at most eight bytes wide.

    ``length`` is what there is of the message at least, where its end may be missing.
    """
    length = layout.length if length is None else length
    space: Any = python_types.ModuleType(layout.name)
    space.LENGTH = np.uint64(layout.length)
    space.TYPE = np.uint64(ord(layout.type) if layout.type else 0)
    for each in layout.fields:
        setattr(space, each.name.upper() + "_OFFSET", np.uint64(each.offset))
        if each.size not in (1, 2, 4, 6, 8):
            continue
        setattr(space, each.name, _load(each, layout, length))
        if each.size != 6:
            big = layout.order == "big" or not each.is_integer
            setattr(space, "set_" + each.name, wire_store(each.size * 8, each.offset, big))
    return space


def peek(layout: Message, name: str, first: int = 0, size: int | None = None):
    """A load of one field for framing and look-ahead, where the message may be a shorter one.

    ``first`` and ``size`` choose bytes of a text field that is wider than a register.  The checked
    variant holds the load to the run of messages instead of to the message.
    """
    each = layout[name]
    big = layout.order == "big" or not each.is_integer
    size = each.size if size is None else size
    begin = each.offset + first
    return wire_load(size * 8, begin, big, begin + size, RUN_REGION)
