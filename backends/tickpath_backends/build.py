"""Builds the native parts of the live transports: at installation, or later in place.

Each is one extension module, ``tickpath_backends._NAME``, from ``native/NAME.c`` (or ``.cpp``) and
the plain declarations of ``native/NAME.h``, by cffi's API mode.  An installation builds those it
can and goes on without the others, which `tickpath doctor` then names;
``TICKPATH_TRANSPORTS=udp,afxdp`` makes it fail where one of those named cannot be built.  Nothing
is ever compiled at first use: ``python -m tickpath_backends.build [NAME...]`` does it on demand.

This module stands alone (setup.py loads it by its path): standard library, and cffi when it works.
"""

import hashlib
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
NATIVE = HERE.parents[1] / "native"
PACKAGES: Mapping[str, str | None] = {
    "udp": None,
    "afxdp": None,
    "dpdk": "libdpdk",
    "wire": None,
    "exchange": None,
    "receive": None,
    "alveo": None,
}
"""What has a native part, and the pkg-config package that each needs: the transports, and what
plays captures to them, measures them and is measured beside them; the executor of a card."""
STRICT = "TICKPATH_TRANSPORTS"
FLAGS = ("-O3", "-Wall", "-Wextra", "-fvisibility=hidden")
COMPILER = "sudo apt-get install gcc libc6-dev python3-dev"
XRT_COMMAND = "sudo apt-get install libxrt-dev g++"
XRT_FOLDERS = ("/opt/xilinx/xrt/include", "/usr/include/xrt", "/usr/include")
"""Where XRT's headers are, but for ``XILINX_XRT``: AMD's package, Debian's.  (Debian's pkg-config
file names folders that there are not.)"""
_XRT_HEADER = "xrt/xrt_device.h"
LIBRARIES = {"libdpdk": "sudo apt-get install libdpdk-dev pkg-config"}
_INCLUDE = re.compile(r'^#include "(.+)"$', re.MULTILINE)
COMMAND = "python -m tickpath_backends.build"


class BuildError(RuntimeError):
    """A native part that cannot be built; one line that says why and what to do."""


def lacking(name: str) -> tuple[str, str] | None:
    """(what is missing for building a native part, the command that mends it and builds), or None.

    Raises nothing: what only the compiler can find out is said by `build`.
    """
    then = f" && {COMMAND} {name}"
    if not source(name).exists():
        return "its C source is not here", "pip install -e CHECKOUT"
    compiler = _compiler()[0]
    if not shutil.which(compiler):
        return f"there is no C compiler ({compiler})", COMPILER + then
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        return "Python's C headers are missing", COMPILER + then
    if importlib.util.find_spec("cffi") is None:
        return "the Python package cffi is not installed", "pip install cffi" + then
    package = PACKAGES[name]
    if package and _pkg_config("--exists", package) is None:
        return f"{package} is not installed", LIBRARIES[package] + then
    if name == "alveo" and _xrt() is None:
        return "XRT's C++ headers are not installed", XRT_COMMAND + then
    return None


def source(name: str) -> Path:
    """The source of a native part."""
    plain = NATIVE / f"{name}.c"
    return plain.with_suffix(".cpp") if name == "alveo" else plain


def _xrt() -> Path | None:
    """The folder of XRT's headers."""
    own = os.environ.get("XILINX_XRT")
    folders = [*([f"{own}/include"] if own else []), *XRT_FOLDERS]
    return next((Path(each) for each in folders if (Path(each) / _XRT_HEADER).exists()), None)


def _compiler() -> list[str]:
    return shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")


def _pkg_config(*arguments: str) -> list[str] | None:
    """pkg-config's answer as words; None where it has none."""
    program = os.environ.get("PKG_CONFIG", "pkg-config")
    try:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return shlex.split(done.stdout)


def _flags(name: str) -> tuple[list[str], list[str]]:
    """What the compiler and the linker get for a transport."""
    package = PACKAGES[name]
    if name == "alveo" and (headers := _xrt()):
        libraries = headers.parent / "lib"
        own = [f"-L{libraries}", f"-Wl,-rpath,{libraries}"]
        is_own = (libraries / "libxrt_coreutil.so").exists()
        return [*FLAGS, f"-I{headers}"], [*(own if is_own else []), "-lxrt_coreutil", "-lstdc++"]
    if package is None:
        return list(FLAGS), []
    found = [_pkg_config(kind, package) for kind in ("--cflags", "--libs")]
    return [*FLAGS, *(found[0] or [])], found[1] or []


