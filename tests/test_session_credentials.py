"""Credentials: where they may come from, and that nothing ever shows a password."""

import copy
import os
import pickle

import pytest

from tickpath.session import credentials
from tickpath.session.credentials import Secret, from_environment, from_file, load_credentials
from tickpath.session.error import SessionError

PASSWORD = "pa55word"
GOOD = f'username = "user"\npassword = "{PASSWORD}"\n'


def written(tmp_path, content: str | bytes = GOOD, mode: int = 0o600):
    path = tmp_path / "credentials.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)
    return path


def refused(call, *arguments) -> str:
    with pytest.raises(SessionError) as raised:
        call(*arguments)
    assert PASSWORD not in str(raised.value)
    assert raised.value.__cause__ is None and raised.value.__suppress_context__ in (True, False)
    return str(raised.value)


def test_from_a_file(tmp_path):
    found = from_file(written(tmp_path))
    assert found.username == "user" and found.password.reveal() == PASSWORD
    assert from_file(written(tmp_path, mode=0o400)) is not None
    assert load_credentials(written(tmp_path), {}).username == "user"


def test_from_the_environment():
    values = {"TICKPATH_USERNAME": "user", "TICKPATH_PASSWORD": PASSWORD}
    for found in (from_environment(values), load_credentials(None, values)):
        assert found.username == "user" and found.password.reveal() == PASSWORD


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, "TICKPATH_USERNAME and TICKPATH_PASSWORD not set in the environment; set them, or"),
        ({"TICKPATH_USERNAME": "user"}, "TICKPATH_PASSWORD not set in the environment; set it, or"),
        (
            {"TICKPATH_USERNAME": "", "TICKPATH_PASSWORD": PASSWORD},
            "TICKPATH_USERNAME not set in the environment; set it, or",
        ),
    ],
)
def test_environment_without_them(values, expected):
    assert expected in refused(from_environment, values)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o602, 0o601, 0o777])
def test_file_that_others_can_use(tmp_path, mode):
    path = written(tmp_path, mode=mode)
    assert refused(from_file, path) == (
        f"credentials {path}: others can use it (mode {mode:04o}); run: chmod 600 {path}"
    )


def test_file_of_another_user(tmp_path, monkeypatch):
    path = written(tmp_path)
    monkeypatch.setattr(credentials.os, "geteuid", lambda: os.stat(path).st_uid + 1)
    assert "belongs to another user; run: chown" in refused(from_file, path)


def test_link_is_judged_by_what_it_points_to(tmp_path):
    path, link = written(tmp_path, mode=0o644), tmp_path / "link"
    link.symlink_to(path)
    assert "others can use it" in refused(from_file, link)
    path.chmod(0o600)
    assert from_file(link).username == "user"


def test_what_is_no_such_file(tmp_path):
    assert "cannot be opened: No such file" in refused(from_file, tmp_path / "nowhere")
    assert "not a regular file" in refused(from_file, tmp_path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert "not a regular file" in refused(from_file, tmp_path / "pipe")
    assert "more than 4096 bytes" in refused(from_file, written(tmp_path, GOOD + "#" * 5000))


@pytest.mark.parametrize(
    "content",
    [
        "",
        'username = "user"\n',
        f'{GOOD}extra = "{PASSWORD}"\n',
        f"username = user\npassword = {PASSWORD}\n",
        f'username = "user"\npassword = ["{PASSWORD}"]\n',
        f"user:{PASSWORD}\n",
        b"\xff\xfe" + PASSWORD.encode(),
    ],
)
def test_file_that_says_something_else(tmp_path, content):
    assert "takes exactly two lines" in refused(from_file, written(tmp_path, content))


@pytest.mark.parametrize(
    ("username", "password", "expected"),
    [
        ("toolong", PASSWORD, "the username has 1 to 6 printable ASCII characters"),
        ("user", PASSWORD + "123", "the password has 1 to 10 printable ASCII characters"),
        ("user", "tab\\there", "the password has 1 to 10"),
        ("user", "\N{SNOWMAN}", "the password has 1 to 10"),
        ("", PASSWORD, "the username has 1 to 6"),
    ],
)
def test_what_does_not_fit_a_login(tmp_path, username, password, expected):
    path = written(tmp_path, f'username = "{username}"\npassword = "{password}"\n')
    assert expected in refused(from_file, path)


def test_secret_shows_itself_to_nobody(tmp_path):
    secret = Secret(PASSWORD)
    found = from_file(written(tmp_path))
    shown = f"{secret} {secret!r} {secret!s} {secret:>20} {found} {[secret]} { ({'a': secret}) }"
    assert PASSWORD not in shown
    for copier in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not pickled"):
            copier(secret)
    with pytest.raises(AttributeError) as raised:
        secret.other = 1
    assert PASSWORD not in str(raised.value)


def test_secrets_are_compared_without_being_shown():
    assert Secret(PASSWORD).equals(PASSWORD) and Secret(PASSWORD).equals(Secret(PASSWORD))
    assert not Secret(PASSWORD).equals("") and not Secret("\xfc").equals("u")
