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


EXAMPLES, NETWORK_EXAMPLES = (
    re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.S) for page in ("README.md", "docs/OWN_NETWORK.md")
)
THEORY_EXAMPLE = NETWORK_EXAMPLES[-1]
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
    """Runs an example of a page from an empty folder, with the wheel alone."""
    installed, folder = tmp_path / "installed", tmp_path / "empty"
    zipfile.ZipFile(wheel).extractall(installed)
    folder.mkdir()
    check = f"import edgechaos\nassert edgechaos.__file__.startswith({str(installed)!r})\n"
    environment = {**os.environ, "PYTHONPATH": str(installed)}

    def run(example):
        line = [sys.executable, "-c", check + example]
        result = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        return result.stdout

    return run


def test_example_of_the_readme(run_example):
    decay, report = run_example(EXAMPLES[0]).split("\n", 1)
    assert decay == "[0.]"
    assert "hidden" in report
    assert len(EXAMPLES) == 1


def test_theory_example(run_example):
    chi, edge, epochs = map(float, run_example(THEORY_EXAMPLE).split())
    assert chi == pytest.approx(0.25, abs=0.01)
    assert edge == 1
    assert epochs == pytest.approx(55, abs=1)


def test_example_of_a_map(run_example):
    assert "state='ordered'" in run_example(next(code for code in NETWORK_EXAMPLES if "order_or_chaos" in code))


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
