"""Strategies: found, compiled, called; what raises is latched off and the books go on."""

import textwrap
from pathlib import Path

import pytest
from msgspec.structs import replace
from numba import njit

from itch_messages import frame, message, mold, run
from reference import Reference
from scenes import FREE, TS, add, delete
from streams import CAPACITY, SMALL, collisions, market
from tickpath import Config, Engine, StrategyError, emit, event, samples, view
from tickpath.config import StrategyConfig
from tickpath.own_orders import Happened, State
from tickpath.strategy import Strategy, find, load

OPEN = replace(FREE, max_spread_percent=10.0, collar_percent=5.0)


def engine_with(strategy, parameters=(), **fields) -> Engine:
    config = Config(
        capacity=CAPACITY,
        risk=OPEN,
        strategy=StrategyConfig(cells=64, parameters=list(parameters), **fields),
    )
    return Engine(config, strategy=strategy)


# ---------------------------------------------------------------- what raises


@njit
def raises_at_five(engine, book, kind, flags):
    """Two intents, then an error, on the fifth event."""
    cells = view.state(engine)
    cells[0] += 1
    emit.new_order(engine, 1, view.BUY, 1, 1_000_000)
    emit.new_order(engine, 1, view.BUY, 2, 1_000_000)
    if cells[0] == 5:
        raise ValueError("too many for me")


@njit
def raises_a_computed_message(engine, book, kind, flags):
    if kind == event.BOOK:
        raise IndexError("book " + str(book))


@njit
def divides_by_zero(engine, book, kind, flags):
    cells = view.state(engine)
    cells[0] = 10 // (cells[1])


def test_a_strategy_that_raises_is_latched_off_and_the_books_go_on():
    engine, reference = engine_with(raises_at_five), Reference(SMALL)
    stream = list(market(3, 400))
    engine.feed(run(stream))
    reference.run(stream)
    assert engine.counters["strategy_raised"] == 1
    assert engine.block.cell["value"][0] == 5
    # Four events' intents were taken, the fifth's dropped; no event after it was told.
    assert engine.counters["intents"] == 8 and engine.counters["intents_dropped"] == 2
    assert engine.block.get("intents") == 0
    assert len(engine.resting()) == len(reference.orders) > 50
    assert engine.strategy_error == (
        f"ValueError: too many for me ({__file__}, line {raising_line('too many for me')})"
    )


def raising_line(text: str) -> int:
    lines = Path(__file__).read_text().splitlines()
    return next(n for n, line in enumerate(lines, 1) if text in line and "raise" in line)


def test_a_message_that_was_computed_is_left_out():
    engine = engine_with(raises_a_computed_message)
    engine.feed(run([message("S", 0, TS, event_code="O"), add(1), add(2)]))
    assert engine.counters["strategy_raised"] == 1 and engine.orders_live == 2
    assert engine.strategy_error is not None and engine.strategy_error.startswith("IndexError")
    assert "\n" not in engine.strategy_error


def test_an_assertion_is_an_error_of_the_strategy(tmp_path):
    path = tmp_path / "mine.py"  # pytest rewrites the assertions of this file
    path.write_text(
        "def asserts(engine, book, kind, flags):\n    assert book != 2, 'not the second'\n"
    )
    engine = engine_with(f"{path}:asserts")
    engine.feed(run([add(1), add(2, locate=2), add(3)]))
    assert engine.counters["strategy_raised"] == 1 and engine.orders_live == 3
    assert engine.strategy_error == f"AssertionError: not the second ({path}, line 2)"


def test_a_division_by_zero_is_not_an_undefined_one():
    """Strategies are compiled with NumPy's arithmetic unless they say otherwise."""
    engine = engine_with(divides_by_zero)
    engine.feed(run([add(1), add(2)]))
    assert engine.orders_live == 2
    raised = engine.counters["strategy_raised"]
    assert raised == (engine.strategy_error is not None)


def test_nothing_was_raised_where_nothing_was():
    engine = engine_with(samples.imbalance_taker)
    engine.feed(run([add(1)]))
    assert engine.strategy_error is None and engine.counters["strategy_raised"] == 0


def test_a_strategy_that_raises_on_a_timer_or_a_gap():
    @njit
    def on_stale(engine, book, kind, flags):
        if kind == event.STALE or kind == event.TIMER:
            emit.new_order(engine, 1, view.BUY, 1, 1)
            raise RuntimeError("stale")

    engine = engine_with(on_stale)
    engine.feed_packet(frame(mold([add(1)], 1)))
    engine.feed_packet(frame(mold([add(2)], 9)))
    assert engine.orders_live == 2 and engine.counters["strategy_raised"] == 1
    assert engine.counters["intents_dropped"] == 1
    timed = engine_with(on_stale, timer_interval_ms=1)
    timed.feed(run([add(1), add(2)]))
    assert timed.orders_live == 2 and timed.counters["strategy_raised"] == 1


