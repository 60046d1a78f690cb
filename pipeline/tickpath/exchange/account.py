"""Who trades here: an account's limits and habits, and what it holds."""

from typing import Annotated, Literal

from msgspec import Meta

from tickpath.config import Component, Positive

Dollars = Annotated[float, Meta(gt=0, le=1e14)]


class Account(Component, frozen=True):
    """One account: a login of its own, for orders and for the drop copy."""

    username: Annotated[str, Meta(min_length=1, max_length=6, pattern="^[A-Za-z0-9]+$")] = "TRADER"
    password: Annotated[str, Meta(max_length=10)] | None = None
    """None: any password; for a venue that only this machine can reach."""
    password_env: str | None = None
    """The environment variable that has the password; goes before ``password``."""
    protocol: Literal["ouch50", "ouch42"] | None = None
    """None: the exchange's."""
    firm: Annotated[str, Meta(max_length=4)] = "FIRM"
    """What the market is told of attributable orders that name no firm."""
    cancel_on_disconnect: bool = False
    self_match: Literal["allow", "cancel_resting", "cancel_incoming"] = "allow"
    max_quantity: Annotated[int, Meta(ge=1, le=999_999)] = 999_999
    """Shares of one order; more is rejected as shares_exceed_threshold."""
    max_notional: Dollars = 1e9
    """Dollars of one order; more is exceeds_maximum_allowed_notional_value."""
    max_open_orders: Positive = 100_000
    """More are rejected as other, as is what follows."""
    max_orders: Positive = 1_000_000
    """Orders of a day; of OUCH 4.2, refused ones among them."""
    orders_per_second: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    """Orders and replacements; 0: as many as come.  Cancels always pass."""
    order_burst: Positive = 100


class Holding:
    """What an account has traded of one symbol; ``cash`` in 1e-4 dollars, sales less purchases."""

    __slots__ = ("bought", "cash", "sold")

    def __init__(self) -> None:
        self.bought = self.sold = self.cash = 0

    def trade(self, is_buy: bool, quantity: int, price: int) -> None:
        """Book a trade; a negative quantity takes one back."""
        if is_buy:
            self.bought += quantity
            self.cash -= quantity * price
        else:
            self.sold += quantity
            self.cash += quantity * price

    def describe(self) -> dict[str, int]:
        """The holding for reconciliation."""
        return {
            "position": self.bought - self.sold,
            "bought": self.bought,
            "sold": self.sold,
            "cash": self.cash,
        }
