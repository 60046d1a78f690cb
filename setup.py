"""The native parts of the live transports; everything else is in pyproject.toml."""

import importlib.util
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).resolve().parent
# By its path: the package cannot be imported while its requirements are not installed.
spec = importlib.util.spec_from_file_location(
    "tickpath_build", ROOT / "backends/tickpath_backends/build.py"
)
assert spec and spec.loader
build = importlib.util.module_from_spec(spec)
spec.loader.exec_module(build)

try:
    found = build.extensions(ROOT)
except build.BuildError as error:
    raise SystemExit(f"tickpath: {error}") from None
setup(ext_modules=found)
