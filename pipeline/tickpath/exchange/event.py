"""What matching did: one value each, in the order in which it happened.

Quantities are shares, prices 1e-4 dollars, ``locate`` the symbol's stock locate, ``owner`` the
number of an account, 0 for the anonymous background.  ``ref`` is a day-unique order reference.
``shown`` is what the market sees of an order: all of it, the displayed part of a reserve order, or
0 for a hidden one.
"""

from typing import NamedTuple

from tickpath.exchange.reason import Reason, Why
from tickpath.exchange.terms import Terms

BUY, SELL = 0, 1
ANONYMOUS = 0


class Accepted(NamedTuple):
    """An order was taken in; what became of it follows."""

    ref: int
    owner: int
    locate: int
    side: int
    quantity: int
    price: int


class Rested(NamedTuple):
    """What was left of an order joined the book, at the end of its queue."""

    ref: int
    owner: int
    locate: int
    side: int
    quantity: int
    shown: int
    price: int
    attribution: bytes


class Executed(NamedTuple):
    """A trade of the order ``ref``, which was there first, with an incoming one.

    ``leaves`` are those after it.  ``resting_price`` is what the market saw the order at, which is
    the price of the trade but for recorded ones.
    """

    match_number: int
    locate: int
    quantity: int
    price: int
    ref: int
    owner: int
    side: int
    is_shown: bool
    leaves: int
    incoming_ref: int
    incoming_owner: int
    incoming_leaves: int
    resting_price: int
    is_printable: bool


class Canceled(NamedTuple):
    """``quantity`` shares left an order without a trade, ``shown`` of them seen by the market.

    ``is_resting`` is False for what never reached the book.
    """

    ref: int
    owner: int
    locate: int
    quantity: int
    leaves: int
    shown: int
    why: Why
    is_resting: bool


class Replaced(NamedTuple):
    """An order became another one.

    ``is_kept``: only its size went down, so reference and place in the queue stay.  ``is_carried``:
    the new order joined a queue at once, and the market sees it as it saw the old one.  Where it is
    neither, the old one is gone and trades follow, a `Rested` or a `Canceled`, as after `Accepted`.
    ``old_shown`` is what the market saw of the old order, ``shown`` what it sees of a carried one.
    """

    old_ref: int
    ref: int
    owner: int
    locate: int
    side: int
    quantity: int
    price: int
    old_shown: int
    shown: int
    is_kept: bool
    is_carried: bool


class Repriced(NamedTuple):
    """An order that stood aside moved to a better price: a new reference, the end of the queue."""

    old_ref: int
    ref: int
    owner: int
    locate: int
    side: int
    shown: int
    leaves: int
    price: int
    terms: Terms


class Refreshed(NamedTuple):
    """A reserve order shows its next part: a new reference, the end of the queue."""

    old_ref: int
    ref: int
    owner: int
    locate: int
    side: int
    shown: int
    leaves: int
    price: int
    terms: Terms


class Prevented(NamedTuple):
    """An order was removed because it would have traded ``quantity`` with its owner at ``price``.

    ``removed`` shares left it, ``shown`` of them seen; ``is_resting`` as in `Canceled`.
    """

    ref: int
    owner: int
    locate: int
    removed: int
    shown: int
    quantity: int
    price: int
    is_resting: bool


class Rejected(NamedTuple):
    """A request that changed nothing."""

    owner: int
    locate: int
    reason: Reason


class Broken(NamedTuple):
    """A trade was undone, for a reason in OUCH's codes; its orders are not put back."""

    match_number: int
    locate: int
    quantity: int
    price: int
    ref: int
    owner: int
    side: int
    incoming_ref: int
    incoming_owner: int
    reason: str


class Listed(NamedTuple):
    """A symbol that the market has not been told of yet."""

    locate: int


class StateChanged(NamedTuple):
    """A symbol's trading state, in ITCH's codes."""

    locate: int
    state: str
    cause: str


Event = (
    Accepted
    | Rested
    | Executed
    | Canceled
    | Replaced
    | Refreshed
    | Repriced
    | Prevented
    | Rejected
    | Broken
    | Listed
    | StateChanged
)
