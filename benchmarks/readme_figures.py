"""The figures in the README, generated from results: no number there is typed by hand.

    python benchmarks/readme_figures.py            # write them between the markers
    python benchmarks/readme_figures.py --check    # exit with 1 where they are not the result's

The places in the README are between ``<!-- bench -->`` and ``<!-- /bench -->``, and likewise for
``wire``.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
README, RESULTS = ROOT / "README.md", ROOT / "benchmarks" / "results"
HASH_LENGTH = 12


class FiguresError(ValueError):
    """A README or a result that cannot be used; the message says what is missing."""


def _ns(value: float | None) -> str:
    """Three digits that mean something."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _row(row: Mapping[str, Any]) -> str:
    wrong = "" if row["verified"] else " **(wrong or unchecked answer)**"
    runs = [_ns(run) for run in sorted(row["runs"])]
    spread = f"{runs[0]} to {runs[-1]}" if runs else "-"
    note = row["note"].replace("|", "\\|")
    return f"| {row['name']}{wrong} | **{_ns(row['ns_per_message'])}** | {spread} | {note} |"


def _machine(result: Mapping[str, Any]) -> str:
    """Where, when and of what: one paragraph."""
    environment, session = result["environment"], result["session"]
    cpu, kernel = environment["cpu"] or {}, environment["kernel"] or {}
    versions = environment["versions"] or {}
    commit = versions.get("commit") or "no commit"
    dirty = ", with changes" if commit.endswith("-dirty") else ""
    guest = ", a virtual machine" if kernel.get("virtualised") else ""
    return (
        f"{session['messages']:,} generated messages over {session['symbols']:,} symbols, "
        f"{session['orders_live']:,} orders live at the end; as fast as possible on one core, "
        f"tables pre-faulted, CPU time, median of {result['rounds']} rounds in which all take "
        f"turns. {cpu.get('model')}, {cpu.get('cores')} cores{guest}; "
        f"{kernel.get('distribution')}, {versions.get('python')}, Numba {versions.get('numba')}; "
        f"{environment['date'][:10]}, commit {commit[:HASH_LENGTH]}{dirty}."
    )


def _beside(result: Mapping[str, Any]) -> str:
    """What else ran, because it decides what the figures are worth."""
    shares = result["beside_us"]
    shown = {name: "unknown" if each is None else f"{each:.0%}" for name, each in shares.items()}
    return (
        f"During the rounds other processes had {shown['others_share']} of the core, the "
        f"hypervisor kept {shown['stolen_share']} of it, and the other cores were "
        f"{shown['other_cores_busy_share']} busy."
    )


def _latency(result: Mapping[str, Any]) -> list[str]:
    found = result["latency_ns"]["tick_to_order"]
    names = ("p50", "p90", "p99", "p99_9", "max")
    return [
        f"Tick to order, one packet at a time in arrival order ({found['count']:,} orders), ns:",
        "",
        "| " + " | ".join(name.replace("_", ".") for name in names) + " |",
        "|" + "---:|" * len(names),
        "| " + " | ".join(_ns(found[name]) for name in names) + " |",
    ]


def _curve(curve: Mapping[str, Any]) -> str:
    wrong = "" if curve["verified"] else " **(wrong answer)**"
    points = zip(curve["x"], curve["ns_per_message"], strict=True)
    values = ", ".join(f"{size:,}: {_ns(ns)}" for size, ns in points)
    return f"- book over {curve['x_label']}, ns a message{wrong}: {values}"


def _others(result: Mapping[str, Any]) -> list[str]:
    memory, start = result["memory"], result["start"]
    lines = [_curve(curve) for curve in result["curves"]]
    lines.append(
        f"- peak memory of the replay: {memory['peak_bytes'] / 1e9:.2f} GB; `tickpath --help`: "
        f"{start['help_seconds']:.2f} s; a second replay of one message, start to exit: "
        f"{start['replay_seconds']:.2f} s"
    )
    missed = [each for each in result["targets"] if not each["met"]]
    if result["targets"]:
        met = len(result["targets"]) - len(missed)
        amounts = [f"{each['value']:.4g} {each['unit']}".strip() for each in missed]
        named = ", ".join(
            f"{each['name']} ({amount})" for each, amount in zip(missed, amounts, strict=True)
        )
        lines.append(
            f"- {met} of {len(result['targets'])} targets met"
            + (f"; missed here: {named}" if missed else "")
        )
    lines += [f"- left out: {each['name']} ({each['reason']})" for each in result["skipped"]]
    return lines


