"""What a user asks of a session: its size, its seed, its faults.  Every limit is checked here."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields

MAX_SYMBOLS = 20_000
MAX_MESSAGES = 2_000_000_000
MAX_LIVE_ORDERS = 100_000_000
MAX_UNITS = 63
FEEDS = ("itch50", "pitch")
FULL_CAST = 16
"""Symbols from which on a session has halts, pauses, an IPO and a direct listing of their own."""
NEW_YORK_MIDNIGHT_2019_12_30 = 1_577_682_000_000_000_000
"""2019-12-30 00:00 in New York (UTC-5), in nanoseconds since the Unix epoch."""


class GenerateError(ValueError):
    """A session that cannot be generated as asked; one line says what and what to do."""


@dataclass(frozen=True)
class Faults:
    """Probability, per packet, of each way in which a packet is damaged; at most one befalls it.

    ``loss`` drops it; ``duplicate`` sends it again a few packets later; ``reorder`` sends it a few
    packets late; ``truncate`` cuts its tail, as a short snapshot length does; ``garbage`` replaces
    some of its bytes or puts a packet of nonsense behind it.
    """

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    truncate: float = 0.0
    garbage: float = 0.0

    def __post_init__(self) -> None:
        for name, probability in self.items():
            if not 0.0 <= probability <= 1.0:
                raise GenerateError(
                    f"faults: {name}={probability} is not a probability between 0 and 1"
                )
        total = sum(probability for _, probability in self.items())
        if total > 1.0:
            raise GenerateError(f"faults: the probabilities add up to {total:g}, at most 1 can be")

    def items(self) -> Iterator[tuple[str, float]]:
        """(name, probability) in the order of the fields."""
        for each in fields(self):
            yield each.name, getattr(self, each.name)

    @property
    def any(self) -> bool:
        return any(probability > 0 for _, probability in self.items())


def parse_faults(text: str) -> Faults:
    """Faults from ``loss=0.01,duplicate=0.005``; `GenerateError` says what is wrong with them."""
    known = [each.name for each in fields(Faults)]
    given: dict[str, float] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, equals, value = (word.strip() for word in part.partition("="))
        if not equals:
            raise GenerateError(f"faults: {part!r} is not NAME=PROBABILITY")
        if name not in known:
            raise GenerateError(f"faults: no fault is called {name!r}; known: {', '.join(known)}")
        if name in given:
            raise GenerateError(f"faults: {name} is given twice")
        try:
            given[name] = float(value)
        except ValueError:
            raise GenerateError(f"faults: {name}={value!r} is not a number") from None
    return Faults(**given)


@dataclass(frozen=True)
class SessionPlan:
    """A session, completely: equal plans give equal bytes.

    ``messages``
        Messages of the market: exactly those of an ITCH session.  PITCH says the same market with
        about as many, some fewer and the time messages: see `Truth.messages`.
    ``symbols``
        Stocks in the directory, with stock locates 1 to ``symbols``.  From `FULL_CAST` on, and from
        about 100,000 messages on, all 23 message types occur.
    ``seed``
        Any integer of 64 bits.
    ``live_orders``
        Orders on the books at the end, about; a tenth of the messages where it is None.
    ``feed``
        ``itch50``, Nasdaq's, or ``pitch``, the same market told by Cboe PITCH 2.41.
    ``units``
        Units over which PITCH spreads the symbols, by the alphabet, numbered from 1.
    ``long_symbols``
        Symbols with names of 7 or 8 characters, about; the others have 2 to 5.
    ``faults``
        Damage done to packets; never to the truth, which is that of the undamaged session.
    ``crossed``
        Let one order in a thousand lock or cross the book, as after a lost message.
    ``heartbeat_s``
        Silence after which a heartbeat packet is sent, in seconds; 0 for none.
    ``midnight_ns``
        The session's midnight, in nanoseconds since the Unix epoch, to which receive times add.
    ``session``
        MoldUDP64 session name, at most ten characters.
    """

    messages: int = 1_000_000
    symbols: int = 1_000
    seed: int = 1
    live_orders: int | None = None
    feed: str = "itch50"
    faults: Faults = field(default_factory=Faults)
    crossed: bool = False
    heartbeat_s: int = 1
    midnight_ns: int = NEW_YORK_MIDNIGHT_2019_12_30
    session: str = "0000000001"
    units: int = 4
    long_symbols: int = 0

    def __post_init__(self) -> None:
        if self.feed not in FEEDS:
            raise GenerateError(
                f"feed: {self.feed!r} cannot be generated; known: {', '.join(FEEDS)}"
            )
        _within("messages", self.messages, 1, MAX_MESSAGES)
        _within("symbols", self.symbols, 1, MAX_SYMBOLS)
        _within("seed", self.seed, 0, 2**64 - 1)
        _within("heartbeat_s", self.heartbeat_s, 0, 3_600)
        _within("units", self.units, 1, MAX_UNITS)
        _within("long_symbols", self.long_symbols, 0, self.symbols)
        _within("midnight_ns", self.midnight_ns, 0, 2**63)
        if not self.session.isascii() or not 1 <= len(self.session) <= 10:
            raise GenerateError(f"session: {self.session!r} is not 1 to 10 ASCII characters")
        if self.live_orders is not None:
            _within("live_orders", self.live_orders, 0, MAX_LIVE_ORDERS)
            if self.live_orders > self.messages // 2:
                raise GenerateError(
                    f"live_orders: {self.live_orders} are more than half of the "
                    f"{self.messages} messages; ask for more messages or fewer live orders"
                )

    @property
    def live_goal(self) -> int:
        """Orders that the session aims to leave on the books."""
        return self.messages // 10 if self.live_orders is None else self.live_orders


def _within(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise GenerateError(f"{name}: {value} is not between {low} and {high}")
