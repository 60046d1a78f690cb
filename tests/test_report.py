"""Reports: complete, self-contained, escaped, and honest about what is left out."""

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from tickpath.report import (
    ReportError,
    figures,
    require_plotly,
    units,
    write_bench_report,
    write_report,
)
from tickpath.report.bench import bench_page
from tickpath.report.findings import findings
from tickpath.report.markup import Page
from tickpath.report.replay import replay_page
from tickpath.report.units import NOTHING

pytest.importorskip("plotly", reason="the reports need plotly")

HOSTILE = "</script><script>alert('x')</script><img src=x onerror=alert(1)>\"'&<b>&lt;"
VOID = {"meta", "br", "img", "input", "link", "hr"}


def summary(median, count=1000):
    names = ("min", "p50", "p90", "p99", "p99_9", "p99_99", "max", "mean")
    return {"count": count, **{name: median * (n + 1) for n, name in enumerate(names)}}


def histogram(median):
    return {"value_ns": [median, 2 * median, 50 * median], "count": [900, 99, 1]}


def replay_result():
    return {
        "schema": "tickpath.replay/1",
        "backend": "software",
        "sources": [f"/captures/{HOSTILE}.pcap"],
        "packets": 400,
        "messages": 1_234_567,
        "messages_by_type": {"A": 1_000_000, "D": 234_560, "order_replace": 7, HOSTILE: 1, "S": 0},
        "counters": {"packets": 400, "gaps": 2, "gap_messages": 37, HOSTILE: 5, "crossed_book": 0},
        "symbols": 12,
        "orders_live": 77,
        "book_digest": "00c0ffee00c0ffee",
        "state_digest": "0123456789abcdef",
        "throughput": {"ns_per_message": 74.25, "messages_per_second": 13_468_013, "seconds": 0.09},
        "latency_ns": {
            "tick_to_order": summary(310),
            "response": summary(900),
            "stages": {"book": summary(90), "risk": summary(20), HOSTILE: summary(7)},
        },
        "orders": {
            "sent": 1000,
            "rejected": 43,
            "rejects_by_code": {"PRICE_COLLAR": 42, HOSTILE: 1},
        },
        "gaps": [{"session": HOSTILE, "first": 5, "last": 9}],
        "lines": [{"session": HOSTILE, "first": 1, "missing": 5, "ended": True}],
        "findings": [HOSTILE],
        "strategy": HOSTILE,
        "pace": 8.0,
        "environment": {"date": HOSTILE, "cpu": {HOSTILE: HOSTILE, "caches": {"L1d": HOSTILE}}},
        "series": {
            "histograms": {
                "tick_to_order": histogram(310),
                "response": histogram(900),
                "book": histogram(90),
                "encode": {"value_ns": [], "count": []},
                HOSTILE: histogram(7),
            },
            "timeline": {
                "t_s": [0.1, 0.2, 0.4],
                "messages": [100, 200, 300],
                "orders": [1, 0, 3],
                "tick_to_order_ns_p50": [310, None, 320],
                "tick_to_order_ns_p99": [900, None, 950],
                "tick_to_order_ns_max": [5000, None, 0],
            },
            "symbols": [{"symbol": HOSTILE, "messages": 5, "orders": 1, "last_px": 289.91}],
        },
    }


def bench_result():
    return {
        "schema": "tickpath.bench/1",
        "results": [
            {"name": "decode", "ns_per_message": 9.1, "messages_per_second": 1.1e8}
            | {"runs": [9.0, 9.1, 9.5], "verified": True, "note": HOSTILE},
            {"name": HOSTILE, "ns_per_message": 300, "messages_per_second": 3.3e6}
            | {"runs": [], "verified": None, "note": None},
            {"name": "absent", "ns_per_message": None, "messages_per_second": None},
        ],
        "curves": [
            {"name": "a", "x_label": "live_orders", "x": [1e5, 1e7], "ns_per_message": [31, 58]},
            {"name": HOSTILE, "x_label": HOSTILE, "x": [1, 2], "ns_per_message": [31, 58]},
        ],
        "latency": {"tick to order": histogram(310), HOSTILE: histogram(9)},
        "environment": {"date": "2019-12-30", "cpu": {"model": "X"}},
    }


