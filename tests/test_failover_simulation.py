"""The failover simulator: whatever fails, no order is sent twice and none that left is forgotten.

Every seed draws a plan of faults; `failover_node.Judge` and the exchange compare at every step, and
at the end somebody has to trade.  The mutation check takes one rule out of the role, or out of the
world around it, at a time: some seed has to notice.
"""

import importlib
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest

import tickpath.failover
from failover_simulation import code_of, simulate
from failover_world import BrokenError

SHORT, LONG, SLICE = range(250), range(1_000, 11_000), 500
MUTANT_SEEDS = range(1_000)
SOURCE = Path(tickpath.failover.__file__).parent


def played(seeds) -> Counter:
    """What all runs together reached; the first that breaks a rule fails."""
    code, reached = code_of(), Counter()
    for seed in seeds:
        outcome = simulate(seed, code)
        outcome.pop("digest")
        reached += outcome
    return reached


def test_any_mix_of_faults():
    reached = played(SHORT)
    ways = (
        *("settled by itself", "settled forced", "settled resumed", "orders", "losses"),
        *("handovers_done", "leases_ended_here", "leases_lost", "epochs_given_up", "forces"),
        *("notes_unanswered", "unknown_orders", "drills_passed", "lease_held", "late_answers"),
        *(
            "notes_inherited",
            "did Extend",
            "did Hold",
            "did Release",
            "beats_of_old_epochs",
            "stops",
        ),
    )
    assert not [way for way in ways if not reached[way]], reached
    assert reached["did Abort"] == 0


@pytest.mark.long
@pytest.mark.parametrize("first", range(LONG.start, LONG.stop, SLICE))
def test_thousands_of_mixes(first):
    played(range(first, first + SLICE))


def test_a_seed_is_a_run():
    first, again, other = (simulate(seed) for seed in (7, 7, 8))
    assert first == again and first["digest"] != other["digest"]


# ---------------------------------------------------------------- mutants

ROLE = [
    # (module, what it says, what the mutant says)
    ("tenure", "ttl_ns * (100 - self._config.lease_margin_percent) // 100", "ttl_ns"),
    ("tenure", "return now_ns >= self.ends_ns", "return False"),
    ("takeover", "role.do(AskGateway(request, event.epoch))", "role.do(AskGateway(request, 0))"),
    ("takeover", "max(standing.number, answer.input_number) + 1", "standing.number + 1"),
    ("takeover", "order_position=answer.order_position", "order_position=standing.order_position"),
    ("takeover", "unknown_order_bytes=orders.unknown_bytes", "unknown_order_bytes=0"),
    ("takeover", "unheard_ns=heard_ns if may_lose else 0", "unheard_ns=0"),
    (
        "takeover",
        "        reasons = _reasons(role, attempt, event)\n        if",
        "        reasons = []\n        if",
    ),
    ("eligibility", "if case.is_forced or note is None:", "if True:"),
    ("eligibility", "if note.is_synchronous:\n        heirs", "if False:\n        heirs"),
    ("in_sync", "if self.gate is not None and wanted - self.gate:", "if False:"),
    ("in_sync", "if late or now_ns <", "if now_ns <"),
    ("in_sync", "dict.fromkeys(self._asked_gate - self.gate, number)", "{}"),
    ("in_sync", "and wanted == self._inherited:", "and self._inherited and wanted:"),
    ("eligibility", "note.epoch + note.hands_over <=", "note.epoch <="),
    ("in_sync", "        if is_noted:\n", "        if is_noted or self.gate is None:\n"),
]
WORLD = [
    *("gateway_takes_old_epochs", "gateway_refuses_equal", "gateway_ask_does_not_fence"),
    *("gateway_takes_overlap", "gateway_forgets_epoch", "store_repeats_epoch"),
    *("store_releases_any", "loop_ignores_gate", "loop_ignores_end", "acks_before_applying"),
    *("joins_any_history", "node_keeps_incarnation"),
]


def mutant(tmp_path: Path, number: int, module: str, old: str, new: str) -> str:
    """A copy of the package with one rule changed; gives its name."""
    name = f"failover_mutant_{number}"
    target = tmp_path / name
    shutil.copytree(SOURCE, target, ignore=shutil.ignore_patterns("__pycache__"))
    for path in target.glob("*.py"):
        path.write_text(path.read_text().replace("tickpath.failover", name))
    path = target / f"{module}.py"
    text = path.read_text()
    assert text.count(old) == 1, f"{module} says {old!r} {text.count(old)} times"
    path.write_text(text.replace(old, new))
    return name


def noticed(code, flaws: frozenset[str]) -> str | None:
    """What the first seed that notices says."""
    for seed in MUTANT_SEEDS:
        try:
            simulate(seed, code, flaws)
        except BrokenError as error:
            return str(error)
    return None


@pytest.mark.long
@pytest.mark.parametrize("number", range(len(ROLE)))
def test_a_rule_taken_out_of_the_role_is_noticed(number, tmp_path, monkeypatch):
    module, old, new = ROLE[number]
    name = mutant(tmp_path, number, module, old, new)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    try:
        assert noticed(code_of(name), frozenset()), f"nobody misses {old!r} of {module}.py"
    finally:
        for each in [each for each in sys.modules if each.split(".")[0] == name]:
            del sys.modules[each]


@pytest.mark.long
@pytest.mark.parametrize("flaw", WORLD)
def test_a_rule_taken_out_of_the_world_is_noticed(flaw):
    assert noticed(code_of(), frozenset({flaw})), f"nobody misses what {flaw} breaks"
