"""One message, one line: text or JSON, made from the table once and filled in per message.

A line's constant part (keys, the message's name) is a template that follows from the table; a
message is unpacked at once by `struct`, the fields that are not plain integers are converted, and
the template is filled in.  The keys are the table's field names.  Prices are decimal text with all
their implied decimals, text is stripped of its padding, raw bytes are hex.

In plain text a code is followed by its meaning, a time is that of the day, and text that would
disturb a terminal or the line is quoted as in JSON.
"""

import json
import struct
from collections import Counter
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache, lru_cache
from types import MappingProxyType
from typing import Any

from tickpath.wire import appendage
from tickpath.wire.table import Field, Message, Protocol

_NAME_WIDTH = 32
_SEQ_WIDTH = 10
_CODES = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q", "i8": "b", "i16": "h", "i32": "i"}
_KEPT_TEXTS = 1 << 16
"""Distinct texts (symbols, firms, tokens) whose form is kept."""
_SECOND_NS = 10**9

Convert = Callable[[Any], Any]


class MessageLine:
    """The lines of one kind of message."""

    def __init__(
        self, protocol: Protocol, message: Message, as_json: bool, has_unit: bool = False
    ) -> None:
        self._message, self._as_json, self._has_unit = message, as_json, has_unit
        self.name, self.length = message.name, message.length
        fixed = [each for each in message.fields if not each.is_variable]
        mark = ">" if message.order == "big" else "<"
        self._unpack = struct.Struct(mark + "".join(map(_code, fixed))).unpack_from
        converts = [_converter(each, protocol, message.order, as_json) for each in fixed]
        self._converts = [(at, each) for at, each in enumerate(converts) if each is not None]
        names = ["unit"] * has_unit + [each.name for each in fixed]
        if as_json:
            keys = "".join(f', "{name}": %s' for name in names)
            self._template = f'{{"seq": %s, "message": "{message.name}"{keys}'
        else:
            keys = "".join(f" {name}=%s" for name in names)
            self._template = f"%{_SEQ_WIDTH}s {message.name:<{_NAME_WIDTH}}{keys}"

    def __call__(
        self, seq: int | None, raw: bytes, counters: Counter[str], unit: int | None = None
    ) -> str:
        """The line, with its end.  ``raw`` is as long as the message takes.

        Raises `WireError` where an appendage does not add up.
        """
        values = list(self._unpack(raw))
        for at, convert in self._converts:
            values[at] = convert(values[at])
        if self._has_unit:
            values.insert(0, _number(unit, self._as_json))
        line = self._template % (_number(seq, self._as_json), *values)
        if self._message.is_variable or len(raw) > self._message.length:
            line += self._options(raw, counters)
        return line + ("}\n" if self._as_json else "\n")

    def _options(self, raw: bytes, counters: Counter[str]) -> str:
        """What follows the fixed part: the appendage of OUCH 5.0."""
        rest = appendage.decode_rest(self._message, raw, counters)
        if self._as_json:
            return "".join(f', "{name}": {json.dumps(_plain(v))}' for name, v in rest.items())
        return "".join(f" {name}={_words(value)}" for name, value in rest.items())


def message_lines(
    protocol: Protocol, as_json: bool, has_unit: bool = False
) -> dict[int, MessageLine]:
    """The lines of every message of a protocol, by its type code as a byte.

    With ``has_unit`` they say the unit of the feed in front of the message's fields.
    """
    return {
        ord(code): MessageLine(protocol, each, as_json, has_unit)
        for code, each in protocol.by_type.items()
    }


def bad_line(
    seq: int | None,
    what: str,
    reason: str,
    raw: bytes,
    as_json: bool,
    where: Mapping[str, int | None] = MappingProxyType({}),
) -> str:
    """The line of bytes that are no message: ``what`` is ``unknown`` or ``malformed``.

    ``where`` says more than the sequence number, such as the unit.
    """
    if as_json:
        line = {"seq": seq, "message": what, **where, "reason": reason, "hex": raw.hex()}
        return json.dumps(line) + "\n"
    told = "".join(f" {name}={_number(each, False)}" for name, each in where.items())
    begin = f"{_number(seq, False):>{_SEQ_WIDTH}} {what:<{_NAME_WIDTH}}"
    return f"{begin}{told} {reason}: {raw.hex()}\n"


def _number(number: int | None, as_json: bool) -> int | str:
    if number is None:
        return "null" if as_json else "-"
    return number


# ---------------------------------------------------------------- fields


def _code(field: Field) -> str:
    """The field's code for `struct`; what has none is taken as bytes."""
    return _CODES.get(field.base, f"{field.size}s")


def _converter(field: Field, protocol: Protocol, order: str, as_json: bool) -> Convert | None:
    """From what `struct` gives to what the template takes; None where that is the same."""
    if field.decimals:
        return _price(field.decimals, as_json)
    if field.base == "ascii":
        meanings = protocol.enums[field.enum] if field.enum else {}
        return _json_text if as_json else _text(_stripped(meanings))
    if field.base == "bytes":
        return (lambda raw: f'"{raw.hex()}"') if as_json else bytes.hex
    if field.base == "digits":
        return lambda raw: field.get(raw, 0, order)
    # 32 bits hold no time of day: the `timestamp` of PITCH counts within a second.
    is_time = field.name == "timestamp" and field.base != "u32" and not as_json
    if field.base not in _CODES:  # 48 bits
        first = int.from_bytes if order == "big" else _from_little
        return (lambda raw: _time(first(raw))) if is_time else first
    if is_time:
        return _time
    return _meaning(protocol.enums[field.enum]) if field.enum and not as_json else None


def _from_little(raw: bytes) -> int:
    return int.from_bytes(raw, "little")


def _stripped(meanings: Mapping[str, str]) -> dict[str, str]:
    return {code.strip(" "): word for code, word in meanings.items()}


def _price(decimals: int, as_json: bool) -> Convert:
    scale, quote = 10**decimals, '"' if as_json else ""
    form = f"{quote}%s%d.%0{decimals}d{quote}"

    def price(number: int) -> str:
        whole, part = divmod(abs(number), scale)
        return form % ("-" if number < 0 else "", whole, part)

    return price


@lru_cache(_KEPT_TEXTS)
def _json_text(raw: bytes) -> str:
    return json.dumps(raw.decode("latin-1").strip(" "))


def _text(meanings: Mapping[str, str]) -> Convert:
    @lru_cache(_KEPT_TEXTS)
    def text(raw: bytes) -> str:
        code = raw.decode("latin-1").strip(" ")
        word = meanings.get(code)
        return _quoted(code) + (f"({word})" if word else "")

    return text


def _meaning(meanings: Mapping[str, str]) -> Convert:
    """An integer that is a code, with its meaning."""

    @cache
    def meaning(number: int) -> str:
        word = meanings.get(str(number))
        return f"{number}({word})" if word else str(number)

    return meaning


def _quoted(text: str) -> str:
    """The text as it is where it is one printable word, else as a JSON string."""
    return text if text.isascii() and text.isprintable() and " " not in text else json.dumps(text)


def _time(ns: int) -> str:
    seconds, part = divmod(ns, _SECOND_NS)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{part:09d}"


# ---------------------------------------------------------------- decoded values


def _plain(value: Any) -> Any:
    """A decoded value as JSON has it."""
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, bytes):
        return value.hex()
    return value


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + " ".join(f"{name}={_words(each)}" for name, each in value.items()) + "}"
    plain = _plain(value)
    return _quoted(plain) if isinstance(plain, str) else str(plain)
