"""Books and symbols: when a book is in use, when its symbol may change, whose limits it has."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

import pitch_scenes
from itch_messages import frame, message, mold, run
from own_desk import ANYTHING, ASK, BID, BUY, Desk, desk_config, validate_own
from scenes import TS, add, counted, delete, played
from streams import CAPACITY, SMALL
from structure import validate
from tickpath import Config, Engine, digest
from tickpath.config import Limits, Risk
from tickpath.risk import Collar, Kill
from tickpath.wire.control import Limit


def directory(locate=1, stock="AAPL", lot=100):
    return message("R", locate, TS, stock=stock, round_lot_size=lot)


def trade(match, shares=10, locate=1):
    return message("P", locate, TS, shares=shares, price=1_000_000, match_number=match)


@pytest.mark.parametrize("opening", [directory(), add(1), add(1, "?"), add(1, shares=0)])
def test_a_book_is_in_use_from_its_directory_entry_or_first_order(opening):
    engine = played(opening)
    assert engine.symbols == {"AAPL": 1}
    assert engine.number_of("AAPL") == 1


def test_other_messages_do_not_open_a_book():
    others = [message(code, 1, TS, stock="AAPL") for code in "HYLKJhPQINO"]
    assert played(*others).symbols == {}


def test_the_locate_decides_which_book_an_add_is_for():
    engine = played(add(1, stock="AAPL"), add(2, stock="MSFT"))
    assert engine.symbols == {"AAPL": 1} and engine.orders_live == 2
    assert counted(engine) == {}


def test_a_book_with_orders_keeps_its_symbol():
    engine = played(add(1), directory(stock="MSFT", lot=10))
    assert engine.symbols == {"AAPL": 1}
    assert counted(engine) == {"symbol_mismatch": 1}


def test_an_empty_book_takes_another_symbol_and_forgets_the_old_one():
    engine = played(
        *(add(1), trade(5), message("H", 1, TS, stock="AAPL", trading_state="H"), delete(1)),
        *(directory(stock="MSFT"), add(2, stock="MSFT")),
    )
    assert engine.symbols == {"MSFT": 1}
    record = engine.block.book[1]
    assert (record["volume"], record["trading_state"], record["ema"]) == (0, 0, 0)
    assert engine.book_digest == digest.reference([(1, "MSFT", 0, 1_000_000, 2, 100)])


def test_the_old_symbols_trades_cannot_be_broken_out_of_the_new_ones_volume():
    engine = played(
        *(directory(), trade(5), directory(stock="MSFT"), trade(6, 1000)),
        message("B", 1, TS, match_number=5),
    )
    assert engine.block.book["volume"][1] == 1000
    assert counted(engine) == {"broken_trade_unknown": 1}


def test_a_repeated_directory_entry_changes_nothing_but_the_lot():
    engine = played(directory(lot=100), trade(5), directory(lot=10))
    assert engine.block.book["volume"][1] == 10
    assert engine.block.book["round_lot_size"][1] == 10


def test_the_venues_own_locate_is_no_book():
    engine = played(directory(locate=0), add(1, locate=0))
    assert engine.symbols == {} and counted(engine) == {"symbol_out_of_range": 2}


def test_a_locate_beyond_the_capacity_is_counted_and_left_out():
    engine = played(
        *(directory(locate=CAPACITY.symbols), add(1, locate=CAPACITY.symbols)),
        *(add(2, locate=0xFFFF), message("S", 0xFFFF, TS, event_code="O")),
    )
    assert engine.symbols == {} and counted(engine) == {"symbol_out_of_range": 4}


def test_books_opened_after_a_gap_are_stale_too():
    engine = Engine(SMALL)
    engine.feed_packet(frame(mold([add(1)], 1)))
    engine.feed_packet(frame(mold([add(2, locate=2, stock="MSFT")], 5)))
    assert engine.block.book["stale"][:4].tolist() == [0, 1, 1, 0]
    assert engine.counters["books_stale"] == 1


def test_a_book_has_its_symbols_limits_and_the_defaults_where_it_has_none():
    risk = Risk(
        max_quantity=500,
        max_notional=1000.5,
        collar_percent=1.25,
        collar_price=0.01,
        max_position=700,
        max_short=600,
        max_daily_quantity=9_000,
        max_daily_notional=2e6,
        max_loss=300.25,
        max_open_orders=8,
        symbol_orders_per_second=1_000,
        symbol_order_burst=4,
        symbols={
            "MSFT": Limits(max_quantity=7, collar_price=2.5, max_open_orders=3, order_burst=2),
            "AAPL": Limits(allowed=False, kill_switch=True, max_position=3),
        },
    )
    engine = Engine(Config(capacity=CAPACITY, risk=risk))
    engine.feed(run([directory(3, "AAPL"), directory(1, "MSFT"), add(1, locate=2, stock="ZVZZT")]))
    default = {
        "max_quantity": 500,
        "max_notional": 10_005_000,
        "max_long": 700,
        "max_short": 600,
        "max_daily_quantity": 9_000,
        "max_daily_notional": 20_000_000_000,
        "max_loss": 3_002_500,
        "rate_interval": 1_000_000,
        "rate_burst": 3_000_000,
        "max_open_orders": 8,
        "collar_bp": 125,
        "collar_px": 100,
        "own_collar": Collar.BAND,
        "allowed": 1,
        "killed": Kill.NONE,
    }
    rows = {
        number: {name: int(engine.block.limit[name][number]) for name in default}
        for number in (1, 2, 3, 4)
    }
    assert rows == {
        1: {
            **default,
            "max_quantity": 7,
            "max_open_orders": 3,
            "rate_burst": 1_000_000,
            "collar_px": 25_000,
            "own_collar": Collar.OWN,
        },
        2: default,
        3: {**default, "max_long": 3, "max_short": 3, "allowed": 0, "killed": Kill.STOP},
        4: dict.fromkeys(default, 0),
    }


def test_a_book_that_changes_its_symbol_changes_its_limits():
    risk = Risk(max_quantity=500, symbols={"MSFT": Limits(max_quantity=7)})
    engine = Engine(Config(capacity=CAPACITY, risk=risk))
    engine.feed(run([directory(1, "AAPL"), directory(1, "MSFT")]))
    assert engine.block.limit["max_quantity"][1] == 7
    engine.feed(run([directory(1, "AAPL")]))
    assert engine.block.limit["max_quantity"][1] == 500


# ---------------------------------------------------------------- symbols of several venues


CBOE = CAPACITY.symbols
"""The first book of a venue that names symbols in full."""


def desk(limited: tuple[str, ...] = (), **risk) -> Desk:
    """A desk with AAPL and MSFT quoted by Nasdaq and AAPL by Cboe; the checks named are made."""
    off = [name for name in ANYTHING.off if name not in limited]
    on = Desk(desk_config(risk=replace(ANYTHING, off=off, **risk)))
    pitch_scenes.feed(
        on.engine, [pitch_scenes.add(1, "B", 300, BID), pitch_scenes.add(2, "S", 200, ASK)]
    )
    return on


def bought(on: Desk, shares: int, book: int, match: int) -> int:
    """Buy shares in a book, executed at once at the bid."""
    ref = on.new(BUY, shares, BID, book)
    on.answer("accepted", ref)
    on.answer("executed", ref, quantity=shares, price=BID, match=match)
    return ref


def rejects(on: Desk) -> dict[str, int]:
    return on.engine.rejects_by_code


def test_symbols_of_other_venues_get_the_next_book():
    engine = Engine(SMALL)
    names = ["ZVZZT", "AAPL", "ZVZZT.WS", "MSFT"]
    pitch_scenes.feed(engine, [pitch_scenes.add(n, stock=name) for n, name in enumerate(names)])
    engine.feed(run([directory(3, "AAPL")]))
    assert {name: engine.number_of(name) for name in names} == {
        "ZVZZT": CBOE, "AAPL": 3, "ZVZZT.WS": CBOE + 2, "MSFT": CBOE + 3,
    }  # fmt: skip
    assert engine.number_of("AAPL", "cboe-bzx") == CBOE + 1
    assert engine.block.book["position"][3] == CBOE + 1, "whose book was opened first"
    validate(engine)


def test_books_of_one_symbol_share_one_position():
    on = desk()
    first, second = on.new(BUY, 100, BID), on.new(BUY, 70, BID - 100, CBOE)
    third = on.new(BUY, 5, BID, 2)
    on.answer("executed", first, quantity=100, price=BID, match=1)
    on.answer("executed", second, quantity=30, price=BID - 100, match=2)
    on.answer("executed", third, quantity=5, price=BID, match=3)
    assert on.position(1) == (130, -100 * BID - 30 * (BID - 100))
    assert on.position(2) == (5, -5 * BID) and on.position(CBOE) == (0, 0)
    record = on.engine.block.position[1]
    assert (record["open_orders"], record["open_buy"], record["day_quantity"]) == (1, 40, 130)
    assert record["best_buy"] == BID - 100
    on.answer("canceled", second, quantity=40)
    assert record["open_orders"] == record["open_buy"] == record["best_buy"] == 0
    validate_own(on.engine)
    validate(on.engine)


def test_orders_of_either_venue_count_for_one_limit():
    on = desk(("position_long",), max_position=150)
    bought(on, 100, CBOE, 1)
    on.new(BUY, 40, BID, 1)
    on.new(BUY, 11, BID, CBOE)
    assert rejects(on) == {"POSITION_LONG": 1}
    on.new(BUY, 10, BID, CBOE)
    on.new(BUY, 150, BID, 2)  # of another symbol
    assert rejects(on) == {"POSITION_LONG": 1}
    on = desk(("symbol_open_orders",), max_open_orders=2)
    for book in (CBOE, 1, CBOE, 1, 2):
        on.new(BUY, 1, BID, book)
    assert rejects(on) == {"SYMBOL_OPEN_ORDERS": 2}
    validate_own(on.engine)


def test_an_order_may_not_meet_our_own_on_the_other_venue():
    """A self match is one of a symbol: who is on both venues is not told where an order goes."""
    on = desk(("self_match",))
    on.new(BUY, 10, BID, 1)
    on.new(-BUY, 10, BID, CBOE)
    on.new(-BUY, 10, BID + 1, CBOE)
    assert rejects(on) == {"SELF_MATCH": 1}


def test_commands_by_symbol_are_for_its_books_on_all_venues():
    on = desk(("quantity",))
    who = {"who": "test", "why": "test"}
    on.engine.command("kill", scope="B", level=2, symbol="AAPL", **who)
    for book in (1, 2, CBOE):
        on.new(BUY, 1, BID, book)
    assert rejects(on) == {"SYMBOL_KILLED": 2}
    on.engine.command("kill", scope="B", level=0, symbol="AAPL", **who)
    on.engine.command("limit", symbol="AAPL", limit=Limit.MAX_QUANTITY, value=7, expires=0, **who)
    refs = [on.new(BUY, 8, BID, book) for book in (1, 2, CBOE)]
    assert rejects(on) == {"SYMBOL_KILLED": 2, "QUANTITY": 2} and refs
    pitch_scenes.feed(on.engine, [pitch_scenes.add(9, stock="MSFT")])
    on.engine.command("position", symbol="AAPL", quantity=40, cash=-9, **who)
    assert on.position(1) == (40, -9) and on.position(CBOE) == (0, 0)
    open_refs = [on.new(BUY, 1, BID, book) for book in (1, CBOE, 2, CBOE + 1)]
    on.take_sent()
    on.engine.command("cancel_all", symbol="AAPL", **who)
    on._take()
    assert sorted(sent.ref for sent in on.take_sent()) == open_refs[:2]
    validate(on.engine)


@pytest.mark.parametrize("cboe_first", [False, True])
def test_the_day_begins_once_whichever_venue_opens_the_symbol(tmp_path, cboe_first):
    start = tmp_path / "start.csv"
    start.write_text("symbol,position,prior_close,locate\nAAPL,500,99.50,3000\n")
    engine = Engine(Config(capacity=CAPACITY, risk=Risk(start_of_day=str(start))))
    if cboe_first:
        pitch_scenes.feed(engine, [pitch_scenes.add(1)])
    engine.feed(run([directory(1, "AAPL")]))
    pitch_scenes.feed(engine, [pitch_scenes.add(2)])
    held = engine.block.position["quantity"]
    assert held[held != 0].tolist() == [500] and engine.block.gate["net"][0] == 500 * 995_000
    assert engine.block.position["locate"].sum() == 3000
    validate(engine)


def test_a_new_day_begins_once_for_a_symbol():
    on = desk()
    bought(on, 100, 1, 1)
    bought(on, 50, CBOE, 2)
    on.engine.command("day_roll", who="test", why="test")
    record = on.engine.block.position[1]
    middle = (BID + ASK) // 2
    assert (record["quantity"], record["cash"], record["start_value"]) == (150, 0, 150 * middle)
    assert record["prior_close"] == middle and record["day_quantity"] == 0
    assert on.engine.block.gate["pnl"][0] == 0 and on.position(CBOE) == (0, 0)


def test_more_symbols_than_books_are_counted():
    engine = Engine(SMALL)
    names = [f"S{n}" for n in range(CAPACITY.symbols + 5)]
    pitch_scenes.feed(engine, [pitch_scenes.add(n, stock=name) for n, name in enumerate(names)])
    assert engine.counters["symbol_out_of_range"] == 5
    assert engine.orders_live == CAPACITY.symbols
    validate(engine)


def relisted(on: Desk, *symbols: str) -> None:
    """A new day: the first books' symbols are these, in their order."""
    on.engine.command("day_roll", who="test", why="test")
    rows = enumerate(symbols, 1)
    on.engine.feed(run([message("R", at, TS, stock=name) for at, name in rows]))


