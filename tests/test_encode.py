"""The whole pipeline with BOE and FIX: what a strategy asks for is what the bytes say.

The reference runs the same strategy with OUCH's answers; what it would have sent is written by the
encoders of the tables instead, so engine and reference are compared byte by byte.
"""

from collections import Counter
from decimal import Decimal

import pytest
from msgspec import structs

from comparison import Pair, assert_equal
from itch_messages import message, run
from named_orders import SIDES
from reference import Reference
from reference_orders import CANCEL, NEW, REPLACE, Intent, Own, twin
from scenes import FREE, TS, add
from sessions import refused, replay, session
from streams import market
from tickpath import Config, Engine, view
from tickpath.bench import kernels
from tickpath.bench.parts import EncodeNamed
from tickpath.config import Boe23Orders, ConfigError, Fills, Fix44Orders, Orders, check, load_config
from tickpath.fix import NO_TIME
from tickpath.layout import MAX_INTENTS
from tickpath.order_template import OrderMessage
from tickpath.order_text import cl_ord_id_of
from tickpath.wire import boe, fix44
from trader import LIMITS, MODIFY, NEWS, busy, script, scripted, trading

QUOTE = [add(1, "B", 300, 1_000_000), add(2, "S", 200, 1_000_200)]
MARKET_PRICE = 0x7FFFFFFF
FIX = Fix44Orders(sender_comp_id="US", target_comp_id="THEM", account="MINE")
BOE = Boe23Orders(clearing_firm="LIME", account="MINE")
ORDERS = {
    "boe23": Orders(protocol="boe23", boe23=BOE),
    "fix44": Orders(protocol="fix44", fix44=FIX),
}


class NamedPair(Pair):
    """An engine that speaks a protocol with ClOrdIDs, and the reference of all it decides."""

    def __init__(self, config: Config, strategy) -> None:
        super().__init__(config=structs.replace(config, orders=Orders()), strategy=strategy)
        self.protocol = config.orders.protocol
        self.engine = Engine(config, strategy=strategy, on_audit=self._keep)
        in_force = {"boe23": config.orders.boe23, "fix44": config.orders.fix44}[self.protocol]
        plain = Orders(time_in_force="3" if in_force.time_in_force == "3" else "0")
        self.reference = Reference(structs.replace(config, orders=plain), twin(strategy), None)
        self.reference.desk._encode = self._encode

    def _encode(self, intent: Intent, order_id: int, side: str, own: Own | None) -> bytes:
        """What an intent is on the wire, from the tables."""
        book = intent.book if intent.kind == NEW else own.book
        said = {
            "symbol": self.reference.books[book].symbol.decode("latin-1").rstrip(),
            "side": SIDES[side if intent.kind == NEW else own.side],
            "quantity": intent.quantity,
            "price": intent.price if intent.kind in (NEW, REPLACE) else own.price,
            "orig": own and cl_ord_id_of(own.order_id, own.quantity),
            "name": cl_ord_id_of(order_id, intent.quantity),
        }
        kind = intent.kind
        if kind not in (NEW, REPLACE):
            if intent.quantity <= own.executed:
                kind, said["name"] = CANCEL, cl_ord_id_of(order_id, 0)
                said["quantity"] = own.quantity
            else:
                kind, said["name"] = MODIFY, cl_ord_id_of(own.order_id, intent.quantity)
        return (self._boe if self.protocol == "boe23" else self._fix)(kind, said)

    def _boe(self, kind: int, said: dict) -> bytes:
        firm = {"clearing_firm": BOE.clearing_firm}
        if kind == CANCEL:
            return boe.encode("cancel_order", {"orig_cl_ord_id": said["orig"], **firm})
        at_market = said["price"] == MARKET_PRICE
        terms = {
            **firm,
            "cl_ord_id": said["name"],
            "order_qty": said["quantity"],
            "price": 0 if at_market else Decimal(said["price"]).scaleb(-4),
            "ord_type": "1" if at_market else "2",
        }
        if kind != NEW:
            return boe.encode("modify_order", {**terms, "orig_cl_ord_id": said["orig"]})
        constant = self.engine.config.orders.boe23
        return boe.encode(
            "new_order",
            {
                **terms,
                "side": said["side"],
                "symbol": said["symbol"],
                "account": constant.account,
                "capacity": constant.capacity,
                "time_in_force": constant.time_in_force,
            },
        )

    def _fix(self, kind: int, said: dict) -> bytes:
        names = {NEW: "new_order_single", CANCEL: "order_cancel_request"}
        at_market = said["price"] == MARKET_PRICE
        values = {
            "msg_seq_num": "000000000",
            "sending_time": NO_TIME,
            "sender_comp_id": FIX.sender_comp_id,
            "target_comp_id": FIX.target_comp_id,
            "account": FIX.account,
        }
        if kind != CANCEL:
            constant = self.engine.config.orders.fix44
            values |= {
                "handl_inst": constant.handl_inst,
                "order_capacity": constant.order_capacity,
                "time_in_force": constant.time_in_force,
                "ord_type": "1" if at_market else "2",
            }
        if kind != NEW:
            values["orig_cl_ord_id"] = said["orig"]
        values |= {
            "cl_ord_id": said["name"],
            "side": said["side"],
            "order_qty": said["quantity"],
            "symbol": said["symbol"],
        }
        if kind != CANCEL and not at_market:
            values["price"] = f"{Decimal(said['price']).scaleb(-4):.4f}"
        values["transact_time"] = NO_TIME
        return fix44.encode(names.get(kind, "order_cancel_replace_request"), **values)


