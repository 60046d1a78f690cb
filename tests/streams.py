"""Streams of messages made to collide: few symbols, few references, few prices, every mistake.

`collisions` is quick and seeded, for long runs; `messages` is hypothesis', which shrinks what it
finds.  Both draw from the same alphabets, so that executions hit live orders about half the time.
"""

import random
from collections.abc import Iterator, Sequence

from hypothesis import strategies as st

from itch_messages import FIELDS, LENGTHS, message
from tickpath import Config
from tickpath.config import Capacity, Indicators, StrategyConfig
from tickpath.layout import PAGE

SYMBOLS = 8
CAPACITY = Capacity(
    symbols=SYMBOLS, orders=16 * PAGE, sparse_orders=1024, overflow_levels=4096, trades=1024
)
SMALL = Config(
    capacity=CAPACITY,
    indicators=Indicators(sma_window=5, ema_window=9),
    strategy=StrategyConfig(cells=16),
)

NAMES = [b"AAPL", b"MSFT", b"ZVZZT", b"BRK.A"]
LOCATES = [1, 1, 1, 2, 2, 3, 7]
WRONG_LOCATES = [0, 8, 9, 0xFFFF]
PRICES = [
    *(1_000_000 + 100 * tick for tick in (-3, -2, -1, 0, 0, 1, 2, 3)),
    *(1_000_000 + 100 * tick for tick in (-1100, -1025, -1024, -770, 255, 256, 257, 1024, 1100)),
    *(1_000_001, 999_950, 1, 99, 100, 102_400),  # sub-penny prices and stub quotes
    *(9_999, 9_950, 8_976, 8_975, 10_000, 10_100, 10_255, 10_300),  # around the dollar
    *(1_999_999_900, 0xFFFFFFFF, 0xFFFFFFFF - 95, 0),
]
QUANTITIES = [100, 100, 1, 7, 300, 0, 999_999, 0xFFFFFFFF]
REFS = [*range(1, 25), PAGE - 1, PAGE, PAGE + 1, 1 << 20, (1 << 40) + 3, (1 << 64) - 1]
STEPS_NS = [0, 1, 1000, 1_000_000, -5, 700_000_000]
MATCHES = [*range(1, 12), 1025, 1024 + 7]
WEIGHTS = {
    "A": 34,
    "F": 4,
    "E": 12,
    "C": 5,
    "X": 8,
    "D": 12,
    "U": 12,
    "P": 3,
    "Q": 2,
    "B": 3,
    **dict.fromkeys("SRHYLVWKJhINO", 1),
}
CODES = {
    "side": [b"B", b"S", b"B", b"S", b"B", b"S", b"b"],
    "printable": [b"Y", b"N"],
    "trading_state": [b"T", b"H", b"P", b"Q"],
    "market_code": [b"Q", b"Q", b"B", b"X"],
    "action": [b"H", b"T"],
    "reg_sho_action": [b"0", b"1", b"2"],
    "cross_type": [b"O", b"C", b"H", b"I"],
    "direction": [b"B", b"S", b"N", b"O"],
    "event_code": [b"O", b"Q", b"M", b"C"],
}
NUMBERS = {
    "shares": QUANTITIES,
    "price": PRICES,
    "match_number": MATCHES,
    "round_lot_size": [1, 100],
    "imbalance_shares": [0, 100, 1 << 33],
}
BROKEN = [b"", b"A", b"Z" + bytes(20), b"D" + bytes(17), b"D" + bytes(19), b"\xff", b"A" * 64]


def _value(rng: random.Random, name: str, kind: str, locate: int) -> int | bytes:
    if name == "stock":  # now and then the locate has been given to another symbol
        return NAMES[(locate + (rng.random() < 0.1)) % len(NAMES)]
    if name in CODES or name in NUMBERS:
        return rng.choice(CODES.get(name) or NUMBERS[name])
    return b"x" if kind not in "IQ" else rng.choice([0, 1, 1_000_000])


