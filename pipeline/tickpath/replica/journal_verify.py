"""Verifying a journal: every file is read whole, everything that is wrong is named.

What a writer that was killed leaves (a record that is not whole at the very end) is a finding too,
except while another process writes the directory: it may be writing that record just now.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

from tickpath.replica.journal import unlinked
from tickpath.replica.journal_disk import is_being_written
from tickpath.replica.journal_header import Identity, segments
from tickpath.replica.journal_segment import DamagedError, Finding, Flaw, Segment
from tickpath.replica.journal_snapshot import flaw_of_snapshot, snapshots

MOST_FINDINGS = 1000
"""More are counted, not kept."""


@dataclass
class Verdict:
    """What a directory holds, and what is wrong with it."""

    directory: str
    findings: list[Finding] = field(default_factory=list)
    more_findings: int = 0
    segments: int = 0
    first_number: int = 0
    last_number: int = 0
    records: int = 0
    bytes: int = 0
    epoch: int = 0
    is_sealed: bool = False
    """The last segment was closed in order."""
    is_being_written: bool = False
    identity: Identity = field(default_factory=Identity)
    snapshots: list[int] = field(default_factory=list)
    """Record numbers of the whole ones."""

    def add(self, finding: Finding) -> None:
        """Note a finding."""
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(finding)
        else:
            self.more_findings += 1


def verify(directory: str | os.PathLike[str]) -> Verdict:
    """Read all of a journal.  Raises `JournalError` where the directory cannot be read."""
    verdict = Verdict(os.fspath(directory))
    verdict.is_being_written = is_being_written(directory)
    _verify_snapshots(verdict, Path(directory))
    found = segments(directory)
    last: int | None = None
    for path in found:
        last = _verify_segment(verdict, path, last, path == found[-1])
    verdict.segments = len(found)
    verdict.last_number = last or 0
    _verify_base(verdict, found)
    return verdict


def _verify_segment(verdict: Verdict, path: Path, last: int | None, is_last: bool) -> int | None:
    """Verify one file behind record ``last``; gives its own last record's number."""
    try:
        segment = Segment(path)
    except DamagedError as error:
        verdict.add(error.finding)
        return None
    try:
        header = segment.header
        extent = segment.extent(is_last)
        if verdict.is_being_written and is_last and extent.torn:
            extent = extent._replace(findings=())
        for each in extent.findings:
            verdict.add(each)
        if last is not None:
            wrong = unlinked(segment, last)
            if wrong is not None:
                verdict.add(wrong)
            if header.identity != verdict.identity:
                text = f"{header.identity.difference(verdict.identity)}, in the segment before"
                verdict.add(Finding(Flaw.IDENTITY, path.name, 0, header.first_number, text))
            if header.epoch < verdict.epoch:
                text = f"it begins in epoch {header.epoch}, which was over"
                verdict.add(Finding(Flaw.EPOCH, path.name, 0, header.first_number, text))
        else:
            verdict.first_number = verdict.first_number or header.first_number
        if header.missing:
            first, behind = header.missing
            text = f"records {first} to {behind} are missing ({header.absence.name.lower()})"
            verdict.add(Finding(Flaw.MISSING, path.name, 0, first, text))
        verdict.identity, verdict.epoch = header.identity, max(verdict.epoch, extent.epoch)
        verdict.records += extent.last_number + 1 - header.first_number
        verdict.bytes += extent.end
        verdict.is_sealed = extent.is_sealed
        return extent.last_number
    finally:
        segment.close()


def _verify_snapshots(verdict: Verdict, directory: Path) -> None:
    for number, path in snapshots(directory):
        flaw = flaw_of_snapshot(path)
        if flaw:
            verdict.add(Finding(Flaw.SNAPSHOT, path.name, 0, number, flaw))
        else:
            verdict.snapshots.append(number)


def _verify_base(verdict: Verdict, found: list[Path]) -> None:
    """Whether records can be replayed from a state that there is."""
    first = verdict.first_number
    reached = [each for each in verdict.snapshots if each >= first - 1]
    if found and first > 1 and not reached:
        text = f"the journal begins with record {first} and no whole snapshot reaches it"
        verdict.add(Finding(Flaw.BASE, found[0].name, 0, first, text))
