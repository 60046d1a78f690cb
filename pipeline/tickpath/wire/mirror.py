"""Mirroring a ring of inputs on another host: our own datagrams.

A ring is a stream of bytes with positions; the mirror is a ring of the same capacity with the same
bytes at the same positions.  So data needs no borders, what is missing is a range, and who follows
the mirror does it as on the ring's own host.

    join     the receiver wants the stream; ``stream`` is the one that it has, 0 for none;
             ``takes_plan`` is 1 where it takes the feed itself
    start    the sender's answer: the receiver has to begin (again) at ``position``
    data     bytes from ``position`` on
    plan     records from ``position`` on; runs of numbered messages of the market, and pads, as
             their headers only (`replica.plan`)
    beat     where the stream stands, also when nothing happens; ``beats`` rises as long as the
             engine's own loop lives
    nak      the receiver misses ``length`` bytes from ``position`` on
    ack      the receiver has everything before ``position``: records up to ``number``.  The rest is
             what the follower of the same name says of itself in the mirror: records it has taken,
             its echo of a beat, the incarnation and epoch of its state, whether it is ready
    lost     bytes from ``position`` on are not kept any more: the mirror has to begin anew
"""

from tickpath.wire.table import Message, Protocol

VERSION = 2
MAGIC = "TPMR"

_WHO = (
    ("magic", "ascii:4"),
    ("version", "u8"),
    ("message_type", "ascii:1"),
    ("reserved", "u16"),
    ("check", "u32"),  # CRC-32 of all that follows
    ("stream", "u64"),
)
_PLACE = (
    *(("head", "u64"), ("number", "u64"), ("epoch", "u64"), ("beats", "u64")),
    *(("committed", "u64"), ("epoch_began", "u64")),
)

MIRROR = Protocol(
    "mirror",
    (
        Message("J", "join", 45, (*_WHO, ("name", "ascii:24"), ("takes_plan", "u8"))),
        Message("S", "start", 76, (*_WHO, ("position", "u64"), ("capacity", "u64"), *_PLACE[1:])),
        Message("D", "data", 76, (*_WHO, ("position", "u64"), *_PLACE, ("bytes", "bytes:*"))),
        Message("P", "plan", 76, (*_WHO, ("position", "u64"), *_PLACE, ("bytes", "bytes:*"))),
        Message("B", "beat", 68, (*_WHO, *_PLACE)),
        Message("N", "nak", 36, (*_WHO, ("position", "u64"), ("length", "u64"))),
        Message(
            "A",
            "ack",
            76,
            (
                *_WHO,
                *(("position", "u64"), ("number", "u64"), ("taken", "u64"), ("echo", "u64")),
                *(("incarnation", "u64"), ("follower_epoch", "u64"), ("ready", "u64")),
            ),
        ),
        Message("L", "lost", 28, (*_WHO, ("position", "u64"))),
    ),
)
