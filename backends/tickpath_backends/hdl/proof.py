"""Proofs: a DSLX property holds for every value of its arguments, or Z3 gives some for which not.

A property is a function that gives one bit.  XLS writes it as a formula in SMT-LIB, here of the
function as it was written, not as it was optimised; Z3 looks for arguments that make it 0.  A proof
that takes longer than its limit is neither, which no test takes for proved.
"""

import time
from typing import Any, NamedTuple

from tickpath_backends.hdl import xls
from tickpath_backends.hdl.error import HdlError

LIMIT_S = 60


class Proof(NamedTuple):
    """What became of a property; ``counterexample`` is empty for a proved one."""

    is_proved: bool
    counterexample: str
    seconds: float


def prove(module: str, name: str, limit_s: int = LIMIT_S) -> Proof:
    """Prove one property.  Raises `HdlError` without z3-solver."""
    try:
        import z3
    except ImportError:
        raise HdlError("proofs need z3-solver; run: pip install 'tickpath[hdl]'") from None
    context = z3.Context()
    solver = z3.Solver(ctx=context)
    solver.set("timeout", 1000 * limit_s)
    full = xls.mangled(module, name)
    solver.from_string(_negation(xls.package(module).get_function(full), full))
    started = time.monotonic()
    found = solver.check()
    seconds = time.monotonic() - started
    if found == z3.unsat:
        return Proof(True, "", seconds)
    return Proof(False, str(solver.model()) if found == z3.sat else "not in time", seconds)


def _sort(kind: str) -> str:
    """XLS's name of a type as SMT-LIB's."""
    if kind.startswith("bits["):
        return f"(_ BitVec {kind[5:-1]})"
    return f"|{kind}|"


def _negation(function: Any, name: str) -> str:
    """The formula that there are arguments for which a function is 0."""
    kinds = function.get_type()
    names = [f"argument_{n}" for n in range(kinds.get_param_count())]
    declared = "\n".join(
        f"(declare-const {each} {_sort(kinds.get_param_type(n).to_string())})"
        for n, each in enumerate(names)
    )
    formula = function.to_z3_smtlib().replace("(check-sat)", "")
    applied = f"(select {name} {' '.join(names)})"
    return f"{formula}\n{declared}\n(assert (= {applied} #b0))"
