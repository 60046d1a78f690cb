"""FIX orders from templates: the bytes of the dictionary's encoder, what peers read, stamps."""

import shutil
import subprocess
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from named_orders import MARKET, ORDER, SIDES, U64, encoded, orders
from strategies import REPEATABLE
from test_boe import WRONG_SYMBOLS
from tickpath import encode as stage
from tickpath.config import Fix44Orders
from tickpath.fix import NAMES, NO_TIME, FixOrderError, fix44_templates, stamp, utc_timestamp
from tickpath.order_template import HEAD_LENGTH, OrderMessage, OrderProtocol
from tickpath.order_text import cl_ord_id_of
from tickpath.wire import fix44

KINDS = list(NAMES)
MOST_QUANTITY, MOST_PRICE = 99_999_999, 10**12 - 1
PLAIN = Fix44Orders(sender_comp_id="US", target_comp_id="THEM")
DAY_NS = 86_400_000_000_000


def raw_of(kind: OrderMessage, settings: Fix44Orders = PLAIN, order=ORDER) -> bytes:
    return encoded(kind, OrderProtocol.FIX44, fix44_templates(settings), order)


def terms(kind: OrderMessage, order) -> dict:
    """The fields that change from order to order, in the order of the message."""
    orig = cl_ord_id_of(order["orig_order_id"], order["orig_quantity"])
    is_cancel = kind is OrderMessage.CANCEL
    quantity = order["orig_quantity"] if is_cancel else order["quantity"]
    at_market = order["price"] == MARKET
    values = {} if is_cancel else {"ord_type": "1" if at_market else "2"}
    if kind is not OrderMessage.ENTER:
        values["orig_cl_ord_id"] = orig
    values |= {
        "cl_ord_id": cl_ord_id_of(order["order_id"], 0 if is_cancel else quantity),
        "side": SIDES[order["side"]],
        "order_qty": quantity,
        "symbol": order["symbol"],
    }
    if not is_cancel and not at_market:
        values["price"] = f"{Decimal(order['price']).scaleb(-4):.4f}"
    return {**values, "transact_time": NO_TIME}


def expected(kind: OrderMessage, settings: Fix44Orders, order) -> bytes:
    """The message from the dictionary, field by field."""
    header = {
        "msg_seq_num": "000000000",
        "sending_time": NO_TIME,
        **{
            name: getattr(settings, name)
            for name in ("sender_comp_id", "target_comp_id", "sender_sub_id", "target_sub_id")
        },
    }
    names = ("account", "handl_inst", "order_capacity", "time_in_force", "ex_destination")
    if kind is OrderMessage.CANCEL:
        names = ("account",)
    constant = {name: getattr(settings, name) for name in names}
    if kind is OrderMessage.ENTER:
        constant |= {"locate_reqd": settings.locate_reqd, **settings.options}
    elif kind is OrderMessage.REPLACE:
        constant |= settings.replace_options
    values = {**header, **constant, **terms(kind, order)}
    return fix44.encode(NAMES[kind], **{key: value for key, value in values.items() if value != ""})


COMP_IDS = st.text("ABCxyz019-_.", min_size=1, max_size=16)
SUB_IDS = st.just("") | COMP_IDS
SETTINGS = st.builds(
    Fix44Orders,
    sender_comp_id=COMP_IDS,
    target_comp_id=COMP_IDS,
    sender_sub_id=SUB_IDS,
    target_sub_id=SUB_IDS,
    account=SUB_IDS,
    ex_destination=st.sampled_from(["", "XNAS"]),
    handl_inst=st.sampled_from("123"),
    order_capacity=st.sampled_from("AGIPRW"),
    time_in_force=st.sampled_from("0135"),
    locate_reqd=st.sampled_from(["", "N", "Y"]),
    options=st.fixed_dictionaries(
        {}, optional={"exec_inst": st.just("h"), "min_qty": st.just(100)}
    ),
    replace_options=st.fixed_dictionaries({}, optional={"max_floor": st.just(100)}),
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name.lower())
@given(settings=SETTINGS, order=orders(MOST_QUANTITY, MOST_PRICE))
@REPEATABLE
def test_the_hot_path_writes_what_the_dictionary_does(kind, settings, order):
    raw = raw_of(kind, settings, order)
    assert raw == expected(kind, settings, order)
    assert len(raw) <= stage.MAX_LENGTH


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name.lower())
@given(order=orders(MOST_QUANTITY, MOST_PRICE))
@REPEATABLE
def test_simplefix_reads_the_same_fields(kind, order):
    simplefix = pytest.importorskip("simplefix", reason="simplefix is not installed")
    raw = raw_of(kind, PLAIN, order)
    parser = simplefix.FixParser()
    parser.append_buffer(raw)
    message = parser.get_message()
    assert message is not None and message.encode() == raw
    for name, value in terms(kind, order).items():
        assert message.get(fix44.FIX44.by_name[name].tag) == str(value).encode(), name