def emptied(on: Desk) -> Desk:
    """The desk without orders of the market in Nasdaq's books."""
    live = on.engine.resting()
    rows = live[["book", "order_ref"]][live["book"] < CBOE].tolist()
    on.engine.feed(run([delete(ref, locate=book) for book, ref in rows]))
    return on


def held_by_name(engine: Engine) -> dict[str, int]:
    table = engine.block.position
    return {
        digest.symbol_text(row["symbol"]): int(row["quantity"])
        for row in table[table["quantity"] != 0]
    }


def test_a_position_stays_with_its_symbol_when_locates_change():
    """As they do every day: book 1 was AAPL and is MSFT, book 2 was MSFT and is AAPL."""
    on = desk()
    bought(on, 100, 1, 1)
    bought(on, 7, 2, 2)
    bought(on, 50, CBOE, 3)
    emptied(on)
    relisted(on, "MSFT", "AAPL")
    assert on.engine.symbols == {"MSFT": 1, "AAPL": 2}
    assert held_by_name(on.engine) == {"AAPL": 150, "MSFT": 7}
    assert on.engine.block.book["position"][[1, 2, CBOE]].tolist() == [2, 1, 1]
    bought(on, 1, 1, 4)
    bought(on, 10, 2, 5)
    bought(on, 20, CBOE, 6)
    assert held_by_name(on.engine) == {"AAPL": 180, "MSFT": 8}
    validate_own(on.engine)
    validate(on.engine)
    again = Engine(on.engine.config)
    again.restore(on.engine.snapshot())
    assert again.state_digest == on.engine.state_digest
    assert held_by_name(again) == held_by_name(on.engine)