# ---------------------------------------------------------------- what does not compile


def one_line(error: pytest.ExceptionInfo) -> str:
    text = str(error.value)
    assert "\n" not in text and "Traceback" not in text and len(text) < 600, text
    return text


def too_few(engine, book):
    pass


def gives_a_number(engine, book, kind, flags):
    return book


def unknown_name(engine, book, kind, flags):
    undefined_thing(engine)  # noqa: F821


def unknown_attribute(engine, book, kind, flags):
    view.no_such_view(engine)


def untypable(engine, book, kind, flags):
    _ = [1, "two", None][book]


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (too_few, ["too_few", "(engine, book, kind, flags)"]),
        (gives_a_number, ["gives_a_number", "returns int64", "tickpath.emit"]),
        (unknown_name, ["unknown_name", "does not compile", "undefined_thing"]),
        (unknown_attribute, ["unknown_attribute", "no_such_view"]),
        (untypable, ["untypable", "does not compile"]),
        (17, ["not a function"]),
    ],
)
def test_a_strategy_that_does_not_compile_is_one_clear_line(function, words):
    with pytest.raises(StrategyError) as error:
        engine_with(function)
    text = one_line(error)
    assert all(word in text for word in words), text


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_such_module_at_all:f", ["no_such_module_at_all", "cannot be imported"]),
        ("tickpath.samples:nothing", ["tickpath.samples has no function nothing"]),
        ("tickpath.samples", ["MODULE:NAME"]),
        (":f", ["MODULE:NAME"]),
        ("tickpath.samples:", ["MODULE:NAME"]),
        ("no/such/file.py:f", ["no/such/file.py", "cannot be imported"]),
        ("tickpath.samples:np", ["np"]),
        ("tickpath.event:BOOK", ["not a function"]),
    ],
)
def test_a_strategy_that_cannot_be_found_is_one_clear_line(name, words):
    with pytest.raises(StrategyError) as error:
        engine_with(name)
    text = one_line(error)
    assert all(word in text for word in words), text


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def f(engine, book, kind, flags:\n", ["SyntaxError"]),
        ("raise OSError('on import')\n", ["OSError", "on import"]),
        ("import no_such_module\n", ["ModuleNotFoundError", "no_such_module"]),
        ("f = 5\n", ["not a function"]),
    ],
)
def test_a_file_with_an_error_is_one_clear_line(tmp_path, source, words):
    path = tmp_path / "mine.py"
    path.write_text(source)
    with pytest.raises(StrategyError) as error:
        load(f"{path}:f")
    text = one_line(error)
    assert all(word in text for word in [*words, str(path)]), text


def test_a_strategy_from_a_file_and_from_the_working_directory(tmp_path, monkeypatch):
    source = """
        from numba import njit
        from tickpath import emit, event, view

        def plain(engine, book, kind, flags):
            if kind == event.BOOK:
                emit.new_order(engine, book, view.SELL, 7, 1_000_000)

        jitted = njit(plain)
    """
    (tmp_path / "local_strategies.py").write_text(textwrap.dedent(source))
    monkeypatch.chdir(tmp_path)
    for name in (
        f"{tmp_path}/local_strategies.py:plain",
        "local_strategies.py:jitted",
        "local_strategies:plain",
    ):
        engine = engine_with(name)
        engine.feed(run([add(1), add(2, "S", 100, 1_000_100)]))
        (order,) = engine.take_orders()
        assert order[:6] == b"O\0\0\0\2T", name
        assert engine.rejects_by_code == {"NO_REFERENCE": 1}, "one side is no market"


def test_the_configuration_names_the_strategy_and_an_argument_goes_before_it():
    config = Config(
        capacity=CAPACITY, strategy=StrategyConfig(name="tickpath.samples:imbalance_taker")
    )
    assert Engine(config).strategy.name == "tickpath.samples:imbalance_taker"
    assert Engine(config, strategy=divides_by_zero).strategy.name == "divides_by_zero"
    assert Engine(Config(capacity=CAPACITY)).strategy is None


def test_a_function_of_a_name_is_found_as_it_is():
    assert find("tickpath.samples:imbalance_taker") is samples.imbalance_taker
    assert Strategy(samples.imbalance_taker).name == "imbalance_taker"


