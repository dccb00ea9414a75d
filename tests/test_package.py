import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import edgechaos

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a copy, so that the clone stays clean; nothing is fetched."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("edgechaos", "experiments", "configs"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    options = ["--no-deps", "--no-build-isolation", "--quiet", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, "-w", copy / "dist", copy], check=True)
    (built,) = (copy / "dist").glob("*.whl")
    return built


def test_wheel_holds_the_library_alone(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    version = edgechaos.__version__
    assert {name.split("/")[0] for name in names} == {"edgechaos", f"edgechaos-{version}.dist-info"}
    modules = {path.name for path in (ROOT / "edgechaos").iterdir() if path.is_file()}
    assert {name.split("/")[1] for name in names if name.startswith("edgechaos/")} == modules


def test_version_is_stated_once():
    assert edgechaos.__version__ in (ROOT / "CHANGELOG.md").read_text()
    assert not re.search(r'^version\s*=\s*"', (ROOT / "pyproject.toml").read_text(), re.M)


def test_everything_exported_exists_and_is_documented():
    assert edgechaos.__all__ == sorted(edgechaos.__all__)
    for name in edgechaos.__all__:
        assert name == "__version__" or getattr(edgechaos, name).__doc__, name


def test_lock_file_pins_every_requirement():
    pinned = set(re.findall(r"^([\w-]+)==", (ROOT / "requirements.lock").read_text(), re.M))
    section = (ROOT / "pyproject.toml").read_text().partition("dependencies = [")[2].partition("\n]")[0]
    required = set(re.findall(r'"([\w-]+)>=', section))
    assert required
    assert required <= pinned