def test_a_message_by_hand():
    assert raw_of(OrderMessage.ENTER).replace(b"\x01", b"|") == (
        b"8=FIX.4.4|9=159|35=D|34=000000000|52=19700101-00:00:00.000|49=US|56=THEM|"
        b"21=1|528=P|59=0|40=2|11=T0000000000438000034|54=1|38=100|55=AAPL|44=200.0000|"
        b"60=19700101-00:00:00.000|10=%b|" % raw_of(OrderMessage.ENTER)[-4:-1]
    )


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name.lower())
def test_what_has_no_place_sends_nothing(kind):
    wrong = [
        {"orig_quantity": 10**8},
        {"orig_quantity": U64},
        *({"side": side} for side in "X1\0"),
        *({"symbol": text} for text in WRONG_SYMBOLS),
    ]
    if kind is OrderMessage.ENTER:
        wrong = wrong[2:]
    if kind is not OrderMessage.CANCEL:
        wrong += [{"quantity": 10**8}, {"quantity": U64}, {"price": 10**12}, {"price": U64}]
    assert raw_of(kind)
    for values in wrong:
        assert raw_of(kind, PLAIN, {**ORDER, **values}) == b"", values


def test_an_empty_template_sends_nothing():
    records = fix44_templates(PLAIN)
    records["length"] = 0
    for kind in KINDS:
        assert encoded(kind, OrderProtocol.FIX44, records, ORDER) == b""


# ---------------------------------------------------------------- settings


def settings_with(**values) -> Fix44Orders:
    return Fix44Orders(**{"sender_comp_id": "US", "target_comp_id": "THEM", **values})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (settings_with(sender_comp_id=""), "sender_comp_id: needed"),
        (settings_with(target_comp_id=""), "target_comp_id: needed"),
        (settings_with(sender_comp_id="A\x01B"), "sender_comp_id is printable ASCII"),
        (settings_with(account="A B"), "account is printable ASCII"),
        (settings_with(account="Ä"), "account is printable ASCII"),
        (settings_with(account="A" * 250), "there is room for 256"),
        (settings_with(time_in_force="x"), r"time_in_force is one of 0 \(day\)"),
        (settings_with(order_capacity="x"), "order_capacity is one of"),
        (settings_with(locate_reqd="x"), r"locate_reqd = 'x' \(boolean\)"),
        (settings_with(options={"colour": "red"}), "no field colour"),
        (settings_with(options={"symbol": "X"}), "symbol is no option"),
        (settings_with(options={"transact_time": "X"}), "transact_time is no option"),
        (settings_with(options={"msg_seq_num": 1}), "msg_seq_num is no option"),
        (settings_with(options={"account": "X"}), "account is no option"),
        (settings_with(options={"no_party_ids": 1}), "cannot be an option"),
        (settings_with(options={"encoded_text": "x"}), "cannot be an option"),
        (settings_with(options={"min_qty": "x"}), r"min_qty = 'x' \(qty\)"),
        (settings_with(replace_options={"max_floor": "1\x012"}), "max_floor is printable ASCII"),
    ],
)
def test_settings_that_fix_does_not_have(settings, words):
    with pytest.raises(FixOrderError, match=words) as error:
        fix44_templates(settings)
    assert "\n" not in str(error.value)


def test_names_that_fill_a_template():
    plain = len(raw_of(OrderMessage.REPLACE, settings_with(account="A")))
    head = int(fix44_templates(settings_with(account="A"))[OrderMessage.REPLACE]["length"])
    settings = settings_with(account="A" * (1 + HEAD_LENGTH - head))
    long = {**ORDER, "symbol": "A" * 8, "quantity": MOST_QUANTITY, "price": MOST_PRICE}
    raw = raw_of(OrderMessage.REPLACE, settings, long)
    assert raw == expected(OrderMessage.REPLACE, settings, long) and len(raw) > plain
    with pytest.raises(FixOrderError, match="room for 256"):
        fix44_templates(settings_with(account="A" * (2 + HEAD_LENGTH - head)))