def test_a_symbol_that_is_gone_keeps_its_position_and_gets_it_back():
    on = desk()
    bought(on, 100, 2, 1)
    emptied(on)
    relisted(on, "AAPL", "ZVZZT")
    assert held_by_name(on.engine) == {"MSFT": 100}
    bought(on, 3, 2, 2)
    assert held_by_name(on.engine) == {"MSFT": 100, "ZVZZT": 3}
    net = int(on.engine.block.gate["net"][0])
    assert net == sum(int(row["quantity"]) * int(row["mark"]) for row in on.engine.block.position)
    again = Engine(on.engine.config)
    again.restore(on.engine.snapshot())
    for engine in (on.engine, again):
        engine.feed(run([directory(3, "MSFT")]))
        assert engine.block.book["position"][3] == 2
        assert held_by_name(engine) == {"MSFT": 100, "ZVZZT": 3}
    assert again.state_digest == on.engine.state_digest


def test_late_executions_are_of_the_symbol_that_was_ordered():
    on = desk()
    ref = on.new(BUY, 100, BID, 2)
    on.answer("accepted", ref)
    on.answer("canceled", ref, quantity=100)
    emptied(on)
    relisted(on, "AAPL", "ZVZZT")
    on.answer("executed", ref, quantity=30, price=BID, match=9)
    assert held_by_name(on.engine) == {"MSFT": 30}
    validate_own(on.engine)


