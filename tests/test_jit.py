"""Machine code between runs: kept where nothing changed, built anew where a callee's byte did."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from numba import njit

import tickpath
from tickpath import jit

PACKAGE = Path(tickpath.__file__).parent
PROBE = """
import json, sys
import numpy as np
from tickpath import pipeline
from tickpath.memory import lend_run
raw = np.frombuffer(bytes.fromhex("0001ff" "0002ffff" "0003ff"), np.uint8)
whole = int(pipeline.whole_messages(np.uint64(raw.ctypes.data), np.uint64(len(raw))))
stats = pipeline.whole_messages.stats
print(json.dumps({
    "whole": whole,
    "hits": sum(stats.cache_hits.values()),
    "misses": sum(stats.cache_misses.values()),
    "file": pipeline.__file__,
    "directory": stats.cache_path,
}))
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package that may be changed."""
    shutil.copytree(PACKAGE, tmp_path / "tickpath", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def probe(root: Path, before: str = "", **environment: str) -> dict:
    """What `whole_messages` of the copy gives, and where its machine code came from."""
    found = subprocess.run(
        [sys.executable, "-c", before + PROBE],
        env={
            **os.environ,
            "PYTHONPATH": str(root),
            "TICKPATH_CACHE_DIR": str(root / "cache"),
            "PYTHONDONTWRITEBYTECODE": "1",
            **environment,
        },
        cwd=root,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert found.returncode == 0, found.stderr[-2000:]
    result = json.loads(found.stdout)
    assert Path(result["file"]).is_relative_to(root), "the copy, not the installed package"
    return result


def test_a_changed_byte_of_a_callee_is_compiled_anew_and_an_unchanged_copy_is_not(copy):
    first = probe(copy)
    assert (first["whole"], first["hits"], first["misses"]) == (7, 0, 1)
    second = probe(copy)
    assert (second["whole"], second["hits"], second["misses"]) == (7, 1, 0)
    assert second["directory"] == first["directory"]

    # Two imports away from the function that is asked: lengths are little-endian from now on.
    callee = copy / "tickpath" / "wire" / "hot.py"
    text = callee.read_text()
    place = text.index("def peek(")
    changed = text[:place] + text[place:].replace('layout.order == "big"', 'layout.order == "bIg"')
    assert sum(a != b for a, b in zip(text, changed, strict=True)) == 1
    stamp = callee.stat()
    callee.write_text(changed)
    os.utime(callee, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    third = probe(copy)
    assert (third["whole"], third["hits"], third["misses"]) == (0, 0, 1)
    assert third["directory"] != first["directory"]

    # The old sources' machine code is still there.
    callee.write_text(text)
    fourth = probe(copy)
    assert (fourth["whole"], fourth["hits"]) == (7, 1)


def test_the_checked_variant_has_a_cache_of_its_own(copy):
    fast, checked = probe(copy), probe(copy, TICKPATH_CHECKED="1")
    assert fast["whole"] == checked["whole"] == 7
    assert checked["misses"] == 1 and checked["directory"] != fast["directory"]
    assert probe(copy, TICKPATH_CHECKED="0")["directory"] == fast["directory"]


def test_a_cache_that_cannot_be_written_is_done_without(copy):
    blocked = copy / "blocked"
    blocked.write_text("not a directory")
    result = probe(copy, TICKPATH_CACHE_DIR=str(blocked / "cache"))
    assert result["whole"] == 7 and "tickpath-" in result["directory"]


def test_a_full_disk_under_the_cache_ends_nobody(copy):
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))"
    result = probe(copy, before=full)
    assert (result["whole"], result["hits"], result["misses"]) == (7, 0, 1)
    assert not [each for each in Path(result["directory"]).rglob("*") if each.stat().st_size]
    assert probe(copy)["misses"] == 1, "nothing was kept"


# ---------------------------------------------------------------- what the digest covers


def modules_behind(name: str) -> set[Path]:
    """Files of the package that importing a module loads."""
    code = (
        f"import {name}, sys; print(*(m.__file__ for n, m in sys.modules.items() "
        "if n.split('.')[0] == 'tickpath'), sep='\\n')"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {Path(line).resolve() for line in found.stdout.split()}


def reached(path: Path) -> set[Path]:
    """Files that the digest of a file covers."""
    seen, waiting = set(), [path, jit.ROOT / "jit.py", jit.ROOT / "memory.py"]
    while waiting:
        each = waiting.pop()
        if each not in seen:
            seen.add(each)
            waiting.extend(jit.imports_of(each))
    return seen


@pytest.mark.parametrize("name", ["pipeline", "depth", "capture.walk", "generate.market"])
def test_the_digest_covers_all_that_a_module_loads(name):
    path = jit.ROOT.joinpath(*name.split(".")).with_suffix(".py")
    packages = {jit.ROOT / "__init__.py", *(each / "__init__.py" for each in path.parents)}
    packages |= {jit.ROOT / "wire" / "__init__.py", jit.ROOT / "capture" / "__init__.py"}
    packages.add(jit.ROOT / "generate" / "__init__.py")
    missing = modules_behind(f"tickpath.{name}") - reached(path) - packages
    assert missing == set()


def test_every_byte_that_is_covered_changes_the_digest(tmp_path):
    root = tmp_path / "tickpath"
    shutil.copytree(PACKAGE, root, ignore=shutil.ignore_patterns("__pycache__"))
    path = root / "pipeline.py"
    before = jit.source_digest(path, root)
    assert jit.source_digest(path, root) == before
    for name in ("memory.py", "jit.py", "window.py", "wire/itch50.py", "counters.py", "book.py"):
        each = root / name
        raw = each.read_bytes()
        each.write_bytes(raw[:-1] + b" \n")
        assert jit.source_digest(path, root) != before, name
        each.write_bytes(raw)
    assert jit.source_digest(path, root) == before


def test_imports_of_every_form_are_found(tmp_path):
    root = tmp_path / "tickpath"
    (root / "wire").mkdir(parents=True)
    for name in ("a", "b", "c", "d", "wire/e", "wire/__init__", "__init__"):
        (root / f"{name}.py").write_text("")
    path = root / "user.py"
    path.write_text(
        "import tickpath.a\n"
        "from tickpath import b, nothing\n"
        "from tickpath.c import (\n    x,\n    y,\n)\n"
        "from tickpath.wire import e\n"
        "import os\nfrom numpy import d\n"
    )
    found = {str(each.relative_to(root)) for each in jit.imports_of(path, root)}
    assert found - {"__init__.py", "wire/__init__.py"} == {"a.py", "b.py", "c.py", "wire/e.py"}


def test_old_caches_of_a_module_are_dropped(tmp_path, monkeypatch):
    monkeypatch.setenv("TICKPATH_CACHE_DIR", str(tmp_path))
    for number in range(6):
        old = tmp_path / f"pipeline-{number:024d}"
        old.mkdir()
        (old / "code.nbi").write_text("x")
        os.utime(old, (number, number))
    other = tmp_path / "depth-000000000000000000000000"
    other.mkdir()
    jit.cache_directory.cache_clear()
    current = Path(jit.cache_directory(jit.ROOT / "pipeline.py"))
    jit.cache_directory.cache_clear()
    assert current.parent == tmp_path and current.is_dir() and other.is_dir()
    kept = sorted(each.name[-2:] for each in tmp_path.glob("pipeline-0000*"))
    assert kept == [f"{number:02d}" for number in range(6)][-jit.KEPT_CACHES :]


# ---------------------------------------------------------------- inlined and out of line


@jit.leaf
def inlined(x):
    return x * 3


@jit.cold
def out_of_line(x):
    return x * 5


def test_leaves_are_inlined_and_cold_code_is_not():
    @njit(**jit.HOT)
    def both(x):
        return inlined(x) + out_of_line(x)

    assert both(7) == 56
    (text,) = both.inspect_asm().values()
    called = [line for line in text.splitlines() if "call" in line or "jmp" in line]
    assert not any("inlined" in line for line in called)
    assert "out_of_line" in text