def _fill(rng: random.Random, code: str, locate: int, ts: int, refs: Sequence[int] = REFS) -> bytes:
    form, names = FIELDS[code]
    kinds = [letter for letter in form.format if letter.isalpha()]
    values = {
        name: rng.choice(refs) if name in ("ref", "new_ref") else _value(rng, name, kind, locate)
        for name, kind in zip(names, kinds, strict=True)
    }
    return message(code, locate, ts, **values)


def collisions(seed: int, length: int, refs: Sequence[int] | None = None) -> Iterator[bytes]:
    """A stream in which nearly every message meets an earlier one's order, price or mistake.

    ``refs`` are the references to choose from: the more, the more orders are live.
    """
    rng = random.Random(seed)
    refs = refs or REFS
    codes, weights = list(WEIGHTS), list(WEIGHTS.values())
    ts = 34_200_000_000_000
    for code in rng.choices(codes, weights, k=length):
        ts += rng.choice(STEPS_NS)
        locate = rng.choice(WRONG_LOCATES if rng.random() < 0.02 else LOCATES)
        yield rng.choice(BROKEN) if rng.random() < 0.01 else _fill(rng, code, locate, ts, refs)


def market(seed: int, length: int) -> Iterator[bytes]:
    """A calm market in four symbols: two-sided books that trade, now and then a halt."""
    rng = random.Random(seed)
    ts, ref, match = 34_200_000_000_000, 0, 0
    middle = dict.fromkeys(range(1, 5), 1_000_000)
    live: list[tuple[int, int]] = []
    for locate in middle:
        yield message("R", locate, ts, stock=NAMES[locate % len(NAMES)], round_lot_size=100)
    for _ in range(length - len(middle)):
        ts += rng.randrange(4_000_000)
        locate = rng.randint(1, 4)
        middle[locate] += 100 * rng.choice([-1, 0, 0, 0, 1])
        dice = rng.random()
        if dice < 0.02:
            state = rng.choice("TTTTTTHPQ")
            yield message("H", locate, ts, stock=NAMES[locate % len(NAMES)], trading_state=state)
        elif dice < 0.5 or len(live) < 60:
            ref += 1
            side = rng.choice("BS")
            away = 100 * (1 + int(rng.expovariate(0.2)))
            live.append((ref, locate))
            yield message(
                rng.choice("AAAF"),
                locate,
                ts,
                ref=ref,
                side=side,
                shares=100 * rng.randint(1, 9),
                stock=NAMES[locate % len(NAMES)],
                price=middle[locate] + (away if side == "S" else -away),
            )
        else:
            at = rng.randrange(len(live)) if dice < 0.8 else 0
            gone, locate = live[at]
            if dice < 0.6:
                yield message("X", locate, ts, ref=gone, shares=50)
                continue
            if dice > 0.9:
                match += 1
                yield message("E", locate, ts, ref=gone, shares=50, match_number=match)
                continue
            live.pop(at)
            if dice > 0.8:
                ref += 1
                live.append((ref, locate))
                price = middle[locate]
                values = {"new_ref": ref, "shares": 100, "price": price}
                yield message("U", locate, ts, ref=gone, **values)
            else:
                yield message("D", locate, ts, ref=gone)


def messages(most: int = 40) -> st.SearchStrategy[list[bytes]]:
    """Lists of colliding messages; hypothesis chooses the random numbers that fill them."""
    one = st.tuples(
        st.sampled_from([code for code, weight in WEIGHTS.items() for _ in range(weight)]),
        st.sampled_from(LOCATES * 4 + WRONG_LOCATES),
        st.integers(0, 3).map(lambda step: 34_200_000_000_000 + step * 1_000_000),
        st.randoms(use_true_random=False),
    )
    valid = one.map(lambda each: _fill(each[3], *each[:3]))
    return st.lists(valid | st.sampled_from(BROKEN), min_size=1, max_size=most)


assert set(WEIGHTS) == set(LENGTHS)
