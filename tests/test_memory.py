"""Raw memory: every load, store and bit count beside Python's; the checked variant's verdicts."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from tickpath import memory
from tickpath.jit import CHECKED, HOT
from tickpath.wire import hot
from tickpath.wire.table import Message

U64 = (1 << 64) - 1
WORDS = st.integers(0, U64)


def at(array: np.ndarray, offset: int = 0) -> np.uint64:
    return np.uint64(array.ctypes.data + offset)


def jitted(intrinsic, arguments: int):
    """A Python entry to an intrinsic."""
    if arguments == 1:
        return njit(**HOT)(lambda one: intrinsic(one))
    if arguments == 2:
        return njit(**HOT)(lambda one, two: intrinsic(one, two))
    return njit(**HOT)(lambda one, two, three: intrinsic(one, two, three))


LOADS = {bits: jitted(getattr(memory, f"load_u{bits}"), 1) for bits in (8, 16, 32, 64)}
STORES = {bits: jitted(getattr(memory, f"store_u{bits}"), 2) for bits in (8, 16, 32, 64)}
LOAD_I64 = jitted(memory.load_i64, 1)


@pytest.mark.parametrize("bits", LOADS)
@given(st.binary(min_size=24, max_size=24), st.integers(0, 15))
def test_loads_at_any_address(bits, raw, offset):
    held = np.frombuffer(raw, np.uint8).copy()
    expected = int.from_bytes(raw[offset : offset + bits // 8], "little")
    assert int(LOADS[bits](at(held, offset))) == expected


@given(st.binary(min_size=16, max_size=16), st.integers(0, 8))
def test_a_signed_load(raw, offset):
    held = np.frombuffer(raw, np.uint8).copy()
    value = LOAD_I64(at(held, offset))
    assert value == int.from_bytes(raw[offset : offset + 8], "little", signed=True)


@pytest.mark.parametrize("bits", STORES)
@given(WORDS, st.integers(0, 15))
def test_stores_touch_their_own_bytes_only(bits, value, offset):
    held = np.full(24, 0xA5, np.uint8)
    STORES[bits](at(held, offset), np.uint64(value))
    expected = bytearray(b"\xa5" * 24)
    size = bits // 8
    expected[offset : offset + size] = (value & ((1 << bits) - 1)).to_bytes(size, "little")
    assert held.tobytes() == bytes(expected)


LEADING, TRAILING = jitted(memory.leading_zeros, 1), jitted(memory.trailing_zeros, 1)


@given(st.integers(1, U64))
def test_bit_counts(value):
    assert int(LEADING(np.uint64(value))) == 64 - value.bit_length()
    assert int(TRAILING(np.uint64(value))) == (value & -value).bit_length() - 1


@pytest.mark.parametrize("bit", range(64))
def test_bit_counts_of_every_single_bit(bit):
    assert (int(LEADING(np.uint64(1 << bit))), int(TRAILING(np.uint64(1 << bit)))) == (
        63 - bit,
        bit,
    )


COPY = jitted(memory.copy_bytes, 3)


@given(st.binary(max_size=80), st.integers(0, 7), st.integers(0, 7))
def test_a_copy_at_any_alignment(raw, source_offset, target_offset):
    source = np.frombuffer(bytes(source_offset) + raw + b"\0", np.uint8).copy()
    target = np.full(120, 7, np.uint8)
    COPY(at(target, target_offset), at(source, source_offset), np.uint64(len(raw)))
    expected = b"\7" * target_offset + raw
    assert target.tobytes() == expected.ljust(120, b"\7")


@njit(**HOT)
def fetch(address):
    memory.prefetch(address)
    return address


@pytest.mark.parametrize("address", [0, 1, 4096, U64, U64 - 4096, 1 << 47, 0xDEADBEEF])
def test_a_prefetch_never_faults(address):
    assert int(fetch(np.uint64(address))) == address


@njit(**HOT)
def read_cycles():
    return memory.cycles()


def test_the_cycle_counter_counts():
    first = int(read_cycles())
    for _ in range(1000):
        last = int(read_cycles())
    assert last != first


# ---------------------------------------------------------------- accessors


RECORD = np.dtype(
    [
        *(("u1", "u1"), ("i1", "i1"), ("u2", "u2"), ("i2", "i2"), ("u4", "u4"), ("i4", "i4")),
        *(("u8", "u8"), ("i8", "i8"), ("text", "S5"), ("several", "u2", (3,))),
    ]
)
space = memory.accessors("record", RECORD)


@njit(**HOT)
def load_all(record, out):
    memory.store_u64(out, space.u1(record))
    memory.store_u64(out + np.uint64(8), space.u2(record))
    memory.store_u64(out + np.uint64(16), space.u4(record))
    memory.store_u64(out + np.uint64(24), space.u8(record))
    memory.store_u64(out + np.uint64(32), np.uint64(space.i1(record)))
    memory.store_u64(out + np.uint64(40), np.uint64(space.i2(record)))
    memory.store_u64(out + np.uint64(48), np.uint64(space.i4(record)))
    memory.store_u64(out + np.uint64(56), np.uint64(space.i8(record)))


@njit(**HOT)
def store_all(record, unsigned, signed):
    space.set_u1(record, unsigned)
    space.set_u2(record, unsigned)
    space.set_u4(record, unsigned)
    space.set_u8(record, unsigned)
    space.set_i1(record, signed)
    space.set_i2(record, signed)
    space.set_i4(record, signed)
    space.set_i8(record, signed)


FIELDS = ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8")


@given(st.binary(min_size=3 * RECORD.itemsize, max_size=3 * RECORD.itemsize), st.integers(0, 2))
def test_accessors_read_every_field_as_numpy_does(raw, index):
    held = np.frombuffer(raw, RECORD).copy()
    out = np.zeros(8, np.uint64)
    load_all(at(held, index * RECORD.itemsize), at(out))
    expected = [int(held[name][index]) & U64 for name in FIELDS]
    assert out.tolist() == expected


@given(WORDS, st.integers(-(1 << 63), (1 << 63) - 1), st.integers(0, 2))
def test_accessors_write_every_field_and_nothing_else(unsigned, signed, index):
    held = np.frombuffer(b"\x5a" * 3 * RECORD.itemsize, RECORD).copy()
    expected = held.copy()
    store_all(at(held, index * RECORD.itemsize), np.uint64(unsigned), np.int64(signed))
    for name in FIELDS:
        kind = RECORD.fields[name][0]
        value = unsigned if kind.kind == "u" else signed
        raw = (value & ((1 << 8 * kind.itemsize) - 1)).to_bytes(kind.itemsize, "little")
        expected[name][index] = np.frombuffer(raw, kind)[0]
    assert held.tobytes() == expected.tobytes()


def test_accessors_are_made_for_integers_only():
    assert int(space.SIZE) == RECORD.itemsize
    assert not hasattr(space, "text") and not hasattr(space, "several")


# ---------------------------------------------------------------- wire fields


BIG = Message(
    *("B", "big", 36),
    (
        *(("message_type", "ascii:1"), ("a", "u8"), ("b", "u16"), ("c", "u32"), ("d", "u48")),
        *(("e", "u64"), ("word", "ascii:4"), ("stock", "ascii:8"), ("pad", "u16")),
    ),
)
LITTLE = Message("B", "little", 36, BIG.fields and [(f.name, f.kind) for f in BIG.fields], "little")


@pytest.mark.skipif(CHECKED, reason="messages must be lent in the checked variant")
@pytest.mark.parametrize("layout", [BIG, LITTLE], ids=["big", "little"])
@given(raw=st.binary(min_size=40, max_size=40), offset=st.integers(0, 4))
def test_wire_fields_are_read_as_the_table_says(layout, raw, offset):
    held = np.frombuffer(raw, np.uint8).copy()
    message = hot.message(layout)
    for field in layout.fields:
        load = READERS[layout.name, field.name]
        part = raw[offset + field.offset :][: field.size]
        order = layout.order if field.is_integer else "big"
        assert int(load(at(held, offset))) == int.from_bytes(part, order), field.name
    assert int(message.LENGTH) == 36 and int(message.TYPE) == ord("B")


READERS = {
    (layout.name, field.name): jitted(getattr(hot.message(layout), field.name), 1)
    for layout in (BIG, LITTLE)
    for field in layout.fields
}
WRITERS = {
    (layout.name, field.name): jitted(getattr(hot.message(layout), "set_" + field.name), 2)
    for layout in (BIG, LITTLE)
    for field in layout.fields
    if field.size != 6
}


@pytest.mark.parametrize("layout", [BIG, LITTLE], ids=["big", "little"])
@given(value=WORDS, offset=st.integers(0, 4))
def test_wire_fields_are_written_as_the_table_says(layout, value, offset):
    for field in layout.fields:
        if field.size == 6:
            continue
        held = np.full(48, 0x11, np.uint8)
        WRITERS[layout.name, field.name](at(held, offset), np.uint64(value))
        low = value & ((1 << 8 * field.size) - 1)
        expected = bytearray(b"\x11" * 48)
        begin = offset + field.offset
        order = layout.order if field.is_integer else "big"
        expected[begin : begin + field.size] = low.to_bytes(field.size, order)
        assert held.tobytes() == bytes(expected), field.name


# ---------------------------------------------------------------- the checked variant


def checked(code: str) -> str:
    """What a script prints in the checked variant."""
    environment = {**os.environ, "TICKPATH_CHECKED": "1"}
    found = subprocess.run(
        [sys.executable, "-c", PREAMBLE + textwrap.dedent(code)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert found.returncode == 0, found.stderr[-2000:]
    return found.stdout.strip()


PREAMBLE = """
import gc
import numpy as np
from numba import njit
from tickpath import layout, memory
from tickpath.config import Capacity, Config
from tickpath.jit import CHECKED, HOT
from tickpath.state import Block
from tickpath.wire import hot
from tickpath.wire.itch50 import ITCH50

