"""The book digest: the formula in plain Python, kept by the engine, sensitive to every part."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itch_messages import run
from scenes import add, cancel, delete, execute, played, replace
from tickpath import digest

ORDER = (1, "AAPL", 0, 1_000_000, 7, 100)
U64 = (1 << 64) - 1
ROWS = st.tuples(
    st.integers(1, 5),
    st.text("ABCXYZ.", min_size=1, max_size=8),
    st.integers(0, 1),
    st.integers(0, (1 << 32) - 1),
    st.integers(0, U64),
    st.integers(1, (1 << 32) - 1),
)


def test_the_formula_of_the_docstring():
    """Written out once more, step by step, from the text."""

    def mix(x):
        y = ((x ^ (x >> 32)) * 0xBF58476D1CE4E5B9) % 2**64
        return y ^ (y >> 29)

    c1, c2 = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F
    symbol = int.from_bytes(b"AAPL    ", "big")
    side_key = mix((symbol + 1 * c1 + 0 * c2) % 2**64)
    weight = mix((side_key + 7 * c1 + 1_000_000 * c2) % 2**64) | 1
    assert digest.reference([ORDER]) == weight * 100 % 2**64


def test_known_values():
    """Other backends are to give these numbers."""
    assert digest.reference([]) == 0
    assert digest.reference([ORDER]) == 18_431_339_311_318_413_140
    offer = (1, "AAPL", 1, 1_000_100, 8, 300)
    assert digest.reference([ORDER, offer]) == 14_354_027_399_242_553_496


@given(st.lists(ROWS, max_size=8), st.randoms(use_true_random=False))
def test_the_sum_does_not_depend_on_the_order_of_the_rows(rows, rng):
    shuffled = list(rows)
    rng.shuffle(shuffled)
    assert digest.reference(shuffled) == digest.reference(rows)


@given(ROWS, st.integers(0, 5), st.integers(1, 1000))
def test_every_part_of_an_order_matters(row, part, by):
    other = list(row)
    if part == 1:
        other[1] = row[1][:-1] + ("Q" if row[1][-1] != "Q" else "R")
    elif part == 2:
        other[2] = 1 - row[2]
    else:
        other[part] = row[part] + by
    assert digest.reference([row]) != digest.reference([tuple(other)])


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=8))
def test_a_symbol_and_its_number(symbol):
    assert digest.symbol_text(digest.symbol_number(symbol)) == symbol


@pytest.mark.parametrize(
    "operation", [cancel(1, 30), execute(1, 30), replace(1, 9, 70, 1_000_000), delete(1)]
)
def test_the_engine_keeps_it_per_operation(operation):
    engine = played(add(1), add(2, "S", 300, 1_000_100), operation)
    rows = [
        (1, "AAPL", int(r["side"]), int(r["price"]), int(r["order_ref"]), int(r["quantity"]))
        for r in engine.resting()
    ]
    assert engine.book_digest == digest.reference(rows) != 0


def test_the_order_in_which_books_were_built_does_not_matter():
    rng = random.Random(4)
    adds = [add(n, rng.choice("BS"), 5 * n, 1_000_000 + 77 * n) for n in range(1, 60)]
    digests = set()
    for _ in range(3):
        rng.shuffle(adds)
        digests.add(played(*adds).book_digest)
    assert len(digests) == 1


def test_an_emptied_book_has_none():
    refs = range(1, 40)
    engine = played(*(add(n, price=1_000_000 + n) for n in refs), *(delete(n) for n in refs))
    assert engine.book_digest == 0


def test_engine_and_reference_after_a_run_of_everything():
    engine = played(add(1), add(2, locate=2, stock="MSFT"), add((1 << 64) - 1, "S", 1, 0xFFFFFFFF))
    assert engine.book_digest == digest.reference(
        [
            *((1, "AAPL", 0, 1_000_000, 1, 100), (1, "MSFT", 0, 1_000_000, 2, 100)),
            (1, "AAPL", 1, 0xFFFFFFFF, U64, 1),
        ]
    )
    engine.feed(run([delete((1 << 64) - 1)]))
    assert engine.orders_live == 2
