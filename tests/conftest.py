"""Shapes and types of every public function are checked while the tests run; compiled programs are kept for a session."""

import os
import shutil
import tempfile

# before JAX is imported: workers of pytest-xdist and all subprocesses inherit it
_SESSION = "EDGECHAOS_TEST_SESSION"
if _SESSION not in os.environ:
    os.environ[_SESSION] = tempfile.mkdtemp(prefix="edgechaos-tests-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = f"{os.environ[_SESSION]}/programs"
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

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
