"""How hot functions are compiled, and where their machine code is kept between runs.

Numba keys a cached function by the time stamp of its own file only: it does not notice a changed
callee in another file, nor a changed record layout.  So the cache directory itself is keyed by a
digest of the function's source file and of every file of this package that it imports, directly or
not, of the Numba and NumPy versions, and of the variant (checked or not): a changed byte anywhere
in them gives a fresh directory.  The invariant is that machine code found in the cache was compiled
from exactly these sources.

``TICKPATH_CHECKED=1``, read once at import, selects the checked variant: see `tickpath.memory`.
``TICKPATH_CACHE_DIR`` moves the cache (default: ``$XDG_CACHE_HOME/tickpath``).
"""

import hashlib
import inspect
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
from numba import njit, types
from numba.core.ccallback import CFunc
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.lowering import Lower
from numba.core.sigutils import normalize_signature
from numba.core.typed_passes import BaseNativeLowering, NativeLowering
from numba.extending import intrinsic

CHECKED = os.environ.get("TICKPATH_CHECKED", "") not in ("", "0")
"""True in the variant whose accessors verify every address."""

KEPT_CACHES = 3
"""Caches of a module that are kept; older ones are deleted when a new one is made."""

HOT: dict[str, Any] = {"nogil": True, "boundscheck": False, "error_model": "numpy"}
INNER: dict[str, Any] = {**HOT, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""Functions that only compiled code calls need no entry points for Python."""

F = TypeVar("F", bound=Callable[..., Any])

ROOT = Path(__file__).resolve().parent
_IMPORT = re.compile(r"from (tickpath[\w.]*) import (\([^)]*\)|[^\n]*)|import (tickpath[\w.]*)")


def _files_of(module: str, root: Path) -> list[Path]:
    """The file of a dotted name in the package; [] for anything else."""
    path = root.joinpath(*module.split(".")[1:])
    if path.with_suffix(".py").is_file():
        return [path.with_suffix(".py")]
    return [path / "__init__.py"] if (path / "__init__.py").is_file() else []


@cache
def imports_of(path: Path, root: Path = ROOT) -> tuple[Path, ...]:
    """Files of the package that a file names in its import statements."""
    found: list[Path] = []
    for source, names, plain in _IMPORT.findall(path.read_text()):
        found += _files_of(plain or source, root)
        for name in re.findall(r"\w+", names):
            found += _files_of(f"{source}.{name}", root)
    # The package's own file only says where public names are found.
    return tuple(dict.fromkeys(each for each in found if each != root / "__init__.py"))


def source_digest(path: Path, root: Path = ROOT) -> str:
    """Hex digest of all that a file's machine code depends on: see the module's text."""
    reached: dict[Path, None] = {}
    waiting = [path, root / "jit.py", root / "memory.py"]
    while waiting:
        each = waiting.pop()
        if each not in reached:
            reached[each] = None
            waiting.extend(imports_of(each, root))
    digest = hashlib.sha256(f"{numba.__version__} {np.__version__} {CHECKED}".encode())
    for each in sorted(reached):
        digest.update(each.as_posix().encode() + b"\0" + each.read_bytes())
    return digest.hexdigest()[:24]


def _cache_home() -> Path:
    explicit = os.environ.get("TICKPATH_CACHE_DIR")
    if explicit:
        return Path(explicit)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tickpath"


def _drop_old_caches(home: Path, module: str, current: Path) -> None:
    others = [path for path in home.glob(f"{module}-*") if path != current]
    others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in others[KEPT_CACHES:]:
        shutil.rmtree(path, ignore_errors=True)


@cache
def cache_directory(path: Path) -> str:
    """The cache directory of a file's functions; a temporary one where the home is not writable."""
    inside = path.is_relative_to(ROOT)
    module = ".".join((path.relative_to(ROOT) if inside else Path(path.name)).with_suffix("").parts)
    try:
        home = _cache_home()
        directory = home / f"{module}-{source_digest(path)}"
        if not directory.is_dir():
            directory.mkdir(parents=True, exist_ok=True)
            _drop_old_caches(home, module, directory)
        if os.access(directory, os.W_OK):
            return str(directory)
    except (OSError, RuntimeError):  # RuntimeError: no home directory can be found
        pass
    return tempfile.mkdtemp(prefix="tickpath-")


@contextmanager
def _cached_in(directory: str) -> Iterator[None]:
    """Numba picks a function's cache directory when it is decorated; an embedder's stays theirs."""
    config: Any = numba.config
    previous = config.CACHE_DIR
    config.CACHE_DIR = directory
    try:
        yield
    finally:
        config.CACHE_DIR = previous


def _never_fatal(cache: Any) -> None:
    """A cache that cannot be written, its disk being full, costs the next start and nothing else.

    Numba would raise at the first call of a function, in the middle of whatever calls it.
    """
    save = cache.save_overload

    def save_overload(signature: Any, data: Any) -> None:
        with suppress(OSError):
            save(signature, data)

    cache.save_overload = save_overload


def entry(function: F) -> F:
    """Compile a function that Python calls: released GIL, no bounds checks, cached on disk."""
    with _cached_in(cache_directory(Path(function.__code__.co_filename).resolve())):
        compiled = njit(cache=True, **HOT)(function)
    if compiled is not function:  # it is where NUMBA_DISABLE_JIT says so
        _never_fatal(compiled._cache)
    return compiled


def callback(signature: Any) -> Callable[[F], Any]:
    """Compile a function that is called by its address (``.address``), cached on disk."""

    def compiled(function: F) -> Any:
        with _cached_in(cache_directory(Path(function.__code__.co_filename).resolve())):
            made: Any = CFunc(function, normalize_signature(signature), {}, HOT)
            made.enable_caching()
        _never_fatal(made._cache)
        made.compile()
        return made

    return compiled


class _OutOfLineLower(Lower):
    """Marks the function as one that LLVM must not inline, for which Numba has no option."""

    def setup_function(self, fndesc: Any) -> None:
        super().setup_function(fndesc)
        # Numba hands a caller's `forceinline` down to what it calls.
        self.function.attributes.discard("alwaysinline")
        self.function.attributes.add("noinline")


@register_pass(mutates_CFG=True, analysis_only=False)
class _OutOfLineLowering(BaseNativeLowering):
    _name: Any = "tickpath_out_of_line_lowering"

    @property
    def lowering_class(self) -> type[Lower]:
        return _OutOfLineLower


class _OutOfLineCompiler(CompilerBase):
    def define_pipelines(self) -> list[Any]:
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.passes = [
            (_OutOfLineLowering, text) if each is NativeLowering else (each, text)
            for each, text in passes.passes
        ]
        passes.finalize()
        return [passes]


def _call(function: F, compiled: Any) -> Any:
    """An intrinsic that calls ``compiled``, which never raises, and nothing more than that.

    Numba's own call zeroes a slot for the result and one for the exception where its caller begins,
    and looks at the status: some twenty stores for every message, for calls that hardly ever come.
    """

    def define(typing_context: Any, *arguments: Any) -> Any:
        dispatcher = types.Dispatcher(compiled)
        signature = typing_context.resolve_function_type(dispatcher, arguments, {})

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            result = compiled.overloads[signature.args]
            context.add_linking_libs([result.library])
            callee = context.declare_function(builder.module, result.fndesc)
            kinds = callee.function_type.args[:2]
            with builder.goto_entry_block():
                value, error = (builder.alloca(kind.pointee) for kind in kinds)
            packed = context.call_conv._get_arg_packer(signature.args)
            builder.call(callee, [value, error, *packed.as_arguments(builder, args)])
            if signature.return_type == types.none:
                return context.get_dummy_value()
            returned = builder.load(value)
            return context.get_returned_value(builder, signature.return_type, returned)

        return signature, generate

    names = ["typing_context", *inspect.signature(function).parameters]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(name, kind) for name in names]
    define.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    define.__name__, define.__doc__ = function.__name__, function.__doc__
    return intrinsic(define)


def cold(function: F) -> F:
    """Compile a function that hot code calls rarely, and keep it out of the hot code's way.

    It must not raise.  Inlined, such functions made one of 18,000 instructions whose registers were
    all spilled.
    """
    return _call(function, njit(pipeline_class=_OutOfLineCompiler, **INNER)(function))


def leaf(function: F) -> F:
    """Compile a small function that LLVM must inline into its caller."""
    return njit(forceinline=True, **INNER)(function)
