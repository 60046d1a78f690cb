"""The register map: its declaration, its file, and the hardware that has it."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickpath_backends.hdl import back_model, back_orders, generate, registers, verilated
from tickpath_backends.hdl.back_model import OKAY, SLVERR, Access, Back
from tickpath_backends.hdl.error import HdlError
from tickpath_backends.hdl.profile import bits_of
from tickpath_backends.hdl.registers import TABLES, Counter, Operation, Protocol, Table

WHOLE = [table for table in Table if table is not Table.TEMPLATE]

# ---------------------------------------------------------------- the declaration


def test_the_checked_in_files_are_what_is_declared():
    for name, text in generate.constant_files().items():
        assert (generate.folder() / name).read_text() == text


def test_registers_have_places_of_their_own():
    taken: set[int] = set()
    for each in registers.REGISTERS:
        words = {each.offset + 4 * n for n in range(each.words)}
        assert not words & taken and max(words) < 1 << registers.ADDRESS_BITS
        taken |= words
        assert each.what and each.offset % (each.bits // 8) == 0
    assert {*registers.MEANINGS} == {*Counter}


@given(st.data())
def test_entries_are_packed_and_unpacked(data):
    table = data.draw(st.sampled_from(WHOLE))
    values = {}
    for name, kind in TABLES[table].fields:
        bits = bits_of(kind)
        low = -(1 << bits - 1) if kind[0] == "s" else 0
        values[name] = data.draw(st.integers(low, low + (1 << bits) - 1))
    vector = registers.packed(table, values)
    assert registers.unpacked(table, vector) == values
    if Operation.COMMIT in TABLES[table].operations:
        *words, command = registers.commit(table, 0, vector)
        assert sum(word << 32 * n for n, (_, word) in enumerate(words)) == vector
        assert command == (0x010, Operation.COMMIT << 24 | table << 16)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: registers.packed(Table.NAME, {"title": 1}), "NAME has no title"),
        (lambda: registers.packed(Table.TRADING, {"state": 256}), "0 to 255, not 256"),
        (
            lambda: registers.packed(Table.RELEASE, {"long_change": 1 << 33}),
            "-8589934592 to 8589934591",
        ),
        (lambda: registers.command(Operation.FETCH, Table.RELEASE), "RELEASE has no FETCH"),
        (lambda: registers.command(Operation.COMMIT, Table.STATE), "STATE has no COMMIT"),
        (lambda: registers.command(Operation.COMMIT, Table.NAME, 64), "0 to 63, not 64"),
        (lambda: registers.commit(Table.TRADING, 0, 256), "TRADING has 8 bits"),
        (
            lambda: registers.commit(Table.TEMPLATE, 0, 1 << 376, Protocol.OUCH50),
            "TEMPLATE has 376 bits",
        ),
    ],
)
def test_what_there_is_not_is_refused_in_one_line(wrong, said):
    with pytest.raises(HdlError, match=f"^registers: .*{said}"):
        wrong()


# ---------------------------------------------------------------- the hardware


@pytest.fixture(scope="module")
def library():
    if reason := verilated.why_not():
        pytest.skip(reason)
    return back_model.library()


@pytest.fixture
def back(library):
    made = Back(library)
    yield made
    made.close()


def test_it_says_what_it_is(back):
    assert back.value("IDENTITY").to_bytes(4, "big") == b"TICK"
    assert back.value("VERSION") == registers.VERSION
    assert back.value("PROFILE").to_bytes(4, "little") == bytes((Protocol.OUCH50, 64, 8, 0))
    assert (back.value("CONTROL"), back.value("USER_REF_NUM")) == (1, 1)
    assert back.value("LATENCY_LEAST") == 0xFFFFFFFF
    assert back.value("HALTED") == (1 << 64) - 1


def test_every_entry_of_every_table_is_kept(back):
    draw, kept = random.Random(3), {}
    for table in (Table.TRIGGER, Table.LIMITS, Table.NAME, Table.GATE, Table.TEMPLATE):
        for entry in range(TABLES[table].entries):
            bits = registers.entry_bits(table, Protocol.OUCH50)
            kept[table, entry] = draw.getrandbits(bits)
            back.commit_vector(table, entry, kept[table, entry])
    for (table, entry), vector in kept.items():
        assert back.fetch(table, entry) == registers.unpacked(table, vector), (table, entry)
    # The book is told each symbol's tick with its limits.
    ticks = [registers.unpacked(Table.LIMITS, kept[Table.LIMITS, n])["is_cents"] for n in range(64)]
    assert back.ticks == [*enumerate(ticks)]


def test_what_was_never_written_is_nothing(back):
    for table in (Table.TRIGGER, Table.LIMITS, Table.GATE, Table.TEMPLATE):
        assert not any(back.fetch(table).values())
    assert back.fetch(Table.STATE, 5) == {
        **dict.fromkeys(("long_exposure", "short_exposure", "rate_arrival"), 0),
        "is_halted": 1,
    }


def test_locates_are_handed_to_the_front(back):
    back.commit(Table.SYMBOL, 0xFFFF, is_used=1, symbol=63)
    back.commit(Table.SYMBOL, 0, is_used=1, symbol=5)
    back.commit(Table.SYMBOL, 0xFFFF)
    assert back.locates == [(0xFFFF, 1, 63), (0, 1, 5), (0xFFFF, 0, 0)]


def test_releases_are_the_hosts_word(back):
    expected = [0, 0]
    draw = random.Random(4)
    for _ in range(300):
        changes = [draw.randrange(-(1 << 33), 1 << 33) * draw.choice((0, 1, 1)) for _ in "ls"]
        back.commit(Table.RELEASE, 9, long_change=changes[0], short_change=changes[1])
        expected = [
            min(max(was + change, -(1 << 39)), (1 << 39) - 1)
            for was, change in zip(expected, changes, strict=True)
        ]
    found = back.fetch(Table.STATE, 9)
    assert [found["long_exposure"], found["short_exposure"]] == expected
    for _ in range(140):
        back.commit(Table.RELEASE, 9, long_change=(1 << 33) - 1, short_change=-(1 << 33))
    found = back.fetch(Table.STATE, 9)
    assert found["long_exposure"] == (1 << 39) - 1
    assert found["short_exposure"] == -(1 << 39)


def test_two_halves_are_of_one_moment(back):
    at = registers.BY_REGISTER["HALTED"].offset
    assert back.read(at) == 0xFFFFFFFF
    back.commit(Table.TRADING, 40, state=ord("T"))
    assert back.read(at + 4) == 0xFFFFFFFF
    assert back.value("HALTED") == (1 << 64) - 1 - (1 << 40)


def test_what_the_book_and_the_front_count_is_read_through(back):
    for name, words, select in (("BOOK_COUNTS", 16, "book"), ("FRONT_COUNTS", 63, "front")):
        for n in range(words):
            back.given[f"{select}_value"] = 7000 + n
            assert back.value(name, n) == 7000 + n
            assert back.taken[f"{select}_select"] == n
    back.given["front_value"] = 0xFEDCBA98
    assert back.value("CROSSING_LOST") == 0xFEDCBA98 and back.taken["front_select"] == 63
    back.given["book_peak"], back.given["book_dropped"] = 11, 12
    back.given["book_lost"] = 1
    names = ("BOOK_QUEUE_PEAK", "BOOK_QUEUE_DROPPED", "BOOK_STATUS")
    assert [back.value(name) for name in names] == [11, 12, 2]


def test_what_cannot_be_done_changes_nothing_and_is_counted(back):
    control = registers.BY_REGISTER["CONTROL"].offset
    back.given["s_axil_wstrb"] = 15
    wrong = [
        Access(0xFFC),
        Access(0x010),
        Access(0x002),
        Access(0x000, 1, True),
        Access(control + 2, 0, True),
        Access(0x3FC, 0, True),
        Access(0x010, 0, True),
        Access(0x010, Operation.COMMIT << 24 | len(Table) << 16, True),
        *(
            Access(0x010, operation << 24 | table << 16 | layout.entries, True)
            for table, layout in TABLES.items()
            for operation in layout.operations
            if layout.entries < 1 << 16
        ),
    ]
    assert len(wrong) > 20
    back.access(*wrong)
    back.settle()
    assert [each.response for each in wrong] == [SLVERR] * len(wrong)
    assert back.counters()["BUS_ERRORS"] == len(wrong) and back.value("CONTROL") == 1
    assert back.write(control, 0).response == OKAY and back.value("CONTROL") == 0


def test_counts_are_cleared_together(back):
    session = back_orders.session(Protocol.OUCH50, {})
    back_model.arm(back, session.template, ())
    for n in range(10):
        back.at(1 + 3 * n, gap_valid=1)
    back.run(40)
    assert back.counters()["GAPS"] == 10
    back.write(registers.BY_REGISTER["CLEAR"].offset, 2)
    assert back.counters()["GAPS"] == 10
    back.write(registers.BY_REGISTER["CLEAR"].offset, 1)
    assert not any(back.counters().values())
