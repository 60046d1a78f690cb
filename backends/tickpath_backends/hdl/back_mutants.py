"""Known faults put into the back's sources, one at a time: the tests must catch every one.

    python -m tickpath_backends.hdl.back_mutants [WORD...]     # those whose names hold a word

As `book_mutants`: a text of one module replaced by another.  A mutant is caught where a test of
tests/test_hdl_back.py or tests/test_hdl_registers.py fails; the exit code is 1 where one survives.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tickpath_backends.hdl.back_model import GEN, SOURCES, SOURCES_VARIABLE
from tickpath_backends.hdl.book_mutants import Mutant

MUTANTS = (
    Mutant("verdict not forwarded at 4", "risk", "forwards ? after : r_known", "r_known"),
    Mutant(
        "verdict not forwarded at 5",
        "risk",
        "if (v[6] & o_symbol == s_symbol) r_known <= after;\n      else r_known",
        "r_known",
    ),
    Mutant("verdict forwarded to any symbol", "risk", "v[5] & o_symbol == s_symbol", "v[5]"),
    Mutant("gate not forwarded", "risk", "v[6] ? gated.gate : gate;", "gate;"),
    Mutant("intents three cycles apart", "risk", "free = ~|busy;", "free = ~|busy[1:0];"),
    Mutant("switch stuck", "risk", ".gate_limits({is_killed,", ".gate_limits({1'b0,"),
    Mutant("only the last action", "risk", "r_since ? r_now : r_before", "r_since ? r_now : r_now"),
    Mutant(
        "action of its own message", "risk", "input_number >= r_since", "input_number > r_since"
    ),
    Mutant("release twice", "risk", "release_ready = merges | writes", "release_ready = writes"),
    Mutant("release lost", "risk", "merges ? relieved : {is_halted, known}", "{is_halted, known}"),
    Mutant(
        "release under a check",
        "risk",
        "               & ~((|v[5:2]) & r_symbol_ == release_symbol);",
        ";",
    ),
    Mutant("release as R reads", "risk", " & ~(v[1] & s_symbol == release_symbol)", ""),
    Mutant("queue runs over", "risk", "(queue_n != (AW + 1)'(DEPTH) | leaves)", "1'b1"),
    Mutant(
        "what held is kept too long",
        "trigger",
        "if (in_valid) held[symbol]",
        "if (fired.fires) held[symbol]",
    ),
    Mutant("parameters leave what held", "trigger", "held[w_symbol] <= 2'b00;", ""),
    Mutant("gap from the next cycle on", "trigger", "stale[symbol] | gapped |", "stale[symbol] |"),
    Mutant(
        "rescanned tops do not fire",
        "trigger",
        "out_valid <= in_valid & fired.fires;",
        "out_valid <= in_valid & ~in_rescanned & fired.fires;",
    ),
    Mutant(
        "large level passes once",
        "trigger",
        "in_flags[3] | in_flags[2] | in_flags[1];",
        "in_flags[3] | in_flags[1];",
    ),
    Mutant(
        "dropped intent goes unsaid",
        "trigger",
        "if (dropped) orders_overflow[dropped_symbol] <= 1'b1;",
        "",
    ),
    Mutant(
        "dropped order goes unsaid",
        "trigger",
        "if (refused) orders_overflow[refused_symbol] <= 1'b1;",
        "",
    ),
    Mutant(
        "dropped intent of another symbol",
        "back_top",
        "fired_symbol <= intent[layout::INTENT_T_BITS-1-:6];",
        "fired_symbol <= in_symbol;",
    ),
    Mutant("full store is forgotten", "trigger", "if (in_valid & in_flags[0])", "if (0)"),
    Mutant("short sales not marked", "encode", "in_is_short ?", "1'b0 ?"),
    Mutant(
        "refused orders are numbered",
        "encode",
        "if (taken | in_refused) next",
        "if (in_valid | in_refused) next",
    ),
    Mutant("bytes the other way round", "serialiser", "word[DW-1-8*i-:8]", "word[8*i+:8]"),
    Mutant("a byte too many", "serialiser", "left > 9'(i)", "left >= 9'(i)"),
    Mutant("FIFO runs over", "serialiser", "(queue_n != (AW + 1)'(DEPTH) | leaves)", "1'b1"),
    Mutant("word not held", "serialiser", "~m_axis_tvalid | m_axis_tready;", "1'b1;"),
    Mutant(
        "an order overtakes", "serialiser", "between & ~waits & is_message", "between & is_message"
    ),
    Mutant("counted twice", "latency", "was + 32'd1", "was + 32'd2"),
    Mutant("longest is the last", "latency", "clear | cycles > most", "1'b1"),
    Mutant(
        "halves of two moments",
        "registers",
        "r_address[2] ? high :",
        "r_address[2] ? r_double[63:32] :",
    ),
    Mutant("switch never on", "registers", "is_killed <= w_data[0];", "is_killed <= 1'b0;"),
    Mutant("entry beyond the table", "registers", "fetches & in_range;", "fetches;"),
    Mutant("tick of another bit", "back_top", "SYMBOL_LIMITS_T_BITS-2", "SYMBOL_LIMITS_T_BITS-1"),
    Mutant("name too late", "back_top", "name <= names[judged.symbol];", "name <= names[symbol];"),
)


def survives(mutant: Mutant, directory: Path) -> str | None:
    """None where a test caught it; else what pytest said.  Raises `ValueError`: it is no text."""
    for path in [*SOURCES, *GEN.glob("*.svh")]:
        text = path.read_text()
        if path.stem == mutant.module and path.suffix == ".sv":
            if text.count(mutant.old) != 1:
                raise ValueError(f"{mutant.name}: not once in {path.name}: {mutant.old!r}")
            text = text.replace(mutant.old, mutant.new)
        (directory / path.name).write_text(text)
    tests = Path(__file__).resolve().parents[3] / "tests"
    files = [str(tests / f"test_hdl_{name}.py") for name in ("back", "registers")]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-m", "not long", *files]
    env = {**os.environ, SOURCES_VARIABLE: str(directory), "TICKPATH_CACHE_DIR": str(directory)}
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode == 1 and "FAILED" in done.stdout and "HdlError" not in done.stdout:
        return None
    return (done.stdout + done.stderr)[-400:]


def main(words: list[str]) -> int:
    """Try the mutants whose names hold one of the words, or all; gives the exit code."""
    chosen = [m for m in MUTANTS if not words or any(word in m.name for word in words)]
    survivors = 0
    for mutant in chosen:
        with tempfile.TemporaryDirectory() as directory:
            said = survives(mutant, Path(directory))
        word = "caught  " if said is None else "SURVIVED"
        print(f"{word} {mutant.module}: {mutant.name}", flush=True)
        if said is not None:
            survivors += 1
            print(said, file=sys.stderr)
    print(f"{len(chosen) - survivors} of {len(chosen)} caught")
    return min(survivors, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
