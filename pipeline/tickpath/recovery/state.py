"""Where a line stands: a closed set of states, each with its meaning."""

from enum import Enum


class State(Enum):
    """A line is in one of these; books are good in `SYNCHRONISED` only."""

    UNKNOWN = "nothing has come on the line yet"
    BACKFILL = "the line was joined late: what came before is being asked for"
    SYNCHRONISED = "every message has come, in order"
    GAP_FILL = "messages that all lines lost are being asked for; later ones are held"
    SNAPSHOT = "a snapshot is being fetched; live messages are held for it"
    STALE = "messages could not be had: the gap is declared, and the line's books are stale"


class Refusal(Enum):
    """Why a server does not send what it was asked for, by what follows from it."""

    OUT_OF_RANGE = "the server does not have these messages: nobody asks it again for this hole"
    SECOND = "the quota of the second is used up: asked again when the second is over"
    MINUTE = "the quota of the minute is used up: asked again when the minute is over"
    DAY = "the quota of the day is used up: the server is not asked again"
    COUNT = "too many messages in one request: asked for fewer from now on"
    INVALID_UNIT = "the server does not know the unit: it is not asked again"
    UNAVAILABLE = "the server cannot serve now: the next one is asked"
