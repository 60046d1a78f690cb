"""What a wire layout is: protocols, their messages, and the fields of each in the spec's order.

A field is a name and a kind.  Offsets and lengths are never written: they follow from the order of
the fields, and each message states the length that its specification prints so that the two are
compared when the table is loaded.  From a table come the Python decoder and encoder (here), the
NumPy dtype (`Message.dtype`), the accessors of the hot path (`tickpath.wire.hot`), and later the
hardware's constants.

Kinds: ``u8 u16 u32 u48 u64 i8 i32`` integers; ``u32/1e4`` (and other widths and powers) a price
with implied decimals; ``ascii:N`` left-justified, space-padded text; ``digits:N`` a number in
right-justified, space-padded decimal digits; ``bytes:N`` raw bytes; ``ascii:*`` and ``bytes:*``
whatever follows, only as the last field.  Values in Python: integers, `Decimal` for prices, `str`
without the padding for text, `int` for digits, `bytes` for raw bytes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import InitVar, dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Any

import numpy as np

TYPE_FIELDS = ("message_type", "packet_type")
"""What the specs call the field that holds a message's type code."""


class WireError(ValueError):
    """Bytes that are not the message they claim to be, or values that do not fit a field."""


@dataclass(frozen=True)
class Field:
    """One field: spec name in snake_case, kind, and the enumeration its codes come from."""

    name: str
    kind: str
    enum: str | None = None
    offset: int = 0

    @cached_property
    def base(self) -> str:
        return self.kind.partition("/")[0].partition(":")[0]

    @cached_property
    def size(self) -> int:
        """Bytes on the wire; 0 for ``ascii:*`` and ``bytes:*``."""
        if not self.is_integer:
            length = self.kind.partition(":")[2]
            return 0 if length == "*" else int(length)
        return int(self.base[1:]) // 8

    @cached_property
    def decimals(self) -> int:
        """Implied decimals of a price, 0 for anything else."""
        scale = self.kind.partition("/1e")[2]
        return int(scale) if scale else 0

    @property
    def is_integer(self) -> bool:
        """True for integers and prices, whose hot-path form is an integer."""
        return self.base not in ("ascii", "bytes", "digits")

    @property
    def is_variable(self) -> bool:
        return self.kind.endswith(":*")

    def get(self, buffer: bytes, at: int, order: str) -> Any:
        """The field's Python value, read from ``buffer`` at its absolute position ``at``."""
        raw = bytes(buffer[at:] if self.is_variable else buffer[at : at + self.size])
        if self.base == "bytes":
            return raw
        if self.base == "ascii":
            return raw.decode("latin-1").rstrip(" ")
        if self.base == "digits":
            return self._number(raw)
        number = int.from_bytes(raw, order, signed=self.base[0] == "i")  # type: ignore[arg-type]
        return Decimal(number).scaleb(-self.decimals) if self.decimals else number

    def _number(self, raw: bytes) -> int:
        digits = raw.strip(b" ")
        if digits and not digits.isdigit():
            raise WireError(f"{self.name} takes decimal digits, got {raw!r}")
        return int(digits or b"0")

    def put(self, value: Any, order: str) -> bytes:
        """The field's bytes on the wire; `WireError` where the value does not fit."""
        if self.base == "bytes":
            raw = bytes(value)
            if not self.is_variable and len(raw) != self.size:
                raise WireError(f"{self.name} takes {self.size} bytes, not {len(raw)}")
            return raw
        if self.base == "ascii":
            raw = value.encode("latin-1")
            if len(raw) > self.size and not self.is_variable:
                raise WireError(f"{self.name} takes {self.size} characters, not {len(raw)}")
            return raw.ljust(self.size, b" ")
        if self.base == "digits":
            raw = b"%d" % value
            if len(raw) > self.size or value < 0:
                raise WireError(f"{self.name} takes {self.size} digits: {value} does not fit")
            return raw.rjust(self.size, b" ")
        number = Decimal(value).scaleb(self.decimals) if self.decimals else value
        if number != int(number):
            raise WireError(f"{self.name} takes {self.decimals} decimals, {value} has more")
        try:
            signed = self.base[0] == "i"
            return int(number).to_bytes(self.size, order, signed=signed)  # type: ignore[arg-type]
        except OverflowError:
            raise WireError(f"{self.name} is {self.base}: {value} does not fit") from None


def _placed(fields: Iterable[Field | tuple[str, ...]]) -> tuple[Field, ...]:
    """The fields with their offsets, which are the sums of the sizes before them."""
    placed, offset = [], 0
    for each in fields:
        plain = each if isinstance(each, Field) else Field(*each)  # type: ignore[arg-type]
        placed.append(Field(plain.name, plain.kind, plain.enum, offset))
        offset += plain.size
    return tuple(placed)


