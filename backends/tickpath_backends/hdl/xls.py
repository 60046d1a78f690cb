"""DSLX to what it becomes: tests that run, values, proofs' formulas, SystemVerilog.

The package `xls-python` has Google's XLS as a library.  It has no runner for ``#[test]``, so
`run_tests` takes the attribute away, converts the module and interprets the functions; a failing
``assert_eq`` is an error with its line.  Names are those of XLS: ``__module__function``.

Kernels become modules without state: combinational where they have no schedule, else pipelines
of which every stage is registered, with a valid bit that goes through (``in_valid``,
``out_valid``); only that bit is reset.  XLS knows the delays of ASIC processes only; of those,
``asap7`` at 500 ps makes stages that fit 322 MHz on UltraScale+ in the logic-only proxy.  That is a
schedule, not a timing closure.
"""

import importlib.metadata
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tickpath_backends.hdl import tree
from tickpath_backends.hdl.error import HdlError

DISTRIBUTION, VERSION = "xls-python", "0.1.9934"
"""Generated files are compared with those of this version and no other."""
DELAY_MODEL = "asap7"
CLOCK_PERIOD_PS = 500
SLOW_PERIOD_PS = 1400
"""Of kernels off the path that multiply: the model knows no multiplier blocks, only gates."""
RESET = "rst"

_TEST = re.compile(r"#\[test\]\s*fn\s+(\w+)")


@dataclass(frozen=True)
class Kernel:
    """A function of a module that becomes a SystemVerilog module of its name."""

    module: str
    function: str
    period_ps: int = 0
    """0: combinational."""


KERNELS = (
    Kernel("itch_fields", "itch_fields"),
    Kernel("book_step", "tick_of"),
    Kernel("book_step", "price_of"),
    Kernel("book_step", "centred_base"),
    Kernel("book_step", "order_reduce"),
    Kernel("indicators", "vwap_step"),
    Kernel("indicators", "ema_step", SLOW_PERIOD_PS),
    Kernel("trigger", "trigger_step"),
    Kernel("risk", "risk_products"),
    Kernel("risk", "risk_notional"),
    Kernel("risk", "risk_check", CLOCK_PERIOD_PS),
    Kernel("risk", "risk_release"),
    Kernel("ouch", "ouch50_encode"),
    Kernel("ouch", "ouch42_encode"),
    Kernel("fix44", "fix44_encode", SLOW_PERIOD_PS),
)


def why_not() -> str | None:
    """Why nothing can be generated here, and the command that mends it; None where it can."""
    try:
        found = importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        found = "none"
    if found == VERSION:
        return None
    return f"{DISTRIBUTION} {VERSION} is needed, found {found}; run: pip install 'tickpath[hdl]'"


def api() -> Any:
    """The package's functions.  Raises `HdlError` where it is missing or of another version."""
    reason = why_not()
    if reason:
        raise HdlError(reason)
    from xls import c_api

    return c_api


def path_of(module: str) -> Path:
    """A module's source."""
    return tree.root() / "dslx" / f"{module}.x"


def _folders() -> list[str]:
    root = tree.root()
    return [str(root / "dslx"), str(root / "gen")]


def mangled(module: str, function: str) -> str:
    """What XLS calls a function."""
    return f"__{module}__{function}"


def _converted(source: str, path: Path) -> str:
    try:
        return api().convert_dslx_to_ir(
            source, str(path), path.stem, additional_search_paths=_folders()
        )
    except Exception as error:  # the library has no class of its own
        raise HdlError(f"{path.name}: {error}") from None


@cache
def _package_text(module: str) -> str:
    path = path_of(module)
    return _converted(path.read_text(), path)


@cache
def package(module: str) -> Any:
    """A module's functions, not optimised."""
    return api().parse_ir_package(_package_text(module))


@cache
def optimised_text(module: str, function: str) -> str:
    """XLS's own language for a package with one function, optimised."""
    return api().optimize_ir(_package_text(module), mangled(module, function))


@cache
def optimised(module: str, function: str) -> Any:
    """A package with one function, optimised."""
    return api().parse_ir_package(optimised_text(module, function))


def forget() -> None:
    """Forget what was converted: a source has changed."""
    for each in (_package_text, package, optimised_text, optimised):
        each.cache_clear()


def function(module: str, name: str) -> Any:
    """An optimised function: ``get_type``, ``to_jit``, ``to_z3_smtlib``."""
    return optimised(module, name).get_function(mangled(module, name))


def tests_of(path: Path) -> list[str]:
    """Names of a source's ``#[test]`` functions."""
    return _TEST.findall(path.read_text())


def run_tests(path: Path) -> dict[str, str | None]:
    """Run a source's tests: {name: None, or what failed}.  Raises `HdlError` where it is wrong."""
    source = re.sub(r"#\[test\]\s*", "", path.read_text())
    parsed = api().parse_ir_package(_converted(source, path))
    return {name: _failure(parsed, path.stem, name) for name in tests_of(path)}


def _failure(parsed: Any, module: str, name: str) -> str | None:
    """A function with an assertion takes a token, and whether it is reached."""
    value = api().Value
    try:
        asserting = parsed.get_function(f"__itok{mangled(module, name)}")
    except Exception:
        return "asserts nothing"
    try:
        asserting.interpret([value.make_token(), value.make_ubits(1, 1)])
    except Exception as error:
        return str(error)
    return None


def properties_of(path: Path) -> list[str]:
    """Names of a source's functions that are to be true whatever they get."""
    return re.findall(r"pub fn (property_\w+)", path.read_text())


def verilog(kernel: Kernel) -> str:
    """A kernel's SystemVerilog."""
    # Scheduling changes a package in place: it is not the one that others have.
    parsed = api().parse_ir_package(optimised_text(kernel.module, kernel.function))
    options: dict[str, Any] = {"generator": "combinational"}
    if kernel.period_ps:
        options = {
            "generator": "pipeline",
            "with_delay_model": True,
            "delay_model": DELAY_MODEL,
            "clock_period_ps": kernel.period_ps,
            "reset": RESET,
            "flop_inputs": True,
            "flop_outputs": True,
            "input_valid_signal": "in_valid",
            "output_valid_signal": "out_valid",
        }
    try:
        generated = parsed.schedule_and_codegen(
            use_system_verilog=True,
            module_name=kernel.function,
            # Yosys does not read them.
            add_invariant_assertions=False,
            **options,
        )
    except Exception as error:
        raise HdlError(f"{kernel.module}.{kernel.function}: {error}") from None
    return generated.get_verilog_text()


def latency_cycles(text: str) -> int:
    """Clock edges from a pipeline's input to its output; 0 for a combinational module."""
    stages = [int(each) for each in re.findall(r"\bp(\d+)_", text)]
    return max(stages) + 1 if stages else 0


def headline(kernel: Kernel, text: str) -> str:
    """What a generated file says of itself."""
    if not kernel.period_ps:
        how = "combinational"
    else:
        stages = latency_cycles(text)
        how = f"scheduled for {kernel.period_ps} ps of {DELAY_MODEL}: {stages} cycles"
    return (
        f"Generated by `tickpath hdl build` from hdl/dslx/{kernel.module}.x with "
        f"{DISTRIBUTION} {VERSION}; {how}."
    )
