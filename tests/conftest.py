"""Compiled programs are kept for a session; shapes and types of every public function are checked while it lasts."""

# before JAX, which reads the environment, and our modules, which the hook changes
import atexit
import os
import shutil
import tempfile

# a worker inherits the session's folder, as do all processes of tests; for mutants one outlasts sessions
if not {"PYTEST_XDIST_WORKER", "KEEP_PROGRAMS"} & os.environ.keys():
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="edgechaos-programs-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)

from jaxtyping import install_import_hook

with install_import_hook("edgechaos", "beartype.beartype"):
    import edgechaos  # noqa: F401

from collections.abc import Iterator

import jax
import pytest

from edgechaos.data.dataset import Dataset
from tests.problems import make_dataset


@pytest.fixture
def small_dataset() -> Dataset:
    return make_dataset()


@pytest.fixture
def double() -> Iterator[None]:
    """The test runs in float64."""
    with jax.enable_x64(True):
        yield
