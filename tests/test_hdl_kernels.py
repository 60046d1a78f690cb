"""The DSLX kernels: their own tests, their proofs, and thousands of inputs against plain Python."""

import random
from pathlib import Path

import pytest

import hdl_reference as reference
from tickpath.wire.itch50 import ITCH50
from tickpath_backends.hdl import xls
from tickpath_backends.hdl.error import HdlError
from tickpath_backends.hdl.profile import PROFILE, Kind, Trigger

pytestmark = pytest.mark.skipif(xls.why_not() is not None, reason=str(xls.why_not()))
pytest.importorskip("xls", reason="DSLX needs xls-python")

SOURCES = sorted(xls.path_of("risk").parent.glob("*.x"))
EDGES = {
    bits: sorted({0, 1, 2, (1 << bits) - 1, (1 << bits) - 2, 1 << (bits - 1)})
    for bits in (1, 2, 8, 16, 20, 32, 36, 48, 64)
}


def kernel(module: str, function: str):
    """A kernel compiled to machine code: `Frame.call`."""
    from tickpath_backends.hdl import aot

    return aot.Frame(aot.native(module, function)).call


def some(draw: random.Random, bits: int) -> int:
    """A number of so many bits: an edge, a small one, or any."""
    how = draw.random()
    if how < 0.2:
        return draw.choice(EDGES[bits]) & ((1 << bits) - 1)
    return draw.getrandbits(draw.randint(1, bits))


# ---------------------------------------------------------------- the sources' own tests


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_the_tests_of_a_source_pass(path):
    found = xls.run_tests(path)
    assert found and not {name: said for name, said in found.items() if said}


def test_a_failing_test_is_reported(tmp_path: Path):
    source = tmp_path / "wrong.x"
    source.write_text("#[test]\nfn is_wrong() { assert_eq(u8:1, u8:2) }\n")
    assert "assertion failure" in xls.run_tests(source)["is_wrong"].lower()
    source.write_text("#[test]\nfn says_nothing() { }\n")
    assert xls.run_tests(source) == {"says_nothing": "asserts nothing"}
    source.write_text("fn is_no_dslx(")
    with pytest.raises(HdlError, match=r"wrong\.x"):
        xls.run_tests(source)


# ---------------------------------------------------------------- proofs

PROPERTIES = [(path.stem, name) for path in SOURCES for name in xls.properties_of(path)]


@pytest.mark.parametrize(("module", "name"), PROPERTIES, ids=lambda each: each)
def test_proved_for_all_inputs(module, name):
    from tickpath_backends.hdl import proof

    found = proof.prove(module, name)
    assert found.is_proved, found.counterexample


def test_every_kernel_with_a_duty_has_a_proof():
    proved = {module for module, _ in PROPERTIES}
    assert proved >= {each.module for each in xls.KERNELS}


# ---------------------------------------------------------------- ITCH


def itch_messages(draw: random.Random, count: int):
    """Messages of all types, of random bytes, some of them of another length or type."""
    sides = ord("B"), ord("S"), ord("S"), ord("B"), ord("X")
    for _ in range(count):
        layout = draw.choice(ITCH50.messages)
        raw = bytearray(draw.randbytes(layout.length))
        raw[0] = ord(layout.type)
        if (side := layout.by_name.get("buy_sell_indicator")) is not None:
            raw[side.offset] = draw.choice(sides)
        if (printable := layout.by_name.get("printable")) is not None:
            raw[printable.offset] = draw.choice(b"YN")
        how = draw.random()
        if how < 0.05:
            raw[0] = draw.randrange(256)
        elif how < 0.1:
            raw = raw[: draw.randint(0, len(raw))]
        elif how < 0.15:
            raw += draw.randbytes(draw.randint(1, 9))
        yield bytes(raw)


def test_itch_fields_are_the_tables():
    call, draw = kernel("itch_fields", "itch_fields"), random.Random(50)
    seen = set()
    for message in itch_messages(draw, 6000):
        aligned = message[: PROFILE.message_bytes]
        behind = draw.randbytes(PROFILE.message_bytes - len(aligned))
        found = call(int.from_bytes(aligned + behind, "big"), len(message))
        expected = reference.itch_fields(message)
        assert found == expected, message.hex()
        seen.add((Kind(found["kind"]), found["op"], found["is_print"]))
    assert {kind for kind, _, _ in seen} == set(Kind)
    assert {op for kind, op, _ in seen if kind is Kind.OPERATION} == set(range(5))


