"""What an account can ask for, the same for both versions of OUCH.

A ``key`` names an order on its port: the UserRefNum of 5.0, the token of 4.2 (its bytes).
Quantities are those of the messages: the shares of an order's whole chain of replacements, those
already executed among them.  ``problem`` is the reject reason of what was wrong with the message
itself, in the words of OUCH 5.0's enumeration.
"""

from typing import NamedTuple

Key = int | bytes
NO_PROBLEM = ""


class Life(NamedTuple):
    """How long an order stays: ``code`` as on the wire, its end in exchange time, 0 for none."""

    code: bytes | int
    is_immediate: bool = False
    seconds: int = 0
    """Seconds that it lives (4.2); 0: as long as the day."""
    until_s: int = 0
    """Second of the day at which it ends (5.0); 0: with the day."""


class Enter(NamedTuple):
    """A new order, with all that is only repeated in the answers."""

    key: Key
    side: bytes
    quantity: int
    stock: bytes
    price: int
    life: Life
    display: bytes
    capacity: bytes
    sweep: bytes
    cross_type: bytes
    clordid: bytes = b""
    firm: bytes = b""
    customer_type: bytes = b" "
    min_quantity: int = 0
    max_floor: int = 0
    is_post_only: bool = False
    options: bytes = b""
    problem: str = NO_PROBLEM


class Replace(NamedTuple):
    """Another order in the place of ``original``."""

    original: Key
    key: Key
    quantity: int
    price: int
    life: Life
    display: bytes
    sweep: bytes
    clordid: bytes = b""
    min_quantity: int = 0
    max_floor: int = 0
    is_post_only: bool = False
    options: bytes = b""
    problem: str = NO_PROBLEM


class Cancel(NamedTuple):
    """Fewer shares, or none."""

    key: Key
    quantity: int


class Modify(NamedTuple):
    """Another kind of sell, or fewer shares, without loss of place."""

    key: Key
    side: bytes
    quantity: int


class Query(NamedTuple):
    """Which UserRefNum comes next?"""


class TradeNow(NamedTuple):
    """Trade a hidden order that could (4.2)."""

    key: Key


Request = Enter | Replace | Cancel | Modify | Query | TradeNow


class OwnOrder:
    """An order as its port knows it, live or not.

    ``asked`` is what was asked for, with the values of the last replacement; ``executed`` counts
    the whole chain of replacements, ``leaves`` what is open, ``standing`` is the price at which it
    stands.  ``previous`` is the order it replaced.
    """

    __slots__ = (
        "asked", "cancel_to", "executed", "expires_ns", "key", "leaves", "locate", "previous",
        "ref", "side", "standing",
    )  # fmt: skip

    def __init__(self, asked: Enter, locate: int, previous: "OwnOrder | None" = None) -> None:
        self.key, self.asked, self.locate = asked.key, asked, locate
        self.side, self.standing = asked.side, asked.price
        self.ref = self.leaves = self.expires_ns = 0
        self.executed: int = previous.executed if previous else 0
        self.previous = previous.key if previous else asked.key
        self.cancel_to: int | None = None
        """Shares that a cancel leaves which is to be done later."""

    def describe(self, stock: str) -> dict[str, object]:
        """The order for people and for reconciliation."""
        key = self.key if isinstance(self.key, int) else self.key.decode("latin-1").rstrip()
        return {
            "key": key,
            "clordid": self.asked.clordid.decode("latin-1").rstrip(),
            "symbol": stock,
            "side": self.side.decode("latin-1"),
            "price": self.standing,
            "leaves_qty": self.leaves,
            "cum_qty": self.executed,
            "order_reference_number": self.ref,
        }
