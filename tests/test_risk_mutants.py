"""Every check of the gate taken out, one at a time: a scene must notice.

The source of `tickpath.risk` is changed as a syntax tree, in one place for each mutant, and
compiled beside the real one.  A mutant that gives all scenes the verdicts of the real gate is a
check that no test would miss.
"""

import ast
import copy
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import pytest
from numba import njit

from test_risk import ALONE, AMOUNTS, REDUCING, WITHIN, limited, reducing, scene
from tickpath import Engine, risk
from tickpath.config import SWITCHES
from tickpath.jit import HOT
from violations import BUY, SELL, Scene, limits, to

pytestmark = pytest.mark.long
SOURCE = Path(risk.__file__).read_text()
NOT_THE_GATES = {"UNKNOWN_ORDER", "OWN_ORDERS_FULL", "AUDIT_FULL"}
"""Checks that are made where an intent is taken, and not in `risk.check`."""
ONE, ZERO = np.uint64(1), np.uint64(0)

# ---------------------------------------------------------------- scenes as calls


class Call(NamedTuple):
    """An engine before an order, and what `risk.check` is asked about it."""

    engine: Engine
    arguments: tuple[np.uint64, ...]


def scenes() -> Iterator[Scene]:
    for case in ALONE:
        code, change = case.values
        if code not in NOT_THE_GATES:
            yield scene(change)
    for changes in WITHIN:
        yield scene(*changes)
    for case in REDUCING:
        code, held = case.values
        if code not in NOT_THE_GATES:
            yield reducing(code, held)
    yield scene(to(book=3), limits(off=list(SWITCHES)))
    for each in AMOUNTS:
        yield from (scene(limited(each, most)) for most in (each.amount, each.amount - 1))


def _fits(value: int) -> np.uint64:
    return np.uint64(min(value & (1 << 64) - 1, (1 << 32) - 1))


def _call(made: Scene) -> Call:
    side, quantity, price = made.order
    code = {BUY: ord("B"), SELL: ord("S")}.get(side, 0)
    return Call(
        made.prepared(),
        (_fits(made.book), np.uint64(code), _fits(quantity), np.uint64(price & (1 << 64) - 1)),
    )


def verdicts(module: ModuleType, calls: list[Call]) -> list[tuple[int, ...]]:
    """What a gate says of each call: (failed, warned, reference price, side, reducing)."""
    check = module.check

    @njit(**HOT)
    def asked(eng, b, side, quantity, price):
        return check(eng, b, side, quantity, price, ZERO, ZERO, ONE)

    return [
        tuple(int(n) for n in asked(each.engine.block.address, *each.arguments)) for each in calls
    ]


# ---------------------------------------------------------------- mutants


class Mutant(NamedTuple):
    what: str
    tree: ast.Module


FAST = ("_passes_all", "_may_go", "_is_fair", "_is_in_time")
"""Functions that look whether it is plain that no check fails."""
EQUIVALENT = {
    # A book that nobody opened has no limits either: nothing is allowed.
    "_may_go: without book.venue(record) != ZERO",
    # With these left out fewer orders are seen to pass at once: `_check_all` says the same.
    "_may_go: without engine.market_hours(eng) == _MARKET_START",
    "_may_go: without gate.hours(g) == _ANY",
    "_passes_all: without not is_buy",
    "_passes_all: without _is_short(p, quantity, less)",
    "_passes_all: without short",
    "_passes_all: without limited",
}
DANGEROUS = {"is_well_formed: without b < engine.books(eng)"}
"""Not run: it would read beyond the engine's memory."""


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    return (node for node in tree.body if isinstance(node, ast.FunctionDef))


def _operands(node: ast.expr, operator: type[ast.operator]) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, operator):
        return [*_operands(node.left, operator), *_operands(node.right, operator)]
    return [node]


def _without(node: ast.AST) -> list[tuple[str, ast.AST]]:
    """What a node becomes without each of its conditions: (what is left out, the rest)."""
    if isinstance(node, ast.BoolOp):
        return [
            (ast.unparse(value), ast.BoolOp(node.op, [v for v in node.values if v is not value]))
            if len(node.values) > 2
            else (ast.unparse(value), next(v for v in node.values if v is not value))
            for value in node.values
        ]
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.BitOr, ast.BitAnd)):
        return [
            (ast.unparse(left_out), other)
            for left_out, other in ((node.left, node.right), (node.right, node.left))
        ]
    return []


