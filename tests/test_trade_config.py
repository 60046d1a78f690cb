"""The table [trade], and what is said of one that cannot be used."""

import subprocess
import sys

import pytest

from tickpath.config import ConfigError
from tickpath.trade.config import WINDOW_US, TradeConfig, checked, load, several, split


def loaded(tmp_path, text: str) -> TradeConfig:
    path = tmp_path / "trade.toml"
    path.write_text(text)
    return load(path)


def test_defaults(tmp_path):
    config = loaded(tmp_path, "")
    assert config.trade.orders == "127.0.0.1:26400" and config.trade.drop_copy is None
    assert config.fills.model == "exchange"


def test_the_exchange_answers_whatever_the_file_says(tmp_path):
    assert loaded(tmp_path, '[fills]\nmodel = "queue"').fills.model == "exchange"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[trade]\nfeeds = 1", "trade: Object contains unknown field `feeds`"),
        ('[trade]\norders = "host"', "trade.orders: Expected `str` matching regex"),
        ('[trade]\norders = "host:70000"', "trade.orders: host:70000: a port is 1 to 65535"),
        ('[trade]\ndrop_copy = "host:0"', "trade.drop_copy: host:0: a port is 1 to 65535"),
        ('[trade]\nfeed = "name:1"', "trade.feed: name:1: not a dotted IPv4 address"),
        ('[trade]\ninterface = "lo"', "trade.interface: lo: not a dotted IPv4 address"),
        ('[trade]\nrequests = "host"', "trade.requests: host: not HOST:PORT"),
        ('[trade]\nglimpse = ["a:1", "b:0"]', "trade.glimpse: b:0: a port is 1 to 65535"),
        ('[trade]\nspin = { 256 = "a:1" }', "at `key` in `$.trade.spin`"),
        ('[trade.spin]\n1 = ["a:1", "b"]', "trade.spin.1: b: not HOST:PORT"),
        ('[trade]\ngrp = "a:1"', "trade.grp, trade.grp_group: one is of no use without"),
        ('[trade]\ngrp = "a:1"\ngrp_group = "b:1"', "trade.grp_group: b:1: not a dotted IPv4"),
        (
            '[trade]\nglimpse = "a:1"\n[feed]\nformat = "itch50"\n'
            'groups = ["239.1.1.1:1", "239.1.1.2:1"]',
            "trade.glimpse: a snapshot is of all of Nasdaq's books, and ITCH comes on 2 lines: "
            "239.1.1.1:1, 239.1.1.2:1",
        ),
        ('[trade]\nfsync = "often"', "trade.fsync: Invalid enum value 'often'"),
        ("[trade.session]\nmax_queue = 0", "trade.session.max_queue: Expected `int` >= 1"),
        ("[latency]\nsample = 3", "latency.sample: 3 is not a power of two"),
        ("[trade", "not TOML"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, text, error):
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text)
    said = str(caught.value)
    assert said.startswith(str(tmp_path / "trade.toml") + ": ") and error in said
    assert "\n" not in said


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(tmp_path / "none.toml")


def test_addresses():
    assert split("some.host:1234") == ("some.host", 1234)
    assert checked(TradeConfig()).fills.model == "exchange"


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("", ["239.255.77.1:26477"]),
        ('[trade]\nfeed = "239.1.1.1:1"', ["239.1.1.1:1"]),
        ('[feed]\ngroups = ["239.1.1.1:1"]', ["239.1.1.1:1"]),
        (
            '[trade]\nfeed = "239.1.1.1:1"\n[feed]\ngroups = ["239.1.1.2:1", "239.1.1.1:1"]',
            ["239.1.1.1:1", "239.1.1.2:1"],
        ),
        (
            '[trade]\nfeed = "239.1.1.1:1"\n[feed]\ngroups = ["239.1.1.9:1"]\n'
            'lines_b = { "239.1.1.1:1" = "239.1.1.9:1", "239.1.1.3:1" = "239.1.1.8:1" }',
            ["239.1.1.1:1", "239.1.1.3:1"],
        ),
    ],
)
def test_groups_are_lines_a_once_each(tmp_path, text, groups):
    assert loaded(tmp_path, text).feed.groups == groups


def test_the_feed_recovers_and_its_windows_end(tmp_path):
    config = loaded(tmp_path, "")
    assert config.feed.recovers and config.feed.reorder_us == WINDOW_US
    assert loaded(tmp_path, "[feed]\nreorder_us = 70").feed.reorder_us == 70


def test_one_server_or_several(tmp_path):
    trade = loaded(
        tmp_path, '[trade]\nrequests = "a:1"\nglimpse = ["b:2", "c:3"]\nspin = { 1 = "d:4" }'
    ).trade
    assert several(trade.requests) == ("a:1",)
    assert several(trade.glimpse) == ("b:2", "c:3")
    assert several(trade.grp) == () and trade.spin == {"1": "d:4"}


def test_the_process_ends_well(tmp_path):
    """A table that msgspec has read must not crash the interpreter's end."""
    path = tmp_path / "trade.toml"
    path.write_text('[trade]\nrequests = ["a:1", "b:2"]\nspin = { 1 = "d:4" }')
    command = "import sys; from tickpath.trade import config; config.load(sys.argv[1])"
    for _ in range(5):
        subprocess.run([sys.executable, "-c", command, str(path)], check=True)
