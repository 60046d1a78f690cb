"""Whole BOE messages in Python: fixed and optional fields, text padded with NUL.

    decode(raw)                          {"message": "new_order", ..., "price": Decimal("20"), ...}
    encode("new_order", {"price": ..., ...})       sets the bits of the optional fields given
    layout("order_execution", bitfields) every field with its offset, as a table for the hot path

The invariant is that every byte of a message is accounted for: `decode` raises `WireError` where
message_length is not the bytes that are there, where the fields that the bitfields announce end
before or behind the message, and where a count of groups or units does not fit.  A bit that no
table has a field for takes no bytes (the exchange sets such bits when a login asked for what this
message has not); it is counted, and a message in which it did take some is refused by its length.
"""

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from tickpath.wire import boe_login
from tickpath.wire.boe23 import (
    BITFIELDS,
    BOE23,
    FIELDS,
    FRAMED,
    HEADER_LENGTH,
    OPTIONAL,
    START_OF_MESSAGE,
)
from tickpath.wire.table import Field, Message, WireError

UNDEFINED_BIT = "undefined_bit"
MOST_BITFIELDS = 255
_ORDER = "little"
_NUMBER = BITFIELDS[0]
_HEADER = BOE23["client_heartbeat"]


def message_length(header: bytes) -> int:
    """Bytes of the message that begins with these, itself included.

    Raises `WireError` where no message begins here, or fewer bytes are there than a header's.
    """
    values = _HEADER.decode(header)
    if values["start_of_message"] != START_OF_MESSAGE:
        raise WireError(f"boe23: a message begins with BA BA, got {bytes(header[:2]).hex(' ')}")
    length = values["message_length"] + FRAMED
    if length < HEADER_LENGTH:
        raise WireError(f"boe23: message_length {length - FRAMED} is less than a header")
    return length


# ---------------------------------------------------------------- which fields follow


@lru_cache(maxsize=256)
def layout(name: str, bitfields: bytes) -> Message:
    """A message with the optional fields of these bitfields: each field with its place.

    ``layout("order_execution", return_bitfields(login)[0x2C])`` is what a login asked for.  Raises
    `WireError` where the message has no bitfields, where there are more than `MOST_BITFIELDS` of
    them, and where a field whose length is not known is not the last one.
    """
    if name not in OPTIONAL:
        raise WireError(f"boe23: {name} has no optional fields")
    if len(bitfields) > MOST_BITFIELDS:
        raise WireError(f"boe23 {name}: {len(bitfields)} bitfields are more than {MOST_BITFIELDS}")
    fixed = [each for each in BOE23[name].fields if not each.is_variable]
    bits = [Field("bitfields", f"bytes:{len(bitfields)}")] if bitfields else []
    fields = fixed + bits + list(_announced(name, bitfields))
    length = sum(each.size for each in fields)
    return Message(BOE23[name].type, name, length, fields, order=_ORDER)


def _announced(name: str, bitfields: bytes) -> list[Field]:
    fields = []
    for at, byte in enumerate(bitfields, 1):
        known = OPTIONAL[name].get(at, {})
        fields += [
            FIELDS[known[bit]] for bit in range(1, 9) if byte >> bit - 1 & 1 and bit in known
        ]
    return fields


def _undefined(name: str, bitfields: bytes) -> int:
    """How many bits are set that the table has no field for."""
    masks = [sum(1 << bit - 1 for bit in OPTIONAL[name].get(at, {})) for at in range(1, 256)]
    return sum((byte & ~mask).bit_count() for byte, mask in zip(bitfields, masks, strict=False))


def bitfields_of(name: str, fields: Mapping[str, Any] | set[str]) -> bytes:
    """The bitfields that announce these optional fields, up to the last byte that has one.

    Raises `WireError` for a field that the message does not have.
    """
    places = {
        field: (at, bit)
        for at, byte in sorted(OPTIONAL.get(name, {}).items(), reverse=True)
        for bit, field in byte.items()
    }
    unknown = sorted(set(fields) - set(places))
    if unknown:
        raise WireError(f"boe23: {name} has no field {', '.join(unknown)}")
    found = bytearray(max((places[each][0] for each in fields), default=0))
    for each in fields:
        at, bit = places[each]
        found[at - 1] |= 1 << bit - 1
    return bytes(found)


