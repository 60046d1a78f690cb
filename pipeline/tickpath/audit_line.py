"""One record, one line: text or JSON, by the hints of the file's schema; and which are wanted.

In plain text a time is that of the day or UTC, and text that would disturb a terminal or the line
is quoted as in JSON; in JSON a time is its number of nanoseconds.  Decimal numbers are text with
all their decimals.  A code that its table does not name is printed as its number, and so is a
character's code that cannot be printed.
"""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import numpy as np

from tickpath.audit_file import AuditError
from tickpath.audit_schema import RECORD_NUMBER, Schema, Tables
from tickpath.digest import symbol_number, symbol_text

_SYMBOL_CHARACTERS = 8
_NUMBER_WIDTH = 10
_SECOND_NS = 10**9
_RESERVED = "reserved"
"""Fields whose name begins so are not printed."""
_KEPT = 1 << 16
"""Distinct values of a field whose text is kept."""

Choice = Callable[[np.ndarray], np.ndarray]
"""From records to a mask of those that are wanted."""


def choice(schema: Schema, tables: Tables, code: str | None, symbol: str | None) -> Choice | None:
    """Records with a code of that name, and of that symbol; None where all are wanted.

    Raises `AuditError` for a name that no table of the file has, or where it has no symbols.
    """
    wanted = []
    if code is not None:
        wanted.append(_with_code(schema, tables, code))
    if symbol is not None:
        wanted.append(_of_symbol(schema, symbol))
    if not wanted:
        return None
    return lambda rows: np.logical_and.reduce([each(rows) for each in wanted])


def _with_code(schema: Schema, tables: Tables, name: str) -> Choice:
    chosen: list[tuple[str, np.ndarray]] = []
    known: set[str] = set()
    for field, table in schema.with_form("code"):
        known |= set(tables[table].values())
        named = [int(code) for code, each in tables[table].items() if each.upper() == name.upper()]
        chosen.append((field, np.array(named, np.int64)))
    if not any(len(codes) for _, codes in chosen):
        names = ", ".join(map(quoted, sorted(known))) or "none: its schema has no codes"
        raise AuditError(f"no code of this file is called {name}; its codes: {names}")
    return lambda rows: np.logical_or.reduce(
        [np.isin(rows[field], codes) for field, codes in chosen]
    )


def _of_symbol(schema: Schema, symbol: str) -> Choice:
    fields = [name for name, _ in schema.with_form("symbol")]
    if not fields:
        raise AuditError("the records of this file have no symbol")
    try:
        raw = symbol.encode("latin-1")
    except UnicodeEncodeError:
        raise AuditError(f"{symbol}: is not a symbol") from None
    if not 0 < len(raw) <= _SYMBOL_CHARACTERS:
        raise AuditError(f"{symbol}: a symbol has 1 to {_SYMBOL_CHARACTERS} characters")
    padded = int.from_bytes(raw.ljust(_SYMBOL_CHARACTERS, b"\0"), "big")
    numbers = np.array([symbol_number(symbol), padded], np.uint64)

    def of(column: np.ndarray) -> np.ndarray:
        if column.dtype.kind == "S":
            return np.char.rstrip(column, b" ") == raw
        return np.isin(column, numbers)

    return lambda rows: np.logical_or.reduce([of(rows[name]) for name in fields])


# ---------------------------------------------------------------- lines


class RecordLines:
    """The lines of records: plain text, or one JSON object each."""

    def __init__(self, schema: Schema, tables: Tables, as_json: bool) -> None:
        self._converts = [
            (name, _converter(schema.dtype[name], hint.form, tables, as_json))
            for name, hint in schema.hinted()
            if not name.startswith(_RESERVED)
        ]
        names = [name for name, _ in self._converts]
        if as_json:
            keys = "".join(f', "{name}": %s' for name in names)
            self._template = f'{{"{RECORD_NUMBER}": %s{keys}}}\n'
        else:
            keys = "".join(f" {name}=%s" for name in names)
            self._template = f"%{_NUMBER_WIDTH}s{keys}\n"

    def __call__(self, numbers: np.ndarray, rows: np.ndarray) -> Iterator[str]:
        """A line a record, with its end; ``numbers`` are the records' own."""
        columns = [map(convert, rows[name].tolist()) for name, convert in self._converts]
        for values in zip(numbers.tolist(), *columns, strict=True):
            yield self._template % values


def _converter(
    kind: np.dtype, form: str, tables: Tables, as_json: bool
) -> Callable[[Any], int | str]:
    """From a field's value to what stands in the line."""
    text = json.dumps if as_json else quoted
    form, _, detail = form.partition(":")
    if kind.kind == "S":
        return lru_cache(_KEPT)(lambda raw: text(raw.decode("latin-1").rstrip(" ")))
    if form == "symbol":
        return lru_cache(_KEPT)(lambda number: text(symbol_text(number)))
    if form == "code":
        names = {int(code): text(name) for code, name in tables[detail].items()}
        return lambda number: names.get(number, number)
    if form == "character":
        return lambda code: text(chr(code)) if 32 < code < 127 else code
    if form == "decimal":
        return _decimal(int(detail), '"' if as_json else "")
    if form == "since_midnight" and not as_json:
        return time_of_day
    if form == "since_epoch" and not as_json:
        return utc
    return int


def _decimal(decimals: int, quote: str) -> Callable[[int], str]:
    scale = 10**decimals
    form = f"{quote}%s%d.%0{decimals}d{quote}"

    def decimal(number: int) -> str:
        whole, part = divmod(abs(number), scale)
        return form % ("-" if number < 0 else "", whole, part)

    return decimal


def quoted(text: str) -> str:
    """The text as it is where it is one printable word, else as a JSON string."""
    plain = text.isascii() and text.isprintable() and " " not in text and '"' not in text
    return text if plain and text else json.dumps(text)


def time_of_day(ns: int) -> str:
    """Nanoseconds since midnight as ``09:30:00.000000000``."""
    seconds, part = divmod(ns, _SECOND_NS)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{part:09d}"


def utc(ns: int) -> str:
    """Nanoseconds since the Unix epoch as ``2024-01-02T09:30:00.000000000Z``; else the number."""
    seconds, part = divmod(ns, _SECOND_NS)
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{part:09d}Z"
    except (OverflowError, ValueError, OSError):
        return str(ns)
