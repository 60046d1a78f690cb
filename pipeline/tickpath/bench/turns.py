"""Contestants measured in turns, on one core, by the time that the processor gave them.

The machine may be shared and its speed drifts, so contestants take turns: in each round every one
runs once, in the same order, and what counts is the median over the rounds with all runs listed.
A run is timed by its thread's CPU time, which leaves out what others took of the core; the wall
time stands beside it.  CPU time does not leave out what others take of caches and memory.

Every run gives an answer.  A contestant is verified if no run found a problem with its answer and
all its answers are equal; a time without a right answer means nothing.
"""

import resource
import statistics
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tickpath.bench.error import BenchError


@dataclass(frozen=True)
class Timing:
    """What one run took."""

    cpu_ns: int
    wall_ns: int | None  # None: not measured
    page_faults: int | None = None


@dataclass(frozen=True)
class Outcome:
    """One run: what it took, what came out (None: nothing to compare), what is wrong with it."""

    timing: Timing
    answer: Hashable = None
    problems: tuple[str, ...] = ()


class Contestant(Protocol):
    """Something that takes messages, and is timed."""

    name: str
    note: str
    messages: int
    """Messages of one run, by which its time is divided."""
    warm_ups: int
    """Runs before the first round that do not count."""

    def run(self) -> Outcome:
        """Run once, from a fresh state."""


@dataclass
class Result:
    """A contestant's runs."""

    contestant: Contestant
    outcomes: list[Outcome] = field(default_factory=list)
    warm_ups: list[Outcome] = field(default_factory=list)
    found: list[str] = field(default_factory=list)  # wrong beside other contestants
    failed: str = ""

    @property
    def problems(self) -> list[str]:
        """What is wrong with the answers of any run, each once."""
        everything = [*self.warm_ups, *self.outcomes]
        found = [f"{self.name}: {each}" for outcome in everything for each in outcome.problems]
        if len({outcome.answer for outcome in everything}) > 1:
            found.append(f"{self.name}: its runs gave different answers")
        if self.failed:
            found.append(f"{self.name}: {self.failed}")
        return list(dict.fromkeys([*found, *self.found]))

    @property
    def name(self) -> str:
        return self.contestant.name

    def per_message(self, outcome: Outcome) -> float:
        """CPU nanoseconds a message."""
        return outcome.timing.cpu_ns / self.contestant.messages

    @property
    def median_ns(self) -> float | None:
        """Median CPU nanoseconds a message over the rounds; None where it failed."""
        if self.failed or not self.outcomes:
            return None
        return round(statistics.median(map(self.per_message, self.outcomes)), 3)

    def row(self, **more: Any) -> dict[str, Any]:
        """The contestant's row of the result."""
        walls = [each.timing.wall_ns for each in self.outcomes]
        median = self.median_ns
        return {
            "name": self.name,
            "ns_per_message": median,
            "messages_per_second": round(1e9 / median) if median else None,
            "runs": [round(self.per_message(each), 3) for each in self.outcomes],
            "runs_wall": [
                None if wall is None else round(wall / self.contestant.messages, 3)
                for wall in walls
            ],
            "warm_up_runs": [round(self.per_message(each), 3) for each in self.warm_ups],
            "page_faults": [each.timing.page_faults for each in self.outcomes],
            "messages": self.contestant.messages,
            "verified": not self.problems,
            "note": self.contestant.note,
            **more,
        }


def timed(function: Callable[..., Any], *arguments: Any) -> tuple[Any, Timing]:
    """(what the function gave, what it took) on this thread."""
    faults = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
    result = function(*arguments)
    cpu, wall = time.thread_time_ns() - cpu, time.perf_counter_ns() - wall
    faults = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - faults
    return result, Timing(cpu, wall, faults)


def warm_up(results: Sequence[Result], say: Callable[[str], None]) -> None:
    """Run every contestant as often as it wants before its times count."""
    for result in results:
        for _ in range(result.contestant.warm_ups):
            say(f"warming up: {result.name}")
            result.warm_ups.append(result.contestant.run())


def take_turns(results: Sequence[Result], rounds: int, say: Callable[[str], None]) -> None:
    """Let every contestant run once in each round; one that fails is out, and that is a finding."""
    for number in range(1, rounds + 1):
        for result in results:
            if result.failed:
                continue
            say(f"round {number} of {rounds}: {result.name}")
            try:
                result.outcomes.append(result.contestant.run())
            except BenchError as error:
                result.failed = str(error)
