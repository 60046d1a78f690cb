"""The tag=value encoding of FIX, for any data dictionary: messages to dicts and back.

    8=FIX.4.4 | 9=<BodyLength> | 35=D | ... | 10=<CheckSum> |        where | is SOH

BodyLength counts from the byte behind its own SOH up to and with the SOH in front of CheckSum;
CheckSum is the sum of all bytes before it, modulo 256, in three digits.  `decode` checks both
before it reads anything else, so a message that was cut or changed is refused as a whole.

A field is kept by its name in snake_case; a tag that the dictionary does not have is kept under
``unknown``, in order, and counted, as is a known field that the message's table does not list.
Repeating groups of the dictionary are lists of dicts.  The worst case is `MOST_BYTES` of fields,
each looked at once.

Values in Python: `int` for int, length, seq_num and num_in_group; `Decimal` for qty, price, amt and
float; `bytes` for data; `str` for everything else (times too, as they stand in the message).
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple

from tickpath.wire.table import WireError

SOH = b"\x01"
MOST_BYTES = 1 << 16
"""Of one message; a longer one is refused."""
UNKNOWN_TAG = "unknown_tag"
FOREIGN_TAG = "tag_not_of_this_message"


class Reason(Enum):
    """Why a message is refused."""

    TRUNCATED = "the message ends before its end"
    TOO_LONG = "the message is longer than the most that is read"
    BEGIN_STRING = "BeginString is missing or of another version"
    BODY_LENGTH = "BodyLength is missing, malformed or not where CheckSum is"
    CHECK_SUM = "CheckSum is malformed or not the sum of the bytes"
    TRAILING = "bytes behind the message's end"
    MSG_TYPE = "MsgType is missing or of no known message"
    TAG = "no tag stands where a field begins"
    NO_VALUE = "a field without a value"
    VALUE = "a value that its field cannot have"
    REPEATED = "a tag that stands twice"
    GROUP = "a repeating group that does not add up"
    REQUIRED = "a required field is missing"
    UNKNOWN_FIELD = "no such field"


class FixError(WireError):
    """A message that is refused: ``reason``, and ``offset`` of the byte where it shows."""

    def __init__(self, reason: Reason, offset: int, what: str) -> None:
        super().__init__(f"fix: {what} at offset {offset}: {reason.value}")
        self.reason, self.offset = reason, offset


class Tag(NamedTuple):
    """One field of the dictionary; ``enum`` names the table of its codes."""

    tag: int
    name: str
    kind: str
    enum: str | None = None


class FixMessage(NamedTuple):
    """A message's type, name, and the tags of its body."""

    type: str
    name: str
    required: tuple[int, ...]
    optional: tuple[int, ...]


@dataclass(frozen=True)
class Dictionary:
    """A version of FIX: its fields, messages and repeating groups.

    ``header`` and ``trailer`` are the tags that any message may have, ``required`` those that it
    must; ``groups`` has the tags of one element by the tag that counts them, its first field first;
    ``data`` the tag of raw bytes by the tag of their length.
    """

    begin_string: str
    tags: tuple[Tag, ...]
    messages: tuple[FixMessage, ...]
    header: tuple[int, ...]
    trailer: tuple[int, ...]
    required: tuple[int, ...]
    groups: Mapping[int, tuple[int, ...]]
    data: Mapping[int, int]
    enums: Mapping[str, Mapping[str, str]]
    by_tag: Mapping[int, Tag] = field(init=False, repr=False)
    by_name: Mapping[str, Tag] = field(init=False, repr=False)
    by_type: Mapping[str, FixMessage] = field(init=False, repr=False)
    of_name: Mapping[str, FixMessage] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_tag", {each.tag: each for each in self.tags})
        object.__setattr__(self, "by_name", {each.name: each for each in self.tags})
        object.__setattr__(self, "by_type", {each.type: each for each in self.messages})
        object.__setattr__(self, "of_name", {each.name: each for each in self.messages})
        if len(self.by_tag) != len(self.tags) or len(self.by_name) != len(self.tags):
            raise WireError(f"{self.begin_string}: a tag or a name stands twice")

    @property
    def head(self) -> bytes:
        """What every message begins with, BodyLength's tag included."""
        return b"8=%b\x019=" % self.begin_string.encode()

    def allowed(self, message: FixMessage) -> set[int]:
        """Every tag that the message's table lists, elements of its groups included."""
        tags = {*self.header, *self.trailer, *message.required, *message.optional}
        return tags.union(*(self.groups.get(each, ()) for each in tags))


