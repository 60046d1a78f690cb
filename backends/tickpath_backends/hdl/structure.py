"""What hdl/rtl is made of, read from its sources: modules, their ports, instances and their nets.

It reads the plain SystemVerilog that stands there (ANSI ports, named connections, macros with
arguments), not the language.  So a drawing of it is of the design and not of an intention.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tickpath_backends.hdl.error import HdlError

_COMMENT = re.compile(r"//[^\n]*")
_MACRO = re.compile(r"`define +(\w+)\(([^)]*)\)((?:[^\n\\]|\\\n|\\.)*)")
_MODULE = re.compile(r"\bmodule\s+(\w+)(.*?)\bendmodule\b", re.S)
_PORT = re.compile(r"\b(input|output)\s+logic\s*((?:\[[^]]*\]\s*)*)(\w+)")
_NET = re.compile(r"\b[A-Za-z_]\w*\b")
_ASSIGN = re.compile(r"\b(?:assign|wire(?:\s*\[[^]]*\])?)\s+(\w+)\s*=\s*(\w+)\s*;")


@dataclass(frozen=True)
class Instance:
    """A module within another one; ``nets`` has the names in what each port is connected to."""

    name: str
    module: str
    nets: Mapping[str, frozenset[str]]


@dataclass
class Module:
    """A module: the direction of each port, and what is in it, in the order of the source."""

    name: str
    ports: dict[str, str]
    instances: list[Instance] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)
    """Nets that are another net by a plain assignment."""


def read(*directories: Path) -> dict[str, Module]:
    """The modules of all sources in directories, by name."""
    bodies: dict[str, str] = {}
    for path in sorted(each for directory in directories for each in directory.glob("*.sv")):
        text = _expanded(_COMMENT.sub("", path.read_text()))
        bodies |= {found[1]: found[2] for found in _MODULE.finditer(text)}
    if not bodies:
        where = ", ".join(map(str, directories))
        raise HdlError(f"{where}: no modules there; run: pip install -e CHECKOUT")
    made = {}
    for name, body in bodies.items():
        head, rest = _header(body)
        ports = {port: way for way, _, port in _PORT.findall(head)}
        found = Module(name, ports, list(_instances(rest, bodies)))
        found.aliases = dict(_ASSIGN.findall(rest))
        made[name] = found
    return made


def _expanded(text: str) -> str:
    """The text with its macros that have arguments put in."""
    macros = {name: (arguments, body) for name, arguments, body in _MACRO.findall(text)}
    text = _MACRO.sub("", text)
    for name, (arguments, body) in macros.items():
        parameters = [each.strip() for each in arguments.split(",")]
        while found := re.search(rf"`{name}\(", text):
            end = _closing(text, found.end() - 1)
            given = [each.strip() for each in text[found.end() : end].split(",")]
            made = body.replace("\\\n", "\n").replace("``", "\0")
            for parameter, value in zip(parameters, given, strict=True):
                made = re.sub(
                    rf"\b{parameter}\b", value.replace("\\", ""), made.replace("\0", " \0 ")
                )
            made = re.sub(r"\s*\0\s*", "", made)
            text = text[: found.start()] + made + text[end + 1 :]
    return text


def _closing(text: str, at: int) -> int:
    """Where the parenthesis closes that opens at a place."""
    depth = 0
    for place in range(at, len(text)):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if depth == 0:
            return place
    raise HdlError("a parenthesis of hdl/rtl does not close")


def _header(body: str) -> tuple[str, str]:
    """A module's ports, and what is behind them."""
    at = body.index("(")
    if body[:at].strip().endswith("#"):
        at = body.index("(", _closing(body, at))
    end = _closing(body, at)
    return body[at:end], body[end:]


def _instances(body: str, known: Mapping[str, str]) -> Iterator[Instance]:
    for found in re.finditer(r"\b(\w+)\s*(#\s*\(|\w+\s*\()", body):
        if found[1] not in known:
            continue
        at = found.end() - 1
        rest = found[2]
        if rest.startswith("#"):
            behind = re.compile(r"\s*(\w+)\s*\(").match(body, _closing(body, at) + 1)
            if behind is None:
                continue
            name, at = behind[1], behind.end() - 1
        else:
            name = rest.rstrip("( \n\t")
        yield Instance(name, found[1], _connections(body[at + 1 : _closing(body, at)]))


def _connections(text: str) -> dict[str, frozenset[str]]:
    nets = {}
    for found in re.finditer(r"\.(\w+)\s*\(", text):
        end = _closing(text, found.end() - 1)
        nets[found[1]] = frozenset(_NET.findall(text[found.end() : end]))
    return nets


def links(modules: Mapping[str, Module], top: str) -> dict[tuple[str, str], list[str]]:
    """The nets that go from one instance of a module to another one, by (from, to)."""
    module = modules[top]
    drivers: dict[str, str] = {}
    for each in module.instances:
        for port, nets in each.nets.items():
            if modules[each.module].ports.get(port) == "output":
                drivers |= dict.fromkeys(nets, each.name)
    found: dict[tuple[str, str], set[str]] = {}
    for each in module.instances:
        for port, nets in each.nets.items():
            if modules[each.module].ports.get(port) != "input":
                continue
            for net in nets:
                source = drivers.get(net) or drivers.get(module.aliases.get(net, ""))
                if source and source != each.name:
                    found.setdefault((source, each.name), set()).add(net)
    return {pair: sorted(nets) for pair, nets in found.items()}


def tree(modules: Mapping[str, Module], top: str, depth: int = 0) -> Iterator[tuple[int, Instance]]:
    """All instances below a module, each with its depth, parents first."""
    for each in modules[top].instances:
        yield depth, each
        yield from tree(modules, each.module, depth + 1)