def test_the_longest_message_fits():
    assert max(each.length for each in ITCH50.messages) == PROFILE.message_bytes


# ---------------------------------------------------------------- book


def test_orders_are_reduced_as_the_books_do():
    call, draw = kernel("book_step", "order_reduce"), random.Random(51)
    for _ in range(4000):
        remaining, shares = some(draw, 32), some(draw, 32)
        if draw.random() < 0.2:
            shares = remaining
        op = draw.randint(1, 4)
        assert call(remaining, op, shares) == reference.order_reduce(remaining, op, shares)


def test_prices_are_ticks_of_a_window():
    of, draw = kernel("book_step", "tick_of"), random.Random(52)
    back, centre = kernel("book_step", "price_of"), kernel("book_step", "centred_base")
    tracked = 0
    for _ in range(6000):
        is_cents, price = draw.randint(0, 1), some(draw, 32)
        far = draw.choice((0, 1, 99, 100, 1023, 1024, 102_299, 102_300, 102_399, 102_400))
        base = draw.choice((some(draw, 32), max(price - far, 0), max(price - 100 * far, 0)))
        index, is_tracked = reference.tick_of(price, base, is_cents)
        found = of(price, base, is_cents)
        assert found["is_tracked"] == is_tracked
        if is_tracked:
            tracked += 1
            assert found["index"] == index and back(index, base, is_cents) == price
        middle = centre(price, is_cents)
        half = 512 * (100 if is_cents else 1)
        assert middle == (price - half if price >= half else price % 100 if is_cents else 0)
    assert tracked > 1000


# ---------------------------------------------------------------- trigger


def a_trigger(draw: random.Random):
    """A top and parameters that are often at the edge of what is waited for."""
    bid, spread = some(draw, 32), some(draw, 8)
    ask = min(bid + spread, 0xFFFFFFFF) if draw.random() < 0.9 else some(draw, 32)
    ratio, ask_sz = draw.randrange(8), some(draw, 32)
    bid_sz = draw.choice((ask_sz << ratio, (ask_sz << ratio) + 1, some(draw, 36)))
    if draw.random() < 0.3:
        bid_sz, ask_sz = ask_sz, bid_sz
    top = {
        "symbol": some(draw, 8) & 63,
        "bid_px": bid,
        "bid_sz": bid_sz & (1 << 36) - 1,
        "ask_px": ask,
        "ask_sz": ask_sz & (1 << 36) - 1,
        "orders_overflow": int(draw.random() < 0.05),
        "window_overflow": int(draw.random() < 0.05),
        "sideband_ts_event": some(draw, 48),
        "sideband_input_number": some(draw, 64),
        "sideband_tag": some(draw, 16),
    }
    parameters = {
        "kind": draw.choice([*Trigger]),
        "is_sell": draw.randint(0, 1),
        "price": draw.choice((bid, ask, max(bid - 1, 0), min(ask + 1, 0xFFFFFFFF))),
        "spread": draw.choice((spread, max(spread - 1, 0), some(draw, 32))),
        "ratio_log2": ratio,
        "least": draw.choice((0, bid_sz & 0xFFFFFFFF, ask_sz & 0xFFFFFFFF)),
        "quantity": some(draw, 32),
        "slippage": some(draw, 16),
    }
    return top, parameters, draw.choice((0, 0, 1, 2, 3))


def test_triggers_fire_as_their_words_say():
    call, draw = kernel("trigger", "trigger_step"), random.Random(53)
    fired = dict.fromkeys(Trigger, 0)
    for _ in range(8000):
        top, parameters, held = a_trigger(draw)
        found, expected = call(top, parameters, held), reference.trigger_step(top, parameters, held)
        said = [name for name in expected if found["fires"] or name in ("fires", "holds")]
        assert all(found[name] == expected[name] for name in said), (top, parameters, held)
        assert found["intent_symbol"] == top["symbol"]
        for name in ("ts_event", "input_number", "tag"):
            assert found[f"intent_sideband_{name}"] == top[f"sideband_{name}"]
        fired[parameters["kind"]] += found["fires"]
    assert not fired.pop(Trigger.OFF) and min(fired.values()) > 100


# ---------------------------------------------------------------- risk


