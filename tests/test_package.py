import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import edgechaos

ROOT = Path(__file__).parent.parent


EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
SDIST = "import sys; from setuptools import build_meta; print(build_meta.build_sdist(sys.argv[1]))"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from the sdist of a copy, so that the clone stays clean; nothing is fetched."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("edgechaos", "experiments", "configs"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    dist = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-c", SDIST, dist], cwd=copy, check=True, stdout=subprocess.DEVNULL)
    (source,) = dist.glob("*.tar.gz")
    options = ["--no-deps", "--no-build-isolation", "--quiet", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, "-w", dist, source], check=True)
    (built,) = dist.glob("*.whl")
    return built


@pytest.fixture
def run_example(wheel, tmp_path):
    """Runs an example of the README from an empty folder, with the wheel alone."""
    installed, folder = tmp_path / "installed", tmp_path / "empty"
    zipfile.ZipFile(wheel).extractall(installed)
    folder.mkdir()
    check = f"import edgechaos\nassert edgechaos.__file__.startswith({str(installed)!r})\n"
    environment = {**os.environ, "PYTHONPATH": str(installed)}

    def run(index):
        line = [sys.executable, "-c", check + EXAMPLES[index]]
        result = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        return result.stdout

    return run


def test_library_example(run_example):
    ordered, edge, epochs = run_example(0).split()
    assert ordered == "True"
    assert float(edge) == 1
    assert float(epochs) == pytest.approx(55, abs=1)


def test_order_or_chaos_in_three_lines(run_example):
    assert "state='chaotic'" in run_example(1)


def test_hold_and_report_example(run_example):
    decay, report = run_example(2).split("\n", 1)
    assert decay == "[0.]"
    assert "hidden" in report
    assert len(EXAMPLES) == 3


def test_wheel_holds_the_library_alone(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    version = edgechaos.__version__
    assert {name.split("/")[0] for name in names} == {"edgechaos", f"edgechaos-{version}.dist-info"}
    modules = {
        str(path.relative_to(ROOT)) for path in (ROOT / "edgechaos").rglob("*") if path.suffix in (".py", ".typed")
    }
    assert {name for name in names if name.startswith("edgechaos/")} == modules


def test_version_is_stated_once():
    assert edgechaos.__version__ in (ROOT / "CHANGELOG.md").read_text()
    assert not re.search(r'^version\s*=\s*"', (ROOT / "pyproject.toml").read_text(), re.M)


def test_everything_exported_exists_and_is_documented():
    assert edgechaos.__all__ == sorted(edgechaos.__all__)
    for name in edgechaos.__all__:
        assert name == "__version__" or getattr(edgechaos, name).__doc__, name


def test_lock_file_pins_every_requirement():
    pinned = set(re.findall(r"^([\w-]+)==", (ROOT / "requirements.lock").read_text(), re.M))
    text = (ROOT / "pyproject.toml").read_text()
    sections = [text.partition(f"\n{name} = [")[2].partition("\n]")[0] for name in ("dependencies", "experiments")]
    required = [set(re.findall(r'"([\w-]+)>=', section)) for section in sections]
    assert all(required)
    assert set.union(*required) <= pinned


def test_citation_names_the_version_and_the_paper():
    text = (ROOT / "CITATION.cff").read_text()
    assert re.findall(r"^version: (.*)$", text, re.M) == [edgechaos.__version__]
    assert text.count("2107.09437") == 2