@dataclass(frozen=True)
class Message:
    """One message: its type code (empty for headers), spec name, stated length and fields."""

    type: str
    name: str
    length: int
    layout: InitVar[Iterable[Field | tuple[str, ...]]]
    order: str = "big"
    fields: tuple[Field, ...] = field(init=False)
    by_name: Mapping[str, Field] = field(init=False, repr=False, compare=False)

    def __post_init__(self, layout: Iterable[Field | tuple[str, ...]]) -> None:
        placed = _placed(layout)
        object.__setattr__(self, "fields", placed)
        object.__setattr__(self, "by_name", {each.name: each for each in placed})
        total = sum(each.size for each in placed)
        if total != self.length:
            raise WireError(f"{self.name}: fields add up to {total}, the spec says {self.length}")
        if any(each.is_variable for each in placed[:-1]):
            raise WireError(f"{self.name}: only the last field may be of variable length")

    @property
    def is_variable(self) -> bool:
        """True where bytes may follow the fixed part."""
        return self.fields[-1].is_variable

    @cached_property
    def type_field(self) -> Field | None:
        """The field that holds the type code; None for headers."""
        named = [self.by_name[name] for name in TYPE_FIELDS if name in self.by_name]
        return named[0] if self.type and named else None

    def __getitem__(self, name: str) -> Field:
        return self.by_name[name]

    @cached_property
    def dtype(self) -> np.dtype:
        """Record dtype of the fixed part; 48-bit integers are raw bytes (``V``), text is ``S``."""
        mark = ">" if self.order == "big" else "<"
        kinds = []
        for each in self.fields:
            if each.is_variable:
                continue
            if not each.is_integer:
                kinds.append(f"S{each.size}")
            elif each.size in (1, 2, 4, 8):
                kinds.append(f"{mark}{each.base[0]}{each.size}")
            else:
                kinds.append(f"V{each.size}")
        names = [each.name for each in self.fields if not each.is_variable]
        offsets = [each.offset for each in self.fields if not each.is_variable]
        return np.dtype(
            {"names": names, "formats": kinds, "offsets": offsets, "itemsize": self.length}
        )

    def decode(self, buffer: bytes, at: int = 0) -> dict[str, Any]:
        """Every field of the message at ``buffer[at:]``, by the spec's names.

        Raises `WireError` where the buffer is shorter than the message.
        """
        if len(buffer) - at < self.length:
            raise WireError(f"{self.name} takes {self.length} bytes, got {len(buffer) - at}")
        return {each.name: each.get(buffer, at + each.offset, self.order) for each in self.fields}

    def encode(self, **values: Any) -> bytes:
        """The message's bytes; a missing field is zero or blank, the type code is filled in."""
        unknown = set(values) - set(self.by_name)
        if unknown:
            raise WireError(f"{self.name} has no field {', '.join(sorted(unknown))}")
        return b"".join(each.put(self._value(each, values), self.order) for each in self.fields)

    def _value(self, each: Field, values: Mapping[str, Any]) -> Any:
        if each.name in values:
            return values[each.name]
        if each is self.type_field:
            return self.type if each.base == "ascii" else ord(self.type)
        if each.is_integer or each.base == "digits":
            return 0
        return "" if each.base == "ascii" else bytes(each.size)


@dataclass(frozen=True)
class Protocol:
    """A protocol: its messages in the spec's order, and its enumerations {name: {code: value}}."""

    name: str
    messages: tuple[Message, ...]
    enums: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    by_name: Mapping[str, Message] = field(init=False, repr=False, compare=False)
    by_type: Mapping[str, Message] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {each.name: each for each in self.messages})
        typed = {each.type: each for each in self.messages if each.type}
        object.__setattr__(self, "by_type", typed)
        for each in self.messages:
            for one in each.fields:
                if one.enum and one.enum not in self.enums:
                    raise WireError(f"{each.name}.{one.name}: no enumeration {one.enum}")
            if each.type_field and each.type_field.offset != self.type_offset:
                raise WireError(f"{each.name}: its type code is not where the others have theirs")

    def __getitem__(self, name: str) -> Message:
        return self.by_name[name]

    @cached_property
    def type_offset(self) -> int:
        """Where every message of the protocol has its type code."""
        fields = [each.type_field for each in self.messages if each.type_field]
        return fields[0].offset if fields else 0

    @cached_property
    def lengths(self) -> np.ndarray:
        """Length by type code, ``uint16[256]``; 0 where the code is unknown."""
        table = np.zeros(256, np.uint16)
        for code, each in self.by_type.items():
            table[ord(code)] = each.length
        return table

    def message_of(self, buffer: bytes) -> Message:
        """The layout of the message in ``buffer``, by its type code.

        Raises `WireError` for an unknown type and for a length that is not the type's own.
        """
        at = self.type_offset
        code = chr(buffer[at]) if len(buffer) > at else ""
        each = self.by_type.get(code)
        if each is None:
            raise WireError(f"{self.name} has no message type {code!r}")
        if len(buffer) != each.length and not (each.is_variable and len(buffer) > each.length):
            raise WireError(f"{each.name} takes {each.length} bytes, got {len(buffer)}")
        return each

    def decode(self, buffer: bytes) -> dict[str, Any]:
        """The message in ``buffer``: its name as ``message``, and every field.

        Raises what `message_of` raises.  A protocol with a field that is itself called message
        (SoupBinTCP) is read by `message_of` and `Message.decode` instead.
        """
        each = self.message_of(buffer)
        return {"message": each.name, **each.decode(buffer)}
