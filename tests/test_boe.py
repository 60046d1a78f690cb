"""BOE orders from templates: the bytes of the table's encoder, names, what is refused."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from named_orders import MARKET, ORDER, SIDES, U64, encoded, orders
from strategies import REPEATABLE
from tickpath.boe import NAMES, BoeError, boe23_templates, stamp
from tickpath.config import Boe23Orders
from tickpath.order_template import HEAD_LENGTH, OrderMessage, OrderProtocol
from tickpath.order_text import MOST_SHARES, cl_ord_id_of, order_of
from tickpath.ouch import OuchError, token_of
from tickpath.wire import boe

KINDS = list(NAMES)


def raw_of(kind: OrderMessage, settings: Boe23Orders, order=ORDER) -> bytes:
    return encoded(kind, OrderProtocol.BOE23, boe23_templates(settings), order)


def expected(kind: OrderMessage, settings: Boe23Orders, order) -> bytes:
    """The message from the table, field by field."""
    name = NAMES[kind]
    orig = cl_ord_id_of(order["orig_order_id"], order["orig_quantity"])
    firm = {"clearing_firm": settings.clearing_firm} if settings.clearing_firm else {}
    if kind is OrderMessage.CANCEL:
        return boe.encode(name, {"orig_cl_ord_id": orig, **firm})
    at_market = order["price"] == MARKET
    values = {
        **firm,
        "cl_ord_id": cl_ord_id_of(order["order_id"], order["quantity"]),
        "order_qty": order["quantity"],
        "price": 0 if at_market else Decimal(order["price"]).scaleb(-4),
        "ord_type": "1" if at_market else "2",
    }
    if kind is OrderMessage.REPLACE:
        return boe.encode(name, {**values, "orig_cl_ord_id": orig, **settings.modify_options})
    own = {each: getattr(settings, each) for each in ("clearing_account", "account")}
    values |= {each: value for each, value in own.items() if value}
    values |= {
        "side": SIDES[order["side"]],
        "symbol": order["symbol"],
        "capacity": settings.capacity,
        "time_in_force": settings.time_in_force,
    }
    return boe.encode(name, {**values, **settings.options})


NEW_OPTIONS = {
    "exec_inst": "f",
    "min_qty": 100,
    "max_floor": 200,
    "symbol_sfx": "A",
    "display_indicator": "S",
    "peg_difference": -1,
    "prevent_match": "NMF",
    "attributed_quote": "N",
    "ext_exec_inst": "N",
    "rout_strategy": "ROUT",
    "custom_group_id": 7,
}
"""Optional fields before, between and behind those that the hot path writes."""
SETTINGS = st.builds(
    Boe23Orders,
    clearing_firm=st.sampled_from(["", "BATS", "AB"]),
    clearing_account=st.sampled_from(["", "1234"]),
    account=st.sampled_from(["", "ACCOUNT-16-CHARS"]),
    capacity=st.sampled_from("APR"),
    time_in_force=st.sampled_from("0135ERTX"),
    options=st.fixed_dictionaries({}, optional={k: st.just(v) for k, v in NEW_OPTIONS.items()}),
    modify_options=st.fixed_dictionaries(
        {}, optional={"cancel_orig_on_reject": st.just("Y"), "max_floor": st.just(100)}
    ),
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name.lower())
@given(settings=SETTINGS, order=orders(MOST_SHARES - 1, (1 << 63) - 1))
@REPEATABLE
def test_the_hot_path_writes_what_the_table_does(kind, settings, order):
    raw = raw_of(kind, settings, order)
    assert raw == expected(kind, settings, order)
    assert boe.decode(raw)["message"] == NAMES[kind]


def test_messages_by_hand():
    settings = Boe23Orders(clearing_firm="BATS")
    assert raw_of(OrderMessage.ENTER, settings) == bytes.fromhex(
        "baba 3b00 38 00 00000000"
        "5430303030303030303030343338 303030303334"
        "31 64000000 02 35 41"
        "42415453 80841e0000000000 32 30 4141504c00000000 50"
    )
    assert raw_of(OrderMessage.REPLACE, settings) == bytes.fromhex(
        "baba 4300 3a 00 00000000"
        "5430303030303030303030343338 303030303334"
        "5430303030303030303030343034 30303030 3751"
        "01 1d 42415453 64000000 80841e0000000000 32"
    )
    assert raw_of(OrderMessage.CANCEL, settings) == bytes.fromhex(
        "baba 2200 39 00 00000000 5430303030303030303030343034 30303030 3751 01 01 42415453"
    )
    assert raw_of(OrderMessage.CANCEL, Boe23Orders())[-1:] == b"\0"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name.lower())
def test_what_has_no_place_sends_nothing(kind):
    wrong = {
        OrderMessage.ENTER: [
            {"quantity": MOST_SHARES},
            {"quantity": U64},
            {"price": 1 << 63},
            {"price": U64},
            *({"side": side} for side in "X1\0"),
            *({"symbol": text} for text in WRONG_SYMBOLS),
        ],
        OrderMessage.REPLACE: [
            {"quantity": MOST_SHARES},
            {"orig_quantity": MOST_SHARES},
            {"price": 1 << 63},
        ],
        OrderMessage.CANCEL: [{"orig_quantity": MOST_SHARES}, {"orig_quantity": U64}],
    }[kind]
    assert raw_of(kind, Boe23Orders())
    for values in wrong:
        assert raw_of(kind, Boe23Orders(), {**ORDER, **values}) == b"", values


WRONG_SYMBOLS = [
    *(b"        ", b"\0\0\0\0\0\0\0\0", b"AB\x01CD   ", b"A CD    ", b" ABCD   "),
    *(b"ABCDEFG\x7f", b"\xc4BCD    ", b"\xff" * 8, b"ABC\0    ", b"AB\tC    "),
]


def test_an_empty_template_and_an_unknown_protocol_send_nothing():
    records = boe23_templates(Boe23Orders())
    unknown = max(OrderProtocol) + 1
    for kind in KINDS:
        assert encoded(kind, unknown, records, ORDER) == b""
    records["length"] = 0
    for kind in KINDS:
        assert encoded(kind, OrderProtocol.BOE23, records, ORDER) == b""


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Boe23Orders(clearing_firm="LIMES"), "clearing_firm takes 4 characters, not 5"),
        (Boe23Orders(account="a" * 17), "account takes 16 characters"),
        (Boe23Orders(account="Ärger"), "account is printable ASCII"),
        (Boe23Orders(account="A\x01B"), "account is printable ASCII"),
        (Boe23Orders(capacity="X"), r"capacity is one of A \(agency\)"),  # type: ignore[arg-type]
        (Boe23Orders(time_in_force="Z"), "time_in_force is one of"),  # type: ignore[arg-type]
        (Boe23Orders(options={"colour": 1}), "new_order has no field colour"),
        (Boe23Orders(options={"symbol": "X"}), "symbol is no option"),
        (Boe23Orders(options={"cl_ord_id": "X"}), "cl_ord_id is no option"),
        (Boe23Orders(options={"clearing_firm": "LIME"}), "new_order: clearing_firm"),
        (Boe23Orders(options={"min_qty": -1}), "min_qty is u32: -1 does not fit"),
        (Boe23Orders(options={"min_qty": "x"}), "min_qty cannot be 'x'"),
        (Boe23Orders(options={"exec_inst": 5}), "exec_inst is printable ASCII"),
        (Boe23Orders(options={"exec_inst": "?"}), "exec_inst is one of"),
        (Boe23Orders(options={"peg_difference": 0.00001}), "takes 4 decimals"),
        (Boe23Orders(modify_options={"order_qty": 1}), "order_qty is no option"),
        (Boe23Orders(modify_options={"min_qty": 1}), "modify_order has no field min_qty"),
    ],
)
def test_settings_that_boe_does_not_have(settings, words):
    # What stands in a place of the configuration's own is no option.
    if settings.options.get("clearing_firm"):
        settings = Boe23Orders(clearing_firm="BATS", options=settings.options)
    with pytest.raises(BoeError, match=words) as error:
        boe23_templates(settings)
    assert "\n" not in str(error.value)


def test_a_price_with_decimals_is_an_option_as_it_is_written():
    raw = raw_of(OrderMessage.ENTER, Boe23Orders(options={"peg_difference": 0.07}))
    assert boe.decode(raw)["peg_difference"] == Decimal("0.07")


def test_options_that_fill_a_template():
    every = {**NEW_OPTIONS, "echo_text": "e" * 64, "risk_reset": "r" * 8, "expire_time": 1}
    every |= {"stop_px": 1, "display_range": 1, "route_delivery_method": "RTI"}
    every |= {"ex_destination": "A", "locate_reqd": "Y", "discretion_amount": 1}
    settings = Boe23Orders("BATS", "1234", "a" * 16, options=every | {"routing_inst": "BPPP"})
    raw = raw_of(OrderMessage.ENTER, settings)
    assert len(raw) <= HEAD_LENGTH
    assert raw == expected(OrderMessage.ENTER, settings, ORDER)


# ---------------------------------------------------------------- what a session stamps


@given(number=st.integers(0, (1 << 32) - 1), unit=st.integers(0, 255))
@REPEATABLE
def test_a_stamp_changes_the_header_only(number, unit):
    raw = raw_of(OrderMessage.ENTER, Boe23Orders())
    stamped = bytearray(raw)
    stamp(stamped, number, unit)
    header = {"sequence_number": number, "matching_unit": unit}
    assert boe.decode(stamped) == {**boe.decode(raw), **header}


def test_a_sequence_number_that_does_not_fit():
    with pytest.raises(BoeError, match="sequence_number is u32"):
        stamp(bytearray(raw_of(OrderMessage.CANCEL, Boe23Orders())), 1 << 32)


# ---------------------------------------------------------------- names


def test_names_by_hand():
    assert cl_ord_id_of(96, 100) == "T0000000000030" + "000034"
    assert cl_ord_id_of(96, 60) == "T0000000000030" + "00001S"
    assert cl_ord_id_of(U64, MOST_SHARES - 1) == "TFVVVVVVVVVVVV" + "VVVVVV"


@given(order_id=st.integers(0, U64), quantity=st.integers(0, MOST_SHARES - 1))
@REPEATABLE
def test_a_name_says_which_order_and_which_quantity(order_id, quantity):
    name = cl_ord_id_of(order_id, quantity)
    assert order_of(name) == (order_id, quantity)
    assert name.startswith(token_of(order_id)) and len(name) == 20


@pytest.mark.parametrize("bit", range(64))
def test_every_bit_of_a_name_is_written(bit):
    for order_id in (1 << bit, U64 ^ 1 << bit):
        for quantity in (1 << bit % 30, (MOST_SHARES - 1) ^ 1 << bit % 30):
            order = {**ORDER, "orig_order_id": order_id, "orig_quantity": quantity}
            raw = raw_of(OrderMessage.CANCEL, Boe23Orders(), order)
            assert boe.decode(raw)["orig_cl_ord_id"] == cl_ord_id_of(order_id, quantity)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "T" * 20,
        "T" + "0" * 18,
        "T" + "0" * 20,
        "U" + "0" * 19,
        "T" + "0" * 18 + "W",
        "TG" + "0" * 18,
    ],
)
def test_a_name_that_is_none_of_ours(name):
    with pytest.raises(OuchError):
        order_of(name)


@pytest.mark.parametrize("quantity", [-1, MOST_SHARES])
def test_a_quantity_without_a_name(quantity):
    with pytest.raises(OuchError, match="a quantity in a ClOrdID"):
        cl_ord_id_of(1, quantity)