def decoded(protocol: str, raw: bytes) -> dict:
    return boe.decode(raw) if protocol == "boe23" else fix44.decode(raw)


BOTH = pytest.mark.parametrize("protocol", ORDERS)
STEPS = [
    (NEW, view.BUY, 100, 999_800),
    (REPLACE, 1, 90, 999_900),
    (MODIFY, 2, 60, 0),
    (CANCEL, 2, 40, 0),
    (REPLACE, 2, 30, 999_700),
    (CANCEL, 3, 0, 0),
]


@BOTH
def test_one_order_through_its_whole_life(protocol):
    """New, replaced, made smaller twice, replaced again, cancelled: by the name it then has."""
    config = scripted(STEPS, risk=FREE, orders=ORDERS[protocol])
    pair = NamedPair(config, script)
    for each in (*QUOTE, *[NEWS] * len(STEPS)):
        pair.feed(each)
    said = [decoded(protocol, raw) for raw in pair.orders]
    names = [(each.get("orig_cl_ord_id"), each.get("cl_ord_id")) for each in said]
    # The strategy is told of each step, which is an input too.
    ids = [int(n) for n in pair.engine.block.own["order_id"][1:4]]
    assert ids[0] == 3 * MAX_INTENTS and len(set(ids)) == 3
    expected = [
        (None, cl_ord_id_of(ids[0], 100)),
        (cl_ord_id_of(ids[0], 100), cl_ord_id_of(ids[1], 90)),
        (cl_ord_id_of(ids[1], 90), cl_ord_id_of(ids[1], 60)),
        (cl_ord_id_of(ids[1], 60), cl_ord_id_of(ids[1], 40)),
        (cl_ord_id_of(ids[1], 40), cl_ord_id_of(ids[2], 30)),
    ]
    assert names[:5] == expected
    assert names[5][0] == cl_ord_id_of(ids[2], 30)
    assert [each.get("order_qty") for each in said[:5]] == [100, 90, 60, 40, 30]
    prices = [Decimal(text) for text in ("99.98", "99.99", "99.99", "99.99", "99.97")]
    assert [each["price"] for each in said[:5]] == prices
    assert [each["message"] for each in said] == (
        ["new_order", *["modify_order"] * 4, "cancel_order"]
        if protocol == "boe23"
        else ["new_order_single", *["order_cancel_replace_request"] * 4, "order_cancel_request"]
    )
    assert (said[0]["symbol"], said[0]["side"], said[0]["account"]) == ("AAPL", "1", "MINE")