_DIGITS = re.compile(rb"-?[0-9]{1,18}")
_NATURAL = re.compile(rb"[0-9]{1,18}")
_FLOAT = re.compile(rb"-?(?=\.?[0-9])[0-9]{0,15}(\.[0-9]{0,15})?")
_TIME = re.compile(rb"[0-9]{8}-[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{3,9})?")
_TEXT = re.compile(rb"[^\x00\x01]+")
PATTERNS = {
    "int": _DIGITS,
    "length": _NATURAL,
    "seq_num": _NATURAL,
    "num_in_group": _NATURAL,
    "qty": _FLOAT,
    "price": _FLOAT,
    "amt": _FLOAT,
    "float": _FLOAT,
    "char": re.compile(rb"[^\x00\x01]"),
    "boolean": re.compile(rb"[YN]"),
    "utc_timestamp": _TIME,
    "local_mkt_date": re.compile(rb"[0-9]{8}"),
    "string": _TEXT,
}
"""What a value of each kind looks like; data are any bytes."""
_INTEGERS = ("int", "length", "seq_num", "num_in_group")
_FLOATS = ("qty", "price", "amt", "float")


def check_sum(raw: bytes) -> bytes:
    """The three digits of CheckSum over these bytes."""
    return b"%03d" % (sum(raw) & 0xFF)


# ---------------------------------------------------------------- decode


def message_length(dictionary: Dictionary, buffer: bytes) -> int | None:
    """Bytes of the message that begins here; None while too few are there to tell.

    Raises `FixError` where no message of this version begins here.
    """
    head = dictionary.head
    if bytes(buffer[: len(head)]) != head[: len(buffer)]:
        raise FixError(Reason.BEGIN_STRING, 0, "BeginString")
    digits = bytes(buffer[len(head) : len(head) + len(str(MOST_BYTES)) + 1])
    end = digits.find(SOH)
    if end < 0 and len(digits) <= len(str(MOST_BYTES)) and (digits.isdigit() or not digits):
        return None
    if end < 0 or not _NATURAL.fullmatch(digits[:end]):
        raise FixError(Reason.BODY_LENGTH, len(head), "BodyLength")
    length = len(head) + end + 1 + int(digits[:end]) + len(b"10=000\x01")
    if length > MOST_BYTES:
        raise FixError(Reason.TOO_LONG, len(head), "BodyLength")
    return length


def _body_end(dictionary: Dictionary, buffer: bytes) -> int:
    """Where CheckSum begins; both lengths and the sum are right."""
    length = message_length(dictionary, buffer)
    if length is None:
        raise FixError(Reason.TRUNCATED, len(buffer), "the message")
    if len(buffer) < length:
        raise FixError(Reason.TRUNCATED, len(buffer), f"a message of {length} bytes")
    end = length - len(b"10=000\x01")
    if buffer[end - 1 : end + 3] != b"\x0110=" or buffer[length - 1 : length] != SOH:
        raise FixError(Reason.BODY_LENGTH, end, "CheckSum")
    stated, found = buffer[end + 3 : length - 1], check_sum(buffer[:end])
    if stated != found:
        raise FixError(Reason.CHECK_SUM, end, f"CheckSum {stated!r} for {found.decode()}")
    if len(buffer) > length:
        raise FixError(Reason.TRAILING, length, f"{len(buffer) - length} bytes")
    return end


class _Seen(NamedTuple):
    """One field as it stands in the message."""

    tag: int
    raw: bytes
    offset: int


