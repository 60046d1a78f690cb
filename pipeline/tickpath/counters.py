"""Every anomaly and every kind of traffic has a counter; this is the list of them.

The counters are one array of ``uint64`` in the engine's block; a counter's number is its place
there.  Hot code adds to them, everything else reads them by name.
"""

from enum import IntEnum, auto


class Counter(IntEnum):
    """What is counted.  The names are those of the ``counters`` object in JSON results."""

    # Packets and frames
    PACKETS = 0
    BYTES = auto()  # all bytes lent: the sum of the next three
    BYTES_HEADERS = auto()  # link, network, transport and MoldUDP64 headers of packets taken
    BYTES_MESSAGES = auto()  # message blocks, each with its length prefix
    BYTES_SKIPPED = auto()  # packets passed over, duplicates, and tails that were not messages
    PACKETS_CUT = auto()  # captured shorter than they were on the wire
    LINK_UNKNOWN = auto()
    FRAME_TRUNCATED = auto()
    ETHER_TYPE_OTHER = auto()
    IPV6 = auto()
    IPV4_INVALID = auto()
    IPV4_FRAGMENT = auto()
    TCP = auto()
    IP_PROTOCOL_OTHER = auto()
    UDP_INVALID = auto()
    UDP_OTHER_GROUP = auto()  # not one of the configured feed groups
    # Lines
    MOLD_INVALID = auto()
    MOLD_TRUNCATED = auto()  # a message block that overruns its packet
    MOLD_TRAILING_BYTES = auto()
    HEARTBEATS = auto()
    END_OF_SESSION = auto()
    SESSION_CHANGES = auto()
    DUPLICATE_MESSAGES = auto()
    SEQUENCE_JUMPS = auto()  # packets refused because their sequence number was far ahead
    GAPS = auto()
    GAP_MESSAGES = auto()
    GAPS_NOT_LISTED = auto()  # counted above, but the list of ranges was full
    LINES_FULL = auto()
    PACKETS_REORDERED = auto()  # came too early and waited for those before them
    PACKETS_HELD_DROPPED = auto()  # had to wait, and there was no room
    PACKETS_SECOND = auto()  # of line B or A, after their twins
    BOOKS_RECOVERED = auto()  # were stale, and a snapshot made them good
    SNAPSHOTS = auto()
    UNIT_INVALID = auto()  # datagrams that are no Sequenced Unit packet, or shorter than they say
    UNIT_TRUNCATED = auto()  # packets that ended within a message
    UNIT_TRAILING_BYTES = auto()
    UNIT_UNSEQUENCED = auto()  # packets with messages that have no sequence
    UNIT_TIME_UNKNOWN = auto()  # packets of units whose Time message has not been seen
    UNIT_CLEARS = auto()
    ORDERS_CLEARED = auto()  # by those
    # Decoding
    UNKNOWN_TYPE = auto()
    WRONG_LENGTH = auto()
    MESSAGES_LONGER = auto()  # PITCH of a later revision: what is known of them is read
    SIDE_INVALID = auto()
    SYMBOL_OUT_OF_RANGE = auto()
    SYMBOLS_NOT_LISTED = auto()  # found by number only, and share no position with other venues
    PRICE_OUT_OF_RANGE = auto()  # beyond 429,496.7295: left out
    TIME_BACKWARDS = auto()
    # Books
    UNKNOWN_ORDER_REF = auto()
    DUPLICATE_ORDER_REF = auto()
    SYMBOL_MISMATCH = auto()
    OVER_EXECUTION = auto()
    OVER_CANCEL = auto()
    ZERO_QUANTITY = auto()
    CROSSED_BOOK = auto()
    LOCKED_BOOK = auto()
    ORDER_STORE_FULL = auto()
    LEVEL_STORE_FULL = auto()
    LEVEL_FULL = auto()
    OVERFLOW_ADDS = auto()  # orders whose price lay outside the window: slower, not wrong
    RECENTRES = auto()
    BOOKS_STALE = auto()
    BROKEN_TRADES = auto()
    BROKEN_TRADE_UNKNOWN = auto()
    # Strategy and orders
    STRATEGY_RAISED = auto()
    INTENTS = auto()
    INTENTS_DROPPED = auto()
    ORDERS_SENT = auto()
    ORDERS_REJECTED = auto()
    ASSUMED_FILLS = auto()  # executions that a fill model made up
    ORDERS_WARNED = auto()  # accepted beyond a soft level
    EXECUTIONS = auto()
    EXECUTIONS_REPEATED = auto()  # came before: not applied again
    EXECUTIONS_AFTER_CLOSE = auto()
    EXECUTIONS_OVER_LEAVES = auto()
    EXECUTIONS_BROKEN = auto()
    EXECUTIONS_BROKEN_UNKNOWN = auto()
    RESPONSES = auto()  # messages of the exchange to us
    RESPONSES_UNKNOWN_TYPE = auto()
    RESPONSES_WRONG_LENGTH = auto()
    RESPONSES_UNKNOWN_ORDER = auto()
    RESPONSES_OUT_OF_STATE = auto()  # about an order that was closed or answered already
    REPLACEMENTS_ORPHANED = auto()  # the order to be replaced had ended: closed as rejected
    OWN_EVENTS_DROPPED = auto()
    COMMANDS = auto()
    COMMANDS_INVALID = auto()
    LIMITS_REVERTED = auto()
    REVERTS_FULL = auto()
    AUDIT_LOST = auto()
    TIMERS = auto()
    INPUTS_OVERSIZE = auto()  # a run too long for the ring: followers have lost their place
    INPUTS_REPEATED = auto()  # a record that was followed already
    INPUTS_FENCED = auto()  # a record of an epoch that is over