assert CHECKED
SMALL = Config(capacity=Capacity(symbols=4, orders=512, overflow_levels=2048, trades=1024))
add = hot.message(ITCH50["add_order_no_mpid_attribution"])
peeked = hot.peek(ITCH50["add_order_no_mpid_attribution"], "price")

@njit(**HOT)
def by_index(engine, index):
    return layout.order.quantity(layout.order.at(engine, index))

@njit(**HOT)
def by_address(address):
    return layout.order.quantity(address)

@njit(**HOT)
def store(address, value):
    layout.order.set_quantity(address, value)

@njit(**HOT)
def shares(address):
    return add.shares(address)

@njit(**HOT)
def lend_message(begin, end):
    memory.lend_message(begin, end)

@njit(**HOT)
def lend_run(begin, end):
    memory.lend_run(begin, end)

@njit(**HOT)
def peek_price(address):
    return peeked(address)

def count():
    return memory.violations()[0]

def u(value):
    return np.uint64(value)
"""


def test_the_checked_variant_refuses_what_lies_outside():
    """One process for all of it: starting one and compiling costs seconds."""
    checked(
        """
        block = Block(SMALL)
        orders = block.order
        first, size = orders.ctypes.data, orders.itemsize
        last = first + (len(orders) - 1) * size
        orders["quantity"] = 7
        expected = 0

        # In its place: no violation, the value.
        for address in (first, last):
            assert by_address(u(address)) == 7 and count() == 0
        assert by_index(block.address, u(len(orders) - 1)) == 7 and count() == 0

        # Outside, misaligned, another region's record: counted, nothing read.
        outside = [0, first - size, last + size, first + 1, first + size // 2, 2**64 - 1,
                   block.level.ctypes.data, int(block.address)]
        for address in outside:
            expected += 1
            assert by_address(u(address)) == 0 and count() == expected, address
        assert memory.violations()[1] == outside[0]

        # An index beyond the region.
        for index in (len(orders), len(orders) + 5, 2**63):
            expected += 1
            by_index(block.address, u(index))
            assert count() == expected, index

        # A store outside is not done.
        whole = block.bytes.tobytes()
        for address in (first - 8, first + 4, last + size):
            expected += 1
            store(u(address), u(99))
            assert count() == expected
        assert block.bytes.tobytes() == whole
        store(u(last), u(99))
        assert orders["quantity"][-1] == 99 and count() == expected

        # A message that was lent, and one that is too short or not lent.
        raw = np.arange(64, dtype=np.uint8)
        begin = raw.ctypes.data
        lend_message(u(begin), u(begin + 36))
        assert shares(u(begin)) == int.from_bytes(bytes(range(20, 24)), "big")
        assert count() == expected
        for address in (begin + 1, begin - 1, 0):
            expected += 1
            assert shares(u(address)) == 0 and count() == expected
        lend_message(u(begin), u(begin + 35))
        expected += 1
        assert shares(u(begin)) == 0 and count() == expected

        # A run: a peek reads its own field's bytes, to the last of them.
        lend_run(u(begin), u(begin + 36))
        assert peek_price(u(begin)) == int.from_bytes(bytes(range(32, 36)), "big")
        assert count() == expected
        lend_run(u(begin), u(begin + 35))
        expected += 1
        assert peek_price(u(begin)) == 0 and count() == expected

        # A block that is gone is not there any more.
        del block, orders
        gc.collect()
        expected += 1
        assert by_address(u(first)) == 0 and count() == expected

        # More blocks than can be told apart are an error, not silence.
        blocks = []
        try:
            for _ in range(memory.RANGES_PER_REGION + 1):
                blocks.append(Block(SMALL))
        except MemoryError as error:
            assert "blocks alive" in str(error)
        else:
            raise AssertionError("no error")
        """
    )


def test_registered_ranges_are_forgotten_together():
    before = memory._BOUNDS.copy()
    region = memory.MAX_REGIONS - 1
    block = np.zeros(300, np.uint64)
    at = block.ctypes.data
    memory.register(region, block[:100])
    memory.register(region, block[200:])
    memory.unregister(at - 8, at + 808)
    changed = np.flatnonzero(before != memory._BOUNDS)
    assert memory._BOUNDS[changed].tolist() == [at + 1600, at + 2400, 8]
    memory.unregister(at + 1600, at + 2400)
    assert (before == memory._BOUNDS).all()