def _walk(dictionary: Dictionary, buffer: bytes, end: int) -> Iterator[_Seen]:
    """The message's fields one after another, up to CheckSum; data are taken by their length."""
    at, size = 0, -1
    while at < end:
        equals = buffer.find(b"=", at, end)
        text = buffer[at:equals] if equals >= 0 else b""
        if not _NATURAL.fullmatch(text) or text[:1] == b"0":
            raise FixError(Reason.TAG, at, "a field")
        tag, begin = int(text), equals + 1
        stop = begin + size if size >= 0 else buffer.find(SOH, begin, end)
        if not begin <= stop < end or buffer[stop : stop + 1] != SOH:
            raise FixError(Reason.VALUE, begin, f"tag {tag}")
        if stop == begin:
            raise FixError(Reason.NO_VALUE, at, f"tag {tag}")
        raw = buffer[begin:stop]
        yield _Seen(tag, raw, at)
        size = -1
        if tag in dictionary.data:
            if not _NATURAL.fullmatch(raw):
                raise FixError(Reason.VALUE, begin, f"tag {tag}")
            size = int(raw)
            following = b"%d=" % dictionary.data[tag]
            if buffer[stop + 1 : stop + 1 + len(following)] != following:
                raise FixError(Reason.TAG, stop + 1, f"tag {dictionary.data[tag]}")
        at = stop + 1


def _value(known: Tag, seen: _Seen) -> Any:
    if known.kind == "data":
        return seen.raw
    if not PATTERNS[known.kind].fullmatch(seen.raw):
        raise FixError(Reason.VALUE, seen.offset, f"{known.name} ({known.kind})")
    text = seen.raw.decode("latin-1")
    if known.kind in _INTEGERS:
        return int(text)
    return Decimal(text) if known.kind in _FLOATS else text


def _groups(dictionary: Dictionary, number: Tag, seen: _Seen, fields: list[_Seen]) -> list[dict]:
    """Take the elements of a repeating group from the front of ``fields`` (reversed)."""
    tags = dictionary.groups[number.tag]
    elements: list[dict[str, Any]] = []
    while fields and fields[-1].tag in tags:
        each = fields.pop()
        known = dictionary.by_tag[each.tag]
        if each.tag == tags[0]:
            elements.append({})
        elif not elements or known.name in elements[-1]:
            raise FixError(Reason.GROUP, each.offset, f"{known.name} in {number.name}")
        elements[-1][known.name] = _value(known, each)
    if len(elements) != _value(number, seen):
        raise FixError(Reason.GROUP, seen.offset, f"{number.name} with {len(elements)} elements")
    return elements


def decode(
    dictionary: Dictionary, buffer: bytes, counters: Counter[str] | None = None
) -> dict[str, Any]:
    """Every field of one message by name, its own name as ``message``.

    ``counters`` counts `UNKNOWN_TAG` and `FOREIGN_TAG`.  Raises `FixError`.
    """
    counters = Counter() if counters is None else counters
    buffer = bytes(buffer)
    end = _body_end(dictionary, buffer)
    fields = list(_walk(dictionary, buffer, end))
    if len(fields) < 3 or fields[2].tag != 35:
        raise FixError(Reason.MSG_TYPE, fields[2].offset if len(fields) > 2 else end, "tag 35")
    message = dictionary.by_type.get(fields[2].raw.decode("latin-1"))
    if message is None:
        raise FixError(Reason.MSG_TYPE, fields[2].offset, f"MsgType {fields[2].raw!r}")
    values: dict[str, Any] = {"message": message.name}
    allowed = dictionary.allowed(message)
    fields.reverse()
    while fields:
        seen = fields.pop()
        known = dictionary.by_tag.get(seen.tag)
        if known is None:
            counters[UNKNOWN_TAG] += 1
            values.setdefault("unknown", []).append((seen.tag, seen.raw.decode("latin-1")))
            continue
        if known.name in values:
            raise FixError(Reason.REPEATED, seen.offset, known.name)
        counters[FOREIGN_TAG] += seen.tag not in allowed
        is_group = seen.tag in dictionary.groups
        values[known.name] = (
            _groups(dictionary, known, seen, fields) if is_group else _value(known, seen)
        )
    values[dictionary.by_tag[10].name] = buffer[end + 3 : end + 6].decode()
    _check_required(dictionary, message, values, end)
    return values