def sources_digest(name: str) -> str:
    """Short hex digest of what a native part is built from."""
    digest = hashlib.sha256()
    for each in _sources(source(name).name, []):
        digest.update(each.encode() + b"\0" + (NATIVE / each).read_bytes())
    return digest.hexdigest()[:16]


def _sources(name: str, found: list[str]) -> list[str]:
    """A file of ``native/`` and those of its own that it includes, each once."""
    found.append(name)
    for included in _INCLUDE.findall((NATIVE / name).read_text()):
        if included not in found:
            _sources(included, found)
    return found


def _emit(name: str, into: Path) -> Path:
    """Write the extension's glue code; gives its path."""
    from cffi import FFI
    from cffi.recompiler import make_c_source

    ffi = FFI()
    texts = [(NATIVE / each).read_text() for each in ("packet.h", f"{name}.h")]
    plain = [line for text in texts for line in text.splitlines() if not line.startswith("#")]
    ffi.cdef("\n".join([*plain, "static char *const SOURCES;"]))
    preamble = f'#include "{name}.h"\n#define SOURCES "{sources_digest(name)}"\n'
    into.mkdir(parents=True, exist_ok=True)
    path = into / f"_{name}.c"
    make_c_source(ffi, f"tickpath_backends._{name}", preamble, str(path))
    return path


def required() -> set[str]:
    """The transports that the environment demands.  Raises `BuildError` for an unknown name."""
    names = {name.strip() for name in os.environ.get(STRICT, "").split(",") if name.strip()}
    for name in sorted(names - set(PACKAGES)):
        raise BuildError(f"{STRICT}: {name!r} has no native part; known: {', '.join(PACKAGES)}")
    return names


def extensions(root: Path) -> list[Any]:
    """setuptools' extensions of what can be built; ``root`` is where setup.py is.

    Raises `BuildError` where a required one cannot be.
    """
    from setuptools import Extension

    must, made = required(), []
    for name in PACKAGES:
        if missing := lacking(name):
            if name in must:
                raise BuildError(f"{STRICT}: {name}: {missing[0]}; run: {missing[1]}")
            print(f"tickpath: {name} is left out: {missing[0]}", file=sys.stderr)
            continue
        glue = _emit(name, root / "build" / "native")
        compile_flags, link_flags = _flags(name)
        made.append(
            Extension(
                f"tickpath_backends._{name}",
                [os.path.relpath(path, root) for path in (glue, source(name))],
                depends=[os.path.relpath(path, root) for path in sorted(NATIVE.glob("*.h"))],
                include_dirs=[os.path.relpath(NATIVE, root)],
                extra_compile_args=compile_flags,
                extra_link_args=link_flags,
                optional=name not in must,
            )
        )
    return made


def build(name: str, into: Path = HERE) -> Path:
    """Compile one native part beside this module; gives its path.  Raises `BuildError`."""
    if missing := lacking(name):
        raise BuildError(f"{name}: {missing[0]}; run: {missing[1]}")
    target = into / f"_{name}{sysconfig.get_config_var('EXT_SUFFIX')}"
    compile_flags, link_flags = _flags(name)
    with tempfile.TemporaryDirectory(dir=into) as directory:
        made = Path(directory) / target.name
        command = [*_compiler(), "-shared", "-fPIC", *compile_flags]
        command += [f"-I{sysconfig.get_path('include')}", f"-I{NATIVE}"]
        command += [str(_emit(name, Path(directory))), str(source(name)), *link_flags]
        done = subprocess.run([*command, "-o", str(made)], capture_output=True, text=True)
        if done.returncode:
            raise BuildError(f"{name}: {_compiler()[0]} failed:\n{done.stderr.rstrip()}")
        sys.stderr.write(done.stderr)
        made.replace(target)  # never half a module, also where another process imports it
    return target


def main(names: Sequence[str]) -> int:
    """Build those named, or all that can be built; gives the exit code."""
    unknown = [name for name in names if name not in PACKAGES]
    if unknown:
        known = ", ".join(PACKAGES)
        print(f"{unknown[0]!r} has no native part; known: {known}", file=sys.stderr)
        return 2
    failed = 0
    for name in names or PACKAGES:
        try:
            print(f"{name}: {build(name).name}")
        except BuildError as error:
            print(error, file=sys.stderr)
            failed += 1
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
