"""Messages as `struct` sees them, from the wire tables: prices and times stay plain integers.

`Message.encode` of the tables takes decimals and names and is as slow as it is clear; a venue says
tens of thousands of messages a second.  A `Packing` is the same layout as one `struct.Struct`, its
values in the table's order: integers as they are on the wire, text as padded bytes.  Two things
differ from the table: a 48-bit integer is two values (`halves` splits one), and what is of variable
length at a message's end is not part of it.
"""

import struct
from collections import namedtuple
from mmap import mmap
from typing import Any

from tickpath.wire.table import Field, Message

Buffer = bytes | memoryview | mmap
_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
_SPLIT = 6
"""Size of the integers that `struct` does not have."""
_LOW_BITS = 32
_LOW_MASK = (1 << _LOW_BITS) - 1


def halves(number: int) -> tuple[int, int]:
    """The two values of a 48-bit integer."""
    return number >> _LOW_BITS, number & _LOW_MASK


def padded(text: str | bytes, size: int) -> bytes:
    """Text as it stands on the wire: left-justified, padded with spaces."""
    raw = text if isinstance(text, bytes) else text.encode("latin-1")
    return raw.ljust(size)


def _codes(field: Field) -> list[tuple[str, str]]:
    """(name, `struct` code) of a field's values."""
    if not field.is_integer:
        return [(field.name, f"{field.size}s")]
    if field.size == _SPLIT:
        return [(f"{field.name}_high", "H"), (f"{field.name}_low", "I")]
    code = _CODES[field.size]
    return [(field.name, code.lower() if field.base[0] == "i" else code)]


class Packing:
    """The fixed part of one message.

    ``pack(*values)`` gives its bytes, ``unpack(buffer)`` a named tuple of its values; the buffer
    may be longer, and `struct.error` says that it is shorter.
    """

    def __init__(self, message: Message) -> None:
        self.message = message
        self.type = message.type.encode("latin-1")
        values = [pair for field in message.fields if not field.is_variable
                  for pair in _codes(field)]  # fmt: skip
        mark = ">" if message.order == "big" else "<"
        self._struct = struct.Struct(mark + "".join(code for _, code in values))
        self.names = tuple(name for name, _ in values)
        named: Any = namedtuple  # mypy wants the names written out, and they come from a table
        self._make = named(message.name, self.names)._make
        assert self._struct.size == message.length, message.name
        self.pack = self._struct.pack

    def unpack(self, buffer: Buffer, at: int = 0) -> Any:
        """The values of the message that begins at ``buffer[at]``."""
        return self._make(self._struct.unpack_from(buffer, at))

    def encode(self, **values: Any) -> bytes:
        """The bytes of named values; the type is filled in, what is missing is zero or blank."""
        unknown = set(values) - set(self.names)
        assert not unknown, unknown
        return self.pack(*(self._value(name, values) for name in self.names))

    def _value(self, name: str, values: dict[str, Any]) -> Any:
        field = self.message.by_name.get(name)
        if field is None or field.is_integer:
            return values.get(name, 0)
        if field is self.message.type_field:
            return self.type
        return padded(values.get(name, b""), field.size)
