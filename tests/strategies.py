"""Hypothesis strategies that follow from the wire tables: whatever a layout can hold.

A strategy gives values that survive a round trip, so text has no trailing spaces (the padding) and
an enumerated field has a code of its table as often as any other character.
"""

import importlib
import pkgutil
from decimal import Decimal
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

import tickpath.wire
from tickpath.wire import appendage
from tickpath.wire.table import Field, Message, Protocol

REPEATABLE = settings(derandomize=True, deadline=None, database=None, max_examples=20)
"""The same examples in every run, and none decided by the clock."""

MAX_VARIABLE = 40
"""Bytes that a strategy puts into a field of variable length."""


def protocols() -> list[Protocol]:
    """Every protocol declared in `tickpath.wire`, sorted by name."""
    found: dict[str, Protocol] = {}
    for module in pkgutil.iter_modules(tickpath.wire.__path__):
        space = vars(importlib.import_module(f"tickpath.wire.{module.name}"))
        found |= {each.name: each for each in space.values() if isinstance(each, Protocol)}
    return [found[name] for name in sorted(found)]


def text(size: int) -> st.SearchStrategy[str]:
    """Printable text that fits ``size`` characters behind its padding."""
    characters = st.characters(min_codepoint=0x20, max_codepoint=0x7E)
    return st.text(characters, max_size=size).map(lambda value: value.rstrip(" "))


def number(field: Field) -> st.SearchStrategy[Any]:
    """An integer or price from the field's whole range."""
    bits = field.size * 8
    signed = field.base[0] == "i"
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    if not field.decimals:
        return st.integers(low, high)
    return st.integers(low, high).map(lambda value: Decimal(value).scaleb(-field.decimals))


def field_value(field: Field, protocol: Protocol | None = None) -> st.SearchStrategy[Any]:
    """A value of the field as `Field.get` gives it."""
    size = MAX_VARIABLE if field.is_variable else field.size
    if field.base == "bytes":
        return st.binary(min_size=0 if field.is_variable else size, max_size=size)
    if field.base == "digits":
        return st.integers(0, 10**size - 1)
    if field.base == "ascii":
        codes = protocol.enums[field.enum] if protocol and field.enum else {}
        known = [code.rstrip(" ") for code in codes if len(code) <= size]
        return st.sampled_from(known) | text(size) if known else text(size)
    return number(field)


def message_values(message: Message, protocol: Protocol | None = None) -> st.SearchStrategy:
    """A dict of every field of the message but its type code, which `Message.encode` fills in."""
    free = [each for each in message.fields if each is not message.type_field]
    return st.fixed_dictionaries({each.name: field_value(each, protocol) for each in free})


def options() -> st.SearchStrategy[dict[str, Any]]:
    """Options of an OUCH 5.0 appendage, some of them unknown to the table, in any order."""
    known = {each.name: number_or_text(each) for each in appendage.OPTIONS.values()}
    unknown = {f"tag_{tag}": st.binary(max_size=12) for tag in (0, 8, 21, 200, 255)}
    return st.fixed_dictionaries({}, optional=known | unknown).flatmap(
        lambda chosen: st.permutations(list(chosen.items())).map(dict)
    )


def number_or_text(field: Field) -> st.SearchStrategy[Any]:
    """As `field_value`, for a field that stands in no protocol's table."""
    return field_value(field, None)