@BOTH
@pytest.mark.parametrize(
    ("steps", "messages"),
    [
        # 200 of 250 are taken at the touch: cutting to no more than that is a cancel.
        ([(NEW, 1, 250, 1_000_200), (CANCEL, 1, 220, 0)], "nm"),
        ([(NEW, 1, 250, 1_000_200), (MODIFY, 1, 200, 0)], "nc"),
        ([(NEW, 1, 250, 1_000_200), (MODIFY, 1, 150, 0)], "nc"),
        ([(NEW, 1, 250, 1_000_200), (CANCEL, 1, 0, 0)], "nc"),
        ([(NEW, 1, 250, 1_000_200), (REPLACE, 1, 230, 1_000_100), (MODIFY, 2, 210, 0)], "nmm"),
        ([(NEW, 1, 100, MARKET_PRICE), (NEW, -1, 100, MARKET_PRICE)], "nn"),
        ([(NEW, 1, 100, 1_000_000), (MODIFY, 1, 100, 0)], "n"),
        ([(NEW, -1, 999_999, 199_999_0000), (CANCEL, 1, 1, 0)], "nm"),
    ],
)
def test_what_is_left_of_an_order_decides_what_is_sent(protocol, steps, messages):
    pair = NamedPair(scripted(steps, risk=FREE, orders=ORDERS[protocol]), script)
    for each in (*QUOTE, *[NEWS] * len(steps)):
        pair.feed(each)
    kinds = {"new_order": "n", "modify_order": "m", "cancel_order": "c"}
    kinds |= {"new_order_single": "n", "order_cancel_request": "c"}
    kinds["order_cancel_replace_request"] = "m"
    said = [decoded(protocol, raw) for raw in pair.orders]
    assert "".join(kinds[each["message"]] for each in said) == messages


@BOTH
@pytest.mark.parametrize("in_force", ["0", "3"])
def test_a_busy_strategy_beside_its_twin(protocol, in_force):
    """Every order of a strategy that asks for everything, byte by byte."""
    orders = ORDERS[protocol]
    if protocol == "boe23":
        orders = structs.replace(orders, boe23=structs.replace(BOE, time_in_force=in_force))
    else:
        orders = structs.replace(orders, fix44=structs.replace(FIX, time_in_force=in_force))
    said = []
    for risk, seed in ((LIMITS, 1), (FREE, 2)):
        pair = NamedPair(structs.replace(trading("ouch50", 200, risk=risk), orders=orders), busy)
        for each in market(seed, 700):
            pair.feed(each)
        assert_equal(pair.engine, pair.reference)
        said += [decoded(protocol, raw) for raw in pair.orders]
    messages = Counter(each["message"] for each in said)
    assert len(said) > 200 and (in_force == "3" or len(messages) == 3), messages
    assert {"1", "2", "5"} <= {each.get("side") for each in said}


@BOTH
def test_a_symbol_that_has_no_text_is_refused_by_the_gate_and_counted(protocol):
    """A feed can name a stock as it likes; what it says never becomes a field of its own."""
    steps = [(NEW, view.BUY, 100, 1_000_000)]
    engine = Engine(scripted(steps, risk=FREE, orders=ORDERS[protocol]), strategy=script)
    values = {"side": "B", "shares": 300, "price": 1_000_000}
    engine.feed(run([message("A", 1, TS, ref=1, stock="A\x0144=1", **values)]))
    engine.feed(
        run(
            [
                message(
                    "A",
                    1,
                    TS,
                    ref=2,
                    stock="A\x0144=1",
                    **{**values, "side": "S", "price": 1_000_200},
                )
            ]
        )
    )
    engine.feed(run([NEWS]))
    assert engine.take_orders() == []
    assert engine.rejects_by_code == {"MALFORMED": 1}


# ---------------------------------------------------------------- the benchmark's rows


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("BOE", kernels.encode_boe_news, kernels.encode_boe_replaces),
        ("FIX", kernels.encode_fix_news, kernels.encode_fix_replaces),
    ],
)
def test_the_benchmark_finds_other_bytes(name, right, wrong):
    """Replaces where new orders are expected; more messages than quantities go round."""
    new, replacement = OrderMessage.ENTER, OrderMessage.REPLACE
    assert EncodeNamed(name, new, right, 2_500).run().problems == ()
    assert EncodeNamed(name, replacement, wrong, 500).run().problems == ()
    assert EncodeNamed(name, new, wrong, 500).run().problems == (
        "not every message was written",
        "bytes differ from the tables' encoder",
    )


