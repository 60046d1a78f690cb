"""The stocks of a session: names, prices, spreads and how busy each one is, all from the seed.

Activity follows Zipf's law over ranks; a symbol's rank also decides its spread, so that busy
stocks are tight ones.  Locates follow the alphabet, as on the exchange.  From `FULL_CAST` symbols
on, a few ranks have roles: see `Cast`.
"""

from dataclasses import dataclass

import numpy as np

from tickpath.generate.draw import alias_table, column, share_column
from tickpath.generate.plan import FULL_CAST, SessionPlan
from tickpath.generate.quote import CENT, DOLLAR
from tickpath.generate.state import ALIAS, SYMBOL

_LETTERS = np.frombuffer(b"BCDFGHJKLMNPQRSTVWXZ", np.uint8)
"""Consonants only, so that no name is a word."""
_ZIPF_SHIFT = 8
"""Added to each rank, so that the first ones share the top: about 1.5 % each of 8,000 symbols."""
_PRICE_BANDS = (  # of 1,000 symbols, so many from this price up to the next one's
    (30, 3_000),
    (100, DOLLAR),
    (270, 5 * DOLLAR),
    (340, 20 * DOLLAR),
    (190, 80 * DOLLAR),
    (60, 250 * DOLLAR),
    (10, 1_000 * DOLLAR),
    (0, 3_000 * DOLLAR),
)
_DEAR = 10_000 * DOLLAR
_DRIFTING = 20
"""One symbol in so many has a day with a direction."""
_DAY_UNITS = 1_800
"""Units that a direction is worth in a day: so many of `_UNITS_IN_PRICE`, about 45 %."""
_STEEPEST = 20_000
"""Odds in 65,536 of a step per message at most."""
_SMALL_LOTS = 800 * DOLLAR
_UNITS_IN_PRICE = 4_000


@dataclass(frozen=True)
class Cast:
    """Indexes of the symbols that something happens to; all are different."""

    leader: int
    ipo: int | None
    direct_listing: int | None
    news_halts: tuple[int, ...]
    volatility_pauses: tuple[int, ...]
    operational_halts: tuple[int, ...]

    @property
    def closed(self) -> list[int]:
        """Those that do not trade when the day begins."""
        return [index for index in (self.ipo, self.direct_listing) if index is not None]


@dataclass(frozen=True)
class Listing:
    """The symbols by index, which is their locate less one.

    ``symbols`` are `SYMBOL` records, ``by_rank`` their indexes with the busiest first, and ``odds``
    the `ALIAS` table of their activity.
    """

    symbols: np.ndarray
    names: list[str]
    by_rank: np.ndarray
    odds: np.ndarray
    cast: Cast


def _names(seed: int, n: int) -> list[str]:
    """``n`` different names of two to five letters, in alphabetical order."""
    drawn = column(seed, "names", 4 * n + 64)
    lengths = np.array([2, 3, 3, 4, 4, 4, 4, 5])[share_column(drawn, 8)]
    letters = np.stack(
        [share_column(column(seed, f"letter{i}", len(drawn)), len(_LETTERS)) for i in range(5)]
    )
    spelled = _LETTERS[letters].T.tobytes().decode()
    names: dict[str, None] = {}
    for i, length in enumerate(lengths):
        names[spelled[5 * i : 5 * i + length]] = None
        if len(names) == n:
            return sorted(names)
    raise AssertionError(f"{len(drawn)} draws gave fewer than {n} different names")


def _lengthened(names: list[str], count: int) -> list[str]:
    """The names with ``count`` of them, spread evenly, as long as 7 or 8 characters.

    A dot comes before every letter, so they stay in alphabetical order.
    """
    suffixes = {2: ".WS.A", 3: ".WS.A", 4: ".WSA", 5: ".WS"}
    n = len(names)
    is_long = [(index + 1) * count // n > index * count // n for index in range(n)]
    return [
        name + suffixes[len(name)] * lengthen for name, lengthen in zip(names, is_long, strict=True)
    ]


def _prices(seed: int, n: int) -> np.ndarray:
    """``int64[n]`` prices by rank, in 1e-4; a few are dear, a few below a dollar, whatever n."""
    permille = share_column(column(seed, "band", n), 1_000)
    limits = np.cumsum([count for count, _ in _PRICE_BANDS])
    band = np.searchsorted(limits, permille, side="right")
    lows = np.array([price for _, price in _PRICE_BANDS], np.int64)
    prices = lows[band] + share_column(column(seed, "price", n), lows[band + 1] - lows[band])
    for rank, price in ((3, DOLLAR * 6 // 10), (5, _DEAR * 3), (7, DOLLAR * 9 // 10)):
        prices[rank::2_000] = (
            price + share_column(column(seed, "roles", n), price // 8)[rank::2_000]
        )
    prices[:3] = np.array([60, 150, 200])[:n] * DOLLAR + prices[:3] % (50 * DOLLAR)
    return np.where(prices < DOLLAR, prices, prices - prices % CENT)


def _cast(by_rank: np.ndarray) -> Cast:
    n = len(by_rank)
    leader = int(by_rank[0])
    if n < FULL_CAST:
        return Cast(leader, None, None, (), (), ())
    more = n // 2_000
    ranks = iter([int(index) for index in by_rank[n // 16 + 1 :]])
    ipo, direct_listing = next(ranks), next(ranks)
    news = tuple(next(ranks) for _ in range(3 + more))
    pauses = tuple(next(ranks) for _ in range(3 + more))
    operational = tuple(next(ranks) for _ in range(1 + more // 2))
    return Cast(leader, ipo, direct_listing, news, pauses, operational)


def list_symbols(plan: SessionPlan) -> Listing:
    """The listing of a plan."""
    n, seed = plan.symbols, plan.seed
    names = _lengthened(_names(seed, n), plan.long_symbols)
    by_rank = np.argsort(column(seed, "ranks", n), kind="stable")
    ranks = np.empty(n, np.int64)
    ranks[by_rank] = np.arange(n)
    prices = _prices(seed, n)[ranks]
    symbols = np.zeros(n, SYMBOL)
    symbols["stock"] = [int.from_bytes(name.ljust(8).encode(), "big") for name in names]
    symbols["locate"] = np.arange(1, n + 1)
    symbols["fair"] = symbols["listed"] = prices
    tick = np.where(prices < DOLLAR, 1, CENT)
    units = prices // _UNITS_IN_PRICE
    symbols["unit"] = np.maximum(tick, units - units % tick)
    # From half a tick or a quarter unit for the busiest to a percent for the quietest.
    widest = np.maximum(prices // 100 * ranks // n, 1)
    tightest = np.maximum(np.maximum(tick // 2, symbols["unit"] // 4), 1)
    symbols["half_spread"] = tightest + share_column(column(seed, "spreads", n), widest)
    symbols["small"] = prices >= _SMALL_LOTS
    symbols["trading_state"] = ord("T")
    weights = (1 << 40) // (ranks + 1 + _ZIPF_SHIFT)
    messages = np.maximum(plan.messages * (weights >> 16) // int((weights >> 16).sum()), 1)
    drawn = column(seed, "drifts", n)
    drifting = share_column(drawn, _DRIFTING) == 0
    drifting[by_rank[1:3]] = True
    odds = np.minimum(_DAY_UNITS * 65_536 // messages, _STEEPEST)
    symbols["drift"] = np.where(drifting, np.where(drawn & np.uint64(1), odds, -odds), 0)
    return Listing(symbols, names, by_rank, alias_table(weights.tolist(), ALIAS), _cast(by_rank))
