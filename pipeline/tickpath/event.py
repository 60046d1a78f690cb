"""What a message did, as the strategy is told: kind, flags and book in one number.

bits 0-31 book index    bits 32-39 kind    bits 40-47 flags        0: nothing to tell
"""

import numpy as np

BOOK = 1
"""An order was added, reduced, removed or replaced."""
TRADE = 2
"""An execution or a trade; the book may have changed with it."""
STATUS = 3
"""Trading state, auction, system event, directory or another message about the symbol."""
STALE = 4
"""A gap was declared: the books may be wrong from here on (book 0: all of them)."""
TIMER = 5
"""Engine time passed the next multiple of the timer's interval (book 0)."""
ORDER = 6
"""Something happened to an order of our own: see `tickpath.view.order_event_kind` and its like."""
COMMAND = 7
"""An operator's command was applied (book 0)."""

LAST = 1
"""Last message of its packet.  How messages are packed is the sender's choice: a strategy that
decides by this flag is not reproducible over another packing of the same messages."""
TOP = 2
"""The best price or the quantity there changed on the message's side."""
BROKEN = 4
"""A trade that was reported earlier is void."""

KIND_SHIFT, FLAG_SHIFT = np.uint64(32), np.uint64(40)
BOOK_MASK, BYTE_MASK = np.uint64(0xFFFFFFFF), np.uint64(0xFF)
HOT_BOOK = np.uint64(BOOK << 32)
HOT_TRADE = np.uint64(TRADE << 32)
BOOK_INTO_TRADE = HOT_BOOK ^ HOT_TRADE
HOT_STATUS = np.uint64(STATUS << 32)
HOT_STALE = np.uint64(STALE << 32)
HOT_TIMER = np.uint64(TIMER << 32)
HOT_ORDER = np.uint64(ORDER << 32)
HOT_COMMAND = np.uint64(COMMAND << 32)
HOT_LAST = np.uint64(LAST << 40)
HOT_BROKEN = np.uint64(BROKEN << 40)
TOP_SHIFT = np.uint64(41)
"""An operation's result (1 where the top changed) shifted by this is the flag `TOP`."""
