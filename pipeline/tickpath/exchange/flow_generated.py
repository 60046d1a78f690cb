"""Generated flow: members who add, cancel, replace and take around prices that wander.

Actions come at exponential waits.  Each is about one symbol, drawn with Zipf-like odds, whose fair
price takes a step now and then; passive orders stand half a spread and a heavy-tailed distance away
from it, aggressive ones go for the side that is priced wrong, and the number of live orders is
steered to its goal.  All of it goes through matching like anybody's orders: nothing is written into
a book, so whoever quotes a wrong price is hit, and whoever quotes a good one gets his turn.

Numbers are integers; the only chance is one seeded generator, drawn from in a fixed order, so the
same seed and the same meetings give the same orders.
"""

import math
import random
from bisect import bisect_right
from itertools import accumulate

from tickpath.exchange.book import CENT, DOLLAR, MAX_PRICE
from tickpath.exchange.event import BUY, SELL, Event, Replaced
from tickpath.exchange.flow import NoFlow
from tickpath.exchange.matching import Matching
from tickpath.exchange.terms import IMMEDIATE, PLAIN, Terms

SECOND_NS = 1_000_000_000
_QUANTILES = [round(-math.log(1 - (i + 0.5) / 4096) * 65_536) for i in range(4096)]
"""Waits in 65,536ths of the mean, each as likely as the others."""
_ZIPF_SHIFT = 8
_ODDS = 256
_STEP = 40
"""Odds in 256 of a step of the fair price per action on its symbol."""
_HIDDEN, _ATTRIBUTED = 10, 16
"""Odds in 256 of an add being hidden, or naming its participant."""
_TRIES = 8
_FURTHEST = 9
"""Octaves of distance: an order stands up to 2^9 units away."""
_UNITS_IN_PRICE = 4_000
_HIDDEN_TERMS = Terms(is_hidden=True)
_PARTICIPANTS = [Terms(attribution=b"MM%cX" % letter) for letter in b"ABCDEFGH"]


