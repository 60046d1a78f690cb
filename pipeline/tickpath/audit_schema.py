"""What an audit file says about its records, so that any build of the package can print them.

A schema is a packed record dtype of little-endian integers and text, and for each field a `Hint`:
the form in which its value is printed, and its unit.  Forms:

    ""             the number, or the text without its padding
    decimal:N      a number with N implied decimals
    character      a number that is a character's code
    symbol         text, or a number that is the text's eight characters read big-endian
    code:TABLE     a number that ``identity["tables"][TABLE]`` has a name for
    since_midnight nanoseconds; plain text shows the time of day, JSON the number
    since_epoch    nanoseconds; plain text shows UTC, JSON the number

`tickpath.audit_line` prints by them.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from tickpath.audit_file import BLOCK_BYTES, MAX_DESCRIPTION_BYTES, AuditError

RECORD_NUMBER = "record_number"
"""The key of a record's number in JSON; no field may have this name."""
_TYPE = re.compile(r"[<|][ui][1248]|\|S[1-9]\d{0,2}")
_FORM = re.compile(
    r"|decimal:[1-9]|decimal:1[0-8]|character|symbol|code:\w{1,64}|since_midnight|since_epoch"
)
_NAME = re.compile(r"[A-Za-z_]\w{0,63}", re.ASCII)
_CODE = re.compile(r"-?\d{1,9}", re.ASCII)

Tables = Mapping[str, Mapping[str, str]]


class Hint(NamedTuple):
    """How a field is printed, and the unit of its number."""

    form: str = ""
    unit: str = ""


class Schema(NamedTuple):
    """The records of an audit file: their dtype, and a hint a field in the dtype's order."""

    dtype: np.dtype
    hints: tuple[Hint, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return self.dtype.names or ()

    def description(self) -> dict[str, Any]:
        """The schema as the file's header has it."""
        fields = [
            {"name": name, "type": self.dtype[name].str, **_said(hint)}
            for name, hint in self.hinted()
        ]
        return {"size": self.dtype.itemsize, "fields": fields}

    def with_form(self, form: str) -> list[tuple[str, str]]:
        """Fields of a form, each with what stands behind the form's colon."""
        forms = ((name, *hint.form.partition(":")) for name, hint in self.hinted())
        return [(name, detail) for name, each, _, detail in forms if each == form]

    def hinted(self) -> Iterator[tuple[str, Hint]]:
        """Every field with its hint."""
        return zip(self.names, self.hints, strict=True)


def _said(hint: Hint) -> dict[str, str]:
    return {key: value for key, value in hint._asdict().items() if value}


def schema_of(dtype: np.dtype, hints: Mapping[str, Hint], tables: Tables) -> Schema:
    """The schema of a dtype.  Raises `AuditError` where it has no portable form."""
    names = dtype.names
    if not names or dtype.subdtype:
        raise AuditError("an audit record is a structured dtype with at least one field")
    unknown = [name for name in hints if name not in names]
    if unknown:
        raise AuditError(f"a hint for {unknown[0]}, which the audit record does not have")
    packed = 0
    for name in names:
        kind, offset = dtype.fields[name][:2]  # type: ignore[index]
        if not _TYPE.fullmatch(kind.str):
            raise AuditError(
                f"audit field {name} is {kind.str}: fields are little-endian integers or S text"
            )
        if offset != packed:
            raise AuditError(f"audit field {name} is not packed: declare a reserved field there")
        packed += kind.itemsize
    if packed != dtype.itemsize:
        raise AuditError("the audit record has bytes behind its last field: declare them reserved")
    made = Schema(dtype, tuple(hints.get(name, Hint()) for name in names))
    _check(made, tables)
    return made


def _check(schema: Schema, tables: Tables) -> None:
    if schema.dtype.itemsize > BLOCK_BYTES:
        raise AuditError(f"an audit record has at most {BLOCK_BYTES} bytes")
    for name, hint in schema.hinted():
        kind = schema.dtype[name]
        if not _NAME.fullmatch(name) or name == RECORD_NUMBER:
            raise AuditError(f"{name!r} cannot be the name of an audit field")
        if not _FORM.fullmatch(hint.form):
            raise AuditError(f"audit field {name}: there is no form {hint.form!r}")
        form, _, table = hint.form.partition(":")
        if form == "symbol" and kind.str not in ("<u8", f"|S{kind.itemsize}"):
            raise AuditError(f"audit field {name}: a symbol is a u8 or text, not {kind.str}")
        if form not in ("", "symbol") and kind.kind == "S":
            raise AuditError(f"audit field {name}: text has no form {form}")
        if form == "code" and table not in tables:
            raise AuditError(f'audit field {name}: identity["tables"] has no {table!r}')
        if form == "code" and not all(map(_CODE.fullmatch, tables[table])):
            raise AuditError(f'identity["tables"][{table!r}] has a code that is no small integer')


def schema_from(description: Any, tables: Tables) -> Schema:
    """The schema that a file's header describes.  Raises `AuditError` where it describes none."""
    try:
        fields = description["fields"]
        kinds = [(str(each["name"]), str(each["type"])) for each in fields]
        unknown = [kind for _, kind in kinds if not _TYPE.fullmatch(kind)]
        if unknown:
            raise ValueError(f"type {unknown[0]!r}")
        hints = {
            str(each["name"]): Hint(str(each.get("form", "")), str(each.get("unit", "")))
            for each in fields
        }
        dtype = np.dtype(kinds)
        if dtype.itemsize != description["size"]:
            raise ValueError("its fields do not add up to its size")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AuditError(f"its header does not describe its records: {error}") from None
    return schema_of(dtype, hints, tables)


def tables_in(identity: Mapping[str, Any]) -> Tables:
    """The code tables of an identity, codes as text.  Raises `AuditError` for other shapes."""
    tables = identity.get("tables", {})
    if not isinstance(tables, dict) or not all(
        isinstance(table, dict) and all(isinstance(name, str) for name in table.values())
        for table in tables.values()
    ):
        raise AuditError('identity["tables"] is {table: {code: name}}')
    return tables


# ---------------------------------------------------------------- descriptions


def described(dtype: np.dtype, identity: Mapping[str, Any], hints: Mapping[str, Hint]) -> bytes:
    """The description in a file's header.  Raises `AuditError` for what cannot be described."""
    try:
        plain = json.loads(json.dumps(dict(identity), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise AuditError(f"the audit identity is not JSON: {error}") from None
    schema = schema_of(dtype, hints, tables_in(plain))
    description = {"record": schema.description(), "identity": plain}
    text = json.dumps(description, separators=(",", ":"))
    if len(text) > MAX_DESCRIPTION_BYTES:
        raise AuditError(f"the audit identity has more than {MAX_DESCRIPTION_BYTES} bytes")
    return text.encode()


def same_run(path: str, found: dict[str, Any], ours: dict[str, Any]) -> None:
    """Raise `AuditError` where a file is of another run."""
    if found["record"] != ours["record"]:
        raise AuditError(f"{path}: has records of another layout: name another file")
    for name in sorted(found["identity"].keys() | ours["identity"].keys()):
        there, here = found["identity"].get(name), ours["identity"].get(name)
        if there != here:
            what = "" if name == "tables" else f" ({_short(there)} there, {_short(here)} here)"
            raise AuditError(f"{path}: is of another run: its {name} differs{what}: name another")


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."
