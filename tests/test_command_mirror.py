"""`tickpath mirror`: what a user gets wrong is one line, before anything is sent."""

import pytest

from sessions import tickpath

RECEIVE = ("mirror", "receive", "--ring", "r", "--name", "a")
SOURCE = ("--source", "127.0.0.1:7")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*RECEIVE, "--source", "nonsense"), "nonsense: not HOST:PORT"),
        ((*RECEIVE, "--source", "127.0.0.1:70000"), "127.0.0.1:70000: not HOST:PORT"),
        ((*RECEIVE, *SOURCE, "--group", "1.2.3.4:5"), "--group 1.2.3.4:5: no multicast group"),
        ((*RECEIVE, *SOURCE, "--feed", "none.toml"), "none.toml: cannot be read"),
        (
            ("mirror", "send", "--ring", "none", "--listen", "127.0.0.1:7"),
            "none: No such file or directory; is the other engine running?",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    result = tickpath(*arguments, code=2)
    assert said in result.stderr and result.stderr.count("\n") == 1
