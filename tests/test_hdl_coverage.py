"""Functional coverage: bins that are declared, hit, missed, or cannot be hit."""

import json

import pytest

from tickpath_backends.hdl import coverage
from tickpath_backends.hdl.coverage import Coverage
from tickpath_backends.hdl.error import HdlError


def made():
    found = Coverage("block")
    found.declare("type in lane", [(t, lane) for t in "AX" for lane in range(2)])
    found.declare("odd", ["far"], {"never": "the window has no such edge"})
    return found


def test_what_is_hit_is_counted_and_the_rest_is_missing():
    bins = made()
    bins.hit("type in lane", ("A", 0))
    bins.hit("type in lane", ("A", 0), times=4)
    bins.hit("odd", "far")
    assert bins.missing() == [f"type in lane: {each}" for each in [("A", 1), ("X", 0), ("X", 1)]]
    report = bins.report()
    assert report["groups"]["type in lane"]["bins"]["('A', 0)"] == 5
    assert coverage.totals(report) == (2, 5, 1)


def test_finish_writes_the_counts_and_fails_where_a_bin_is_missing(tmp_path):
    bins = made()
    bins.hit("odd", "far")
    with pytest.raises(AssertionError, match="4 bins were not hit: type in lane"):
        bins.finish(tmp_path)
    assert coverage.read(tmp_path) == bins.report()
    for each in [("A", 0), ("A", 1), ("X", 0), ("X", 1)]:
        bins.hit("type in lane", each)
    bins.finish(tmp_path)
    assert coverage.read(tmp_path)["missing"] == []


def test_bins_are_said_before():
    bins = made()
    with pytest.raises(HdlError, match="no bin 'near' in 'odd'"):
        bins.hit("odd", "near")
    with pytest.raises(HdlError, match="no bin"):
        bins.hit("other", "far")
    with pytest.raises(HdlError, match="never was hit, but the window has no such edge"):
        bins.hit("odd", "never")
    with pytest.raises(HdlError, match="unreachable, but why"):
        bins.declare("odd", (), {"nothing": ""})


def test_figures_keep_their_least_most_and_usual():
    bins = Coverage("block")
    for value, times in ((19, 5), (21, 1), (18, 2)):
        bins.measured("word to word", value, times=times)
    assert bins.report()["measured"]["word to word"] == {
        "unit": "cycles",
        "least": 18,
        "most": 21,
        "usual": 19,
        "count": 8,
    }


def test_a_file_that_is_none(tmp_path):
    assert coverage.read(tmp_path) is None
    for text in ("{", "[]", json.dumps({"schema": "other/1"})):
        (tmp_path / coverage.FILE).write_text(text)
        with pytest.raises(HdlError, match="run: tickpath hdl sim"):
            coverage.read(tmp_path)
