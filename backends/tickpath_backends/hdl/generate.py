"""All of hdl/gen: what each file must hold, which files do not, and writing them.

The text of every file follows from the sources and the versions alone, so a checkout is right where
each file is byte for byte what is generated again.  Files there that nothing generates are wrong
too: they are left over from a kernel that is gone.
"""

from collections.abc import Iterator
from pathlib import Path

from tickpath_backends.hdl import constants, mover_registers, registers, tree, xls
from tickpath_backends.hdl.error import HdlError

LAYOUT_DSLX, LAYOUT_SV = "layout.x", "layout.svh"
REGISTERS_SV, MOVERS_SV = "registers.svh", "movers.svh"


def folder() -> Path:
    """Where generated files are.  Raises `HdlError`."""
    return tree.root() / "gen"


def constant_files() -> dict[str, str]:
    """The files that need nothing but this package: {name: text}."""
    return {
        LAYOUT_DSLX: constants.layout_dslx(),
        LAYOUT_SV: constants.layout_sv(),
        REGISTERS_SV: registers.registers_sv(),
        MOVERS_SV: mover_registers.movers_sv(),
    }


def _kernel_files() -> Iterator[tuple[str, str]]:
    for kernel in xls.KERNELS:
        text = xls.verilog(kernel)
        yield f"{kernel.function}.sv", f"// {xls.headline(kernel, text)}\n{text.rstrip()}\n"


def build() -> list[str]:
    """Write all files; the names of those that were not so before.  Raises `HdlError`."""
    changed = _write(constant_files())
    # Kernels are converted from the constants' file, which is right from here on.
    xls.forget()
    changed += _write(dict(_kernel_files()))
    for name in _left_over():
        (folder() / name).unlink()
        changed.append(name)
    return sorted(changed)


def differing() -> list[str]:
    """Names of files that are not what would be generated.  Raises `HdlError`."""
    wrong = _differing(constant_files())
    if wrong:
        # Everything else is made from these, and would be compared with the wrong text.
        return sorted(wrong)
    return sorted([*_differing(dict(_kernel_files())), *_left_over()])


def _left_over() -> list[str]:
    made = (LAYOUT_DSLX, LAYOUT_SV, REGISTERS_SV, MOVERS_SV)
    known = {*made, *(f"{each.function}.sv" for each in xls.KERNELS)}
    return [each.name for each in folder().iterdir() if each.name not in known]


def _differing(files: dict[str, str]) -> list[str]:
    return [name for name, text in files.items() if _text(folder() / name) != text]


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise HdlError(f"{path}: {error}") from None


def _write(files: dict[str, str]) -> list[str]:
    wrong = _differing(files)
    try:
        folder().mkdir(exist_ok=True)
        for name in wrong:
            (folder() / name).write_text(files[name])
    except OSError as error:
        raise HdlError(f"{folder()}: {error}") from None
    return wrong
