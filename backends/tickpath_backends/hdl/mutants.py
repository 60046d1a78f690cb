"""Known faults put into the RTL, one at a time: the tests must catch every one.

    python -m tickpath_backends.hdl.mutants BLOCK [WORD...]     # those whose names hold a word

A mutant is caught where a test of its block fails: the block differs from the reference, hangs, or
says too much.  Those that pass all tests are named, and the exit code is 1.  Each takes a build of
the block and the tests up to the one that fails, a minute or so.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tickpath_backends.hdl import back_model, book_model, parse_model
from tickpath_backends.hdl.back_mutants import MUTANTS as BACK
from tickpath_backends.hdl.book_mutants import MUTANTS as BOOK
from tickpath_backends.hdl.mutant import Mutant
from tickpath_backends.hdl.parse_mutants import MUTANTS as PARSE
from tickpath_backends.hdl.verilated import HDL, RTL

TESTS = Path(__file__).resolve().parents[3] / "tests"
SHOWN = 400
"""Characters of what the tests said, where a mutant survives."""


class Block(NamedTuple):
    """A block whose sources its tests take from where an environment variable says."""

    mutants: tuple[Mutant, ...]
    sources: tuple[Path, ...]
    variable: str
    tests: tuple[str, ...]


BLOCKS = {
    "parse": Block(PARSE, parse_model.SOURCES, parse_model.SOURCES_VARIABLE, ("parse",)),
    "book": Block(BOOK, book_model.SOURCES, book_model.SOURCES_VARIABLE, ("book",)),
    "back": Block(BACK, back_model.SOURCES, back_model.SOURCES_VARIABLE, ("back", "registers")),
}


def put_in(mutant: Mutant, sources: Iterable[Path], directory: Path) -> None:
    """Write a block's sources with the fault in them.  Raises `ValueError`: its text is not there,
    or more than once."""
    headers = [*RTL.glob("*.svh"), *(HDL / "gen").glob("*.svh")]
    for path in [*sources, *headers]:
        text = path.read_text()
        if path.stem == mutant.module and path.suffix == ".sv":
            if text.count(mutant.old) != 1:
                raise ValueError(f"{mutant.name}: not once in {path.name}: {mutant.old!r}")
            text = text.replace(mutant.old, mutant.new)
        (directory / path.name).write_text(text)


def survives(block: Block, mutant: Mutant, cache: str) -> str | None:
    """None where a test caught it; else the end of what they said.  Raises `ValueError`.

    What is compiled goes to ``cache``: nobody needs it again.
    """
    with tempfile.TemporaryDirectory() as directory:
        put_in(mutant, block.sources, Path(directory))
        files = [str(TESTS / f"test_hdl_{name}.py") for name in block.tests]
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-m", "not long", *files]
        env = {**os.environ, block.variable: directory, "TICKPATH_CACHE_DIR": cache}
        done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode == 1 and "FAILED" in done.stdout and "HdlError" not in done.stdout:
        return None
    return (done.stdout + done.stderr)[-SHOWN:]


def main(arguments: list[str]) -> int:
    """Try a block's mutants, or those whose names hold one of the words; gives the exit code."""
    if not arguments or arguments[0] not in BLOCKS:
        print(f"usage: mutants {'|'.join(BLOCKS)} [WORD...]", file=sys.stderr)
        return 2
    block, words = BLOCKS[arguments[0]], arguments[1:]
    chosen = [m for m in block.mutants if not words or any(word in m.name for word in words)]
    survivors = 0
    with tempfile.TemporaryDirectory() as cache:
        for mutant in chosen:
            said = survives(block, mutant, cache)
            word = "caught  " if said is None else "SURVIVED"
            print(f"{word} {mutant.module}: {mutant.name}", flush=True)
            if said is not None:
                survivors += 1
                print(said, file=sys.stderr)
    print(f"{len(chosen) - survivors} of {len(chosen)} caught")
    return min(survivors, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
