"""The native parts: headers that are current, builds that succeed, and builds that cannot."""

import importlib.util
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tickpath.backend import RUN, TransportError
from tickpath.packet import PACKET
from tickpath.wire.frame import FRAME
from tickpath_backends import build, headers, native

ROOT = Path(__file__).resolve().parents[1]
TRANSPORTS = ("udp", "afxdp", "dpdk")
BUILDABLE = [name for name in build.PACKAGES if build.lacking(name) is None]
needs_compiler = pytest.mark.skipif("udp" not in BUILDABLE, reason=str(build.lacking("udp")))
PATHS = f"{ROOT}/pipeline{os.pathsep}{ROOT}/backends"


@pytest.fixture(autouse=True)
def no_demands(monkeypatch):
    monkeypatch.delenv(build.STRICT, raising=False)


# ---------------------------------------------------------------- headers


@pytest.mark.parametrize("name", list(headers.HEADERS))
def test_checked_in_headers_are_what_the_tables_give(name):
    assert (headers.NATIVE / name).read_text() == headers.HEADERS[name]()


@needs_compiler
def test_c_sees_the_records_that_python_declares(tmp_path):
    """A compiled program prints every offset and size; nothing of cffi is involved."""
    lines = ['printf("%zu\\n", sizeof(struct packet));']
    for name in PACKET.names:
        lines.append(f'printf("%zu %zu\\n", offsetof(struct packet, {name}), M({name}));')
    for message in FRAME.messages:
        lines.append(f'printf("%d\\n", {message.name.upper()}_SIZE);')
        for field in message.fields:
            constant = f"{message.name.upper()}_{field.name.upper()}_OFFSET"
            lines.append(f'printf("%d\\n", {constant});')
    source = tmp_path / "offsets.c"
    source.write_text(
        '#include "packet.h"\n#include "frame.h"\n#include <stddef.h>\n#include <stdio.h>\n'
        "#define M(name) sizeof(((struct packet *)0)->name)\n"
        "int main(void) {\n" + "\n".join(lines) + "\nreturn 0; }\n"
    )
    program = tmp_path / "offsets"
    compiler = build._compiler()
    command = [*compiler, f"-I{build.NATIVE}", str(source), "-o", str(program)]
    subprocess.run(command, check=True)
    printed = subprocess.run([program], capture_output=True, text=True, check=True).stdout.split()
    expected = [PACKET.itemsize]
    for name in PACKET.names:
        dtype, offset = PACKET.fields[name][:2]
        expected += [offset, dtype.itemsize]
    for message in FRAME.messages:
        expected += [message.length, *(field.offset for field in message.fields)]
    assert [int(number) for number in printed] == expected


# ---------------------------------------------------------------- building


