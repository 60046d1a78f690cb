"""The encoder with its serialiser in Verilator: bytes, back-pressure, what is refused."""

import random

import pytest

from tickpath.wire import fix44
from tickpath_backends.hdl import back_model, back_orders, verilated
from tickpath_backends.hdl.back_reference import Intent
from tickpath_backends.hdl.registers import Protocol

if reason := verilated.why_not():
    pytest.skip(reason, allow_module_level=True)

NAMES = {0: "A", 1: "AAPL", 2: "ABCDEFGH", 3: "BRK.A"}
DEPTH = 4
WORDS = {Protocol.OUCH50: 6, Protocol.OUCH42: 7}
EXTRA = {Protocol.OUCH50: 0, Protocol.OUCH42: 0, Protocol.FIX44: back_model.FIX_CYCLES}


class Bench:
    """An `encode_top`, driven cycle by cycle; orders are collected whole."""

    def __init__(self, protocol: Protocol, width: int = 64, seed: int = 3) -> None:
        made = verilated.build(
            back_model.ENCODE,
            "encode_top",
            {"PROTOCOL": int(protocol), "DEPTH": DEPTH, "DW": width},
            "-O0",
        )
        self.session = back_orders.session(protocol, NAMES)
        self.model = verilated.Model(made, seed)
        self.given, self.taken = self.model.inputs[0], self.model.outputs[0]
        self.width = width // 8
        self.cycle = self.refused = self.textless = 0
        self.orders: list[tuple[int, bytes]] = []
        self.firsts: list[int] = []
        self.taken_ = 0
        self._words: list[bytes] = []
        self._shown = -1
        self.put("template_", self.session.template)
        self.given["rst"] = 1
        self.model.step(3)
        self.given["rst"] = 0

    def put(self, name: str, value: int) -> None:
        shape = self.given.dtype[name].shape
        words = [value >> 64 * n & (1 << 64) - 1 for n in range(shape[0] if shape else 1)]
        self.given[name] = words if shape else words[0]

    def step(
        self, intent: Intent | None = None, is_short: bool = False, ready: bool = True
    ) -> None:
        self.given["in_valid"] = intent is not None
        if intent is not None:
            self.put("in_intent", intent.vector)
            self.given["in_is_short"] = is_short
            name = NAMES.get(intent.symbol, "").encode().ljust(8)
            self.given["in_name"] = int.from_bytes(name, "big")
            self.given["in_sideband"] = intent.tag
        self.given["m_axis_tready"] = ready
        self.model.step()
        taken = self.taken
        self.refused += int(taken["was_refused"])
        self.textless += int(taken["was_textless"])
        self.taken_ += int(taken["was_taken"])
        if taken["first"]:
            self.firsts.append(int(taken["first_sideband"]))
        if taken["m_axis_tvalid"]:
            if self._shown < 0:
                self._shown = self.cycle
            if ready:
                data = taken["m_axis_tdata"]
                number = (
                    int(data)
                    if self.width <= 8
                    else sum(int(w) << 64 * n for n, w in enumerate(data))
                )
                self._words.append(
                    back_model.word_bytes(number, int(taken["m_axis_tkeep"]), self.width)
                )
                if taken["m_axis_tlast"]:
                    self.orders.append((self._shown, b"".join(self._words)))
                    self._words, self._shown = [], -1
        self.cycle += 1


def intents(draw: random.Random, count: int):
    for n in range(count):
        yield Intent(
            draw.randrange(4),
            draw.randrange(2),
            min(draw.randrange(10 ** draw.randint(1, 10)), 1_999_999_900),
            draw.randrange(10 ** draw.randint(1, 6)),
            draw.getrandbits(48),
            draw.choice((draw.getrandbits(60), draw.getrandbits(20))),
            n & 0xFFFF,
            0,
        )


