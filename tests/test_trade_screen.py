"""The screen's lines: what they say, and that they fit whatever terminal there is."""

import random

import numpy as np
import pytest

from itch_messages import message, run
from tickpath.own_orders import adopt
from tickpath.trade.screen import MIN_HEIGHT, MIN_WIDTH, Line, render, view
from trading import engine_with

STATE = {
    "ready": True,
    "session": "READY",
    "notes": [f"12:00:0{at} note {at}" for at in range(5)],
    "drop_copy": "ready",
    "differs_from_drop_copy": [],
    "strategy_error": None,
    "lines": [],
}
SYMBOLS = tuple(f"SYM{at}" for at in range(30))


@pytest.fixture(scope="module")
def engine():
    engine = engine_with(SYMBOLS)
    ref = 0
    for locate, symbol in enumerate(SYMBOLS, 1):
        for level in range(6):
            for side, price in (("B", 99_900 - 100 * level), ("S", 100_100 + 100 * level)):
                ref += 1
                added = message(
                    "A", locate, 5, ref=ref, side=side, shares=100 * ref, stock=symbol, price=price
                )
                engine.feed(run([added]))
    for ref in range(1, 300):
        values = (ref, 16 * ref, 1 + ref % 30, ord("B"), 100, 99_000, 0)
        adopt(engine.block.address, *(np.uint64(each) for each in values))
    return engine


def texts(lines: list[Line]) -> list[str]:
    return ["".join(text for text, _ in line) for line in lines]


def shown(engine, width: int, height: int, symbols=(), **state) -> list[str]:
    return texts(render(view(engine, STATE | state, symbols), width, height))


def test_at_80_by_24(engine):
    lines = shown(engine, 80, 24, ("SYM3", "SYM1", "NONE"))
    assert len(lines) == 24
    assert lines[0].startswith(" ready   00:00:00  ")
    assert "299 open" in lines[1] and "p&l +0.00" in lines[1]
    assert lines[2].split() == ["SYM3", "SYM1"]
    offers = [line.split() for line in lines[3:6]]
    assert [row[0] for row in offers] == ["10.03", "10.02", "10.01"]
    assert [row[1] for row in (line.split() for line in lines[6:9])] == ["9.99", "9.98", "9.97"]
    assert lines[9].split() == ["position", "shares", "mark", "p&l"]
    assert any("and" in line and "more" in line for line in lines)
    assert [line.split()[-1] for line in lines[-3:]] == ["2", "3", "4"]


def test_wide_terminals_have_orders_beside_positions(engine):
    lines = shown(engine, 120, 40)
    heading = next(line for line in lines if line.startswith("position"))
    assert "order" in heading and heading.split()[-1] == "state"
    assert len(lines[2].split()) == 4


def test_what_is_wrong_stands_first(engine):
    killed = engine.block.gate[0]["killed"]
    engine.block.gate[0]["killed"] = 2
    try:
        first = shown(
            engine, 120, 24, ready=False, session="WAITING", drop_copy="lost",
            differs_from_drop_copy=["x"], strategy_error="raised",
        )[0]  # fmt: skip
    finally:
        engine.block.gate[0]["killed"] = killed
    for each in (" waiting ", " KILLED ", " DIFFERS FROM DROP COPY ", " STRATEGY RAISED ",
                 " drop copy lost "):  # fmt: skip
        assert each in first


def test_every_size_is_kept(engine):
    chance = random.Random(3)
    for _ in range(200):
        width, height = chance.randint(1, 250), chance.randint(1, 90)
        lines = shown(engine, width, height)
        assert len(lines) <= max(height, MIN_HEIGHT)
        assert max(len(line) for line in lines) <= max(width, MIN_WIDTH)


def test_an_engine_that_knows_nothing():
    lines = shown(engine_with(()), 80, 24, notes=[])
    assert len(lines) == 4 and "0 open" in lines[1]


def test_a_note_cannot_move_the_cursor(engine):
    lines = shown(engine, 80, 24, notes=["evil \x1b[2J\n\r text"])
    assert lines[-1] == "'evil \\x1b[2J\\n\\r text'"


def test_lines_that_lack_something_are_named(engine):
    line = {"group": "239.1.1.1:1", "session": "T1", "next": 1_234}
    for name, text in (
        ("BACKFILL", "239.1.1.1:1 T1: backfill at 1,234"),
        ("GAP_FILL", "gap fill at 1,234"),
        ("STALE", "stale at 1,234"),
    ):
        assert text in shown(engine, 120, 24, lines=[line | {"recovery": name}])[0]
    for name in ("SYNCHRONISED", "UNKNOWN"):
        assert "239.1.1.1" not in shown(engine, 120, 24, lines=[line | {"recovery": name}])[0]