@needs_compiler
@pytest.mark.parametrize("name", BUILDABLE)
def test_it_builds_without_a_warning(name, tmp_path, capfd):
    made = build.build(name, tmp_path)
    assert made.name == f"_{name}{sysconfig.get_config_var('EXT_SUFFIX')}"
    assert capfd.readouterr() == ("", "")
    spec = importlib.util.spec_from_file_location(f"tickpath_backends._{name}", made)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.ffi.string(module.lib.SOURCES).decode() == build.sources_digest(name)
    if name in TRANSPORTS:
        assert all(native.address(module, f"{name}_{each}") for each in ("poll", "release", "send"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [made.name]


def test_without_a_compiler(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("CC", "/nonexistent")
    reason, command = build.lacking("udp")
    assert reason == "there is no C compiler (/nonexistent)"
    assert command == f"{build.COMPILER} && {build.COMMAND} udp"
    with pytest.raises(build.BuildError, match="udp: there is no C compiler"):
        build.build("udp", tmp_path)
    assert build.main(["udp"]) == 1
    assert "run: sudo apt-get install gcc" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@needs_compiler
def test_without_the_library(monkeypatch, tmp_path):
    (tmp_path / "dpdk.c").write_text("")
    monkeypatch.setattr(build, "NATIVE", tmp_path)
    monkeypatch.setenv("PKG_CONFIG", "/nonexistent")
    reason, command = build.lacking("dpdk")
    assert reason == "libdpdk is not installed"
    assert command == f"{build.LIBRARIES['libdpdk']} && {build.COMMAND} dpdk"


def test_without_the_sources(monkeypatch, tmp_path):
    """As in a wheel that was built without a compiler."""
    monkeypatch.setattr(build, "NATIVE", tmp_path)
    assert build.lacking("udp") == ("its C source is not here", "pip install -e CHECKOUT")


@needs_compiler
def test_a_source_that_does_not_compile_is_said_and_leaves_nothing(monkeypatch, tmp_path):
    sources, target = tmp_path / "native", tmp_path / "target"
    sources.mkdir()
    target.mkdir()
    for path in build.NATIVE.glob("*.h"):
        (sources / path.name).write_text(path.read_text())
    (sources / "udp.c").write_text("this is no C\n")
    monkeypatch.setattr(build, "NATIVE", sources)
    with pytest.raises(build.BuildError, match=r"udp: .* failed:\n.*udp\.c:1"):
        build.build("udp", target)
    assert not list(target.iterdir())


def test_a_name_that_has_no_native_part(capsys, monkeypatch):
    assert build.main(["file"]) == 2
    assert "'file' has no native part; known: udp, afxdp, dpdk" in capsys.readouterr().err
    monkeypatch.setenv(build.STRICT, "udp,nothing")
    with pytest.raises(build.BuildError, match="TICKPATH_TRANSPORTS: 'nothing' has no native"):
        build.required()


@pytest.mark.parametrize(
    ("text", "names"),
    [("", set()), ("udp", {"udp"}), (" udp , afxdp,", {"udp", "afxdp"})],
)
def test_what_the_environment_demands(monkeypatch, text, names):
    monkeypatch.setenv(build.STRICT, text)
    assert build.required() == names


# ---------------------------------------------------------------- installing


def _setup(tmp_path: Path, **variables: str) -> subprocess.CompletedProcess:
    pytest.importorskip("setuptools")
    command = [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", str(tmp_path / "lib")]
    command += ["--build-temp", str(tmp_path / "temp")]
    environment = {**os.environ, "PYTHONPATH": "", **variables}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    done.made = sorted(path.name.split(".")[0] for path in (tmp_path / "lib").rglob("_*"))
    return done


@needs_compiler
def test_an_installation_builds_what_it_can(tmp_path):
    done = _setup(tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.made == sorted(f"_{name}" for name in BUILDABLE)
    for name in set(build.PACKAGES) - set(BUILDABLE):
        assert f"tickpath: {name} is left out: " in done.stderr


def test_an_installation_without_a_compiler_succeeds(tmp_path):
    done = _setup(tmp_path, CC="/nonexistent")
    assert done.returncode == 0, done.stderr
    assert done.made == []
    assert "udp is left out: there is no C compiler" in done.stderr


def test_an_installation_that_must_have_it_fails(tmp_path):
    done = _setup(tmp_path, CC="/nonexistent", TICKPATH_TRANSPORTS="udp")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "tickpath: TICKPATH_TRANSPORTS: udp: there is no C compiler (/nonexistent); run: sudo"
    )


@needs_compiler
def test_a_compiler_that_fails_is_fatal_only_where_it_must_not(tmp_path):
    """It is found, but compiles nothing."""
    assert _setup(tmp_path / "may", CC="false").returncode == 0
    assert _setup(tmp_path / "must", CC="false", TICKPATH_TRANSPORTS="afxdp").returncode != 0


# ---------------------------------------------------------------- loading


def _why_not(name: str, prelude: str = "", **variables: str) -> str:
    code = f"{prelude}\nfrom tickpath_backends import native\nprint(native.why_not({name!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": PATHS, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


HIDDEN = "import sys\nsys.modules['tickpath_backends._udp'] = None"


def test_a_part_that_is_not_built_names_the_command():
    reason, _, command = _why_not("udp", HIDDEN).partition(RUN)
    assert reason.startswith("its native part is not built")
    assert command.endswith(f"{build.COMMAND} udp")
    reason, _, command = _why_not("udp", HIDDEN, CC="/nonexistent").partition(RUN)
    assert reason == "its native part is not built: there is no C compiler (/nonexistent)"
    assert command == f"{build.COMPILER} && {build.COMMAND} udp"


@pytest.mark.skipif(native.why_not("udp") is not None, reason=native.why_not("udp") or "")
def test_a_part_that_was_built_from_other_sources_is_refused(monkeypatch):
    monkeypatch.setattr(build, "sources_digest", lambda name: "0" * 16)
    reason = native.why_not("udp")
    expected = "its native part was built from other sources than these"
    assert reason == f"{expected}{RUN}{build.COMMAND} udp"
    with pytest.raises(TransportError, match=f"udp: {expected}"):
        native.load("udp")


def test_the_digest_is_of_what_is_included_and_of_nothing_else(monkeypatch, tmp_path):
    for path in build.NATIVE.glob("*.[ch]"):
        (tmp_path / path.name).write_text(path.read_text())
    monkeypatch.setattr(build, "NATIVE", tmp_path)
    before = {name: build.sources_digest(name) for name in ("udp", "afxdp")}
    (tmp_path / "ring.h").write_text("changed")
    assert build.sources_digest("udp") == before["udp"]
    assert build.sources_digest("afxdp") != before["afxdp"]
