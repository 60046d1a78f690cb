"""OUCH 5.0 options: the tagged values that may follow a message.

An appendage is `appendage_length` (u16), then elements back to back until that many bytes are
used.  An element is its length (which counts the tag and the value, not itself), the option's tag,
and the value:

    enter_order ... clordid | 0006 | 05 02 "LIME"        firm = LIME

Source: Nasdaq OUCH 5.0 specification, Appendix A (optional fields).  The invariant is that every
byte of the message is accounted for: `decode` raises `WireError` where the lengths do not add up
or an option stands twice.  An unknown tag, or a known one whose value has another size, is kept as
its bytes under ``tag_N`` and counted, so a newer revision costs a counter and nothing else.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from tickpath.wire.table import Field, Message, Protocol, WireError

ELEMENT = Message(
    "",
    "appendage_element",
    2,
    (("optional_field_length", "u8"), ("optional_field", "u8"), ("optional_value", "bytes:*")),
)

OPTIONS: Mapping[int, Field] = {
    1: Field("secondaryordrefnum", "u64"),
    2: Field("firm", "ascii:4"),
    3: Field("minqty", "u32"),
    4: Field("customertype", "ascii:1"),
    5: Field("maxfloor", "u32"),
    6: Field("pricetype", "ascii:1"),
    7: Field("pegoffset", "i32/1e4"),
    9: Field("discretionprice", "u64/1e4"),
    10: Field("discretionpegtype", "ascii:1"),
    11: Field("discretionpegoffset", "i32/1e4"),
    12: Field("postonly", "ascii:1"),
    13: Field("randomreserves", "u32"),
    14: Field("route", "ascii:4"),
    15: Field("expiretime", "u32"),
    16: Field("tradenow", "ascii:1"),
    17: Field("handleinst", "ascii:1"),
    18: Field("bbo_weight_indicator", "ascii:1"),
    19: Field("reference_price", "u64/1e4"),
    20: Field("reference_price_type", "ascii:1"),
    22: Field("display_quantity", "u32"),
    23: Field("display_price", "u64/1e4"),
    24: Field("group_id", "u16"),
    25: Field("shares_located", "ascii:1"),
    26: Field("locate_broker", "ascii:4"),
    27: Field("side", "ascii:1"),
    28: Field("user_ref_idx", "u8"),
    29: Field("aiq_strategy", "ascii:1"),
    30: Field("aiq_group_id", "ascii:2"),
}
"""Every option of the spec by its tag.  The words are those of the layout tables; tags 24 to 30
came with later revisions and have the words of the spec in snake_case."""

TAGS: Mapping[str, int] = {option.name: tag for tag, option in OPTIONS.items()}

UNKNOWN_PREFIX = "tag_"
UNKNOWN_TAG = "unknown_option"
UNKNOWN_SIZE = "option_of_unknown_size"

LENGTH = Field("appendage_length", "u16")


def decode(appendage: bytes, counters: Counter[str] | None = None) -> dict[str, Any]:
    """Every option of an appendage (without its length) by name, in the order of the bytes.

    Values are as `Field.get` has them.  ``counters`` counts `UNKNOWN_TAG` and `UNKNOWN_SIZE`.
    Raises `WireError` where an element has no tag or overruns, and where an option stands twice.
    """
    options: dict[str, Any] = {}
    counters = Counter() if counters is None else counters
    at = 0
    while at < len(appendage):
        length = appendage[at]
        end = at + ELEMENT["optional_field_length"].size + length
        if length == 0 or end > len(appendage):
            raise WireError(f"appendage: element of length {length} at byte {at} does not fit")
        element = ELEMENT.decode(appendage[at:end])
        name, value = _option(element["optional_field"], element["optional_value"], counters)
        if name in options:
            raise WireError(f"appendage: {name} stands twice")
        options[name] = value
        at = end
    return options


def _option(tag: int, raw: bytes, counters: Counter[str]) -> tuple[str, Any]:
    option = OPTIONS.get(tag)
    if option is not None and option.size == len(raw):
        return option.name, option.get(raw, 0, "big")
    counters[UNKNOWN_TAG if option is None else UNKNOWN_SIZE] += 1
    return f"{UNKNOWN_PREFIX}{tag}", raw


def encode(options: Mapping[str, Any]) -> bytes:
    """The bytes of an appendage (without its length); ``tag_N`` takes the bytes of any option."""
    return b"".join(_element(name, value) for name, value in options.items())


def _element(name: str, value: Any) -> bytes:
    number = name.removeprefix(UNKNOWN_PREFIX)
    if name in TAGS:
        tag, raw = TAGS[name], OPTIONS[TAGS[name]].put(value, "big")
    elif name != number and number.isdecimal():
        tag, raw = int(number), bytes(value)
    else:
        raise WireError(f"OUCH 5.0 has no option {name}")
    # The length counts the tag, which is as wide as the length itself.
    length = ELEMENT["optional_field"].size + len(raw)
    return ELEMENT.encode(optional_field_length=length, optional_field=tag, optional_value=raw)


def encode_message(message: Message, options: Mapping[str, Any], **values: Any) -> bytes:
    """A message's bytes with ``options`` as its appendage, and the appendage's length filled in.

    A message whose table has no appendage takes one as in later revisions of the spec, and none
    where ``options`` is empty.
    """
    raw = encode(options)
    if has_appendage(message):
        values |= {LENGTH.name: len(raw), message.fields[-1].name: raw}
        return message.encode(**values)
    return message.encode(**values) + (LENGTH.put(len(raw), "big") + raw if raw else b"")


def decode_message(
    protocol: Protocol, buffer: bytes, counters: Counter[str] | None = None
) -> dict[str, Any]:
    """A message's name as ``message``, and its fields, with the appendage as a dict of options.

    Where a message whose table has no appendage is followed by one, as later revisions of the spec
    allow, the result has ``appendage_length`` and ``appendage`` too.
    Raises `WireError` for an unknown type, a wrong length and an appendage that does not add up.
    """
    message = message_of(protocol, buffer)
    rest = decode_rest(message, buffer, counters)
    return {"message": message.name, **message.decode(buffer), **rest}


def message_of(protocol: Protocol, buffer: bytes) -> Message:
    """As `Protocol.message_of`, but a message without an appendage may be followed by one."""
    known = protocol.by_type.get(chr(buffer[0])) if buffer else None
    if known is not None and len(buffer) >= known.length + LENGTH.size:
        return known
    return protocol.message_of(buffer)


def decode_rest(
    message: Message, buffer: bytes, counters: Counter[str] | None = None
) -> dict[str, Any]:
    """What stands behind a message's fixed part: the appendage, under its field's name.

    Raises `WireError` as `decode_message` does.
    """
    if has_appendage(message):
        at, name = message[LENGTH.name].offset, message.fields[-1].name
        return {name: _checked(buffer, at, counters)}
    if len(buffer) == message.length:
        return {}
    options = _checked(buffer, message.length, counters)
    return {LENGTH.name: LENGTH.get(buffer, message.length, "big"), "appendage": options}


def has_appendage(message: Message) -> bool:
    """True where the table ends the message in an appendage."""
    return message.is_variable and LENGTH.name in message.by_name


def _checked(buffer: bytes, at: int, counters: Counter[str] | None) -> dict[str, Any]:
    """The options behind the length at ``at``, which must be all of the rest."""
    length, rest = LENGTH.get(buffer, at, "big"), buffer[at + LENGTH.size :]
    if length != len(rest):
        raise WireError(f"appendage_length is {length}, {len(rest)} bytes follow")
    return decode(rest, counters)
