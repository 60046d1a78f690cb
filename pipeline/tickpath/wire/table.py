"""What a wire layout is: protocols, their messages, and the fields of each in the spec's order.

A field is a name and a kind.  Offsets and lengths are never written: they follow from the order of
the fields, and each message states the length that its specification prints so that the two are
compared when the table is loaded.  From a table come the Python decoder and encoder (here), the
NumPy dtype (`Message.dtype`), the accessors of the hot path (`tickpath.wire.hot`), and later the
hardware's constants.

Kinds: ``u8 u16 u32 u48 u64 i8 i32`` integers; ``u32/1e4`` (and other widths and powers) a price
with implied decimals; ``ascii:N`` left-justified, space-padded text; ``bytes:N`` raw bytes;
``bytes:*`` whatever follows, only as the last field.  Values in Python: integers, `Decimal` for
prices, `str` without the padding for text, `bytes` for raw bytes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Any

import numpy as np


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
        """Bytes on the wire; 0 for ``bytes:*``."""
        if self.base in ("ascii", "bytes"):
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
        return self.base not in ("ascii", "bytes")

    @property
    def is_variable(self) -> bool:
        return self.kind == "bytes:*"

    def get(self, buffer: bytes, at: int, order: str) -> Any:
        """The field's Python value, read from ``buffer`` at its absolute position ``at``."""
        raw = bytes(buffer[at:] if self.is_variable else buffer[at : at + self.size])
        if self.base == "bytes":
            return raw
        if self.base == "ascii":
            return raw.decode("latin-1").rstrip(" ")
        number = int.from_bytes(raw, order, signed=self.base[0] == "i")  # type: ignore[arg-type]
        return Decimal(number).scaleb(-self.decimals) if self.decimals else number

    def put(self, value: Any, order: str) -> bytes:
        """The field's bytes on the wire; `WireError` where the value does not fit."""
        if self.base == "bytes":
            raw = bytes(value)
            if not self.is_variable and len(raw) != self.size:
                raise WireError(f"{self.name} takes {self.size} bytes, not {len(raw)}")
            return raw
        if self.base == "ascii":
            raw = value.encode("latin-1")
            if len(raw) > self.size:
                raise WireError(f"{self.name} takes {self.size} characters, not {len(raw)}")
            return raw.ljust(self.size, b" ")
        number = Decimal(value).scaleb(self.decimals) if self.decimals else value
        if number != int(number):
            raise WireError(f"{self.name} takes {self.decimals} decimals, {value} has more")
        try:
            signed = self.base[0] == "i"
            return int(number).to_bytes(self.size, order, signed=signed)  # type: ignore[arg-type]
        except OverflowError:
            raise WireError(f"{self.name} is {self.base}: {value} does not fit") from None


def _placed(fields: Iterable[Field | tuple]) -> tuple[Field, ...]:
    """The fields with their offsets, which are the sums of the sizes before them."""
    placed, offset = [], 0
    for each in fields:
        plain = each if isinstance(each, Field) else Field(*each)
        placed.append(Field(plain.name, plain.kind, plain.enum, offset))
        offset += plain.size
    return tuple(placed)


@dataclass(frozen=True)
class Message:
    """One message: its type code (empty for headers), spec name, stated length and fields."""

    type: str
    name: str
    length: int
    fields: tuple[Field, ...]
    order: str = "big"
    by_name: Mapping[str, Field] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        placed = _placed(self.fields)
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

    def __getitem__(self, name: str) -> Field:
        return self.by_name[name]

    @cached_property
    def dtype(self) -> np.dtype:
        """Record dtype of the fixed part; 48-bit integers and text are raw bytes (``V``, ``S``)."""
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
        if each.name == "message_type":
            return self.type if each.base == "ascii" else ord(self.type)
        if each.is_integer:
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

    def __getitem__(self, name: str) -> Message:
        return self.by_name[name]

    @cached_property
    def lengths(self) -> np.ndarray:
        """Length by type code, ``uint16[256]``; 0 where the code is unknown."""
        table = np.zeros(256, np.uint16)
        for code, each in self.by_type.items():
            table[ord(code)] = each.length
        return table

    def decode(self, buffer: bytes) -> dict[str, Any]:
        """The message in ``buffer`` (its type code first): ``message`` and every field.

        Raises `WireError` for an unknown type and for a length that is not the type's own.
        """
        code = chr(buffer[0]) if buffer else ""
        each = self.by_type.get(code)
        if each is None:
            raise WireError(f"{self.name} has no message type {code!r}")
        if len(buffer) != each.length and not (each.is_variable and len(buffer) > each.length):
            raise WireError(f"{each.name} takes {each.length} bytes, got {len(buffer)}")
        return {"message": each.name, **each.decode(buffer)}
