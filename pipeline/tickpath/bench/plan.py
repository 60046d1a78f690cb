"""What a benchmark runs on: sessions by size, rounds, and which curves."""

from dataclasses import dataclass

from tickpath.bench.own import RATIO_PERCENT
from tickpath.generate import SessionPlan

MESSAGES, QUICK_MESSAGES = 10_000_000, 1_000_000
MOST_SYMBOLS = 8_000
SEED = 7
ROUNDS = 3
QUICK_RATIO_PERCENT = 3_600


def session_of(messages: int) -> SessionPlan:
    """A session of so many messages: a symbol for every thousand up to 8,000, a tenth stay live."""
    symbols = max(1, min(MOST_SYMBOLS, messages // 1_000))
    return SessionPlan(messages=messages, symbols=symbols, live_orders=messages // 10, seed=SEED)


def _live(session: SessionPlan, live_orders: int, messages: int) -> SessionPlan:
    return SessionPlan(
        messages=messages, symbols=session.symbols, live_orders=live_orders, seed=session.seed
    )


def _symbols(session: SessionPlan, symbols: int) -> SessionPlan:
    return SessionPlan(
        messages=session.messages,
        symbols=symbols,
        live_orders=session.live_orders,
        seed=session.seed,
    )


@dataclass(frozen=True)
class BenchPlan:
    """What to measure."""

    session: SessionPlan
    ratio_percent: int = RATIO_PERCENT
    rounds: int = ROUNDS
    live_curve: tuple[SessionPlan, ...] = ()
    symbol_curve: tuple[SessionPlan, ...] = ()
    parts: int = 1_000_000
    """Orders encoded and checked in one run of a part."""

    @property
    def has_targets(self) -> bool:
        """Whether the targets are meant for this session."""
        return self.session == session_of(MESSAGES)


def plan_of(messages: int | None, quick: bool) -> BenchPlan:
    """The plan of the command's options: ``quick`` is a small session without curves."""
    if quick:
        return BenchPlan(session_of(messages or QUICK_MESSAGES), QUICK_RATIO_PERCENT)
    session = session_of(messages or MESSAGES)
    live, count = session.live_goal, session.messages
    return BenchPlan(
        session,
        RATIO_PERCENT,
        # As many live orders as ten times take more messages to come about.
        live_curve=(
            _live(session, live // 10, count),
            session,
            _live(session, live * 10, count * 5 // 2),
        ),
        symbol_curve=tuple(
            _symbols(session, max(1, session.symbols * eighths // 8)) for eighths in (1, 4, 8, 12)
        ),
    )