@pytest.mark.parametrize("protocol", [*Protocol], ids=lambda each: each.name)
@pytest.mark.parametrize("stall", [0.0, 0.5, 0.93])
def test_orders_are_the_tables_bytes(protocol, stall):
    bench, draw = Bench(protocol), random.Random(int(stall * 100) + protocol)
    made, number = [], 1
    for intent in intents(draw, 150):
        is_short = bool(draw.randrange(2))
        before = bench.refused, bench.taken_
        bench.step(intent, is_short, draw.random() >= stall)
        for _ in range(draw.choice((3, 8, 40))):
            bench.step(ready=draw.random() >= stall)
        while before == (bench.refused, bench.taken_):
            bench.step(ready=draw.random() >= stall)
        if bench.taken_ > before[1]:
            made.append((intent.tag, bench.session.encode(intent, is_short, number)))
            number += 1
    for _ in range(3000):
        bench.step(ready=draw.random() >= stall)
    assert [data for _, data in bench.orders] == [data for _, data in made]
    assert bench.firsts == [tag for tag, _ in made]
    assert bench.refused == 150 - len(made) and bench.textless == 0
    # Of OUCH as many words come as may leave at most.
    assert bench.refused > 0 if stall > 0.9 else bench.refused < 100
    assert bench.taken["next_user_ref_num"] == number
    if protocol is Protocol.FIX44:
        assert fix44.decode(bench.orders[0][1])["symbol"] in NAMES.values()


@pytest.mark.parametrize("protocol", [*Protocol], ids=lambda each: each.name)
def test_the_first_word_comes_after_one_cycle(protocol):
    bench = Bench(protocol)
    for intent in intents(random.Random(7), 20):
        at = bench.cycle
        bench.step(intent)
        for _ in range(60):
            bench.step()
        assert bench.orders[-1][0] == at + 1 + EXTRA[protocol]


def test_orders_follow_each_other_without_a_gap():
    bench = Bench(Protocol.OUCH50)
    for intent in intents(random.Random(8), 3):
        bench.step(intent)
    for _ in range(30):
        bench.step()
    assert [at for at, _ in bench.orders] == [1, 7, 13]
    assert bench.taken["peak"] == 2


def test_what_finds_no_room_leaves_nothing_on_the_wire():
    bench = Bench(Protocol.OUCH50)
    made = [*intents(random.Random(9), DEPTH + 5)]
    for intent in made:
        bench.step(intent, ready=False)
    bench.step(ready=False)
    # One stands at the output, DEPTH wait.
    assert bench.refused == 4 and bench.taken["next_user_ref_num"] == DEPTH + 2
    assert not bench.orders
    for _ in range(80):
        bench.step()
    expected = [
        bench.session.encode(each, False, n + 1) for n, each in enumerate(made[: DEPTH + 1])
    ]
    assert [data for _, data in bench.orders] == expected
    assert bench.taken["peak"] == DEPTH


def test_a_place_that_is_left_is_taken_at_once():
    """The FIFO is full, and its first leaves in the cycle in which another comes."""
    bench = Bench(Protocol.OUCH50)
    made = [*intents(random.Random(10), DEPTH + 2)]
    for intent in made[:-1]:
        bench.step(intent, ready=False)
    for _ in range(5):
        bench.step()
    bench.step()  # the last word leaves; behind it the next message loads
    bench.step(made[-1])
    for _ in range(80):
        bench.step()
    assert bench.refused == 0 and len(bench.orders) == DEPTH + 2


@pytest.mark.long
@pytest.mark.parametrize("width", [32, 128])
def test_other_widths_of_the_stream(width):
    bench = Bench(Protocol.OUCH50, width)
    made = [*intents(random.Random(11), 5)]
    for intent in made:
        bench.step(intent)
        for _ in range(13):
            bench.step()
    expected = [bench.session.encode(each, False, n + 1) for n, each in enumerate(made)]
    assert [data for _, data in bench.orders] == expected


def test_a_symbol_that_has_no_text_in_fix_is_counted():
    bench = Bench(Protocol.FIX44)
    (intent,) = intents(random.Random(12), 1)
    bench.step(intent._replace(symbol=9, quantity=5, price=7))
    for _ in range(40):
        bench.step()
    assert (bench.textless, bench.taken_, bench.refused, bench.orders) == (1, 0, 0, [])
    assert bench.taken["next_user_ref_num"] == 1


def test_the_host_sets_the_next_number():
    bench = Bench(Protocol.OUCH50)
    made = [*intents(random.Random(13), 3)]
    for n, intent in enumerate(made):
        bench.given["ref_we"], bench.given["ref_value"] = n == 1, 0xFFFFFFFF
        bench.step(None)
        bench.given["ref_we"] = 0
        bench.step(intent)
    for _ in range(30):
        bench.step()
    numbers = (1, 0xFFFFFFFF, 0)
    expected = [bench.session.encode(each, False, n) for n, each in zip(numbers, made, strict=True)]
    assert [data for _, data in bench.orders] == expected
