"""The verdict on an audit file: what it holds, and the first thing that is wrong with it.

Findings are about the bytes: records that the writer itself counted as lost, and that a writer
went on after a kill, are told but are no findings.  A head that was kept elsewhere is met where
the chain had it behind any block, so it stays good while the file grows.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tickpath.audit_file import BlockKind, DamagedError, Finding, Flaw, Scheme
from tickpath.audit_walk import Block, Continued, Walk, open_file

MAX_CONTINUATIONS_LISTED = 1000
_PROGRESS_BYTES = 1 << 26


@dataclass
class Verdict:
    """What verification found; sound and closed where there are no findings."""

    path: str
    scheme: str | None = None
    ts_created: int | None = None  # nanoseconds since the Unix epoch
    identity: dict[str, Any] | None = None
    record: dict[str, Any] | None = None
    blocks: int = 0
    records: int = 0
    lost: int = 0
    sound_bytes: int = 0
    closed: bool = False
    head: str | None = None  # of the last sound block
    head_block: int | None = None
    """The block behind which the chain had the head that was asked for; -1: behind the header."""
    continuations: int = 0
    continued: list[Continued] = field(default_factory=list)
    """The first `MAX_CONTINUATIONS_LISTED` of them."""
    findings: list[Finding] = field(default_factory=list)
    interrupted: bool = False
    """Ctrl-C ended it: what is said is of the blocks before."""


def verify(
    path: str | os.PathLike[str],
    key: bytes | None = None,
    head: bytes | None = None,
    progress: Callable[[int, int, int], None] | None = None,
) -> Verdict:
    """Verify a file; ``head`` is a digest that it must have now, or have had.

    Memory is that of one block.  ``progress`` is called with bytes read, bytes in all and records.
    Raises `AuditError` where there is no audit file to verify.
    """
    name = os.fspath(path)
    verdict = Verdict(name)
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            walk = Walk(file, name, key)
        except DamagedError as error:
            verdict.findings.append(error.finding)
            return verdict
        _describe(verdict, walk)
        if head == walk.at.previous:
            verdict.head_block = -1
        told = 0
        try:
            for block in walk:
                _note(verdict, walk, block, head)
                if progress and walk.at.offset - told >= _PROGRESS_BYTES:
                    told = walk.at.offset
                    progress(told, size, walk.at.records)
        except DamagedError as error:
            verdict.findings.append(error.finding)
        except KeyboardInterrupt:
            verdict.interrupted = True
        _conclude(verdict, walk, head)
    return verdict


def _describe(verdict: Verdict, walk: Walk) -> None:
    verdict.scheme = Scheme(walk.preamble.scheme).name
    verdict.ts_created = walk.preamble.ts_created
    verdict.identity, verdict.record = walk.identity, walk.description["record"]


def _note(verdict: Verdict, walk: Walk, block: Block, head: bytes | None) -> None:
    met = block.digest == head
    if block.header.kind == BlockKind.CONTINUED:
        told = walk.continued(block)
        met = met or (head is not None and told.end_head == head)
        if len(verdict.continued) < MAX_CONTINUATIONS_LISTED:
            verdict.continued.append(told)
    if met:
        verdict.head_block = block.header.block_number


def _conclude(verdict: Verdict, walk: Walk, head: bytes | None) -> None:
    verdict.blocks, verdict.records, verdict.lost = walk.at.blocks, walk.at.records, walk.at.lost
    verdict.sound_bytes, verdict.head = walk.at.offset, walk.at.previous.hex()
    verdict.continuations, verdict.closed = walk.at.continued, walk.end is not None
    if verdict.findings or verdict.interrupted:
        return
    if not verdict.closed:
        text = "no end: the writer was killed, is still writing, or the file was cut here"
        verdict.findings.append(Finding(Flaw.NOT_CLOSED, None, walk.at.offset, text))
    if head is not None and verdict.head_block is None:
        text = "the chain never had the head given: rewritten, cut before it, or another file"
        verdict.findings.append(Finding(Flaw.HEAD, None, walk.at.offset, text))
