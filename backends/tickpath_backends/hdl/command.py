"""`tickpath hdl`: the hardware's sources generated, and compared with what is checked in.

Exit codes: 0 fine; 1 `build --check` found files that differ; 2 a tool or source is missing.
"""

import json
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

OK, FINDING, USAGE = 0, 1, 2
SCHEMA = "tickpath.hdl.build/1"


def guarded(command: Callable[..., int]) -> Callable[..., None]:
    """Exit with a command's code; an `HdlError` is one line and exit code 2."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        from tickpath_backends.hdl.error import HdlError

        try:
            code = command(*arguments, **options)
        except HdlError as error:
            click.echo(f"tickpath: {error}", err=True)
            code = USAGE
        sys.exit(code)

    return run


@click.group()
def hdl() -> None:
    """Build the hardware's generated sources."""


@hdl.command()
@click.option("--check", is_flag=True, help="Compare only; exit code 1 where a file differs.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@guarded
def build(check: bool, as_json: bool) -> int:
    """Generate hdl/gen: constants from the wire tables, SystemVerilog from the DSLX kernels."""
    from tickpath_backends.hdl import generate, xls

    reason = xls.why_not()
    if reason:
        click.echo(f"tickpath: hdl build: {reason}", err=True)
        return USAGE
    names = generate.differing() if check else generate.build()
    if as_json:
        click.echo(json.dumps({"schema": SCHEMA, "check": check, "files": names}))
    else:
        for name in names:
            click.echo(name)
    what = "differ from what is generated; run: tickpath hdl build" if check else "written"
    click.echo(f"{len(names)} files {what}" if names else "all files are current", err=True)
    return FINDING if check and names else OK
