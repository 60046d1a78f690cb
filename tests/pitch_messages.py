"""Multicast PITCH 2.41 written and read with `struct`, from the specification and not the tables.

``message("add_order_short", time_offset=5, order_id=7, ...)`` gives the bytes of a message, `read`
its fields, `unit` a Sequenced Unit packet; they know only what is written here, so that a wrong
offset in a wire table shows.  Prices are unscaled integers, as on the wire: 1e-4, cents in the
short forms.
"""

import struct
from collections.abc import Iterable
from types import SimpleNamespace

import itch_messages

_ORDER = "time_offset order_id "
_TRADE = _ORDER + "side_indicator "

FIELDS: dict[str, tuple[int, str, list[str]]] = {
    name: (code, form, names.split())
    for name, code, form, names in (
        ("time", 0x20, "I", "time"),
        ("unit_clear", 0x97, "I", "time_offset"),
        (
            "add_order_long",
            0x21,
            "I Q c I 6s Q B",
            _TRADE + "quantity symbol price add_order_flags",
        ),
        (
            "add_order_short",
            0x22,
            "I Q c H 6s H B",
            _TRADE + "quantity_short symbol price_short add_order_flags",
        ),
        (
            "add_order_expanded",
            0x2F,
            "I Q c I 8s Q B 4s c",
            _TRADE + "quantity symbol_extended price add_order_flags participant_id "
            "customer_indicator",
        ),
        ("order_executed", 0x23, "I Q I Q", _ORDER + "executed_quantity execution_id"),
        (
            "order_executed_at_price_size",
            0x24,
            "I Q I I Q Q",
            _ORDER + "executed_quantity remaining_quantity execution_id price",
        ),
        ("reduce_size_long", 0x25, "I Q I", _ORDER + "canceled_quantity"),
        ("reduce_size_short", 0x26, "I Q H", _ORDER + "canceled_quantity_short"),
        ("modify_order_long", 0x27, "I Q I Q B", _ORDER + "quantity price modify_order_flags"),
        (
            "modify_order_short",
            0x28,
            "I Q H H B",
            _ORDER + "quantity_short price_short modify_order_flags",
        ),
        ("delete_order", 0x29, "I Q", _ORDER),
        ("trade_long", 0x2A, "I Q c I 6s Q Q", _TRADE + "quantity symbol price execution_id"),
        (
            "trade_short",
            0x2B,
            "I Q c H 6s H Q",
            _TRADE + "quantity_short symbol price_short execution_id",
        ),
        (
            "trade_expanded",
            0x30,
            "I Q c I 8s Q Q",
            _TRADE + "quantity symbol_extended price execution_id",
        ),
        ("trade_break", 0x2C, "I Q", "time_offset execution_id"),
        ("end_of_session", 0x2D, "I", "timestamp"),
        (
            "trading_status",
            0x31,
            "I 8s c c 2s",
            "time_offset symbol_extended trading_status reg_sho_action padding",
        ),
        (
            "auction_update",
            0x95,
            "I 8s c Q I I Q Q",
            "time_offset symbol_extended auction_type reference_price buy_shares sell_shares "
            "indicative_price auction_only_price",
        ),
        (
            "auction_summary",
            0x96,
            "I 8s c Q I",
            "time_offset symbol_extended auction_opening_type price shares_contracts",
        ),
        ("retail_price_improvement", 0x98, "I 8s c", "time_offset symbol retail_price_improvement"),
    )
}
NAMES = {code: name for name, (code, _, _) in FIELDS.items()}
LENGTHS = {name: 2 + struct.calcsize("<" + form) for name, (_, form, _) in FIELDS.items()}
HEADER = struct.Struct("<HBBI")
DISPLAY, MAINTAIN_PRIORITY = 1, 2


def message(name: str, **values) -> bytes:
    """A message; a field that is not given is zero or blank."""
    code, form, names = FIELDS[name]
    given = []
    for field, kind in zip(names, form.split(), strict=True):
        value = values.pop(field, b"" if kind[-1] in "cs" else 0)
        if kind[-1] in "cs":
            size = int(kind[:-1] or "1")
            value = itch_messages.text(value, size)
            assert len(value) == size, f"{field} takes {size} characters"
        given.append(value)
    assert not values, f"{name} has no {', '.join(values)}"
    body = struct.pack("<" + form, *given)
    return bytes((2 + len(body), code)) + body


def read(raw: bytes) -> SimpleNamespace:
    """The fields of a message of known type and right length; ``name`` is the message's."""
    name = NAMES[raw[1]]
    _, form, names = FIELDS[name]
    assert raw[0] == len(raw) == LENGTHS[name]
    return SimpleNamespace(
        name=name, **dict(zip(names, struct.unpack_from("<" + form, raw, 2), strict=True))
    )


def run(messages: Iterable[bytes]) -> bytes:
    """Messages back to back, as `LINK_PITCH` lends them."""
    return b"".join(messages)


def split(raw: bytes) -> list[bytes]:
    """The messages of a run."""
    found, at = [], 0
    while at < len(raw):
        assert raw[at] >= 2
        found.append(raw[at : at + raw[at]])
        at += raw[at]
    return found


def unit(messages: list[bytes], unit: int = 1, sequence: int = 1, number: int | None = None):
    """A Sequenced Unit packet; ``number`` states another count than there are messages."""
    body = run(messages)
    count = len(messages) if number is None else number
    return HEADER.pack(HEADER.size + len(body), count, unit, sequence) + body


GROUP = ("224.0.62.2", 30001)


def frame(payload: bytes, group: tuple[str, int] = GROUP, padding: bytes = b"") -> bytes:
    """An Ethernet frame around a UDP payload."""
    return itch_messages.frame(payload, group, padding)


def packets(
    messages: list[bytes],
    each: int,
    number: int = 1,
    first: int = 1,
    group: tuple[str, int] = GROUP,
) -> list[bytes]:
    """The messages as frames of unit ``number`` with ``each`` messages in a packet."""
    return [
        frame(unit(messages[at : at + each], number, first + at), group)
        for at in range(0, len(messages), each)
    ]