class _Stock:
    """One symbol as its traders see it."""

    __slots__ = ("fair", "half_spread", "listed", "live", "locate", "unit")

    def __init__(self, locate: int, price: int, rank: int, symbols: int) -> None:
        tick = CENT if price >= DOLLAR else 1
        self.locate, self.fair, self.listed = locate, price, price
        self.unit = max(price // _UNITS_IN_PRICE // tick * tick, tick)
        widest = max(price // 200 * rank // symbols, 1)
        self.half_spread = max(tick // 2, self.unit // 4, 1) + widest // 2
        self.live: list[int] = []


class GeneratedFlow(NoFlow):
    """See the module's text.  ``prices`` are by locate, the busiest symbols first."""

    def __init__(
        self, matching: Matching, prices: dict[int, int], seed: int, rate: float, goal: int
    ) -> None:
        super().__init__()
        self._matching, self._goal = matching, goal
        self._bits = random.Random(seed).getrandbits
        self._mean_ns = max(round(SECOND_NS / rate), 1)
        self._stocks = [
            _Stock(locate, price, rank, len(prices))
            for rank, (locate, price) in enumerate(prices.items())
        ]
        weights = [(1 << 24) // (rank + 1 + _ZIPF_SHIFT) for rank in range(len(prices))]
        self._odds = list(accumulate(weights))

    def begin(self, now_ns: int) -> list[Event]:
        """Books of the wanted size, and the first action's time."""
        events: list[Event] = []
        for stock in self._stocks:
            for _ in range(self._goal):
                events += self._add(stock)
        self.due_ns = now_ns
        self._wait()
        return events

    def step(self) -> list[Event]:
        stock = self._stocks[bisect_right(self._odds, self._below(self._odds[-1]))]
        self._wander(stock)
        self._wait()
        growth = (self._goal - len(stock.live)) * _ODDS // (4 * self._goal)
        adds = min(max(_ODDS // 2 + growth, 20), _ODDS - 60)
        dice = self._bits(8)
        if dice < adds:
            return self._add(stock)
        rest = (dice - adds) * 8 // (_ODDS - adds)
        if rest < 5:
            return self._cancel(stock)
        return self._replace(stock) if rest == 5 else self._take(stock)

    # ------------------------------------------------------------ chance

    def _below(self, n: int) -> int:
        return (self._bits(32) * n) >> 32

    def _octave(self, octaves: int) -> int:
        """1 or more, with P(at least 2^k) = 2^-k, below 2^octaves."""
        drawn = self._bits(octaves - 1) | (1 << (octaves - 1))
        k = (drawn & -drawn).bit_length() - 1
        return (1 << k) + (self._bits(k) if k else 0)

    def _wait(self) -> None:
        self.due_ns += max((_QUANTILES[self._bits(12)] * self._mean_ns) >> 16, 1)

    def _wander(self, stock: _Stock) -> None:
        drawn = self._bits(9)
        if drawn >> 1 < _STEP:
            fair = stock.fair + (stock.unit if drawn & 1 else -stock.unit)
            stock.fair = min(max(fair, stock.listed // 2), stock.listed * 2)

    def _price(self, stock: _Stock, side: int) -> int:
        away = stock.half_spread + (self._octave(_FURTHEST) - 1) * stock.unit
        if side == BUY:
            price = max(stock.fair - away, 1)
            return price if price < DOLLAR else price - price % CENT
        price = min(stock.fair + away, MAX_PRICE)
        return price if price <= DOLLAR else price + -price % CENT

    def _size(self) -> int:
        drawn = self._bits(6)
        if drawn < 40:
            return 100
        if drawn < 56:
            return 1 + self._below(99)
        return 100 * self._octave(6)

    # ------------------------------------------------------------ actions

    def _add(self, stock: _Stock) -> list[Event]:
        side, drawn, terms = self._bits(1), self._bits(8), PLAIN
        if drawn < _HIDDEN:
            terms = _HIDDEN_TERMS
        elif drawn < _HIDDEN + _ATTRIBUTED:
            terms = _PARTICIPANTS[drawn & 7]
        price, size = self._price(stock, side), self._size()
        events = self._matching.enter(stock.locate, side, size, price, terms)
        ref = getattr(events[0], "ref", 0)
        if ref in self._matching.orders:
            stock.live.append(ref)
        return events

    def _any(self, stock: _Stock) -> int:
        """Take a live order of the symbol out of the list; 0 where none was found."""
        live = stock.live
        for _ in range(_TRIES):
            if not live:
                break
            at = self._below(len(live))
            ref, live[at] = live[at], live[-1]
            live.pop()
            if ref in self._matching.orders:
                return ref
        return 0

    def _cancel(self, stock: _Stock) -> list[Event]:
        ref = self._any(stock)
        if not ref:
            return []
        order = self._matching.orders[ref]
        if order.leaves > 100 and self._bits(3) == 0:
            stock.live.append(ref)
            return self._matching.reduce(ref, order.leaves // 2)
        return self._matching.cancel(ref)

    def _replace(self, stock: _Stock) -> list[Event]:
        ref = self._any(stock)
        if not ref:
            return []
        order = self._matching.orders[ref]
        price = self._price(stock, order.side)
        events = self._matching.replace(ref, order.leaves, price, order.terms)
        first = events[0]
        now = first.ref if isinstance(first, Replaced) else ref
        if now in self._matching.orders:
            stock.live.append(now)
        return events

    def _take(self, stock: _Stock) -> list[Event]:
        book = self._matching.books[stock.locate]
        bid, offer = book.best(BUY), book.best(SELL)
        if not bid or not offer:
            return []
        side = BUY if 2 * stock.fair > bid + offer else SELL
        if self._bits(2) == 0:
            side ^= 1
        size = self._size() * (1 + self._bits(2))
        price = offer if side == BUY else bid
        return self._matching.enter(stock.locate, side, size, price, IMMEDIATE)
