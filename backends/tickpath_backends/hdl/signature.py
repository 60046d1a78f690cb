"""What a DSLX function takes and gives, by the names of its source and of the profile's structs.

XLS knows a struct as a tuple; names of parameters, structs and fields come from here.  `leaves`
flattens a kind to its numbers, named by their path: ``sideband_ts_event`` of an `Intent`.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from tickpath_backends.hdl import xls
from tickpath_backends.hdl.error import HdlError
from tickpath_backends.hdl.profile import BY_NAME

_FUNCTION = r"pub fn {name}\s*\((.*?)\)\s*->\s*([^{{]+?)\s*\{{"
_ALIAS = re.compile(r"^type (\w+) = layout::(\w+);", re.MULTILINE)
VALUE = ""
"""The name of the only number of what is no struct."""


class Leaf(NamedTuple):
    """One number: its name and kind (``u32``, ``s40``, ...); no kind where it is no struct's."""

    name: str
    kind: str


class Signature(NamedTuple):
    """Parameters in order, and the result: (name, struct's name or "" for a plain number)."""

    parameters: tuple[tuple[str, str], ...]
    result: str


@cache
def of(module: str, function: str) -> Signature:
    """The signature in a module's source.  Raises `HdlError` where it has no such function."""
    source = xls.path_of(module).read_text()
    found = re.search(_FUNCTION.format(name=function), source, re.DOTALL)
    if not found:
        raise HdlError(f"{module}.x: no function {function}")
    aliases = dict(_ALIAS.findall(source))

    def struct(kind: str) -> str:
        plain = kind.strip().removeprefix("layout::")
        name = aliases.get(plain, plain)
        return name if name in BY_NAME else ""

    parameters = (each.split(":", 1) for each in found[1].split(","))
    return Signature(
        tuple((name.strip(), struct(kind)) for name, kind in parameters), struct(found[2])
    )


def leaves(struct: str, prefix: str = "") -> Iterator[Leaf]:
    """The numbers of a struct, in order; of no struct, one without a kind."""
    if not struct:
        yield Leaf(prefix or VALUE, "")
        return
    for name, kind in BY_NAME[struct].fields:
        path = f"{prefix}_{name}" if prefix else name
        if kind in BY_NAME:
            yield from leaves(kind, path)
        else:
            yield Leaf(path, kind)