# ---------------------------------------------------------------- what a strategy is told


@njit
def kinds(engine, book, kind, flags):
    """Count events by kind; remember the last stale one's book and flags."""
    cells = view.state(engine)
    cells[kind] += 1
    if kind == event.STALE or kind == event.TIMER:
        cells[10 * kind] = book + 1000 * flags + 1


def test_a_gap_is_told_once_before_the_next_message():
    engine = engine_with(kinds)
    engine.feed_packet(frame(mold([add(1)], 1)))
    engine.feed_packet(frame(mold([], 5)))  # a heartbeat shows the gap
    assert engine.block.cell["value"][event.STALE] == 0
    engine.feed_packet(frame(mold([add(2), add(3)], 9)))  # and a second one
    cells = engine.block.cell["value"]
    assert (cells[event.STALE], cells[event.BOOK]) == (1, 3)
    assert cells[10 * event.STALE] == 1, "book 0, no flags"


def test_a_timer_is_told_when_engine_time_passes_it():
    engine = engine_with(kinds, timer_interval_ms=1000)
    second = 1_000_000_000
    for at in (0, 1, second - 1, second, second + 5, 2 * second, 7 * second + 3, 8 * second - 1):
        engine.feed(run([message("S", 0, TS + at, event_code="O")]))
    # The first message, one second, two seconds, and one for all of the quiet ones.
    assert engine.block.cell["value"][event.TIMER] == engine.counters["timers"] == 4
    assert engine.block.cell["value"][10 * event.TIMER] == 1


def test_time_that_goes_backwards_lets_no_timer_pass():
    engine = engine_with(kinds, timer_interval_ms=1)
    engine.feed(run([message("S", 0, TS - at, event_code="O") for at in range(5)]))
    assert engine.counters["timers"] == 1 and engine.counters["time_backwards"] == 4


@njit
def diary(engine, book, kind, flags):
    """One order, then what the first cell's script says; every event of an order is noted."""
    cells = view.state(engine)
    if kind == event.STATUS:
        step = cells[0]
        cells[0] += 1
        if step == 0:
            emit.new_order(engine, 1, view.BUY, 250, 1_000_200)
        elif step == 1:
            emit.replace_order(engine, 1, 240, 1_000_100)
        elif step == 2:
            emit.modify_order(engine, 2, 230)
        elif step == 3:
            emit.cancel_order(engine, 2, 0)
    if kind == event.ORDER:
        at = 2 + 6 * cells[1]
        cells[1] += 1
        ref = view.order_event_ref(engine)
        cells[at] = view.order_event_kind(engine)
        cells[at + 1] = ref
        cells[at + 2] = view.order_event_quantity(engine)
        cells[at + 3] = view.order_event_px(engine)
        cells[at + 4] = view.leaves_qty(engine, ref)
        cells[at + 5] = view.order_state(engine, ref)


def test_a_strategy_is_told_what_happens_to_its_orders_in_its_order():
    engine = engine_with(diary)
    news = message("S", 0, TS, event_code="Q")
    engine.feed(run([add(1, "B", 300, 1_000_000), add(2, "S", 200, 1_000_200), *[news] * 4]))
    cells = engine.block.cell["value"]
    told = cells[2 : 2 + 6 * cells[1]].reshape(-1, 6).tolist()
    happened, state = Happened, State
    # An order may have gone on by the time that its strategy is told of it.
    assert told == [
        [happened.ACCEPTED, 1, 250, 1_000_200, 50, state.PARTIALLY_FILLED],
        [happened.EXECUTED, 1, 200, 1_000_200, 50, state.PARTIALLY_FILLED],
        [happened.REPLACED, 2, 40, 1_000_100, 40, state.PARTIALLY_FILLED],
        [happened.MODIFIED, 2, 30, 1_000_100, 30, state.PARTIALLY_FILLED],
        [happened.CANCELLED, 2, 30, 1_000_100, 0, state.CANCELLED],
    ]


@njit
def runs_away(engine, book, kind, flags):
    """Another order whenever something happened to one."""
    view.state(engine)[kind] += 1
    if kind != event.BOOK:
        emit.new_order(engine, 1, view.BUY, 1, 1_000_000)


def test_a_strategy_that_answers_itself_is_told_a_bounded_number_of_times():
    """256 events of orders an input; the rest wait for the next one."""
    engine = engine_with(runs_away)
    engine.feed(run([add(1, "B", 300, 1_000_000), add(2, "S", 200, 1_000_200)]))
    news = message("S", 0, TS, event_code="Q")
    for number in (1, 2, 3):
        engine.feed(run([news]))
        assert engine.block.cell["value"][event.ORDER] == 256 * number
        assert engine.counters["orders_sent"] == 257 * number
    assert engine.counters["own_events_dropped"] == 0


