"""The part of the hardware's page that is one replay: `tickpath hdl report --replay FILE`.

The file is what ``tickpath replay --backend fpga-sim --json`` printed, or ``--backend alveo``.
Nothing of it is taken on trust that the page says itself: which backend, which captures and which
clock stand in it, and its findings are the page's.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tickpath.report import units
from tickpath.report.markup import Html, Page, table, tag
from tickpath.report.panels import environment_panel, latency_table
from tickpath_backends.hdl.error import HdlError

SCHEMA = "tickpath.replay/1"
_WHERE = {
    "fpga-sim": "The Verilated chain over {}, cycle by cycle",
    "alveo": "The chain on a card over {}, by the card's own count of cycles",
}
"""What was run, by the backend's name."""


def read(path: str | Path) -> dict[str, Any]:
    """A replay's JSON, which has to be of the chain.  Raises `HdlError`."""
    try:
        found = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise HdlError(f"{path}: no replay's JSON: {error}") from None
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise HdlError(f"{path}: no {SCHEMA}; run: tickpath replay --backend fpga-sim --json")
    if found.get("backend") not in _WHERE or not found.get("latency_cycles"):
        raise HdlError(
            f"{path}: of backend {found.get('backend')}, which has no latency_cycles; "
            "run: tickpath replay --backend fpga-sim --json"
        )
    return found


def findings(replay: Mapping[str, Any] | None) -> list[str]:
    """What the replay itself found wrong."""
    if replay is None:
        return []
    found = [f"The replay: {each}" for each in replay.get("findings") or ()]
    if replay.get("interrupted"):
        found.append("The replay was interrupted: its figures are of what was done until then.")
    return found


def panel(page: Page, replay: Mapping[str, Any] | None) -> None:
    """Percentiles in cycles and nanoseconds, and what went through."""
    if replay is None:
        page.left_out(
            "A replay through fpga-sim",
            "none was given: tickpath hdl report --replay FILE, the JSON of a "
            "tickpath replay --backend fpga-sim --json",
        )
        return
    backend, cycles = str(replay["backend"]), replay["latency_cycles"]
    at_clock = {"count": cycles["count"], **replay["latency_at_clock_ns"]}
    names = ", ".join(Path(each).name for each in replay["sources"])
    page.panel(
        f"A replay through {backend}",
        f"{_WHERE[backend].format(names or 'nothing')}: from the last word of the triggering "
        "message to the order's first one, with what waits. Words follow each other without the "
        "wire's idle time.",
        tag("h3", "cycles"),
        latency_table({"word to word": cycles}, units.whole),
        tag("h3", f"nanoseconds at {at_clock['clock_mhz']} MHz", style="margin-top:14px"),
        latency_table({"word to word": at_clock}, units.nanoseconds),
        tag("h3", "what went through", style="margin-top:14px"),
        _through(replay),
        _refused(replay),
    )
    if replay.get("environment"):
        environment_panel(page, replay["environment"])


def _through(replay: Mapping[str, Any]) -> Html:
    orders, chain = replay["orders"], replay["chain"]
    messages, cycles = replay["messages"], chain["cycles"]
    rows = [
        ("packets", units.whole(replay["packets"])),
        ("messages", units.whole(messages)),
        ("cycles of the core", units.whole(cycles)),
        ("cycles for each message", units.whole(cycles / messages) if messages else units.NOTHING),
        ("tops of book that triggers judged", units.whole(chain["counters"]["tops"])),
        ("intents", units.whole(chain["counters"]["intents"])),
        ("orders sent", units.whole(orders["sent"])),
        ("intents refused", units.whole(orders["rejected"])),
    ]
    return table(("", "count"), rows)


def _refused(replay: Mapping[str, Any]) -> Html:
    """By the check that decided; nothing where none did."""
    checks = (replay.get("profile") or {}).get("rejects_by_check") or {}
    rows = [(units.words(name), units.whole(count)) for name, count in checks.items() if count]
    if not rows:
        return Html("")
    return tag("div", tag("h3", "refused by", style="margin-top:14px"), table(("", "count"), rows))
