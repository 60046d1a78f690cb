"""Why requests are refused, and why shares leave a book without a trade."""

from enum import Enum


class Reason(Enum):
    """Why matching refused a request."""

    SYMBOL = "no such symbol"
    HALTED = "the symbol does not trade now"
    QUANTITY = "not between 1 and 999,999 shares"
    PRICE = "not a price of the venue, or not on its tick"
    MINIMUM = "a minimum quantity that cannot be"
    FLOOR = "a displayed quantity that cannot be"
    DISPLAY = "hidden, post only and immediate do not go together"
    FULL = "the venue holds as many orders as it may"
    ORDER = "no such live order"


class Why(Enum):
    """Why shares left the book without a trade."""

    USER = "its owner asked for it"
    IMMEDIATE = "an immediate order found no more"
    TIMEOUT = "its time in force is over"
    SUPERVISORY = "the venue's staff removed it"
    SYSTEM = "its connection was lost"
    CLOSED = "the day is over"
    SELF_MATCH = "it would have traded with its owner"
    POST_ONLY = "it could only take"