def figures(result: Mapping[str, Any]) -> str:
    """The Markdown between the markers."""
    return "\n".join(
        [
            _machine(result),
            _beside(result),
            "",
            "| one core | ns a message | runs | what it does |",
            "|---|---:|---:|---|",
            *(_row(row) for row in result["results"]),
            "",
            *_latency(result),
            "",
            *_others(result),
        ]
    )


def _us(value_ns: float | None) -> str:
    return "-" if value_ns is None else f"{value_ns / 1_000:,.1f}"


def _wire_row(row: Mapping[str, Any]) -> str:
    took, orders = row["latency_ns"], row["orders"]
    wrong = "" if row["verified"] else " **(wrong answer)**"
    us = " | ".join(_us(took[name]) for name in ("p50", "p90", "p99", "p99_9", "max"))
    return (
        f"| {row['backend']}{wrong} | {row['egress']} | {row['scenario']} | {row['rate']:,} | "
        f"{row['lost']:,} | {orders['matched']:,} | {us} |"
    )


def _wire_end(each: Mapping[str, Any]) -> str:
    search = each["search"] or {}
    found = f"- {each['backend']}: receiving alone {_ns(each['receive_ns_per_packet'])} ns a packet"
    if "no_loss_rate" in search:
        found += (
            f"; no loss up to {search['no_loss_rate']:,} packets a second, limited by "
            f"{search['limited_by']}"
        )
    return found


def wire_figures(result: Mapping[str, Any]) -> str:
    """The Markdown of a wire-to-wire result."""
    session, jitter = result["session"], result["jitter"]
    stolen = ", ".join(f"{jitter[when]['stolen_share']:.1%} {when}" for when in jitter)
    return "\n".join(
        [
            f"{session['packets']:,} packets over a veth pair, {session['orders']:,} orders "
            f"as datagrams by the transport (udp), or by the order session's connection (tcp), "
            f"from before the send call of the packet to the order's arrival, in us. "
            f"1x is {result['rate_1x']:,} packets a second at fixed times. Time that a thread "
            f"which only reads the clock lost in gaps above 1 us: {stolen}.",
            "",
            "| backend | orders by | rate | packets/s | lost | orders | "
            "p50 | p90 | p99 | p99.9 | max |",
            "|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
            *(_wire_row(row) for each in result["backends"] for row in each["rows"]),
            "",
            *map(_wire_end, result["backends"]),
            *(f"- {each}" for one in result["backends"] for each in one.get("remarks", ())),
            *(f"- not measured: {each}" for each in result["missing"]),
        ]
    )


SECTIONS: dict[str, Callable[[Mapping[str, Any]], str]] = {"bench": figures, "wire": wire_figures}
"""Names of results and of their places in the README."""


def places(readme: str) -> list[str]:
    """Names of the results that a README has a place for.  Raises `FiguresError` for none."""
    named = [name for name in SECTIONS if f"<!-- {name} -->" in readme]
    if not named:
        raise FiguresError(
            f"the README has no place for the figures: <!-- {next(iter(SECTIONS))} -->"
        )
    return named


def between(readme: str, name: str = "bench") -> tuple[str, str, str]:
    """(text before the figures, the figures, text after them), markers with the outer two.

    Raises `FiguresError` where the markers are not there once each, in order.
    """
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if (
        readme.count(begin) != 1
        or readme.count(end) != 1
        or readme.index(begin) > readme.index(end)
    ):
        raise FiguresError(f"the README has no place for the figures: {begin} and {end}")
    before, rest = readme.split(begin)
    inside, after = rest.split(end)
    return before + begin, inside, end + after


def main(arguments: list[str] | None = None) -> int:
    """Write or check; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing")
    parser.add_argument("--results", type=Path, default=RESULTS, help="directory of NAME.json")
    parser.add_argument("--readme", type=Path, default=README)
    chosen = parser.parse_args(arguments)
    try:
        shown = wanted = chosen.readme.read_text()
        for name in places(wanted):
            result = json.loads((chosen.results / f"{name}.json").read_text())
            before, _, after = between(wanted, name)
            wanted = f"{before}\n{SECTIONS[name](result)}\n{after}"
    except (OSError, ValueError) as error:
        print(f"readme_figures.py: {error}", file=sys.stderr)
        return 2
    if shown == wanted:
        return 0
    if chosen.check:
        print(
            f"readme_figures.py: {chosen.readme.name} does not show what {chosen.results} says: "
            "run python benchmarks/readme_figures.py",
            file=sys.stderr,
        )
        return 1
    chosen.readme.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
