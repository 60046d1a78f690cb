"""`tickpath hdl build`: what is generated, what differs, and what a user is told."""

import json
import shutil

import pytest
from click.testing import CliRunner

from tickpath.cli import main
from tickpath_backends.hdl import generate, tree, xls
from tickpath_backends.hdl.command import hdl
from tickpath_backends.hdl.error import HdlError

WITH_XLS = pytest.mark.skipif(xls.why_not() is not None, reason=str(xls.why_not()))


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A copy of hdl/, which the command works on."""
    for folder in ("dslx", "gen"):
        shutil.copytree(tree.root() / folder, tmp_path / "hdl" / folder)
    monkeypatch.setenv(tree.VARIABLE, str(tmp_path / "hdl"))
    xls.forget()
    yield tmp_path / "hdl"
    xls.forget()


def run(*words: str):
    return CliRunner().invoke(hdl, ["build", *words])


@WITH_XLS
def test_what_is_checked_in_is_what_is_generated():
    assert generate.differing() == [], "run: tickpath hdl build"


@WITH_XLS
def test_generating_twice_gives_the_same_bytes(checkout):
    before = {path.name: path.read_bytes() for path in (checkout / "gen").iterdir()}
    shutil.rmtree(checkout / "gen")
    assert sorted(generate.build()) == sorted(before)
    assert {path.name: path.read_bytes() for path in (checkout / "gen").iterdir()} == before
    assert generate.build() == []


@WITH_XLS
def test_check_names_what_differs_and_build_mends_it(checkout):
    changed = checkout / "gen" / "trigger_step.sv"
    changed.write_text(changed.read_text().replace("assign", "assign ", 1))
    (checkout / "gen" / "risk_check.sv").unlink()
    (checkout / "gen" / "gone.sv").write_text("module gone; endmodule\n")
    found = run("--check")
    assert found.exit_code == 1
    assert found.stdout.splitlines() == ["gone.sv", "risk_check.sv", "trigger_step.sv"]
    assert "tickpath hdl build" in found.stderr
    assert run().exit_code == 0
    assert not (checkout / "gen" / "gone.sv").exists()
    again = run("--check", "--json")
    assert again.exit_code == 0
    assert json.loads(again.stdout) == {
        "schema": "tickpath.hdl.build/1",
        "check": True,
        "files": [],
    }


@WITH_XLS
def test_a_changed_source_changes_its_module_only(checkout):
    source = checkout / "dslx" / "trigger.x"
    source.write_text(
        source.read_text().replace("size >= parameters.least", "size > parameters.least")
    )
    assert generate.differing() == ["trigger_step.sv"]


@WITH_XLS
def test_changed_constants_are_named_alone(checkout):
    """Everything else would be compared with what is made of the wrong ones."""
    (checkout / "gen" / "layout.x").write_text("")
    found = run("--check")
    assert (found.exit_code, found.stdout) == (1, "layout.x\n")


@WITH_XLS
def test_a_source_that_is_wrong_is_one_line(checkout):
    (checkout / "dslx" / "trigger.x").write_text("pub fn trigger_step( {")
    found = run()
    assert found.exit_code == 2
    assert found.stderr.startswith("tickpath: trigger.x: ") and found.stderr.count("\n") == 1


def test_without_xls_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(xls, "VERSION", "9.9")
    for words in ((), ("--check",)):
        found = run(*words)
        assert found.exit_code == 2 and found.stdout == ""
        assert found.stderr.count("\n") == 1 and "pip install 'tickpath[hdl]'" in found.stderr
    with pytest.raises(HdlError, match=r"9\.9"):
        xls.api()


def test_without_a_checkout_it_says_where_it_looked(tmp_path, monkeypatch):
    monkeypatch.setenv(tree.VARIABLE, str(tmp_path))
    with pytest.raises(HdlError, match=tree.VARIABLE):
        tree.root()


@WITH_XLS
def test_what_cannot_be_scheduled_says_so():
    with pytest.raises(HdlError, match=r"ouch\.ouch50_encode: .*clock period"):
        xls.verilog(xls.Kernel("ouch", "ouch50_encode", 1))


# ---------------------------------------------------------------- the command line's hook


class Entry:
    """An entry point that gives, or raises, what it is made with."""

    value = "elsewhere:command"

    def __init__(self, name, found):
        self.name, self.found = name, found

    def load(self):
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


@pytest.fixture
def entries(monkeypatch):
    """The entry points of the group, set by a test."""
    given: list[Entry] = []

    def find(group, name=None):
        assert group == "tickpath.commands"
        return [each for each in given if name in (None, each.name)]

    monkeypatch.setattr("tickpath.cli.entry_points", find)
    return given


def test_commands_of_others_are_found_by_entry_point(entries):
    entries.append(Entry("hdl", hdl))
    found = CliRunner().invoke(main, ["--help"])
    assert "hdl " in found.stdout and "replay " in found.stdout
    assert "--check" in CliRunner().invoke(main, ["hdl", "build", "--help"]).stdout


def test_our_own_commands_go_before_others(entries):
    entries.append(Entry("doctor", hdl))
    assert "machine can run" in CliRunner().invoke(main, ["doctor", "--help"]).stdout


def test_a_command_that_cannot_be_loaded_is_one_line(entries):
    entries.append(Entry("theirs", ImportError("no module x")))
    found = CliRunner().invoke(main, ["theirs", "--any", "thing"])
    assert found.exit_code == 2 and found.stderr.count("\n") == 1
    assert "theirs: elsewhere:command cannot be loaded: ImportError: no module x" in found.stderr
    assert CliRunner().invoke(main, ["--help"]).exit_code == 0


def test_a_word_that_is_no_command_is_refused(entries):
    assert CliRunner().invoke(main, ["nothing"]).exit_code == 2
