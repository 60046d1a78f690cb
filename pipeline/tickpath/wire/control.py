"""Operator commands: our own messages, inputs of the engine like any other.

Every command says who gave it and why.  `timestamp` is engine time: nanoseconds since the venue's
midnight; a command moves engine time on like a market message does.  Text is padded with spaces.
A symbol is one that has a book already, or a table of its own in the configuration.

    kill         level 0 resets, 1 lets only reducing orders pass, 2 stops; `scope` G everything,
                 S the strategy, B the book of `symbol`
    limit        sets a number of `Limit` for a symbol, for every symbol (blank), or of the engine
                 as a whole (blank too); `expires` is the engine time at which it goes back, 0 for
                 never.  A collar that is set goes before that of the price's band; locates are
                 those of books
    position     what a symbol's position and cash (1e-4) are, where somebody knows better
    day_roll     a new day: the day's totals, rates and engine time begin anew, limits that expire
                 go back, positions stay, last prices become closes
    clock        nothing but time: what is due by it happens
    cancel_all   cancels for our own open orders of a symbol, or of all (blank), a bounded number
                 at a time: given again until none is left
"""

from enum import IntEnum

from tickpath.wire.table import Message, Protocol

_WHO = (
    ("message_type", "ascii:1"),
    ("timestamp", "u64"),
    ("who", "ascii:16"),
    ("why", "ascii:32"),
)


class Limit(IntEnum):
    """Limits that can be changed while the engine runs; from 101 on those of the whole engine."""

    MAX_QUANTITY = 1
    MAX_NOTIONAL = 2
    MAX_LONG = 3
    MAX_SHORT = 4
    MAX_OPEN_ORDERS = 5
    MAX_DAILY_QUANTITY = 6
    MAX_DAILY_NOTIONAL = 7
    MAX_LOSS = 8
    ALLOWED = 9
    COLLAR_BP = 10
    COLLAR_PX = 11
    LOCATE = 12
    TOTAL_MAX_OPEN_ORDERS = 101
    TOTAL_MAX_GROSS = 102
    TOTAL_MAX_NET = 103
    TOTAL_MAX_DAILY_QUANTITY = 104
    TOTAL_MAX_DAILY_NOTIONAL = 105
    TOTAL_MAX_LOSS = 106


ENUMS = {
    "scope": {"G": "everything", "S": "strategy", "B": "book"},
    "level": {"0": "reset", "1": "reduce_only", "2": "stop"},
    "limit": {str(each.value): each.name.lower() for each in Limit},
}

CONTROL = Protocol(
    "control",
    (
        Message(
            "K",
            "kill",
            67,
            (*_WHO, ("scope", "ascii:1", "scope"), ("level", "u8", "level"), ("symbol", "ascii:8")),
        ),
        Message(
            "L",
            "limit",
            83,
            (
                *_WHO,
                ("symbol", "ascii:8"),
                ("limit", "u16", "limit"),
                ("value", "u64"),
                ("expires", "u64"),
            ),
        ),
        Message(
            "P",
            "position",
            81,
            (*_WHO, ("symbol", "ascii:8"), ("quantity", "i64"), ("cash", "i64")),
        ),
        Message("D", "day_roll", 57, _WHO),
        Message("T", "clock", 57, _WHO),
        Message("C", "cancel_all", 65, (*_WHO, ("symbol", "ascii:8"))),
    ),
    ENUMS,
)
