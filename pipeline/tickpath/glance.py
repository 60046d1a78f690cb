"""Glancing at the packets that wait behind the one under way, so that cache misses overlap.

A small packet ends before `tickpath.lookahead` gets anywhere within it.  Where a transport has lent
several at once, the packet `FIRST` behind is glanced at for its orders' slots, and the next one for
what those point to.  Only the plain frame is recognised (Ethernet, IPv4 without options, UDP,
MoldUDP64); for others nothing is fetched.  Nothing is changed, counted or decided.  A packet that
was lent alone is not delayed: there is nothing behind it.  The glance is no part of a packet's tick
to order: it happens before the packet under way is stamped as lent.
"""

import numpy as np

from tickpath import frame, lookahead, span
from tickpath.jit import leaf
from tickpath.lent import packet
from tickpath.memory import lend_run
from tickpath.packet import LINK_ETHERNET

ZERO, ONE = np.uint64(0), np.uint64(1)
MOST = np.uint64(8)
"""Messages of a packet that are glanced at; in larger packets `lookahead` does better."""
FIRST = np.uint64(2)
"""Packets between the first glance and the packet's turn; the second is at its predecessor's."""
_ETHERNET = np.uint64(LINK_ETHERNET)
_HEADERS = frame.PLAIN_LENGTH + span.MOLD_HEADER


@leaf
def _messages_of(p):
    """Where the messages of a plain packet begin; 0 for any other."""
    address, length = packet.address(p), packet.length(p)
    lend_run(address, address + length)
    if packet.link(p) != _ETHERNET or length < _HEADERS + lookahead.BYTES:
        return ZERO
    return address + _HEADERS if frame.is_plain(address) else ZERO


@leaf
def _first_glance(eng, p):
    m, end = _messages_of(p), packet.address(p) + packet.length(p)
    seen = ZERO
    while m != ZERO and seen < MOST and m + lookahead.BYTES <= end:
        lookahead.fetch(eng, m + span.PREFIX)
        m += span.of_mold(m)
        seen += ONE


@leaf
def _second_glance(eng, p):
    m, end = _messages_of(p), packet.address(p) + packet.length(p)
    seen = ZERO
    while m != ZERO and seen < MOST and m + lookahead.BYTES <= end:
        lookahead.fetch_more(eng, m + span.PREFIX)
        m += span.of_mold(m)
        seen += ONE


@leaf
def behind(eng, packets, at, number):
    """Glance at the packets behind number ``at`` of ``number`` lent ones."""
    if at + FIRST < number:
        _first_glance(eng, packets + (at + FIRST) * packet.SIZE)
    if at + ONE < number:
        _second_glance(eng, packets + (at + ONE) * packet.SIZE)