# ---------------------------------------------------------------- what a session stamps


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name.lower())
@given(
    number=st.integers(0, 10**9 - 1),
    time_ns=st.integers(0, 4_000_000_000_000_000_000),
    again=st.integers(0, 10**9 - 1),
)
@REPEATABLE
def test_a_stamp_is_the_sessions_and_the_sum_is_right(kind, number, time_ns, again):
    raw = raw_of(kind)
    stamped = bytearray(raw)
    for each in (again, number):
        stamp(stamped, each, time_ns)
    time = utc_timestamp(time_ns)
    changed = {"msg_seq_num": number, "sending_time": time, "transact_time": time}
    values = fix44.decode(stamped)
    assert values == {**fix44.decode(raw), **changed, "check_sum": values["check_sum"]}


def test_times_by_hand():
    assert utc_timestamp(0) == NO_TIME
    assert utc_timestamp(1_577_716_500_123_999_999) == "20191230-14:35:00.123"
    assert utc_timestamp(1_577_716_500_123_999_999 + DAY_NS) == "20191231-14:35:00.123"


@pytest.mark.parametrize(
    ("message", "number", "words"),
    [
        (raw_of(OrderMessage.ENTER), 10**9, "msg_seq_num is 0 to 999999999"),
        (raw_of(OrderMessage.ENTER), -1, "msg_seq_num is 0 to"),
        (b"", 1, "not a message"),
        (b"\xba\xba" + bytes(200), 1, "not a message"),
        (raw_of(OrderMessage.ENTER)[:-1], 1, "not a message"),
    ],
)
def test_what_cannot_be_stamped(message, number, words):
    with pytest.raises(FixOrderError, match=words):
        stamp(bytearray(message), number, 0)


# ---------------------------------------------------------------- what Wireshark reads

TSHARK = shutil.which("tshark")
PORT = 9878


@pytest.mark.skipif(TSHARK is None, reason="tshark is not installed (Debian: tshark)")
def test_wireshark_reads_the_same_fields(tmp_path):
    scapy = pytest.importorskip("scapy.all", reason="scapy is not installed")
    long = {**ORDER, "symbol": "ABCDEFGH", "quantity": 7, "price": 1, "side": "E"}
    at_market = {**ORDER, "price": MARKET, "side": "T"}
    sent = [(kind, order) for kind in KINDS for order in (ORDER, long, at_market)]
    frames, sequence = [], 1
    for number, (kind, order) in enumerate(sent, 1):
        raw = bytearray(raw_of(kind, PLAIN, order))
        stamp(raw, number, 1_577_716_500_123_000_000)
        frames.append(
            scapy.Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
            / scapy.IP(src="10.0.0.1", dst="10.0.0.2")
            / scapy.TCP(sport=40_000, dport=PORT, seq=sequence, ack=1, flags="PA")
            / scapy.Raw(bytes(raw))
        )
        sequence += len(raw)
    capture = tmp_path / "fix.pcap"
    scapy.wrpcap(str(capture), frames)
    wanted = ("MsgSeqNum", "SendingTime", "OrdType", "OrigClOrdID", "ClOrdID", "Side")
    wanted += ("OrderQty", "Symbol", "Price", "TransactTime", "checksum_good", "checksum_bad")
    fields = [each for name in wanted for each in ("-e", f"fix.{name}")]
    command = [TSHARK, "-r", str(capture), "-d", f"tcp.port=={PORT},fix", "-T", "fields"]
    command += ["-o", "tcp.check_checksum:FALSE", "-E", "separator=|", *fields]
    read = subprocess.run(command, capture_output=True, check=True, timeout=120, text=True)
    rows = [dict(zip(wanted, line.split("|"), strict=True)) for line in read.stdout.splitlines()]
    assert len(rows) == len(sent)
    for number, ((kind, order), row) in enumerate(zip(sent, rows, strict=True), 1):
        values = terms(kind, order)
        time = "20191230-14:35:00.123"
        assert row.pop("MsgSeqNum") == f"{number:09d}"
        assert (row.pop("SendingTime"), row.pop("TransactTime")) == (time, time)
        assert (row.pop("checksum_good"), row.pop("checksum_bad")) in {
            ("1", "0"),
            ("True", "False"),
        }
        named = {"OrdType": "ord_type", "OrigClOrdID": "orig_cl_ord_id", "ClOrdID": "cl_ord_id"}
        named |= {"Side": "side", "OrderQty": "order_qty", "Symbol": "symbol", "Price": "price"}
        assert row == {word: str(values.get(name, "")) for word, name in named.items()}