def test_a_book_with_open_orders_of_ours_keeps_its_symbol():
    on = desk()
    ref = on.new(BUY, 100, BID, 2)
    on.answer("accepted", ref)
    emptied(on)
    on.engine.feed(run([directory(2, "ZVZZT")]))
    assert on.engine.symbols["MSFT"] == 2 and counted(on.engine)["symbol_mismatch"] == 1
    on.answer("canceled", ref, quantity=100)
    on.engine.feed(run([directory(2, "ZVZZT")]))
    assert on.engine.symbols["ZVZZT"] == 2


def test_positions_without_room_leave_the_book_as_it_was():
    engine = Engine(Config(capacity=replace(CAPACITY, symbols=2)))
    names = [f"S{n}" for n in range(8)]
    engine.feed(run([directory(1, name) for name in names]))
    # Four positions of books (one of them nobody's) and as many others.
    assert engine.symbols == {"S4": 1} and engine.counters["symbol_mismatch"] == 3
    engine.feed(run([directory(1, "S1")]))
    assert engine.symbols == {"S1": 1}


@given(
    st.lists(
        st.tuples(
            st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ.", min_size=1, max_size=8),
            st.sampled_from([2, 3, 4, 5]),
        ),
        min_size=1,
        max_size=14,
    )
)
def test_any_symbols_of_any_venues_are_found_by_name(named):
    config = Config(capacity=replace(CAPACITY, symbols=16))
    engine, expected = Engine(config), {}
    for number, (symbol, venue) in enumerate(named):
        engine.block.set("pitch_venue", venue)
        pitch_scenes.feed(engine, [pitch_scenes.add(number, stock=symbol)])
        expected.setdefault((venue, symbol), 16 + len(expected))
    names = {number: name for name, number in digest.VENUES.items()}
    for (venue, symbol), book in expected.items():
        assert engine.number_of(symbol, names[venue]) == book
    assert engine.orders_live == len(named)
    validate(engine)
