"""One SoupBinTCP packet as a line for people, without any password.

Decoded or in hexadecimal; in both the password of a login request is masked by its place in the
layout, wherever the packet comes from.  Text of the other side cannot break out of its line.
"""

from typing import Any, Literal

from tickpath.session.ouch_message import Dialect
from tickpath.session.soup_framing import payload_of
from tickpath.wire import appendage
from tickpath.wire.soupbintcp import SOUPBINTCP
from tickpath.wire.table import Message, Protocol, WireError

Style = Literal["hex", "decoded"]

MASK = "***"
_PASSWORD = SOUPBINTCP["login_request"]["password"]
_HEADER = ("packet_length", "packet_type")
_CARRIERS = ("sequenced_data", "unsequenced_data")


def text_of(layout: Message, raw: bytes, style: Style, dialect: Dialect | None) -> str:
    """The line, without time and direction; ``dialect`` gives words to what is carried."""
    if style == "hex":
        return f"{layout.name} {_masked(layout, raw).hex()}"
    if layout.name in _CARRIERS:
        payload = payload_of(layout, raw)
        return f"{layout.name} {_carried(layout.name, payload, dialect)}"
    try:
        fields = layout.decode(raw)
    except WireError:
        return f"{layout.name} {_masked(layout, raw).hex()}"
    return " ".join([layout.name, *_words(fields)])


def _masked(layout: Message, raw: bytes) -> bytes:
    if layout.name != "login_request":
        return raw
    at = _PASSWORD.offset
    return raw[:at] + b"*" * _PASSWORD.size + raw[at + _PASSWORD.size :]


def _carried(carrier: str, payload: bytes, dialect: Dialect | None) -> str:
    if dialect is None:
        return payload.hex()
    is_inbound = carrier == "unsequenced_data"
    protocol: Protocol = dialect.inbound if is_inbound else dialect.outbound
    try:
        if dialect.has_query:  # 5.0, whose messages may have an appendage
            fields = appendage.decode_message(protocol, payload)
        else:
            fields = protocol.decode(payload)
    except WireError:
        return payload.hex()
    return " ".join([str(fields.pop("message")), *_words(fields)])


def _words(fields: dict[str, Any]) -> list[str]:
    shown = {
        name: value for name, value in fields.items() if name not in (*_HEADER, "message_type")
    }
    if _PASSWORD.name in shown:
        shown[_PASSWORD.name] = MASK
    return [f"{name}={_value(value)}" for name, value in shown.items()]


def _value(value: Any) -> str:
    text = value.hex() if isinstance(value, bytes) else str(value)
    is_plain = text.isprintable() and text.isascii() and text and " " not in text
    return text if is_plain else ascii(text)
