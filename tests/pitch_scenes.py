"""Short scenes of PITCH: as `scenes`, an engine that played messages beside the reference."""

from collections.abc import Iterable

from comparison import assert_equal, assert_top
from pitch_messages import message, run
from pitch_streams import PITCH
from reference_pitch import PitchReference
from structure import validate
from test_pipeline import lend
from tickpath import Config, Engine
from tickpath.packet import LINK_PITCH

BASE = 0x1A2B_3C4D_5E6F_0000
OFFSET = 5
LONG_AGO = message("time", time=34_200)
"""What a session begins with, so that times are of the day."""


def feed(engine: Engine, messages: Iterable[bytes]) -> None:
    """A run of messages that comes in no packet."""
    raw = run(messages)
    if raw:
        lent, held = lend([raw], LINK_PITCH)
        engine.process(lent)
        del held


def add(ref: int, side: str = "B", shares: int = 100, price: int = 1_000_000, stock: str = "AAPL"):
    return message(
        "add_order_expanded",
        time_offset=OFFSET,
        order_id=ref,
        side_indicator=side,
        quantity=shares,
        symbol_extended=stock,
        price=price,
        add_order_flags=1,
    )


def execute(ref: int, shares: int, match: int = 1) -> bytes:
    return message(
        "order_executed", time_offset=OFFSET, order_id=ref, executed_quantity=shares,
        execution_id=match,
    )  # fmt: skip


def execute_at(ref: int, shares: int, left: int, price: int, match: int = 1) -> bytes:
    return message(
        "order_executed_at_price_size", time_offset=OFFSET, order_id=ref, executed_quantity=shares,
        remaining_quantity=left, execution_id=match, price=price,
    )  # fmt: skip


def reduce(ref: int, shares: int) -> bytes:
    return message("reduce_size_long", time_offset=OFFSET, order_id=ref, canceled_quantity=shares)


def modify(ref: int, shares: int, price: int = 1_000_000, flags: int = 1) -> bytes:
    return message(
        "modify_order_long", time_offset=OFFSET, order_id=ref, quantity=shares, price=price,
        modify_order_flags=flags,
    )  # fmt: skip


def delete(ref: int) -> bytes:
    return message("delete_order", time_offset=OFFSET, order_id=ref)


def status(code: str, stock: str = "AAPL", sho: str = "0") -> bytes:
    return message(
        "trading_status", time_offset=OFFSET, symbol_extended=stock, trading_status=code,
        reg_sho_action=sho,
    )  # fmt: skip


def clear() -> bytes:
    return message("unit_clear", time_offset=OFFSET)


def played(*given: bytes, config: Config = PITCH) -> Engine:
    """An engine after the messages, equal to the reference and sound after each of them."""
    engine, reference = Engine(config), PitchReference(config)
    for each in given:
        feed(engine, [each])
        reference.run_pitch([each])
        assert_equal(engine, reference)
    validate(engine)
    return engine


def follow(stream: Iterable[bytes], config: Config = PITCH, whole_every: int = 500) -> Engine:
    """Tops and counts equal after every message, everything else now and then and at the end."""
    engine, reference = Engine(config), PitchReference(config)
    for number, each in enumerate(stream):
        full = engine.counters["level_store_full"]
        feed(engine, [each])
        reference.run_pitch([each])
        if engine.counters["level_store_full"] > full:
            reference.leave_out_last()
        assert engine.orders_live == len(reference.orders), number
        for book in range(engine.config.capacity.symbols, engine.block.get("listed")):
            assert_top(engine, reference, book)
        if number % whole_every == 0:
            assert_equal(engine, reference)
            validate(engine)
    assert_equal(engine, reference)
    validate(engine)
    return engine
