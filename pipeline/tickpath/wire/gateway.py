"""Our own protocol between the nodes of a group and the order gateway, over TCP.

A frame is a big-endian length, which counts the message alone, the CRC-32 of the message, and the
message.  A node begins with `hello` and gets `welcome` or `not_welcome`; nothing else is said
before.  The gateway's answers to hand-overs come in their order.

    hello          who the node is, what it runs, and the first answer and outcome that it wants
    hand_over      bytes of the order stream from ``order_position`` on: order messages, each behind
                   a 2-byte length; none at all tells of an epoch and nothing else
    accepted       what of a hand-over was new is recorded, and on its way to the exchange
    refused        nothing of a hand-over was taken; with the highest epoch and the position
    confirmed      for the nodes that do not send: the order stream is known up to this position
    answer         a message of the exchange, by the session's own sequence number
    outcome        what became of an order message that no answer of the exchange will tell of; it
                   stands behind the answer ``after_sequence``
    session_state  whether orders reach the exchange now, and where everything stands
    ask            wants a `session_state`, with its ``request`` number; an ``epoch`` that is higher
                   than all before is on the disk before the answer: no older node hands over then
    heartbeat      a sign of life from either side; the gateway gives a node's number back

Sequences, outcomes, epochs and input numbers count from 1; 0 is none so far.
"""

from enum import IntEnum

from tickpath.wire.table import Message, Protocol

VERSION = 1
NO_POSITION = (1 << 64) - 1
"""The position of a message that is not of the order stream."""


class Refusal(IntEnum):
    """Why nothing of a hand-over was taken."""

    STALE_EPOCH = 1  # a higher epoch has been seen: whoever sent this must stop
    EPOCH_OF_ANOTHER = 2  # another node was the first to use this epoch
    POSITION_AHEAD = 3  # bytes between the gateway's position and this one are missing
    DIVERGED = 4  # the gateway has other bytes at this position
    TAIL_GONE = 5  # the position lies before what is kept, so nobody can compare
    MALFORMED = 6  # not whole order messages behind their lengths, or epoch 0
    SESSION_DOWN = 7  # the session is not up, and the configuration says refuse
    NOT_DURABLE = 8  # the gateway's file cannot be written


class NotWelcome(IntEnum):
    """Why a node's hello was not taken; the connection ends."""

    VERSION = 1  # it speaks another version of this protocol
    UNKNOWN_NODE = 2  # its name is not configured, or comes from another address
    TOO_MANY = 3  # as many nodes as are allowed are connected
    BUILD = 4  # it runs another build than the group
    CONFIGURATION = 5
    STRATEGY = 6
    LAYOUT = 7
    ANSWERS_GONE = 8  # the answers that it wants are not kept any more
    AHEAD = 9  # it has answers or outcomes that this gateway has never given
    NOT_DURABLE = 10  # what the group runs could not be written down


class Outcome(IntEnum):
    """What became of an order message that the exchange says nothing of."""

    # Never sent
    MALFORMED = 1
    NOT_READY = 2
    THROTTLED = 3
    QUEUE_FULL = 4
    LINE_LOST = 5
    TOO_MANY_OPEN = 6
    STOPPED = 7
    NUMBER_USED = 8  # an order with this number, or a higher one, was sent before
    GATEWAY_STOPPED = 9  # the gateway was stopped between taking it and sending it
    # Sent, and never answered
    NEVER_RECEIVED = 32
    UNKNOWN = 33
    CANCELED_UNSEEN = 34


class Session(IntEnum):
    """Whether orders reach the exchange."""

    DOWN = 1  # not connected, not logged in, or what was sent before is being settled
    UP = 2
    ENDED = 3  # for good
    BROKEN = 4  # the gateway's file cannot be written: nothing is taken any more


ENUMS = {
    "refusal": {str(each.value): each.name.lower() for each in Refusal},
    "not_welcome": {str(each.value): each.name.lower() for each in NotWelcome},
    "outcome": {str(each.value): each.name.lower() for each in Outcome},
    "session": {str(each.value): each.name.lower() for each in Session},
}

FRAME = Message("", "frame", 8, (("length", "u32"), ("checksum", "u32")))
"""Before every message."""

_TYPE = ("message_type", "ascii:1")
_STATE = (
    ("session_state", "u8", "session"),
    ("session", "ascii:10"),
    ("highest_epoch", "u64"),
    ("holder", "ascii:16"),
    ("order_position", "u64"),
    ("input_number", "u64"),
    ("next_answer", "u64"),
    ("next_outcome", "u64"),
    ("next_number", "u64"),
)
"""``holder`` is the node that was the first to use the epoch; ``input_number`` that of the last
hand-over that was taken; ``next_number`` the lowest that a new order may have (OUCH 4.2: that its
token may spell), 0 before the session was up."""

GATEWAY = Protocol(
    "gateway",
    (
        Message(
            "H",
            "hello",
            163,
            (
                _TYPE,
                ("version", "u16"),
                ("node", "ascii:16"),
                ("next_answer", "u64"),
                ("next_outcome", "u64"),
                ("build", "bytes:32"),
                ("configuration", "bytes:32"),
                ("strategy", "bytes:32"),
                ("layout", "bytes:32"),
            ),
        ),
        Message(
            "O",
            "hand_over",
            25,
            (
                _TYPE,
                ("epoch", "u64"),
                ("order_position", "u64"),
                ("input_number", "u64"),
                ("messages", "bytes:*"),
            ),
        ),
        Message("Q", "ask", 17, (_TYPE, ("request", "u64"), ("epoch", "u64"))),
        Message("B", "heartbeat", 9, (_TYPE, ("number", "u64"))),
        Message("W", "welcome", 86, (_TYPE, ("version", "u16"), ("first_answer", "u64"), *_STATE)),
        Message(
            "N",
            "not_welcome",
            2,
            (_TYPE, ("reason", "u8", "not_welcome"), ("detail", "ascii:*")),
        ),
        Message("A", "accepted", 17, (_TYPE, ("epoch", "u64"), ("order_position", "u64"))),
        Message("C", "confirmed", 17, (_TYPE, ("epoch", "u64"), ("order_position", "u64"))),
        Message(
            "R",
            "refused",
            34,
            (
                _TYPE,
                ("reason", "u8", "refusal"),
                ("epoch", "u64"),
                ("refused_position", "u64"),
                ("highest_epoch", "u64"),
                ("order_position", "u64"),
            ),
        ),
        Message("X", "answer", 9, (_TYPE, ("sequence", "u64"), ("payload", "bytes:*"))),
        Message(
            "Y",
            "outcome",
            26,
            (
                _TYPE,
                ("number", "u64"),
                ("after_sequence", "u64"),
                ("order_position", "u64"),
                ("reason", "u8", "outcome"),
                ("payload", "bytes:*"),
            ),
        ),
        Message(
            "S",
            "session_state",
            84,
            (_TYPE, ("request", "u64"), *_STATE, ("detail", "ascii:*")),
        ),
    ),
    ENUMS,
)
