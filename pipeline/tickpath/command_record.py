"""`tickpath record`: what comes on the lines of a feed, into a pcapng file.

Exit codes: 0 fine, also when Ctrl-C ended it; 1 the kernel dropped packets, or the disk was full;
2 usage, or an address or file that cannot be had.
"""

import json
import sys
from contextlib import ExitStack
from typing import Any

import click

OK, FINDING, USAGE = 0, 1, 2
SCHEMA = "tickpath.record/1"
LINE_NAMES = "ABCDEFGH"


@click.command()
@click.argument("out", metavar="OUT.pcapng")
@click.option(
    "--line",
    "lines",
    multiple=True,
    required=True,
    metavar="GROUP:PORT",
    help="A line to join; give it once for A, again for B.",
)
@click.option("--interface", default="127.0.0.1", show_default=True, help="An address of ours.")
@click.option("--seconds", type=click.FloatRange(min=0), help="Stop after so long.")
@click.option("--packets", type=click.IntRange(min=1), help="Stop after so many.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, an object a line.")
def record(out: str, lines: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Record the lines of a feed with receive timestamps, until Ctrl-C."""
    from tickpath.config import ConfigError
    from tickpath.record.error import RecordError

    try:
        code = _record(out, lines, as_json, **options)
    except (ConfigError, RecordError) as error:
        click.echo(f"tickpath: {error}", err=True)
        code = USAGE
    sys.exit(code)


def _record(
    out: str,
    lines: tuple[str, ...],
    as_json: bool,
    *,
    interface: str,
    seconds: float | None,
    packets: int | None,
) -> int:
    from tickpath.config import ConfigError, parse_group
    from tickpath.interrupt import interruptible
    from tickpath.record.error import RecordError
    from tickpath.record.receiver import Receiver
    from tickpath.record.recorder import Recorder

    if not out.endswith(".pcapng"):
        raise RecordError(f"{out}: what is recorded is pcapng; name it OUT.pcapng")
    if len(lines) > len(LINE_NAMES):
        raise RecordError(f"--line: {len(lines)} lines; at most {len(LINE_NAMES)} are taken")
    with ExitStack() as closing:
        receivers = []
        for name, line in zip(LINE_NAMES, lines, strict=False):
            try:
                address, port = parse_group(line)
            except ConfigError:
                raise RecordError(f"--line: {line!r} is not ADDRESS:PORT") from None
            dotted = ".".join(map(str, address.to_bytes(4, "big")))
            receivers.append(Receiver(name, (dotted, port), interface))
            closing.callback(receivers[-1].close)
        recorder = Recorder(out, receivers)
        with interruptible() as interrupt:
            _say_ready(recorder, as_json)
            finding = ""
            try:
                recorder.run(lambda: interrupt.is_set, seconds, packets)
                recorder.close()
            except RecordError as error:  # the disk is full: what is there stays
                finding = str(error)
            return _say_end(recorder, finding, interrupt.is_set, as_json)


def _say_ready(recorder: Any, as_json: bool) -> None:
    names = ", ".join(f"{e.name} {e.group[0]}:{e.group[1]}" for e in recorder.receivers)
    if as_json:
        lines = {each.name: list(each.group) for each in recorder.receivers}
        click.echo(json.dumps({"schema": SCHEMA, "ready": True, "lines": lines}))
    else:
        click.echo(f"recording {names} to {recorder.file.path}; Ctrl-C ends it", err=True)


def _say_end(recorder: Any, finding: str, is_interrupted: bool, as_json: bool) -> int:
    summary = recorder.summary()
    drops = sum(each["kernel_drops"] for each in summary["lines"].values())
    findings = [finding] if finding else []
    if drops:
        findings.append(
            f"the kernel dropped {drops} packets that had no room; raise net.core.rmem_max"
        )
    if as_json:
        result = {"schema": SCHEMA, **summary, "kernel_drops": drops, "findings": findings}
        click.echo(json.dumps({**result, "interrupted": is_interrupted}))
    else:
        each = ", ".join(
            f"{name} {line.get('packets', 0):,}" for name, line in summary["lines"].items()
        )
        click.echo(
            f"{summary['path']}: {summary['packets']:,} packets ({each}), "
            f"{summary['file_bytes']:,} bytes, {drops:,} dropped by the kernel"
        )
    for one in findings:
        click.echo(f"tickpath: {one}", err=True)
    return FINDING if findings else OK
