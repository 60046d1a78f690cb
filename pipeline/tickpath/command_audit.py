"""`tickpath audit`: verify an audit file, print its records, say its head.

Exit codes: 0 fine; 1 a finding; 2 usage, or no audit file that can be read; 130 interrupted.
"""

import os
import re
import sys
from collections.abc import Callable
from functools import wraps
from json import dumps
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tickpath.audit_verify import Verdict
    from tickpath.audit_walk import Walk

OK, FINDING, USAGE, INTERRUPTED = 0, 1, 2, 130
_LINES_AT_ONCE = 1 << 12
_SCHEMES = {"SHA256": "plain (SHA-256)", "HMAC_SHA256": "keyed (HMAC-SHA-256)"}
_KEY_HELP = "File with the key of a keyed file."


def _guarded(command: Callable[..., int]) -> Callable[..., None]:
    """Run a command's body and exit with the code that it gives; one line for what goes wrong."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        from tickpath.audit_file import AuditError, DamagedError

        try:
            code = command(*arguments, **options)
            sys.stdout.flush()
        except AuditError as error:
            _say(str(error))
            code = FINDING if isinstance(error, DamagedError) else USAGE
        except KeyboardInterrupt:
            _say("interrupted")
            code = INTERRUPTED
        except BrokenPipeError:  # who read it has seen enough; click ends quietly
            raise
        except OSError as error:
            _say(f"the output cannot be written: {error.strerror or error}")
            code = USAGE
        sys.exit(code)

    return run


def _say(text: str) -> None:
    click.echo(f"tickpath: {text}", err=True)


def _key(path: str | None) -> bytes | None:
    from tickpath.audit_file import read_key

    return None if path is None else read_key(path)


def _head(text: str | None) -> bytes | None:
    if text is None:
        return None
    if not re.fullmatch(r"[0-9A-Fa-f]{64}", text):
        raise click.BadParameter("a head has 64 hexadecimal digits", param_hint="--head")
    return bytes.fromhex(text)


@click.group()
def audit() -> None:
    """Verify and print the hash-chained file of every decision."""


# ---------------------------------------------------------------- verify


@audit.command()
@click.argument("file")
@click.option("--key-file", metavar="K", help=_KEY_HELP)
@click.option("--head", metavar="HASH", help="A head noted earlier: the file must have had it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@_guarded
def verify(file: str, key_file: str | None, head: str | None, as_json: bool) -> int:
    """Find any change, gap or cut.

    Without --head a file whose whole chain was recomputed, or that was put back to an older state,
    cannot be told from a sound one; with a key only who has it can recompute the chain.
    """
    from tickpath.audit_verify import verify as verified
    from tickpath.narration import byte_progress

    expected = _head(head)
    key = _key(key_file)
    with byte_progress(os.path.basename(file)) as (progress, _):
        verdict = verified(file, key, expected, progress)
    if as_json:
        click.echo(dumps(_verdict_json(verdict, expected)))
    else:
        _print_verdict(verdict, expected)
    for finding in verdict.findings:
        _say(f"{file}: {finding.flaw}: {finding}")
    if verdict.interrupted:
        _say("interrupted")
        return INTERRUPTED
    return FINDING if verdict.findings else OK


def _verdict_json(verdict: "Verdict", expected: bytes | None) -> dict[str, Any]:
    return {
        "schema": "tickpath.audit.verify/1",
        "path": verdict.path,
        "sound": not verdict.findings and not verdict.interrupted,
        "findings": [each._asdict() for each in verdict.findings],
        "scheme": verdict.scheme,
        "ts_created": verdict.ts_created,
        "blocks": verdict.blocks,
        "records": verdict.records,
        "lost": verdict.lost,
        "sound_bytes": verdict.sound_bytes,
        "closed": verdict.closed,
        "head": verdict.head,
        "head_expected": None if expected is None else expected.hex(),
        "head_block": verdict.head_block,
        "continuations": verdict.continuations,
        "continued": [
            {**each._asdict(), "end_head": each.end_head and each.end_head.hex()}
            for each in verdict.continued
        ],
        "identity": verdict.identity,
        "record": verdict.record,
        **({"interrupted": True} if verdict.interrupted else {}),
    }


def _headline(verdict: "Verdict") -> str:
    from tickpath.audit_file import Flaw

    flaws = {each.flaw for each in verdict.findings}
    if verdict.interrupted:
        return "sound as far as it was read"
    if not flaws:
        return "sound and closed"
    return "sound as far as it goes, not closed" if flaws == {Flaw.NOT_CLOSED} else "not sound"


def _print_verdict(verdict: "Verdict", expected: bytes | None) -> None:
    from tickpath.audit_line import quoted, utc

    if verdict.scheme is None or verdict.ts_created is None or verdict.identity is None:
        return
    click.echo(f"{verdict.path}: {_headline(verdict)}")
    told = [("scheme", _SCHEMES[verdict.scheme]), ("created", utc(verdict.ts_created))]
    for name, value in verdict.identity.items():
        if name != "tables":
            told.append((quoted(name), quoted(value if isinstance(value, str) else dumps(value))))
    told += [
        ("blocks", f"{verdict.blocks:,} ({verdict.sound_bytes:,} bytes)"),
        ("records", f"{verdict.records:,}, {verdict.lost:,} lost before they were written"),
        ("head", str(verdict.head)),
    ]
    if expected is not None and verdict.head_block is not None:
        since = verdict.blocks - 1 - verdict.head_block
        told.append(("head given", f"was the file's {since:,} blocks ago" if since else "is its"))
    width = max(len(name) for name, _ in told)
    for name, text in told:
        click.echo(f"  {name:<{width}}  {text}")
    for each in verdict.continued:
        click.echo(f"  {each}")
    if verdict.continuations > len(verdict.continued):
        click.echo(f"  and {verdict.continuations - len(verdict.continued):,} more times")


# ---------------------------------------------------------------- show


@audit.command()
@click.argument("file")
@click.option("--key-file", metavar="K", help=_KEY_HELP + " Without it nothing is proved.")
@click.option("--code", metavar="NAME", help="Only records with a code of this name.")
@click.option("--symbol", metavar="S", help="Only records of this symbol.")
@click.option("--limit", type=click.IntRange(min=0), help="Stop after N records.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@_guarded
def show(
    file: str,
    key_file: str | None,
    code: str | None,
    symbol: str | None,
    limit: int | None,
    as_json: bool,
) -> int:
    """Print the records, one line each, up to the first block that is not sound."""
    from tickpath.audit_line import choice
    from tickpath.audit_walk import Walk, open_file

    key = _key(key_file)
    with open_file(file) as opened:
        walk = Walk(opened, file, key, unchecked=True)
        _say_unproved(walk, file)
        chosen = choice(walk.schema, walk.tables, code, symbol)
        complete = _show(walk, chosen, limit, as_json)
        if complete and walk.end is None:
            _say(f"{file}: no end: the writer was killed, is still writing, or the file was cut")
            return FINDING
    return OK


def _say_unproved(walk: "Walk", file: str) -> None:
    if not walk.proved:
        _say(f"{file}: is under a key and none was given: what follows is not proved")


def _show(walk: "Walk", chosen: Any, limit: int | None, as_json: bool) -> bool:
    """Print the records that are wanted; False where the limit ended it."""
    import numpy as np

    from tickpath.audit_file import BlockKind
    from tickpath.audit_line import RecordLines

    lines = RecordLines(walk.schema, walk.tables, as_json)
    left = sys.maxsize if limit is None else limit
    for block in walk:
        if left == 0:
            return False
        if block.header.kind == BlockKind.CONTINUED:
            _say(str(walk.continued(block)))
        if block.header.lost:
            _say(f"block {block.header.block_number}: {block.header.lost:,} records were lost here")
        if block.header.kind != BlockKind.RECORDS:
            continue
        rows = np.frombuffer(block.payload, walk.schema.dtype)
        numbers = np.arange(len(rows), dtype=np.uint64) + np.uint64(block.header.first_record)
        if chosen is not None:
            wanted = chosen(rows)
            rows, numbers = rows[wanted], numbers[wanted]
        rows, numbers = rows[:left], numbers[:left]
        left -= len(rows)
        for at in range(0, len(rows), _LINES_AT_ONCE):
            part = slice(at, at + _LINES_AT_ONCE)
            sys.stdout.write("".join(lines(numbers[part], rows[part])))
    return left > 0


# ---------------------------------------------------------------- head


@audit.command()
@click.argument("file")
@click.option("--key-file", metavar="K", help=_KEY_HELP + " Without it nothing is proved.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@_guarded
def head(file: str, key_file: str | None, as_json: bool) -> int:
    """Print the digest of the last whole block, to be kept elsewhere for `verify --head`.

    A file that is being written has a head too: of what it holds now.
    """
    from tickpath.audit_file import DamagedError, Flaw
    from tickpath.audit_walk import Walk, open_file

    key, code = _key(key_file), OK
    with open_file(file) as opened:
        walk = Walk(opened, file, key, unchecked=True)
        _say_unproved(walk, file)
        try:
            for _ in walk:
                pass
        except DamagedError as error:
            if error.finding.flaw is not Flaw.TORN:
                raise
            _say(f"{error}; the head is that of the block before")
            code = FINDING
    shown = {
        "schema": "tickpath.audit.head/1",
        "path": file,
        "head": walk.at.previous.hex(),
        "blocks": walk.at.blocks,
        "records": walk.at.records,
        "closed": walk.end is not None,
        "proved": walk.proved,
    }
    click.echo(dumps(shown) if as_json else shown["head"])
    return code