def _check_required(
    dictionary: Dictionary, message: FixMessage, values: Mapping[str, Any], offset: int
) -> None:
    for tag in (*dictionary.required, *message.required):
        name = dictionary.by_tag[tag].name
        if name not in values:
            raise FixError(Reason.REQUIRED, offset, f"{name} of {message.name}")


# ---------------------------------------------------------------- encode


def _text(known: Tag, value: Any) -> bytes:
    """A value's bytes; `FixError` where the field's kind has no such value."""
    try:
        if known.kind == "data":
            raw = bytes(value)
        elif isinstance(value, Decimal) and value.is_finite():
            raw = f"{value:f}".encode()
        else:
            raw = str(value).encode("latin-1")
    except (TypeError, ValueError):
        raise FixError(Reason.VALUE, 0, f"{known.name} = {value!r}") from None
    if not (raw if known.kind == "data" else PATTERNS[known.kind].fullmatch(raw)):
        raise FixError(Reason.VALUE, 0, f"{known.name} = {value!r} ({known.kind})")
    return raw


def _field(dictionary: Dictionary, name: str, value: Any) -> bytes:
    """One field with its SOH; a group with its elements; data with their length in front."""
    known = dictionary.by_name.get(name)
    if known is None:
        raise FixError(Reason.UNKNOWN_FIELD, 0, f"{name!r}")
    if known.tag in dictionary.groups:
        first = dictionary.by_tag[dictionary.groups[known.tag][0]].name
        if not all(first in each for each in value):
            raise FixError(Reason.GROUP, 0, f"an element of {name} without {first}")
        ordered = [{first: each[first], **each} for each in value]
        inside = [_field(dictionary, *each) for element in ordered for each in element.items()]
        return b"%d=%d\x01" % (known.tag, len(value)) + b"".join(inside)
    raw = _text(known, value)
    lengths = [length for length, data in dictionary.data.items() if data == known.tag]
    front = b"".join(b"%d=%d\x01" % (each, len(raw)) for each in lengths)
    return front + b"%d=%b\x01" % (known.tag, raw)


def encode(dictionary: Dictionary, name: str, **values: Any) -> bytes:
    """A message's bytes: its header's fields first, then the others, both in the order given.

    BeginString, BodyLength, MsgType, CheckSum and the lengths of data are filled in; ``unknown``
    takes pairs of a tag and its text.  Raises `FixError` for a field that there is not, a value
    that it cannot have and a required field that is missing.
    """
    message = dictionary.of_name.get(name)
    if message is None:
        raise FixError(Reason.MSG_TYPE, 0, f"message {name!r}")
    filled = {dictionary.by_tag[tag].name for tag in (8, 9, 35, 10, *dictionary.data)}
    given = {key: value for key, value in values.items() if key not in {*filled, "message"}}
    unknown = given.pop("unknown", [])
    _check_required(dictionary, message, dict.fromkeys(filled) | given, 0)
    header = {dictionary.by_tag[tag].name for tag in dictionary.header}
    fields = [_field(dictionary, key, value) for key, value in given.items() if key in header]
    fields += [_field(dictionary, key, value) for key, value in given.items() if key not in header]
    fields += [b"%d=%b\x01" % (tag, text.encode("latin-1")) for tag, text in unknown]
    body = b"35=%b\x01" % message.type.encode() + b"".join(fields)
    raw = dictionary.head + b"%d\x01" % len(body) + body
    if len(raw) + len(b"10=000\x01") > MOST_BYTES:
        raise FixError(Reason.TOO_LONG, 0, name)
    return raw + b"10=%b\x01" % check_sum(raw)
