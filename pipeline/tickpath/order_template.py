"""What is constant of an order message, encoded once: one record per kind of message.

A session's encoder (`tickpath.ouch`, `boe`, `fix`) fills the records when a session starts; the hot
path copies a record's ``bytes`` and writes the changing fields into the copy.  Where a field stands
can depend on the session (BOE has optional fields in front of the price, FIX has names of any
length), so the record says where: offsets into ``bytes``, 0 for a field that the message has not.
"""

from enum import IntEnum

import numpy as np

HEAD_LENGTH = 256
"""Room for what is constant, and for fields of a constant length."""
TAIL_LENGTH = 36
"""Room for what stands behind the fields of variable length, in FIX."""

TEMPLATE = np.dtype(
    [
        ("length", "<u4"),  # of what is constant; 0: this protocol has no such message
        ("sum", "<u4"),  # FIX: of the bytes that never change
        ("cl_ord_id", "<u2"),
        ("orig_cl_ord_id", "<u2"),
        ("side", "<u2"),
        ("ord_type", "<u2"),
        ("order_qty", "<u2"),
        ("price", "<u2"),
        ("symbol", "<u2"),
        ("reserved", "<u2"),
        ("reserved2", "<u4"),
        ("bytes", f"V{HEAD_LENGTH}"),
        ("tail", f"V{TAIL_LENGTH}"),
    ]
)
assert TEMPLATE.itemsize == 320, "a template is five cache lines"


class OrderProtocol(IntEnum):
    """The codes by which hot code chooses an order protocol."""

    OUCH50 = 0
    OUCH42 = 1
    BOE23 = 2
    FIX44 = 3


class OrderMessage(IntEnum):
    """The kinds of order message: the place of each kind's record among a session's templates."""

    ENTER = 0
    REPLACE = 1
    CANCEL = 2
    MODIFY = 3


class OrderSessionError(ValueError):
    """A session's constants that the protocol does not have or that do not fit its messages."""