# ---------------------------------------------------------------- one field


def _get(each: Field, buffer: bytes) -> Any:
    if each.base != "ascii":
        return each.get(buffer, each.offset, _ORDER)
    raw = bytes(buffer[each.offset : each.offset + each.size])
    return raw.rstrip(b"\0").decode("latin-1")


def _put(each: Field, value: Any, message: str) -> bytes:
    try:
        if each.base != "ascii":
            return each.put(value, _ORDER)
        return each.put(value + "\0" * (each.size - len(value)), _ORDER)
    except WireError as error:
        raise WireError(f"boe23 {message}: {error}") from None
    except (TypeError, ValueError, ArithmeticError):
        raise WireError(f"boe23 {message}: {each.name} cannot be {value!r}") from None


def _nothing(each: Field) -> Any:
    return "" if each.base == "ascii" else (0 if each.is_integer else bytes(each.size))


# ---------------------------------------------------------------- one message


def decode(buffer: bytes, counters: Counter[str] | None = None) -> dict[str, Any]:
    """Every field of a message by name: prices are `Decimal`, text is without its padding.

    ``number_of_bitfields`` and ``bitfields`` stand before the optional fields; a login has
    ``param_groups``, an answer to it and a logout ``units``.  ``counters`` counts `UNDEFINED_BIT`
    and `boe_login.UNKNOWN_PARAM_GROUP`.  Raises `WireError` for anything but one whole message.
    """
    counters = Counter() if counters is None else counters
    buffer = bytes(buffer)
    length = message_length(buffer)
    if length != len(buffer):
        raise WireError(f"boe23: the message is {length} bytes long, got {len(buffer)}")
    message = BOE23.message_of(buffer)
    name = message.name
    if name in OPTIONAL:
        at = message[_NUMBER].offset + message[_NUMBER].size
        bitfields = buffer[at : at + buffer[at - 1]]
        if len(bitfields) < buffer[at - 1]:
            raise WireError(f"boe23 {name}: {buffer[at - 1]} bitfields do not fit at offset {at}")
        message = layout(name, bitfields)
        undefined = _undefined(name, bitfields)
        counters[UNDEFINED_BIT] += undefined
        if len(buffer) != message.length and not (
            message.is_variable and len(buffer) > message.length
        ):
            hint = f", {undefined} bits of no known field" if undefined else ""
            raise WireError(
                f"boe23 {name}: the bitfields announce {message.length} bytes{hint}, "
                f"got {len(buffer)}"
            )
    values = {"message": name, **{each.name: _get(each, buffer) for each in message.fields}}
    return boe_login.take_apart(message, values, counters)


def encode(name: str, values: Mapping[str, Any]) -> bytes:
    """A message's bytes: header and counts are filled in, a missing fixed field is zero or blank.

    ``bitfields`` among the values says which optional fields are there, given or zero or blank;
    without it, those given are.  So ``encode(name, decode(raw))`` is ``raw``.  Raises `WireError`
    for an unknown message or field and for values that do not fit.
    """
    message = BOE23.by_name.get(name)
    if message is None:
        raise WireError(f"boe23 has no message {name}")
    values = {key: value for key, value in values.items() if key not in ("message", _NUMBER)}
    bitfields = values.pop("bitfields", None)
    if name in OPTIONAL:
        optional = set(values) - set(message.by_name)
        chosen = bitfields_of(name, optional) if bitfields is None else bytes(bitfields)
        message = layout(name, chosen)
        values |= {_NUMBER: len(chosen), "bitfields": chosen} if chosen else {_NUMBER: 0}
    elif bitfields is not None:
        raise WireError(f"boe23: {name} has no optional fields")
    values = boe_login.put_together(message, values)
    unknown = sorted(set(values) - set(message.by_name))
    if unknown:
        raise WireError(f"boe23: {name} has no field {', '.join(unknown)}")
    given = {each.name: values.get(each.name, _nothing(each)) for each in message.fields}
    given |= {"start_of_message": START_OF_MESSAGE, "message_type": ord(message.type)}
    body = b"".join(_put(each, given[each.name], name) for each in message.fields[2:])
    given["message_length"] = len(body) + message.fields[1].size
    return b"".join(_put(each, given[each.name], name) for each in message.fields[:2]) + body
