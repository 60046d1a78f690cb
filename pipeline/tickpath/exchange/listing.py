"""Which symbols a generated day has, and where their prices begin."""

from random import Random

from tickpath.exchange.book import CENT
from tickpath.exchange.config import symbols_of

_LOWEST, _HIGHEST = 5, 400
"""Dollars between which the price of a symbol lies that was only named."""


def prices_of(symbols: int | list[str], seed: int) -> dict[str, int]:
    """{symbol: price in 1e-4}, the busiest first.

    A number of symbols are those of the session generator (`tickpath.generate`); named ones are
    busy in the order of their names' list.  Raises `ExchangeError` for names that cannot be.
    """
    if not isinstance(symbols, int):
        chance = Random(f"prices {seed}")
        drawn = {name: chance.randint(_LOWEST * 100, _HIGHEST * 100) * CENT for name in
                 symbols_of(symbols)}  # fmt: skip
        return {name: price or drawn[name] for name, price in symbols_of(symbols).items()}
    # Compiled code comes with these, which takes a moment to load.
    from tickpath.generate.listing import list_symbols
    from tickpath.generate.plan import SessionPlan

    listing = list_symbols(SessionPlan(symbols=symbols, seed=seed))
    order = [int(index) for index in listing.by_rank]
    return {listing.names[index]: int(listing.symbols["fair"][index]) for index in order}