def a_case(draw: random.Random):
    """An intent, limits and states, most amounts within one of their limits."""

    def near(limit: int, least: int = 0) -> int:
        return max(limit + draw.choice((-2, -1, 0, 0, 1)), least)

    quantity, price = draw.choice((100, 1, 999_999, some(draw, 20))), some(draw, 32) & 0x7FFFFFFF
    cents, ticks, sells = draw.randint(0, 1), some(draw, 8), draw.randint(0, 1)
    width = ticks * (100 if cents else 1)
    reference_px = near(price + width if sells else price - width) & 0xFFFFFFFF
    now, burst = some(draw, 48), some(draw, 32)
    limits = {
        "is_enabled": int(draw.random() < 0.95),
        "is_cents": cents,
        "max_quantity": near(quantity),
        "max_notional": near(price * quantity),
        "collar_ticks": ticks,
        "max_long": some(draw, 32),
        "max_short": some(draw, 32),
        "rate_interval": some(draw, 48),
        "rate_burst": burst,
    }
    state = {
        "is_halted": int(draw.random() < 0.05),
        "long_exposure": limits["max_long"] - near(quantity),
        "short_exposure": draw.choice((limits["max_short"] - near(quantity), -near(quantity))),
        "rate_arrival": max(now + burst + draw.choice((-1, 0, 0, 1)), 0),
    }
    gate_limits = {
        "is_killed": int(draw.random() < 0.05),
        "rate_interval": some(draw, 48),
        "rate_burst": burst,
    }
    gate = {"rate_arrival": max(now + burst + draw.choice((-5, 0, 0, 1)), 0)}
    intent = {"symbol": 1, "is_sell": sells, "price": price, "quantity": quantity}
    return intent, now, reference_px, gate_limits, limits, gate, state


def test_every_verdict_is_the_plain_ones():
    call, draw = kernel("risk", "risk_step"), random.Random(54)
    bits, accepted = [0] * 8, 0
    for _ in range(8000):
        case = a_case(draw)
        found, expected = call(*case), reference.risk_step(*case)
        assert found == expected, case
        accepted += found["verdict_is_accepted"]
        for bit in range(8):
            bits[bit] += found["verdict_failed"] >> bit & 1
    assert accepted > 100 and min(bits) > 100


def test_the_notional_is_the_product():
    parts, whole = kernel("risk", "risk_products"), kernel("risk", "risk_notional")
    draw = random.Random(55)
    for _ in range(4000):
        price, quantity = some(draw, 32), some(draw, 32)
        assert whole(parts(price, quantity)) == price * quantity


def test_releases_are_what_the_host_says():
    call, draw = kernel("risk", "risk_release"), random.Random(56)
    least, most = -(1 << 39), (1 << 39) - 1
    for _ in range(2000):
        state = {
            "is_halted": 1,
            "long_exposure": draw.choice((most, least, some(draw, 36))),
            "short_exposure": -some(draw, 36),
            "rate_arrival": some(draw, 48),
        }
        changes = [some(draw, 32) * draw.choice((1, -1)) for _ in range(2)]
        found = call(state, *changes)
        expected = {
            **state,
            "long_exposure": min(max(state["long_exposure"] + changes[0], least), most),
            "short_exposure": min(max(state["short_exposure"] + changes[1], least), most),
        }
        assert found == expected


# ---------------------------------------------------------------- indicators


def test_averages_are_rounded_as_the_software_rounds():
    call, draw = kernel("indicators", "ema_step"), random.Random(57)
    for window in (
        1,
        2,
        3,
        32,
        99,
        1000,
        1_000_000,
        *(draw.randint(1, 1_000_000) for _ in "12345"),
    ):
        divisor = {"divisor": window + 1, "reciprocal": (1 << 49) // (window + 1)}
        has, value = 0, 0
        for _ in range(500):
            price, shares = some(draw, 32), draw.choice((1, 100, 0))
            found = call({"has_print": has, "value": value}, divisor, price, shares)
            has, value = reference.ema_step(has, value, window, price, shares)
            assert found == {"has_print": has, "value": value}


def test_volume_and_money_add_up():
    step, undo = kernel("indicators", "vwap_step"), kernel("indicators", "vwap_undo")
    draw, state = random.Random(58), {"volume": 0, "notional": 0}
    for _ in range(2000):
        price, shares = some(draw, 32), some(draw, 32)
        after = step(state, price, shares)
        assert after["volume"] == (state["volume"] + shares) & (1 << 64) - 1
        assert after["notional"] == (state["notional"] + price * shares) & (1 << 64) - 1
        assert undo(after, price, shares) == state
        state = after
