"""Where a message ends and the next begins: in MoldUDP64 behind a length, in PITCH with its own."""

import numpy as np

from tickpath.jit import cold, leaf
from tickpath.layout import LineKind
from tickpath.wire.hot import peek
from tickpath.wire.moldudp64 import MOLDUDP64
from tickpath.wire.pitch241 import PITCH241

ZERO, ONE = np.uint64(0), np.uint64(1)
_UNIT = np.uint64(LineKind.UNIT)
MOLD_HEADER = np.uint64(MOLDUDP64["downstream_packet"].length)
UNIT_HEADER = np.uint64(PITCH241["sequenced_unit_header"].length)
PREFIX = np.uint64(MOLDUDP64["message_block"].length)
"""Bytes that say a MoldUDP64 message's length, in front of it."""
LEAST = np.uint64(PITCH241["time"]["message_type"].offset + 1)
"""Bytes that say a PITCH message's length and type."""

mold_length = peek(MOLDUDP64["message_block"], "message_length")
pitch_length = peek(PITCH241["time"], "message_length")


@leaf
def of_mold(at):
    """Bytes of a message and of its length in front of it."""
    return PREFIX + mold_length(at)


@leaf
def of_pitch(at):
    """Bytes from one message to the next; a length that cannot be is as good as any."""
    return max(pitch_length(at), LEAST)


@cold
def is_whole(kind, at, end, number):
    """Whether a datagram has the messages that its header says, and nothing else."""
    is_unit = kind == _UNIT
    at += UNIT_HEADER if is_unit else MOLD_HEADER
    seen = ZERO
    while seen < number and at + PREFIX <= end:
        at += of_pitch(at) if is_unit else of_mold(at)
        seen += ONE
    return seen == number and at == end