def _is_code(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and ast.unparse(node.value) == "code"


def _edits(function: ast.FunctionDef) -> Iterator[tuple[str, int, ast.AST]]:
    """(what, number of the node in a walk of the function, what stands there instead)."""
    for at, node in enumerate(ast.walk(function)):
        if (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) == "_bit"
            and _is_code(node.args[1])
        ):
            changed = copy.deepcopy(node)
            changed.args[0] = ast.Constant(False)
            yield f"without {ast.unparse(node.args[0])}", at, changed
        elif (
            isinstance(node, ast.BinOp) and isinstance(node.op, ast.LShift) and _is_code(node.right)
        ):
            yield f"without {ast.unparse(node)}", at, ast.Name("ZERO", ast.Load())
        elif function.name in (*FAST, "is_well_formed"):
            for left_out, rest in _without(node):
                yield f"without {left_out}", at, rest
        if function.name in FAST and isinstance(node, ast.If):
            yield f"without if {ast.unparse(node.test)}", at, ast.Pass()
        if function.name == "_are_far" and isinstance(node, (ast.Assign, ast.AugAssign)):
            if "most" in ast.unparse(node):
                rest = ast.parse("signs = np.int64(0)" if isinstance(node, ast.Assign) else "pass")
                yield f"without {ast.unparse(node.value)}", at, rest.body[0]
        if function.name == "_most" and isinstance(node, ast.Tuple):
            for n, element in enumerate(node.elts):
                changed = copy.deepcopy(node)
                changed.elts[n] = ast.parse("np.int64(1 << 62)", mode="eval").body
                yield f"without {ast.unparse(element)}", at, changed


class _Put(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self.new if node is self.old else super().visit(node)


def _exposure_mutants(tree: ast.Module) -> Iterator[Mutant]:
    """Of the codes that reducing orders pass, one left out."""
    for code in risk.Reject:
        if risk.EXPOSURE >> code & 1:
            changed = copy.deepcopy(tree)
            for node in changed.body:
                if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "EXPOSURE":
                    node.value = ast.Constant(risk.EXPOSURE & ~(1 << code))
            yield Mutant(f"EXPOSURE: without {code.name}", ast.fix_missing_locations(changed))


def mutants() -> Iterator[Mutant]:
    tree = ast.parse(SOURCE)
    for number, function in enumerate(_functions(tree)):
        for what, at, new in _edits(function):
            changed = copy.deepcopy(tree)
            same = list(_functions(changed))[number]
            old = next(node for n, node in enumerate(ast.walk(same)) if n == at)
            _Put(old, new).visit(changed)
            yield Mutant(f"{function.name}: {what}", ast.fix_missing_locations(changed))
    yield from _exposure_mutants(tree)


def loaded(mutant: Mutant) -> ModuleType:
    module = ModuleType("tickpath_risk_mutant")
    module.__dict__["__file__"] = risk.__file__
    sys.modules[module.__name__] = module
    exec(compile(mutant.tree, risk.__file__, "exec"), module.__dict__)
    return module


# ---------------------------------------------------------------- the tests


@pytest.fixture(scope="module")
def calls() -> list[Call]:
    return [_call(each) for each in scenes()]


@pytest.fixture(scope="module")
def expected(calls) -> list[tuple[int, ...]]:
    return verdicts(risk, calls)


def test_the_real_gate_compiled_here_says_the_same(calls, expected):
    assert verdicts(loaded(Mutant("", ast.parse(SOURCE))), calls) == expected


ALL = list(mutants())


@pytest.mark.parametrize("mutant", ALL, ids=[each.what for each in ALL])
def test_a_check_that_is_missing_is_missed(mutant, calls, expected):
    if mutant.what in DANGEROUS:
        pytest.skip("it would read beyond the engine's memory")
    is_same = verdicts(loaded(mutant), calls) == expected
    assert is_same == (mutant.what in EQUIVALENT)