@njit
def last_flags(engine, book, kind, flags):
    cells = view.state(engine)
    cells[0] += 1
    if flags & event.LAST:
        cells[1] = cells[1] * 10 + cells[0]


def test_the_last_message_of_a_packet_says_so():
    engine = engine_with(last_flags)
    stream = [add(n) for n in range(1, 9)]
    for first, count in ((0, 3), (3, 1), (4, 4)):
        engine.feed_packet(frame(mold(stream[first : first + count], 1 + first)))
    assert engine.block.cell["value"][1] == 348
    engine = engine_with(last_flags)
    engine.feed(run(stream[:5]))
    engine.feed(run(stream[5:]))
    assert engine.block.cell["value"][1] == 58


@njit
def quantities(engine, book, kind, flags):
    """Shares at 20 prices of each side, from the first cell's price on by the second's steps."""
    cells = view.state(engine)
    for at in range(20):
        px = cells[0] + at * cells[1]
        cells[2 + at] = view.quantity_at(engine, book, view.BUY, px)
        cells[22 + at] = view.quantity_at(engine, book, view.SELL, px)


def test_shares_at_a_price_of_the_window():
    engine = engine_with(quantities, [999_950, 50])
    engine.feed(run([add(1, "B", 300, 1_000_000), add(2, "S", 200, 1_000_200), add(3)]))
    cells = engine.block.cell["value"][2:42].tolist()
    expected = [0] * 40
    expected[1], expected[20 + 5] = 400, 200
    assert cells == expected
    for ref, first in enumerate((-100_000, 1 << 40, 1, 900_000_000), 50):
        engine.block.cell["value"][:42] = [first, 100, *[7] * 40]
        engine.feed(run([add(ref)]))
        assert not engine.block.cell["value"][2:42].any(), first


# ---------------------------------------------------------------- the samples


def test_the_imbalance_taker_takes_the_smaller_side():
    engine = engine_with(samples.imbalance_taker, [500, 40, 300])
    engine.feed(run([add(1, "B", 1000, 1_000_000), add(2, "S", 100, 1_000_100)]))
    (order,) = engine.take_orders()
    assert order[5:6] == b"B" and int.from_bytes(order[6:10], "big") == 40
    assert engine.block.position["quantity"][1] == 40
    engine.feed(run([delete(1), add(3, "B", 10, 1_000_000)]))
    assert [order[5:6] for order in engine.take_orders()] == []
    engine.feed(run([add(4, "S", 990, 1_000_100)]))
    assert [order[5:6] for order in engine.take_orders()] == [b"S"]


def test_the_imbalance_taker_stays_out_of_a_halted_book():
    engine = engine_with(samples.imbalance_taker, [500, 40, 300])
    halt = message("H", 1, TS, stock="AAPL", trading_state="H")
    engine.feed(run([halt, add(1, "B", 1000, 1_000_000), add(2, "S", 100, 1_000_100)]))
    assert engine.take_orders() == [] and engine.counters["intents"] == 0


def test_the_quoter_keeps_one_quote_on_each_side_a_tick_behind_the_touch():
    engine = engine_with(samples.two_sided_quoter, [1, 100, 1])
    engine.feed(run([add(1, "B", 10, 1_000_000), add(2, "S", 10, 1_000_300)]))
    assert [order[:1] for order in engine.take_orders()] == [b"O", b"O"]
    engine.feed(run([add(3, "B", 10, 1_000_100)]))
    assert [order[:1] for order in engine.take_orders()] == [b"U"]
    open_quotes = engine.block.own[engine.block.own["leaves"] > 0]
    assert {int(row["side"]): int(row["price"]) for row in open_quotes} == {
        ord("B"): 1_000_000,
        ord("T"): 1_000_400,  # nothing is held: a short sale
    }


@pytest.mark.parametrize("sample", [samples.imbalance_taker, samples.two_sided_quoter])
def test_the_samples_run_over_markets_and_mistakes(sample):
    engine = engine_with(sample, [1, 10, 2] if sample is samples.two_sided_quoter else [150, 10, 1])
    for stream in (market(8, 3000), collisions(8, 3000)):
        engine.feed(run(stream))
    assert engine.strategy_error is None
    assert engine.counters["intents"] > 20 and engine.counters["intents_dropped"] == 0