class Document(HTMLParser):
    """Elements, attributes and text of a page; fails where an element is not closed in order."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.text, self.scripts = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif self.open and self.open[-1] != "style":
            self.text.append(data)

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    directory = tmp_path_factory.mktemp("report")
    replay, bench = directory / "replay.html", directory / "bench.html"
    assert write_report(replay, replay_result()) == replay
    assert write_bench_report(bench, bench_result()) == bench
    assert sorted(path.name for path in directory.iterdir()) == ["bench.html", "replay.html"]
    return {"replay": replay, "bench": bench}


@pytest.mark.parametrize("which", ["replay", "bench"])
def test_self_contained(pages, which):
    """Nothing is loaded: no element refers anywhere, no style either, and a policy forbids it."""
    text = pages[which].read_text(encoding="utf-8")
    document = Document(text)
    names = {tag for tag, _ in document.elements}
    assert not names & {"link", "img", "iframe", "object", "embed", "a", "base", "form"}
    loading = {"src", "href", "srcset", "data", "action", "poster", "background"}
    for tag, attributes in document.elements:
        assert not loading & set(attributes), tag
        assert not [name for name in attributes if name.startswith("on")], tag
    style = text.partition("<style>")[2].partition("</style>")[0]
    assert style and "url(" not in style and "@import" not in style
    policy = [each.get("content") for tag, each in document.elements if "http-equiv" in each]
    assert len(policy) == 1
    assert policy[0].startswith("default-src 'none'; script-src 'unsafe-inline';")
    assert "http" not in policy[0]
    assert len([tag for tag, _ in document.elements if tag == "script"]) == 3


@pytest.mark.parametrize("which", ["replay", "bench"])
def test_hostile_strings_are_text(pages, which):
    document = Document(pages[which].read_text(encoding="utf-8"))
    assert HOSTILE in "".join(document.text)
    assert "alert('x')" not in "".join(document.scripts[1:])
    drawn = json.loads(document.scripts[0])
    shown = json.dumps(drawn)
    # Plotly reads markup too: there it stands escaped a second time, and never as it came.
    assert "&lt;script&gt;" in shown
    assert "<script" not in shown and "<img" not in shown


def test_figures_cannot_close_their_script():
    page = Page("title", "subtitle")
    page.plot({"layout": {"height": 1}, "data": [{"name": HOSTILE + "</script x"}]}, HOSTILE)
    script = Document(page.render()).scripts[0]
    assert "<" not in script
    assert json.loads(script) == page.figures


def test_hostile_strings_from_the_file_system(tmp_path):
    result = replay_result() | {"sources": [b"\xff\xfe.pcap".decode("utf-8", "surrogateescape")]}
    write_report(tmp_path / "x.html", result)
    Document((tmp_path / "x.html").read_text(encoding="utf-8"))


def every_figure():
    for page in (replay_page(replay_result()), bench_page(bench_result())):
        yield from page.figures


def test_figures_are_valid_plotly():
    """Plotly's own validation, with colours in the place of the style sheet's names."""
    import plotly.graph_objects as go

    count = 0
    for figure in every_figure():
        text = re.sub(r"var\(--[a-z0-9-]+\)", "#123456", json.dumps(figure))
        go.Figure(json.loads(text))
        count += 1
    assert count == 3 + 4


def test_colours_exist_in_both_schemes(pages):
    text = pages["replay"].read_text(encoding="utf-8")
    style = text.partition("<style>")[2].partition("</style>")[0]
    light, dark = style.split("@media (prefers-color-scheme: dark)")
    used = set(re.findall(r"var\((--[a-z0-9-]+)\)", json.dumps(list(every_figure())) + style))
    used |= {f"--series-{n}" for n in range(figures.SERIES)}
    for name in used:
        assert f"{name}:" in light and f"{name}:" in dark, name


def test_replay_contents(pages):
    text = pages["replay"].read_text(encoding="utf-8")
    words = Document(text).words
    for phrase in (
        "tickpath replay",
        "backend software",
        "pace 8 x the capture's",
        "13.5 M",
        "74.2 ns a message",
        "1,000 measured",
        "43 rejected by risk",
        "Messages missing from the feed (sequence gaps): 37",
        "A add order no mpid attribution 1,000,000 81.0 %",
        "U order replace 7 <0.01 %",
        "PRICE_COLLAR",
        "Counters at zero: 1 counter count crossed_book 0",
        "289.9100",
        "Response time",
        "Missing ranges of sequence numbers: 1",
    ):
        assert phrase in words, phrase
    assert re.findall(r"<h2>(.*?)</h2>", text) == [
        "Latency by percentile",
        "Stages",
        "Latency table",
        "Over time",
        "Message mix",
        "Rejected order intents",
        "Busiest symbols",
        "Counters",
        "Lines",
        "Environment",
        "What the words mean",
    ]
    assert "Left out" not in words


def test_bench_contents(pages):
    words = Document(pages["bench"].read_text(encoding="utf-8")).words
    for phrase in (
        "decode right",
        "not checked",
        "9.1 ns 110 M 3 9 ns to 9.5 ns",
        "Over live orders",
        "Latency by percentile",
    ):
        assert phrase in words, phrase


@pytest.mark.parametrize(
    ("drop", "phrase"),
    [
        (("series", "histograms"), "Latency by percentile Left out: no histogram"),
        (("series", "timeline"), "Over time Left out: the result has no timeline"),
        (("series", "symbols"), "Busiest symbols Left out: the result lists no symbols"),
        (("series",), "Over time Left out: the result has no timeline"),
        (("latency_ns", "stages"), "Stages Left out: no stage of the result holds"),
        (("latency_ns",), "Stages Left out: no stage of the result holds"),
        (("messages_by_type",), "Message mix Left out: the result has none."),
        (("orders",), "Rejected order intents Left out: the result counts none."),
        (("counters",), "Counters Left out: the result has no counters."),
        (("environment",), "Environment Left out: the result does not say"),
        (("throughput",), f"messages per second {NOTHING}"),
    ],
)
@pytest.mark.parametrize("null", [True, False])
def test_left_out(drop, phrase, null):
    result = replay_result()
    place = result
    for key in drop[:-1]:
        place = place[key]
    if null:
        place[drop[-1]] = None
    else:
        del place[drop[-1]]
    assert phrase in Document(replay_page(result).render()).words


def test_smallest_results():
    words = Document(replay_page({"schema": "tickpath.replay/1"}).render()).words
    assert "no source named" in words and "No findings" not in words
    words = Document(bench_page({"schema": "tickpath.bench/1"}).render()).words
    assert "the result lists no contestant" in words


def test_without_orders():
    """No tick to order: dashes, no empty row in the timeline, and the other colours stay."""
    result = replay_result()
    with_orders = replay_page(result).figures
    nothing = dict.fromkeys(summary(1)) | {"count": 0}
    result["latency_ns"] |= {"tick_to_order": nothing, "response": None}
    result["series"]["histograms"]["tick_to_order"] = {"value_ns": [], "count": []}
    for name in ("p50", "p99", "max"):
        result["series"]["timeline"][f"tick_to_order_ns_{name}"] = [None, None, None]
    page = replay_page(result)
    words = Document(page.render()).words
    assert f"tick to order, median {NOTHING} no orders" in words
    assert "no order was sent, so there are the stages only" in words
    assert "yaxis3" in with_orders[2]["layout"] and "yaxis3" not in page.figures[2]["layout"]

    def colours(figure):
        return {each["name"]: each["line"]["color"] for each in figure["data"]}

    before, after = colours(with_orders[0]), colours(page.figures[0])
    assert set(before) - set(after) == {"tick to order"}
    assert after.items() <= before.items()


def test_cycles():
    result = replay_result()
    result["latency_cycles"] = {"tick_to_order": summary(17), "stages": {"parse": summary(4)}}
    words = Document(replay_page(result).render()).words
    assert "Latency in cycles" in words and "parse 1,000 4 8 12" in words


def test_numpy_values(tmp_path):
    result = replay_result()
    result["messages"] = np.uint64(5)
    result["series"]["histograms"]["book"] = {
        "value_ns": np.array([1, 2], np.uint64),
        "count": np.array([3, 4], np.uint64),
    }
    timeline = result["series"]["timeline"]
    timeline |= {name: np.array(column, np.float64) for name, column in timeline.items()}
    write_report(tmp_path / "x.html", result)


# ---------------------------------------------------------------- findings


def test_findings():
    result = {
        "interrupted": True,
        "findings": ["a.pcap: truncated at byte 7", "strategy x raised and was latched off: y"],
        "violations": 3,
        "counters": {
            "packets": 5,
            "strategy_raised": 1,
            "capture_bytes_truncated": 12,
            "mold_truncated": 2,
            "crossed_book": 9,
            "wrong_length": 0,
            "line": {"something_new_invalid": 4},
        },
    }
    assert findings(result) == [
        "The run was interrupted: everything here covers the part that was done until then.",
        "a.pcap: truncated at byte 7",
        "strategy x raised and was latched off: y",
        "Packets that ended inside a message: 2.",
        "Counter line.something_new_invalid: 4.",
        "The checked accessors refused 3 memory access(es).",
    ]


def test_findings_without_statements():
    counters = {"strategy_raised": 1, "capture_bytes_truncated": 12}
    assert findings({"counters": counters}) == [
        "The strategy raised: it was latched off, and its order intents of that message were"
        " dropped.",
        "Counter capture_bytes_truncated: 12.",
    ]


def test_no_findings_are_said_so():
    result = replay_result() | {"findings": [], "counters": {"packets": 5, "gaps": 0}}
    words = Document(replay_page(result).render()).words
    assert "No findings. Nothing was truncated, no gap was seen" in words


def test_wrong_answer_is_a_finding():
    result = bench_result()
    result["results"][0]["verified"] = False
    words = Document(bench_page(result).render()).words
    assert "decode: the answer was wrong" in words and "decode wrong" in words


# ---------------------------------------------------------------- curves


def test_percentile_points():
    x, y = figures.percentile_points([10, 20, 500], [90, 9, 1])
    assert x == pytest.approx([1, 10, 100, 100])
    assert y == [10, 20, 500, 500]


def test_percentile_points_keep_the_worst():
    """Of values too close to draw apart the largest stands, and the curve ends at the count."""
    count = 1_000_000
    x, y = figures.percentile_points(list(range(1, count + 1)), [1] * count)
    assert len(x) <= 6 * figures.POINTS_PER_DECADE + 2
    assert (x[0], x[-1], y[-1]) == (1.0, count, count)
    assert x == sorted(x) and y == sorted(y)
    # At each drawn place the curve shows at least the true value there.
    assert all(ns + 1 >= count * (1 - 1 / inverse) for inverse, ns in zip(x, y, strict=True))


def test_percentile_points_of_nothing():
    assert figures.percentile_points([], []) == ([], [])
    assert figures.percentile_points([0], [5]) == ([1.0, 5.0], [1.0, 1.0])


def test_timeline_rates():
    """Counts become rates over the length of their own interval; ``t_s`` is its end."""
    found = figures.timeline(replay_result()["series"]["timeline"])["data"]
    assert found[0]["x"] == [0.0, 0.1, 0.2, 0.4]
    assert found[0]["y"] == pytest.approx([1000, 1000, 2000, 1500])
    assert found[2]["y"] == [310, 310, None, 320]
    assert found[4]["y"][-1] == 1.0


# ---------------------------------------------------------------- units


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, NOTHING),
        (float("nan"), NOTHING),
        ("x", NOTHING),
        (0, "0 ns"),
        (0.25, "0.25 ns"),
        (7, "7 ns"),
        (74.25, "74.2 ns"),
        (412, "412 ns"),
        (999.4, "999 ns"),
        (999.6, "1 µs"),
        (1234, "1.23 µs"),
        (45_678, "45.7 µs"),
        (999_999, "1 ms"),
        (2.5e9, "2.5 s"),
        (1e13, "10,000 s"),
    ],
)
def test_nanoseconds(value, text):
    assert units.nanoseconds(value) == text


@pytest.mark.parametrize(
    ("inverse", "text"),
    [(1, "0 %"), (2, "50 %"), (10, "90 %"), (100, "99 %"), (1000, "99.9 %"), (1e6, "99.9999 %")],
)
def test_percentile_text(inverse, text):
    assert units.percentile(inverse) == text


def test_other_units():
    assert units.size(1536 * 1024**2) == "1.5 GiB"
    assert units.magnitude(13_468_013) == "13.5 M"
    assert units.whole(1234567) == "1,234,567"
    assert units.share(1, 8) == "12.5 %"
    assert units.share(1, 100_000) == "<0.01 %"
    assert units.share(1, 0) == NOTHING


# ---------------------------------------------------------------- errors


def test_the_digests_are_told():
    words = Document(replay_page(replay_result()).render()).words
    assert "book digest 00c0ffee00c0ffee" in words and "state digest 0123456789abcdef" in words


def test_other_schema(tmp_path):
    with pytest.raises(ReportError, match=r"not a tickpath\.replay/1 result"):
        write_report(tmp_path / "x.html", bench_result())
    with pytest.raises(ReportError, match=r"not a tickpath\.bench/1 result"):
        write_bench_report(tmp_path / "x.html", {})
    assert list(tmp_path.iterdir()) == []


def test_unwritable(tmp_path):
    with pytest.raises(ReportError, match="cannot write the report: No such file"):
        write_report(tmp_path / "no" / "x.html", replay_result())
    (tmp_path / "directory").mkdir()
    with pytest.raises(ReportError, match="cannot write the report"):
        write_report(tmp_path / "directory", replay_result())
    assert [path.name for path in tmp_path.iterdir()] == ["directory"]


def test_without_plotly(tmp_path, monkeypatch):
    require_plotly()
    monkeypatch.setitem(sys.modules, "plotly", None)
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(ReportError, match=r"pip install 'tickpath\[report\]'"):
        write_report(tmp_path / "x.html", replay_result())
    monkeypatch.setattr("tickpath.report.find_spec", lambda name: None)
    with pytest.raises(ReportError, match=r"pip install 'tickpath\[report\]'"):
        require_plotly()
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- in a browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
OFFLINE = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--virtual-time-budget=10000",
    "--dump-dom",
]


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.parametrize(("which", "plots"), [("replay", 3), ("bench", 4)])
def test_in_a_browser(pages, tmp_path, which, plots):
    """Every figure is drawn, no script complains, nothing hostile became an element."""
    command = [CHROMIUM, *OFFLINE, f"--user-data-dir={tmp_path}", pages[which].as_uri()]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "CONSOLE" not in run.stderr, [x for x in run.stderr.splitlines() if "CONSOLE" in x]
    assert len(re.findall(r'class="plot js-plotly-plot"', run.stdout)) == plots
    body = run.stdout.partition("<body>")[2]
    assert "<img" not in re.sub(r"<script.*?</script>", "", body, flags=re.DOTALL)