# ---------------------------------------------------------------- configuration


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            Config(orders=ORDERS["boe23"], fills=Fills(model="exchange")),
            ["fills.model", "boe23", "touch, through or queue"],
        ),
        (
            Config(orders=ORDERS["fix44"], fills=Fills(model="exchange")),
            ["fills.model", "fix44"],
        ),
        (Config(orders=Orders(protocol="fix44")), ["orders.fix44.sender_comp_id"]),
        (
            Config(orders=Orders(protocol="fix44", fix44=Fix44Orders(sender_comp_id="US"))),
            ["orders.fix44.target_comp_id"],
        ),
        (
            Config(orders=Orders(protocol="boe23", firm="LIME")),
            ["orders.firm", "OUCH", "[orders.boe23]"],
        ),
        (Config(orders=Orders(protocol="boe23", time_in_force="3")), ["orders.time_in_force"]),
        (
            Config(orders=Orders(protocol="boe23", boe23=Boe23Orders(options={"colour": 1}))),
            ["orders: ", "colour"],
        ),
        (
            Config(
                orders=Orders(protocol="fix44", fix44=structs.replace(FIX, options={"colour": 1}))
            ),
            ["orders: ", "colour"],
        ),
    ],
)
def test_configurations_that_cannot_be_are_one_line(config, words):
    with pytest.raises(ConfigError) as error:
        Engine(config)
    line = str(error.value)
    assert "\n" not in line and all(word in line for word in words), line


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('[orders.boe23]\nclearing_firm = "LIMES"', "orders.boe23.clearing_firm"),
        ('[orders.boe23]\naccount = "A B"', "orders.boe23.account"),
        ('[orders.boe23]\ncapacity = "X"', "orders.boe23.capacity"),
        ('[orders.boe23]\ntime_in_force = "4"', "orders.boe23.time_in_force"),
        ('[orders.fix44]\nsender_comp_id = "ABCDEFGHIJKLMNOPQ"', "orders.fix44.sender_comp_id"),
        ('[orders.fix44]\ntarget_comp_id = "Ä"', "orders.fix44.target_comp_id"),
        ('[orders.fix44]\ncolour = "red"', "colour"),
    ],
)
def test_what_a_file_says_is_checked_when_it_is_read(tmp_path, text, word):
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=str(path)) as error:
        load_config(path)
    assert word in str(error.value) and "\n" not in str(error.value)


def test_the_other_protocols_tables_may_stay_in_a_file():
    check(Config(orders=structs.replace(ORDERS["boe23"], protocol="ouch50", fix44=FIX)))


# ---------------------------------------------------------------- the command


CONFIGS = {
    "boe23": '[orders]\nprotocol = "boe23"\n[orders.boe23]\nclearing_firm = "LIME"\n',
    "fix44": '[orders]\nprotocol = "fix44"\n'
    '[orders.fix44]\nsender_comp_id = "US"\ntarget_comp_id = "THEM"\n',
}


@BOTH
def test_replay_writes_orders_of_the_protocol(tmp_path, protocol):
    orders, config = tmp_path / "orders.bin", tmp_path / "c.toml"
    config.write_text(CONFIGS[protocol] + "[strategy]\nparameters = [2, 100, 1]\n")
    strategy = ("--strategy", "tickpath.samples:two_sided_quoter")
    result = replay(session(), "--config", config, "--orders", orders, *strategy)
    raw, found = orders.read_bytes(), []
    while raw:
        length = int.from_bytes(raw[:2], "big")
        found.append(decoded(protocol, raw[2 : 2 + length]))
        raw = raw[2 + length :]
    assert len(found) == result["orders"]["sent"] > 20
    new = [each for each in found if each["message"].startswith("new_order")]
    assert all(each["symbol"] and each["price"] > 0 for each in new)
    names = [each["cl_ord_id"] for each in found if "cl_ord_id" in each]
    assert len(set(names)) == len(names)
    assert {each.get("orig_cl_ord_id") for each in found} - {None} <= set(names)


def test_the_command_says_what_is_wrong_in_one_line(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text(CONFIGS["boe23"] + '[fills]\nmodel = "exchange"\n')
    line = refused("replay", session(), "--config", path)
    assert str(path) in line and "fills.model" in line
