"""How hot functions are compiled, and where their machine code is kept between runs.

Numba keys a cached function by the time stamp of its own file only: it does not notice a changed
callee in another file, nor a changed record layout.  So the cache directory itself is keyed by a
digest of every source file of this package, of the Numba and NumPy versions, and of the variant
(checked or not): a changed byte anywhere gives a fresh directory.  The invariant is that machine
code found in the cache was compiled from exactly these sources.

``TICKPATH_CHECKED=1``, read once at import, selects the checked variant: see `tickpath.memory`.
``TICKPATH_CACHE_DIR`` moves the cache (default: ``$XDG_CACHE_HOME/tickpath``).
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
from numba import njit

CHECKED = os.environ.get("TICKPATH_CHECKED", "") not in ("", "0")
"""True in the variant whose accessors verify every address."""

KEPT_CACHES = 6
"""Caches of older sources that are kept; older ones are deleted when a new one is made."""

HOT = {"nogil": True, "boundscheck": False, "error_model": "numpy"}

F = TypeVar("F", bound=Callable[..., Any])


def source_digest(root: Path | None = None) -> str:
    """Hex digest of the sources, library versions and variant that machine code depends on."""
    root = root or Path(__file__).parent
    digest = hashlib.sha256(f"{numba.__version__} {np.__version__} {CHECKED}".encode())
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:24]


def _cache_home() -> Path:
    explicit = os.environ.get("TICKPATH_CACHE_DIR")
    if explicit:
        return Path(explicit)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tickpath"


def _drop_old_caches(home: Path, current: Path) -> None:
    others = [path for path in home.iterdir() if path.is_dir() and path != current]
    others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in others[KEPT_CACHES:]:
        shutil.rmtree(path, ignore_errors=True)


def _cache_directory() -> str:
    """The directory for these sources; a temporary one where the home is not writable."""
    home = _cache_home()
    directory = home / source_digest()
    try:
        if not directory.is_dir():
            directory.mkdir(parents=True)
            _drop_old_caches(home, directory)
        if os.access(directory, os.W_OK):
            return str(directory)
    except OSError:
        pass
    return tempfile.mkdtemp(prefix="tickpath-")


CACHE_DIR = _cache_directory()


@contextmanager
def _cached_here() -> Iterator[None]:
    """Numba picks a function's cache directory when it is decorated; an embedder's stays theirs."""
    previous = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = CACHE_DIR
    try:
        yield
    finally:
        numba.config.CACHE_DIR = previous


def entry(function: F) -> F:
    """Compile a function that Python calls: released GIL, no bounds checks, cached on disk."""
    with _cached_here():
        return njit(cache=True, **HOT)(function)


def cold(function: F) -> F:
    """Compile a function that hot code calls rarely: kept out of line so hot code stays small."""
    return njit(noinline=True, **HOT)(function)


def leaf(function: F) -> F:
    """Compile a small function that LLVM must inline into its caller."""
    return njit(forceinline=True, **HOT)(function)
