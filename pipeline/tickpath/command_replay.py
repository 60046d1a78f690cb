"""`tickpath replay`: options in, one table or one JSON object out."""

import json
import os
import sys
from typing import Any

import click
import msgspec

from tickpath import backend as backends
from tickpath.config import Config, load_config, show
from tickpath.outputs import check_paths
from tickpath.profile import load_profile
from tickpath.profile_config import config_of
from tickpath.replay import Plan, ReplayError, replay

OUTPUTS = ("orders", "books", "bbo", "audit", "hgrm", "hlog")


def _pace(text: str) -> float | None:
    if text in ("asap", "wire"):
        return None if text == "asap" else 1.0
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 0 < factor <= 1e6:
        raise ReplayError(f"--pace {text}: expected asap, wire, or a factor above 0 such as 8")
    return factor


def run(
    files: tuple[str, ...],
    *,
    feed: str | None,
    backend: str,
    config: str | None,
    profile: str | None,
    show_config: bool,
    strategy: str | None,
    pace: str,
    as_json: bool,
    report: str | None,
    **outputs: Any,
) -> int:
    """Replay, print, write the report; gives the exit code."""
    settings = load_config(config) if config else Config()
    if feed is not None:
        chosen = msgspec.structs.replace(settings.feed, format=feed)
        settings = msgspec.structs.replace(settings, feed=chosen)
    hardware = load_profile(profile) if profile else None
    if show_config:
        click.echo(show(config_of(hardware, settings) if hardware else settings))
        return 0
    from tickpath.narration import byte_progress

    if report:
        from tickpath.report import require_plotly

        require_plotly()  # before a long run, not after it
    check_paths([report, *(outputs[name] for name in OUTPUTS)], files)
    plan = Plan(sources=files, pace=_pace(pace), series=report is not None, **outputs)
    title = os.path.basename(files[0]) + (f" and {len(files) - 1} more" if len(files) > 1 else "")
    with byte_progress(title) as (progress, status):
        result = replay(
            backends.find(backend),
            settings,
            plan,
            strategy=strategy,
            profile=hardware,
            progress=progress,
            status=status,
        )
    if report:
        from tickpath.report import write_report

        write_report(report, result)
        result.pop("series", None)
    if as_json:
        json.dump(result, sys.stdout)
        sys.stdout.write("\n")
    else:
        from tickpath.summary import print_replay

        print_replay(result)
    for finding in result["findings"]:
        click.echo(f"tickpath: {finding}", err=True)
    if report:
        click.echo(f"tickpath: report written to {report}", err=True)
    if result.get("interrupted"):
        return 130
    return 1 if result["findings"] else 0
