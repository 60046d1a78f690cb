"""ITCH 5.0 and MoldUDP64 written and read with `struct`, from the specification and not the tables.

``message("A", 1, ts, order_reference_number=7, ...)`` gives the bytes of a message, `read` its
fields; both know only what is written here, so that a wrong offset in a wire table shows.
"""

import struct
from collections.abc import Iterable
from types import SimpleNamespace

_HEADER = struct.Struct(">cHH6s")

FIELDS: dict[str, tuple[struct.Struct, list[str]]] = {
    code: (struct.Struct(">" + form), names.split())
    for code, form, names in (
        ("S", "c", "event_code"),
        (
            "R",
            "8sccIcc2sccccc I c".replace(" ", ""),
            "stock market_category financial_status_indicator round_lot_size round_lots_only "
            "issue_classification issue_sub_type authenticity short_sale_threshold_indicator "
            "ipo_flag luld_reference_price_tier etp_flag etp_leverage_factor inverse_indicator",
        ),
        ("H", "8scc4s", "stock trading_state reserved reason"),
        ("Y", "8sc", "stock reg_sho_action"),
        ("L", "4s8sccc", "mpid stock primary_market_maker market_maker_mode state"),
        ("V", "QQQ", "level_1 level_2 level_3"),
        ("W", "c", "breached_level"),
        ("K", "8sIcI", "stock release_time qualifier ipo_price"),
        ("J", "8sIIII", "stock reference_price upper_price lower_price extension"),
        ("h", "8scc", "stock market_code action"),
        ("A", "QcI8sI", "ref side shares stock price"),
        ("F", "QcI8sI4s", "ref side shares stock price attribution"),
        ("E", "QIQ", "ref shares match_number"),
        ("C", "QIQcI", "ref shares match_number printable price"),
        ("X", "QI", "ref shares"),
        ("D", "Q", "ref"),
        ("U", "QQII", "ref new_ref shares price"),
        ("P", "QcI8sIQ", "ref side shares stock price match_number"),
        ("Q", "Q8sIQc", "shares stock price match_number cross_type"),
        ("B", "Q", "match_number"),
        (
            "I",
            "QQc8sIIIcc",
            "paired_shares imbalance_shares direction stock far_price near_price "
            "reference_price cross_type variation",
        ),
        ("N", "8sc", "stock interest_flag"),
        (
            "O",
            "8scIIIQII",
            "stock eligibility minimum_price maximum_price near_price near_time lower upper",
        ),
    )
}
LENGTHS = {code: _HEADER.size + form.size for code, (form, _) in FIELDS.items()}


def text(value: str | bytes, size: int = 8) -> bytes:
    raw = value if isinstance(value, bytes) else value.encode("latin-1")
    return raw.ljust(size)


def message(code: str, locate: int, ts: int, **values) -> bytes:
    """A message; a field that is not given is zero or blank."""
    form, names = FIELDS[code]
    kinds = _kinds(form.format)
    given = []
    for name, kind in zip(names, kinds, strict=True):
        blank: int | bytes = 0 if kind in "IQ" else b" "
        value = values.pop(name, blank)
        given.append(value.encode() if isinstance(value, str) else value)
        if kind[-1] == "s":
            given[-1] = text(given[-1], int(kind[:-1]))
    assert not values, f"{code} has no {', '.join(values)}"
    return _HEADER.pack(code.encode(), locate, 0, ts.to_bytes(6, "big")) + form.pack(*given)


def _kinds(form: str) -> list[str]:
    kinds, digits = [], ""
    for letter in form[1:]:
        if letter.isdigit():
            digits += letter
        else:
            kinds.append(digits + letter)
            digits = ""
    return kinds


def read(raw: bytes) -> SimpleNamespace:
    """The fields of a message of known type and right length."""
    code, locate, _, ts = _HEADER.unpack_from(raw)
    form, names = FIELDS[code.decode()]
    values = dict(zip(names, form.unpack_from(raw, _HEADER.size), strict=True))
    return SimpleNamespace(
        code=code.decode(), locate=locate, ts=int.from_bytes(ts, "big"), **values
    )


def run(messages: Iterable[bytes]) -> bytes:
    """Messages behind their 2-byte lengths, as in a daily file."""
    return b"".join(struct.pack(">H", len(each)) + each for each in messages)


def split(raw: bytes) -> list[bytes]:
    """The messages of a run."""
    found, at = [], 0
    while at < len(raw):
        length = int.from_bytes(raw[at : at + 2], "big")
        found.append(raw[at + 2 : at + 2 + length])
        at += 2 + length
    return found


def mold(
    messages: list[bytes], sequence: int, session: bytes = b"0000000001", number: int | None = None
) -> bytes:
    """A MoldUDP64 downstream packet; ``number`` states another count than there are messages."""
    count = len(messages) if number is None else number
    return struct.pack(">10sQH", session, sequence, count) + run(messages)


GROUP = ("233.54.12.111", 26477)


def frame(payload: bytes, group: tuple[str, int] = GROUP, padding: bytes = b"") -> bytes:
    """An Ethernet frame around a UDP payload."""
    address = bytes(int(part) for part in group[0].split("."))
    udp = struct.pack(">HHHH", 30000, group[1], 8 + len(payload), 0) + payload
    ip = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0x4000, 64, 17, 0, bytes(4), address
    )
    return bytes(12) + b"\x08\x00" + ip + udp + padding


def packets(
    messages: list[bytes], each: int, session: bytes = b"0000000001", first: int = 1
) -> list[bytes]:
    """The messages as frames with ``each`` messages in a packet."""
    return [
        frame(mold(messages[at : at + each], first + at, session))
        for at in range(0, len(messages), each)
    ]
